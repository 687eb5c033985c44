// Uses: params, row_stats, weights, wide_product, row_input

// The result of a loss for a row, from its stats and its target: {loss, lse, argmax, flags}, as bits. The loss is the row's
// weight times the target's part; the z-loss follows from the weight and lse.
//
// With ℓ_j = −ln p_j = ln z + (m − s_j) / T, every target's part is
//
//     gathered + share · Σ ω_j ℓ_j,     Σ ω_j ℓ_j = mass · ln z + 2·distance / T
//
// and the target's file supplies what is gathered and the share of what was swept.

override LOG_PROBS: bool; // the input is log-probabilities: ℓ_j = −x_j

// What is gathered from a row's target.
struct TargetPart {
    loss: f32,  // the gathered loss, times the row's weight
    mass: f32,  // the sum of its weights, the factor of p in the gradient
    marks: u32, // MASS_AT_NEG_INFINITY, MINUS_MASS_AT_NEG_INFINITY or both: a class with mass is impossible
    flags: u32,
    // If the target is a class:
    rest: f32, // 1 − p
    minus_ln_p: f32,
}

fn no_part() -> TargetPart {
    return TargetPart(0.0, 0.0, 0u, 0u, 0.0, 0.0);
}

// The class that is the target: the bits of its score, and its exponential. It is looked at once, because loads of single
// values are slow.
struct Own {
    bits: u32,
    exp: f32,
}

fn no_own() -> Own {
    return Own(NEG_INFINITY, 0.0);
}

// The select is there because an adapter's exp2(0) need not be 1.
fn own_of_bits(stats: RowStats, bits: u32) -> Own {
    let s = row_score(bits);
    return Own(bits, select(select(scaled_exp(s, stats.base), 1.0, s == stats.base), 0.0, bits == NEG_INFINITY));
}

// The product of four factors. If a row has no weights, they are at most 1, except one and 1/T, which comes last.
fn row_product(factors: vec4<f32>) -> f32 {
    if PLAIN_INPUTS && !CLASS_WEIGHTS && !TARGET_SUMS {
        return max(factors.x * factors.y, LOWEST) * factors.z * factors.w;
    }
    return wide_product(factors);
}

// The ln z of ℓ_j = ln z + (m − s_j) / T.
fn ln_z(stats: RowStats) -> f32 {
    if LOG_PROBS {
        return -stats.base;
    }
    return ln_sum_exp(stats);
}

// A weight times the row's own weight times −ln p of a score. It is never computed as lse − s, which loses all digits when
// logits share an offset of 1e6, nor as the logarithm of p, which is infinite once p underflows. Halves do not overflow.
fn surprise(stats: RowStats, bits: u32, weight: f32, row_weight: f32) -> f32 {
    if LOG_PROBS {
        return row_product(vec4(-bitcast<f32>(bits), weight, row_weight, 1.0));
    }
    let below = max(0.5 * stats.base, LOWEST) - 0.5 * row_score(bits);
    let away = row_product(vec4(below, weight, params.twice_inverse_temperature, row_weight));
    return weight * ln_z(stats) * row_weight + away;
}

// A share of the swept Σ ω_j ℓ_j, times the row's weight.
fn swept_loss(stats: RowStats, share: f32, row_weight: f32) -> f32 {
    let away = wide_product(vec4(stats.distance, share, params.inverse_distance, row_weight));
    return wide_product(vec4(share, stats.mass, ln_z(stats), row_weight)) + away;
}

// The stats with the target's exponential in their sum, if it was left out.
fn completed(stats: RowStats, own: Own) -> RowStats {
    var all = stats;
    if EXCLUDE_TARGET {
        all.sum_exp += own.exp;
    }
    return all;
}

// The flags of a row: what is unusual in it.
fn row_flags(stats: RowStats, part: TargetPart) -> u32 {
    var flags = stats_flags(stats) | part.flags;
    if TARGET_SUMS {
        flags |= select(0u, INVALID_TARGET, (stats.marks & TARGET_NOT_FINITE) != 0u);
        flags |= select(0u, INVALID_WEIGHT, (stats.marks & BAD_WEIGHT) != 0u);
    }
    return flags;
}
