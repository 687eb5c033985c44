// Uses: nothing

// Whole numbers of 64 bits, in two words: {low, high}.

fn wide_sum(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn wide_difference(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn is_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// The product of two words.
fn word_product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2(a * b, (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}

// ⌊a·b / 2^64⌋.
fn upper_product(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = word_product(a.x, b.x);
    let ab = word_product(a.x, b.y);
    let ba = word_product(a.y, b.x);
    let middle = wide_sum(wide_sum(vec2(low.y, 0u), vec2(ab.x, 0u)), vec2(ba.x, 0u));
    let carried = wide_sum(vec2(middle.y, 0u), wide_sum(vec2(ab.y, 0u), vec2(ba.y, 0u)));
    return wide_sum(word_product(a.y, b.y), carried);
}

// ⌈a·share / 2^32⌉.
fn share_of(a: vec2<u32>, share: u32) -> vec2<u32> {
    let low = word_product(a.x, share);
    let whole = wide_sum(word_product(a.y, share), vec2(low.y, 0u));
    return wide_sum(whole, vec2(select(0u, 1u, low.x != 0u), 0u));
}

fn wide_to_float(a: vec2<u32>) -> f32 {
    return f32(a.y) * 4294967296.0 + f32(a.x);
}
