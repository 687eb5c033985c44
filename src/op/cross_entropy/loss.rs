//! What comes out of a cross-entropy: a record a row, and the loss of the batch.

use crate::flags::Flags;
use crate::options::Reduction;

/// In the place of a class index where there is none.
pub const NO_CLASS: u32 = u32::MAX;

/// All that one read of a row's logits tells. An ignored row has loss 0, lse 0 and [`NO_CLASS`],
/// one with a target out of range NaN, NaN and [`NO_CLASS`]: their logits are not read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RowResult {
    /// The row's loss, in nats, not reduced.
    pub loss: f32,
    /// ln Σ exp(logits), in nats, as [`LogSumExp`](crate::LogSumExp) gives it.
    pub lse: f32,
    /// The most probable class, as [`Argmax`](crate::Argmax) gives it, where the call asked for it.
    pub argmax: u32,
    pub(crate) flags: u32,
}

impl RowResult {
    /// What was out of the ordinary in this row.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }
}

/// The loss of a batch as a bound [`CrossEntropy`](crate::CrossEntropy) leaves it on the device: 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LossRecord {
    /// The reduced loss, in nats: what [`Reduction`] asks for.
    pub value: f32,
    /// Σ loss of all rows, in nats.
    pub sum: f32,
    /// Σ weight of the rows that count: a mean's denominator.
    pub weight: f32,
    /// The rows that count.
    pub counted: u32,
    flags: u32,
    first_bad_row: u32,
    reserved: [u32; 2],
}

impl LossRecord {
    /// Bytes of the record: the least size of the buffer that takes it.
    pub const BYTES: u64 = size_of::<Self>() as u64;

    /// What was out of the ordinary in any row.
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
    /// The reduced loss, in nats: what [`Reduction`] asks for. NaN where a mean counts no row.
    pub value: f64,
    /// Σ loss of all rows, in nats.
    pub sum: f64,
    /// Σ weight of the rows that count: a mean's denominator.
    pub weight: f64,
    /// Rows of the batch.
    pub rows: usize,
    /// The rows that count; the others are ignored.
    pub counted: usize,
    /// What was out of the ordinary in any row.
    pub flags: Flags,
}

impl Loss {
    /// The loss of no row yet.
    pub(crate) fn empty() -> Self {
        Self { value: 0.0, sum: 0.0, weight: 0.0, rows: 0, counted: 0, flags: Flags::empty() }
    }

    /// Adds rows in their order.
    pub(crate) fn add(&mut self, results: &[RowResult], counted: usize) {
        for result in results {
            self.sum += f64::from(result.loss);
            self.flags |= result.flags();
        }
        self.rows += results.len();
        self.counted += counted;
        self.weight += counted as f64;
    }

    /// The reduced loss, once all rows are in.
    pub(crate) fn reduced(mut self, reduction: Reduction) -> Self {
        self.flags.set(Flags::NO_ROW_COUNTS, self.counted == 0);
        self.value = self.sum / reduction.denominator(self.weight);
        self
    }
}
