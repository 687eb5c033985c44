// Uses: seat, row_span, row_stats, candidates

// The first read also counts the row's order keys, or takes all of a short row's classes as candidates.

alias Readouts = u32;

const READOUT_WORDS: u32 = 0u;

fn begin_readouts(span: RowSpan, seat: Seat, reads: bool) {
    clear_pool(seat.lane);
}

fn no_readouts() -> Readouts {
    return 0u;
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

fn rebased_readouts(readouts: Readouts, old_base: f32, base: f32) -> Readouts {
    return 0u;
}

fn both_readouts(a: Readouts, b: Readouts, a_key: i32, b_key: i32) -> Readouts {
    return 0u;
}

fn put_readouts(at: u32, readouts: Readouts) {}

fn readouts_at(at: u32) -> Readouts {
    return 0u;
}

fn readout_words(readouts: Readouts) -> array<u32, 8> {
    return array<u32, 8>();
}

fn readouts_of(words: array<u32, 8>) -> Readouts {
    return 0u;
}
