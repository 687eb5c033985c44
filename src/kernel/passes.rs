//! The passes: which files of `shaders/` make a module. Each file is here once, with the bindings and the override
//! constants that it declares; a pass is a list of files, some of which depend on the element type, on where the output
//! goes, or on the kind of target. No GPU is needed to check it.

/// How a storage buffer is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

/// One file of `shaders/`.
struct File {
    text: &'static str,
    bindings: &'static [(u32, Access)],
    overrides: &'static [&'static str],
}

macro_rules! file {
    ($path:literal, [$($binding:expr),*], [$($constant:expr),*]) => {
        File {
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path)),
            bindings: &[$($binding),*],
            overrides: &[$($constant),*],
        }
    };
    ($path:literal) => { file!($path, [], []) };
}

/// What a module is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// The logits' type, by its name.
    pub element: &'static str,
    pub output: Output,
    pub target: Target,
}

impl Variant {
    /// Of passes over rows, which read no logit.
    pub const ROWS: Self = Self { element: "f32", output: Output::Element, target: Target::None };
}

/// Where the output goes that has a value for each logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Output {
    /// A buffer of the logits' type.
    Element,
    /// A buffer of f32.
    F32,
    /// Over the logits.
    InPlace,
}

/// What a row's target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    None,
    Class,
    Soft,
    Sparse,
}

/// A part of a module: one file, or the one that the variant asks for.
#[derive(Clone, Copy)]
enum Part {
    Of(&'static File),
    Element,
    Logits,
    Output,
    Target,
    Gradient,
}
use Part::Of;

/// A pass: its name is that of its file, its entry point, its label and its CPU twin.
pub(crate) struct Pass {
    pub name: &'static str,
    parts: &'static [&'static [Part]],
}

impl Pass {
    fn files(&self, variant: Variant) -> impl Iterator<Item = &'static File> {
        self.parts.iter().copied().flatten().map(move |part| match part {
            Of(file) => file,
            Part::Element => match variant.element {
                "f16" => &ELEMENT_F16,
                "bf16" => &ELEMENT_BF16,
                _ => &ELEMENT_F32,
            },
            Part::Logits => match variant.output {
                Output::InPlace => &LOGITS_IN_PLACE,
                _ => &LOGITS_READ,
            },
            Part::Output => match variant.output {
                Output::Element => &OUTPUT_ELEMENT,
                Output::F32 => &OUTPUT_F32,
                // It comes with the logits.
                Output::InPlace => &NOTHING,
            },
            Part::Target => match variant.target {
                Target::None => &TARGET_NONE,
                Target::Class => &TARGET_CLASS,
                Target::Soft => &TARGET_SOFT,
                Target::Sparse => &TARGET_SPARSE,
            },
            Part::Gradient => match variant.target {
                Target::Soft => &GRADIENT_SOFT,
                Target::Sparse => &GRADIENT_SPARSE,
                _ => &GRADIENT_CLASS,
            },
        })
    }

    /// The module's source: its files, one behind the other.
    pub fn source(&self, variant: Variant) -> String {
        self.files(variant).map(|file| file.text).collect::<Vec<_>>().join("\n")
    }

    /// The storage bindings beside the `Params` at binding 0.
    pub fn bindings(&self, variant: Variant) -> Vec<(u32, Access)> {
        self.files(variant).flat_map(|file| file.bindings).copied().collect()
    }

    /// The override constants that the module has.
    pub fn overrides(&self, variant: Variant) -> Vec<&'static str> {
        self.files(variant).flat_map(|file| file.overrides).copied().collect()
    }

    /// The pass's label on every object made for it.
    pub fn label(&self) -> String {
        format!("xent::{}", self.name)
    }
}

