// Uses: element, row_span

// One load brings eight 16-bit values, in words of 64 bits: see pack/f32_u64.wgsl.

alias Pack = vec2<u64>;
const PACK_VALUES: u32 = 8u;
const PACK_WORDS: u32 = 2u;
alias PackWord = u64;

fn unpacked(pack: Pack) -> QuadPair {
    let low = vec2<u32>(pack);
    let high = vec2<u32>(pack >> vec2(32u));
    return QuadPair(widened_quad(vec2(low.x, high.x)), widened_quad(vec2(low.y, high.y)));
}

fn packed(pair: QuadPair) -> Pack {
    let own = storable(pair);
    let a = narrowed_quad(own.a);
    let b = narrowed_quad(own.b);
    return vec2<u64>(vec2(a.x, b.x)) | (vec2<u64>(vec2(a.y, b.y)) << vec2(32u));
}
