// Uses: params, seat, wide_product, row_input, row_results, pair_stats

// The result of KL(teacher ‖ student) for a row, from its stats: weight · KL, times T² if asked for.

override SCALE_BY_T_SQUARED: bool;

// T or 1; a loss is scaled by its square. (Hinton, Vinyals, Dean 2015: a gradient shrinks as 1/T² when a temperature
// flattens both distributions.)
fn root_of_scale() -> f32 {
    return select(1.0, 1.0 / params.inverse_temperature, SCALE_BY_T_SQUARED);
}

// The scale divided by T; a gradient is scaled by this.
fn slope_scale() -> f32 {
    return select(params.inverse_temperature, 1.0 / params.inverse_temperature, SCALE_BY_T_SQUARED);
}

// weight · scale · KL of a row without flags. Rounding does not bring it below 0. If KL itself is beyond f32, the logarithm is
// negligible beside it.
fn scaled_divergence(stats: PairStats, weight: f32) -> f32 {
    let mean = stats.cross / stats.teacher.sum;
    let cross = wide_product(vec4(mean, 4.0 / CROSS_SCALE, params.inverse_temperature, 1.0));
    let kl = cross + ln_quotient(stats.student.sum, stats.teacher.sum);
    if is_finite(bitcast<u32>(kl)) {
        return wide_product(vec4(max(kl, 0.0), root_of_scale(), root_of_scale(), weight));
    }
    return wide_product(vec4(mean, 4.0 / CROSS_SCALE, slope_scale(), weight));
}

fn store_read_row(seat: Seat, stats: PairStats, input: RowInput) {
    let flags = pair_flags(stats);
    if flags != 0u {
        store_row_result(seat, special_bits(flags), flags);
        return;
    }
    let loss = bitcast<u32>(scaled_divergence(stats, input.weight));
    // The logits are finite, so a loss that is not finite is beyond f32.
    let exceeds = stats.infinite != 0u || !is_finite(loss);
    store_row_result(seat, select(loss, INFINITY, exceeds), 0u);
}
