//! The options of the operations: plain structs with defaults, shared by the kernels and the reference.

use crate::error::{Error, Result};

/// How row losses become one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Reduction {
    /// Σ loss / Σ weight over the rows that count. NaN where no row counts, as in PyTorch.
    #[default]
    Mean,
    /// Σ loss.
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

/// Options of [`Softmax`](crate::Softmax).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoftmaxOptions {
    /// Rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
}

/// Options of [`CrossEntropy`](crate::CrossEntropy).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyOptions {
    /// A row with this target is left out: loss and gradient exactly zero, not counted in the mean, its logits not
    /// read. Compared as i32. Default: −100, as in PyTorch.
    pub ignore_index: i32,
    /// How row losses become one loss, of which `dlogits` is the gradient. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// Rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        Self { ignore_index: -100, reduction: Reduction::Mean, masked_row: MaskedRow::Nan }
    }
}

impl CrossEntropyOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        match self.reduction {
            // A denormal one may be zero on the device, where zero stands for the batch's own weight.
            Reduction::MeanOver(value) if !(value.is_normal() && value > 0.0) => Err(Error::InvalidOption {
                option: "reduction: MeanOver",
                value: f64::from(value),
                needed: "a normal number above zero",
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denominators_are_normal_and_above_zero() {
        let with =
            |value| CrossEntropyOptions { reduction: Reduction::MeanOver(value), ..Default::default() };
        for bad in [0.0, -1.0, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE / 2.0] {
            assert!(matches!(with(bad).check(), Err(Error::InvalidOption { .. })), "{bad}");
        }
        assert_eq!(with(3.5).check(), Ok(()));
    }
}
