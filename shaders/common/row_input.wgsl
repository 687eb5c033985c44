// What the targets say of a row, before any logit is read.

struct RowInput {
    class_index: u32,
    weight: f32,
    flags: u32, // IGNORED, TARGET_OUT_OF_RANGE or none
}

fn pack_row_input(input: RowInput) -> vec4<u32> {
    return vec4(input.class_index, bitcast<u32>(input.weight), input.flags, 0u);
}

fn unpack_row_input(words: vec4<u32>) -> RowInput {
    return RowInput(words.x, bitcast<f32>(words.y), words.z);
}

// Such a row's logits are not read: they may be NaN.
fn is_skipped(input: RowInput) -> bool {
    return input.flags != 0u;
}
