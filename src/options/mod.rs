//! The options of the operations: plain structs with defaults, shared by the kernels and the reference.

mod cross_entropy;
mod kl_divergence;
mod sigmoid_bce;
mod softmax;

use crate::error::{Error, Result};

pub use cross_entropy::{CrossEntropyOptions, Input, Sequences};
pub use kl_divergence::KlDivergenceOptions;
pub use sigmoid_bce::SigmoidBceOptions;
pub use softmax::{Causal, MaskedSoftmaxOptions, SoftmaxBackwardOptions, SoftmaxOptions};

/// How row losses become one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reduction {
    /// Σ loss / Σ weight over the rows that count. NaN where no row counts, as in PyTorch: see [`EmptyBatch`].
    #[default]
    Mean,
    /// Σ loss. With an upstream gradient for each row, the way to differentiate row losses.
    Sum,
    /// Σ loss / the given denominator: for gradient accumulation and data parallel training, where the rows of
    /// one call are a part of the batch. A normal number above zero.
    MeanOver(f32),
}

impl Reduction {
    /// What the sum of row losses, and with it every gradient, is divided by, for rows of this weight in all.
    pub(crate) fn denominator(self, weight: f64) -> f64 {
        match self {
            Self::Mean => weight,
            Self::Sum => 1.0,
            Self::MeanOver(denominator) => f64::from(denominator),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            // A denormal one may be zero on the device, where zero stands for the batch's own weight.
            Self::MeanOver(value) if !(value.is_normal() && value > 0.0) => {
                Err(Error::option("reduction: MeanOver", value, "a normal number above zero"))
            }
            _ => Ok(()),
        }
    }
}

/// What a row gives in which every logit is −∞, so that no class is possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MaskedRow {
    /// NaN throughout, as PyTorch gives.
    #[default]
    Nan,
    /// Probabilities, loss and gradient are zero (log-probabilities stay −∞: their exponential is zero). The row
    /// still counts in a mean.
    Zero,
}

/// What the mean is of a batch in which no row counts: all are ignored or masked, their weights sum to 0, or there is
/// none. Its sum is 0 and its gradient zero throughout, whatever the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EmptyBatch {
    /// NaN, as PyTorch gives.
    #[default]
    Nan,
    /// 0.
    Zero,
    /// Host methods give [`Error::NoRowCounts`]; in buffers NaN and
    /// [`Flags::NO_ROW_COUNTS`](crate::Flags::NO_ROW_COUNTS), which are there anyway.
    Error,
}

pub(crate) fn check_scale(value: f32) -> Result<()> {
    // A device may take a denormal one for zero; the kernels use its double too.
    if value.is_normal() && (2.0 * value).is_finite() {
        Ok(())
    } else {
        Err(Error::option("scale", value, "a normal number, as its double"))
    }
}

/// T and 1/T are both of use to the kernels.
pub(crate) fn check_temperature(value: f32) -> Result<()> {
    if value > 0.0 && value.is_normal() && (1.0 / value).is_normal() {
        Ok(())
    } else {
        Err(Error::option("temperature", value, "a normal number above zero, and so must its reciprocal"))
    }
}

pub(crate) fn check_softcap(value: Option<f32>) -> Result<()> {
    match value {
        Some(value) if !(value > 0.0 && value.is_normal() && (1.0 / value).is_normal()) => {
            Err(Error::option("softcap", value, "a normal number above zero, and so must its reciprocal"))
        }
        _ => Ok(()),
    }
}
