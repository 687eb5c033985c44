//! The arguments of `xent eval`.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use serde::{Deserialize, Serialize};

use super::device::DeviceArgs;
use super::given::Given;
use super::logits::LogitsArgs;
use super::part::PartArgs;
use super::run::RunArgs;
use super::score::ScoreArgs;
use crate::dtype::Dtype;

#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// What the values are; log-probs are taken as they are (NLL), probs are normalised
    #[arg(hide_short_help = true, long, value_name = "WHAT", value_enum, default_value_t = Input::Logits)]
    pub input: Input,
    // Before the groups, because an argument that follows a group appears under the group's heading.
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub targets: TargetArgs,
    #[command(flatten)]
    pub loss: LossArgs,
    #[command(flatten)]
    pub rows: RowArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub part: PartArgs,
    /// The arguments that were given.
    #[arg(skip)]
    pub given: Given,
}

#[derive(Args)]
#[command(next_help_heading = "Targets (one kind)")]
#[command(group = ArgGroup::new("kind of targets"))]
pub struct TargetArgs {
    /// A class for each row: integers; for bce, 0 or 1 for each class
    ///
    /// llama.cpp's saved logits hold their own.
    #[arg(long, value_name = "FILE", group = "kind of targets")]
    pub targets: Option<PathBuf>,
    /// The tensor of the targets, in their own file or in that of the logits
    ///
    /// It is in the .safetensors file of --targets, --soft-targets or --sparse-targets; if none of these is given, in the
    /// file of the logits.
    #[arg(hide_short_help = true, long, value_name = "NAME")]
    pub targets_key: Option<String>,
    /// A probability for each class: floats, in the layout of the logits
    #[arg(long, value_name = "FILE", group = "kind of targets")]
    pub soft_targets: Option<PathBuf>,
    /// A few classes for each row: integers, with the axes of the rows and one for the entries
    #[arg(
        hide_short_help = true,
        long,
        value_name = "INDICES",
        group = "kind of targets",
        requires = "sparse_probs"
    )]
    pub sparse_targets: Option<PathBuf>,
    /// The probabilities of --sparse-targets: floats
    #[arg(hide_short_help = true, long, value_name = "PROBS", requires = "sparse_targets", conflicts_with_all = ["targets", "soft_targets"])]
    pub sparse_probs: Option<PathBuf>,
    /// For kl, the teacher's logits: of the same shape
    ///
    /// The file may have any format that logits may have, or be a folder of shards.
    #[arg(long, value_name = "FILE", group = "kind of targets")]
    pub teacher: Option<PathBuf>,
    /// The array of the teacher's logits in a .npz or .safetensors file [default: the only floats of 2 or 3 axes]
    #[arg(hide_short_help = true, long, value_name = "NAME", requires = "teacher")]
    pub teacher_key: Option<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Loss")]
pub struct LossArgs {
    /// cross-entropy, kl, bce, entmax, sparsemax or infonce
    ///
    /// kl is the Kullback-Leibler divergence from a teacher, bce the binary cross-entropy of each class (multi-label).
    /// entmax and sparsemax are the losses of the sparse relatives of softmax. infonce is the contrastive loss of a square
    /// matrix of similarities.
    #[arg(
        id = "loss",
        long = "loss",
        value_name = "LOSS",
        value_enum,
        default_value_t = LossName::CrossEntropy,
        hide_possible_values = true
    )]
    pub name: LossName,
    /// For entmax, alpha: from cross-entropy (towards 1) to sparsemax (2) and beyond (up to 3)
    #[arg(
        hide_short_help = true,
        long,
        value_name = "ALPHA",
        default_value_t = 1.5,
        allow_negative_numbers = true
    )]
    pub alpha: f32,
    /// How row losses become one loss
    ///
    /// --grad-out is the gradient of this loss.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Reduction::Mean)]
    pub reduction: Reduction,
    /// A weight for each class: floats
    ///
    /// A mean is divided by the weights of the targets (for bce it is not).
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub class_weights: Option<PathBuf>,
    /// For bce, the weight of each class where it applies: floats
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub pos_weight: Option<PathBuf>,
    /// Spread X of the target evenly over all classes
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    pub label_smoothing: f32,
    #[command(flatten)]
    pub score: ScoreArgs,
    /// Add X times the square of each row's ln(sum of exp)
    #[arg(
        hide_short_help = true,
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub z_loss: f32,
    /// Multiply the target's term by (1 - p)^G
    #[arg(
        hide_short_help = true,
        long,
        value_name = "G",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub focal_gamma: f32,
    /// For kl, multiply the loss by the square of the temperature
    #[arg(hide_short_help = true, long)]
    pub scale_by_t_squared: bool,
    /// What the mean is when no row counts
    #[arg(hide_short_help = true, long, value_name = "HOW", value_enum, default_value_t = EmptyBatch::Nan)]
    pub empty: EmptyBatch,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
