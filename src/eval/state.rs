//! The state of a run.

use std::ops::Range;
use std::time::Duration;

use crate::eval::merge::Piece;
use crate::eval::misuse::Signs;
use crate::eval::report::Report;
use crate::flags::Flags;
use crate::inputs::BatchWeight;
use crate::options::{EmptyBatch, Reducing, Reduction};
use crate::results::{LossSum, NO_CLASS, RowResult};
use crate::verification::Verification;

/// The progress of an [`Evaluation`](super::Evaluation) and its results so far: a few numbers, whatever the batch's
/// size. With the feature `serde` it can be saved, and a later process continues from it. Some are f64 values that
/// must come back bit for bit, NaN included, so use a format such as CBOR; JSON cannot hold NaN.
///
/// The states of parts of a batch ([`Evaluation::restrict`](super::Evaluation::restrict)) [`merge`](Self::merge) to that of
/// the whole.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EvaluationState {
    pub(super) batch: Batch,
    /// The first row of the run.
    pub(super) first: usize,
    /// The rows of a state that several were merged into, unless they are the whole batch.
    pub(super) merged: Vec<Piece>,
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

/// What the parts of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Batch {
    pub rows: usize,
    pub cols: usize,
    /// The total weight of all rows.
    pub weight: BatchWeight,
    pub how: Reducing,
    /// Whether rows are compared with the reference.
    pub is_verified: bool,
}

impl Default for Batch {
    fn default() -> Self {
        let how = Reducing { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan, z_loss: 0.0 };
        Self { rows: 0, cols: 0, weight: BatchWeight::default(), how, is_verified: false }
    }
}

impl EvaluationState {
    /// How many rows are done.
    pub fn rows(&self) -> usize {
        self.sum.rows()
    }

    /// The rows that are done, in order: one range, or several after a [`merge`](Self::merge).
    pub fn row_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.pieces().into_iter().map(|piece| piece.rows)
    }

    /// What was unusual in any of these rows.
    pub fn flags(&self) -> Flags {
        self.sum.flags()
    }

    /// Whether all rows of the batch are done.
    pub fn is_whole(&self) -> bool {
        self.rows() == self.batch.rows
    }

    /// The report on the rows that are done.
    pub fn report(&self) -> Report {
        let Batch { cols, weight, how, is_verified, .. } = self.batch;
        let sum = if self.is_whole() { self.sum.weighing(weight) } else { self.sum };
        let mean = Reducing { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan, ..how };
        Report {
            loss: sum.reduced(how),
            mean: sum.reduced(mean).value,
            cols,
            correct: self.correct,
            judged: self.judged,
            signs: self.signs,
            verification: is_verified.then_some(self.verification),
            reading: self.reading,
            computing: self.computing,
            elapsed: self.elapsed,
        }
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
