//! The passes: which files of `shaders/` make a module. Each file is here once, with the bindings and the override
//! constants that it declares: those that passes share in `files`, a pass's own in its list. A pass is a list of files
//! (`pass`), some of which depend on the element type, on where the output goes, on the kind of target (`variant`), or on
//! what softmax is taken of. No GPU is needed to check it.

pub(crate) mod binding;
pub(crate) mod constant;
#[macro_use]
mod files;
mod pass;
mod variant;

use binding::ROW_RESULTS;
use constant::*;
pub(crate) use files::Access;
use files::Access::{Read, Write};
use files::*;
use pass::Part::{self, Of};
#[cfg(test)]
pub(in crate::kernel) use pass::FILE_MARK;
pub(crate) use pass::Pass;
pub(crate) use variant::{Load, Output, Score, Target, Variant};

/// A row's stats, in one read of its logits.
const STATS: &[Part] = &[
    Of(&PARAMS),
    Of(&SEAT),
    Part::Element,
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
    Part::Score,
    Of(&SCORES),
    Of(&ORDER_KEY),
    Of(&ROW_STATS),
    Part::Stats,
    Part::Target,
];
/// A value for each logit, in a second read.
const SWEEP: &[Part] = &[Part::Output, Of(&SWEEP_OUTPUT), Part::Store];
/// What stands behind the stats of a row with a target.
const TARGETED: &[Part] = &[
    Of(&CLASS_WEIGHT),
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&ROW_RESULT),
    Of(&LN_1_PLUS),
];
/// A row's loss.
const LOSS: &[Part] = &[Of(&ROW_RESULTS_OUT), Of(&STORE_READ_ROW)];
/// The stats of a segment go to the pass that merges them.
const SEGMENT: &[Part] = &[Of(&SEGMENT_STATS), Of(&STORE_SEGMENT)];
/// Sums over rows.
const ROWS_ONLY: &[Part] = &[Of(&PARAMS), Of(&TOTALS)];

const fn row_segments(score: Score) -> Pass {
    Pass {
        name: "row_segments",
        score,
        parts: &[STATS, SEGMENT, &[Of(&file!("row_segments.wgsl"))]],
        segments: None,
    }
}

static ROW_SEGMENTS: Pass = row_segments(Score::Logits);
static MASKED_SEGMENTS: Pass = row_segments(Score::Masked);

static LOSS_SEGMENTS: Pass = Pass {
    name: "loss_segments",
    score: Score::Logits,
    parts: &[STATS, TARGETED, SEGMENT, &[Of(&file!("loss_segments.wgsl"))]],
    segments: None,
};

const fn softmax(score: Score, segments: &'static Pass) -> Pass {
    Pass {
        name: "softmax",
        score,
        parts: &[STATS, SWEEP, &[Of(&file!("softmax.wgsl"))]],
        segments: Some(segments),
    }
}

pub(crate) static SOFTMAX: Pass = softmax(Score::Logits, &ROW_SEGMENTS);
pub(crate) static MASKED_SOFTMAX: Pass = softmax(Score::Masked, &MASKED_SEGMENTS);

pub(crate) static LOG_SOFTMAX: Pass = Pass {
    name: "log_softmax",
    score: Score::Logits,
    parts: &[STATS, SWEEP, &[Of(&file!("log_softmax.wgsl"))]],
    segments: Some(&ROW_SEGMENTS),
};

pub(crate) static LOGSUMEXP: Pass = Pass {
    name: "logsumexp",
    score: Score::Logits,
    parts: &[STATS, &[Of(&file!("logsumexp.wgsl", [(4, Write)], []))]],
    segments: Some(&ROW_SEGMENTS),
};

pub(crate) static ARGMAX: Pass = Pass {
    name: "argmax",
    score: Score::Logits,
    parts: &[STATS, &[Of(&file!("argmax.wgsl", [(4, Write)], []))]],
    segments: Some(&ROW_SEGMENTS),
};

pub(crate) static ROW_INPUTS: Pass = Pass {
    name: "row_inputs",
    score: Score::Logits,
    parts: &[
        ROWS_ONLY,
        &[
            Of(&WIDE_PRODUCT),
            Of(&ROW_INPUT),
            Of(&file!(
                "row_inputs.wgsl",
                [(4, Read), (5, Write), (6, Write), (7, Read), (8, Read), (9, Read), (10, Read), (11, Read)],
                [SPARSE, CLASS_WEIGHTS, ROW_WEIGHTS, ROW_MASK, UPSTREAM, ROW_UPSTREAM, SEQUENCES]
            )),
        ],
    ],
    segments: None,
};

pub(crate) static MERGE_TOTALS: Pass = Pass {
    name: "merge_totals",
    score: Score::Logits,
    parts: &[ROWS_ONLY, &[Of(&SWEEP_BLOCKS), Of(&file!("merge_totals.wgsl", [(4, Read), (5, Write)], []))]],
    segments: None,
};

