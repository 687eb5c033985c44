// The batch's loss: the blocks' sums, and the denominator that the gradient used.

@group(0) @binding(4) var<storage, read> block_totals: array<Totals>;
@group(0) @binding(5) var<storage, read> totals: Totals;
@group(0) @binding(6) var<storage, read_write> loss: array<u32>; // as the Rust side's LossRecord

@compute @workgroup_size(REDUCE_LANES)
fn finish_loss(@builtin(local_invocation_index) lane: u32) {
    let total = workgroup_totals(sweep_blocks(lane), lane);
    if lane != 0u { return; }
    let denominator = denominator_of(totals);
    var flags = total.flags | totals.flags;
    if totals.counted == 0u {
        flags |= NO_ROW_COUNTS;
    }
    var sum = bitcast<u32>(total.sum);
    var value = bitcast<u32>(total.sum / denominator);
    if (flags & INFINITE_LOSS) != 0u {
        sum = INFINITY;
        value = INFINITY;
    }
    if (flags & NAN_LOSS) != 0u {
        sum = NAN;
        value = NAN;
    }
    if denominator == 0.0 {
        value = NAN;
    }
    loss[0] = value;
    loss[1] = sum;
    loss[2] = bitcast<u32>(totals.weight);
    loss[3] = totals.counted;
    loss[4] = flags;
    loss[5] = totals.first_bad_row;
    loss[6] = 0u;
    loss[7] = 0u;
}
