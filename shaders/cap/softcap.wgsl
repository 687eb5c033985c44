// Uses: params, trusts_floats

// The cap of a score x before softmax, if asked for: κ·tanh(x / κ).

override SOFTCAP: bool;

fn capped(x: vec4<f32>) -> vec4<f32> {
    if SOFTCAP {
        return capped_tangent(x, x * (params.inverse_softcap * 2.8853900817779268));
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

// κ·tanh(x / κ), from x and b = x / κ · 2·log2(e). WGSL promises 1e-5 for its own tanh; the error here is about 2e-7·κ, and below
// κ / 2 about 4e-7·x. There it is x plus a polynomial (minimax in relative error, 2e-8), and from there on κ − 2κ·u / (1 + u) with
// u = exp(−2x / κ) = exp2(−b), which loses no accuracy as u goes to 0. The sign is set in the bits.
fn capped_tangent(x: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    var magnitude = abs(b);
    if !TRUSTS_FLOATS {
        magnitude = min(magnitude, vec4(60.0));
    }
    let t = magnitude * magnitude;
    let series = -0.040037524 + t * (0.00192255038 + t * (-9.19223821e-05 + t * 3.58871148e-06));
    let u = exp2_or_zero(-magnitude);
    let far = params.softcap - ((params.softcap + params.softcap) * u) * (1.0 / (1.0 + u));
    let sign = bitcast<vec4<u32>>(x) & vec4(0x80000000u);
    let signed = bitcast<vec4<f32>>(bitcast<vec4<u32>>(far) | sign);
    return select(signed, x + x * (t * series), t < vec4(2.08));
}
