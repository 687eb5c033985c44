//! What may stand on the command line.

mod bench;
mod eval;
mod logits;
mod run;
mod softmax;
mod tune;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use xent::Shape;

pub use bench::{BenchArgs, BenchDtype};
pub use eval::{EvalArgs, OutputArgs, TargetArgs};
pub use logits::LogitsArgs;
pub use run::{CHECKPOINT_END, RunArgs, checkpoint_start};
pub use softmax::SoftmaxArgs;
pub use tune::TuneArgs;

const STATUSES: &str = "\
Examples:
  xent demo
  xent eval logits.npy --targets targets.npy
  xent softmax logits.npy -o probs.npy

Exit status:
  0    done
  1    done, but rows are bad (eval --strict), or results are not within their bounds of the f64
       reference (eval --verify, demo, bench); these replace no file
  2    the command line, a file or an adapter's name is wrong; no output file is changed
  3    the device failed, or is too small; this process may take too little memory, or too few
       threads or files
  130  stopped by Ctrl-C; no output file is changed, and eval leaves a checkpoint to --resume from

RUST_LOG=info tells on stderr which adapter was taken, RUST_LOG=debug more.";

const COMPLETIONS_HELP: &str = "\
Examples:
  bash        xent completions bash > ~/.local/share/bash-completion/completions/xent
  zsh         xent completions zsh > ~/.zfunc/_xent          (where fpath has ~/.zfunc)
  fish        xent completions fish > ~/.config/fish/completions/xent.fish
  PowerShell  xent completions powershell | Out-String | Invoke-Expression";

/// Softmax and cross-entropy of logits in files, on the GPU.
#[derive(Parser)]
#[command(name = "xent", bin_name = "xent", version, after_help = STATUSES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Cross-entropy of logits against targets: loss, perplexity, accuracy
    #[command(override_usage = eval::USAGE, after_help = eval::SHORT_HELP, after_long_help = eval::HELP)]
    Eval(Box<EvalArgs>),
    /// Probabilities, or log-probabilities, of logits
    #[command(after_help = softmax::HELP)]
    Softmax(SoftmaxArgs),
    /// The adapters that are there, and which one would be taken
    Adapters(AdaptersArgs),
    /// The loss of a language model's batch, 16,384 tokens of 50,000 classes, in little memory
    Demo(DemoArgs),
    /// How fast the operations are here, beside a copy of the same bytes
    #[command(after_help = bench::HELP)]
    Bench(BenchArgs),
    /// Measure how the kernels are best laid out here, and write it to a file for --tuning
    #[command(after_help = tune::HELP)]
    Tune(TuneArgs),
    /// A script that completes this command line, for a shell to read
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
}

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell they are for
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
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
    pub device: DeviceArgs,
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

/// The adapter, and how its kernels are laid out.
#[derive(Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    pub adapter: AdapterArgs,
    /// Lay the kernels out as `xent tune` found best; a file of another adapter or version is ignored
    #[arg(hide_short_help = true, id = "tuning", long = "tuning", value_name = "FILE")]
    tuning: Option<PathBuf>,
}

impl DeviceArgs {
    /// The file of a tuning, if one was given.
    pub fn tuning(&self) -> Option<&Path> {
        self.tuning.as_deref()
    }
}

/// A batch as one writes it: rows x cols.
pub fn parse_shape(text: &str) -> Result<Shape, String> {
    let wanted = "rows x cols, as 256x50304";
    let (rows, cols) = text.split_once(['x', 'X', '×']).ok_or(wanted)?;
    let number = |text: &str| text.trim().parse::<usize>().map_err(|error| format!("{wanted}: {error}"));
    let shape = Shape::new(number(rows)?, number(cols)?);
    if shape.rows == 0 {
        return Err("there is nothing to measure in 0 rows".to_owned());
    }
    shape.check().map_err(|error| error.to_string())?;
    Ok(shape)
}

/// How logits become the scores that a softmax is of.
#[derive(Args)]
pub struct ScoreArgs {
    /// Cap logits to C*tanh(logit / C) first
    #[arg(hide_short_help = true, long, value_name = "C", allow_negative_numbers = true)]
    pub softcap: Option<f32>,
    /// Divide logits by T
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// What a row gives in which every logit is -inf
    #[arg(hide_short_help = true, long, value_name = "HOW", value_enum, default_value_t = MaskedRow::Nan)]
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
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}
