// Uses: params

// Widens f16 on integers: an adapter's unpack may drop a NaN, flush a denormal, or be missing.

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
