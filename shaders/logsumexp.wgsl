// Uses: params, seat, row_span, row_stats

// lse = ln Σ exp(x), one value per row.

@group(0) @binding(4) var<storage, read_write> lse: array<u32>;

@compute @workgroup_size(INVOCATIONS)
fn logsumexp(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let at = seat(linear_workgroup(workgroup, grid), invocation);
    let stats = row_stats(row_span(at), at, at.taken);
    if at.taken && at.lane == 0u {
        lse[params.first_row + at.row] = logsumexp_bits(stats);
    }
}
