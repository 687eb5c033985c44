//! Parts of a batch, put together.

use std::ops::Range;

use crate::eval::state::{Batch, EvaluationState};
use crate::inputs::BatchWeight;

/// Why two states cannot be [merged](EvaluationState::merge).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Both have some rows.
    #[error("both have rows {} to {}", .rows.start, .rows.end.saturating_sub(1))]
    Overlap {
        /// The first of the rows that both have.
        rows: Range<usize>,
    },
    /// They are of different batches, or were made with different options.
    #[error("they are of different batches: {what} is {ours} in one and {theirs} in the other")]
    OtherBatch {
        /// What differs.
        what: &'static str,
        /// What the state that was to be merged into has.
        ours: String,
        /// What the other has.
        theirs: String,
    },
}

/// Rows that one run has done, and their weight.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Piece {
    pub rows: Range<usize>,
    pub weight: BatchWeight,
}

impl EvaluationState {
    /// Adds the rows of another state of the same batch. States merge in any order and any grouping: sums are exact, and what
    /// has an order follows the order of the rows. Once all rows of the batch are there, all but the times has the bits of one
    /// run over the whole batch.
    ///
    /// The order changes nothing in the state of some of the rows either. A default state has no rows and no batch.
    ///
    /// ```
    /// use xent::eval::EvaluationState;
    ///
    /// let mut whole = EvaluationState::default();
    /// whole.merge(&EvaluationState::default())?;
    /// assert_eq!(whole.rows(), 0);
    /// # Ok::<(), xent::eval::MergeError>(())
    /// ```
    ///
    /// # Errors
    /// [`MergeError`]; this state is then as it was.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if other.is_of_nothing() {
            return Ok(());
        }
        if self.is_of_nothing() {
            self.clone_from(other);
            return Ok(());
        }
        self.batch.check_same(&other.batch)?;
        if self.signs.runs() != other.signs.runs() {
            return Err(different(
                "what the targets of sequences end in",
                &self.signs.runs(),
                &other.signs.runs(),
            ));
        }
        let mut pieces = self.pieces();
        pieces.extend(other.pieces());
        pieces.sort_by_key(|piece| (piece.rows.start, piece.rows.end));
        for pair in pieces.windows(2) {
            let (before, next) = (&pair[0].rows, &pair[1].rows);
            if next.start < before.end {
                return Err(MergeError::Overlap { rows: next.start..before.end.min(next.end) });
            }
        }
        self.sum = self.sum.combine(&other.sum);
        self.judged += other.judged;
        self.correct += other.correct;
        self.signs.merge(&other.signs);
        self.verification.merge(&other.verification);
        self.reading += other.reading;
        self.computing += other.computing;
        self.elapsed += other.elapsed;
        // Weights are added in f64, so always in the order of the rows.
        let weight = match self.is_whole() {
            true => self.batch.weight,
            false => pieces.iter().fold(BatchWeight::default(), |mut sum, piece| {
                sum.add(piece.weight);
                sum
            }),
        };
        self.sum = self.sum.weighing(weight);
        (self.first, self.merged) = match self.is_whole() {
            true => (0, Vec::new()),
            false => (pieces.first().map_or(0, |piece| piece.rows.start), pieces),
        };
        if self.merged.len() == 1 {
            self.merged.clear();
        }
        Ok(())
    }

    /// Whether it is of no batch.
    fn is_of_nothing(&self) -> bool {
        self.rows() == 0 && self.batch == Batch::default()
    }

    /// Rows that runs have done, in order.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let rows = self.first..self.first + self.rows();
        match self.merged.is_empty() {
            true if rows.is_empty() => Vec::new(),
            true => vec![Piece { rows, weight: self.sum.weight() }],
            false => self.merged.clone(),
        }
    }
}

impl Batch {
    /// Refuses another batch.
    fn check_same(&self, other: &Self) -> Result<(), MergeError> {
        let (ours, theirs) = (self.weight, other.weight);
        let differs = |what, ours: f64, theirs: f64| match ours == theirs {
            true => Ok(()),
            false => Err(different(what, &ours, &theirs)),
        };
        differs("the number of rows", self.rows as f64, other.rows as f64)?;
        differs("the number of classes", self.cols as f64, other.cols as f64)?;
        differs("the number of rows that count", ours.counted as f64, theirs.counted as f64)?;
        differs("the weight of all rows", ours.weight, theirs.weight)?;
        differs("the weight of all rows without that of classes", ours.row_weight, theirs.row_weight)?;
        match (self.how == other.how, self.is_verified == other.is_verified) {
            (false, _) => Err(different("the reduction", &self.how, &other.how)),
            (_, false) => Err(different("whether rows are verified", &self.is_verified, &other.is_verified)),
            _ => Ok(()),
        }
    }
}

fn different(what: &'static str, ours: &impl std::fmt::Debug, theirs: &impl std::fmt::Debug) -> MergeError {
    MergeError::OtherBatch { what, ours: format!("{ours:?}"), theirs: format!("{theirs:?}") }
}

#[cfg(all(test, feature = "cli"))]
#[path = "merge_tests.rs"]
mod tests;
