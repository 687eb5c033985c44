// Uses: row_span

// One load brings eight f32 values, in words of 64 bits. In lavapipe the cost of a load is per word and lane, whatever the
// width of the word, so this halves the cost of a value.

alias Pack = vec4<u64>;
const PACK_VALUES: u32 = 8u;
const PACK_WORDS: u32 = 4u;
alias PackWord = u64;

fn unpacked(pack: Pack) -> QuadPair {
    let low = vec4<u32>(pack);
    let high = vec4<u32>(pack >> vec4(32u));
    return QuadPair(vec4(low.x, high.x, low.y, high.y), vec4(low.z, high.z, low.w, high.w));
}

fn packed(pair: QuadPair) -> Pack {
    let low = vec4(pair.a.xz, pair.b.xz);
    let high = vec4(pair.a.yw, pair.b.yw);
    return vec4<u64>(low) | (vec4<u64>(high) << vec4(32u));
}
