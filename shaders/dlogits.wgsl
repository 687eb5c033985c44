// Loss and gradient: the row's record comes from the first sweep, the gradient from the second, out of cache.
//
//     dx_k = α·exp(x_k − row_max) − h·[k = y],   h = u, α = u / Σ exp(x − row_max),   u = weight / denominator
//
// which is u·(p − y): prediction minus target.

@group(0) @binding(6) var<storage, read> totals: Totals;

struct Record {
    row_max: f32,
    alpha: f32,
    h: f32,
    input: RowInput,
}

fn row_record(stats: RowStats, input: RowInput, denominator: f32) -> Record {
    let u = input.weight / denominator;
    return Record(row_max(stats.key), u / stats.sum_exp, u, input);
}

fn output_bits(bits: u32, col: u32, record: Record) -> u32 {
    let e = select(scaled_exp(bitcast<f32>(bits), record.row_max), 0.0, bits == NEG_INFINITY);
    return bitcast<u32>(record.alpha * e - target_gradient(col, record.input, record.h));
}

@compute @workgroup_size(LANES)
fn dlogits(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let input = unpack_row_input(row_inputs[params.first_row + row]);
    if is_skipped(input) {
        fill_output(row, lane, 0u);
        if lane == 0u {
            store_row_result(params.first_row + row, skipped_row_result(input));
        }
        return;
    }
    let span = row_span(row);
    let stats = row_stats(span, lane);
    if lane == 0u {
        store_row_result(params.first_row + row, row_result(stats, span, input));
    }
    let flags = stats_flags(stats);
    if flags != 0u {
        fill_output(row, lane, special_bits(flags, 0u));
        return;
    }
    sweep_output(span, row, lane, row_record(stats, input, denominator_of(totals)));
}
