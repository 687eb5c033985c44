//! How far a run has come.

use std::time::Duration;

use crate::flags::Flags;
use crate::op::{LossSum, RowResult};
use crate::verification::Verification;

/// How far an [`Evaluation`](super::Evaluation) has come, and what it has found so far: a few numbers, whatever the batch's
/// size. With the feature `serde` it can be written down, and a later process goes on from it; the sums are f64s and must
/// come back bit for bit, not a number among them included, as CBOR has them and JSON has not.
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
    /// Rows that are done: the first ones of the batch.
    pub fn rows(&self) -> usize {
        self.sum.rows()
    }

    /// What was out of the ordinary in any of them.
    pub fn flags(&self) -> Flags {
        self.sum.flags()
    }

    /// Adds the next rows, of which so many are right.
    pub(super) fn add(&mut self, results: &[RowResult], correct: usize) {
        results.iter().for_each(|result| self.sum.add(result));
        self.correct += correct;
    }
}
