// Uses: params, seat, row_span, target, class_weights, row_input, row_result, the pass

// The part of soft targets in the gradient.

fn target_pull(part: TargetPart) -> f32 {
    return 1.0 - params.smoothing;
}

fn target_gradient(record: Record, span: RowSpan, col: u32) -> f32 {
    return times_class_weight(record.beta + record.tau * bitcast<f32>(soft_target(span, col)), col);
}

fn save_entries(span: RowSpan, seat: Seat, input: RowInput, writes: bool) {}

fn rewrite_entries(span: RowSpan, seat: Seat, record: Record, writes: bool) {}
