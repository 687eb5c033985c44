// Loss and gradient: the row's record comes from the first sweep, the gradient from the second, out of cache.
//
//     dx_k = slope_k · ( α·e_k − w_k·(β + η·q_k) − h·[k = y] ),     e_k = exp((s_k − max) / T)
//
// for every loss: prediction minus target, each scaled. With u = upstream · row weight / denominator (v: of the z-loss),
// S = Σ of all the target's weights, L = lse, z = Σ e:
//
//     α = (u·S + 2·v·λ·L) / (T·z),   β = u·ε / (C·T),   η = u·(1 − ε) / T,   h = u·(gathered mass) / T
//
// slope is the cap's; τ stands for h (class targets) or η (soft ones).

struct Record {
    row_max: f32,
    alpha: f32,
    beta: f32,
    tau: f32,
    input: RowInput,
    fill: bool, // with these bits, instead of a gradient
    bits: u32,
}

fn row_record(stats: RowStats, span: RowSpan, input: RowInput, part: TargetPart) -> Record {
    var record = Record(stats.base, 0.0, 0.0, 0.0, input, true, 0u);
    let flags = row_flags(stats, part);
    let denominator = batch_denominator();
    if is_skipped(input) || denominator == 0.0 {
        return record;
    }
    record.bits = special_bits(flags, 0u);
    if (flags & INVALID_WEIGHT) != 0u {
        record.bits = 0u;
    }
    if flags != 0u {
        return record;
    }
    let upstream = bitcast<f32>(input.upstream);
    let row_denominator = batch_row_denominator();
    let u = upstream / denominator;
    let v = upstream / row_denominator;
    // A NaN, or a sum of weights beyond f32, does not end as a gradient of zeros.
    let are_finite = is_finite(bitcast<u32>(denominator)) && is_finite(bitcast<u32>(row_denominator));
    if !are_finite || !is_finite(input.upstream) || !is_finite(bitcast<u32>(u)) || !is_finite(bitcast<u32>(v)) {
        record.bits = NAN;
        return record;
    }
    // Of one class p is 1 whatever its logit: what is left of p·S − t is rounding. A log-probability is no logit.
    let data = select(u, 0.0, params.cols == 1u && !LOG_PROBS);
    // Weights that are heavy or light may meet a temperature that makes up for them.
    let slope = params.inverse_temperature;
    var scale = scaled_twice(data, part.mass + swept_share() * stats.mass, slope);
    if params.z_loss != 0.0 {
        scale += 2.0 * v * params.z_loss * (stats.base * slope + ln_sum_exp(stats)) * slope;
    }
    record.fill = false;
    record.alpha = select(scale / stats.sum_exp, 0.0, LOG_PROBS);
    record.beta = scaled_twice(data, params.smoothing / f32(params.cols), slope);
    record.tau = scaled_twice(data, target_pull(part), slope);
    return record;
}

// The gradient at a score; `pulled` is the target's part.
fn gradient_bits(bits: u32, pulled: f32, record: Record) -> u32 {
    let s = capped_one(bitcast<f32>(bits));
    let e = select(scaled_exp(s, record.row_max), 0.0, bits == NEG_INFINITY);
    return bitcast<u32>(cap_slope(s) * (record.alpha * e - pulled));
}

fn output_bits(bits: u32, span: RowSpan, col: u32, record: Record) -> u32 {
    return gradient_bits(bits, target_gradient(record, span, col), record);
}

@compute @workgroup_size(INVOCATIONS)
fn dlogits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let span = row_span(at);
    let swept = row_stats(span, at, reads);
    let stats = completed(swept, span, reads);
    var part = TargetPart(0.0, 0.0, false, 0u);
    if reads {
        part = target_part(stats, swept.sum_exp, span, input);
    }
    if at.taken && at.lane == 0u {
        if reads {
            store_read_row(at, stats, input, part);
        } else {
            store_skipped_row(at, input);
        }
    }
    let record = row_record(stats, span, input, part);
    let writes = at.taken && !record.fill;
    save_entries(span, at, input, writes);
    if IN_PLACE { // every lane has read its target's logit
        workgroupBarrier();
        storageBarrier();
    }
    if writes {
        sweep_output(span, at.lane, record);
    } else if at.taken {
        fill_output(span, at.lane, record.bits);
    }
    rewrite_entries(span, at, record, writes);
}
