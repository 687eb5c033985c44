// Uses: params, seat, row_span, class_weights, row_input, row_result, dense, the pass

// The part of soft targets in the gradient.

fn target_pull(part: TargetPart) -> f32 {
    return 1.0 - params.smoothing;
}

fn target_gradient(record: Record, span: RowSpan, col: u32) -> vec4<f32> {
    return times_class_weights(record.beta + record.tau * bitcast<vec4<f32>>(dense_quad(span, col)), col);
}

// The sweep has it all.
fn gradient_at_target(value: f32, record: Record, span: RowSpan) -> f32 {
    return 0.0;
}

fn finished_pack(pair: QuadPair, span: RowSpan, pack: u32, record: Record) -> QuadPair {
    return pair;
}

fn save_entries(span: RowSpan, seat: Seat, input: RowInput, writes: bool) {}

fn rewrite_entries(span: RowSpan, seat: Seat, record: Record, writes: bool) {}
