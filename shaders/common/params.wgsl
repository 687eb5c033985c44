// What every pass stands on: the per-call numbers, and which row a workgroup works on.

struct Params {
    rows: u32,         // rows of this dispatch
    cols: u32,         // classes of a row
    row_stride: u32,   // values from one row to the next
    first_row: u32,    // where the rows of this dispatch begin in the buffers that hold one record a row
    logits_base: u32,  // where they begin in the bound logits, in values
    output_base: u32,  // where they begin in the bound output, in values
    ignore_index: u32, // the bits of the i32
    denominator: f32,  // of the reduced loss; 0 for the batch's own weight
}

@group(0) @binding(0) var<uniform> params: Params;

// Special values are kept and compared as bits: float arithmetic may drop a NaN or an infinity.
const NAN: u32 = 0x7fc00000u;
const INFINITY: u32 = 0x7f800000u;
const NEG_INFINITY: u32 = 0xff800000u;
const MAGNITUDE: u32 = 0x7fffffffu;

// Row flags; the Rust side's `Flags` has the same bits.
const NAN_LOGIT: u32 = 1u;
const INFINITE_LOGIT: u32 = 2u;
const MASKED_ROW: u32 = 4u;
const TARGET_OUT_OF_RANGE: u32 = 8u;
const INFINITE_LOSS: u32 = 16u;
const NAN_LOSS: u32 = 32u;
const NO_ROW_COUNTS: u32 = 64u;
const IGNORED: u32 = 0x80000000u; // between passes only

const NO_CLASS: u32 = 0xffffffffu;

// Entry points take their three built-ins one by one: in a struct, Tint holds the workgroup's id for as non-uniform as
// the invocation's, and then refuses every barrier behind a branch on it.
//
// A dispatch of more workgroups than one dimension allows is two-dimensional; behind its last row it overshoots.
fn linear_workgroup(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return workgroup.y * grid.x + workgroup.x;
}
