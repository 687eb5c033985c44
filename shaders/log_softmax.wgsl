// log_softmax_j = (x_j − row_max) − ln Σ exp(x − row_max): two subtractions, in that order, so that an offset shared
// by the whole row cancels exactly before the small logarithm is taken off.

struct Record {
    row_max: f32,
    ln_sum_exp: f32,
}

fn output_bits(bits: u32, col: u32, record: Record) -> u32 {
    let log_p = (bitcast<f32>(bits) - record.row_max) - record.ln_sum_exp;
    return select(bitcast<u32>(log_p), NEG_INFINITY, bits == NEG_INFINITY);
}

@compute @workgroup_size(LANES)
fn log_softmax(
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
        fill_output(row, lane, special_bits(flags, NEG_INFINITY));
        return;
    }
    sweep_output(span, row, lane, Record(row_max(stats.key), ln_sum_exp(stats)));
}
