// Uses: nothing

// A weight of each class's positive term, if the call has them.

override POS_WEIGHT: bool;

@group(0) @binding(8) var<storage, read> pos_weight: array<u32>; // P: f32 bits, (cols,)

fn given_pos_weight(col: u32) -> u32 {
    return pos_weight[col];
}
