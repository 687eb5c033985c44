//! The options of the operations: plain structs with defaults, shared by the kernels and the reference.

mod calibrator;
mod comparator;
mod cross_entropy;
mod entmax;
mod info_nce;
mod kl_divergence;
mod sampled_softmax;
mod sampler;
mod score_changes;
mod shard;
mod sigmoid_bce;
mod softmax;
mod top_k;

use crate::error::{Error, Result};

pub use calibrator::CalibratorOptions;
pub use comparator::ComparatorOptions;
pub use cross_entropy::{CrossEntropyOptions, Input, SequenceUnit, Sequences};
pub use entmax::{EntmaxBackwardOptions, EntmaxLossOptions, EntmaxOptions};
pub use info_nce::InfoNceOptions;
pub(crate) use info_nce::{check_pairs, check_similarities};
pub use kl_divergence::KlDivergenceOptions;
pub use sampled_softmax::SampledSoftmaxOptions;
pub(crate) use sampled_softmax::check_classes;
pub use sampler::{MAX_SAMPLES, SamplerOptions, Sampling, StepOrder, Truncations};
pub(crate) use sampler::{Step, share_of_32_bits};
pub(crate) use score_changes::product_limit;
pub use score_changes::{ScoreChanges, ScoreRecords};
pub use shard::VocabularyShard;
pub(crate) use shard::check_shard;
pub use sigmoid_bce::SigmoidBceOptions;
pub use softmax::{Causal, MaskedSoftmaxOptions, SoftmaxBackwardOptions, SoftmaxOptions};
pub use top_k::{MAX_TOP_K, TopKOptions, TopValues};

/// How row losses become one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reduction {
    /// Σ loss / Σ weight over the rows that count. NaN when no row counts, as in PyTorch: see [`EmptyBatch`].
    #[default]
    Mean,
    /// Σ loss. Use it with an upstream gradient for each row to differentiate row losses.
    Sum,
    /// Σ loss / the given denominator: for gradient accumulation and data-parallel training, where the rows of
    /// one call are only a part of the batch. A normal number above zero.
    MeanOver(f32),
}

impl Reduction {
    /// The divisor of the sum of row losses, and so of every gradient. `weight` is the total weight of the rows.
    pub(crate) fn denominator(self, weight: f64) -> f64 {
        match self {
            Self::Mean => weight,
            Self::Sum => 1.0,
            Self::MeanOver(denominator) => f64::from(denominator),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            // A subnormal value may become zero on the device, where zero stands for the batch's own weight.
            Self::MeanOver(value) if !(value.is_normal() && value > 0.0) => {
                Err(Error::option("reduction: MeanOver", value, "a normal number above zero"))
            }
            _ => Ok(()),
        }
    }
}

/// How rows become one loss: the options that every loss has.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reducing {
    pub reduction: Reduction,
    pub empty_batch: EmptyBatch,
    pub z_loss: f32,
}

/// The result of a row in which every logit is −∞, so that no class is possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MaskedRow {
    /// NaN throughout, as PyTorch gives.
    #[default]
    Nan,
    /// Probabilities, loss and gradient are zero (log-probabilities stay −∞, because exp(−∞) is zero). The row still
    /// counts in a mean.
    Zero,
}

/// The mean when no row counts: all rows are ignored or masked, their weights sum to 0, or there are no rows. The sum
/// is then 0 and every gradient is 0, whatever this option says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EmptyBatch {
    /// NaN, as PyTorch gives.
    #[default]
    Nan,
    /// 0.
    Zero,
    /// Host methods give [`Error::NoRowCounts`]. Buffers get NaN and
    /// [`Flags::NO_ROW_COUNTS`](crate::Flags::NO_ROW_COUNTS), which is set in any case.
    Error,
}

/// 2^100, the largest factor for values that a device may flush to zero below 1.2e-38. Flushing then loses at most
/// 1.5e-8, which no result shows.
const MOST_SCALE: f32 = (1u128 << 100) as f32;

/// 2^126. Its reciprocal is the smallest value that no device flushes to zero.
const MOST_TEMPERATURE: f32 = (1u128 << 126) as f32;

/// Above this temperature, classes that lie further below the others than f32's largest number still have weight.
/// (Strictly, only above 3e36.)
pub(crate) const HALVED_FROM: f32 = MOST_SCALE;

/// The factor of sums of distances between scores at a temperature: a power of two, which changes no digit. With it, a sum of
/// 2^32 distances between finite scores stays within f32, and what it loses below f32 is negligible in a loss.
pub(crate) fn distance_scale(temperature: f32) -> f64 {
    2f64.powi((-33 - f64::from(temperature).log2().floor() as i32).clamp(-100, -1))
}

pub(crate) fn check_scale(value: f32) -> Result<()> {
    if (f32::MIN_POSITIVE..=MOST_SCALE).contains(&value.abs()) {
        Ok(())
    } else {
        Err(Error::option(
            "scale",
            value,
            "from 1.1754944e-38 (2^-126) to 1.2676506e30 (2^100), of either sign",
        ))
    }
}

/// Logits are divided by T, and their scale is multiplied by 1/T.
pub(crate) fn check_temperature(value: f32) -> Result<()> {
    if (1.0 / MOST_SCALE..=MOST_TEMPERATURE).contains(&value) {
        Ok(())
    } else {
        Err(Error::option("temperature", value, "from 7.888609e-31 (2^-100) to 8.507059e37 (2^126)"))
    }
}

/// x/κ is multiplied by κ/T.
pub(crate) fn check_softcap(value: Option<f32>, temperature: f32) -> Result<()> {
    match value {
        Some(value) if !(f32::MIN_POSITIVE..=MOST_TEMPERATURE).contains(&value) => {
            Err(Error::option("softcap", value, "from 1.1754944e-38 (2^-126) to 8.507059e37 (2^126)"))
        }
        Some(value) if f64::from(value) > f64::from(MOST_SCALE) * f64::from(temperature) => {
            Err(Error::option("softcap", value, "at most 1.2676506e30 (2^100) times the temperature"))
        }
        _ => Ok(()),
    }
}
