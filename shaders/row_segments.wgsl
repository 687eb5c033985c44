// Uses: params, seat, row_span, row_stats, store_segment

// The stats of each segment of a split row, for logits or masked scores.

@compute @workgroup_size(INVOCATIONS)
fn row_segments(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let stats = row_stats(row_span(at), at, at.taken);
    if at.taken && at.lane == 0u {
        store_segment(at, stats);
    }
}
