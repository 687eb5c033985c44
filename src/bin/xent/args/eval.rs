//! What may stand behind `xent eval`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::device::DeviceArgs;
use super::logits::LogitsArgs;
use super::run::RunArgs;
use super::score::ScoreArgs;
use crate::dtype::Dtype;

pub const USAGE: &str = "xent eval <LOGITS>... --targets <FILE> [OPTIONS]";

pub const SHORT_HELP: &str = "\
Examples:
  xent eval logits.npy --targets targets.npy --verify 64
  xent eval logits.npy --targets tokens.npy --shift 1 --json
  xent eval logits.npy --targets targets.npy --html report.html --rows-out rows.csv

Exit status: 0 done, 1 done but rows are bad (--strict) or not verified (--verify), 2 wrong input,
3 device trouble, 130 stopped. 'xent eval --help' says all.";

pub const HELP: &str = "\
Examples:
  xent eval logits.npy --targets targets.npy
  xent eval logits.npy --targets targets.npy --json --verify 64 --strict
  xent eval logits.npy --targets targets.npy --html report.html --rows-out rows.csv
  xent eval logits.npy --targets targets.npy --label-smoothing 0.1 --grad-out grad.npy
  xent eval logits.npy --targets tokens.npy --shift 1 --score-from 128
  xent eval student.npy --soft-targets teacher.npy --temperature 2
  xent eval student.npy --sparse-targets top_ids.npy --sparse-probs top_probs.npy
  xent eval segmentation.npy --targets pixels.npy --class-axis 1 --class-weights weights.npy
  xent eval log_probs.npy --targets targets.npy --input log-probs
  xent eval batch.safetensors --targets-key labels --grad-out grad.safetensors
  xent eval shards/ --targets targets.npy
  zcat logits.gz | xent eval - --dtype f32 --cols 50257 --rows 4096 --targets targets.npy

Files are .npy or .safetensors: logits, and all that goes with them. Which is told by their content;
of several tensors in a .safetensors file, the only one that can be meant is taken, or the one that
a key names. Raw values have no header (--dtype, --cols). A folder is taken in the order of its
names, part-2 before part-10.

Logits may have any number of axes, one of them the classes'; they are f16, bf16, f32, or f64
narrowed to f32. What has a value for each row has the other axes, in their order, or one axis of
all rows. All of it is read piece by piece, so it may be larger than memory; with the classes not
last, a piece is at least what lies behind one index of the axes before them. Targets, row weights
and masks are read twice: before the first logit, to be checked and added up, and with the logits.

Targets are integers of any width. One that equals --ignore-index is left out: by its value, and
for u32 by its bits as i32, so that 4294967196 is -100 there. The target of a row that is not
scored (--row-mask, --row-weights 0, --score-from and --score-to) may be anything.

Outputs are .npy or .safetensors by their names, and there whole or not at all. Rows left out have
loss 0, lse 0 and the class 4294967295.

--rows-out to a .csv writes row, sequence, position, target, loss, lse, argmax and flags of each
row; what a row has not, as one that is left out, is empty there.

Bad rows have a loss that is NaN or infinite, or a flag: nan_logit, infinite_logit (+inf),
target_out_of_range, invalid_target, invalid_weight. A masked_row (all -inf) is bad unless
--masked-row zero makes its loss 0. The report counts them; --strict makes them exit status 1, with
all outputs written.

--json prints one object. Its keys: format ('xent eval'), version (1; rises where a key changes its
meaning), xent, loss (reduced), sum, z_loss (the part of it in loss), perplexity (e to the mean; of
a plain loss it is one, otherwise just that number), accuracy (of the most probable class of soft
and sparse targets), complete (false where the run was stopped), rows, cols, counted, ignored,
weight (what a mean divides by), row_weight (what it divides the z-loss by), flags, bad_rows, first_bad_row, row_losses (range, quantiles, histogram),
positions (mean loss by position in the sequence), adapter, seconds, logits_per_second, bytes_read,
peak_memory_bytes, verification. A number that is not finite, or undefined because no row counts, is
null, and its key is among the flags. docs/eval-json.md in the sources says all.

Colours are shown on a terminal, unless NO_COLOR is set. Long runs show a bar there, and elsewhere a
line on stderr every 10 seconds.

How far a run has come is written as it goes (--checkpoint-every): outputs first, to the disk, each
beside its place as NAME.RUN.xent-partial, then the checkpoint LOGITS.RUN.xent-checkpoint. RUN is a
number made of the files, the options and the adapter. So after a kill, a full disk or an error the
same command with --resume goes on, to the same digits; what was kept is read once and compared with
its checksum. The same command without it begins anew, over what was left. A run that ends leaves
none of these files. While it goes, no other process can run it: that one fails and changes nothing.

