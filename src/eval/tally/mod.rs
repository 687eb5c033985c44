//! The batch in numbers: statistics of the results of its rows.

mod bad;
mod classes;
mod histogram;
mod options;
mod positions;
mod ranks;
mod reliability;
mod rows;
mod sequences;
#[cfg(feature = "serde")]
pub(super) mod serde_bits;
mod spread;
pub(super) mod worst;

use crate::eval::evaluated::Evaluated;
use crate::flags::Flags;
use crate::results::{ExactSum, NO_CLASS};

pub use bad::MAX_LISTED_BAD_ROWS;
pub use classes::{ClassFigures, MAX_CONFUSED_CLASSES, MAX_TALLIED_CLASSES};
pub use histogram::{EqualBins, Histogram, Quantile};
pub use options::TallyOptions;
pub use positions::Positions;
pub use ranks::MAX_TALLIED_RANK;
pub use reliability::{EqualMass, RELIABILITY_BINS, Reliability, ReliabilityBin};
pub use rows::TallyRows;
pub use sequences::SequenceTotal;
pub use worst::WorstRow;

use bad::BadRows;
use classes::Classes;
use ranks::Ranks;
use sequences::{Open, SequenceSums};
use spread::Spread;
use worst::Worst;

/// The batch in numbers: the distribution of the row losses, their mean with its standard error, accuracy and
/// calibration, ranks, the worst rows, each class and each sequence. It takes less than two megabytes for any number of
/// rows and classes. Row losses are those of [`RowResult::loss`](crate::RowResult::loss): in nats, times the rows' weights, not reduced.
///
/// Every sum is exact: an addend is a row's f32 or an f64 made from it in one step, and no addition rounds. So the split
/// into windows does not change a bit, nor does a split over machines whose tallies are [`merge`](Self::merge)d. With the
/// feature `serde` a tally can be saved and loaded again, bit for bit in any format.
///
/// Figures that need a [readout](crate::RowFields) of the rows are there if the loss was asked for it: confidence for the
/// calibration, rank for the ranks, entropy and Brier score for their means.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tally {
    rows: u64,
    /// The rows of the whole batch, if they are known.
    end: u64,
    left_out: u64,
    nan: u64,
    infinite: u64,
    bad: u64,
    bad_rows: BadRows,
    losses: Histogram,
    positions: Positions,
    by_rows: Spread,
    by_sequences: SequenceSums,
    /// Rows that have a class to predict and a prediction, and those whose prediction is right.
    judged: u64,
    correct: u64,
    reliability: Reliability,
    ranks: Ranks,
    entropy: Mean,
    brier: Mean,
    worst: Worst,
    classes: Classes,
}

/// The mean of finite f32 values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Mean {
    rows: u64,
    sum: ExactSum,
}

impl Mean {
    #[inline]
    fn add(&mut self, value: f32) {
        if value.is_finite() {
            self.rows += 1;
            self.sum.add(value);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum.merge(&other.sum);
    }

    fn value(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.sum.value() / self.rows as f64)
    }
}

impl Tally {
    /// An empty tally.
    pub fn new(options: &TallyOptions) -> Self {
        Self {
            rows: 0,
            end: options.rows as u64,
            left_out: 0,
            nan: 0,
            infinite: 0,
            bad: 0,
            bad_rows: BadRows::default(),
            losses: Histogram::default(),
            positions: Positions::new(options.sequence_length),
            by_rows: Spread::default(),
            by_sequences: SequenceSums::default(),
            judged: 0,
            correct: 0,
            reliability: Reliability::new(options.reliability_bins),
            ranks: Ranks::default(),
            entropy: Mean::default(),
            brier: Mean::default(),
            worst: Worst::new(options.worst_rows),
            classes: Classes::new(options.classes),
        }
    }

    /// Adds the rows of a window.
    pub fn add(&mut self, window: &Evaluated<'_>) {
        self.add_rows(&window.into(), |_| {});
    }

    /// Adds rows, and passes each sequence that is complete with them to `complete`. A sequence may have begun in rows
    /// that were added before.
    pub fn add_rows(&mut self, rows: &TallyRows<'_>, mut complete: impl FnMut(SequenceTotal)) {
        let (count, mut done) = (rows.results.len(), 0);
        while done < count {
            let row = rows.first.saturating_add(done);
            let (sequence, start, end) = self.place(row, rows.sequence_ends);
            let many = (end - row).clamp(1, count - done);
            let mut open = Open::new(end - start);
            for at in 0..many {
                let place = Place { row: row.saturating_add(at), sequence, position: row - start + at };
                self.add_row(place, rows, done + at, &mut open);
            }
            // Sequences of one row are its rows.
            if rows.sequence_ends.is_some() || self.positions.length() > 1 {
                open.pass(many);
                self.by_sequences.add(sequence, open).into_iter().for_each(&mut complete);
            }
            done += many;
        }
    }

