//! The options of a divergence.

use crate::error::{Error, Result};
use crate::options::{EmptyBatch, MaskedRow, Reducing, Reduction, check_temperature};

/// Options of [`KlDivergence`](crate::KlDivergence). Weights and masks are data: see
/// [`KlDivergenceInputs`](crate::KlDivergenceInputs).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlDivergenceOptions {
    /// T: both softmaxes are of logits / T. From 2^-100 (7.9e-31) to 2^126 (8.5e37). Default: 1.
    pub temperature: f32,
    /// Multiplies loss and gradient by T², so that the gradient's size stays about the same whatever the temperature
    /// (Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2). T² must then be a normal number too. Default: false.
    pub scale_by_t_squared: bool,
    /// How row divergences become one loss, of which `dlogits` is the gradient. [`Reduction::Mean`] divides by Σ row
    /// weight of the rows that count: PyTorch's `batchmean`, and not its `mean`, which divides by the classes too.
    /// Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// Rows in which every logit of student or teacher is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// The mean of a batch in which no row counts. Default: [`EmptyBatch::Nan`].
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
            let needed = "such that T² and 1/T² are normal numbers, where it scales the loss";
            return Err(Error::option("temperature", self.temperature, needed));
        }
        Ok(())
    }

    /// What a row's divergence is multiplied by: T², or 1.
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
