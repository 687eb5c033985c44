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
    pub load: Load,
    /// Whether rows are split: their stats come from their segments'.
    pub merged: bool,
    /// Whether what is written may be bound a second time, to be written a pack at a time: WebGPU allows it not.
    pub second_view: bool,
}

impl Variant {
    /// Of passes over rows, which read no logit.
    pub const ROWS: Self = Self {
        element: "f32",
        output: Output::Element,
        target: Target::None,
        load: Load::Words32,
        merged: false,
        second_view: false,
    };
}

/// What one load brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Load {
    /// 16 bytes, in words of 32 bits.
    Words32,
    /// Eight values, in words of 64 bits.
    Words64,
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
    Pack,
    Logits,
    Output,
    Store,
    Stats,
    Target,
    Gradient,
}
use Part::Of;

/// A pass: its name is that of its file, its entry point, its label and its CPU twin.
pub(crate) struct Pass {
    pub name: &'static str,
    parts: &'static [&'static [Part]],
    /// The pass over the segments of split rows, after which this one merges their stats.
    pub segments: Option<&'static Pass>,
}

impl Pass {
    fn files(&self, variant: Variant) -> impl Iterator<Item = &'static File> {
        self.parts.iter().copied().flatten().flat_map(move |part| match part {
            &Of(file) => vec![file],
            Part::Element => match variant.element {
                "f16" => vec![&ELEMENT_F16],
                "bf16" => vec![&ELEMENT_BF16],
                _ => vec![&ELEMENT_F32],
            },
            Part::Pack => match (variant.load, variant.element) {
                (Load::Words32, "f32") => vec![&PACK_QUAD],
                (Load::Words32, _) => vec![&PACK_HALF],
                (Load::Words64, "f32") => vec![&PACK_F32_U64],
                (Load::Words64, _) => vec![&PACK_HALF_U64],
            },
            Part::Logits => match variant.output {
                Output::InPlace if variant.second_view => vec![&LOGITS_IN_PLACE],
                Output::InPlace => vec![&LOGITS_IN_PLACE_WORDS],
                _ => vec![&LOGITS_READ],
            },
            Part::Output => match variant.output {
                Output::Element => vec![&OUTPUT_ELEMENT],
                Output::F32 => vec![&OUTPUT_F32],
                // It comes with the logits.
                Output::InPlace => vec![],
            },
            Part::Store => match variant.output {
                _ if !variant.second_view => vec![&STORE_WORDS],
                Output::Element => vec![&STORE_PACKS, &STORE_WHOLE, &STORE_OWN_WORDS],
                Output::InPlace => vec![&STORE_IN_PLACE, &STORE_WHOLE, &STORE_OWN_WORDS],
                Output::F32 => vec![&STORE_F32_QUADS, &STORE_WHOLE],
            },
            Part::Stats if variant.merged => vec![&SEGMENT_STATS, &MERGE_SEGMENTS],
            Part::Stats => vec![&SWEEP_STATS],
            Part::Target => match variant.target {
                Target::None => vec![&TARGET_NONE],
                Target::Class => vec![&TARGET_CLASS],
                Target::Soft => vec![&TARGET_SOFT],
                Target::Sparse => vec![&TARGET_SPARSE],
            },
            Part::Gradient => match variant.target {
                Target::Soft => vec![&GRADIENT_SOFT],
                Target::Sparse => vec![&GRADIENT_SPARSE],
                _ => vec![&GRADIENT_CLASS],
            },
        })
    }

    /// How often it goes over the logits of a row: once for their stats, unless their segments have been through, and once
    /// for the output. A test holds this to the loops of its module.
    pub fn reads(&self, variant: Variant) -> u64 {
        let finds_stats = !variant.merged && self.name != SIGMOID_BCE_DLOGITS.name;
        u64::from(finds_stats) + u64::from(self.writes())
    }

    /// Whether it writes a value for each logit.
    pub fn writes(&self) -> bool {
        self.has(|part| matches!(part, Part::Store))
    }

    fn has(&self, wanted: impl Fn(&Part) -> bool) -> bool {
        self.parts.iter().copied().flatten().any(wanted)
    }

    /// The variant nearest to the one wished for that this pass can have: a stage has at most eight storage buffers.
    pub fn fitted(&self, wished: Variant) -> Variant {
        let fits = self.bindings(wished).len() <= MAX_STORAGE_BUFFERS;
        let load = if self.has(|part| matches!(part, Part::Pack)) { wished.load } else { Load::Words32 };
        Variant { second_view: wished.second_view && fits, load, ..wished }
    }

    /// Values of a pack of logits.
    pub fn pack_values(&self, variant: Variant) -> u64 {
        match (variant.load, variant.element) {
            _ if !self.has(|part| matches!(part, Part::Pack)) => 4,
            (Load::Words32, "f32") => 4,
            _ => 8,
        }
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
    pub const SPLIT: &str = "SPLIT";
    pub const STEPS: &str = "STEPS";
    pub const WHOLE_PACKS: &str = "WHOLE_PACKS";
    pub const ALIKE: &str = "ALIKE";
    pub const WHOLE_WORDS: &str = "WHOLE_WORDS";
    pub const REDUCE_LANES: &str = "REDUCE_LANES";
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
    pub const PLAIN_INPUTS: &str = "PLAIN_INPUTS";
    pub const Z_LOSS: &str = "Z_LOSS";
    pub const KEEP_LSE: &str = "KEEP_LSE";
    pub const KEEP_ARGMAX: &str = "KEEP_ARGMAX";
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
    /// The logits, and the same buffer a pack at a time.
    pub const LOGITS: u32 = 1;
    pub const LOGIT_PACKS: u32 = 2;
    /// Where passes with a value for each logit write it, and the same buffer a pack at a time.
    pub const OUTPUT: u32 = 3;
    pub const OUTPUT_PACKS: u32 = 12;
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
    /// The stats of the segments of split rows.
    pub const SEGMENTS: u32 = 11;

    /// The second view of what is read or written several values at a time.
    pub fn packs_of(number: u32) -> Option<u32> {
        match number {
            LOGITS => Some(LOGIT_PACKS),
            OUTPUT => Some(OUTPUT_PACKS),
            PROBS => Some(PROB_QUADS),
            TEACHER => Some(TEACHER_QUADS),
            _ => None,
        }
    }
}
use binding::{LOGIT_PACKS, LOGITS, OUTPUT, OUTPUT_PACKS, ROW_RESULTS, TARGET_PROBS, TARGETS};

