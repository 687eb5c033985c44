//! The sums of a batch's rows, before the reduction.

use crate::flags::Flags;
use crate::inputs::BatchWeight;
use crate::options::{EmptyBatch, Reducing};
use crate::results::{ExactSum, Loss, RowResult};

/// What the rows of a batch, or of a part of it, add up to: the loss before its reduction. A stream's sums so far are its
/// [`sum`](crate::LossStream::sum). The sums of parts [`combine`](Self::combine) to those of the whole, whose loss
/// [`LossOp::loss_of`](crate::LossOp::loss_of) gives.
///
/// The row losses are added without rounding, so their sum does not depend on how the rows were split.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LossSum {
    rows: usize,
    loss: Addends,
    z_loss: Addends,
    flags: Flags,
    weight: BatchWeight,
}

/// An exact sum of f32, some of which may not be finite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Addends {
    finite: ExactSum,
    /// The sum of the addends that are not finite; 0 if there are none.
    special: f32,
}

impl Addends {
    #[inline]
    fn add(&mut self, value: f32) {
        if value.is_finite() {
            self.finite.add(value);
        } else {
            self.add_special(value);
        }
    }

    /// Adds what is not finite. There is one NaN, so that the order of the addends changes no bit.
    fn add_special(&mut self, value: f32) {
        let sum = self.special + value;
        self.special = if sum.is_nan() { f32::NAN } else { sum };
    }

    fn merge(&mut self, other: &Self) {
        self.finite.merge(&other.finite);
        self.add_special(other.special);
    }

    fn value(&self) -> f64 {
        if self.special == 0.0 { self.finite.value() } else { self.special.into() }
    }
}

impl LossSum {
    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What was unusual in any row so far.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Adds the next row.
    #[inline]
    pub(crate) fn add(&mut self, result: &RowResult) {
        self.loss.add(result.loss);
        if result.z_loss != 0.0 {
            self.z_loss.add(result.z_loss);
        }
        self.flags |= result.flags();
        self.rows += 1;
    }

    /// Adds the sums of other rows. The losses are added without rounding, in any order; weights are added in f64, so
    /// that weights with many digits should be combined in row order.
    #[must_use]
    pub fn combine(&self, other: &Self) -> Self {
        let mut both = *self;
        both.weight.add(other.weight);
        both.loss.merge(&other.loss);
        both.z_loss.merge(&other.z_loss);
        both.rows += other.rows;
        both.flags |= other.flags;
        both
    }

    /// Adds the weight of some of the rows.
    pub(crate) fn weigh(&mut self, weight: BatchWeight) {
        self.weight.add(weight);
    }

    /// The weight added so far.
    pub fn weight(&self) -> BatchWeight {
        self.weight
    }

    /// The same sums with this total weight.
    pub(crate) fn weighing(self, weight: BatchWeight) -> Self {
        Self { weight, ..self }
    }

    /// The reduced loss of the rows that are added.
    pub(crate) fn reduced(&self, how: Reducing) -> Loss {
        let Self { rows, mut flags, weight, .. } = *self;
        let (loss, z_loss) = (self.loss.value(), self.z_loss.value());
        let is_empty = weight.is_empty_mean(how.reduction);
        flags.set(Flags::NO_ROW_COUNTS, weight.counted == 0 || is_empty);
        let denominator = |weight| how.reduction.denominator(weight);
        let (value, reduced_z_loss) = if !is_empty {
            let z = if z_loss == 0.0 { 0.0 } else { z_loss / denominator(weight.row_weight) };
            let data = if z_loss == 0.0 || loss.is_infinite() { loss } else { loss - z_loss };
            (data / denominator(weight.weight) + z, z)
        } else if how.empty_batch == EmptyBatch::Zero && !flags.contains(Flags::NAN_LOSS) {
            (0.0, 0.0)
        } else {
            (f64::NAN, f64::NAN)
        };
        let has_nan = flags.contains(Flags::NAN_LOSS) && how.z_loss > 0.0;
        let reduced_z_loss = if has_nan { f64::NAN } else { reduced_z_loss };
        flags.set(Flags::NAN_LOSS, flags.contains(Flags::NAN_LOSS) || loss.is_nan());
        let BatchWeight { weight, row_weight, counted } = weight;
        Loss { value, sum: loss, z_loss: reduced_z_loss, weight, row_weight, rows, counted, flags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::CrossEntropyOptions;

    #[test]
    fn parts_combine_to_the_whole() {
        let rows = [0.5, 2.25, f32::INFINITY, 8.0].map(|loss| RowResult { loss, ..Default::default() });
        let sum = |rows: &[RowResult]| {
            let mut sum = LossSum::default();
            rows.iter().for_each(|row| sum.add(row));
            sum.weigh(BatchWeight {
                weight: rows.len() as f64,
                row_weight: rows.len() as f64,
                counted: rows.len(),
            });
            sum
        };
        let mean = CrossEntropyOptions::default().reducing();
        for cut in 0..=rows.len() {
            let both = sum(&rows[..cut]).combine(&sum(&rows[cut..]));
            assert_eq!(both, sum(&rows), "cut at {cut}");
        }
        assert_eq!(sum(&rows[..2]).reduced(mean).value, 1.375);
        assert_eq!(sum(&rows).reduced(mean).value, f64::INFINITY);
    }
}
