// Uses: params, row_span

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

// Two quads as `narrowed_quad` takes them: every NaN has bits that rounding keeps. One branch, rarely taken, for both.
fn storable(pair: QuadPair) -> QuadPair {
    var own = pair;
    if stores_nan {
        own.a = select(pair.a, vec4(NAN), (pair.a & vec4(MAGNITUDE)) > vec4(INFINITY));
        own.b = select(pair.b, vec4(NAN), (pair.b & vec4(MAGNITUDE)) > vec4(INFINITY));
    }
    return own;
}

fn narrowed_quad(bits: vec4<u32>) -> Quad {
    let rounded = bits + vec4(0x7fffu) + extractBits(bits, 16u, 1u);
    return vec2((rounded.x >> 16u) | (rounded.y & 0xffff0000u), (rounded.z >> 16u) | (rounded.w & 0xffff0000u));
}
