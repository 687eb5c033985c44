// Uses: nothing

// Which results of a row are kept. A row's record has one word for each field, in the order of their bits; Rust's
// `RowFields` has the same bits. Loss and flags are in every record.

override ROW_FIELDS: u32;

const FIELD_LOSS: u32 = 1u;
const FIELD_FLAGS: u32 = 2u;
const FIELD_LSE: u32 = 4u;
const FIELD_ARGMAX: u32 = 8u;
const FIELD_ROW_MAX: u32 = 16u;
const FIELD_SUM_EXP: u32 = 32u;
const FIELD_TARGET_LOGIT: u32 = 64u;
const FIELD_TARGET_PROB: u32 = 128u;
const FIELD_TARGET_LOG_PROB: u32 = 256u;
const FIELD_CONFIDENCE: u32 = 512u;
const FIELD_CORRECT: u32 = 1024u;
const FIELD_RANK: u32 = 2048u;
const FIELD_MASS_AHEAD: u32 = 4096u;
const FIELD_ENTROPY: u32 = 8192u;
const FIELD_BRIER: u32 = 16384u;
const FIELD_MARGIN: u32 = 32768u;
const FIELD_MIN_LOGIT: u32 = 65536u;
const FIELD_MEAN_LOGIT: u32 = 131072u;
const FIELD_CLASS_MASS: u32 = 262144u;     // of a part of a row, for label smoothing, as is the next
const FIELD_CLASS_DISTANCE: u32 = 524288u;

fn keeps(field: u32) -> bool {
    return (ROW_FIELDS & field) != 0u;
}

// Where a field of a row is.
fn field_word(row: u32, field: u32) -> u32 {
    return row * countOneBits(ROW_FIELDS) + countOneBits(ROW_FIELDS & (field - 1u));
}
