// Uses: params, seat, logits, row_span, row_pairs, sweep_output

// The gradient with respect to a softmax's logits, from the one with respect to its probabilities or their logarithms:
//
//     dx_k = s·p_k·(dp_k − Σ p·dp),     for logarithms  dx_k = s·(d_k − p_k·Σ d)
//
// It is computed in halves, which do not overflow where gradients are near ±3.4e38 with both signs. The scale in the
// parameters is doubled already. If it were doubled here, an adapter could combine the doubling with the halves, and the
// overflow would be back.

struct Record {
    half_sum: f32,
    start: u32, // start of the row in the second array
}

// The gradients take the place of the logits: `bits` is one of them.
fn output_bits(bits: u32, span: RowSpan, col: u32, record: Record) -> u32 {
    let second = load_prob(record.start + col_offset(col));
    let half_gradient = 0.5 * bitcast<f32>(bits);
    if LOG_PROBS {
        // Below 2^−150 the result is 0 in f32; this limit keeps −∞ out of exp2.
        let exponential = exp2(max(bitcast<f32>(second) * LOG2_E, -150.0));
        let p = select(exponential, 0.0, second == NEG_INFINITY);
        return bitcast<u32>(params.score_scale * (half_gradient - p * record.half_sum));
    }
    return bitcast<u32>(params.score_scale * (bitcast<f32>(second) * (half_gradient - record.half_sum)));
}

@compute @workgroup_size(INVOCATIONS)
fn softmax_backward(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let pairs = pair_span(at);
    let sum = row_pairs(pairs, at, at.taken);
    if IN_PLACE { // every lane has read its part of the row, some of which another lane is about to write
        workgroupBarrier();
        storageBarrier();
    }
    if !at.taken { return; }
    if (sum.marks & NOT_A_NUMBER) != 0u || !is_finite(bitcast<u32>(sum.half)) {
        fill_output(pairs.span, at.lane, NAN);
    } else if LOG_PROBS && (sum.marks & POSSIBLE) == 0u {
        fill_output(pairs.span, at.lane, 0u); // a masked row under MaskedRow::Zero
    } else {
        sweep_output(pairs.span, at.lane, Record(sum.half, pairs.start));
    }
}
