// Uses: pack, logits, row_span

// Packs of the output over the logits.

fn put_pack(at: u32, pair: QuadPair) {
    logit_packs[at] = packed(pair);
}

fn put_word(pack: u32, word: u32, bits: PackWord) {
    logit_packs[pack][word] = bits;
}
