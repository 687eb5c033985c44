//! What InfoNCE gives.

use crate::flags::Flags;
use crate::results::Loss;

/// An InfoNCE loss, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InfoNceLoss {
    /// The mean of the two losses below.
    pub value: f64,
    /// Each row against its columns, such as an image against the texts.
    pub rows: Loss,
    /// Each column against its rows, such as a text against the images.
    pub columns: Loss,
}

impl InfoNceLoss {
    pub(crate) fn new(rows: Loss, columns: Loss) -> Self {
        Self { value: 0.5 * (rows.value + columns.value), rows, columns }
    }

    /// What was unusual in any row or column.
    pub fn flags(&self) -> Flags {
        self.rows.flags | self.columns.flags
    }
}

/// An InfoNCE loss as a bound [`InfoNce`](crate::InfoNce) writes it on the device, in nats: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct InfoNceRecord {
    /// The mean of the two losses below.
    pub value: f32,
    /// The mean loss of the rows against the columns.
    pub rows: f32,
    /// The mean loss of the columns against the rows.
    pub columns: f32,
    flags: u32,
}

impl InfoNceRecord {
    /// Bytes of the record, and so the minimum size of its buffer.
    pub const BYTES: u64 = size_of::<Self>() as u64;

    /// What was unusual in any row or column.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }
}

/// The gradient of an InfoNCE loss.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InfoNceGradients<T> {
    /// dL/dS, with respect to the similarities (N, N).
    pub dsimilarities: Vec<T>,
    /// dL/ds, with respect to the logarithm s of the scale 1/T, which is −ln T: Σ dL/dS · S over the matrix.
    pub dlog_scale: f64,
}

impl InfoNceGradients<f64> {
    /// The gradient with respect to similarities S, and with respect to s by way of it.
    pub(crate) fn new(dsimilarities: Vec<f64>, similarities: impl Iterator<Item = f64>) -> Self {
        let pairs = dsimilarities.iter().zip(similarities);
        Self { dlog_scale: pairs.map(|(&ds, s)| log_scale_term(ds, s)).sum(), dsimilarities }
    }
}

/// The part that one similarity has in dL/ds. A gradient of 0 removes it, even where the similarity is −∞.
pub(crate) fn log_scale_term(dsimilarity: f64, similarity: f64) -> f64 {
    if dsimilarity == 0.0 { 0.0 } else { dsimilarity * similarity }
}
