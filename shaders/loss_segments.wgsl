// Uses: params, seat, row_span, row_stats, target, row_input, load_row_input, store_segment

// The stats of each segment of a split row, including its target's. A row that is left out is not read.

@compute @workgroup_size(INVOCATIONS)
fn loss_segments(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let input = load_row_input(at);
    let stats = row_stats(row_span_to(at, class_of(input)), at, !is_skipped(input));
    if at.taken && at.lane == 0u {
        store_segment(at, stats);
    }
}
