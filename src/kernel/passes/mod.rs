//! The passes: which files of `shaders/` make a module. Each file is listed once, with the bindings and override
//! constants that it declares: shared files in `files`, a pass's own file in its list. A pass is a list of files
//! (`pass`). Some of them depend on the element type, on the output, on the kind of target (`variant`), or on the
//! scores. All of this can be checked without a GPU.

pub(crate) mod binding;
pub(crate) mod constant;
#[macro_use]
mod files;
mod modules;
mod pass;
mod variant;

use binding::{
    accept_drafts, finish_loss, finish_pairs, merge_totals, pair_gradients, reduce_loss, row_inputs, sample,
};
use constant::*;
pub(crate) use files::Access;
use files::Access::{Read, Write};
#[cfg(test)]
pub(in crate::kernel) use files::File;
use files::*;
pub(in crate::kernel) use modules::modules;
#[cfg(test)]
pub(in crate::kernel) use pass::FILE_MARK;
use pass::Part::{self, Of};
pub(crate) use pass::Pass;
use pass::Tops;
pub(crate) use variant::{CODES, Load, Output, Score, Target, Variant};

/// A row's statistics, in one read of its logits.
const STATS: &[Part] = &[
    Of(&PARAMS),
    Of(&FLOATS),
    Of(&SEAT),
    Part::Element,
    Part::Coding,
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
    Part::Score,
    Of(&SCORES),
    Of(&ORDER_KEY),
    Of(&LANE_TREE),
    Of(&ROW_STATS),
    Part::Stats,
    Part::Readout,
    Part::Target,
];
/// The scores of a row, which no cap limits.
const ROWS_OF_SCORES: &[Part] = &[
    Of(&PARAMS),
    Of(&SEAT),
    Part::Element,
    Part::Coding,
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&SCORE_LOGITS),
    Of(&SCORES),
    Of(&ORDER_KEY),
];
/// A value for each logit, in a second read.
const SWEEP: &[Part] = &[Part::Output, Of(&SWEEP_OUTPUT), Part::Store];
/// The files after the statistics of a row with a target.
const TARGETED: &[Part] = &[
    Part::Weights,
    Of(&CLASS_WEIGHT),
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&FIELDS),
    Of(&ROW_RESULT),
    Of(&LN_1_PLUS),
];
/// A row's loss.
const LOSS: &[Part] = &[Of(&ROW_RESULTS_OUT), Part::Told, Of(&STORE_READ_ROW)];
/// Stores the statistics of a segment for the pass that merges them.
const SEGMENT: &[Part] = &[Of(&SEGMENT_STATS), Of(&STORE_SEGMENT)];
/// Sums over rows.
const ROWS_ONLY: &[Part] = &[Of(&PARAMS), Of(&LANE_TREE), Of(&TOTALS)];

const ROW_SEGMENTS_PARTS: &[&[Part]] = &[STATS, SEGMENT, &[Of(&file!("row_segments.wgsl"))]];
static ROW_SEGMENTS: Pass = Pass::new("row_segments", ROW_SEGMENTS_PARTS).taking_codes();
static MASKED_SEGMENTS: Pass = Pass::new("row_segments", ROW_SEGMENTS_PARTS).of(Score::Masked);

static LOSS_SEGMENTS: Pass =
    Pass::new("loss_segments", &[STATS, TARGETED, SEGMENT, &[Of(&file!("loss_segments.wgsl"))]])
        .taking_codes();

const SOFTMAX_PARTS: &[&[Part]] = &[STATS, SWEEP, &[Of(&file!("softmax.wgsl"))]];
pub(crate) static SOFTMAX: Pass = Pass::new("softmax", SOFTMAX_PARTS).merging(&ROW_SEGMENTS).taking_codes();
pub(crate) static MASKED_SOFTMAX: Pass =
    Pass::new("softmax", SOFTMAX_PARTS).of(Score::Masked).merging(&MASKED_SEGMENTS);

