// Uses: params, seat, logits, row_span, row_pairs, seconds, sweep_output

// The gradient with respect to an entmax's logits, from the one with respect to its probabilities:
//
//     dx_k = g_k·(dp_k − Σ g·dp / Σ g),     g = p^(2 − α) where p > 0, else 0
//
// It is computed in halves, as in `softmax_backward`. The scale in the parameters is 2.

override ENTMAX_POWER: u32; // 1 / (α − 1), if it is 1 or 2; else 0

const SUMS_WEIGHTS: bool = true;

// The weights g of four pairs.
fn pair_weights(seconds: vec4<u32>) -> vec4<f32> {
    let p = bitcast<vec4<f32>>(seconds);
    var g = vec4(1.0);
    if ENTMAX_POWER == 2u {
        g = sqrt(max(p, vec4(0.0)));
    } else if ENTMAX_POWER == 0u {
        let power = 1.0 - params.entmax_slope;
        g = exp2(power * log2(max(p, vec4(1.2e-38))));
    }
    return select(vec4(0.0), g, p > vec4(0.0));
}

struct Record {
    half_mean: f32,
}

// A difference beyond f32, times 0, is NaN.
fn may_be_nan(record: Record) -> bool {
    return abs(record.half_mean) > 1e38;
}

// The gradients take the place of the logits: `bits` are four of them. What becomes of them needs the second array.
fn output_quad(bits: vec4<u32>, span: RowSpan, col: u32, record: Record) -> vec4<u32> {
    return bits;
}

fn through_entmax(bits: vec4<u32>, seconds: vec4<u32>, record: Record) -> vec4<u32> {
    let away = 0.5 * bitcast<vec4<f32>>(bits) - vec4(record.half_mean);
    return bitcast<vec4<u32>>(params.score_scale * (pair_weights(seconds) * away));
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    let probs = second_pack(span, pack);
    var own = QuadPair(through_entmax(pair.a, probs.a, record), vec4(0u));
    if PACKED {
        own.b = through_entmax(pair.b, probs.b, record);
    }
    return own;
}

@compute @workgroup_size(INVOCATIONS)
fn entmax_backward(
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
    } else if sum.total == 0.0 {
        fill_output(span, at.lane, 0u); // a masked row under MaskedRow::Zero
    } else {
        sweep_output(span, at.lane, Record(sum.half / sum.total));
    }
}
