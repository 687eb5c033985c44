// Uses: element, pack, row_span

// Logits that are only read. Loads return the bits of f32, whatever the type.

const IN_PLACE: bool = false;

@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> logit_packs: array<Pack>; // the same buffer, a pack per load

fn load_logit(index: u32) -> u32 {
    return widened(logits[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

fn load_pack(at: u32) -> QuadPair {
    return unpacked(logit_packs[at]);
}
