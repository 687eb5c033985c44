// From targets to one record a row, and the totals that a mean's gradient needs before its first value. Reads no logit.

@group(0) @binding(4) var<storage, read> classes: array<u32>; // i32 bits, (rows,)
@group(0) @binding(5) var<storage, read_write> inputs: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> block_totals: array<Totals>;

@compute @workgroup_size(REDUCE_LANES)
fn row_inputs(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_workgroup(workgroup, grid);
    let block_start = block * BLOCK_ROWS;
    if block_start >= params.rows { return; }
    var own = no_rows();
    let block_end = min(block_start + BLOCK_ROWS, params.rows);
    for (var row = block_start + lane; row < block_end; row += REDUCE_LANES) {
        let class_index = classes[row];
        var input = RowInput(class_index, 1.0, 0u);
        var totals = Totals(0.0, 1.0, 1u, 0u, NO_CLASS);
        if class_index == params.ignore_index {
            input = RowInput(class_index, 0.0, IGNORED);
            totals = no_rows();
        } else if class_index >= params.cols {
            input = RowInput(class_index, 0.0, TARGET_OUT_OF_RANGE);
            totals = Totals(0.0, 0.0, 0u, TARGET_OUT_OF_RANGE, row);
        }
        inputs[row] = pack_row_input(input);
        own = add(own, totals);
    }
    let total = workgroup_totals(own, lane);
    if lane == 0u {
        block_totals[block] = total;
    }
}
