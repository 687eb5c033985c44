// Uses: params, order_key

// The classes of a row that a token may be drawn from, and their weights.
//
// A weight is exp((x − base) / T) in fixed point, rounded down, in two words of 23 bits. Sums of whole numbers do not depend on
// their order, so neither lanes nor windows change a token. In f32, a cumulative sum over a vocabulary would lose the rare
// classes.

// A class that ends a part of the order of classes (falling keys, rising columns among equals), itself included.
struct Place {
    key: u32,
    col: u32,
}

// The classes that are left are those up to the place `cut`, from the place `head` on, and, if `by_distance`, up to the place
// `nearest` in the order of rising distance to `center`.
var<private> cut: Place;
var<private> head: Place;
var<private> nearest: Place;
var<private> by_distance: bool;
var<private> center: f32;
// 2 / T as the steps see it, and the row's first class.
var<private> truncation_inverse: f32;
var<private> top: Place;
// Whether some classes above −∞ have been left out.
var<private> is_cut: bool;

// Half of the logit whose weight is 1, and half of the row's largest logit; 2 / T and the same times log2(e); and 1 in fixed
// point, times 2^-23.
var<private> half_base: f32;
var<private> half_top: f32;
var<private> twice_inverse: f32;
var<private> twice_scale: f32;
var<private> one: f32;

// The bits behind the point: 46 for up to 2^18 − 1 classes, one fewer for each doubling, so that a sum fits into 64 bits.
fn fraction_bits() -> u32 {
    return min(46u, 32u + countLeadingZeros(params.cols));
}

fn begin_support(temperature: f32, first: vec2<u32>) {
    top = Place(first.x, first.y);
    cut = Place(0x00800001u, NO_CLASS); // every class above −∞
    head = Place(NO_CLASS, 0u);
    nearest = Place(0u, NO_CLASS);
    by_distance = false;
    is_cut = false;
    one = bitcast<f32>((127u + fraction_bits() - 23u) << 23u);
    set_base(first.x);
    half_top = half_base;
    set_temperature(temperature);
    truncation_inverse = twice_inverse;
}

fn set_base(key: u32) {
    half_base = 0.5 * row_max(bitcast<i32>(key ^ 0x80000000u));
}

fn set_temperature(temperature: f32) {
    twice_inverse = 2.0 / temperature;
    twice_scale = twice_inverse * 1.4426950408889634;
}

fn key_of(x: f32) -> u32 {
    return unsigned_keys(vec4(bitcast<u32>(x))).x;
}

// (x − base) / T. The difference is taken between halves, because it may be beyond f32.
fn distances(scores: vec4<u32>) -> vec4<f32> {
    return (0.5 * bitcast<vec4<f32>>(scores) - vec4(half_base)) * twice_inverse;
}

// A key that sorts by rising distance to the center. The draw may have another base and temperature than the steps.
fn nearness(scores: vec4<u32>) -> vec4<u32> {
    let distances = (0.5 * bitcast<vec4<f32>>(scores) - vec4(half_top)) * truncation_inverse;
    return ~bitcast<vec4<u32>>(abs(distances - vec4(center)));
}

fn up_to(keys: vec4<u32>, cols: vec4<u32>, place: Place) -> vec4<bool> {
    return (keys > vec4(place.key)) | ((keys == vec4(place.key)) & (cols <= vec4(place.col)));
}

fn is_left(scores: vec4<u32>, cols: vec4<u32>) -> vec4<bool> {
    let keys = unsigned_keys(scores);
    let follows = (keys < vec4(head.key)) | ((keys == vec4(head.key)) & (cols >= vec4(head.col)));
    let is_near = vec4(!by_distance) | up_to(nearness(scores), cols, nearest);
    return up_to(keys, cols, cut) & follows & is_near;
}

// exp((x − base) / T), at most 1, for half of the base and 2 / T · log2(e).
fn exps_from(scores: vec4<u32>, half: f32, scale: f32) -> vec4<f32> {
    let exponents = max((0.5 * bitcast<vec4<f32>>(scores) - vec4(half)) * scale, vec4(-150.0));
    return min(exp2(exponents), vec4(1.0));
}

fn exps_of(scores: vec4<u32>) -> vec4<f32> {
    return exps_from(scores, half_base, twice_scale);
}

fn raw_exps(scores: vec4<u32>) -> vec4<f32> {
    return exps_from(scores, half_top, 2.8853900817779268);
}

// Whether raw exponentials are those of the weights.
fn is_raw() -> bool {
    return twice_inverse == 2.0 && half_base == half_top;
}

struct Weights {
    high: vec4<u32>,
    low: vec4<u32>,
}

// Whole numbers from 0 to 2^24, given as floats. The sum with 2^23 has the number in its last bits; a conversion takes several
// instructions.
fn whole_numbers(numbers: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(numbers + vec4(8388608.0)) - vec4(0x4b000000u);
}

fn weights_of(exps: vec4<f32>) -> Weights {
    let scaled = exps * one;
    let high = floor(scaled);
    return Weights(whole_numbers(high), whole_numbers(floor((scaled - high) * 8388608.0)));
}
