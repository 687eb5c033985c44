// Uses: nothing

// No weights of classes, and no binding for them.

const CLASS_WEIGHTS: bool = false;

fn given_weight(col: u32) -> u32 {
    return 0x3f800000u; // 1
}