    /// The sequence of a row, its first row, and the row after its last.
    fn place(&self, row: usize, ends: Option<&[usize]>) -> (usize, usize, usize) {
        let Some(ends) = ends else {
            let length = self.positions.length();
            let start = row - row % length;
            let end = start.saturating_add(length).min(usize::try_from(self.end).unwrap_or(usize::MAX));
            return (row / length, start, end.max(row.saturating_add(1)));
        };
        let sequence = ends.partition_point(|&end| end <= row);
        let start = sequence.checked_sub(1).map_or(0, |before| ends[before]);
        (sequence, start, ends.get(sequence).copied().unwrap_or(usize::MAX))
    }

    /// Adds one of these rows.
    #[inline]
    fn add_row(&mut self, place: Place, rows: &TallyRows<'_>, at: usize, open: &mut Open) {
        let Place { row, sequence, position } = place;
        let result = &rows.results[at];
        self.rows += 1;
        if result.is_left_out() {
            self.left_out += 1;
            return;
        }
        let loss = result.loss;
        let weight = rows.weights.and_then(|weights| weights.get(at)).copied();
        let target = rows.top_classes.get(at).copied().unwrap_or(NO_CLASS);
        open.add(loss, weight);
        if loss.is_nan() {
            self.nan += 1;
        } else if loss.is_infinite() {
            self.infinite += 1;
        } else {
            self.losses.add(loss);
            self.positions.add(position, loss);
            match weight {
                None => self.by_rows.add(loss),
                Some(weight) => self.by_rows.add_weighted(loss.into(), weight),
            }
        }
        if !loss.is_finite() || result.flags().intersects(BAD) {
            self.bad += 1;
            self.bad_rows.add(row as u64, result.flags().bits());
        }
        self.worst.add(WorstRow { row, sequence, position, loss, target });
        self.entropy.add(result.entropy);
        self.brier.add(result.brier);
        if target == NO_CLASS || !result.has_prediction() {
            return;
        }
        let is_correct = target == result.argmax;
        self.judged += 1;
        self.correct += u64::from(is_correct);
        self.reliability.add(result.confidence, is_correct);
        self.ranks.add(result.rank);
        self.classes.add(target, result.argmax, loss);
    }

