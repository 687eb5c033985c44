// Uses: params, wide_product

// What is known about a row before any logit is read: one record per row, after a head with the weight of all rows.
//
// With PLAIN_INPUTS a record is one word, and one element of the array holds four rows: if rows are short, the cost of
// memory is by the word.

override PLAIN_INPUTS: bool; // targets are classes, and no weight or gradient comes with them
override Z_LOSS: bool;

const INPUT_HEAD: u32 = 2u; // {weight, row weight, rows that count, flags}, {first bad row}

struct RowInput {
    class_index: u32,
    weight: f32,   // the row's own weight
    upstream: u32, // weight times the upstream gradient, as bits, so that NaN stays NaN
    flags: u32,    // IGNORED, TARGET_OUT_OF_RANGE, INVALID_WEIGHT or none
}

fn pack_row_input(input: RowInput) -> vec4<u32> {
    return vec4(input.class_index, bitcast<u32>(input.weight), input.upstream, input.flags);
}

fn unpack_row_input(words: vec4<u32>) -> RowInput {
    return RowInput(words.x, bitcast<f32>(words.y), words.z, words.w);
}

// A row that is left out becomes NO_CLASS; a target out of range becomes `classes`, the first value after them.
fn pack_plain_input(input: RowInput) -> u32 {
    if input.flags == IGNORED { return NO_CLASS; }
    return min(input.class_index, params.classes);
}

fn unpack_plain_input(word: u32) -> RowInput {
    let counts = word < params.classes;
    let bad = select(TARGET_OUT_OF_RANGE, IGNORED, word == NO_CLASS);
    return RowInput(
        word,
        select(0.0, 1.0, counts),
        select(0u, gradient_bits_of(params.upstream), counts),
        select(bad, 0u, counts),
    );
}

fn gradient_bits_of(upstream: f32) -> u32 {
    let bits = bitcast<u32>(upstream);
    return select(NAN, bits, is_finite(bits));
}

// The logits of a skipped row are not read, because they may be NaN.
fn is_skipped(input: RowInput) -> bool {
    return input.flags != 0u;
}

// λ·lse² times the row's weight, as bits: +∞ if lse exceeds f32. If a row's logits make its lse special, its flags say
// so, and its loss is decided elsewhere.
fn z_loss_of(input: RowInput, lse: u32, flags: u32) -> u32 {
    if !Z_LOSS || is_nan(lse) || (flags & (INFINITE_LOGIT | MASKED_ROW)) != 0u { return 0u; }
    if !is_finite(lse) { return INFINITY; }
    let value = bitcast<f32>(lse);
    return bitcast<u32>(wide_product(vec4(input.weight, params.z_loss, value, value)));
}

// A row's whole loss. A special one keeps its bits, but −∞ and +∞ together make NaN.
fn with_z_loss(loss: u32, z_loss: u32) -> u32 {
    if z_loss == INFINITY && !is_nan(loss) { return select(INFINITY, NAN, loss == NEG_INFINITY); }
    if !is_finite(loss) { return loss; }
    return bitcast<u32>(bitcast<f32>(loss) + bitcast<f32>(z_loss));
}
