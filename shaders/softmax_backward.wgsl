// Uses: params, seat, logits, row_span, row_pairs, seconds, sweep_output

// The gradient with respect to a softmax's logits, from the one with respect to its probabilities or their logarithms:
//
//     dx_k = s·p_k·(dp_k − Σ p·dp),     for logarithms  dx_k = s·(d_k − p_k·Σ d)
//
// It is computed in halves, which do not overflow where gradients are near ±3.4e38 with both signs. The scale in the
// parameters is doubled already. If it were doubled here, an adapter could combine the doubling with the halves, and the
// overflow would be back.

const SUMS_WEIGHTS: bool = false;

// The weights of four pairs: their probabilities, or 1 for logarithms.
fn pair_weights(seconds: vec4<u32>) -> vec4<f32> {
    if LOG_PROBS {
        return vec4(1.0);
    }
    return bitcast<vec4<f32>>(seconds);
}

struct Record {
    half_sum: f32,
}

// A difference beyond f32, times 0, is NaN.
fn may_be_nan(record: Record) -> bool {
    return abs(record.half_sum) > 1e38 || params.score_scale == 0.0;
}

// The gradients take the place of the logits: `bits` are four of them. What becomes of them needs the second array.
fn output_quad(bits: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bits;
}

fn through_softmax(bits: vec4<u32>, seconds: vec4<u32>, record: Record) -> vec4<u32> {
    let half_gradients = 0.5 * bitcast<vec4<f32>>(bits);
    if LOG_PROBS {
        // Below 2^−150 the result is 0 in f32; this limit keeps −∞ out of exp2.
        let exponentials = exp2(max(bitcast<vec4<f32>>(seconds) * LOG2_E, vec4(-150.0)));
        let p = select(exponentials, vec4(0.0), seconds == vec4(NEG_INFINITY));
        return bitcast<vec4<u32>>(params.score_scale * (half_gradients - p * record.half_sum));
    }
    let gradients = bitcast<vec4<f32>>(seconds) * (half_gradients - vec4(record.half_sum));
    return bitcast<vec4<u32>>(params.score_scale * gradients);
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    let probs = second_pack(span, pack);
    var own = QuadPair(through_softmax(pair.a, probs.a, record), vec4(0u));
    if PACKED {
        own.b = through_softmax(pair.b, probs.b, record);
    }
    return own;
}

@compute @workgroup_size(INVOCATIONS)
fn softmax_backward(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let sum = row_pairs(span, at, at.taken);
    if IN_PLACE { // every lane has read its part of the row, some of which another lane is about to write
        workgroupBarrier();
        storageBarrier();
    }
    if !at.taken { return; }
    if (sum.marks & NOT_A_NUMBER) != 0u || !is_finite(bitcast<u32>(sum.half)) {
        fill_output(span, at.lane, NAN);
    } else if LOG_PROBS && (sum.marks & POSSIBLE) == 0u {
        fill_output(span, at.lane, 0u); // a masked row under MaskedRow::Zero
    } else {
        sweep_output(span, at.lane, Record(sum.half));
    }
}