    /// Adds the tally of another part of the batch, made with the same options. Parts may come in any order. A sequence
    /// that lies in several parts is one sequence.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.left_out += other.left_out;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.bad += other.bad;
        self.bad_rows.merge(&other.bad_rows);
        self.losses.merge(&other.losses);
        self.positions.merge(&other.positions);
        self.by_rows.merge(&other.by_rows);
        self.by_sequences.merge(&other.by_sequences);
        self.judged += other.judged;
        self.correct += other.correct;
        self.reliability.merge(&other.reliability);
        self.ranks.merge(&other.ranks);
        self.entropy.merge(&other.entropy);
        self.brier.merge(&other.brier);
        self.worst.merge(&other.worst);
        self.classes.merge(&other.classes);
    }

    /// How many rows were added, including those left out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many rows were left out: ignored, masked, of weight 0, not scored.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How many rows have a NaN loss.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// How many rows have an infinite loss.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// How many rows are bad: their loss is NaN or infinite, or their flags report an invalid logit, target or weight.
    /// A row of only −∞ is bad if its loss is NaN, but not if its loss is zero by choice.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// The first bad row, and its flags.
    pub fn first_bad(&self) -> Option<(usize, Flags)> {
        self.bad_rows().next()
    }

    /// The first bad rows, at most [`MAX_LISTED_BAD_ROWS`], and their flags.
    pub fn bad_rows(&self) -> impl Iterator<Item = (usize, Flags)> {
        self.bad_rows.rows()
    }

    /// The distribution of the finite losses.
    pub fn losses(&self) -> &Histogram {
        &self.losses
    }

    /// The finite losses by position in a sequence.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The mean of the rows with a finite loss: Σ loss / Σ weight; NaN without such rows. If every loss is finite, it is
    /// the mean of the batch.
    pub fn finite_mean(&self) -> f64 {
        let (rows, sum) = self.positions.all();
        if rows == 0 { f64::NAN } else { sum.value() / self.by_rows.weight() }
    }

    /// The standard error of [`finite_mean`](Self::finite_mean) if the rows are independent: the square root of
    /// n/(n − 1) · Σ (ℓ − m·w)² / (Σ w)², with the losses ℓ (times their weights w) and their mean m. `None` with fewer
    /// than two rows.
    pub fn standard_error(&self) -> Option<f64> {
        self.by_rows.standard_error(self.positions.all().1.value())
    }

    /// The standard error of [`finite_mean`](Self::finite_mean) if the sequences are independent but the rows of one are
    /// not, as in text: the same formula with ℓ and w summed over each sequence, and n sequences. `None` with fewer than
    /// two sequences that have a finite loss.
    pub fn sequence_standard_error(&self) -> Option<f64> {
        self.by_sequences.standard_error(self.positions.all().1.value())
    }

    /// The sequences that are not complete: the last one if the batch ends within it, and those at either end of a part
    /// of a batch.
    pub fn open_sequences(&self) -> impl Iterator<Item = SequenceTotal> {
        self.by_sequences.open()
    }

    /// The share of the rows whose most probable class is their target (with soft and sparse targets, the class of the
    /// largest probability), among those that have both; `None` if there are none.
    pub fn accuracy(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.correct as f64 / self.judged as f64)
    }

    /// The confidence of the predictions, and how often they are right. Needs
    /// [`CONFIDENCE`](crate::RowFields::CONFIDENCE).
    pub fn reliability(&self) -> &Reliability {
        &self.reliability
    }

    /// The share of the rows whose target is among the k most probable classes, for k in 1..=1024. Needs
    /// [`RANK`](crate::RowFields::RANK).
    pub fn top_k_accuracy(&self, k: usize) -> Option<f64> {
        self.ranks.top_k_accuracy(k)
    }

    /// The mean rank of the target, from 1. Needs [`RANK`](crate::RowFields::RANK).
    pub fn mean_rank(&self) -> Option<f64> {
        self.ranks.mean()
    }

    /// The mean of 1/rank. Needs [`RANK`](crate::RowFields::RANK).
    pub fn mean_reciprocal_rank(&self) -> Option<f64> {
        self.ranks.mean_reciprocal()
    }

    /// The mean entropy, in nats. Needs [`ENTROPY`](crate::RowFields::ENTROPY).
    pub fn mean_entropy(&self) -> Option<f64> {
        self.entropy.value()
    }

    /// The mean Brier score. Needs [`BRIER`](crate::RowFields::BRIER).
    pub fn mean_brier(&self) -> Option<f64> {
        self.brier.value()
    }

    /// The rows with the largest losses, from the largest.
    pub fn worst_rows(&self) -> &[WorstRow] {
        self.worst.rows()
    }

    /// The figures of each class; none if there are more than 4,096, or the loss has no classes.
    pub fn class_figures(&self) -> impl Iterator<Item = ClassFigures> {
        self.classes.figures()
    }

    /// How many rows with each target have each prediction (classes, classes), target by prediction; empty if there are
    /// more than 512 classes, or the loss has none.
    pub fn confusion(&self) -> Vec<u64> {
        self.classes.confusion()
    }

    /// Whether [`add`](Self::add) can have made this tally from `rows` rows with these options. Check this first for a
    /// tally that was read from a file.
    pub fn is_sound(&self, rows: usize, options: &TallyOptions) -> bool {
        let parts = [self.left_out, self.nan, self.infinite, self.losses.rows()];
        let sum = parts.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
        self.rows == rows as u64
            && self.end == options.rows as u64
            && sum == Some(self.rows)
            && self.bad <= self.rows
            && self.bad_rows.is_sound(self.bad)
            && self.correct <= self.judged
            && self.judged <= self.rows
            && self.losses.is_sound()
            && self.positions.is_sound(options.sequence_length, self.losses.rows())
            && self.by_rows.is_sound()
            && self.by_sequences.is_sound()
            && self.reliability.is_sound(options.reliability_bins)
            && self.ranks.is_sound()
            && self.worst.is_sound(options.worst_rows, self.rows)
            && self.classes.is_sound(options.classes)
    }
}

/// Where a row is: its index in the batch, its sequence, and its position there.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    sequence: usize,
    position: usize,
}

/// The flags that make a row bad, besides its loss.
const BAD: Flags = Flags::NAN_LOGIT
    .union(Flags::INFINITE_LOGIT)
    .union(Flags::TARGET_OUT_OF_RANGE)
    .union(Flags::INFINITE_LOSS)
    .union(Flags::NAN_LOSS)
    .union(Flags::INVALID_WEIGHT)
    .union(Flags::INVALID_TARGET);

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
