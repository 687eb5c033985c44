// Uses: row_span

// Codes of 16 bits, two per word, which the row's scale and minimum turn into values: see coding/rows.wgsl.

const LOGITS_PER_WORD: u32 = 2u;
alias Quad = vec2<u32>; // the words of four codes

fn widened(word: u32, at: u32) -> u32 {
    return select(word >> 16u, word & 0xffffu, at == 0u);
}

fn widened_quad(words: Quad) -> vec4<u32> {
    let low = words & vec2(0xffffu);
    let high = words >> vec2(16u);
    return vec4(low.x, high.x, low.y, high.y);
}

fn storable(pair: QuadPair) -> QuadPair {
    return pair;
}

fn narrowed_quad(codes: vec4<u32>) -> Quad {
    return vec2((codes.x & 0xffffu) | (codes.y << 16u), (codes.z & 0xffffu) | (codes.w << 16u));
}
