// Uses: element, pack, row_span

// Logits that the output overwrites, a word or a pack at a time. If a word is read through one of the views and written
// through the other, there is a barrier between the two.

const IN_PLACE: bool = true;

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;
@group(0) @binding(2) var<storage, read_write> logit_packs: array<Pack>; // the same buffer, a pack per load

fn load_logit(index: u32) -> u32 {
    return widened(logits[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

fn load_pack(at: u32) -> QuadPair {
    return unpacked(logit_packs[at]);
}
