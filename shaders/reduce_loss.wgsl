// Uses: params, row_input, row_input_of, row_fields, totals

// From row results to block totals. Also writes to the caller's own buffers: one loss per row, or one record of the fields
// that were asked for.

override WRITE_ROW_LOSSES: bool;
override TOLD_FIELDS: u32; // the fields of the caller's records

@group(0) @binding(5) var<storage, read> row_results: array<u32>;
@group(0) @binding(6) var<storage, read_write> block_totals: array<Totals>;
@group(0) @binding(7) var<storage, read_write> row_losses: array<u32>;
@group(0) @binding(8) var<storage, read_write> told_results: array<u32>;

fn field_of(row: u32, field: u32) -> u32 {
    return row_results[field_word(row, field)];
}

// Writes a row's record for the caller, with this loss and these flags.
fn tell(row: u32, loss: u32, flags: u32) {
    var at = row * countOneBits(TOLD_FIELDS);
    for (var rest = TOLD_FIELDS; rest != 0u; rest &= rest - 1u) {
        let field = 1u << firstTrailingBit(rest);
        var bits = field_of(row, field);
        if field == FIELD_LOSS { bits = loss; }
        if field == FIELD_FLAGS { bits = flags & TOLD_FLAGS; }
        told_results[at] = bits;
        at++;
    }
}

fn finite_or_zero(bits: u32) -> f32 {
    return bitcast<f32>(select(0u, bits, is_finite(bits)));
}

// What a row adds to the batch. Also writes the row's values that the caller asked for.
fn totals_of(row: u32) -> Totals {
    let loss = field_of(row, FIELD_LOSS);
    var flags = field_of(row, FIELD_FLAGS);
    var z_loss = 0u;
    if Z_LOSS { z_loss = z_loss_of(row_input_of(row), field_of(row, FIELD_LSE), flags); }
    let whole = with_z_loss(loss, z_loss);
    if WRITE_ROW_LOSSES { row_losses[row] = whole; }
    if TOLD_FIELDS != 0u { tell(row, whole, flags); }
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
