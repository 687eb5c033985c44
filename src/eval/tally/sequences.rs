//! The totals of each sequence.

use std::collections::BTreeMap;

use super::spread::Spread;
use crate::results::{ExactSum, ProductSum};

/// The total of a sequence: the rows of one document, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SequenceTotal {
    /// Its index in the batch.
    pub sequence: usize,
    /// Its rows, those that are left out included.
    pub length: usize,
    /// Its rows that count and have a finite loss.
    pub scored: u64,
    /// Its rows that count and have a loss that is NaN or infinite. They are not in the sums.
    pub not_finite: u64,
    /// Σ loss, times the rows' weights: minus the log-probability of what is scored, if the loss is a plain
    /// cross-entropy without weights.
    pub loss: f64,
    /// Σ weight of the rows in `loss`.
    pub weight: f64,
}

impl SequenceTotal {
    /// The mean loss; NaN if nothing is scored. e to this power is the perplexity.
    pub fn mean(&self) -> f64 {
        self.loss / self.weight
    }
}

/// Sums over sequences, and the sequences that are not complete: those at either end of a part of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct SequenceSums {
    complete: Spread,
    open: BTreeMap<usize, Open>,
}

/// The rows of a sequence that have come.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Open {
    /// Rows of the whole sequence, and those of them that have come.
    length: usize,
    rows: usize,
    scored: u64,
    not_finite: u64,
    loss: ExactSum,
    /// Σ weight of the rows whose weight is not 1, and their number.
    weight: ProductSum,
    weighted: u64,
}

impl Open {
    /// Of a sequence of this many rows.
    pub fn new(length: usize) -> Self {
        Self { length, ..Self::default() }
    }

    /// Adds this many rows that are left out, or have been added with [`add`](Self::add).
    pub fn pass(&mut self, rows: usize) {
        self.rows += rows;
    }

    #[inline]
    pub fn add(&mut self, loss: f32, weight: Option<f64>) {
        if !loss.is_finite() {
            self.not_finite += 1;
            return;
        }
        self.scored += 1;
        self.loss.add(loss);
        if let Some(weight) = weight {
            self.weighted += 1;
            self.weight.add_f64(weight);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.scored += other.scored;
        self.not_finite += other.not_finite;
        self.loss.merge(&other.loss);
        self.weight.merge(&other.weight);
        self.weighted += other.weighted;
    }

    fn total(&self, sequence: usize) -> SequenceTotal {
        let &Self { rows, scored, not_finite, ref loss, ref weight, weighted, .. } = self;
        let weight = (scored - weighted) as f64 + weight.value();
        SequenceTotal { sequence, length: rows, scored, not_finite, loss: loss.value(), weight }
    }

    /// Adds the sequence to the sums over sequences, unless nothing is scored in it.
    fn add_to(&self, sums: &mut Spread) {
        if self.scored > 0 {
            let total = self.total(0);
            sums.add_weighted(total.loss, total.weight);
        }
    }

    fn is_sound(&self) -> bool {
        self.weighted <= self.scored
            && self.rows <= self.length
            && self.scored.checked_add(self.not_finite).is_some_and(|rows| rows <= self.rows as u64)
    }
}

impl SequenceSums {
    /// Adds rows of a sequence. Returns its total if all its rows have come.
    pub fn add(&mut self, sequence: usize, rows: Open) -> Option<SequenceTotal> {
        let open = match self.open.remove(&sequence) {
            Some(mut open) => {
                open.merge(&rows);
                open
            }
            None => rows,
        };
        if open.rows < open.length {
            self.open.insert(sequence, open);
            return None;
        }
        open.add_to(&mut self.complete);
        Some(open.total(sequence))
    }

    pub fn merge(&mut self, other: &Self) {
        self.complete.merge(&other.complete);
        for (&sequence, open) in &other.open {
            self.add(sequence, open.clone());
        }
    }

    /// The sequences that are not complete, such as a last one that is cut short.
    pub fn open(&self) -> impl Iterator<Item = SequenceTotal> {
        self.open.iter().map(|(&sequence, open)| open.total(sequence))
    }

    /// The standard error of a mean over all sequences, whose losses add up to this.
    pub fn standard_error(&self, sum: f64) -> Option<f64> {
        let mut all = self.complete.clone();
        self.open.values().for_each(|open| open.add_to(&mut all));
        all.standard_error(sum)
    }

    pub fn is_sound(&self) -> bool {
        self.complete.is_sound() && self.open.values().all(Open::is_sound)
    }
}
