// Uses: params, seat, row_span, sums, row_stats, segment_stats, readout

// This takes the place of the first sweep over the row, which was done segment by segment: one lane's part of the segments'
// stats, in a fixed order.

@group(0) @binding(11) var<storage, read> segment_stats: array<u32>;

fn segment_at(row: u32, segment: u32) -> RowStats {
    let at = segment_start(row, segment);
    var stats = RowStats(
        bitcast<i32>(segment_stats[at]),
        bitcast<f32>(segment_stats[at + 1u]),
        bitcast<f32>(segment_stats[at + 2u]),
        segment_stats[at + 3u],
        0.0,
        0.0,
        0u,
        no_readouts(),
    );
    if TARGET_SUMS {
        stats.mass = bitcast<f32>(segment_stats[at + 4u]);
        stats.distance = bitcast<f32>(segment_stats[at + 5u]);
        stats.marks = segment_stats[at + 6u];
    }
    if READOUT_WORDS > 0u {
        var words: array<u32, 8>;
        for (var i = 0u; i < READOUT_WORDS; i++) {
            words[i] = segment_stats[at + 8u + i];
        }
        stats.readouts = readouts_of(words);
    }
    return stats;
}

// Sums are brought to the highest base at once. If the base followed those of the segments, the sum would be rescaled
// at each of them, and in a row that rises gently the errors of an adapter's exp2 would add up.
fn sweep_stats(span: RowSpan, lane: u32) -> RowStats {
    var stats = identity();
    for (var segment = lane; segment < params.segments; segment += LANES) {
        stats.base = max(stats.base, bitcast<f32>(segment_stats[segment_start(span.row, segment) + 1u]));
    }
    for (var segment = lane; segment < params.segments; segment += LANES) {
        stats = combine(stats, segment_at(span.row, segment));
    }
    return stats;
}
