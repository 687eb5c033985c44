// Uses: params, row_input, row_input_of, totals

// From row results to block totals. Also writes to the caller's own buffers, one value per row.

override WRITE_ROW_LOSSES: bool;
override WRITE_LSE: bool;
override WRITE_ARGMAX: bool;

@group(0) @binding(5) var<storage, read> row_results: array<vec4<u32>>; // {loss, lse, argmax, flags}
@group(0) @binding(6) var<storage, read_write> block_totals: array<Totals>;
@group(0) @binding(7) var<storage, read_write> row_losses: array<u32>;
@group(0) @binding(8) var<storage, read_write> lse: array<u32>;
@group(0) @binding(9) var<storage, read_write> argmax: array<u32>;

fn finite_or_zero(bits: u32) -> f32 {
    return bitcast<f32>(select(0u, bits, is_finite(bits)));
}

// What a row adds to the batch. Also writes the row's values that the caller asked for.
fn totals_of(row: u32) -> Totals {
    let loss = row_results[row].x;
    var flags = row_results[row].w;
    var z_loss = 0u;
    if Z_LOSS { z_loss = z_loss_of(row_input_of(row), row_results[row].y, flags); }
    if WRITE_ROW_LOSSES { row_losses[row] = with_z_loss(loss, z_loss); }
    if WRITE_LSE { lse[row] = row_results[row].y; }
    if WRITE_ARGMAX { argmax[row] = row_results[row].z; }
    flags |= select(0u, INFINITE_Z_LOSS | PLUS_INFINITE, z_loss == INFINITY);
    flags |= select(0u, PLUS_INFINITE, loss == INFINITY);
    flags |= select(0u, MINUS_INFINITE, loss == NEG_INFINITY);
    return Totals(finite_or_zero(loss), finite_or_zero(z_loss), 0.0, 0.0, 0u, flags, NO_CLASS, 0u);
}

@compute @workgroup_size(REDUCE_LANES)
fn reduce_loss(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_workgroup(workgroup, grid);
    let block_start = block * BLOCK_ROWS;
    if block_start >= params.rows { return; }
    let block_end = min(block_start + BLOCK_ROWS, params.rows);
    let total = workgroup_totals(block_start, block_end, lane);
    if lane == 0u {
        block_totals[block] = total;
    }
}