/// Of a stage, in every WebGPU.
const MAX_STORAGE_BUFFERS: usize = 8;

static PARAMS: File = file!("common/params.wgsl");
static SEAT: File = file!("common/seat.wgsl", [], [LANES, ROWS, INVOCATIONS, STRIDED, SPLIT]);
static ROW_SPAN: File = file!("common/row_span.wgsl", [], [STEPS, WHOLE_PACKS]);
static ROW_QUADS: File = file!("common/row_quads.wgsl");
static SCORES: File = file!("common/scores.wgsl");
static ORDER_KEY: File = file!("common/order_key.wgsl");
static ROW_STATS: File = file!("common/row_stats.wgsl", [], [MASKED_ROW_ZERO, TARGET_SUMS, EXCLUDE_TARGET]);
static SWEEP_STATS: File = file!("common/sweep_stats.wgsl", [], [TRACK_ARGMAX]);
static SWEEP_OUTPUT: File = file!("common/sweep_output.wgsl", [], [ALIKE, WHOLE_WORDS]);
static ROW_INPUT: File = file!("common/row_input.wgsl", [], [PLAIN_INPUTS, Z_LOSS]);
static ROW_INPUT_OF: File = file!("common/row_input_of.wgsl", [(binding::ROW_INPUTS, Read)], []);
static LOAD_ROW_INPUT: File = file!("common/load_row_input.wgsl");
static ROW_RESULTS_OUT: File =
    file!("common/row_results.wgsl", [(ROW_RESULTS, Write)], [KEEP_LSE, KEEP_ARGMAX]);
