// The result of a row whose logits were read.

fn store_read_row(seat: Seat, stats: RowStats, input: RowInput, part: TargetPart) {
    let flags = row_flags(stats, part);
    let lse = logsumexp_bits(stats);
    if flags != 0u {
        store_row_result(seat, special_bits(flags, 0u), lse, stats.position, flags);
        return;
    }
    let share = swept_share();
    let swept_infinite = share > 0.0 && (stats.marks & MASS_AT_NEG_INFINITY) != 0u;
    var loss = part.loss;
    if TARGET_SUMS && share > 0.0 {
        loss += swept_loss(stats, share);
    }
    var bits = bitcast<u32>(input.weight * loss);
    // Nothing is NaN here but what went beyond f32 on its way.
    if part.infinite || swept_infinite || is_nan(bits) {
        bits = INFINITY;
    }
    // Only the flag tells of a z-loss beyond f32; the sum of the two is made where rows are reduced.
    let whole = with_z_loss(bits, z_loss_of(input, lse));
    store_row_result(seat, bits, lse, stats.position, select(0u, INFINITE_LOSS, whole == INFINITY));
}