/// Override constants: their names in the shaders.
pub(crate) mod constant {
    pub const LANES: &str = "LANES";
    pub const ROWS: &str = "ROWS";
    pub const INVOCATIONS: &str = "INVOCATIONS";
    pub const STRIDED: &str = "STRIDED";
    pub const SOFTCAP: &str = "SOFTCAP";
    pub const MASKED_ROW_ZERO: &str = "MASKED_ROW_ZERO";
    pub const TARGET_SUMS: &str = "TARGET_SUMS";
    pub const EXCLUDE_TARGET: &str = "EXCLUDE_TARGET";
    pub const TRACK_ARGMAX: &str = "TRACK_ARGMAX";
    pub const LOG_PROBS: &str = "LOG_PROBS";
    pub const FOCAL: &str = "FOCAL";
    pub const CLASS_WEIGHTS: &str = "CLASS_WEIGHTS";
    pub const SPARSE: &str = "SPARSE";
    pub const ROW_WEIGHTS: &str = "ROW_WEIGHTS";
    pub const ROW_MASK: &str = "ROW_MASK";
    pub const UPSTREAM: &str = "UPSTREAM";
    pub const ROW_UPSTREAM: &str = "ROW_UPSTREAM";
    pub const SEQUENCES: &str = "SEQUENCES";
    pub const WRITE_ROW_LOSSES: &str = "WRITE_ROW_LOSSES";
    pub const WRITE_LSE: &str = "WRITE_LSE";
    pub const WRITE_ARGMAX: &str = "WRITE_ARGMAX";
    pub const EMPTY_ZERO: &str = "EMPTY_ZERO";
    pub const POS_WEIGHT: &str = "POS_WEIGHT";
    pub const ADDITIVE_MASK: &str = "ADDITIVE_MASK";
    pub const BOOLEAN_MASK: &str = "BOOLEAN_MASK";
    pub const CAUSAL: &str = "CAUSAL";
    pub const SCALE_BY_T_SQUARED: &str = "SCALE_BY_T_SQUARED";
}
use constant::*;

/// Bindings: their numbers in the shaders.
pub(crate) mod binding {
    /// The logits, and the same buffer four values at a time.
    pub const LOGITS: u32 = 1;
    pub const LOGIT_QUADS: u32 = 2;
    /// Where passes with a value for each logit write it.
    pub const OUTPUT: u32 = 3;
    /// Of passes over logits with targets.
    pub const ROW_INPUTS: u32 = 4;
    pub const ROW_RESULTS: u32 = 5;
    pub const CLASS_WEIGHTS: u32 = 6;
    pub const TARGETS: u32 = 7;
    pub const TARGET_PROBS: u32 = 8;
    pub const POS_WEIGHT: u32 = 8;
    /// Of a masked softmax.
    pub const ADDITIVE_MASK: u32 = 4;
    pub const BOOLEAN_MASK: u32 = 5;
    /// Of a softmax's backward, whose gradient takes the logits' place: probabilities, and the same buffer four values
    /// at a time.
    pub const PROBS: u32 = 4;
    pub const PROB_QUADS: u32 = 5;
    /// Of a divergence: a second batch of logits, and the same buffer four values at a time.
    pub const TEACHER: u32 = 9;
    pub const TEACHER_QUADS: u32 = 10;

    /// The second view of what is read four values at a time.
    pub fn quads_of(number: u32) -> Option<u32> {
        match number {
            LOGITS => Some(LOGIT_QUADS),
            PROBS => Some(PROB_QUADS),
            TEACHER => Some(TEACHER_QUADS),
            _ => None,
        }
    }
}
use binding::{LOGIT_QUADS, LOGITS, OUTPUT, ROW_RESULTS, TARGET_PROBS, TARGETS};

static NOTHING: File = File { text: "", bindings: &[], overrides: &[] };
static PARAMS: File = file!("common/params.wgsl");
static SEAT: File = file!("common/seat.wgsl", [], [LANES, ROWS, INVOCATIONS, STRIDED]);
static ROW_SPAN: File = file!("common/row_span.wgsl");
static ORDER_KEY: File = file!("common/order_key.wgsl");
static ROW_STATS: File = file!("common/row_stats.wgsl", [], [MASKED_ROW_ZERO, TARGET_SUMS, EXCLUDE_TARGET]);
static SWEEP_STATS: File = file!("common/sweep_stats.wgsl", [], [TRACK_ARGMAX]);
static SWEEP_OUTPUT: File = file!("common/sweep_output.wgsl");
static ROW_INPUT: File = file!("common/row_input.wgsl");
static ROW_IO: File = file!("common/row_io.wgsl", [(binding::ROW_INPUTS, Read), (ROW_RESULTS, Write)], []);
static ROW_RESULT: File = file!("common/row_result.wgsl", [], [LOG_PROBS]);
static LN_1_PLUS: File = file!("common/ln_1_plus.wgsl");
static BATCH_WEIGHT: File = file!("common/batch_weight.wgsl");
static CLASS_WEIGHT: File =
    file!("common/class_weights.wgsl", [(binding::CLASS_WEIGHTS, Read)], [CLASS_WEIGHTS]);
static TOTALS: File = file!("common/totals.wgsl");
static SWEEP_BLOCKS: File = file!("common/sweep_blocks.wgsl");

