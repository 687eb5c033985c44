// Uses: seat, row_span, row_stats, order_key, lane_tops

// The first read also keeps the largest order key of each lane's blocks.

fn begin_readouts(span: RowSpan, seat: Seat, reads: bool) {
    begin_tops(seat);
}

fn step_readouts(before: RowStats, largest: i32, base: f32, ab: QuadPair, cd: QuadPair, cols: vec4<u32>) -> Readouts {
    raise_top(unsigned_key(largest));
    return 0u;
}

fn edge_readouts(before: RowStats, largest: i32, base: f32, scores: QuadPair, col: u32) -> Readouts {
    raise_top(unsigned_key(largest));
    return 0u;
}
