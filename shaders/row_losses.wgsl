// The loss alone: one read of the logits, one record a row.

@compute @workgroup_size(LANES)
fn row_losses(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let input = unpack_row_input(row_inputs[params.first_row + row]);
    if is_skipped(input) {
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
}
