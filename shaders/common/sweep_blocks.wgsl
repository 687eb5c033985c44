// Uses: params, totals, the pass

// One invocation's part of the blocks' totals.
fn sweep_blocks(lane: u32) -> Totals {
    var own = no_rows();
    let blocks = (params.rows + BLOCK_ROWS - 1u) / BLOCK_ROWS;
    var block = lane;
    while block < blocks {
        var chunk = no_rows();
        for (var i = 0u; i < CHUNK_ROWS && block < blocks; i++) {
            chunk = add(chunk, block_totals[block]);
            block += REDUCE_LANES;
        }
        own = add(own, chunk);
    }
    return own;
}
