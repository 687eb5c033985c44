//! The options of entmax, forward and backward, and of its loss.

use crate::error::{Error, Result};
use crate::options::{CrossEntropyOptions, EmptyBatch, MaskedRow, Reducing, Reduction, Sequences};

/// Options of [`Entmax`](crate::Entmax).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntmaxOptions {
    /// α: the larger, the fewer classes have a probability above 0. From 1.0625 to 3. 2 is sparsemax; towards 1, entmax
    /// becomes softmax. The threshold is found fastest for 1.5 and 2. Default: 1.5.
    pub alpha: f32,
    /// The result of rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
}

impl Default for EntmaxOptions {
    fn default() -> Self {
        Self { alpha: 1.5, masked_row: MaskedRow::Nan }
    }
}

impl EntmaxOptions {
    /// Sparsemax: α = 2.
    pub const fn sparsemax() -> Self {
        Self { alpha: 2.0, masked_row: MaskedRow::Nan }
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_alpha(self.alpha)
    }
}

/// Options of [`EntmaxBackward`](crate::EntmaxBackward).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntmaxBackwardOptions {
    /// α of the entmax that gave the probabilities: see [`EntmaxOptions::alpha`]. Default: 1.5.
    pub alpha: f32,
}

impl Default for EntmaxBackwardOptions {
    fn default() -> Self {
        Self { alpha: 1.5 }
    }
}

impl EntmaxBackwardOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_alpha(self.alpha)
    }
}

/// Options of [`EntmaxLoss`](crate::EntmaxLoss). Weights and targets are data: see
/// [`CrossEntropyInputs`](crate::CrossEntropyInputs).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntmaxLossOptions {
    /// α of the entmax whose loss this is: see [`EntmaxOptions::alpha`]. Default: 1.5.
    pub alpha: f32,
    /// A row with this target is left out, as in a [`CrossEntropy`](crate::CrossEntropy). Default: −100.
    pub ignore_index: i32,
    /// How row losses become one loss. `dlogits` is the gradient of that loss. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// The result of rows in which every logit is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// The mean when no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
    /// Treats rows as positions of sequences, with targets shifted ahead of their logits. Default: none.
    pub sequences: Option<Sequences>,
}

impl Default for EntmaxLossOptions {
    fn default() -> Self {
        let CrossEntropyOptions { ignore_index, reduction, masked_row, empty_batch, sequences, .. } =
            CrossEntropyOptions::default();
        Self { alpha: 1.5, ignore_index, reduction, masked_row, empty_batch, sequences }
    }
}

impl EntmaxLossOptions {
    /// The loss of sparsemax: α = 2.
    pub fn sparsemax() -> Self {
        Self { alpha: 2.0, ..Self::default() }
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_alpha(self.alpha)?;
        self.of_targets().check()
    }

    /// A cross-entropy that takes its targets, rows and means in the same way.
    pub(crate) fn of_targets(&self) -> CrossEntropyOptions {
        let Self { ignore_index, reduction, masked_row, empty_batch, sequences, .. } = *self;
        CrossEntropyOptions {
            ignore_index,
            reduction,
            masked_row,
            empty_batch,
            sequences,
            ..CrossEntropyOptions::default()
        }
    }

    /// The entmax whose loss this is.
    pub(crate) fn entmax(&self) -> EntmaxOptions {
        EntmaxOptions { alpha: self.alpha, masked_row: self.masked_row }
    }

    /// How rows become one loss.
    pub(crate) fn reducing(&self) -> Reducing {
        self.of_targets().reducing()
    }
}

/// Below this range, f32 cannot hold the exponent 1 / (α − 1) and a threshold near 1 together. Above it, the factors of the
/// gradient, p^(2 − α), exceed f32.
fn check_alpha(alpha: f32) -> Result<()> {
    if (1.0625..=3.0).contains(&alpha) {
        Ok(())
    } else {
        Err(Error::option("alpha", alpha, "from 1.0625 to 3; towards 1, entmax becomes softmax"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_has_a_range() {
        let of = |alpha| EntmaxOptions { alpha, ..Default::default() }.check();
        for alpha in [1.0625, 1.5, 2.0, 3.0] {
            assert_eq!(of(alpha), Ok(()), "{alpha}");
        }
        for alpha in [-1.0, 0.0, 1.0, 1.06, 3.0001, f32::NAN, f32::INFINITY] {
            assert!(matches!(of(alpha), Err(Error::InvalidOption { option: "alpha", .. })), "{alpha}");
        }
        assert_eq!(EntmaxOptions::sparsemax().alpha, 2.0);
    }
}
