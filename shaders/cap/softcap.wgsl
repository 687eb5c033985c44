// Uses: params

// The cap of a score x before softmax, if asked for: κ·tanh(x / κ).

override SOFTCAP: bool;

fn capped(x: vec4<f32>) -> vec4<f32> {
    if SOFTCAP {
        return params.softcap * hyperbolic_tangent(x * params.inverse_softcap);
    }
    return x;
}

fn capped_one(x: f32) -> f32 {
    return capped(vec4(x)).x;
}

// The derivative of the cap, from the capped value.
fn cap_slope(value: f32) -> f32 {
    if SOFTCAP {
        let t = value * params.inverse_softcap;
        return 1.0 - t * t;
    }
    return 1.0;
}

// tanh to about 1e-7; WGSL promises its own only to 1e-5. Below 0.55 this is a polynomial (minimax in relative error,
// 1e-9), above it 1 − 2u / (1 + u) with u = exp(−2a), which loses no accuracy as u goes to 0.
fn hyperbolic_tangent(a: vec4<f32>) -> vec4<f32> {
    let magnitude = min(abs(a), vec4(20.0));
    let t = magnitude * magnitude;
    let series = -0.33333318 + t * (0.13332602 + t * (-0.053853858 + t * (0.021077757 - t * 0.0062824705)));
    let u = exp2(magnitude * -2.8853900817779268);
    let far = 1.0 - 2.0 * u / (1.0 + u);
    return sign(a) * select(far, magnitude + magnitude * (t * series), magnitude < vec4(0.55));
}
