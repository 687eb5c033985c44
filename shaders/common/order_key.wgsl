// Uses: params

// A float as an order key: an i32 that sorts as the floats do, with −0 equal to +0 and every NaN above all others. One
// integer max then finds a row's maximum, a +∞, a NaN or a row of only −∞. This is exact, even on adapters whose float max
// drops NaN and whose comparisons flush denormals.

const KEY_NONE: i32 = -2147483648;
const KEY_NEG_INFINITY: i32 = -2139095040;
const KEY_LOWEST: i32 = -2139095039; // −3.40282347e38
const KEY_INFINITY: i32 = 2139095040;
const KEY_NAN: i32 = 2147483647;
const UNSIGNED_NEG_INFINITY: u32 = 0x00800000u; // the key of −∞, as an unsigned one

fn order_keys(bits: vec4<u32>) -> vec4<i32> {
    let signed = bitcast<vec4<i32>>(bits);
    let keys = select(signed, vec4(KEY_NONE) - signed, signed < vec4(0));
    return select(keys, vec4(KEY_NAN), (bits & vec4(MAGNITUDE)) > vec4(INFINITY));
}

// The highest bits of four quads of floats: at least those of −∞ if there is a −∞, or a NaN with a sign.
fn highest_bits(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> u32 {
    let highest = max(max(a, b), max(c, d));
    return max(max(highest.x, highest.y), max(highest.z, highest.w));
}

// The largest order key of four quads of floats. The largest bits as i32 are those of the largest float, unless all floats
// have a sign: then the smallest bits are. Bits beyond −∞ are a NaN's. So three integer extremes of the raw bits serve for all.
fn largest_key(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> i32 {
    let largest = max(
        max(bitcast<vec4<i32>>(a), bitcast<vec4<i32>>(b)),
        max(bitcast<vec4<i32>>(c), bitcast<vec4<i32>>(d)),
    );
    let lowest = min(min(a, b), min(c, d));
    let signed = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let nearest = bitcast<i32>(min(min(lowest.x, lowest.y), min(lowest.z, lowest.w)));
    let beyond = highest_bits(a, b, c, d) > NEG_INFINITY;
    let key = select(signed, KEY_NONE - nearest, signed < 0);
    return select(key, KEY_NAN, beyond | (signed > KEY_INFINITY));
}

// The float that a key stands for, but at least the lowest finite one, so that x − row_max is never ∞ − ∞.
fn row_max(key: i32) -> f32 {
    let floor = max(key, KEY_LOWEST);
    return bitcast<f32>(select(floor, KEY_NONE - floor, floor < 0));
}

// The flags that follow from a row's largest key.
fn key_flags(key: i32) -> u32 {
    if key == KEY_NAN { return NAN_LOGIT; }
    if key == KEY_INFINITY { return INFINITE_LOGIT; }
    if key == KEY_NEG_INFINITY { return MASKED_ROW; }
    return 0u;
}

// An order key as a u32 that sorts alike.
fn unsigned_keys(scores: vec4<u32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(order_keys(scores)) ^ vec4(0x80000000u);
}

fn unsigned_key(key: i32) -> u32 {
    return bitcast<u32>(key) ^ 0x80000000u;
}

// Whether one class, {its key, its column}, comes before another: the higher key, or the lower column.
fn comes_before(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y < b.y);
}
