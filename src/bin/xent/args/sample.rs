//! The arguments of `xent sample`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use xent::{SamplerOptions, Sampling, ScoreChanges, StepOrder};

use super::device::DeviceArgs;
use super::logits::LogitsArgs;

pub const HELP: &str = "\
Examples:
  xent sample logits.npy --temperature 0              the largest logit of each row
  xent sample logits.npy -n 5 --temperature 0.8 --top-p 0.9 --seed 42
  xent sample logits.npy --top-k 40 --names vocabulary.txt
  xent sample logits.npy -n 100 -o tokens.npy
  xent sample logits.npy -n 5 --without-replacement
  xent sample logits.npy --past 17,4,17 --repetition-penalty 1.2 --bias 3=-inf

The same seed gives the same tokens: row r takes the random numbers of the counter C + r.
First bias and penalties change the logits. Then each step sees what the steps before it have left:
temperature, top-n-sigma, top-k, top-p, min-p, typical-p, epsilon, eta, XTC (another order: --order).";

#[derive(Args)]
pub struct SampleArgs {
    #[command(flatten)]
    pub logits: LogitsArgs,
    /// Draw this many tokens from each row: at most 256
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    pub samples: usize,
    /// Draw each class of a row at most once
    #[arg(hide_short_help = true, long)]
    pub without_replacement: bool,
    /// The random numbers' seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The first row's counter of random numbers
    #[arg(hide_short_help = true, long, value_name = "C", default_value_t = 0)]
    pub counter: u64,
    /// Write the tokens, with an axis more than the rows have: .npy or .safetensors, u32 [default: print them]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print this file's lines in place of class numbers: line 1 is class 0
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub names: Option<PathBuf>,
    // Before the group, because an argument that follows a group appears under the group's heading.
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub steps: StepArgs,
    #[command(flatten)]
    pub changes: ChangeArgs,
}

/// What changes the logits before the steps, in all rows alike.
#[derive(Args)]
#[command(next_help_heading = "What changes the logits first")]
pub struct ChangeArgs {
    /// Add V to the logit of class C; -inf forbids it
    #[arg(
        hide_short_help = true,
        long,
        value_name = "C=V",
        value_delimiter = ',',
        value_parser = bias,
        allow_hyphen_values = true
    )]
    bias: Vec<(u32, f32)>,
    /// The tokens so far, which the penalties are for
    #[arg(hide_short_help = true, long, value_name = "TOKENS", value_delimiter = ',')]
    past: Vec<u32>,
    /// Divide the logits of past tokens by R if they are above 0, else multiply; 1 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "R",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    repetition_penalty: f32,
    /// Subtract F for each time that a token is in the past; 0 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "F",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    frequency_penalty: f32,
    /// Subtract Q if a token is in the past; 0 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "Q",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    presence_penalty: f32,
    /// Only the last N tokens of the past count; 0 is all
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 0)]
    penalty_window: usize,
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let parts =
        text.split_once('=').and_then(|(class, value)| Some((class.parse().ok()?, value.parse().ok()?)));
    parts.ok_or_else(|| "needs a class and a value, as in 3=-1.5".to_owned())
}

/// The steps before a draw.
#[derive(Args)]
#[command(next_help_heading = "Which classes are left")]
pub struct StepArgs {
    /// Divide the logits by T; 0 takes the largest
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Keep the K largest; 0 is off
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Keep the fewest largest with a mass of at least P; 1 is off
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f32,
    /// Keep those with at least M times the largest probability; 0 is off
    #[arg(long, value_name = "M", default_value_t = 0.0, allow_negative_numbers = true)]
    min_p: f32,
    /// Keep the fewest most typical with a mass of at least P; 1 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "P",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    typical_p: f32,
    /// Keep those at most N standard deviations of the logits below the largest; 0 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "N",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    top_n_sigma: f32,
    /// Keep those with a probability of at least E; 0 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "E",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    epsilon: f32,
    /// Like --epsilon, with a threshold that falls with the entropy; 0 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "E",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    eta: f32,
    /// With this probability, leave out the top choices but the least likely one; 0 is off
    #[arg(
        hide_short_help = true,
        long,
        value_name = "P",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    xtc_probability: f32,
    /// What makes a class a top choice: a probability of at least T
    #[arg(
        hide_short_help = true,
        long,
        value_name = "T",
        default_value_t = 0.1,
        allow_negative_numbers = true
    )]
    xtc_threshold: f32,
    /// Keep at least N in each step
    #[arg(hide_short_help = true, long, value_name = "N", default_value_t = 1)]
    min_keep: usize,
    /// The order of the steps: that of transformers, of vLLM or of llama.cpp
    #[arg(hide_short_help = true, long, value_name = "OF", value_enum, default_value_t = Order::Transformers)]
    order: Order,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Transformers,
    Vllm,
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

impl SampleArgs {
    /// What changes the logits of each row, if anything does.
    pub fn changes(&self) -> Option<ScoreChanges<'_>> {
        let ChangeArgs { repetition_penalty, frequency_penalty, presence_penalty, penalty_window, .. } =
            self.changes;
        let changes = ScoreChanges {
            bias: &self.changes.bias,
            output: &self.changes.past,
            penalty_window,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            ..ScoreChanges::default()
        };
        (changes != ScoreChanges::default()).then_some(changes)
    }

    /// How the first row is sampled.
    pub fn sampling(&self) -> Sampling {
        let StepArgs { temperature, top_k, top_p, min_p, typical_p, top_n_sigma, epsilon, eta, .. } =
            self.steps;
        let StepArgs { xtc_probability, xtc_threshold, min_keep, .. } = self.steps;
        Sampling {
            seed: self.seed,
            counter: self.counter,
            temperature,
            top_k,
            top_p,
            min_p,
            typical_p,
            top_n_sigma,
            epsilon,
            eta,
            xtc_probability,
            xtc_threshold,
            min_keep,
            ..Sampling::default()
        }
    }

    pub fn options(&self) -> SamplerOptions {
        let order = match self.steps.order {
            Order::Transformers => StepOrder::HuggingFace,
            Order::Vllm => StepOrder::Vllm,
            Order::LlamaCpp => StepOrder::LlamaCpp,
        };
        SamplerOptions {
            samples: self.samples,
            replacement: !self.without_replacement,
            order,
            truncations: self.sampling().truncations(),
        }
    }
}
