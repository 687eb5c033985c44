// Uses: nothing

// What every pass stands on: the per-call numbers, and the words in which rows are spoken of.

struct Params {
    rows: u32,         // rows of this dispatch
    cols: u32,         // classes of a row
    row_stride: u32,   // values from one row (one group of rows side by side) to the next
    inner: u32,        // values from one class to the next; rows side by side
    first_row: u32,    // where the rows of this dispatch begin in the buffers that hold one record a row
    logits_base: u32,  // where they begin in the bound logits, in values
    output_base: u32,  // where they begin in the bound output, in values
    second_base: u32,  // where they begin in a second array laid out like the logits: soft targets, a teacher, a mask

    weight_factor: f32,           // what a mean divides by, for a row of weight 1: its classes, where each has a loss
    entries: u32,                 // targets of a row: 1, or those of a sparse row, or 0 where each class has one
    ignore_index: u32,            // the bits of the i32
    exp_scale: f32,               // log2(e) / temperature
    inverse_temperature: f32,
    denominator: f32,             // of the loss; 0 for the batch's own weight
    row_denominator: f32,         // of the z-loss; 0 for the batch's own row weight
    upstream: f32,                // gradient of what comes behind by the reduced loss

    softcap: f32,
    inverse_softcap: f32,
    smoothing: f32,
    z_loss: f32,
    focal_gamma: f32,
    sequence_length: u32,         // rows of a sequence
    shift: u32,                   // rows from a row to the one whose target it has
    score_from: u32,              // positions in the sequence that are scored

    score_to: u32,
    score_scale: f32,             // of a masked softmax; of the gradient that comes back through it, doubled
    mask_first_row: u32,          // what is before the first row of all, in a batch that comes in parts
    causal_offset: i32,           // the last column that the first row of a sequence attends to

    additive_rows: u32,           // rows of the mask that is added, after which it begins anew
    additive_repeat: u32,         // rows in succession that have one of its rows
    boolean_rows: u32,            // likewise of the mask that says where to attend
    boolean_repeat: u32,

    segments: u32,                // of a row that is split: each has a workgroup
    segment_values: u32,          // values of a segment: whole packs
    mask_scale: f32,              // of what is added to scores, which are scaled like it
    twice_exp_scale: f32,         // of halved differences. Doubled here an adapter could make it meet the halves, and have
                                  // their overflow back
    twice_inverse_temperature: f32,

    distance_scale: f32,          // what sums of distances between scores are scaled by: a power of two, about 2^-33 / T
    inverse_distance: f32,        // 1 / (T · distance_scale)
}

@group(0) @binding(0) var<uniform> params: Params;

// Special values are kept and compared as bits: float arithmetic may drop a NaN or an infinity.
const NAN: u32 = 0x7fc00000u;
const INFINITY: u32 = 0x7f800000u;
const NEG_INFINITY: u32 = 0xff800000u;
const MAGNITUDE: u32 = 0x7fffffffu;
const LOWEST: f32 = -3.4028234e38; // of f32

fn is_finite(bits: u32) -> bool {
    return (bits & MAGNITUDE) < INFINITY;
}

fn is_nan(bits: u32) -> bool {
    return (bits & MAGNITUDE) > INFINITY;
}

// A weight is finite and at least 0.
fn is_weight(bits: u32) -> bool {
    return bits < INFINITY || bits == 0x80000000u;
}

// Whether it is one of both infinities.
fn is_infinite(bits: u32) -> bool {
    return (bits & MAGNITUDE) == INFINITY;
}

// What stands for a weight that is none, among the weights of a sum.
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
const MINUS_INFINITE: u32 = 0x20000000u;  // one is −∞
const INFINITE_Z_LOSS: u32 = 0x10000000u; // a row's z-loss is +∞
const TOLD_FLAGS: u32 = 0x0fffffffu;

const NO_CLASS: u32 = 0xffffffffu;

// What a loss says of itself.
fn loss_flags(loss: u32) -> u32 {
    return select(0u, INFINITE_LOSS, is_infinite(loss)) | select(0u, NAN_LOSS, is_nan(loss));
}

// Entry points take their three built-ins one by one: in a struct, Tint holds the workgroup's id for as non-uniform as
// the invocation's, and then refuses every barrier behind a branch on it.
//
// A dispatch of more workgroups than one dimension allows is two-dimensional; behind its last row it overshoots.
fn linear_workgroup(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.y * grid.x + workgroup.x;
}
