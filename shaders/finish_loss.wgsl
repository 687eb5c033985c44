// Uses: params, totals, block_terms, batch_weight

// The batch's loss, from the sums of the blocks and the denominators that the gradient used.

override EMPTY_ZERO: bool; // the mean of no rows is 0; else NaN

@group(0) @binding(4) var<storage, read> row_inputs: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> block_totals: array<Totals>;
@group(0) @binding(6) var<storage, read_write> loss: array<u32>; // laid out as LossRecord in Rust

@compute @workgroup_size(REDUCE_LANES)
fn finish_loss(@builtin(local_invocation_index) lane: u32) {
    let total = workgroup_totals(0u, blocks(), lane);
    if lane != 0u { return; }
    let head = row_inputs[0];
    let denominator = batch_denominator();
    let counted = head.z;
    var flags = total.flags | head.w;
    if counted == 0u || denominator == 0.0 {
        flags |= NO_ROW_COUNTS;
    }
    var z_loss = bitcast<u32>(total.z_loss / batch_row_denominator());
    var sum = bitcast<u32>(total.sum + total.z_loss);
    var value = bitcast<u32>(total.sum / denominator + bitcast<f32>(z_loss));
    // If all rows are finite, a sum that is not finite is beyond f32. This does not matter if there is also a NaN.
    flags |= select(loss_flags(sum), 0u, (flags & NAN_LOSS) != 0u);
    switch flags & (PLUS_INFINITE | MINUS_INFINITE) {
        case 0u: {}
        case PLUS_INFINITE: { sum = INFINITY; value = INFINITY; }
        case MINUS_INFINITE: { sum = NEG_INFINITY; value = NEG_INFINITY; }
        default: { flags |= NAN_LOSS; } // ∞ − ∞
    }
    if (flags & INFINITE_Z_LOSS) != 0u {
        z_loss = INFINITY;
    }
    if denominator == 0.0 {
        value = select(NAN, 0u, EMPTY_ZERO);
        z_loss = value;
    }
    if (flags & NAN_LOSS) != 0u {
        sum = NAN;
        value = NAN;
        z_loss = select(NAN, 0u, params.z_loss == 0.0);
    }
    loss[0] = value;
    loss[1] = sum;
    loss[2] = head.x;
    loss[3] = counted;
    loss[4] = flags & TOLD_FLAGS;
    loss[5] = row_inputs[1].x;
    loss[6] = z_loss;
    loss[7] = head.y;
}
