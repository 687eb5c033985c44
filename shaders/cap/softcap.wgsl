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

// The derivatives of the cap, from capped values.
fn cap_slopes(values: vec4<f32>) -> vec4<f32> {
    if SOFTCAP {
        let t = values * params.inverse_softcap;
        return vec4(1.0) - t * t;
    }
    return vec4(1.0);
}

// tanh to about 1e-7; WGSL promises its own only to 1e-5. Below 0.55 this is a polynomial (minimax in relative error,
// 1e-9), above it 1 − 2u / (1 + u) with u = exp(−2a), which loses no accuracy as u goes to 0. The sign is set in the bits.
fn hyperbolic_tangent(a: vec4<f32>) -> vec4<f32> {
    let magnitude = min(abs(a), vec4(20.0));
    let t = magnitude * magnitude;
    let series = -0.33333318 + t * (0.13332602 + t * (-0.053853858 + t * (0.021077757 - t * 0.0062824705)));
    let twice = exp2(magnitude * -2.8853900817779268 + 1.0); // 2u
    let far = 1.0 - twice / (1.0 + 0.5 * twice);
    let positive = select(far, magnitude + magnitude * (t * series), magnitude < vec4(0.55));
    let sign = bitcast<vec4<u32>>(a) & vec4(0x80000000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(positive) | sign);
}
