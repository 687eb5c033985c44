//! What may stand on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const STATUSES: &str = "\
Exit status:
  0  done
  1  results are not within their bounds of the f64 reference (eval --verify, demo)
  2  the command line, a file or an adapter's name is wrong; no output file is left or changed
  3  the device failed, or is too small
  130  stopped by Ctrl-C; no output file is left or changed

RUST_LOG=info tells on stderr which adapter was taken, RUST_LOG=debug more.";

const EVAL_HELP: &str = "\
Examples:
  xent eval logits.npy --targets targets.npy
  xent eval logits.npy --targets targets.npy --json --verify 64
  xent eval logits.npy --targets targets.npy --reduction sum --grad-out grad.npy

Targets are integers of any width. One that equals --ignore-index is left out: by its value, and
for u32 by its bits as i32, so that 4294967196 is -100 there. Outputs are f32; they are there whole
or not at all.

JSON keys: loss (reduced), sum, perplexity (of the mean, always), accuracy, rows, cols, counted,
ignored, flags, adapter, seconds, logits_per_second, verification (null, or an object of
rows_checked, worst_row, worst_abs, worst_rel, passed). A number that is not finite, or undefined
because no row counts, is null, and its key is among the flags. The other flags: nan_logit,
infinite_logit (+inf), masked_row (all -inf), infinite_loss, nan_loss, no_row_counts.";

const SOFTMAX_HELP: &str = "\
Examples:
  xent softmax logits.npy -o probs.npy
  xent softmax logits.npy -o log_probs.npy --log";

/// Softmax and cross-entropy of logits in files, on the GPU.
#[derive(Parser)]
#[command(name = "xent", version, after_help = STATUSES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Cross-entropy of logits against targets: loss, perplexity, accuracy
    #[command(after_help = EVAL_HELP)]
    Eval(EvalArgs),
    /// Probabilities, or log-probabilities, of logits
    #[command(after_help = SOFTMAX_HELP)]
    Softmax(SoftmaxArgs),
    /// The adapters that are there, and which one would be taken
    Adapters(AdaptersArgs),
    /// The loss of a language model's batch, 16,384 tokens of 50,000 classes, in little memory
    Demo(DemoArgs),
}

#[derive(Args)]
pub struct EvalArgs {
    /// Logits (rows, cols), f32 or f64, in a .npy file
    #[arg(value_name = "LOGITS.npy")]
    pub logits: PathBuf,
    /// Targets (rows,), integers, in a .npy file
    #[arg(long, value_name = "TARGETS.npy")]
    pub targets: PathBuf,
    /// Leave out rows with this target
    #[arg(long, value_name = "N", default_value_t = -100, allow_negative_numbers = true)]
    pub ignore_index: i32,
    /// How row losses become one loss, of which --grad-out is the gradient
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Reduction::Mean)]
    pub reduction: Reduction,
    /// Write row losses (rows,), in nats
    #[arg(long, value_name = "FILE.npy")]
    pub rows_out: Option<PathBuf>,
    /// Write the gradient of the reduced loss (rows, cols)
    #[arg(long, value_name = "FILE.npy")]
    pub grad_out: Option<PathBuf>,
    /// Compare the losses of N rows, evenly spread, with an f64 reference
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub verify: usize,
    #[command(flatten)]
    pub adapter: AdapterArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct SoftmaxArgs {
    /// Logits (rows, cols), f32 or f64, in a .npy file
    #[arg(value_name = "LOGITS.npy")]
    pub logits: PathBuf,
    /// Where probabilities (rows, cols) go, f32
    #[arg(short, long, value_name = "OUT.npy")]
    pub output: PathBuf,
    /// Log-probabilities, in nats
    #[arg(long)]
    pub log: bool,
    #[command(flatten)]
    pub adapter: AdapterArgs,
}

#[derive(Args)]
pub struct AdaptersArgs {
    #[command(flatten)]
    pub adapter: AdapterArgs,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct DemoArgs {
    #[arg(long, default_value_t = 32 * 512, hide = true)]
    pub rows: usize,
    #[arg(long, default_value_t = 50_000, hide = true)]
    pub cols: usize,
    /// What the logits are made from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub adapter: AdapterArgs,
    /// Print one JSON object, with the keys of eval
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct AdapterArgs {
    /// Take the adapter whose name has this part, upper or lower case [default: hardware before software]
    #[arg(
        id = "adapter",
        long = "adapter",
        value_name = "NAME",
        env = "XENT_ADAPTER",
        hide_env_values = true
    )]
    name: Option<String>,
}

impl AdapterArgs {
    /// The part of a name that was given, if one was: an empty variable is none.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
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