pub(crate) static ROW_LOSSES: Pass = Pass {
    name: "row_losses",
    score: Score::Logits,
    parts: &[STATS, TARGETED, LOSS, &[Of(&file!("row_losses.wgsl"))]],
    segments: Some(&LOSS_SEGMENTS),
};

pub(crate) static DLOGITS: Pass = Pass {
    name: "dlogits",
    score: Score::Logits,
    parts: &[
        STATS,
        TARGETED,
        LOSS,
        &[Of(&BATCH_WEIGHT), Part::Gradient],
        SWEEP,
        &[Of(&file!("dlogits.wgsl"))],
    ],
    segments: Some(&LOSS_SEGMENTS),
};

pub(crate) static REDUCE_LOSS: Pass = Pass {
    name: "reduce_loss",
    score: Score::Logits,
    parts: &[
        ROWS_ONLY,
        &[
            Of(&WIDE_PRODUCT),
            Of(&ROW_INPUT),
            Of(&ROW_INPUT_OF),
            Of(&file!(
                "reduce_loss.wgsl",
                [(ROW_RESULTS, Read), (6, Write), (7, Write), (8, Write), (9, Write)],
                [WRITE_ROW_LOSSES, WRITE_LSE, WRITE_ARGMAX]
            )),
        ],
    ],
    segments: None,
};

pub(crate) static FINISH_LOSS: Pass = Pass {
    name: "finish_loss",
    score: Score::Logits,
    parts: &[
        ROWS_ONLY,
        &[
            Of(&SWEEP_BLOCKS),
            Of(&BATCH_WEIGHT),
            Of(&file!("finish_loss.wgsl", [(4, Read), (5, Read), (6, Write)], [EMPTY_ZERO])),
        ],
    ],
    segments: None,
};

/// Every class's loss by itself, of soft targets.
const CLASS_LOSSES: &[Part] = &[
    Of(&PARAMS),
    Of(&SEAT),
    Part::Element,
    Of(&PACK_QUAD),
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&ROW_QUADS),
    Of(&CLASS_WEIGHT),
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&ROW_RESULTS_OUT),
    Of(&LN_1_PLUS),
    Of(&SIGMOID_BCE),
];

pub(crate) static SIGMOID_BCE_LOSSES: Pass = Pass {
    name: "sigmoid_bce_losses",
    score: Score::Logits,
    parts: &[CLASS_LOSSES, &[Of(&file!("sigmoid_bce_losses.wgsl"))]],
    segments: None,
};

pub(crate) static SIGMOID_BCE_DLOGITS: Pass = Pass {
    name: "sigmoid_bce_dlogits",
    score: Score::Logits,
    parts: &[
        CLASS_LOSSES,
        &[Of(&BATCH_WEIGHT), Of(&SCORE_LOGITS), Of(&SCORES)],
        SWEEP,
        &[Of(&file!("sigmoid_bce_dlogits.wgsl"))],
    ],
    segments: None,
};

/// A row of logits, or of what takes their place.
const ROWS_OF_LOGITS: &[Part] =
    &[Of(&PARAMS), Of(&SEAT), Part::Element, Of(&PACK_QUAD), Part::Logits, Of(&ROW_SPAN), Of(&ROW_QUADS)];

pub(crate) static SOFTMAX_BACKWARD: Pass = Pass {
    name: "softmax_backward",
    score: Score::Logits,
    parts: &[ROWS_OF_LOGITS, &[Of(&SCORE_LOGITS), Of(&SCORES), Of(&ROW_PAIRS)], SWEEP, &[Of(&file!("softmax_backward.wgsl"))]],
    segments: None,
};

/// A row's stats in two batches, in one read of both, and its KL divergence.
const PAIRS: &[Part] = &[
    Of(&SCORE_LOGITS),
    Of(&ORDER_KEY),
    Of(&TEACHER),
    Of(&PAIR_STATS),
    Of(&SWEEP_PAIRS),
    Of(&WIDE_PRODUCT),
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&ROW_RESULTS_OUT),
    Of(&KL_RESULT),
];

pub(crate) static KL_LOSSES: Pass = Pass {
    name: "kl_losses",
    score: Score::Logits,
    parts: &[ROWS_OF_LOGITS, PAIRS, &[Of(&file!("kl_losses.wgsl"))]],
    segments: None,
};

pub(crate) static KL_DLOGITS: Pass = Pass {
    name: "kl_dlogits",
    score: Score::Logits,
    parts: &[
        ROWS_OF_LOGITS,
        PAIRS,
        &[Of(&SCORES), Of(&BATCH_WEIGHT)],
        SWEEP,
        &[Of(&file!("kl_dlogits.wgsl"))],
    ],
    segments: None,
};

/// Every pass there is, and the kinds of target that it takes.
#[cfg(test)]
pub(crate) static ALL: [(&Pass, &[Target]); 19] = [
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
    (&REDUCE_LOSS, &[Target::None]),
    (&FINISH_LOSS, &[Target::None]),
    (&SIGMOID_BCE_LOSSES, &[Target::None]),
    (&SIGMOID_BCE_DLOGITS, &[Target::None]),
];
