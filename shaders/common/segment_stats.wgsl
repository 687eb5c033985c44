// Uses: params, row_stats

// Where the stats of a split row's segments lie between the pass that finds them and the passes that merge them: 16 bytes a
// segment, 32 where the target has sums too.

fn segment_words() -> u32 {
    return select(4u, 8u, TARGET_SUMS);
}

// Where those of a segment begin.
fn segment_start(row: u32, segment: u32) -> u32 {
    return (row * params.segments + segment) * segment_words();
}
