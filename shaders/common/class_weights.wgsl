// Uses: params

// A weight for each class, 1 if there is none. Functions that are inlined for every class have one exit: with several exits
// in each, SwiftShader's compiler takes minutes and gigabytes.

override CLASS_WEIGHTS: bool;

@group(0) @binding(6) var<storage, read> class_weights: array<u32>; // f32 bits, (cols,)

const WEIGHT_ONE: u32 = 0x3f800000u;

fn class_weight_bits(col: u32) -> u32 {
    var bits = WEIGHT_ONE;
    if CLASS_WEIGHTS {
        bits = class_weights[col];
    }
    return bits;
}

fn class_weight(col: u32) -> f32 {
    return bitcast<f32>(class_weight_bits(col));
}

// The weights of four columns, as bits.
fn class_weight_quad(col: u32) -> vec4<u32> {
    var bits = vec4(WEIGHT_ONE);
    if CLASS_WEIGHTS {
        bits = vec4(class_weights[col], class_weights[col + 1u], class_weights[col + 2u], class_weights[col + 3u]);
    }
    return bits;
}

// What four classes add to a sum: `bits`, or the bits of a bad weight if a class's weight is invalid.
fn swept(bits: vec4<u32>, weights: vec4<u32>) -> vec4<u32> {
    let are_weights = (weights < vec4(INFINITY)) | (weights == vec4(0x80000000u));
    return select(vec4(BAD_WEIGHT_BITS), bits, are_weights);
}

fn swept_class_weights(col: u32) -> vec4<u32> {
    let weights = class_weight_quad(col);
    return swept(weights & vec4(MAGNITUDE), weights);
}

// A factor times the class's weight. If the factor is 0, the weight does not matter; it may be NaN.
fn times_class_weight(factor: f32, col: u32) -> f32 {
    return select(class_weight(col) * factor, 0.0, factor == 0.0);
}
