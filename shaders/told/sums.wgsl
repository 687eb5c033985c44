// Uses: params, seat, cap, order_key, wide_product, row_stats, row_fields, row_result, row_results

// Readouts from the sums of the sweep.

// The order key's float, or −∞.
fn logit_bits(key: i32) -> u32 {
    return select(bitcast<u32>(capped_one(row_max(key))), NEG_INFINITY, key <= KEY_NEG_INFINITY);
}

// The distance from the maximum to the runner-up, divided by T: ln of the ratio of their probabilities. Halves do not
// overflow.
fn margin_bits(stats: RowStats) -> u32 {
    if stats.readouts.second <= KEY_NEG_INFINITY {
        return INFINITY;
    }
    let half = 0.5 * stats.base - 0.5 * capped_one(row_max(stats.readouts.second));
    return bitcast<u32>(wide_product(vec4(half, params.twice_inverse_temperature, 1.0, 1.0)));
}

// The readouts that the sweep's sums give. `inverse` turns e into a probability; `own` is the target's e, and its exponent.
fn store_swept_readouts(seat: Seat, stats: RowStats, inverse: f32, own: vec2<f32>) {
    let sums = stats.readouts;
    let own_prob = own.x * inverse;
    let spread = (sums.spread - own.x * own.y) * inverse;
    let entropy = ln_z(stats) * (stats.sum_exp * inverse) + spread / LOG2_E;
    store_field(seat, FIELD_ENTROPY, bitcast<u32>(entropy));
    let others = select(sums.others * inverse, 1.0 - own_prob, LOG_PROBS);
    let brier = others * others + sums.squares * inverse * inverse;
    store_field(seat, FIELD_BRIER, bitcast<u32>(brier));
    store_field(seat, FIELD_RANK, sums.ahead + 1u);
    // The rounding of two sums may bring a probability above 1.
    let ahead = sums.mass_ahead * inverse;
    store_field(seat, FIELD_MASS_AHEAD, bitcast<u32>(select(min(ahead, 1.0), ahead, LOG_PROBS)));
    store_field(seat, FIELD_MARGIN, margin_bits(stats));
    store_field(seat, FIELD_MIN_LOGIT, logit_bits(sums.least));
    let mean = select(bitcast<u32>(sums.mean), NEG_INFINITY, sums.least == KEY_NEG_INFINITY);
    store_field(seat, FIELD_MEAN_LOGIT, mean);
}