pub(crate) static LOG_SOFTMAX: Pass =
    Pass::new("log_softmax", &[STATS, SWEEP, &[Of(&file!("log_softmax.wgsl"))]])
        .merging(&ROW_SEGMENTS)
        .taking_codes();

pub(crate) static LOGSUMEXP: Pass =
    Pass::new("logsumexp", &[STATS, &[Of(&file!("logsumexp.wgsl", [(binding::ROW_VALUES, Write)], []))]])
        .merging(&ROW_SEGMENTS);

pub(crate) static ARGMAX: Pass =
    Pass::new("argmax", &[STATS, &[Of(&file!("argmax.wgsl", [(binding::ROW_VALUES, Write)], []))]])
        .merging(&ROW_SEGMENTS);

pub(crate) static TOP_K: Pass =
    Pass::new("top_k", &[STATS, &[Of(&TOP_VALUES_FILE), Of(&file!("top_k.wgsl"))]]).keeping(Tops::OfBlocks);
/// Of several short rows in a workgroup.
pub(crate) static TOP_K_ROWS: Pass =
    Pass::new("top_k_rows", &[STATS, &[Of(&TOP_VALUES_FILE), Of(&file!("top_k_rows.wgsl"))]])
        .keeping(Tops::OfLanes);

pub(crate) static ROW_MOMENTS: Pass =
    Pass::new("row_moments", &[STATS, &[Of(&file!("row_moments.wgsl", [(binding::ROW_VALUES, Write)], []))]])
        .summing_again()
        .taking_codes();

/// A row's threshold of entmax.
const THRESHOLD: &[Part] =
    &[Of(&LANE_TREE), Of(&SWEEP_STEPS), Of(&ENTMAX_LISTS), Of(&ENTMAX_TERMS), Of(&ENTMAX_THRESHOLD)];

pub(crate) static ENTMAX: Pass =
    Pass::new("entmax", &[ROWS_OF_SCORES, THRESHOLD, SWEEP, &[Of(&file!("entmax.wgsl"))]]);

/// The loss of a row's entmax.
const ENTMAX_LOSS: &[Part] = &[
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&FIELDS),
    Of(&ROW_RESULTS_OUT),
    Of(&ENTMAX_RESULT),
];

pub(crate) static ENTMAX_LOSSES: Pass = Pass::new(
    "entmax_losses",
    &[ROWS_OF_SCORES, THRESHOLD, ENTMAX_LOSS, &[Of(&file!("entmax_losses.wgsl"))]],
);

pub(crate) static ENTMAX_DLOGITS: Pass = Pass::new(
    "entmax_dlogits",
    &[
        ROWS_OF_SCORES,
        THRESHOLD,
        ENTMAX_LOSS,
        &[Of(&BATCH_WEIGHT)],
        SWEEP,
        &[Of(&file!("entmax_dlogits.wgsl"))],
    ],
);

/// A draw from a row: random numbers, and exact sums of weights.
const DRAW: &[Part] = &[
    Of(&WIDE),
    Of(&PHILOX),
    Of(&CANDIDATES),
    Of(&SAMPLING_RECORD),
    Of(&SAMPLING_SUPPORT),
    Of(&SAMPLING_SUMS),
];
/// Rows whose tokens are drawn.
const SAMPLING: &[Part] = &[Of(&SAMPLING_SEARCH), Of(&SAMPLING_STEPS_FILE), Of(&SAMPLING_RACES)];

pub(crate) static SAMPLE: Pass = Pass::new(
    "sample",
    &[
        ROWS_OF_SCORES,
        DRAW,
        SAMPLING,
        &[Of(&file!(
            "sample.wgsl",
            [(sample::TOKENS, Write), (sample::LOG_PROBS, Write), (sample::ROWS, Write)],
            [TRUNCATES_FIRST, REPLACEMENT]
        ))],
    ],
)
.summing_again();

