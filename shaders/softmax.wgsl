// Uses: params, seat, logits, row_span, cap, row_stats, sweep_output

// softmax_j = exp((s_j − max) / T) / Σ exp((s − max) / T), for logits or masked scores.

struct Record {
    row_max: f32,
    inverse_sum: f32,
}

fn output_bits(bits: u32, span: RowSpan, col: u32, record: Record) -> u32 {
    let p = scaled_exp(capped_one(bitcast<f32>(bits)), record.row_max) * record.inverse_sum;
    return select(bitcast<u32>(p), 0u, bits == NEG_INFINITY);
}

@compute @workgroup_size(INVOCATIONS)
fn softmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let span = row_span(at);
    let stats = row_stats(span, at, at.taken);
    if IN_PLACE { // every lane has read its part of the row, some of which another lane is about to write
        workgroupBarrier();
        storageBarrier();
    }
    if !at.taken { return; }
    let flags = stats_flags(stats);
    if flags != 0u {
        fill_output(span, at.lane, special_bits(flags, 0u));
        return;
    }
    sweep_output(span, at.lane, Record(stats.base, 1.0 / stats.sum_exp));
}
