// Uses: nothing

// ln(1 + x) for x in 0..=1, accurate to the last digits of x: 2·artanh(x / (2 + x)), with a polynomial in the square whose
// relative error is below 2e-8 (interpolated at Chebyshev's points). In log(1 + x) the addition loses a small x, and an
// adapter only promises 5e-7 where 1 + x is below 2.

fn ln_1_plus_all(x: vec4<f32>) -> vec4<f32> {
    let t = x / (2.0 + x);
    let s = t * t;
    let high = 0.4000756 + s * (0.2823662 + s * 0.26851498);
    return t * (2.0 + s * (0.6666664 + s * high));
}

fn ln_1_plus(x: f32) -> f32 {
    return ln_1_plus_all(vec4(x)).x;
}
