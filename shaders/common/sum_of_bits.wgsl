// Uses: params

// Sums of floats given as bits. Special values are decided on bits: infinities of both signs make NaN, and a NaN stays.

fn sum_of_bits(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let a_special = (a & vec4(MAGNITUDE)) >= vec4(INFINITY);
    let b_special = (b & vec4(MAGNITUDE)) >= vec4(INFINITY);
    let special = select(select(b, a, a_special), vec4(NAN), a_special & b_special & (a != b));
    let sums = bitcast<vec4<u32>>(bitcast<vec4<f32>>(a) + bitcast<vec4<f32>>(b));
    return select(sums, special, a_special | b_special);
}