static ELEMENT_F32: File = file!("element/f32.wgsl");
static ELEMENT_F16: File = file!("element/f16.wgsl");
static ELEMENT_BF16: File = file!("element/bf16.wgsl");
static LOGITS_READ: File = file!("logits/read.wgsl", [(LOGITS, Read), (LOGIT_QUADS, Read)], []);
static LOGITS_IN_PLACE: File = file!("logits/in_place.wgsl", [(LOGITS, Write)], []);
static OUTPUT_ELEMENT: File = file!("output/element.wgsl", [(OUTPUT, Write)], []);
static OUTPUT_F32: File = file!("output/f32.wgsl", [(OUTPUT, Write)], []);
static SCORE_LOGITS: File = file!("score/logits.wgsl", [], [SOFTCAP]);
static TARGET_NONE: File = file!("target/none.wgsl");
static TARGET_CLASS: File = file!("target/class.wgsl", [], [FOCAL]);
static TARGET_SOFT: File = file!("target/soft.wgsl", [(TARGETS, Read)], []);
static TARGET_SPARSE: File = file!("target/sparse.wgsl", [(TARGETS, Read), (TARGET_PROBS, Read)], []);
static GRADIENT_CLASS: File = file!("gradient/class.wgsl");
static GRADIENT_SOFT: File = file!("gradient/soft.wgsl");
static GRADIENT_SPARSE: File = file!("gradient/sparse.wgsl");

/// A row's stats, in one read of its logits.
const STATS: &[Part] = &[
    Of(&PARAMS),
    Of(&SEAT),
    Part::Element,
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&SCORE_LOGITS),
    Of(&ORDER_KEY),
    Of(&ROW_STATS),
    Of(&SWEEP_STATS),
    Part::Target,
];
/// A value for each logit, in a second read.
const SWEEP: &[Part] = &[Part::Output, Of(&SWEEP_OUTPUT)];
/// A row's loss.
const LOSS: &[Part] = &[Of(&CLASS_WEIGHT), Of(&ROW_INPUT), Of(&ROW_IO), Of(&ROW_RESULT), Of(&LN_1_PLUS)];
/// Sums over rows.
const ROWS_ONLY: &[Part] = &[Of(&PARAMS), Of(&TOTALS)];

pub(crate) static SOFTMAX: Pass =
    Pass { name: "softmax", parts: &[STATS, SWEEP, &[Of(&file!("softmax.wgsl"))]] };

pub(crate) static LOG_SOFTMAX: Pass =
    Pass { name: "log_softmax", parts: &[STATS, SWEEP, &[Of(&file!("log_softmax.wgsl"))]] };

pub(crate) static LOGSUMEXP: Pass =
    Pass { name: "logsumexp", parts: &[STATS, &[Of(&file!("logsumexp.wgsl", [(4, Write)], []))]] };

pub(crate) static ARGMAX: Pass =
    Pass { name: "argmax", parts: &[STATS, &[Of(&file!("argmax.wgsl", [(4, Write)], []))]] };

pub(crate) static ROW_INPUTS: Pass = Pass {
    name: "row_inputs",
    parts: &[
        ROWS_ONLY,
        &[
            Of(&ROW_INPUT),
            Of(&file!(
                "row_inputs.wgsl",
                [(4, Read), (5, Write), (6, Write), (7, Read), (8, Read), (9, Read), (10, Read), (11, Read)],
                [SPARSE, CLASS_WEIGHTS, ROW_WEIGHTS, ROW_MASK, UPSTREAM, ROW_UPSTREAM, SEQUENCES]
            )),
        ],
    ],
};

pub(crate) static MERGE_TOTALS: Pass = Pass {
    name: "merge_totals",
    parts: &[ROWS_ONLY, &[Of(&SWEEP_BLOCKS), Of(&file!("merge_totals.wgsl", [(4, Read), (5, Write)], []))]],
};

pub(crate) static ROW_LOSSES: Pass =
    Pass { name: "row_losses", parts: &[STATS, LOSS, &[Of(&file!("row_losses.wgsl"))]] };

pub(crate) static DLOGITS: Pass = Pass {
    name: "dlogits",
    parts: &[STATS, LOSS, &[Of(&BATCH_WEIGHT), Part::Gradient], SWEEP, &[Of(&file!("dlogits.wgsl"))]],
};

pub(crate) static REDUCE_LOSS: Pass = Pass {
    name: "reduce_loss",
    parts: &[
        ROWS_ONLY,
        &[
            Of(&ROW_INPUT),
            Of(&file!(
                "reduce_loss.wgsl",
                [(4, Read), (5, Read), (6, Write), (7, Write), (8, Write), (9, Write)],
                [WRITE_ROW_LOSSES, WRITE_LSE, WRITE_ARGMAX]
            )),
        ],
    ],
};

