// Uses: params, seat, cap, order_key, row_stats

// The values of a row's largest classes. The pass writes their keys where the values go.

override TOP_VALUES: u32;  // 0: logits, 1: log-probabilities, 2: probabilities
override RENORMALIZE: bool; // probabilities among the k classes

@group(0) @binding(4) var<storage, read_write> top_indices: array<u32>;
@group(0) @binding(5) var<storage, read_write> top_values: array<u32>;

// The score of a key, as bits, before the cap.
fn score_of(unsigned_key: u32) -> u32 {
    let key = bitcast<i32>(unsigned_key ^ 0x80000000u);
    let bits = select(bitcast<u32>(row_max(key)), NEG_INFINITY, key <= KEY_NEG_INFINITY);
    return select(bits, NAN, key == KEY_NAN);
}

fn capped_bits(bits: u32) -> u32 {
    return select(bits, bitcast<u32>(capped_one(bitcast<f32>(bits))), is_finite(bits));
}

// The sum that probabilities are divided by: of all classes, or of the k.
fn top_sum(stats: RowStats, first: u32) -> f32 {
    if !RENORMALIZE {
        return stats.sum_exp;
    }
    var sum = 0.0;
    for (var i = 0u; i < params.entries; i++) {
        let bits = score_of(top_values[first + i]);
        sum += select(scaled_exp(capped_one(bitcast<f32>(bits)), stats.base), 0.0, bits == NEG_INFINITY);
    }
    return sum;
}

fn value_bits(bits: u32, stats: RowStats, sum: f32) -> u32 {
    let flags = stats_flags(stats);
    if TOP_VALUES == 0u {
        return capped_bits(bits);
    }
    if flags != 0u {
        return special_bits(flags, select(0u, NEG_INFINITY, TOP_VALUES == 1u));
    }
    let s = capped_one(bitcast<f32>(bits));
    if TOP_VALUES == 1u {
        let half_below = 0.5 * s - 0.5 * stats.base;
        let log_p = half_below * params.twice_inverse_temperature - select(log(sum), 0.0, sum == 1.0);
        return select(bitcast<u32>(log_p), NEG_INFINITY, bits == NEG_INFINITY);
    }
    return select(bitcast<u32>(scaled_exp(s, stats.base) / sum), 0u, bits == NEG_INFINITY);
}

// Puts values in the place of the row's keys, which begin at `first`. Call this in uniform control flow.
fn finish_values(stats: RowStats, at: Seat, first: u32) {
    if LANES > 1u {
        storageBarrier();
    }
    var sum = stats.sum_exp;
    if RENORMALIZE {
        if at.taken {
            sum = top_sum(stats, first);
        }
        if LANES > 1u {
            storageBarrier();
        }
    }
    if !at.taken {
        return;
    }
    for (var i = at.lane; i < params.entries; i += LANES) {
        top_values[first + i] = value_bits(score_of(top_values[first + i]), stats, sum);
    }
}
