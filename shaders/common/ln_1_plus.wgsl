// Uses: nothing

// ln(1 + x) for x in 0..=1, to the last digits of x: 2·artanh(x / (2 + x)), whose series ends at 1e-8 of its sum. An
// adapter's log(1 + x) has lost a small x before it begins, and is promised to 5e-7 only where 1 + x is below 2.

fn ln_1_plus(x: f32) -> f32 {
    let t = x / (2.0 + x);
    let s = t * t;
    let high = 1.0 / 9.0 + s * (1.0 / 11.0 + s * (1.0 / 13.0));
    return 2.0 * t * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * high))));
}