static STORE_READ_ROW: File = file!("common/store_read_row.wgsl");
static SEGMENT_STATS: File = file!("common/segment_stats.wgsl");
static STORE_SEGMENT: File = file!("common/store_segment.wgsl", [(binding::SEGMENTS, Write)], []);
static MERGE_SEGMENTS: File = file!("common/merge_segments.wgsl", [(binding::SEGMENTS, Read)], []);
static ROW_RESULT: File = file!("common/row_result.wgsl", [], [LOG_PROBS]);
static LN_1_PLUS: File = file!("common/ln_1_plus.wgsl");
static BATCH_WEIGHT: File = file!("common/batch_weight.wgsl");
static CLASS_WEIGHT: File =
    file!("common/class_weights.wgsl", [(binding::CLASS_WEIGHTS, Read)], [CLASS_WEIGHTS]);
static TOTALS: File = file!("common/totals.wgsl", [], [REDUCE_LANES]);
static SWEEP_BLOCKS: File = file!("common/sweep_blocks.wgsl");

static ELEMENT_F32: File = file!("element/f32.wgsl");
static ELEMENT_F16: File = file!("element/f16.wgsl");
static ELEMENT_BF16: File = file!("element/bf16.wgsl");
static PACK_QUAD: File = file!("pack/quad.wgsl");
static PACK_HALF: File = file!("pack/half.wgsl");
static PACK_F32_U64: File = file!("pack/f32_u64.wgsl");
static PACK_HALF_U64: File = file!("pack/half_u64.wgsl");
static LOGITS_READ: File = file!("logits/read.wgsl", [(LOGITS, Read), (LOGIT_PACKS, Read)], []);
static LOGITS_IN_PLACE: File = file!("logits/in_place.wgsl", [(LOGITS, Write), (LOGIT_PACKS, Write)], []);
static LOGITS_IN_PLACE_WORDS: File = file!("logits/in_place_words.wgsl", [(LOGITS, Write)], []);
static OUTPUT_ELEMENT: File = file!("output/element.wgsl", [(OUTPUT, Write)], []);
static OUTPUT_F32: File = file!("output/f32.wgsl", [(OUTPUT, Write)], []);
static STORE_WORDS: File = file!("store/words.wgsl");
static STORE_PACKS: File = file!("store/packs.wgsl", [(OUTPUT_PACKS, Write)], []);
static STORE_IN_PLACE: File = file!("store/in_place.wgsl");
static STORE_WHOLE: File = file!("store/whole.wgsl");
static STORE_OWN_WORDS: File = file!("store/own_words.wgsl");
static STORE_F32_QUADS: File = file!("store/f32_quads.wgsl", [(OUTPUT_PACKS, Write)], []);
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
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&SCORE_LOGITS),
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

static ROW_SEGMENTS: Pass = Pass {
    name: "row_segments",
    parts: &[STATS, SEGMENT, &[Of(&file!("row_segments.wgsl"))]],
    segments: None,
};

static LOSS_SEGMENTS: Pass = Pass {
    name: "loss_segments",
    parts: &[STATS, TARGETED, SEGMENT, &[Of(&file!("loss_segments.wgsl"))]],
    segments: None,
};

static MASKED_SEGMENTS: Pass = Pass {
    name: "masked_segments",
    parts: &[MASKED_STATS, SEGMENT, &[Of(&file!("masked_segments.wgsl"))]],
    segments: None,
};

pub(crate) static SOFTMAX: Pass = Pass {
    name: "softmax",
    parts: &[STATS, SWEEP, &[Of(&file!("softmax.wgsl"))]],
    segments: Some(&ROW_SEGMENTS),
};

pub(crate) static LOG_SOFTMAX: Pass = Pass {
    name: "log_softmax",
    parts: &[STATS, SWEEP, &[Of(&file!("log_softmax.wgsl"))]],
    segments: Some(&ROW_SEGMENTS),
};

pub(crate) static LOGSUMEXP: Pass = Pass {
    name: "logsumexp",
    parts: &[STATS, &[Of(&file!("logsumexp.wgsl", [(4, Write)], []))]],
    segments: Some(&ROW_SEGMENTS),
};

pub(crate) static ARGMAX: Pass = Pass {
    name: "argmax",
    parts: &[STATS, &[Of(&file!("argmax.wgsl", [(4, Write)], []))]],
    segments: Some(&ROW_SEGMENTS),
};

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
    segments: None,
};

