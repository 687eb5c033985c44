// Uses: seat, row_span, row_stats, class_weights, row_input, row_result, the pass

// The part of class targets in the gradient.

fn target_pull(part: TargetPart) -> f32 {
    return part.mass;
}

fn target_gradient(record: Record, span: RowSpan, col: u32) -> f32 {
    var pull = select(0.0, record.tau, col == record.input.class_index);
    if TARGET_SUMS { // else β is 0
        pull += times_class_weight(record.beta, col);
    }
    return pull;
}

fn save_entries(span: RowSpan, seat: Seat, input: RowInput, writes: bool) {}

fn rewrite_entries(span: RowSpan, seat: Seat, record: Record, writes: bool) {}
