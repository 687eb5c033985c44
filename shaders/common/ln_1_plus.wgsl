// Uses: nothing

// ln(1 + x) for x in 0..=1, accurate to the last digits of x: 2·artanh(x / (2 + x)), with a series cut off at 1e-8 of its
// sum. In log(1 + x) the addition loses a small x, and an adapter only promises 5e-7 where 1 + x is below 2.

fn ln_1_plus(x: f32) -> f32 {
    let t = x / (2.0 + x);
    let s = t * t;
    let high = 1.0 / 9.0 + s * (1.0 / 11.0 + s * (1.0 / 13.0));
    return 2.0 * t * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * high))));
}