pub(crate) static MERGE_TOTALS: Pass = Pass {
    name: "merge_totals",
    parts: &[ROWS_ONLY, &[Of(&SWEEP_BLOCKS), Of(&file!("merge_totals.wgsl", [(4, Read), (5, Write)], []))]],
    segments: None,
};

pub(crate) static ROW_LOSSES: Pass = Pass {
    name: "row_losses",
    parts: &[STATS, TARGETED, LOSS, &[Of(&file!("row_losses.wgsl"))]],
    segments: Some(&LOSS_SEGMENTS),
};

pub(crate) static DLOGITS: Pass = Pass {
    name: "dlogits",
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
    parts: &[
        ROWS_ONLY,
        &[
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

static SIGMOID_BCE: File =
    file!("common/sigmoid_bce.wgsl", [(TARGETS, Read), (binding::POS_WEIGHT, Read)], [POS_WEIGHT]);

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
    Of(&ROW_INPUT),
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&ROW_RESULTS_OUT),
    Of(&LN_1_PLUS),
    Of(&SIGMOID_BCE),
];

pub(crate) static SIGMOID_BCE_LOSSES: Pass = Pass {
    name: "sigmoid_bce_losses",
    parts: &[CLASS_LOSSES, &[Of(&file!("sigmoid_bce_losses.wgsl"))]],
    segments: None,
};

pub(crate) static SIGMOID_BCE_DLOGITS: Pass = Pass {
    name: "sigmoid_bce_dlogits",
    parts: &[
        CLASS_LOSSES,
        &[Of(&BATCH_WEIGHT), Of(&SCORE_LOGITS), Of(&SCORES)],
        SWEEP,
        &[Of(&file!("sigmoid_bce_dlogits.wgsl"))],
    ],
    segments: None,
};

static SCORE_MASKED: File = file!(
    "score/masked.wgsl",
    [(binding::ADDITIVE_MASK, Read), (binding::BOOLEAN_MASK, Read)],
    [ADDITIVE_MASK, BOOLEAN_MASK, CAUSAL]
);
static ROW_PAIRS: File =
    file!("common/row_pairs.wgsl", [(binding::PROBS, Read), (binding::PROB_QUADS, Read)], [LOG_PROBS]);

/// A row of logits, or of what takes their place.
const ROWS_OF_LOGITS: &[Part] =
    &[Of(&PARAMS), Of(&SEAT), Part::Element, Of(&PACK_QUAD), Part::Logits, Of(&ROW_SPAN), Of(&ROW_QUADS)];
/// `STATS` of masked scores.
const MASKED_STATS: &[Part] = &[
    Of(&PARAMS),
    Of(&SEAT),
    Part::Element,
    Part::Pack,
    Part::Logits,
    Of(&ROW_SPAN),
    Of(&SCORE_MASKED),
    Of(&SCORES),
    Of(&ORDER_KEY),
    Of(&ROW_STATS),
    Part::Stats,
    Of(&TARGET_NONE),
];

pub(crate) static MASKED_SOFTMAX: Pass = Pass {
    name: "masked_softmax",
    parts: &[MASKED_STATS, SWEEP, &[Of(&file!("masked_softmax.wgsl"))]],
    segments: Some(&MASKED_SEGMENTS),
};

pub(crate) static SOFTMAX_BACKWARD: Pass = Pass {
    name: "softmax_backward",
    parts: &[ROWS_OF_LOGITS, &[Of(&SCORES), Of(&ROW_PAIRS)], SWEEP, &[Of(&file!("softmax_backward.wgsl"))]],
    segments: None,
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
    Of(&ROW_INPUT_OF),
    Of(&LOAD_ROW_INPUT),
    Of(&ROW_RESULTS_OUT),
    Of(&KL_RESULT),
];

pub(crate) static KL_LOSSES: Pass = Pass {
    name: "kl_losses",
    parts: &[ROWS_OF_LOGITS, PAIRS, &[Of(&file!("kl_losses.wgsl"))]],
    segments: None,
};

pub(crate) static KL_DLOGITS: Pass = Pass {
    name: "kl_dlogits",
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
