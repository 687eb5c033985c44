//! The arguments of `xent eval`.

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
3 device trouble, 130 stopped. 'xent eval --help' explains everything.";

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

Files are .npy or .safetensors, for the logits and for everything that goes with them; the content
decides which. If a .safetensors file holds several tensors, the only one that fits is read, or the
one that a key names. Raw values have no header (--dtype, --cols). The files of a folder are read in
the order of their names, part-2 before part-10.

Logits may have any number of axes; one of them is the class axis. They are f16, bf16, f32, or f64
narrowed to f32. A file with a value for each row has the other axes, in the same order, or a single
axis of all rows. All files are read piece by piece, so they may be larger than memory. If the class
axis is not the last, a piece is at least what lies behind one index of the axes before it. Targets,
row weights and masks are read twice: before the first logit, to check them and add them up, and
again with the logits.

Targets are integers of any width. A row whose target equals --ignore-index is left out; a u32
target is compared by its bits as i32, so 4294967196 is -100. A row that is not scored (--row-mask,
--row-weights 0, --score-from and --score-to) may have any target.

The name of an output decides whether it is .npy or .safetensors. An output file appears complete or
not at all. A row that is left out has loss 0, lse 0 and class 4294967295.

--rows-out with a .csv name writes row, sequence, position, target, loss, lse, argmax and flags of
each row. A value that a row does not have is empty, such as the loss of a row that is left out.

A row is bad if its loss is NaN or infinite, or if it has one of the flags nan_logit, infinite_logit
(+inf), target_out_of_range, invalid_target or invalid_weight. A masked_row (all logits -inf) is bad
unless --masked-row zero makes its loss 0. The report counts the bad rows. With --strict they make
the exit status 1; all outputs are still written.

--json prints one object. Its keys: format ('xent eval'), version (1; it rises when a key changes
its meaning), xent, loss (reduced), sum, z_loss (the part of loss that is z-loss), perplexity (e to
the mean loss; a perplexity in the usual sense only for a plain loss), accuracy (for soft and sparse
targets, against their most probable class), complete (false if the run was stopped), rows, cols,
counted, ignored, weight (what a mean is divided by), row_weight (what the z-loss of a mean is
divided by), flags, bad_rows, first_bad_row, row_losses (range, quantiles, histogram), positions
(mean loss by position in the sequence), adapter, seconds, logits_per_second, bytes_read,
peak_memory_bytes, verification. A number that is not finite, or undefined because no row counts, is
null, and its key is among the flags. docs/eval-json.md in the sources explains every key.

The report has colours on a terminal, unless NO_COLOR is set. A long run shows a progress bar on a
terminal, and elsewhere prints a line to stderr every 10 seconds.

A run saves its progress as it goes (--checkpoint-every). The outputs go to the disk first, each
beside its final place as NAME.RUN.xent-partial; then the checkpoint, LOGITS.RUN.xent-checkpoint.
RUN is a number computed from the files, the options and the adapter. After a kill, a full disk or
an error, the same command with --resume continues and gives the same digits; the saved outputs are
read once and compared with their checksums. The same command without --resume starts from the
beginning and overwrites what was left. A run that ends leaves none of these files. While a run is
in progress, no other process can start the same one: that process fails and changes nothing.

Exit status:
  0    done
  1    done, but rows are bad (--strict), or results are not within their error bounds of the f64
       reference (--verify); such results replace no file
  2    the command line, a file or an adapter's name is wrong, or a file cannot be read or written;
       no output file is changed, and if rows were done, --resume continues from the checkpoint
  3    the device failed, or is too small
  130  stopped by Ctrl-C: the results so far are printed, no output file is changed, and --resume
       continues from the checkpoint. If no window ends within a second, the run stops without
       printing. A second Ctrl-C ends the run at once, as a kill does; --resume then continues from
       the last checkpoint before it";

#[derive(Args)]
pub struct EvalArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// What the values are; log-probs are used as they are, not normalised (NLL)
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
}

#[derive(Args)]
#[command(next_help_heading = "Targets (one kind)")]
#[command(group = ArgGroup::new("kind of targets"))]
pub struct TargetArgs {
    /// A class for each row: integers
    #[arg(
        long,
        value_name = "FILE",
        group = "kind of targets",
        required_unless_present_any = ["soft_targets", "sparse_targets", "targets_key"]
    )]
    pub targets: Option<PathBuf>,
    /// The tensor of the targets, in their own file or in that of the logits
    ///
    /// It is in the .safetensors file of --targets, --soft-targets or --sparse-targets; if none of these is given, in the
    /// file of the logits.
    #[arg(long, value_name = "NAME")]
    pub targets_key: Option<String>,
    /// A probability for each class: floats, in the layout of the logits
    #[arg(long, value_name = "FILE", group = "kind of targets")]
    pub soft_targets: Option<PathBuf>,
    /// A few classes for each row: integers, with the axes of the rows and one more, for the entries
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
}

#[derive(Args)]
#[command(next_help_heading = "Loss")]
pub struct LossArgs {
    /// How row losses become one loss
    ///
    /// --grad-out is the gradient of this loss.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Reduction::Mean)]
    pub reduction: Reduction,
    /// A weight for each class: floats
    ///
    /// A mean is divided by the weights of the targets.
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
    /// What the mean is when no row counts
    #[arg(hide_short_help = true, long, value_name = "HOW", value_enum, default_value_t = EmptyBatch::Nan)]
    pub empty: EmptyBatch,
}

#[derive(Args)]
#[command(next_help_heading = "Rows")]
pub struct RowArgs {
    /// Leave out rows with this target
    #[arg(long, value_name = "N", default_value_t = -100, allow_negative_numbers = true)]
    pub ignore_index: i32,
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
    /// Rows per sequence [default: the axis before the classes if the classes are last, else all rows]
    #[arg(hide_short_help = true, long, value_name = "L")]
    pub sequence: Option<usize>,
    /// Leave out the positions of a sequence before P, such as a prompt
    #[arg(hide_short_help = true, long, value_name = "P")]
    pub score_from: Option<usize>,
    /// Leave out the positions of a sequence from P on
    #[arg(hide_short_help = true, long, value_name = "P")]
    pub score_to: Option<usize>,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write row losses, f32; with a .csv name, all results of each row
    ///
    /// Losses are in nats, multiplied by the rows' weights.
    #[arg(long, value_name = "FILE")]
    pub rows_out: Option<PathBuf>,
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
    /// Compare the losses of N rows, evenly spread, with an f64 reference
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub verify: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with status 1 if a row is bad, such as a NaN or infinite loss
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
