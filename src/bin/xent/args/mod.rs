//! What may stand on the command line.

mod eval;
mod softmax;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use eval::{EvalArgs, OutputArgs};
pub use softmax::SoftmaxArgs;

const STATUSES: &str = "\
Exit status:
  0  done
  1  results are not within their bounds of the f64 reference (eval --verify, demo)
  2  the command line, a file or an adapter's name is wrong; no output file is left or changed
  3  the device failed, or is too small
  130  stopped by Ctrl-C; no output file is left or changed

RUST_LOG=info tells on stderr which adapter was taken, RUST_LOG=debug more.";

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
    #[command(override_usage = eval::USAGE, after_help = eval::HELP)]
    Eval(Box<EvalArgs>),
    /// Probabilities, or log-probabilities, of logits
    #[command(after_help = softmax::HELP)]
    Softmax(SoftmaxArgs),
    /// The adapters that are there, and which one would be taken
    Adapters(AdaptersArgs),
    /// The loss of a language model's batch, 16,384 tokens of 50,000 classes, in little memory
    Demo(DemoArgs),
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

/// How logits become the scores that a softmax is of.
#[derive(Args)]
pub struct ScoreArgs {
    /// Cap logits to C*tanh(logit / C) first
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub softcap: Option<f32>,
    /// Divide logits by T
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// What a row gives in which every logit is -inf
    #[arg(long, value_name = "HOW", value_enum, default_value_t = MaskedRow::Nan)]
    pub masked_row: MaskedRow,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum MaskedRow {
    Nan,
    Zero,
}

impl From<MaskedRow> for xent::MaskedRow {
    fn from(row: MaskedRow) -> Self {
        match row {
            MaskedRow::Nan => Self::Nan,
            MaskedRow::Zero => Self::Zero,
        }
    }
}

/// What the values of an output are.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
}
