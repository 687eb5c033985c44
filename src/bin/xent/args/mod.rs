//! The command line's arguments.

mod bench;
mod calibrate;
mod compare;
mod device;
mod eval;
mod eval_help;
mod explain;
mod given;
mod logits;
mod loss;
mod merge;
mod part;
mod run;
mod sample;
mod score;
mod shaders;
mod shape;
mod softmax;
mod topk;
mod tune;

use clap::{Args, Parser, Subcommand};

pub use bench::{BenchArgs, BenchDtype};
pub use calibrate::CalibrateArgs;
pub use compare::CompareArgs;
pub use device::{AdapterArgs, DeviceArgs};
pub use eval::{EvalArgs, Input, LossName, OutputArgs, RowArgs, TargetArgs};
pub use explain::{ExplainArgs, MINUS_INFINITY, logit};
pub use given::Given;
pub use logits::{LogitsArgs, ReadArgs, is_stream};
pub use loss::OWN_TARGETS;
pub use merge::MergeArgs;
pub use part::Part;
pub use run::{CHECKPOINT_END, RunArgs, checkpoint_start};
pub use sample::SampleArgs;
pub use shaders::ShadersArgs;
pub use softmax::SoftmaxArgs;
pub use topk::TopkArgs;
pub use tune::TuneArgs;

const STATUSES: &str = "\
Examples:
  xent demo
  xent eval logits.npy --targets targets.npy
  xent softmax logits.npy -o probs.npy
  xent sample logits.npy --temperature 0.8 --top-p 0.9

Exit status:
  0    done
  1    done, but rows are bad (eval --strict), or results are not within their error bounds of the
       f64 reference (eval --verify, demo, bench); such results replace no file
  2    the command line, a file or an adapter's name is wrong; no output file is changed
  3    the device failed or is too small, or this process is allowed too little memory or too few
       threads or open files
  130  stopped by Ctrl-C; no output file is changed, and eval and compare leave a checkpoint for
       --resume

RUST_LOG=info logs to stderr which adapter was taken; RUST_LOG=debug logs more; wgpu_core=debug adds
what that library below it logs.";

const COMPLETIONS_HELP: &str = "\
Examples:
  bash        xent completions bash > ~/.local/share/bash-completion/completions/xent
  zsh         xent completions zsh > ~/.zfunc/_xent          (where fpath has ~/.zfunc)
  fish        xent completions fish > ~/.config/fish/completions/xent.fish
  PowerShell  xent completions powershell | Out-String | Invoke-Expression";

const MAN_HELP: &str = "\
Examples:
  xent man | man -l -
  xent man eval > ~/.local/share/man/man1/xent-eval.1";

/// Softmax and cross-entropy of logits in files, on the GPU.
#[derive(Parser)]
#[command(name = "xent", bin_name = "xent", version, after_help = STATUSES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Compute the loss of logits against targets or a teacher, with perplexity and accuracy
    #[command(override_usage = eval_help::USAGE, after_help = eval_help::SHORT_HELP, after_long_help = eval_help::HELP)]
    Eval(Box<EvalArgs>),
    /// Put the parts of an eval together: the report of all rows, from the states of --part
    #[command(after_help = merge::HELP)]
    Merge(MergeArgs),
    /// Compute the probabilities or log-probabilities of logits
    #[command(after_help = softmax::HELP)]
    Softmax(SoftmaxArgs),
    /// Find the most probable classes of each row
    #[command(after_help = topk::HELP)]
    Topk(TopkArgs),
    /// Fit the temperature of held-out logits, and find sets that hold the right class
    #[command(after_help = calibrate::HELP)]
    Calibrate(Box<CalibrateArgs>),
    /// Compare two models on the same rows: what quantising, pruning or tuning changes
    #[command(after_help = compare::SHORT_HELP, after_long_help = compare::HELP)]
    Compare(Box<CompareArgs>),
    /// Draw tokens from each row: greedy, temperature, top-k, top-p, min-p
    #[command(after_help = sample::HELP)]
    Sample(Box<SampleArgs>),
    /// Show softmax and cross-entropy of a few logits, step by step
    #[command(after_help = explain::HELP)]
    Explain(ExplainArgs),
    /// List the adapters, and mark the one that would be taken
    Adapters(AdaptersArgs),
    /// Compute a language model's loss in little memory: 16,384 tokens, 50,000 classes
    Demo(DemoArgs),
    /// Measure the speed of the operations, beside a copy of the same bytes
    #[command(after_help = bench::HELP, mut_arg("adapter", |arg| arg.help(device::ADAPTER_ONLY)))]
    Bench(BenchArgs),
    /// Find the fastest layout of the kernels here, and write it to a file for --tuning
    #[command(after_help = tune::HELP, mut_arg("adapter", |arg| arg.help(device::ADAPTER_ONLY)))]
    Tune(TuneArgs),
    /// List the shaders that the operations run, or write them to files
    #[command(after_help = shaders::HELP)]
    Shaders(ShadersArgs),
    /// Print a script that lets a shell complete this command line
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
    /// Print a manual page
    #[command(after_help = MAN_HELP)]
    Man(ManArgs),
}

#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell that the script is for
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
pub struct ManArgs {
    /// The command that the page is about [default: all, in short]
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
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
    /// The seed that the logits are made from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print one JSON object, with the keys of eval
    #[arg(long)]
    pub json: bool,
}
