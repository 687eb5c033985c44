//! The state of a run.

use std::time::Duration;

use crate::flags::Flags;
use crate::results::{LossSum, RowResult};
use crate::verification::Verification;

/// The progress of an [`Evaluation`](super::Evaluation) and its results so far: a few numbers, whatever the batch's
/// size. With the feature `serde` it can be saved, and a later process continues from it. The sums are f64 values that
/// must come back bit for bit, NaN included, so use a format such as CBOR; JSON cannot hold NaN.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EvaluationState {
    pub(super) sum: LossSum,
    pub(super) correct: usize,
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

    /// Adds the results of the next rows. `correct` of them are right.
    pub(super) fn add(&mut self, results: &[RowResult], correct: usize) {
        results.iter().for_each(|result| self.sum.add(result));
        self.correct += correct;
    }
}