pub(crate) static FINISH_LOSS: Pass = Pass {
    name: "finish_loss",
    parts: &[
        ROWS_ONLY,
        &[
            Of(&SWEEP_BLOCKS),
            Of(&BATCH_WEIGHT),
            Of(&file!("finish_loss.wgsl", [(4, Read), (5, Read), (6, Write)], [EMPTY_ZERO])),
        ],
    ],
};

static SIGMOID_BCE: File =
    file!("common/sigmoid_bce.wgsl", [(TARGETS, Read), (binding::POS_WEIGHT, Read)], [POS_WEIGHT]);

/// Every class's loss by itself, of soft targets.
const CLASS_LOSSES: &[Part] = &[
    Of(&PARAMS),
    Of(&SEAT),
    Part::Element,
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&CLASS_WEIGHT),
    Of(&ROW_INPUT),
    Of(&ROW_IO),
    Of(&LN_1_PLUS),
    Of(&SIGMOID_BCE),
];

pub(crate) static SIGMOID_BCE_LOSSES: Pass =
    Pass { name: "sigmoid_bce_losses", parts: &[CLASS_LOSSES, &[Of(&file!("sigmoid_bce_losses.wgsl"))]] };

pub(crate) static SIGMOID_BCE_DLOGITS: Pass = Pass {
    name: "sigmoid_bce_dlogits",
    parts: &[
        CLASS_LOSSES,
        &[Of(&BATCH_WEIGHT), Of(&SCORE_LOGITS)],
        SWEEP,
        &[Of(&file!("sigmoid_bce_dlogits.wgsl"))],
    ],
};

static SCORE_MASKED: File = file!(
    "score/masked.wgsl",
    [(binding::ADDITIVE_MASK, Read), (binding::BOOLEAN_MASK, Read)],
    [ADDITIVE_MASK, BOOLEAN_MASK, CAUSAL]
);
static ROW_PAIRS: File =
    file!("common/row_pairs.wgsl", [(binding::PROBS, Read), (binding::PROB_QUADS, Read)], [LOG_PROBS]);

/// A row of logits, or of what takes their place.
const ROWS_OF_LOGITS: &[Part] = &[Of(&PARAMS), Of(&SEAT), Part::Element, Part::Logits, Of(&ROW_SPAN)];
/// `STATS` of masked scores.
const MASKED_STATS: &[Part] =
    &[Of(&SCORE_MASKED), Of(&ORDER_KEY), Of(&ROW_STATS), Of(&SWEEP_STATS), Of(&TARGET_NONE)];

pub(crate) static MASKED_SOFTMAX: Pass = Pass {
    name: "masked_softmax",
    parts: &[ROWS_OF_LOGITS, MASKED_STATS, SWEEP, &[Of(&file!("masked_softmax.wgsl"))]],
};

pub(crate) static SOFTMAX_BACKWARD: Pass = Pass {
    name: "softmax_backward",
    parts: &[ROWS_OF_LOGITS, &[Of(&ROW_PAIRS)], SWEEP, &[Of(&file!("softmax_backward.wgsl"))]],
};

static TEACHER: File =
    file!("pairs/teacher.wgsl", [(binding::TEACHER, Read), (binding::TEACHER_QUADS, Read)], []);
static PAIR_STATS: File = file!("pairs/pair_stats.wgsl", [], [MASKED_ROW_ZERO]);
static SWEEP_PAIRS: File = file!("pairs/sweep_pairs.wgsl");
static KL_RESULT: File = file!("pairs/kl_result.wgsl", [], [SCALE_BY_T_SQUARED]);

/// A row's stats in two batches, in one read of both, and its KL divergence.
const PAIRS: &[Part] = &[
    Of(&SCORE_LOGITS),
    Of(&ORDER_KEY),
    Of(&TEACHER),
    Of(&PAIR_STATS),
    Of(&SWEEP_PAIRS),
    Of(&ROW_INPUT),
    Of(&ROW_IO),
    Of(&KL_RESULT),
];

pub(crate) static KL_LOSSES: Pass =
    Pass { name: "kl_losses", parts: &[ROWS_OF_LOGITS, PAIRS, &[Of(&file!("kl_losses.wgsl"))]] };

pub(crate) static KL_DLOGITS: Pass = Pass {
    name: "kl_dlogits",
    parts: &[ROWS_OF_LOGITS, PAIRS, &[Of(&BATCH_WEIGHT)], SWEEP, &[Of(&file!("kl_dlogits.wgsl"))]],
};

/// Every pass there is, and the kinds of target that it takes.
#[cfg(test)]
pub(crate) static ALL: [(&Pass, &[Target]); 16] = [
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
