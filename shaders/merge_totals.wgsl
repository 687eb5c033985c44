// Uses: params, totals, block_terms

// One workgroup merges the totals of the blocks into one, the head of the row inputs.

@group(0) @binding(4) var<storage, read> block_totals: array<Totals>;
@group(0) @binding(5) var<storage, read_write> inputs: array<vec4<u32>>;

@compute @workgroup_size(REDUCE_LANES)
fn merge_totals(@builtin(local_invocation_index) lane: u32) {
    let total = workgroup_totals(0u, blocks(), lane);
    if lane == 0u {
        let weight = params.weight_factor * total.weight;
        inputs[0] = vec4(bitcast<u32>(weight), bitcast<u32>(total.row_weight), total.counted, total.flags);
        inputs[1] = vec4(total.first_bad_row, 0u, 0u, 0u);
    }
}
