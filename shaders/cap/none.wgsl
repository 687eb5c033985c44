// Uses: nothing

// No cap.

const SOFTCAP: bool = false;

fn capped(x: vec4<f32>) -> vec4<f32> {
    return x;
}

fn capped_one(x: f32) -> f32 {
    return x;
}

fn cap_slopes(values: vec4<f32>) -> vec4<f32> {
    return vec4(1.0);
}
