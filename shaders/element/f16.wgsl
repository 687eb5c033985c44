// Uses: params, row_span

// f16 logits, two per word; kernels see the bits of f32. Widening is exact, including special values and denormals; narrowing
// rounds once, to nearest, ties to even. WGSL leaves the rounding of its own pack open, so narrowing works on integers.

const LOGITS_PER_WORD: u32 = 2u;
alias Quad = vec2<u32>; // the words of four values

fn widened(word: u32, at: u32) -> u32 {
    let pair = widened_pair(word);
    return select(pair.y, pair.x, at == 0u);
}

fn widened_quad(words: Quad) -> vec4<u32> {
    return vec4(widened_pair(words.x), widened_pair(words.y));
}

const HALF_NAN: u32 = 0x47c00000u; // 98304, narrowed to the bits of a NaN

// Two quads as `narrowed_quad` takes them: at most 65536, which is narrowed to the bits of infinity, or a NaN's bits. From
// 65520 on, half-way from the largest f16 to 65536, a value rounds to that as well. One branch, rarely taken, for both.
fn storable(pair: QuadPair) -> QuadPair {
    let limits = vec4(65536.0);
    var own = QuadPair(
        bitcast<vec4<u32>>(clamp(bitcast<vec4<f32>>(pair.a), -limits, limits)),
        bitcast<vec4<u32>>(clamp(bitcast<vec4<f32>>(pair.b), -limits, limits)),
    );
    if stores_nan {
        own.a = select(own.a, vec4(HALF_NAN), (pair.a & vec4(MAGNITUDE)) > vec4(INFINITY));
        own.b = select(own.b, vec4(HALF_NAN), (pair.b & vec4(MAGNITUDE)) > vec4(INFINITY));
    }
    return own;
}

// Without a branch, because it is inlined many times. Below 2^-14, the least normal f16, the sum with 0.5 rounds to units of
// 2^-24, which are then the sum's lowest bits: what an adapter flushes is below half a unit.
fn narrowed_quad(bits: vec4<u32>) -> Quad {
    // The exponent's bias is less by 112. The lowest 15 bits count.
    let normal = (bits + vec4(0xc8000fffu) + extractBits(bits, 13u, 1u)) >> vec4(13u);
    let magnitude = abs(bitcast<vec4<f32>>(bits));
    let denormal = bitcast<vec4<u32>>(magnitude + vec4(0.5));
    let halves = select(normal, denormal, magnitude < vec4(6.103515625e-5));
    let signs = vec2((bits.x >> 16u) | (bits.y & 0xffff0000u), (bits.z >> 16u) | (bits.w & 0xffff0000u));
    let pairs = vec2((halves.x & 0x7fffu) | (halves.y << 16u), (halves.z & 0x7fffu) | (halves.w << 16u));
    return (pairs & vec2(0x7fff7fffu)) | (signs & vec2(0x80008000u));
}
