// Uses: seat, row_stats, segment_stats, readout

@group(0) @binding(11) var<storage, read_write> segment_stats: array<u32>;

fn store_segment(seat: Seat, stats: RowStats) {
    let at = segment_start(seat.row, seat.segment);
    segment_stats[at] = bitcast<u32>(stats.key);
    segment_stats[at + 1u] = bitcast<u32>(stats.base);
    segment_stats[at + 2u] = bitcast<u32>(stats.sum_exp);
    segment_stats[at + 3u] = stats.position;
    if TARGET_SUMS {
        segment_stats[at + 4u] = bitcast<u32>(stats.mass);
        segment_stats[at + 5u] = bitcast<u32>(stats.distance);
        segment_stats[at + 6u] = stats.marks;
    }
    if READOUT_WORDS > 0u {
        var words = readout_words(stats.readouts);
        for (var i = 0u; i < READOUT_WORDS; i++) {
            segment_stats[at + 8u + i] = words[i];
        }
    }
}
