//! A pass is a list of files, some chosen by its variant. Its source, bindings and constants are those of its files.

use std::fmt;

use crate::kernel::passes::files::*;
use crate::kernel::passes::variant::{CODES, Load, Output, Score, Target, Variant};

/// The maximum number of storage buffers per stage that every WebGPU implementation allows.
const MAX_STORAGE_BUFFERS: usize = 8;

/// The start of the line before each file of a module.
pub(in crate::kernel) const FILE_MARK: &str = "// FILE shaders/";

/// A part of a module: a fixed file, or the file that the variant selects.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Of(&'static File),
    Element,
    Coding,
    Pack,
    Logits,
    Score,
    Output,
    Store,
    Stats,
    Readout,
    Told,
    Target,
    Gradient,
    Weights,
    PosWeight,
    Dense,
}
use Part::Of;

/// The file for targets with a value for each logit: a stage has room for a second view of them if it has no weights, and
/// no segments.
fn dense(variant: Variant) -> &'static File {
    if variant.weighted || variant.merged { &DENSE_WORDS } else { &DENSE_QUADS }
}

/// The largest order keys of the parts of a row.
#[derive(Clone, Copy)]
pub(super) enum Tops {
    OfBlocks,
    OfLanes,
}

/// A pass. Its name is also the name of its file and of its entry point.
pub(crate) struct Pass {
    pub name: &'static str,
    /// The scores that softmax is applied to. Passes without a softmax have `Score::Logits`.
    pub score: Score,
    parts: &'static [&'static [Part]],
    /// Whether its output comes from the first sweep over the logits.
    in_one_sweep: bool,
    /// The largest order keys that its first read also keeps, so that a second one finds the largest classes.
    tops: Option<Tops>,
    /// Whether a second read sums something relative to the maximum.
    sums_again: bool,
    /// Whether its logits may be codes, which its output never is.
    pub takes_codes: bool,
    /// The pass over the segments of split rows. This pass merges their statistics.
    pub segments: Option<&'static Pass>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Pass {
    pub(super) const fn new(name: &'static str, parts: &'static [&'static [Part]]) -> Self {
        Self {
            name,
            score: Score::Logits,
            parts,
            in_one_sweep: false,
            tops: None,
            sums_again: false,
            takes_codes: false,
            segments: None,
        }
    }

    /// Sets the scores.
    pub(super) const fn of(self, score: Score) -> Self {
        Self { score, ..self }
    }

    /// Allows split rows: another pass computes the statistics of their segments.
    pub(super) const fn merging(self, segments: &'static Self) -> Self {
        Self { segments: Some(segments), ..self }
    }

    /// Says that the output comes from the first sweep over the logits.
    pub(super) const fn in_one_sweep(self) -> Self {
        Self { in_one_sweep: true, ..self }
    }

    /// Says which order keys the first read keeps.
    pub(super) const fn keeping(self, tops: Tops) -> Self {
        Self { tops: Some(tops), ..self }
    }

    /// Says that a second read sums something relative to the maximum that the first has found.
    pub(super) const fn summing_again(self) -> Self {
        Self { sums_again: true, ..self }
    }

    /// The files of its module, in order.
    pub(in crate::kernel) fn files(&self, variant: Variant) -> impl Iterator<Item = &'static File> {
        self.parts.iter().copied().flatten().flat_map(move |part| match part {
            &Of(file) => vec![file],
            Part::Element => match variant.element {
                "f16" if variant.trusts_floats => vec![&ELEMENT_F16, &F16_UNPACKED],
                "f16" => vec![&ELEMENT_F16, &F16_BITS],
                "bf16" => vec![&ELEMENT_BF16],
                CODES => vec![&ELEMENT_CODES],
                _ => vec![&ELEMENT_F32],
            },
            Part::Coding if variant.element == CODES => vec![&CODING_ROWS],
            Part::Coding => vec![&CODING_NONE],
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
            Part::Score => match self.score {
                Score::Logits => vec![&SCORE_LOGITS, &CAP_SOFTCAP],
                Score::Masked => vec![&SCORE_MASKED, &CAP_NONE],
                Score::Sampled => vec![&SCORE_SAMPLED, &CAP_NONE],
            },
            Part::Output => match variant.output {
                Output::Element => vec![&OUTPUT_ELEMENT],
                Output::F32 => vec![&OUTPUT_F32],
                Output::InPlace => vec![&OUTPUT_IN_PLACE],
            },
            Part::Store => match variant.output {
                _ if !variant.second_view => vec![&STORE_WORDS],
                Output::Element => vec![&STORE_PACKS, &STORE_WHOLE, &STORE_OWN_WORDS],
                Output::InPlace => vec![&STORE_IN_PLACE, &STORE_WHOLE, &STORE_OWN_WORDS],
                Output::F32 => vec![&STORE_F32_QUADS, &STORE_WHOLE],
            },
            Part::Stats if variant.merged => vec![&SEGMENT_STATS, &STATS_MERGE],
            Part::Stats => vec![&SWEEP_STEPS, &STATS_SWEEP],
            Part::Readout if variant.reads_out => vec![&READOUT_SUMS],
            Part::Readout => match self.tops {
                None => vec![&NO_READOUT_SUMS, &READOUT_NONE],
                Some(Tops::OfBlocks) => {
                    vec![&NO_READOUT_SUMS, &CANDIDATES, &BLOCK_TOPS, &READOUT_BLOCK_TOPS]
                }
                Some(Tops::OfLanes) => vec![&NO_READOUT_SUMS, &LANE_TOPS, &READOUT_LANE_TOPS],
            },
            Part::Told if variant.reads_out => vec![&TOLD_SUMS],
            Part::Told => vec![&TOLD_NONE],
            Part::Target => match variant.target {
                Target::None => vec![&TARGET_NONE],
                Target::Class => vec![&TARGET_CLASS],
                Target::Soft => vec![&TARGET_SOFT, dense(variant)],
                Target::Sparse => vec![&TARGET_SPARSE],
            },
            Part::Weights if variant.weighted => vec![&WEIGHTS_CLASS],
            Part::Weights => vec![&WEIGHTS_NONE],
            Part::PosWeight if variant.weighted => vec![&WEIGHTS_POSITIVE],
            Part::PosWeight => vec![&WEIGHTS_NO_POSITIVE],
            Part::Dense => vec![dense(variant)],
            Part::Gradient => match variant.target {
                Target::Soft => vec![&GRADIENT_SOFT],
                Target::Sparse => vec![&GRADIENT_SPARSE],
                _ => vec![&GRADIENT_CLASS],
            },
        })
    }

    /// Says that its logits may be codes.
    pub(super) const fn taking_codes(self) -> Self {
        Self { takes_codes: true, ..self }
    }

    /// How often it sweeps over the logits of a row: once for their statistics, unless a pass over segments has done
    /// that, and once for the output or for further sums. A test checks this against the loops of the module.
    pub fn reads(&self, variant: Variant) -> u64 {
        let finds_stats = !variant.merged && !self.in_one_sweep;
        u64::from(finds_stats) + u64::from(self.writes() || self.tops.is_some() || self.sums_again)
    }

    /// Whether it writes a value for each logit.
    pub fn writes(&self) -> bool {
        self.has(|part| matches!(part, Part::Store))
    }

    /// Whether it takes weights of classes.
    pub fn takes_weights(&self) -> bool {
        self.has(|part| matches!(part, Part::Weights))
    }

    /// Whether it reads arrays of the logits' type.
    pub fn reads_elements(&self) -> bool {
        self.has(|part| matches!(part, Part::Element))
    }

    /// How it loads a pack of logits, if it is one that depends on the device.
    pub fn loads_by(&self, variant: Variant) -> Option<Load> {
        self.has(|part| matches!(part, Part::Pack)).then_some(variant.load)
    }

    /// Whether the statistics of a row may come from its segments.
    pub fn has_segments(&self) -> bool {
        self.segments.is_some()
    }

    /// What it computes: the first sentence of its own file.
    pub fn about(&self, variant: Variant) -> String {
        let text = self.files(variant).last().map_or("", |file| file.text);
        // The first line lists the files that it uses.
        let comment = text.lines().skip(1).skip_while(|line| line.is_empty());
        let comment: Vec<&str> = comment.map_while(|line| line.strip_prefix("// ")).collect();
        let comment = comment.join(" ");
        let end = comment.find(". ").unwrap_or(comment.len());
        format!("{}.", comment[..end].trim_end_matches(['.', ':']))
    }

    fn has(&self, wanted: impl Fn(&Part) -> bool) -> bool {
        self.parts.iter().copied().flatten().any(wanted)
    }

    /// The variant closest to the wanted one that this pass supports. A stage has at most eight storage buffers.
    pub fn fitted(&self, wished: Variant) -> Variant {
        let fits = self.bindings(wished).len() <= MAX_STORAGE_BUFFERS;
        let load = self.loads_by(wished).unwrap_or(Load::Words32);
        // Only a pass that keeps fields of a row has readouts.
        let reads_out = wished.reads_out && wished.target != Target::None;
        Variant { second_view: wished.second_view && fits, load, reads_out, ..wished }
    }

    /// Values in a pack of logits.
    pub fn pack_values(&self, variant: Variant) -> u64 {
        match (variant.load, variant.element) {
            _ if !self.has(|part| matches!(part, Part::Pack)) => 4,
            (Load::Words32, "f32") => 4,
            _ => 8,
        }
    }

    /// The module's source: its files, one after another. A line before each names the file, so that a compiler's
    /// message about a line of the module can be traced to a line of a file.
    pub fn source(&self, variant: Variant) -> String {
        self.files(variant).map(|file| format!("{FILE_MARK}{}\n{}", file.path, file.text)).collect()
    }

    /// The storage bindings besides `Params` at binding 0.
    pub fn bindings(&self, variant: Variant) -> Vec<(u32, Access)> {
        self.files(variant).flat_map(|file| file.bindings).copied().collect()
    }

    /// The override constants that the module has.
    pub fn overrides(&self, variant: Variant) -> Vec<&'static str> {
        self.files(variant).flat_map(|file| file.overrides).copied().collect()
    }

    /// The key that distinguishes this pass from every other.
    pub fn id(&self) -> (&'static str, Score) {
        (self.name, self.score)
    }

    /// The label of every object made for this pass.
    pub fn label(&self) -> String {
        let of = self.score.name().map(|name| format!("::{name}"));
        format!("xent::{}{}", self.name, of.unwrap_or_default())
    }
}
