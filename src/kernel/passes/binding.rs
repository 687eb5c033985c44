//! Binding numbers in the shaders. Those of a pass that reads no logits are in a module with the pass's name.

/// The parameters of the call, in every pass.
pub const PARAMS: u32 = 0;
/// The logits, and the same buffer read by packs.
pub const LOGITS: u32 = 1;
pub const LOGIT_PACKS: u32 = 2;
/// The output of passes with a value for each logit, and the same buffer written by packs.
pub const OUTPUT: u32 = 3;
pub const OUTPUT_PACKS: u32 = 12;
/// Bindings of passes over logits with targets.
pub const ROW_INPUTS: u32 = 4;
pub const ROW_RESULTS: u32 = 5;
pub const CLASS_WEIGHTS: u32 = 6;
pub const TARGETS: u32 = 7;
pub const TARGET_PROBS: u32 = 8;
pub const POS_WEIGHT: u32 = 8;
/// Targets with a value for each logit, four values at a time.
pub const TARGET_QUADS: u32 = 13;
/// The output of passes with one value per row.
pub const ROW_VALUES: u32 = 4;
/// The second output of such a pass.
pub const MORE_ROW_VALUES: u32 = 5;
/// Bindings of a sampled softmax, in the place of the targets'.
pub const NEGATIVES: u32 = TARGETS;
pub const TARGET_LOG_COUNTS: u32 = TARGET_PROBS;
/// Bindings of a masked softmax.
pub const ADDITIVE_MASK: u32 = 4;
pub const BOOLEAN_MASK: u32 = 5;
/// Bindings of the softmax backward pass, whose gradient takes the logits' place: probabilities, and the same buffer
/// read by packs.
pub const PROBS: u32 = 4;
pub const PROB_PACKS: u32 = 5;
/// Bindings of a divergence: a second batch of logits, and the same buffer read by packs.
pub const TEACHER: u32 = 9;
pub const TEACHER_PACKS: u32 = 10;
/// The statistics of the segments of split rows.
pub const SEGMENTS: u32 = 11;

/// The second binding of an array that is read or written several values at a time.
pub fn packs_of(number: u32) -> Option<u32> {
    match number {
        LOGITS => Some(LOGIT_PACKS),
        OUTPUT => Some(OUTPUT_PACKS),
        PROBS => Some(PROB_PACKS),
        TEACHER => Some(TEACHER_PACKS),
        TARGETS => Some(TARGET_QUADS),
        _ => None,
    }
}

/// Draws tokens.
pub mod sample {
    pub const SAMPLINGS: u32 = 4;
    pub const TOKENS: u32 = 5;
    pub const LOG_PROBS: u32 = 6;
    pub const ROWS: u32 = 7;
    /// Of the pass that changes the scores. Its output has the logits' layout.
    pub const CHANGES: u32 = 8;
}

/// Accepts or refuses drafts. The target's probabilities are in the place of logits.
pub mod accept_drafts {
    pub const DRAFT_PROBS: u32 = 5;
    pub const DRAFTS: u32 = 6;
    pub const CHAIN_TOKENS: u32 = 7;
    pub const CHAINS_TOLD: u32 = 8;
}

/// Adds the gradients of rows and columns.
pub mod pair_gradients {
    pub const ROWS: u32 = 4;
    pub const COLUMNS: u32 = 5;
    pub const TERMS: u32 = 6;
}

/// Turns the losses of rows and of columns, and the rows' terms, into the caller's outputs.
pub mod finish_pairs {
    pub const ROW_LOSS: u32 = 4;
    pub const COLUMN_LOSS: u32 = 5;
    pub const TERMS: u32 = 6;
    pub const LOSS: u32 = 7;
    pub const DLOG_SCALE: u32 = 8;
}

/// Turns per-row inputs into one record per row.
pub mod row_inputs {
    pub const CLASSES: u32 = 4;
    pub const INPUTS: u32 = 5;
    pub const BLOCK_TOTALS: u32 = 6;
    pub const ROW_WEIGHTS: u32 = 7;
    pub const CLASS_WEIGHTS: u32 = 8;
    pub const ROW_MASK: u32 = 9;
    pub const UPSTREAM: u32 = 10;
    pub const ROW_UPSTREAM: u32 = 11;
}

/// Merges the totals of blocks into the head of the row inputs.
pub mod merge_totals {
    pub const BLOCK_TOTALS: u32 = 4;
    pub const INPUTS: u32 = 5;
}

/// Turns row results into totals of blocks and the caller's outputs.
pub mod reduce_loss {
    pub const RESULTS: u32 = super::ROW_RESULTS;
    pub const BLOCK_TOTALS: u32 = 6;
    pub const ROW_LOSSES: u32 = 7;
    pub const TOLD_RESULTS: u32 = 8;
}

/// Turns the totals of blocks into the batch's loss.
pub mod finish_loss {
    pub const INPUTS: u32 = super::ROW_INPUTS;
    pub const BLOCK_TOTALS: u32 = 5;
    pub const LOSS: u32 = 6;
}
