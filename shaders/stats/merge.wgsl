// Uses: params, seat, row_span, order_key, sums, row_stats, segment_stats, readout

// This takes the place of the first sweep over the row, which was done segment by segment: one lane's part of the segments'
// stats, in a fixed order.
//
// If a row is spread over devices, its columns here are a shard. Then the stats of the whole row come with the call, in a record of 8
// words, Rust's `RowPartials`: {maximum, Σ exp, the target's score, Σ exp without the target, argmax, Σ ω, Σ ω·(maximum − s) scaled,
// flags}. Scores are capped. The sum of distances is +∞ if a class with mass is at −∞.

override GIVEN: bool; // the stats come with the call

const GIVEN_WORDS: u32 = 8u;

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

fn given_word(row: u32, word: u32) -> u32 {
    return segment_stats[(params.first_row + row) * GIVEN_WORDS + word];
}

fn given_target(row: u32) -> u32 {
    return given_word(row, 2u);
}

fn given_stats(row: u32) -> RowStats {
    var stats = identity();
    // A special maximum is itself the flag.
    stats.key = order_keys(vec4(given_word(row, 0u))).x;
    stats.base = maximum_of(stats.key);
    stats.sum_exp = bitcast<f32>(given_word(row, select(1u, 3u, EXCLUDE_TARGET)));
    stats.position = given_word(row, 4u) - params.first_col;
    if TARGET_SUMS {
        let distance = given_word(row, 6u);
        stats.mass = bitcast<f32>(given_word(row, 5u));
        stats.distance = bitcast<f32>(select(distance, 0u, distance == INFINITY));
        stats.marks = select(0u, MASS_AT_NEG_INFINITY, distance == INFINITY);
        stats.marks |= select(0u, BAD_WEIGHT, (given_word(row, 7u) & INVALID_WEIGHT) != 0u);
    }
    return stats;
}

// Sums are brought to the highest base at once. If the base followed those of the segments, the sum would be rescaled
// at each of them, and in a row that rises gently the errors of an adapter's exp2 would add up.
fn sweep_stats(span: RowSpan, lane: u32) -> RowStats {
    var stats = identity();
    if GIVEN {
        if lane == 0u {
            stats = given_stats(span.row);
        }
        return stats;
    }
    for (var segment = lane; segment < params.segments; segment += LANES) {
        stats.base = max(stats.base, bitcast<f32>(segment_stats[segment_start(span.row, segment) + 1u]));
    }
    for (var segment = lane; segment < params.segments; segment += LANES) {
        stats = combine(stats, segment_at(span.row, segment));
    }
    return stats;
}
