// What KL(teacher ‖ student) says of a row, from its stats: weight · KL, times T² if asked for.

override SCALE_BY_T_SQUARED: bool = false;

// T², or 1. (Hinton, Vinyals, Dean 2015: a gradient shrinks as 1/T² where a temperature flattens both.)
fn loss_scale() -> f32 {
    if SCALE_BY_T_SQUARED {
        return 1.0 / (params.inverse_temperature * params.inverse_temperature);
    }
    return 1.0;
}

// There is no lse of two batches, and no argmax.
fn store_read_row(seat: Seat, stats: PairStats, input: RowInput) {
    let flags = pair_flags(stats);
    if flags != 0u {
        store_row_result(seat, special_bits(flags), 0u, NO_CLASS, flags);
        return;
    }
    let loss = bitcast<u32>(input.weight * (loss_scale() * divergence(stats)));
    // Of finite logits, what is not finite is beyond f32.
    let exceeds = stats.infinite != 0u || !is_finite(loss);
    store_row_result(seat, select(loss, INFINITY, exceeds), 0u, NO_CLASS, 0u);
}
