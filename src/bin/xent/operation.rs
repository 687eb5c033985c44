//! The operations that `bench` and `tune` measure.

use clap::ValueEnum;

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
        }
    }

    /// Whether it writes a value for each logit.
    pub fn writes(self) -> bool {
        matches!(self, Self::Copy | Self::LossAndGradient | Self::Softmax | Self::LogSoftmax)
    }
}
