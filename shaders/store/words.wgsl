// Uses: row_span, sweep_output

// Packs of the output, a word at a time: WebGPU allows no second view of a buffer that is written, and no ninth buffer in a
// stage.

fn store_pack(out: RowSpan, pack: u32, pair: QuadPair) {
    store_pack_words(out, pack, pair);
}

fn store_own_words(out: RowSpan, pack: u32, pair: QuadPair) {
    store_edge(out, pack, pair);
}