pub(crate) static ACCEPT_DRAFTS: Pass = Pass::new(
    "accept_drafts",
    &[
        ROWS_OF_SCORES,
        DRAW,
        &[Of(&file!(
            "accept_drafts.wgsl",
            [
                (accept_drafts::DRAFT_PROBS, Read),
                (accept_drafts::DRAFTS, Read),
                (accept_drafts::CHAIN_TOKENS, Write),
                (accept_drafts::CHAINS_TOLD, Write)
            ],
            []
        ))],
    ],
)
.summing_again();

pub(crate) static CHANGE_SCORES: Pass = Pass::new(
    "change_scores",
    &[
        &[Of(&PARAMS), Of(&SEAT), Part::Element, Part::Coding, Part::Pack, Part::Logits, Of(&ROW_SPAN)],
        &[Of(&file!("change_scores.wgsl", [(binding::OUTPUT, Write), (sample::CHANGES, Read)], []))],
    ],
);

pub(crate) static RAW_LOG_PROBS: Pass = Pass::new(
    "raw_log_probs",
    &[STATS, &[Of(&file!("raw_log_probs.wgsl", [(sample::TOKENS, Read), (sample::LOG_PROBS, Write)], []))]],
);

pub(crate) static ROW_INPUTS: Pass = Pass::new(
    "row_inputs",
    &[
        ROWS_ONLY,
        &[
            Of(&WIDE_PRODUCT),
            Of(&ROW_INPUT),
            Of(&file!(
                "row_inputs.wgsl",
                [
                    (row_inputs::CLASSES, Read),
                    (row_inputs::INPUTS, Write),
                    (row_inputs::BLOCK_TOTALS, Write),
                    (row_inputs::ROW_WEIGHTS, Read),
                    (row_inputs::CLASS_WEIGHTS, Read),
                    (row_inputs::ROW_MASK, Read),
                    (row_inputs::UPSTREAM, Read),
                    (row_inputs::ROW_UPSTREAM, Read)
                ],
                [SPARSE, CLASS_WEIGHTS, ROW_WEIGHTS, ROW_MASK, UPSTREAM, ROW_UPSTREAM, SEQUENCES]
            )),
        ],
    ],
);

pub(crate) static MERGE_TOTALS: Pass = Pass::new(
    "merge_totals",
    &[
        ROWS_ONLY,
        &[
            Of(&BLOCK_TERMS),
            Of(&file!(
                "merge_totals.wgsl",
                [(merge_totals::BLOCK_TOTALS, Read), (merge_totals::INPUTS, Write)],
                []
            )),
        ],
    ],
);

const ROW_LOSSES_PARTS: &[&[Part]] = &[STATS, TARGETED, LOSS, &[Of(&file!("row_losses.wgsl"))]];
pub(crate) static ROW_LOSSES: Pass =
    Pass::new("row_losses", ROW_LOSSES_PARTS).merging(&LOSS_SEGMENTS).taking_codes();
pub(crate) static SAMPLED_LOSSES: Pass = Pass::new("row_losses", ROW_LOSSES_PARTS).of(Score::Sampled);

const DLOGITS_PARTS: &[&[Part]] =
    &[STATS, TARGETED, LOSS, &[Of(&BATCH_WEIGHT), Part::Gradient], SWEEP, &[Of(&file!("dlogits.wgsl"))]];
pub(crate) static DLOGITS: Pass = Pass::new("dlogits", DLOGITS_PARTS).merging(&LOSS_SEGMENTS).taking_codes();
pub(crate) static SAMPLED_DLOGITS: Pass = Pass::new("dlogits", DLOGITS_PARTS).of(Score::Sampled);

