// A weight for each class, 1 if there is none.

override CLASS_WEIGHTS: bool = false;

@group(0) @binding(6) var<storage, read> class_weights: array<u32>; // f32 bits, (cols,)

fn class_weight_bits(col: u32) -> u32 {
    if CLASS_WEIGHTS {
        return class_weights[col];
    }
    return 0x3f800000u; // 1
}

fn class_weight(col: u32) -> f32 {
    return bitcast<f32>(class_weight_bits(col));
}

// A class's weight in a sum over all of them.
fn swept_class_weight(col: u32) -> u32 {
    let bits = class_weight_bits(col);
    return select(BAD_WEIGHT_BITS, bits & MAGNITUDE, is_weight(bits));
}

// A factor times the class's weight, which does not matter where the factor is 0: it may be no number.
fn times_class_weight(factor: f32, col: u32) -> f32 {
    if factor == 0.0 { return 0.0; }
    return class_weight(col) * factor;
}

fn swept_class_weights(col: u32) -> vec4<u32> {
    if CLASS_WEIGHTS {
        return vec4(
            swept_class_weight(col),
            swept_class_weight(col + 1u),
            swept_class_weight(col + 2u),
            swept_class_weight(col + 3u),
        );
    }
    return vec4(0x3f800000u);
}
