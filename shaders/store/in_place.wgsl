// Packs of the output over the logits.

fn put_pack(index: u32, pair: QuadPair) {
    logit_packs[index / PACK_VALUES] = packed(pair);
}
