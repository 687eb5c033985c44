// Uses: params, seat, logits, row_span, cap, row_stats, target, weights, wide_product, row_input, load_row_input, row_result, row_results, store_read_row, batch_weight, gradient, sweep_output

// Loss and gradient: the first sweep gives the row's record, and the second one, from cache, gives the gradient.
//
//     dx_k = slope_k · ( α·e_k − w_k·(β + η·q_k) − h·[k = y] ),     e_k = exp((s_k − max) / T)
//
// for every loss: prediction minus target, each scaled. With u = upstream · row weight / denominator (v: the same for the
// z-loss), S = the sum of all the target's weights, L = lse, z = Σ e:
//
//     α = (u·S + 2·v·λ·L) / (T·z),   β = u·ε / (C·T),   η = u·(1 − ε) / T,   h = u·(gathered mass) / T
//
// slope is the derivative of the cap. The field tau stands for h (class targets) or η (soft targets).
//
// At the target's class, α·e holds a term h·p, and h·p − h cancels if p is near 1. There the value is computed once per row,
// from the sum of the others: −h·(1 − p) and the terms of smoothing and z-loss.

struct Record {
    row_max: f32,
    alpha: f32,
    beta: f32,
    tau: f32,
    at_target: f32, // the gradient at the target's class, if targets are classes
    input: RowInput,
    target_col: u32, // the column of the target's class, if targets are classes and this shard has it
    fill: bool, // fill the row with these bits, instead of a gradient
    bits: u32,
}

fn row_record(stats: RowStats, span: RowSpan, input: RowInput, own: Own, part: TargetPart) -> Record {
    var record = Record(stats.base, 0.0, 0.0, 0.0, 0.0, input, span.target_col, true, 0u);
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
    // A NaN, or a sum of weights beyond f32, must not become a gradient of zeros.
    let are_finite = is_finite(bitcast<u32>(denominator)) && is_finite(bitcast<u32>(row_denominator));
    if !are_finite || !is_finite(input.upstream) || !is_finite(bitcast<u32>(u)) || !is_finite(bitcast<u32>(v)) {
        record.bits = NAN;
        return record;
    }
    // With one class, p is 1 whatever its logit, so p·S − t is only rounding. This does not hold for a log-probability.
    let data = select(u, 0.0, params.total_cols == 1u && !LOG_PROBS);
    let slope = params.inverse_temperature;
    record.fill = false;
    var alpha_beside = 0.0; // α without h
    if !LOG_PROBS {
        let inverse_sum = 1.0 / stats.sum_exp;
        let swept_mass = swept_share() * stats.mass;
        record.alpha = row_product(vec4(data, part.mass + swept_mass, inverse_sum, slope));
        if TARGET_SUMS {
            alpha_beside = row_product(vec4(data, swept_mass, inverse_sum, slope));
        }
        if Z_LOSS {
            let of_z_loss = z_loss_slope(stats, v) * inverse_sum;
            record.alpha += of_z_loss;
            alpha_beside += of_z_loss;
        }
    }
    record.beta = row_product(vec4(data, params.smoothing / f32(params.total_cols), slope, 1.0));
    record.tau = row_product(vec4(data, target_pull(part), slope, 1.0));
    let of_class = row_product(vec4(data, target_pull(part), part.rest, slope));
    record.at_target = gradient_at_target(alpha_beside * own.exp - of_class, record, span);
    return record;
}

// 2·v·λ·L / T, the factor of a probability in the gradient of the z-loss. If it is beyond f32, the gradient is the target's
// part alone, because the factor times a probability of 0 would be NaN.
fn z_loss_slope(stats: RowStats, v: f32) -> f32 {
    let inverse = params.inverse_temperature;
    let lse = stats.base * inverse + ln_sum_exp(stats);
    // An lse beyond f32 is max / T; ln z is negligible beside it.
    let beyond = !is_finite(bitcast<u32>(lse));
    let slope = wide_product(vec4(v, params.z_loss, select(lse, stats.base, beyond), inverse));
    let all = wide_product(vec4(slope, 2.0, select(1.0, inverse, beyond), 1.0));
    return select(0.0, all, is_finite(bitcast<u32>(all)));
}

// Only an infinity makes a NaN here, times 0 or less another.
fn may_be_nan(record: Record) -> bool {
    let sum = abs(record.alpha) + abs(record.beta) + abs(record.tau);
    return SOFTCAP || CLASS_WEIGHTS || !is_finite(bitcast<u32>(sum));
}

// The gradient at four scores. `pulled` is the target's part.
fn gradient_at(scores: vec4<u32>, pulled: vec4<f32>, record: Record) -> vec4<f32> {
    let slopes = cap_slopes(capped(bitcast<vec4<f32>>(scores)));
    return slopes * (record.alpha * score_exps(scores, record.row_max) - pulled);
}

fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bitcast<vec4<u32>>(gradient_at(scores, target_gradient(record, span, col), record));
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
    let span = row_span_to(at, class_of(input));
    let swept = row_stats(span, at, reads);
    var own = no_own();
    if reads {
        own = own_of(swept, span);
    }
    let stats = completed(swept, own);
    var part = no_part();
    if reads {
        part = target_part(stats, swept.sum_exp, own, span, input);
    }
    if at.taken && at.lane == 0u {
        if reads {
            store_read_row(at, stats, span, input, part);
        } else {
            store_skipped_row(at, input);
        }
    }
    let record = row_record(stats, span, input, own, part);
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
