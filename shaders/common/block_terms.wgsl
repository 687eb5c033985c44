// Uses: params, totals, the pass

// The terms to sum are the totals of the blocks.

fn totals_of(block: u32) -> Totals {
    return block_totals[block];
}

fn blocks() -> u32 {
    return (params.rows + BLOCK_ROWS - 1u) / BLOCK_ROWS;
}
