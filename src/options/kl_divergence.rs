//! The options of the KL divergence.

use crate::error::{Error, Result};
use crate::options::{EmptyBatch, MaskedRow, Reducing, Reduction, check_temperature};

/// Options of [`KlDivergence`](crate::KlDivergence). Weights and masks are data: see
/// [`KlDivergenceInputs`](crate::KlDivergenceInputs).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlDivergenceOptions {
    /// T: both softmaxes are those of logits / T. From 2^-100 (7.9e-31) to 2^126 (8.5e37). Default: 1.
    pub temperature: f32,
    /// Multiplies loss and gradient by T², so that the gradient keeps about the same size at any temperature (Hinton,
    /// Vinyals, Dean 2015, arXiv:1503.02531, section 2). T² and 1/T² must then be normal numbers. Default: false.
    pub scale_by_t_squared: bool,
    /// How row divergences become one loss. `dlogits` is the gradient of that loss. [`Reduction::Mean`] divides by Σ
    /// row weight of the rows that count: this is PyTorch's `batchmean`, not its `mean`, which also divides by the
    /// number of classes. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// The result of rows in which every logit of the student or of the teacher is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// The mean when no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
}

impl Default for KlDivergenceOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            scale_by_t_squared: false,
            reduction: Reduction::Mean,
            masked_row: MaskedRow::Nan,
            empty_batch: EmptyBatch::Nan,
        }
    }
}

impl KlDivergenceOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        self.reduction.check()?;
        check_temperature(self.temperature)?;
        let inverse = 1.0 / self.temperature;
        let squares = [self.temperature * self.temperature, inverse * inverse];
        if self.scale_by_t_squared && !squares.iter().all(|square| square.is_normal()) {
            let needed = "such that T² and 1/T² are normal numbers, because it scales the loss";
            return Err(Error::option("temperature", self.temperature, needed));
        }
        Ok(())
    }

    /// The factor of a row's divergence: T², or 1.
    pub(crate) fn loss_scale(&self) -> f64 {
        if self.scale_by_t_squared { f64::from(self.temperature).powi(2) } else { 1.0 }
    }

    /// How rows become one loss.
    pub(crate) fn reducing(&self) -> Reducing {
        Reducing { reduction: self.reduction, empty_batch: self.empty_batch, z_loss: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_squared_temperature_is_a_normal_number() {
        type Options = KlDivergenceOptions;
        for (temperature, scale_by_t_squared, ok) in [
            (1e-20, false, true),
            (1e-20, true, false),
            (1e20, true, false),
            (0.1, true, true),
            (0.0, true, false),
        ] {
            let options = Options { temperature, scale_by_t_squared, ..Options::default() };
            assert_eq!(options.check().is_ok(), ok, "{options:?}");
        }
        assert!(Options { reduction: Reduction::MeanOver(0.0), ..Options::default() }.check().is_err());
    }
}
