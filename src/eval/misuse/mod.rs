//! Signs that what was passed is not what was meant.

mod notice;
mod runs;
mod same;

use crate::eval::losses::Evaluable;
use crate::flags::Flags;
use crate::results::{NO_CLASS, ProductSum, RowResult};
use crate::shape::Shape;

pub use notice::{Misuse, Notice};
pub(super) use runs::{OfSequences, Runs};
use same::Same;

/// The rows whose values are looked at, evenly spread over the batch. Everything else follows from the results.
pub(super) const LOOKED_AT: usize = 16;
/// Fewer rows than these are alike, or sum to 1, too easily by chance.
const FEWEST_PROBABILITIES: u64 = 4;
const FEWEST_ALIKE: u64 = 8;
const FEWEST_PREDICTIONS: u64 = 32;
const FEWEST_SHIFTED: u64 = 16;
/// Few tokens repeat by chance, unless there are few of them.
const FEWEST_TOKENS: usize = 16;
/// A model that always predicts a class that nearly all rows have is as good as it gets.
const MOSTLY: f64 = 0.9;
/// By this much, in nats, a shift must be better.
const BETTER: f64 = 0.5;

/// What rows have in common, of a fixed size. The order in which rows come changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Signs {
    counted: u64,
    cols: u64,
    /// The lse of the rows that count, as bits.
    lse: Same<u32>,
    /// The class that is predicted.
    prediction: Same<u32>,
    /// Rows whose prediction is their target.
    right: u64,
    judged: u64,
    positive_log_probs: u64,
    impossible: u64,
    /// The first row whose target is impossible, and that class.
    first_impossible: Option<(u64, u32)>,
    looked: Looked,
    /// Of the whole batch, however many of its rows have come: targets are known before the first logit.
    runs: Runs,
}

/// What was seen in the values of a few rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Looked {
    rows: u64,
    probabilities: u64,
    /// A hash of a row.
    hash: Same<u64>,
    /// Rows with soft or sparse targets that are no probabilities, of those with such targets.
    improper: u64,
    with_probs: u64,
    /// Rows compared with their neighbours' targets; the sums of how much larger the own loss is, and of its squares.
    shifted: u64,
    better: [(ProductSum, ProductSum); 2],
}

impl Looked {
    /// Nothing but the rows whose targets are to be probabilities, and those of them whose targets are not.
    pub fn of_targets((improper, with_probs): (u64, u64)) -> Self {
        Self { improper, with_probs, ..Self::default() }
    }

    /// By how much a sum of probabilities of this type may be off.
    pub fn rounding<E>() -> f64 {
        // One of 16 bits may be off by more.
        if size_of::<E>() == size_of::<f32>() { 1e-3 } else { 8e-3 }
    }

