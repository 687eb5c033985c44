// Uses: seat, row_span, row_stats, candidates

// The first read also counts the row's order keys, or takes all of a short row's classes as candidates.

fn begin_readouts(span: RowSpan, seat: Seat, reads: bool) {
    clear_pool(seat.lane);
}

fn step_readouts(before: RowStats, base: f32, ab: QuadPair, cd: QuadPair, cols: vec4<u32>) -> Readouts {
    take_first_four(ab.a, cols.x);
    take_first_four(ab.b, cols.y);
    take_first_four(cd.a, cols.z);
    take_first_four(cd.b, cols.w);
    return 0u;
}

fn edge_readouts(before: RowStats, base: f32, scores: QuadPair, col: u32) -> Readouts {
    take_first_four(scores.a, col);
    if PACKED {
        take_first_four(scores.b, col + 4u);
    }
    return 0u;
}