Exit status:
  0    done
  1    done, but rows are bad (--strict), or results are not within their bounds of the f64
       reference (--verify); these replace no file
  2    the command line, a file or an adapter's name is wrong, or a file cannot be read or written;
       no output file is changed, and if rows were done, --resume goes on from the checkpoint
  3    the device failed, or is too small
  130  stopped by Ctrl-C; what there is so far is printed, no output file is changed, and --resume
       goes on from the checkpoint that is left. Where no window ends within a second, it stops
       without the print. A second Ctrl-C ends the run at once, as a kill does: --resume goes on from
       the checkpoint before";

#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// What the values are: log-probs are taken as they are, not normalised (NLL)
    #[arg(hide_short_help = true, long, value_name = "WHAT", value_enum, default_value_t = Input::Logits)]
    pub input: Input,
    // Before the groups: what follows one stands under its heading.
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
}

#[derive(Args)]
#[command(next_help_heading = "Targets (one kind)")]
#[command(group = ArgGroup::new("kind of targets"))]
pub struct TargetArgs {
    /// A class for each row, integers
    #[arg(
        long,
        value_name = "FILE",
        group = "kind of targets",
        required_unless_present_any = ["soft_targets", "sparse_targets", "targets_key"]
    )]
    pub targets: Option<PathBuf>,
    /// The tensor of the targets, in their file or in the logits' own
    ///
    /// In the .safetensors file of --targets or its like; without one, in the file of the logits.
    #[arg(long, value_name = "NAME")]
    pub targets_key: Option<String>,
    /// A probability for each class, floats laid out as the logits
    #[arg(long, value_name = "FILE", group = "kind of targets")]
    pub soft_targets: Option<PathBuf>,
    /// A few classes for each row, integers: the rows' axes, and one of the entries
    #[arg(
        hide_short_help = true,
        long,
        value_name = "INDICES",
        group = "kind of targets",
        requires = "sparse_probs"
    )]
    pub sparse_targets: Option<PathBuf>,
    /// Their probabilities, floats
    #[arg(hide_short_help = true, long, value_name = "PROBS", requires = "sparse_targets", conflicts_with_all = ["targets", "soft_targets"])]
    pub sparse_probs: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Loss")]
pub struct LossArgs {
    /// How row losses become one loss
    ///
    /// It is also the one of which --grad-out is the gradient.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Reduction::Mean)]
    pub reduction: Reduction,
    /// A weight for each class, floats
    ///
    /// A mean divides by those of the targets.
    #[arg(long, value_name = "FILE")]
    pub class_weights: Option<PathBuf>,
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
    /// The mean where no row counts
    #[arg(hide_short_help = true, long, value_name = "HOW", value_enum, default_value_t = EmptyBatch::Nan)]
    pub empty: EmptyBatch,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
pub struct RowArgs {
    /// Leave out rows with this target
    #[arg(long, value_name = "N", default_value_t = -100, allow_negative_numbers = true)]
    pub ignore_index: i32,
    /// A weight for each row, floats; rows of weight 0 are left out
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub row_weights: Option<PathBuf>,
    /// Which rows are scored, booleans or integers: 0 is left out
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub row_mask: Option<PathBuf>,
    /// Score position t against the target of t + N: 1 for next tokens
    ///
    /// Both are of one sequence: the last N positions of each have no target.
    #[arg(long, value_name = "N", conflicts_with = "soft_targets")]
    pub shift: Option<usize>,
    /// Rows of a sequence [default: the axis before the classes, if these are last; else all]
    #[arg(hide_short_help = true, long, value_name = "L")]
    pub sequence: Option<usize>,
    /// Leave out positions of a sequence before P: a prompt
    #[arg(hide_short_help = true, long, value_name = "P")]
    pub score_from: Option<usize>,
    /// Leave out positions from P on
    #[arg(hide_short_help = true, long, value_name = "P")]
    pub score_to: Option<usize>,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write row losses, f32; to a .csv all that is known of each row
    ///
    /// Losses are in nats, times the rows' weights.
    #[arg(long, value_name = "FILE")]
    pub rows_out: Option<PathBuf>,
    /// Write the gradient of the reduced loss, laid out as the logits
    #[arg(long, value_name = "FILE")]
    pub grad_out: Option<PathBuf>,
    /// Write ln(sum of exp) of each row, as the loss takes its logits, f32
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
    /// Write the summary and these pictures as one page
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Compare the losses of N rows, evenly spread, with an f64 reference
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub verify: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with status 1 if a row is bad: NaN, an infinite loss
    #[arg(long)]
    pub strict: bool,
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
}

impl From<Input> for xent::Input {
    fn from(input: Input) -> Self {
        match input {
            Input::Logits => Self::Logits,
            Input::LogProbs => Self::LogProbs,
        }
    }
}
