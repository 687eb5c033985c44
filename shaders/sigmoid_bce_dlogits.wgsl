// Uses: params, seat, row_span, weights, row_input, load_row_input, row_results, batch_weight, dense, sigmoid_bce, sweep_output

// Multi-label losses and their gradient, in one sweep, because a class's gradient needs no other class. Only a row with a
// NaN, or one that is left out, is swept once more, to be filled.

struct Record {
    scale: f32,       // the factor of the row's loss: upstream · row weight / denominator
}

// Without weights, a factor of at most 1 times a finite scale is not infinite, so that no product is NaN.
fn may_be_nan(record: Record) -> bool {
    return CLASS_WEIGHTS || POS_WEIGHT;
}

fn output_quad(scores: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bitcast<vec4<u32>>(class_terms(scores, dense_quad(span, col), col, record.scale).slopes);
}

fn fill_pack(out: RowSpan, i: u32, bits: u32) {
    if i < all_packs(out) {
        store_any(out, nth_pack(out, i), QuadPair(vec4(bits), vec4(bits)));
    }
}

// Like `fill_output`, with four quads per iteration: together with the sweep before it, a row must not take more iterations
// than the plan counts. A lane overwrites its own words.
fn refill_output(span: RowSpan, lane: u32, bits: u32) {
    let out = output_span(span);
    for (var i = lane; i < all_packs(out); i += 4u * LANES) {
        fill_pack(out, i, bits);
        fill_pack(out, i + LANES, bits);
        fill_pack(out, i + 2u * LANES, bits);
        fill_pack(out, i + 3u * LANES, bits);
    }
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

@compute @workgroup_size(INVOCATIONS)
fn sigmoid_bce_dlogits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let reads = !is_skipped(input);
    let span = row_span(at);
    let denominator = batch_denominator();
    let scale = bitcast<f32>(input.upstream) / denominator;
    let has_scale = is_finite(input.upstream) && is_finite(bitcast<u32>(scale));
    if reads {
        let usable = select(0.0, scale, has_scale);
        sweep_output(span, at.lane, Record(usable));
    }
    let sum = row_sum(at);
    if !at.taken { return; }
    if at.lane == 0u {
        if reads {
            store_row_sum(at, input, sum);
        } else {
            store_skipped_row(at, input);
        }
    }
    if !reads || denominator == 0.0 {
        refill_output(span, at.lane, 0u);
    } else if (sum.flags & NAN_ROW) != 0u || !has_scale {
        refill_output(span, at.lane, NAN);
    }
}
