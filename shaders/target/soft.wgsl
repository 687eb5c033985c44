// Uses: params, trusts_floats, row_span, row_stats, class_weights, row_input, row_result, dense

// Soft targets: a probability q for each class, laid out like the logits.
//
//     loss = Σ t_j ℓ_j,     t_j = w_j·((1 − ε)·q_j + ε/C)

// t of four classes as bits, from the bits of their targets and weights. It is not finite if a target or a weight is
// invalid.
fn shares_of(q: vec4<u32>, weights: vec4<u32>) -> vec4<u32> {
    let spread = params.smoothing / f32(params.cols);
    let t = bitcast<vec4<f32>>(weights) * ((1.0 - params.smoothing) * bitcast<vec4<f32>>(q) + vec4(spread));
    let bits = bitcast<vec4<u32>>(t);
    if TRUSTS_FLOATS {
        return swept(bits, weights);
    }
    let is_given = (q & vec4(MAGNITUDE)) < vec4(INFINITY);
    return swept(select(vec4(NAN), bits, is_given), weights);
}

// The weights to sum over the row.
fn target_weights(span: RowSpan, col: u32) -> vec4<u32> {
    return shares_of(dense_quad(span, col), class_weight_quad(col));
}

fn swept_share() -> f32 {
    return 1.0;
}

fn class_of(input: RowInput) -> u32 {
    return NO_CLASS;
}

fn own_of(stats: RowStats, span: RowSpan) -> Own {
    return no_own();
}

fn target_part(stats: RowStats, others: f32, own: Own, span: RowSpan, input: RowInput) -> TargetPart {
    return no_part();
}
