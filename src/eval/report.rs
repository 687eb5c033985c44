//! The report on a batch.

use std::time::Duration;

use crate::eval::misuse::{Notice, Signs};
use crate::results::Loss;
use crate::verification::Verification;

/// The results of a batch, and the time that they took.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The loss: reduced and summed, with the number of rows that count and the flags.
    pub loss: Loss,
    pub(super) mean: f64,
    pub(super) signs: Signs,
    /// Classes of each row.
    pub cols: usize,
    /// Counted rows whose most probable class is their target. For soft and sparse targets, it is the class with the
    /// largest target. 0 for losses without a class to predict.
    pub correct: usize,
    /// Counted rows that have a most probable class and a target: all but those with a NaN or +∞ among their logits, and
    /// those whose logits are all −∞.
    pub judged: usize,
    /// The comparison of rows with the reference, if asked for.
    pub verification: Option<Verification>,
    /// The time that the source took to give logits.
    pub reading: Duration,
    /// The time that they took to pass through the device: transfers in both directions, and the kernels.
    pub computing: Duration,
    /// The total time. The rest is for the device's buffers, the verification and the caller's own work.
    pub elapsed: Duration,
}

impl Report {
    /// The mean loss in nats, as [`Reduction::Mean`](crate::Reduction::Mean) gives it, whatever the reduction is:
    /// weighted if there are weights, z-loss included. NaN if no row counts.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The [`mean`](Self::mean) in bits.
    pub fn bits(&self) -> f64 {
        self.mean() / std::f64::consts::LN_2
    }

    /// e to the power of the [`mean`](Self::mean): the number of equally likely classes that are as hard to guess from.
    /// This holds only for a plain cross-entropy: with smoothing, z-loss, focal loss, class weights or soft targets, or
    /// for another loss, it is a different number.
    pub fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// The share of the [`judged`](Self::judged) rows whose most probable class is their target; `None` without such
    /// rows, and for losses without a class to predict ([`KlDivergence`](crate::KlDivergence),
    /// [`SigmoidBce`](crate::SigmoidBce)).
    pub fn accuracy(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.correct as f64 / self.judged as f64)
    }

    /// What was seen in the rows that cannot be what was meant, such as logits that are probabilities already. It takes no
    /// further read of the logits: it follows from the rows' results and from the values of a few rows.
    pub fn notices(&self) -> Vec<Notice> {
        self.signs.notices()
    }

    /// How many rows were left out.
    pub fn ignored(&self) -> usize {
        self.loss.rows - self.loss.counted
    }

    /// Logits (rows · cols) per second of [`elapsed`](Self::elapsed).
    pub fn logits_per_second(&self) -> f64 {
        self.loss.rows as f64 * self.cols as f64 / self.elapsed.as_secs_f64()
    }
}
