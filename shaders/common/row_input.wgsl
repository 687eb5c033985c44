// What the targets say of a row, before any logit is read: one record a row, behind a head with the weight of them all.

const INPUT_HEAD: u32 = 2u; // {weight, row weight, rows that count, flags}, {first bad row}

struct RowInput {
    class_index: u32,
    weight: f32,   // the row's own
    upstream: u32, // times the gradient of what comes behind, as bits: NaN stays NaN
    flags: u32,    // IGNORED, TARGET_OUT_OF_RANGE, INVALID_WEIGHT or none
}

fn pack_row_input(input: RowInput) -> vec4<u32> {
    return vec4(input.class_index, bitcast<u32>(input.weight), input.upstream, input.flags);
}

fn unpack_row_input(words: vec4<u32>) -> RowInput {
    return RowInput(words.x, bitcast<f32>(words.y), words.z, words.w);
}

// Such a row's logits are not read: they may be NaN.
fn is_skipped(input: RowInput) -> bool {
    return input.flags != 0u;
}

// λ·lse², times the row's weight; a row whose lse is special has its loss decided elsewhere.
fn z_loss_of(input: RowInput, lse: u32) -> f32 {
    if params.z_loss == 0.0 || !is_finite(lse) { return 0.0; }
    let value = bitcast<f32>(lse);
    return input.weight * ((params.z_loss * value) * value);
}

// A row's whole loss: a special one keeps its bits.
fn with_z_loss(loss: u32, z_loss: f32) -> u32 {
    if !is_finite(loss) { return loss; }
    if !is_finite(bitcast<u32>(z_loss)) { return INFINITY; }
    return bitcast<u32>(bitcast<f32>(loss) + z_loss);
}
