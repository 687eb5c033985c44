// Uses: params, seat, logits, row_span, wide_product, row_input, load_row_input, row_results, batch_weight, entmax, entmax_result, sweep_output

// The Fenchel-Young loss of entmax and its gradient, from a second read of the logits:
//
//     dx_j = u·(p_j − [j = y]),     u = upstream · row weight / denominator

struct Record {
    base: f32,
    theta: f32,
    factor: f32,
    scale: f32,
    class_index: u32,
    fill: bool, // fill the row with these bits, instead of a gradient
    bits: u32,
}

fn row_record(found: Threshold, input: RowInput) -> Record {
    let class_index = input.class_index;
    var record = Record(found.base, found.theta, found.factor, 0.0, class_index, true, 0u);
    let denominator = batch_denominator();
    if is_skipped(input) || denominator == 0.0 {
        return record;
    }
    record.bits = special_bits(found.flags);
    if found.flags != 0u {
        return record;
    }
    record.bits = NAN;
    record.scale = wide_product(vec4(bitcast<f32>(input.upstream), 1.0 / denominator, 1.0, 1.0));
    let are_finite = is_finite(input.upstream) && is_finite(bitcast<u32>(denominator));
    record.fill = !are_finite || !is_finite(bitcast<u32>(record.scale));
    return record;
}

fn may_be_nan(record: Record) -> bool {
    return false;
}

fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    let p = entmax_probs(scores, record.base, record.theta, record.factor);
    let target_share = select(vec4(0.0), vec4(1.0), four_cols(col) == vec4(record.class_index));
    return bitcast<vec4<u32>>(record.scale * (p - target_share));
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

@compute @workgroup_size(INVOCATIONS)
fn entmax_dlogits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let span = row_span(at);
    let found = row_threshold(span, at, reads);
    if at.taken && at.lane == 0u {
        if reads {
            store_entmax_row(at, span, found, input);
        } else {
            store_skipped_row(at, input);
        }
    }
    let record = row_record(found, input);
    if IN_PLACE { // every lane has read its part of the row, and the target's logit
        workgroupBarrier();
        storageBarrier();
    }
    if !at.taken { return; }
    if record.fill {
        fill_output(span, at.lane, record.bits);
    } else {
        sweep_output(span, at.lane, record);
    }
}
