// Soft targets: a probability q for each class, laid out like the logits.
//
//     loss = Σ t_j ℓ_j,     t_j = w_j·((1 − ε)·q_j + ε/C)

@group(0) @binding(7) var<storage, read> soft_targets: array<u32>; // f32 bits

fn soft_target(span: RowSpan, col: u32) -> u32 {
    return soft_targets[row_start(span.row, params.second_base, params.second_stride) + col_offset(col)];
}

// What is summed over the row: t, not finite where target or weight is none.
fn target_weight(span: RowSpan, col: u32) -> u32 {
    let q = soft_target(span, col);
    let spread = params.smoothing / f32(params.cols);
    let t = class_weight(col) * ((1.0 - params.smoothing) * bitcast<f32>(q) + spread);
    if !is_weight(class_weight_bits(col)) { return BAD_WEIGHT_BITS; }
    return select(NAN, bitcast<u32>(t), is_finite(q));
}

fn target_weights(span: RowSpan, col: u32) -> vec4<u32> {
    return vec4(
        target_weight(span, col),
        target_weight(span, col + 1u),
        target_weight(span, col + 2u),
        target_weight(span, col + 3u),
    );
}

fn swept_share() -> f32 {
    return 1.0;
}

fn excluded_col(span: RowSpan) -> u32 {
    return NO_CLASS;
}

fn target_part(stats: RowStats, others: f32, span: RowSpan, input: RowInput) -> TargetPart {
    return TargetPart(0.0, 0.0, false, 0u);
}
