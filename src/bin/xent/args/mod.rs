//! What may stand on the command line.

mod bench;
mod device;
mod eval;
mod logits;
mod run;
mod score;
mod shape;
mod softmax;
mod tune;

use clap::{Args, Parser, Subcommand};

pub use bench::{BenchArgs, BenchDtype};
pub use device::{AdapterArgs, DeviceArgs};
pub use eval::{EvalArgs, OutputArgs, TargetArgs};
pub use logits::LogitsArgs;
pub use run::{CHECKPOINT_END, checkpoint_start};
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
