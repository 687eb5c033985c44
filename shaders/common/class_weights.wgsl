// Uses: params, weights

// A weight for each class, 1 if there is none. Functions that are inlined for every class have one exit: with several exits
// in each, SwiftShader's compiler takes minutes and gigabytes.

const WEIGHT_ONE: u32 = 0x3f800000u;

fn class_weight_bits(col: u32) -> u32 {
    var bits = WEIGHT_ONE;
    if CLASS_WEIGHTS {
        bits = given_weight(col);
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
        bits = vec4(given_weight(col), given_weight(col + 1u), given_weight(col + 2u), given_weight(col + 3u));
    }
    return bits;
}

// What four classes add to a sum: `bits`, or the bits of a bad weight if a class's weight is invalid.
fn swept(bits: vec4<u32>, weights: vec4<u32>) -> vec4<u32> {
    return select(vec4(BAD_WEIGHT_BITS), bits, are_weights(weights));
}

fn swept_class_weights(col: u32) -> vec4<u32> {
    let weights = class_weight_quad(col);
    return swept(weights & vec4(MAGNITUDE), weights);
}

// Factors times the weights of four columns. If a factor is 0, the weight does not matter; it may be NaN.
fn times_class_weights(factors: vec4<f32>, col: u32) -> vec4<f32> {
    if CLASS_WEIGHTS {
        let weighted = bitcast<vec4<f32>>(class_weight_quad(col)) * factors;
        return select(weighted, vec4(0.0), factors == vec4(0.0));
    }
    return factors;
}
