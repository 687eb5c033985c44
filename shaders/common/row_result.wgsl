// What a loss says of a row, from its stats and its target: {loss, lse, argmax, flags}, as bits. The loss is the row's
// weight times the target's part; the z-loss follows from weight and lse.
//
// With ℓ_j = −ln p_j = ln z + (m − s_j) / T, every target's part is
//
//     gathered + share · Σ ω_j ℓ_j,     Σ ω_j ℓ_j = mass · ln z + 2·distance / T
//
// and the target prelude supplies what is gathered and the share of what was swept.

override LOG_PROBS: bool = false; // the input is log-probabilities: ℓ_j = −x_j

// What is gathered of a row's target.
struct TargetPart {
    loss: f32,
    mass: f32,      // Σ of its weights: what p is multiplied by in the gradient
    infinite: bool, // a class with mass is impossible
    flags: u32,
}

// ln z, by which ℓ_j = ln z + (m − s_j) / T.
fn ln_z(stats: RowStats) -> f32 {
    if LOG_PROBS {
        return -stats.base;
    }
    return ln_sum_exp(stats);
}

// A distance times two factors. A large and a small factor meet first, and else the distance meets them one by one: no
// product on the way is beyond f32, or below it, where the whole is not.
fn scaled_twice(distance: f32, a: f32, b: f32) -> f32 {
    let are_opposite = (abs(a) < 1.0) != (b < 1.0);
    return select((distance * a) * b, distance * (a * b), are_opposite);
}

// A weight times −ln p of a score. Never lse − s, which loses everything when logits share an offset of 1e6, never the
// logarithm of p, which is infinite once p underflows. Halves do not overflow.
fn surprise(stats: RowStats, bits: u32, weight: f32) -> f32 {
    let s = bitcast<f32>(bits);
    if LOG_PROBS {
        return -s * weight;
    }
    let below = 0.5 * stats.base - 0.5 * capped_one(s);
    return weight * ln_z(stats) + scaled_twice(below, weight, params.twice_inverse_temperature);
}

// A share of Σ ω_j ℓ_j, of what was swept.
fn swept_loss(stats: RowStats, share: f32) -> f32 {
    let mass = share * stats.mass;
    let away = (stats.distance * share) * (2.0 * params.inverse_temperature);
    return select(mass * ln_z(stats), 0.0, mass == 0.0) + away;
}

// The sum of exponentials with the target's own, which was left out of it.
fn completed(stats: RowStats, span: RowSpan, reads: bool) -> RowStats {
    var all = stats;
    if EXCLUDE_TARGET && reads {
        let bits = score(span, excluded_col(span));
        all.sum_exp += select(scaled_exp(capped_one(bitcast<f32>(bits)), stats.base), 0.0, bits == NEG_INFINITY);
    }
    return all;
}

// What is out of the ordinary in a row.
fn row_flags(stats: RowStats, part: TargetPart) -> u32 {
    var flags = stats_flags(stats) | part.flags;
    if TARGET_SUMS {
        flags |= select(0u, INVALID_TARGET, (stats.marks & TARGET_NOT_FINITE) != 0u);
        flags |= select(0u, INVALID_WEIGHT, (stats.marks & BAD_WEIGHT) != 0u);
    }
    return flags;
}
