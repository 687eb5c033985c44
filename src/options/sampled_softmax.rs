//! The options of sampled softmax.

use crate::error::{Error, Result};
use crate::options::{CrossEntropyOptions, EmptyBatch, MaskedRow, Reducing, Reduction};

/// Options of [`SampledSoftmax`](crate::SampledSoftmax). Targets, negatives and weights are data: see
/// [`SampledSoftmaxInputs`](crate::SampledSoftmaxInputs).
///
/// More fields may come: end a literal with `..SampledSoftmaxOptions::new(classes)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampledSoftmaxOptions {
    /// How many classes there are in all. Targets and negatives are in 0..classes. From 1 to 2^31.
    pub classes: usize,
    /// T: the scores are x / T − ln(count). From 2^-100 (7.9e-31) to 2^80 (1.2e24). Default: 1.
    pub temperature: f32,
    /// A row with this target is left out, as in a [`CrossEntropy`](crate::CrossEntropy). Default: −100.
    pub ignore_index: i32,
    /// How row losses become one loss. `dlogits` is the gradient of that loss. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// The result of rows in which every score is −∞. Default: [`MaskedRow::Nan`].
    pub masked_row: MaskedRow,
    /// The mean when no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
}

/// 2^80. Times the largest logarithm of a count, it is below half a unit in the last place of f32's largest number, so that
/// no finite logit exceeds f32.
const MOST_TEMPERATURE: f32 = (1u128 << 80) as f32;

impl SampledSoftmaxOptions {
    /// The defaults, for so many classes in all.
    pub fn new(classes: usize) -> Self {
        let CrossEntropyOptions { temperature, ignore_index, reduction, masked_row, empty_batch, .. } =
            CrossEntropyOptions::default();
        Self { classes, temperature, ignore_index, reduction, masked_row, empty_batch }
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_classes(self.classes)?;
        self.of_targets().check()?;
        if self.temperature > MOST_TEMPERATURE {
            return Err(Error::option(
                "temperature",
                self.temperature,
                "from 7.888609e-31 (2^-100) to 1.2089258e24 (2^80)",
            ));
        }
        Ok(())
    }

    /// A cross-entropy that takes its targets, rows and means in the same way.
    pub(crate) fn of_targets(&self) -> CrossEntropyOptions {
        let Self { classes: _, temperature, ignore_index, reduction, masked_row, empty_batch } = *self;
        CrossEntropyOptions {
            temperature,
            ignore_index,
            reduction,
            masked_row,
            empty_batch,
            ..CrossEntropyOptions::default()
        }
    }

    /// How rows become one loss.
    pub(crate) fn reducing(&self) -> Reducing {
        self.of_targets().reducing()
    }
}

/// Refuses a number of classes whose indices the device cannot hold in an i32.
pub(crate) fn check_classes(classes: usize) -> Result<()> {
    if (1..=1 << 31).contains(&(classes as u64)) {
        Ok(())
    } else {
        Err(Error::option("classes", classes as f64, "from 1 to 2147483648 (2^31)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |temperature| SampledSoftmaxOptions { temperature, ..SampledSoftmaxOptions::new(7) }.check();
        for temperature in [1.0, MOST_TEMPERATURE, 1.0 / (1u128 << 100) as f32] {
            assert_eq!(of(temperature), Ok(()), "{temperature}");
        }
        for temperature in [0.0, -1.0, 2.0 * MOST_TEMPERATURE, f32::NAN, f32::INFINITY] {
            let error = of(temperature);
            assert!(
                matches!(error, Err(Error::InvalidOption { option: "temperature", .. })),
                "{temperature}"
            );
        }
        for classes in [0, (1 << 31) + 1] {
            let error = SampledSoftmaxOptions::new(classes).check();
            assert!(matches!(error, Err(Error::InvalidOption { option: "classes", .. })), "{classes}");
        }
    }
}
