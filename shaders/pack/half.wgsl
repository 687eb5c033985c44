// Uses: element, row_span

// One load brings eight 16-bit values, in words of 32 bits.

alias Pack = vec4<u32>;
const PACK_VALUES: u32 = 8u;
const PACK_WORDS: u32 = 4u;
alias PackWord = u32;

fn unpacked(pack: Pack) -> QuadPair {
    return QuadPair(widened_quad(pack.xy), widened_quad(pack.zw));
}

fn packed(pair: QuadPair) -> Pack {
    let own = storable(pair);
    return vec4(narrowed_quad(own.a), narrowed_quad(own.b));
}
