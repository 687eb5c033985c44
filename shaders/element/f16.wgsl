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

fn narrowed(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & MAGNITUDE;
    if magnitude > INFINITY {
        return sign | 0x7e00u;
    }
    if magnitude >= 0x477ff000u { // 65520, half-way from the largest f16 to what would be the next one
        return sign | 0x7c00u;
    }
    if magnitude >= 0x38800000u { // 2^-14, the least normal f16
        let rounded = magnitude + 0xfffu + ((magnitude >> 13u) & 1u);
        return sign | ((rounded - 0x38000000u) >> 13u);
    }
    // In units of 2^-24; anything below half a unit is shifted out.
    let shift = min(126u - min(magnitude >> 23u, 126u), 25u);
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    let units = mantissa >> shift;
    let rest = mantissa & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    let up = rest > half || (rest == half && (units & 1u) == 1u);
    return sign | (units + select(0u, 1u, up));
}

fn narrowed_quad(bits: vec4<u32>) -> Quad {
    return vec2(narrowed(bits.x) | (narrowed(bits.y) << 16u), narrowed(bits.z) | (narrowed(bits.w) << 16u));
}
