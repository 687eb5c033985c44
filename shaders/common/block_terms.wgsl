// Uses: params, totals, the pass

// The blocks' totals, as what is summed.

fn totals_of(block: u32) -> Totals {
    return block_totals[block];
}

fn blocks() -> u32 {
    return (params.rows + BLOCK_ROWS - 1u) / BLOCK_ROWS;
}
