// Uses: nothing

// The basis of every pass: the per-call numbers, and the constants and flags of rows.

struct Params {
    rows: u32,         // rows of this dispatch
    cols: u32,         // classes per row
    row_stride: u32,   // values from one row (one group of rows side by side) to the next
    inner: u32,        // values from one class to the next; the number of rows side by side
    first_row: u32,    // where the rows of this dispatch begin in the buffers that hold one record per row
    logits_base: u32,  // where they begin in the bound logits, in values
    output_base: u32,  // where they begin in the bound output, in values
    second_base: u32,  // where they begin in a second array laid out like the logits: soft targets, a teacher, a mask

    weight_factor: f32,           // what a row of weight 1 adds to the divisor of a mean: its classes, if each has a loss
    entries: u32,                 // targets per row: 1, or the entries of a sparse row, or 0 if each class has one
    ignore_index: u32,            // bits of the i32
    exp_scale: f32,               // log2(e) / temperature
    inverse_temperature: f32,
    denominator: f32,             // denominator of the loss; 0 for the batch's own weight
    row_denominator: f32,         // denominator of the z-loss; 0 for the batch's own row weight
    upstream: f32,                // upstream gradient of the reduced loss

    softcap: f32,
    inverse_softcap: f32,
    smoothing: f32,
    z_loss: f32,
    focal_gamma: f32,
    sequence_length: u32,         // rows per sequence
    shift: u32,                   // rows from a row to the one whose target it uses
    score_from: u32,              // first position in the sequence that is scored, up to score_to (excluded)

    score_to: u32,
    score_scale: f32,             // scale of a masked softmax; in its backward pass, twice the scale
    mask_first_row: u32,          // rows before the first row of this part, in a batch that comes in parts
    causal_offset: i32,           // last column that the first row of a sequence attends to

    additive_rows: u32,           // rows of the additive mask, which repeats after them
    additive_repeat: u32,         // successive rows that share one row of the mask
    boolean_rows: u32,            // likewise for the boolean mask, which says where to attend
    boolean_repeat: u32,

    segments: u32,                // segments of a split row; each has a workgroup
    segment_values: u32,          // values of a segment: whole packs
    mask_scale: f32,              // scale of the additive mask: the power of two by which scores are scaled as well
    twice_exp_scale: f32,         // exp_scale for halved differences. If the shader doubled it, an adapter could combine
                                  // the doubling with the halves, and their overflow would be back
    twice_inverse_temperature: f32,

    distance_scale: f32,          // scale of sums of distances between scores: a power of two, about 2^-33 / T
    inverse_distance: f32,        // 1 / (T · distance_scale)
    input_shift: u32,             // rows from a row to the one that holds its mask and its weight

    entmax_power: f32,            // 1 / (α − 1)
    entmax_slope: f32,            // α − 1
    entmax_twice_slope: f32,      // twice that, for halved differences
    entmax_loss_scale: f32,       // 1 / (α·(α − 1))

    classes: u32,                 // how many classes a target may be one of: cols, unless the columns are a sample
    row_negatives: u32,           // negatives from one row's to the next's; 0 if rows share them
    count_scale: f32,             // T, the factor of ln(count) in a sampled softmax
    pair_scale: f32,              // the power of two of at most T by which InfoNCE multiplies its gradient for that of ln(1 / T)

    first_col: u32,               // the class of the first column, if the columns are a shard of the row
    total_cols: u32,              // the classes of the whole row: cols, unless the columns are a shard of it

    moment_scales_a: vec4<f32>,   // β·log2(e) of the first four inverse temperatures of a calibration
    moment_scales_b: vec4<f32>,   // and of the others
}

@group(0) @binding(0) var<uniform> params: Params;

// Special values are kept and compared as bits: float arithmetic may drop a NaN or an infinity.
const NAN: u32 = 0x7fc00000u;
const INFINITY: u32 = 0x7f800000u;
const NEG_INFINITY: u32 = 0xff800000u;
const MAGNITUDE: u32 = 0x7fffffffu;
const LOWEST: f32 = -3.4028234e38; // the lowest finite f32

fn is_finite(bits: u32) -> bool {
    return (bits & MAGNITUDE) < INFINITY;
}

// Whether all bits of two quads are those of finite floats: their largest as i32 is that of a float with no sign, their
// largest as u32 that of one with a sign.
fn are_finite(a: vec4<u32>, b: vec4<u32>) -> bool {
    let signed = max(bitcast<vec4<i32>>(a), bitcast<vec4<i32>>(b));
    let highest = max(a, b);
    return max(max(signed.x, signed.y), max(signed.z, signed.w)) < bitcast<i32>(INFINITY)
        && max(max(highest.x, highest.y), max(highest.z, highest.w)) < NEG_INFINITY;
}

fn is_nan(bits: u32) -> bool {
    return (bits & MAGNITUDE) > INFINITY;
}

// A weight is finite and at least 0.
fn is_weight(bits: u32) -> bool {
    return bits < INFINITY || bits == 0x80000000u;
}

fn are_weights(bits: vec4<u32>) -> vec4<bool> {
    return (bits < vec4(INFINITY)) | (bits == vec4(0x80000000u));
}

// Whether the bits are +∞ or −∞.
fn is_infinite(bits: u32) -> bool {
    return (bits & MAGNITUDE) == INFINITY;
}

// Stands for an invalid weight among the weights of a sum.
const BAD_WEIGHT_BITS: u32 = 0xffc00000u;

// Row flags; the Rust side's `Flags` has the same bits.
const NAN_LOGIT: u32 = 1u;
const INFINITE_LOGIT: u32 = 2u;
const MASKED_ROW: u32 = 4u;
const TARGET_OUT_OF_RANGE: u32 = 8u;
const INFINITE_LOSS: u32 = 16u;
const NAN_LOSS: u32 = 32u;
const NO_ROW_COUNTS: u32 = 64u;
const INVALID_WEIGHT: u32 = 128u;
const INVALID_TARGET: u32 = 256u;
const IGNORED: u32 = 0x80000000u; // between passes only, as are the next three
const PLUS_INFINITE: u32 = 0x40000000u;   // a row's loss is +∞
const MINUS_INFINITE: u32 = 0x20000000u;  // a row's loss is −∞
const INFINITE_Z_LOSS: u32 = 0x10000000u; // a row's z-loss is +∞
const TOLD_FLAGS: u32 = 0x0fffffffu;

const NO_CLASS: u32 = 0xffffffffu;

// The flags that follow from a loss.
fn loss_flags(loss: u32) -> u32 {
    return select(0u, INFINITE_LOSS, is_infinite(loss)) | select(0u, NAN_LOSS, is_nan(loss));
}

// Entry points take their three built-ins one by one. In a struct, Tint considers the workgroup's id as non-uniform as the
// invocation's, and then refuses every barrier behind a branch on it.
//
// A dispatch of more workgroups than one dimension allows is two-dimensional; it may have workgroups beyond the last row.
fn linear_workgroup(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.y * grid.x + workgroup.x;
}
