// Class-index targets: one class of the row has all the target's mass.

// loss = ln Σ exp(x − row_max) + (row_max − x_y). Never lse − x_y, which loses everything when logits share an offset
// of 1e6, never −ln p_y, which is infinite once p_y underflows.
fn target_loss_bits(stats: RowStats, span: RowSpan, input: RowInput) -> u32 {
    let bits = load_logit(span.start + input.class_index);
    let loss = ln_sum_exp(stats) + (row_max(stats.key) - bitcast<f32>(bits));
    return select(bitcast<u32>(loss), INFINITY, bits == NEG_INFINITY);
}

// The gradient's own part at a target: h where k = y.
fn target_gradient(col: u32, input: RowInput, h: f32) -> f32 {
    return select(0.0, h, col == input.class_index);
}
