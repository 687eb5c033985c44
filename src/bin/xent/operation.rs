//! The operations that `bench` and `tune` measure.

use clap::ValueEnum;
use xent::{EntmaxOptions, SamplerOptions, Sampling, TopKOptions, TopValues};

/// An operation to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Operation {
    Copy,
    Loss,
    // The loss, with every field of each row's results.
    Readouts,
    #[value(name = "loss+gradient")]
    LossAndGradient,
    Softmax,
    LogSoftmax,
    Logsumexp,
    Argmax,
    // The largest classes of each row with their log-probabilities.
    #[value(name = "top-5", alias = "topk")]
    Top5,
    #[value(name = "top-64")]
    Top64,
    // A token of each row, at a temperature; and after a truncation.
    Sample,
    #[value(name = "sample-top-k")]
    SampleTopK,
    #[value(name = "sample-top-p")]
    SampleTopP,
    Sparsemax,
    #[value(name = "entmax-1.5", alias = "entmax")]
    Entmax,
    // The loss, with the columns as each row's own class and its negatives.
    SampledSoftmax,
}

/// The most classes of a row that an operation finds.
pub const MOST_CLASSES: usize = 64;

/// The options of an operation that finds the largest classes.
pub fn top_k_options(op: Operation) -> TopKOptions {
    TopKOptions { values: TopValues::LogProbs, ..TopKOptions::new(op.k().unwrap_or(1)) }
}

/// The options of an operation that gives probabilities with exact zeros.
pub fn entmax_options(op: Operation) -> EntmaxOptions {
    if op == Operation::Sparsemax { EntmaxOptions::sparsemax() } else { EntmaxOptions::default() }
}

/// How an operation draws tokens, if that is what it does.
pub fn sampling(op: Operation) -> Option<Sampling> {
    let sampling = Sampling { temperature: 0.8, seed: 42, ..Default::default() };
    match op {
        Operation::Sample => Some(sampling),
        Operation::SampleTopK => Some(Sampling { top_k: 50, ..sampling }),
        Operation::SampleTopP => Some(Sampling { top_p: 0.9, ..sampling }),
        _ => None,
    }
}

/// The options of an operation that draws tokens in this way.
pub fn sampler_options(sampling: &Sampling) -> SamplerOptions {
    SamplerOptions { truncations: sampling.truncations(), ..Default::default() }
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Loss => "loss",
            Self::Readouts => "readouts",
            Self::LossAndGradient => "loss+gradient",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log-softmax",
            Self::Logsumexp => "logsumexp",
            Self::Argmax => "argmax",
            Self::Top5 => "top-5",
            Self::Top64 => "top-64",
            Self::Sample => "sample",
            Self::SampleTopK => "sample-top-k",
            Self::SampleTopP => "sample-top-p",
            Self::Sparsemax => "sparsemax",
            Self::Entmax => "entmax-1.5",
            Self::SampledSoftmax => "sampled-softmax",
        }
    }

    /// The number of largest classes that it finds, if that is what it does.
    pub fn k(self) -> Option<usize> {
        match self {
            Self::Top5 => Some(5),
            Self::Top64 => Some(64),
            _ => None,
        }
    }

    /// Whether it writes a value for each logit.
    pub fn writes(self) -> bool {
        matches!(
            self,
            Self::Copy
                | Self::LossAndGradient
                | Self::Softmax
                | Self::LogSoftmax
                | Self::Sparsemax
                | Self::Entmax
        )
    }
}
