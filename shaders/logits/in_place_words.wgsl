// Uses: element, pack, row_span

// Logits that the output overwrites, a word at a time: WebGPU allows no second view of a buffer that is written.

const IN_PLACE: bool = true;

@group(0) @binding(1) var<storage, read_write> logits: array<u32>;

fn load_logit(index: u32) -> u32 {
    return widened(logits[index / LOGITS_PER_WORD], index % LOGITS_PER_WORD);
}

fn load_words(index: u32) -> vec4<u32> {
    return vec4(load_logit(index), load_logit(index + 1u), load_logit(index + 2u), load_logit(index + 3u));
}

fn load_pack(at: u32) -> QuadPair {
    let first = at * PACK_VALUES;
    if PACK_VALUES == 4u {
        return QuadPair(load_words(first), vec4(0u));
    }
    return QuadPair(load_words(first), load_words(first + 4u));
}
