// Uses: params, row_stats

// Where the stats of a split row's segments are stored between the pass that computes them and the passes that merge
// them: 16 bytes per segment, or 32 if the target has sums as well.

fn segment_words() -> u32 {
    return select(4u, 8u, TARGET_SUMS);
}

// Where the stats of a segment begin.
fn segment_start(row: u32, segment: u32) -> u32 {
    return (row * params.segments + segment) * segment_words();
}
