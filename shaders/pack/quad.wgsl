// Uses: element, row_span

// One load brings four values, in words of 32 bits.

alias Pack = Quad;
const PACK_VALUES: u32 = 4u;
const PACK_WORDS: u32 = PACK_VALUES / LOGITS_PER_WORD;
alias PackWord = u32;

fn unpacked(pack: Pack) -> QuadPair {
    return QuadPair(widened_quad(pack), vec4(0u));
}

fn packed(pair: QuadPair) -> Pack {
    return narrowed_quad(storable(pair).a);
}
