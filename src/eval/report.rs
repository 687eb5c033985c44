//! What is said of a batch.

use std::time::Duration;

use crate::op::Loss;
use crate::verification::Verification;

/// What is said of a batch, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The loss: reduced and summed, the rows that count, the flags.
    pub loss: Loss,
    pub(super) mean: f64,
    /// Classes of each row.
    pub cols: usize,
    /// Rows that count whose most probable class is their target (of soft and sparse ones: their largest).
    pub correct: usize,
    /// Rows compared with the reference, if any were to be.
    pub verification: Option<Verification>,
    /// Time in which the source gave logits.
    pub reading: Duration,
    /// Time in which they passed through the device: transfers there and back, and the kernels.
    pub computing: Duration,
    /// Time in all: what the two leave is the device's buffers, the verification and the caller's own.
    pub elapsed: Duration,
}

impl Report {
    /// The mean loss in nats, as [`Reduction::Mean`](crate::Reduction::Mean) gives it, whatever the reduction: by weight
    /// where there are weights, z-loss included. NaN where no row counts.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// [`mean`](Self::mean) in bits.
    pub fn bits(&self) -> f64 {
        self.mean() / std::f64::consts::LN_2
    }

    /// e to the [`mean`](Self::mean): the number of equally likely classes that is as hard to guess from. That it is only
    /// of a plain loss: smoothing, z-loss, focal loss, class weights and soft targets make it another number.
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// The share of the rows that count whose most probable class is their target; `None` where none counts.
    pub fn accuracy(&self) -> Option<f64> {
        (self.loss.counted > 0).then(|| self.correct as f64 / self.loss.counted as f64)
    }

    /// Rows left out.
    pub fn ignored(&self) -> usize {
        self.loss.rows - self.loss.counted
    }

    /// Logits (rows · cols) a second of [`elapsed`](Self::elapsed).
    pub fn logits_per_second(&self) -> f64 {
        self.loss.rows as f64 * self.cols as f64 / self.elapsed.as_secs_f64()
    }
}
