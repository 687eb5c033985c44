// Uses: seat, row_span, row_stats

// No readouts: the sweep sums nothing for them.

fn begin_readouts(span: RowSpan, seat: Seat, reads: bool) {}

fn step_readouts(before: RowStats, largest: i32, base: f32, ab: QuadPair, cd: QuadPair, cols: vec4<u32>) -> Readouts {
    return 0u;
}

fn edge_readouts(before: RowStats, largest: i32, base: f32, scores: QuadPair, col: u32) -> Readouts {
    return 0u;
}