pub(crate) static REDUCE_LOSS: Pass = Pass::new(
    "reduce_loss",
    &[
        ROWS_ONLY,
        &[
            Of(&WIDE_PRODUCT),
            Of(&ROW_INPUT),
            Of(&ROW_INPUT_OF),
            Of(&FIELDS),
            Of(&file!(
                "reduce_loss.wgsl",
                [
                    (reduce_loss::RESULTS, Read),
                    (reduce_loss::BLOCK_TOTALS, Write),
                    (reduce_loss::ROW_LOSSES, Write),
                    (reduce_loss::TOLD_RESULTS, Write)
                ],
                [WRITE_ROW_LOSSES, TOLD_FIELDS]
            )),
        ],
    ],
);

pub(crate) static FINISH_LOSS: Pass = Pass::new(
    "finish_loss",
    &[
        ROWS_ONLY,
        &[
            Of(&BLOCK_TERMS),
            Of(&BATCH_WEIGHT),
            Of(&file!(
                "finish_loss.wgsl",
                [(finish_loss::INPUTS, Read), (finish_loss::BLOCK_TOTALS, Read), (finish_loss::LOSS, Write)],
                [EMPTY_ZERO]
            )),
        ],
    ],
);

pub(crate) static PAIR_GRADIENTS: Pass = Pass::new(
    "pair_gradients",
    &[
        ROWS_OF_SCORES,
        &[Of(&LANE_TREE), Of(&SUM_OF_BITS)],
        SWEEP,
        &[Of(&file!(
            "pair_gradients.wgsl",
            [(pair_gradients::ROWS, Read), (pair_gradients::COLUMNS, Read), (pair_gradients::TERMS, Write)],
            []
        ))],
    ],
)
.in_one_sweep();

pub(crate) static FINISH_PAIRS: Pass = Pass::new(
    "finish_pairs",
    &[
        ROWS_ONLY,
        &[
            Of(&WIDE_PRODUCT),
            Of(&SUM_OF_BITS),
            Of(&file!(
                "finish_pairs.wgsl",
                [
                    (finish_pairs::ROW_LOSS, Read),
                    (finish_pairs::COLUMN_LOSS, Read),
                    (finish_pairs::TERMS, Read),
                    (finish_pairs::LOSS, Write),
                    (finish_pairs::DLOG_SCALE, Write)
                ],
                []
            )),
        ],
    ],
);

/// The loss of each class separately, for soft targets.
const CLASS_LOSSES: &[Part] = &[
    Of(&PARAMS),
    Of(&FLOATS),
    Of(&SEAT),
    Part::Element,
    Part::Coding,
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&LANE_TREE),
    Part::Weights,
    Of(&CLASS_WEIGHT),
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&FIELDS),
    Of(&ROW_RESULTS_OUT),
    Of(&LN_1_PLUS),
    Part::PosWeight,
    Part::Dense,
    Of(&SIGMOID_BCE),
];

pub(crate) static SIGMOID_BCE_LOSSES: Pass =
    Pass::new("sigmoid_bce_losses", &[CLASS_LOSSES, &[Of(&file!("sigmoid_bce_losses.wgsl"))]]);

pub(crate) static SIGMOID_BCE_DLOGITS: Pass = Pass::new(
    "sigmoid_bce_dlogits",
    &[
        CLASS_LOSSES,
        &[Of(&BATCH_WEIGHT), Of(&SCORE_LOGITS), Of(&SCORES)],
        SWEEP,
        &[Of(&file!("sigmoid_bce_dlogits.wgsl"))],
    ],
)
.in_one_sweep();

/// A row of logits, or of the array in their place, with a second array.
const ROWS_OF_LOGITS: &[Part] = &[
    Of(&PARAMS),
    Of(&FLOATS),
    Of(&SEAT),
    Part::Element,
    Part::Coding,
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
];

/// A sum over a row of gradients and probabilities.
const ROW_OF_PAIRS: &[Part] =
    &[Of(&LANE_TREE), Of(&SWEEP_STEPS), Of(&SWEEP_PACKS), Of(&SCORE_LOGITS), Of(&SCORES), Of(&ROW_PAIRS)];

