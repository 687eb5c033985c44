// softmax_j = exp(x_j − row_max) / Σ exp(x − row_max).

struct Record {
    row_max: f32,
    inverse_sum: f32,
}

fn output_bits(bits: u32, col: u32, record: Record) -> u32 {
    let p = scaled_exp(bitcast<f32>(bits), record.row_max) * record.inverse_sum;
    return select(bitcast<u32>(p), 0u, bits == NEG_INFINITY);
}

@compute @workgroup_size(LANES)
fn softmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let span = row_span(row);
    let stats = row_stats(span, lane);
    let flags = stats_flags(stats);
    if flags != 0u {
        fill_output(row, lane, special_bits(flags, 0u));
        return;
    }
    sweep_output(span, row, lane, Record(row_max(stats.key), 1.0 / stats.sum_exp));
}
