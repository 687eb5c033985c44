// Uses: params, seat, row_stats, target, row_input, row_result, row_results

// The result of a row whose logits were read.

fn store_read_row(seat: Seat, stats: RowStats, input: RowInput, part: TargetPart) {
    let flags = row_flags(stats, part);
    let lse = logsumexp_bits(stats);
    if flags != 0u {
        store_row_result(seat, special_bits(flags, 0u), lse, stats.position, flags);
        return;
    }
    let share = swept_share();
    var marks = part.marks;
    var loss = part.loss;
    if TARGET_SUMS && share > 0.0 {
        marks |= stats.marks & (MASS_AT_NEG_INFINITY | MINUS_MASS_AT_NEG_INFINITY);
        loss += swept_loss(stats, share, input.weight);
    }
    var bits = bitcast<u32>(loss);
    // A NaN here only means that something went beyond f32 on the way.
    if is_nan(bits) {
        bits = INFINITY;
    }
    switch marks {
        case 0u: {}
        case MASS_AT_NEG_INFINITY: { bits = INFINITY; }
        case MINUS_MASS_AT_NEG_INFINITY: { bits = NEG_INFINITY; }
        default: { bits = NAN; } // ∞ − ∞
    }
    // Only the flags record a z-loss beyond f32; loss and z-loss are added where rows are reduced.
    let whole = with_z_loss(bits, z_loss_of(input, lse, flags));
    store_row_result(seat, bits, lse, stats.position, loss_flags(whole));
}
