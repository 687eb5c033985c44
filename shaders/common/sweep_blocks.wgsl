// One invocation's part of the blocks' totals.
fn sweep_blocks(lane: u32) -> Totals {
    var own = no_rows();
    let blocks = (params.rows + BLOCK_ROWS - 1u) / BLOCK_ROWS;
    for (var block = lane; block < blocks; block += REDUCE_LANES) {
        own = add(own, block_totals[block]);
    }
    return own;
}