    /// Looks at the values of a row, whose log-probabilities are not normalised anew if `is_log`.
    pub fn at(&mut self, row: &[f64], is_log: bool, rounding: f64) {
        self.rows += 1;
        let is_share = |x: &f64| (0.0..=1.0).contains(x);
        let sum: f64 = row.iter().sum();
        let is_probabilities = row.len() > 1 && row.iter().all(is_share) && (sum - 1.0).abs() <= rounding;
        self.probabilities += u64::from(is_probabilities && !is_log);
        // FNV-1a over the bits.
        let hash = row
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, x| (hash ^ x.to_bits()).wrapping_mul(0x0100_0000_01b3));
        self.hash.add(hash);
    }

    /// Compares a row's loss with those that it would have with its neighbours' targets, before and behind it.
    pub fn shift(&mut self, own: f64, [before, behind]: [f64; 2]) {
        if [own, before, behind].iter().all(|loss| loss.is_finite()) {
            self.shifted += 1;
            for ((sum, squares), other) in self.better.iter_mut().zip([before, behind]) {
                sum.add_f64(own - other);
                squares.add_f64((own - other).powi(2));
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.probabilities += other.probabilities;
        self.hash.join(other.hash);
        self.improper += other.improper;
        self.with_probs += other.with_probs;
        self.shifted += other.shifted;
        for ((sum, squares), (more, more_squares)) in self.better.iter_mut().zip(&other.better) {
            sum.merge(more);
            squares.merge(more_squares);
        }
    }

    /// The shift, if any, at which the losses are lower by more than chance makes them.
    fn better_shift(&self) -> Option<i32> {
        let n = self.shifted as f64;
        let gain = |(sum, squares): &(ProductSum, ProductSum)| {
            let mean = sum.value() / n;
            let error = ((squares.value() / n - mean * mean).max(0.0) / n).sqrt();
            (mean > BETTER && mean > 4.0 * error).then_some(mean)
        };
        let gains = self.better.each_ref().map(gain);
        match gains {
            _ if self.shifted < FEWEST_SHIFTED => None,
            [Some(before), Some(behind)] => Some(if before > behind { -1 } else { 1 }),
            [Some(_), None] => Some(-1),
            [None, Some(_)] => Some(1),
            [None, None] => None,
        }
    }
}

impl Signs {
    /// Of no rows yet, of a batch with these runs.
    pub fn of_batch(runs: Runs) -> Self {
        Self { runs, ..Self::default() }
    }

    /// The runs of the whole batch.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Adds other rows of the same batch.
    pub fn merge(&mut self, other: &Self) {
        self.counted += other.counted;
        self.cols = self.cols.max(other.cols);
        self.lse.join(other.lse);
        self.prediction.join(other.prediction);
        self.right += other.right;
        self.judged += other.judged;
        self.positive_log_probs += other.positive_log_probs;
        self.impossible += other.impossible;
        self.first_impossible =
            [self.first_impossible, other.first_impossible].into_iter().flatten().min_by_key(|&(row, _)| row);
        self.looked.add(&other.looked);
    }

    /// Adds the results of the rows from `first` on, and what was seen in the values of some.
    pub fn add<L: Evaluable>(
        &mut self,
        op: &L,
        (shape, first): (Shape, usize),
        results: &[RowResult],
        top_classes: &[u32],
        looked: &Looked,
    ) {
        let is_log = op.takes_log_probs();
        self.cols = shape.cols as u64;
        self.looked.add(looked);
        for (at, result) in results.iter().enumerate().filter(|(_, result)| !result.is_left_out()) {
            self.counted += 1;
            let class = top_classes.get(at).copied().unwrap_or(NO_CLASS);
            self.lse.add(result.lse.to_bits());
            if result.has_prediction() {
                self.judged += 1;
                self.prediction.add(result.argmax);
                self.right += u64::from(class == result.argmax);
            }
            // The largest probability is e to the largest log-probability.
            self.positive_log_probs += u64::from(is_log && result.confidence > 1.0001);
            let infinite = Flags::INFINITE_LOSS | Flags::NAN_LOGIT | Flags::INFINITE_LOGIT;
            let is_impossible = result.loss == f32::INFINITY && result.lse.abs() < f32::INFINITY;
            if is_impossible && result.flags() & infinite == Flags::INFINITE_LOSS && class != NO_CLASS {
                self.impossible += 1;
                self.first_impossible.get_or_insert((first.saturating_add(at) as u64, class));
            }
        }
    }

    /// What was seen that cannot be meant.
    pub fn notices(&self) -> Vec<Notice> {
        let Self { counted, judged, looked, runs, .. } = *self;
        let runs = runs.ended();
        let is_uniform = looked.hash != Same::Several && self.lse != Same::Several;
        let is_nan = self.lse.one().is_some_and(|lse| f32::from_bits(lse).is_nan());
        let is_alike = is_uniform && !is_nan && counted >= FEWEST_ALIKE && looked.rows > 1 && self.cols > 1;
        let one_class = judged >= FEWEST_PREDICTIONS
            && self.prediction != Same::Several
            && (self.right as f64) < MOSTLY * judged as f64
            && self.cols > 1;
        let all_probabilities =
            looked.probabilities >= FEWEST_PROBABILITIES && looked.probabilities == looked.rows;
        let has_tokens = self.cols >= FEWEST_TOKENS as u64;
        let padded = runs.padded >= 2 && 4 * runs.padded >= runs.sequences && has_tokens;
        let masked = runs.masked_ends >= 2 && runs.masked_others == 0 && has_tokens;
        let impossible_class = self.first_impossible.map(|(_, class)| class);
        let shift = looked.better_shift();
        [
            (Misuse::ProbabilitiesAsLogits, all_probabilities, looked.probabilities, looked.rows, None),
            (Misuse::PositiveLogProbs, self.positive_log_probs > 0, self.positive_log_probs, counted, None),
            (Misuse::TargetsNotProbabilities, looked.improper > 0, looked.improper, looked.with_probs, None),
            (Misuse::IdenticalRows, is_alike, counted, counted, None),
            // Rows that are all the same predict the same.
            (Misuse::OneClassPredicted, one_class && !is_alike, self.right, judged, self.prediction.one()),
            (Misuse::ImpossibleTargets, self.impossible > 0, self.impossible, counted, impossible_class),
            (Misuse::PaddingScored, padded, runs.padded, runs.sequences, runs.class),
            (Misuse::MaskOfTokens, masked, runs.masked_ends, runs.masked_ends, runs.masked_class),
            (Misuse::ShiftedTargets, shift.is_some(), looked.shifted, looked.shifted, None),
        ]
        .into_iter()
        .filter(|&(_, is_seen, ..)| is_seen)
        .map(|(misuse, _, rows, of, class)| Notice {
            misuse,
            rows: rows as usize,
            of: of as usize,
            class,
            shift: shift.unwrap_or(0),
        })
        .collect()
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests;
