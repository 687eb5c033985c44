// Uses: params, seat, row_span, row_stats

// The lowest column that holds the row's maximum, or the first NaN if there is one. Needs TRACK_ARGMAX.

@group(0) @binding(4) var<storage, read_write> best: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn argmax(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let stats = row_stats(row_span(at), at, at.taken);
    if at.taken && at.lane == 0u {
        best[params.first_row + at.row] = stats.position;
    }
}
