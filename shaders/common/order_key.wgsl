// Uses: params

// A float as an order key: an i32 that sorts as the floats do, with −0 equal to +0 and every NaN above all others. One
// integer max then finds a row's maximum, a +∞, a NaN or a row of only −∞. This is exact, even on adapters whose float max
// drops NaN and whose comparisons flush denormals.

const KEY_NONE: i32 = -2147483648;
const KEY_NEG_INFINITY: i32 = -2139095040;
const KEY_LOWEST: i32 = -2139095039; // −3.40282347e38
const KEY_INFINITY: i32 = 2139095040;
const KEY_NAN: i32 = 2147483647;

fn order_keys(bits: vec4<u32>) -> vec4<i32> {
    let signed = bitcast<vec4<i32>>(bits);
    let keys = select(signed, vec4(KEY_NONE) - signed, signed < vec4(0));
    return select(keys, vec4(KEY_NAN), (bits & vec4(MAGNITUDE)) > vec4(INFINITY));
}

// The float that a key stands for, but at least the lowest finite one, so that x − row_max is never ∞ − ∞.
fn row_max(key: i32) -> f32 {
    let floor = max(key, KEY_LOWEST);
    return bitcast<f32>(select(floor, KEY_NONE - floor, floor < 0));
}
