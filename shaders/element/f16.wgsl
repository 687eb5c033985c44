// Uses: params

// f16 logits, two per word; kernels see the bits of f32. Both conversions work on integers. Widening is exact, including
// special values and denormals; narrowing rounds once, to nearest, ties to even. WGSL leaves the rounding of its own pack
// open, and an adapter's unpack may drop a NaN, flush a denormal, or be missing.

const LOGITS_PER_WORD: u32 = 2u;
alias Quad = vec2<u32>; // the words of four values

fn widened_pair(word: u32) -> vec2<u32> {
    let halves = vec2(word & 0xffffu, word >> 16u);
    let sign = (halves & vec2(0x8000u)) << vec2(16u);
    let magnitude = halves & vec2(0x7fffu);
    let normal = (magnitude << vec2(13u)) + vec2(0x38000000u);
    let special = (magnitude << vec2(13u)) | vec2(INFINITY);
    let denormal = bitcast<vec2<u32>>(vec2<f32>(magnitude) * 5.9604644775390625e-8); // units of 2^-24
    let finite = select(normal, denormal, magnitude < vec2(0x400u));
    return sign | select(finite, special, magnitude >= vec2(0x7c00u));
}

fn widened(word: u32, at: u32) -> u32 {
    let pair = widened_pair(word);
    return select(pair.y, pair.x, at == 0u);
}

fn widened_quad(words: Quad) -> vec4<u32> {
    return vec4(widened_pair(words.x), widened_pair(words.y));
}

// Without a branch, because it is inlined many times. Below 2^-14, the least normal f16, the sum with 0.5 rounds to units of
// 2^-24, which are then the sum's lowest bits: what an adapter flushes is below half a unit.
fn narrowed(bits: u32) -> u32 {
    let magnitude = bits & MAGNITUDE;
    let normal = (magnitude + 0xc8000fffu + ((magnitude >> 13u) & 1u)) >> 13u; // the exponent's bias less by 112
    let denormal = bitcast<u32>(bitcast<f32>(magnitude) + 0.5) - 0x3f000000u;
    let special = select(0x7c00u, 0x7e00u, magnitude > INFINITY);
    let finite = select(normal, denormal, magnitude < 0x38800000u);
    // From 65520 on, half-way from the largest f16 to what would be the next one, it is infinite.
    return ((bits >> 16u) & 0x8000u) | select(finite, special, magnitude >= 0x477ff000u);
}

fn narrowed_quad(bits: vec4<u32>) -> Quad {
    return vec2(narrowed(bits.x) | (narrowed(bits.y) << 16u), narrowed(bits.z) | (narrowed(bits.w) << 16u));
}
