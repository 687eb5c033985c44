//! The state of a run.

use std::time::Duration;

use crate::eval::misuse::Signs;
use crate::flags::Flags;
use crate::results::{LossSum, NO_CLASS, RowResult};
use crate::verification::Verification;

/// The progress of an [`Evaluation`](super::Evaluation) and its results so far: a few numbers, whatever the batch's
/// size. With the feature `serde` it can be saved, and a later process continues from it. Some are f64 values that
/// must come back bit for bit, NaN included, so use a format such as CBOR; JSON cannot hold NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EvaluationState {
    pub(super) sum: LossSum,
    /// Rows that have a class to predict and a prediction, and those of them whose prediction is right.
    pub(super) judged: usize,
    pub(super) correct: usize,
    pub(super) signs: Signs,
    pub(super) verification: Verification,
    pub(super) reading: Duration,
    pub(super) computing: Duration,
    pub(super) elapsed: Duration,
}

impl EvaluationState {
    /// How many rows are done, counted from the start of the batch.
    pub fn rows(&self) -> usize {
        self.sum.rows()
    }

    /// What was unusual in any of these rows.
    pub fn flags(&self) -> Flags {
        self.sum.flags()
    }

    /// Adds the results of the next rows, which should predict these classes.
    pub(super) fn add(&mut self, results: &[RowResult], top_classes: &[u32]) {
        for (at, result) in results.iter().enumerate() {
            self.sum.add(result);
            let class = top_classes.get(at).copied().unwrap_or(NO_CLASS);
            let is_judged = class != NO_CLASS && result.has_prediction();
            self.judged += usize::from(is_judged);
            self.correct += usize::from(is_judged && class == result.argmax);
        }
    }
}
