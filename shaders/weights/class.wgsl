// Uses: nothing

// A weight for each class, if the call has them.

override CLASS_WEIGHTS: bool;

@group(0) @binding(6) var<storage, read> class_weights: array<u32>; // f32 bits, (cols,)

fn given_weight(col: u32) -> u32 {
    return class_weights[col];
}
