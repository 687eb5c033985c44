//! The files of `shaders/` that passes share or choose among, each with its bindings and constants.

use crate::kernel::passes::binding::{
    self, LOGIT_PACKS, LOGITS, OUTPUT, OUTPUT_PACKS, ROW_RESULTS, TARGET_PROBS, TARGETS,
};
use crate::kernel::passes::constant::*;

/// How a storage buffer is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

/// One file of `shaders/`.
pub(in crate::kernel) struct File {
    /// The path below `shaders/`.
    pub path: &'static str,
    pub text: &'static str,
    pub bindings: &'static [(u32, Access)],
    pub overrides: &'static [&'static str],
}

macro_rules! file {
    ($path:literal, [$($binding:expr),*], [$($constant:expr),*]) => {
        File {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path)),
            bindings: &[$($binding),*],
            overrides: &[$($constant),*],
        }
    };
    ($path:literal) => { file!($path, [], []) };
}

pub(super) static PARAMS: File = file!("common/params.wgsl");
pub(super) static FLOATS: File = file!("common/trusts_floats.wgsl", [], [TRUSTS_FLOATS]);
pub(super) static SEAT: File = file!("common/seat.wgsl", [], [LANES, ROWS, INVOCATIONS, STRIDED, SPLIT]);
pub(super) static ROW_SPAN: File = file!("common/row_span.wgsl", [], [STEPS, WHOLE_PACKS]);
pub(super) static SCORES: File = file!("common/scores.wgsl");
pub(super) static ORDER_KEY: File = file!("common/order_key.wgsl");
pub(super) static LANE_TREE: File = file!("common/lane_tree.wgsl");
pub(super) static SWEEP_STEPS: File = file!("common/sweep_steps.wgsl");
pub(super) static SWEEP_PACKS: File = file!("common/sweep_packs.wgsl");
pub(super) static ROW_STATS: File =
    file!("common/row_stats.wgsl", [], [MASKED_ROW_ZERO, TARGET_SUMS, EXCLUDE_TARGET, HALVE_DIFFERENCES]);
pub(super) static SWEEP_OUTPUT: File = file!("common/sweep_output.wgsl", [], [ALIKE, WHOLE_WORDS]);
pub(super) static ROW_INPUT: File = file!("common/row_input.wgsl", [], [PLAIN_INPUTS, Z_LOSS]);
pub(super) static ROW_INPUT_OF: File = file!("common/row_input_of.wgsl", [(binding::ROW_INPUTS, Read)], []);
pub(super) static LOAD_ROW_INPUT: File = file!("common/load_row_input.wgsl");
pub(super) static FIELDS: File = file!("common/row_fields.wgsl", [], [ROW_FIELDS]);
pub(super) static ROW_RESULTS_OUT: File = file!("common/row_results.wgsl", [(ROW_RESULTS, Write)], []);
pub(super) static STORE_READ_ROW: File = file!("common/store_read_row.wgsl");
pub(super) static SEGMENT_STATS: File = file!("common/segment_stats.wgsl");
pub(super) static STORE_SEGMENT: File = file!("common/store_segment.wgsl", [(binding::SEGMENTS, Write)], []);
pub(super) static ROW_RESULT: File = file!("common/row_result.wgsl", [], [LOG_PROBS]);
pub(super) static WIDE_PRODUCT: File = file!("common/wide_product.wgsl");
pub(super) static SUM_OF_BITS: File = file!("common/sum_of_bits.wgsl");
pub(super) static LN_1_PLUS: File = file!("common/ln_1_plus.wgsl");
pub(super) static BATCH_WEIGHT: File = file!("common/batch_weight.wgsl");
pub(super) static CLASS_WEIGHT: File = file!("common/class_weights.wgsl");
pub(super) static WEIGHTS_CLASS: File =
    file!("weights/class.wgsl", [(binding::CLASS_WEIGHTS, Read)], [CLASS_WEIGHTS]);
pub(super) static WEIGHTS_NONE: File = file!("weights/none.wgsl");
pub(super) static WEIGHTS_POSITIVE: File =
    file!("weights/positive.wgsl", [(binding::POS_WEIGHT, Read)], [POS_WEIGHT]);
