// Uses: pack, row_span

// Packs of the output in the logits' own type.

@group(0) @binding(12) var<storage, read_write> output_packs: array<Pack>; // the same buffer as the output

fn put_pack(at: u32, pair: QuadPair) {
    output_packs[at] = packed(pair);
}

fn put_word(pack: u32, word: u32, bits: PackWord) {
    output_packs[pack][word] = bits;
}
