// Uses: nothing

// No cap.

const SOFTCAP: bool = false;

fn capped(x: vec4<f32>) -> vec4<f32> {
    return x;
}

fn capped_one(x: f32) -> f32 {
    return x;
}

fn cap_slope(value: f32) -> f32 {
    return 1.0;
}
