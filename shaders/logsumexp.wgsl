// lse = ln Σ exp(x), one value a row.

@group(0) @binding(4) var<storage, read_write> lse: array<u32>;

@compute @workgroup_size(LANES)
fn logsumexp(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_workgroup(workgroup, grid);
    if row >= params.rows { return; }
    let stats = row_stats(row_span(row), lane);
    if lane == 0u {
        lse[params.first_row + row] = logsumexp_bits(stats);
    }
}
