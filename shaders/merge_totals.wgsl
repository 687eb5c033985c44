// The blocks' totals into one, by one workgroup.

@group(0) @binding(4) var<storage, read> block_totals: array<Totals>;
@group(0) @binding(5) var<storage, read_write> totals: Totals;

@compute @workgroup_size(REDUCE_LANES)
fn merge_totals(@builtin(local_invocation_index) lane: u32) {
    let total = workgroup_totals(sweep_blocks(lane), lane);
    if lane == 0u {
        totals = total;
    }
}