pub(super) static WEIGHTS_NO_POSITIVE: File = file!("weights/no_positive.wgsl");
pub(super) static DENSE_QUADS: File =
    file!("dense/quads.wgsl", [(TARGETS, Read), (binding::TARGET_QUADS, Read)], []);
pub(super) static DENSE_WORDS: File = file!("dense/words.wgsl", [(TARGETS, Read)], []);
pub(super) static TOTALS: File = file!("common/totals.wgsl", [], [REDUCE_LANES]);
pub(super) static BLOCK_TERMS: File = file!("common/block_terms.wgsl");
pub(super) static SIGMOID_BCE: File = file!("common/sigmoid_bce.wgsl");
pub(super) static ROW_PAIRS: File =
    file!("common/row_pairs.wgsl", [(binding::PROBS, Read), (binding::PROB_PACKS, Read)], [LOG_PROBS]);

pub(super) static ELEMENT_F32: File = file!("element/f32.wgsl");
pub(super) static ELEMENT_F16: File = file!("element/f16.wgsl");
pub(super) static F16_BITS: File = file!("element/f16_bits.wgsl");
pub(super) static F16_UNPACKED: File = file!("element/f16_unpacked.wgsl");
pub(super) static ELEMENT_BF16: File = file!("element/bf16.wgsl");
pub(super) static ELEMENT_CODES: File = file!("element/codes.wgsl");
pub(super) static CODING_NONE: File = file!("coding/none.wgsl");
pub(super) static CODING_ROWS: File = file!("coding/rows.wgsl");
pub(super) static PACK_QUAD: File = file!("pack/quad.wgsl");
pub(super) static PACK_HALF: File = file!("pack/half.wgsl");
pub(super) static PACK_F32_U64: File = file!("pack/f32_u64.wgsl");
pub(super) static PACK_HALF_U64: File = file!("pack/half_u64.wgsl");
pub(super) static LOGITS_READ: File = file!("logits/read.wgsl", [(LOGITS, Read), (LOGIT_PACKS, Read)], []);
pub(super) static LOGITS_IN_PLACE: File =
    file!("logits/in_place.wgsl", [(LOGITS, Write), (LOGIT_PACKS, Write)], []);
pub(super) static LOGITS_IN_PLACE_WORDS: File = file!("logits/in_place_words.wgsl", [(LOGITS, Write)], []);
pub(super) static OUTPUT_ELEMENT: File = file!("output/element.wgsl", [(OUTPUT, Write)], []);
pub(super) static OUTPUT_F32: File = file!("output/f32.wgsl", [(OUTPUT, Write)], []);
pub(super) static OUTPUT_IN_PLACE: File = file!("output/in_place.wgsl");
pub(super) static STORE_WORDS: File = file!("store/words.wgsl");
pub(super) static STORE_PACKS: File = file!("store/packs.wgsl", [(OUTPUT_PACKS, Write)], []);
pub(super) static STORE_IN_PLACE: File = file!("store/in_place.wgsl");
pub(super) static STORE_WHOLE: File = file!("store/whole.wgsl");
pub(super) static STORE_OWN_WORDS: File = file!("store/own_words.wgsl");
pub(super) static STORE_F32_QUADS: File = file!("store/f32_quads.wgsl", [(OUTPUT_PACKS, Write)], []);
pub(super) static SCORE_LOGITS: File = file!("score/logits.wgsl");
pub(super) static SCORE_MASKED: File = file!(
    "score/masked.wgsl",
    [(binding::ADDITIVE_MASK, Read), (binding::BOOLEAN_MASK, Read)],
    [ADDITIVE_MASK, BOOLEAN_MASK, CAUSAL]
);
pub(super) static SCORE_SAMPLED: File =
    file!("score/sampled.wgsl", [(binding::NEGATIVES, Read), (binding::TARGET_LOG_COUNTS, Read)], []);
