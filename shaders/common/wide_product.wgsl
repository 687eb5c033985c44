// Uses: nothing

// a·b·c·d for factors of any size. Exponents are added as integers, so that nothing overflows or underflows on the way,
// whatever order a compiler multiplies in. If a factor is 0 or denormal, the product is 0; otherwise, if one is ±∞, it
// is ±∞.

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

fn wide_product(factors: vec4<f32>) -> f32 {
    let bits = bitcast<vec4<u32>>(factors);
    let biased = vec4<i32>((bits >> vec4(23u)) & vec4(255u));
    let mantissas = bitcast<vec4<f32>>((bits & vec4(0x807fffffu)) | vec4(0x3f800000u));
    let exponents = select(biased - vec4(127), vec4(1000), biased == vec4(255));
    let mantissa = (mantissas.x * mantissas.y) * (mantissas.z * mantissas.w);
    let sum = (exponents.x + exponents.y) + (exponents.z + exponents.w);
    let exponent = clamp(sum, -252, 252);
    let half = exponent >> 1u;
    let product = (mantissa * power_of_two(half)) * power_of_two(exponent - half);
    return select(product, 0.0, any(biased == vec4(0)));
}
