// Uses: params

// bf16 logits, two per word: the upper halves of f32. Narrowing rounds once, to nearest, ties to even.

const LOGITS_PER_WORD: u32 = 2u;
alias Quad = vec2<u32>; // the words of four values

fn widened(word: u32, at: u32) -> u32 {
    return select(word & 0xffff0000u, word << 16u, at == 0u);
}

fn widened_quad(words: Quad) -> vec4<u32> {
    let low = words << vec2(16u);
    let high = words & vec2(0xffff0000u);
    return vec4(low.x, high.x, low.y, high.y);
}

fn narrowed(bits: u32) -> u32 {
    let upper = bits >> 16u;
    return select((bits + 0x7fffu + (upper & 1u)) >> 16u, upper | 0x40u, is_nan(bits));
}

fn narrowed_quad(bits: vec4<u32>) -> Quad {
    return vec2(narrowed(bits.x) | (narrowed(bits.y) << 16u), narrowed(bits.z) | (narrowed(bits.w) << 16u));
}
