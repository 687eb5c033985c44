// Uses: element, pack, row_span

// Logits over which the output is written, a word or a pack at a time. Where a word is read through one of the views and
// written through the other, a barrier lies between.

const IN_PLACE: bool = true;

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;
@group(0) @binding(2) var<storage, read_write> logit_packs: array<Pack>; // the same buffer, a pack a load

fn load_logit(index: u32) -> u32 {
    return widened(logits[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

fn load_pack(index: u32) -> QuadPair {
    return unpacked(logit_packs[index / PACK_VALUES]);
}