pub(crate) static SOFTMAX_BACKWARD: Pass = Pass::new(
    "softmax_backward",
    &[ROWS_OF_LOGITS, ROW_OF_PAIRS, SWEEP, &[Of(&file!("softmax_backward.wgsl"))]],
);

pub(crate) static ENTMAX_BACKWARD: Pass = Pass::new(
    "entmax_backward",
    &[ROWS_OF_LOGITS, ROW_OF_PAIRS, SWEEP, &[Of(&file!("entmax_backward.wgsl", [], [ENTMAX_POWER]))]],
);

/// A row's statistics in two batches, in one read of both, and its KL divergence.
const PAIRS: &[Part] = &[
    Of(&SCORE_LOGITS),
    Of(&SCORES),
    Of(&ORDER_KEY),
    Of(&TEACHER),
    Of(&LANE_TREE),
    Of(&SWEEP_STEPS),
    Of(&SWEEP_PACKS),
    Of(&PAIR_STATS),
    Of(&SWEEP_PAIRS),
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&FIELDS),
    Of(&ROW_RESULTS_OUT),
    Of(&KL_RESULT),
];

pub(crate) static KL_LOSSES: Pass =
    Pass::new("kl_losses", &[ROWS_OF_LOGITS, PAIRS, &[Of(&file!("kl_losses.wgsl"))]]).taking_codes();

pub(crate) static KL_DLOGITS: Pass = Pass::new(
    "kl_dlogits",
    &[ROWS_OF_LOGITS, PAIRS, &[Of(&BATCH_WEIGHT)], SWEEP, &[Of(&file!("kl_dlogits.wgsl"))]],
);

/// Every pass, and the kinds of target that it takes.
pub(crate) static ALL: [(&Pass, &[Target]); 34] = [
    (&PAIR_GRADIENTS, &[Target::None]),
    (&FINISH_PAIRS, &[Target::None]),
    (&ACCEPT_DRAFTS, &[Target::None]),
    (&CHANGE_SCORES, &[Target::None]),
    (&RAW_LOG_PROBS, &[Target::None]),
    (&ENTMAX_LOSSES, &[Target::Class]),
    (&ENTMAX_DLOGITS, &[Target::Class]),
    (&ENTMAX, &[Target::None]),
    (&ENTMAX_BACKWARD, &[Target::None]),
    (&ROW_MOMENTS, &[Target::None]),
    (&TOP_K, &[Target::None]),
    (&TOP_K_ROWS, &[Target::None]),
    (&SAMPLE, &[Target::None]),
    (&ROW_SEGMENTS, &[Target::None]),
    (&LOSS_SEGMENTS, &[Target::Class, Target::Soft]),
    (&MASKED_SEGMENTS, &[Target::None]),
    (&MASKED_SOFTMAX, &[Target::None]),
    (&KL_LOSSES, &[Target::None]),
    (&KL_DLOGITS, &[Target::None]),
    (&SOFTMAX_BACKWARD, &[Target::None]),
    (&SOFTMAX, &[Target::None]),
    (&LOG_SOFTMAX, &[Target::None]),
    (&LOGSUMEXP, &[Target::None]),
    (&ARGMAX, &[Target::None]),
    (&ROW_INPUTS, &[Target::None]),
    (&MERGE_TOTALS, &[Target::None]),
    (&ROW_LOSSES, &[Target::Class, Target::Soft, Target::Sparse]),
    (&DLOGITS, &[Target::Class, Target::Soft, Target::Sparse]),
    (&SAMPLED_LOSSES, &[Target::Class]),
    (&SAMPLED_DLOGITS, &[Target::Class]),
    (&REDUCE_LOSS, &[Target::None]),
    (&FINISH_LOSS, &[Target::None]),
    (&SIGMOID_BCE_LOSSES, &[Target::None]),
    (&SIGMOID_BCE_DLOGITS, &[Target::None]),
];