pub struct RowArgs {
    /// Leave out rows with these targets: -100,50256
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "-100", allow_hyphen_values = true)]
    pub ignore_index: Vec<i32>,
    /// A weight for each row: floats; rows of weight 0 are left out
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub row_weights: Option<PathBuf>,
    /// Which rows are scored: booleans or integers; rows with 0 are left out
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub row_mask: Option<PathBuf>,
    /// Score position t against the target of t + N: 1 for next tokens
    ///
    /// Both are in the same sequence; the last N positions of each sequence have no target.
    #[arg(long, value_name = "N", conflicts_with = "soft_targets")]
    pub shift: Option<usize>,
    /// Rows per sequence [default: the axis before the classes if these are last, else all rows]
    #[arg(hide_short_help = true, long, value_name = "L")]
    pub sequence: Option<usize>,
    /// The rows of each sequence, if they differ, as in a packed batch: integers that add up to all rows
    #[arg(hide_short_help = true, long, value_name = "FILE", conflicts_with_all = ["sequence", "sequence_per_file"])]
    pub sequence_lengths: Option<PathBuf>,
    /// Take each file of the logits as one sequence
    #[arg(hide_short_help = true, long, conflicts_with = "sequence")]
    pub sequence_per_file: bool,
    /// Do not score the first P tokens of a sequence, such as a prompt
    #[arg(hide_short_help = true, long, value_name = "P")]
    pub score_from: Option<usize>,
    /// Do not score the tokens of a sequence from the one at P on
    #[arg(hide_short_help = true, long, value_name = "P")]
    pub score_to: Option<usize>,
    /// Take --score-from, --score-to, --row-mask and --row-weights as of positions of the logits, not of tokens
    ///
    /// With --shift N, the position of a token is N before it.
    #[arg(hide_short_help = true, long)]
    pub positions: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write row losses, f32; with a .csv name, all results of each row
    ///
    /// Losses are in nats, multiplied by the rows' weights.
    #[arg(long, value_name = "FILE")]
    pub rows_out: Option<PathBuf>,
    /// Read out how certain each row is and the rank of its target: in the report, and in a .csv of --rows-out
    ///
    /// The report gets the mean rank, entropy and Brier score, the table the columns prob, confidence, rank, mass_ahead,
    /// entropy, brier and margin. For a cross-entropy.
    #[arg(hide_short_help = true, long)]
    pub readouts: bool,
    /// Report how often the target is among the K most probable classes
    #[arg(hide_short_help = true, long, value_name = "K")]
    pub top_k: Option<NonZero<usize>>,
    /// Name the N rows with the largest losses in --json
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 10)]
    pub worst: usize,
    /// The bytes of the scored text, for bits a byte
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub bytes: Option<u64>,
    /// Write the totals of each sequence as a .csv: length, scored rows, loss, mean, perplexity
    #[arg(hide_short_help = true, long, value_name = "FILE.csv")]
    pub sequences_out: Option<PathBuf>,
    /// Write the gradient of the reduced loss, in the layout of the logits
    #[arg(long, value_name = "FILE")]
    pub grad_out: Option<PathBuf>,
    /// Write ln(sum of exp) of each row as the loss uses it, f32
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub lse_out: Option<PathBuf>,
    /// Write the most probable class of each row, u32
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub argmax_out: Option<PathBuf>,
    /// The type of the gradient [default: the logits', or f32 for f64]
    #[arg(hide_short_help = true, long, value_name = "TYPE", value_enum)]
    pub out_dtype: Option<Dtype>,
    /// Draw a histogram of the row losses, and the loss by position
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Write the summary and these plots as one page
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Names of the classes, for the page: one a line, a JSON array, or a tokenizer's vocab.json or tokenizer.json
    #[arg(hide_short_help = true, long, value_name = "FILE", requires = "html")]
    pub names: Option<PathBuf>,
    /// Compare the losses of N rows, evenly spread, with an f64 reference
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub verify: usize,
    /// See whether the targets of some rows fit better one row earlier or later
    #[arg(hide_short_help = true, long)]
    pub check_shift: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with status 1 if a row is bad, such as a NaN loss, or for a notice
    #[arg(long)]
    pub strict: bool,
}

/// The losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum LossName {
    CrossEntropy,
    Kl,
    Bce,
    Entmax,
    Sparsemax,
    #[value(name = "infonce")]
    InfoNce,
}

impl LossName {
    /// The name that `--loss` takes.
    pub fn flag(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross-entropy",
            Self::Kl => "kl",
            Self::Bce => "bce",
            Self::Entmax => "entmax",
            Self::Sparsemax => "sparsemax",
            Self::InfoNce => "infonce",
        }
    }

    /// The name in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross-entropy",
            Self::Kl => "KL divergence",
            Self::Bce => "binary cross-entropy",
            Self::Entmax => "entmax loss",
            Self::Sparsemax => "sparsemax loss",
            Self::InfoNce => "InfoNCE",
        }
    }

    /// Whether the loss is a logarithm, in nats. That of an entmax has no unit.
    pub fn is_in_nats(self) -> bool {
        !matches!(self, Self::Entmax | Self::Sparsemax)
    }

    /// Whether each row has a class that its logits predict, and so an accuracy and a perplexity.
    pub fn has_classes(self) -> bool {
        self == Self::CrossEntropy
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Reduction {
    Mean,
    Sum,
}

impl From<Reduction> for xent::Reduction {
    fn from(reduction: Reduction) -> Self {
        match reduction {
            Reduction::Mean => Self::Mean,
            Reduction::Sum => Self::Sum,
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum EmptyBatch {
    Nan,
    Zero,
    Error,
}

impl From<EmptyBatch> for xent::EmptyBatch {
    fn from(empty: EmptyBatch) -> Self {
        match empty {
            EmptyBatch::Nan => Self::Nan,
            EmptyBatch::Zero => Self::Zero,
            EmptyBatch::Error => Self::Error,
        }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Input {
    Logits,
    LogProbs,
    Probs,
}

impl From<Input> for xent::Input {
    fn from(input: Input) -> Self {
        match input {
            // Their logarithms are read, which are logits.
            Input::Logits | Input::Probs => Self::Logits,
            Input::LogProbs => Self::LogProbs,
        }
    }
}
