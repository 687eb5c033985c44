// Uses: params, row_stats, readout

// Where the stats of a split row's segments are stored between the pass that computes them and the passes that merge
// them: 16 bytes per segment, 32 if the target has sums as well, 64 if there are readouts.

fn segment_words() -> u32 {
    return select(4u, 8u, TARGET_SUMS || READOUT_WORDS > 0u) + READOUT_WORDS;
}

// Where the stats of a segment begin.
fn segment_start(row: u32, segment: u32) -> u32 {
    return (row * params.segments + segment) * segment_words();
}