pub(super) static CAP_SOFTCAP: File = file!("cap/softcap.wgsl", [], [SOFTCAP]);
pub(super) static CAP_NONE: File = file!("cap/none.wgsl");
pub(super) static STATS_SWEEP: File = file!("stats/sweep.wgsl", [], [TRACK_ARGMAX]);
pub(super) static STATS_MERGE: File = file!("stats/merge.wgsl", [(binding::SEGMENTS, Read)], [GIVEN]);
pub(super) static CANDIDATES: File = file!("common/candidates.wgsl");
pub(super) static ENTMAX_LISTS: File = file!("common/entmax_lists.wgsl");
pub(super) static ENTMAX_TERMS: File = file!("common/entmax_terms.wgsl", [], [ENTMAX_POWER]);
pub(super) static ENTMAX_THRESHOLD: File = file!("common/entmax.wgsl", [], [MASKED_ROW_ZERO]);
pub(super) static ENTMAX_RESULT: File = file!("common/entmax_result.wgsl");
pub(super) static WIDE: File = file!("common/wide.wgsl");
pub(super) static PHILOX: File = file!("common/philox.wgsl");
pub(super) static SAMPLING_RECORD: File =
    file!("common/sampling_record.wgsl", [(binding::sample::SAMPLINGS, Read)], [SAMPLING_STEPS, TRUNCATES]);
pub(super) static SAMPLING_SUPPORT: File = file!("common/sampling_support.wgsl");
pub(super) static SAMPLING_SUMS: File = file!("common/sampling_sums.wgsl");
pub(super) static SAMPLING_SEARCH: File = file!("common/sampling_search.wgsl");
pub(super) static SAMPLING_STEPS_FILE: File = file!("common/sampling_steps.wgsl", [], [SAMPLING_ORDER]);
pub(super) static SAMPLING_RACES: File = file!("common/sampling_races.wgsl");
pub(super) static BLOCK_TOPS: File = file!("common/block_tops.wgsl");
pub(super) static LANE_TOPS: File = file!("common/lane_tops.wgsl");
pub(super) static READOUT_LANE_TOPS: File = file!("readout/lane_tops.wgsl");
pub(super) static TOP_VALUES_FILE: File = file!(
    "common/top_values.wgsl",
    [(binding::ROW_VALUES, Write), (binding::MORE_ROW_VALUES, Write)],
    [TOP_VALUES, RENORMALIZE]
);
pub(super) static READOUT_BLOCK_TOPS: File = file!("readout/block_tops.wgsl");
pub(super) static NO_READOUT_SUMS: File = file!("common/no_readout_sums.wgsl");
pub(super) static READOUT_NONE: File = file!("readout/none.wgsl");
pub(super) static READOUT_SUMS: File = file!("readout/sums.wgsl");
pub(super) static TOLD_NONE: File = file!("told/none.wgsl");
pub(super) static TOLD_SUMS: File = file!("told/sums.wgsl");
pub(super) static TARGET_NONE: File = file!("target/none.wgsl");
pub(super) static TARGET_CLASS: File = file!("target/class.wgsl", [], [FOCAL]);
pub(super) static TARGET_SOFT: File = file!("target/soft.wgsl");
pub(super) static TARGET_SPARSE: File =
    file!("target/sparse.wgsl", [(TARGETS, Read), (TARGET_PROBS, Read)], []);
pub(super) static GRADIENT_CLASS: File = file!("gradient/class.wgsl");
pub(super) static GRADIENT_SOFT: File = file!("gradient/soft.wgsl");
pub(super) static GRADIENT_SPARSE: File = file!("gradient/sparse.wgsl");
pub(super) static TEACHER: File =
    file!("pairs/teacher.wgsl", [(binding::TEACHER, Read), (binding::TEACHER_PACKS, Read)], []);
pub(super) static PAIR_STATS: File = file!("pairs/pair_stats.wgsl", [], [MASKED_ROW_ZERO]);
pub(super) static SWEEP_PAIRS: File = file!("pairs/sweep_pairs.wgsl");
pub(super) static KL_RESULT: File = file!("pairs/kl_result.wgsl", [], [SCALE_BY_T_SQUARED]);
