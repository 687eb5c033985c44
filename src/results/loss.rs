//! The loss of a batch, on the device and on the host.

use std::fmt;

use crate::flags::Flags;
use crate::results::NO_CLASS;

/// The loss of a batch as a bound loss such as [`CrossEntropy`](crate::CrossEntropy) writes it on the device: 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LossRecord {
    /// The reduced loss, in nats, as [`Reduction`](crate::Reduction) asks.
    pub value: f32,
    /// Σ loss of all rows, z-loss included, in nats.
    pub sum: f32,
    /// Σ weight of the rows that count: the denominator of a mean, see [`BatchWeight::weight`](crate::BatchWeight::weight).
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
    /// [`EmptyBatch`](crate::EmptyBatch) decides.
    pub value: f64,
    /// Σ loss of all rows, z-loss included, in nats.
    pub sum: f64,
    /// The z-loss part of `value`.
    pub z_loss: f64,
    /// Σ weight of the rows that count: the denominator of a mean, see [`BatchWeight::weight`](crate::BatchWeight::weight).
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
