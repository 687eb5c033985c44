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

// Two quads as `narrowed_quad` takes them: rounded to upper halves, and every NaN with bits that survive. One branch, rarely
// taken, for both. It comes after the rounding, and its condition is no constant (no row has 0 columns), because of lavapipe: a
// store goes lane by lane there, and LLVM moves plain integer arithmetic on what is stored into that loop, which rounds each
// lane's value by itself (256 rows of 50,304: the gradient took 1.17 times as long). It does not move a select.
fn storable(pair: QuadPair) -> QuadPair {
    var own = QuadPair(rounded_quad(pair.a), rounded_quad(pair.b));
    if stores_nan | (params.cols == 0u) {
        own.a = select(own.a, vec4(NAN), (pair.a & vec4(MAGNITUDE)) > vec4(INFINITY));
        own.b = select(own.b, vec4(NAN), (pair.b & vec4(MAGNITUDE)) > vec4(INFINITY));
    }
    return own;
}

fn rounded_quad(bits: vec4<u32>) -> vec4<u32> {
    return bits + vec4(0x7fffu) + extractBits(bits, 16u, 1u);
}

fn narrowed_quad(rounded: vec4<u32>) -> Quad {
    return vec2((rounded.x >> 16u) | (rounded.y & 0xffff0000u), (rounded.z >> 16u) | (rounded.w & 0xffff0000u));
}
