//! The results of a loss: one record per row, and the loss of the batch.

use std::fmt;

use crate::flags::Flags;
use crate::inputs::BatchWeight;
use crate::options::{EmptyBatch, Reducing};

/// The value in place of a class index when there is no class.
pub const NO_CLASS: u32 = u32::MAX;

/// All results that one read of a row's logits gives. A row that is left out has loss 0, lse 0 and [`NO_CLASS`]. A row
/// with a target out of range or an invalid weight has NaN, NaN and [`NO_CLASS`]. The logits of such rows are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RowResult {
    /// The row's loss, times its weight, z-loss included, in nats, not reduced.
    pub loss: f32,
    /// The z-loss part of `loss`, times the row's weight: +∞ if `lse` or the z-loss itself exceeds f32, 0 if the
    /// target's part is NaN.
    pub z_loss: f32,
    /// ln Σ exp(s), in nats, of the logits as the loss uses them: capped, then divided by the temperature. Without
    /// either, it is the value that [`LogSumExp`](crate::LogSumExp) gives.
    pub lse: f32,
    /// The most probable class, as [`Argmax`](crate::Argmax) gives it, if the call asked for it.
    pub argmax: u32,
    pub(crate) flags: u32,
}

impl RowResult {
    /// What was unusual in this row.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }

    /// Whether the row was left out: ignored, masked, of weight 0, or not scored. Valid only for results with their
    /// `argmax`.
    pub fn is_left_out(&self) -> bool {
        let Self { loss, lse, argmax, flags, .. } = *self;
        (loss.to_bits(), lse.to_bits(), argmax, flags) == (0, 0, NO_CLASS, 0)
    }

    /// Converts the kernel's record, whose loss does not include the z-loss.
    pub(crate) fn of(record: [u32; 4], row_weight: f32, z_factor: f32) -> Self {
        let [loss, lse, argmax, flags] = record;
        let (part, lse) = (f32::from_bits(loss), f32::from_bits(lse));
        let told = Flags::from_bits_truncate(flags);
        // A masked row that gives zeros also has an lse of −∞. In other rows, an lse that is not finite is beyond f32.
        let has_none = part.is_nan() || z_factor == 0.0 || told.contains(Flags::MASKED_ROW);
        let z_loss = if has_none || row_weight == 0.0 {
            0.0
        } else {
            (f64::from(row_weight) * f64::from(z_factor) * f64::from(lse).powi(2)) as f32
        };
        // A loss without z-loss keeps its bits.
        let loss = if z_loss == 0.0 { part } else { part + z_loss };
        Self { loss, z_loss, lse, argmax, flags }
    }
}

/// The loss of a batch as a bound loss such as [`CrossEntropy`](crate::CrossEntropy) writes it on the device: 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LossRecord {
    /// The reduced loss, in nats, as [`Reduction`](crate::Reduction) asks.
    pub value: f32,
    /// Σ loss of all rows, z-loss included, in nats.
    pub sum: f32,
    /// Σ weight of the rows that count: the denominator of a mean, see [`BatchWeight::weight`].
    pub weight: f32,
    /// How many rows count.
    pub counted: u32,
    flags: u32,
    first_bad_row: u32,
    /// The z-loss part of `value`: in a mean, Σ z-loss / `row_weight`.
    pub z_loss: f32,
    /// Σ row weight of the rows that count: the denominator of a mean's z-loss.
    pub row_weight: f32,
}

impl LossRecord {
    /// Bytes of the record, and so the minimum size of its buffer.
    pub const BYTES: u64 = size_of::<Self>() as u64;

    /// What was unusual in any row.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }

    /// The first row whose target is out of range, if there is one.
    pub fn first_bad_row(&self) -> Option<usize> {
        (self.first_bad_row != NO_CLASS).then_some(self.first_bad_row as usize)
    }
}

/// The loss of a batch, summed in f64 in row order.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loss {
    /// The reduced loss, in nats, as [`Reduction`](crate::Reduction) asks. If it is a mean and no row counts,
    /// [`EmptyBatch`] decides.
    pub value: f64,
    /// Σ loss of all rows, z-loss included, in nats.
    pub sum: f64,
    /// The z-loss part of `value`.
    pub z_loss: f64,
    /// Σ weight of the rows that count: the denominator of a mean, see [`BatchWeight::weight`].
    pub weight: f64,
    /// Σ row weight of the rows that count: the denominator of a mean's z-loss.
    pub row_weight: f64,
    /// Rows of the batch.
    pub rows: usize,
    /// How many rows count; the others are left out.
    pub counted: usize,
    /// What was unusual in any row.
    pub flags: Flags,
}

impl fmt::Display for Loss {
    /// Writes the value and the number of rows: `2.3026 nats over 4095 of 4096 rows`, and the flags if any are set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, counted, rows, .. } = self;
        match f.precision() {
            Some(digits) => write!(f, "{value:.digits$}")?,
            None => write!(f, "{value}")?,
        }
        write!(f, " nats over {counted} of {rows} rows")?;
        let told = self.flags.names().collect::<Vec<_>>().join(", ");
        if told.is_empty() { Ok(()) } else { write!(f, " ({told})") }
    }
}

/// Running sums of the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct LossSum {
    rows: usize,
    loss: f64,
    z_loss: f64,
    flags: Flags,
    weight: BatchWeight,
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
    pub fn add(&mut self, result: &RowResult) {
        self.loss += f64::from(result.loss);
        self.z_loss += f64::from(result.z_loss);
        self.flags |= result.flags();
        self.rows += 1;
    }

    /// Adds the weight of some of the rows.
    pub fn weigh(&mut self, weight: BatchWeight) {
        self.weight.add(weight);
    }

    /// The weight added so far.
    pub fn weight(&self) -> BatchWeight {
        self.weight
    }

    /// The same sums with this total weight.
    pub fn weighing(self, weight: BatchWeight) -> Self {
        Self { weight, ..self }
    }

    /// The reduced loss, once all rows are added.
    pub fn reduced(&self, how: Reducing) -> Loss {
        let Self { rows, loss, z_loss, mut flags, weight } = *self;
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

    #[test]
    fn a_loss_is_shown_with_its_rows_and_flags() {
        let mut loss = Loss {
            value: 2.345_678,
            sum: 4.6,
            z_loss: 0.0,
            weight: 2.0,
            row_weight: 2.0,
            rows: 3,
            counted: 2,
            flags: Flags::empty(),
        };
        assert_eq!(format!("{loss:.4}"), "2.3457 nats over 2 of 3 rows");
        loss.flags = Flags::INFINITE_LOSS | Flags::MASKED_ROW;
        assert_eq!(loss.to_string(), "2.345678 nats over 2 of 3 rows (masked_row, infinite_loss)");
    }
}
