//! A comparison in numbers: statistics of its rows.

use super::figures::{Estimate, Moments, PairedLosses};
use super::row::{ComparedRow, ComparedRows};
use crate::eval::tally::Histogram;
use crate::eval::tally::worst::{Ranked, Worst};
use crate::flags::Flags;
use crate::results::{NO_CLASS, ProductSum};

/// A comparison in numbers: paired losses, the divergence, the change of the target's probability, predictions in common,
/// and the rows that changed most. It takes less than a megabyte for any number of rows.
///
/// Every sum is exact, so neither windows nor [`merge`](Self::merge)d parts in another order change a bit. With the feature
/// `serde` it can be saved and loaded again.
///
/// A row whose divergence or losses are not finite is *bad*: it is counted, and has no part in the figures of losses, divergences
/// and probabilities. Where both models have a most probable class, that is compared there, too.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ComparisonTally {
    /// The rows of a sequence, if there are several.
    length: Option<u64>,
    rows: u64,
    left_out: u64,
    /// Rows with a NaN, and rows without one whose divergence or loss is infinite.
    nan: u64,
    infinite: u64,
    /// The first of them, and the bits of its flags.
    first_bad: Option<(u64, u32)>,
    /// Rows whose logits are equal, class by class.
    equal: u64,
    divergence: Moments,
    divergences: Histogram,
    losses: [Moments; 2],
    loss_change: Moments,
    loss_products: ProductSum,
    prob_change: Moments,
    prob_change_squares: Moments,
    prob_changes: Histogram,
    /// Rows in which both have a most probable class, and those in which it is the same.
    judged: u64,
    same_top: u64,
    /// Of the judged rows with a target: those that both, only the base, and only the other predict.
    right: [u64; 3],
    targets: u64,
    /// Classes among the largest `top_k` of both, over all judged rows.
    top_k: u64,
    overlap: u64,
    /// The largest difference of two logits, and its row.
    logit_difference: Option<(u32, u64)>,
    changed: Worst<ChangedRow>,
}

/// A row with one of the largest divergences.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ChangedRow {
    /// Its index in the batch.
    pub row: usize,
    /// KL(base ‖ other) in nats; +∞ is among them, NaN is not.
    #[cfg_attr(feature = "serde", serde(with = "crate::eval::tally::serde_bits::one"))]
    pub kl: f32,
    /// The losses of base and other, if there are targets and both are finite.
    pub losses: Option<(f32, f32)>,
    /// Its target; [`NO_CLASS`] if there is none.
    pub target: u32,
    /// The most probable classes of base and other.
    pub argmax: (u32, u32),
}

impl Ranked for ChangedRow {
    fn rank(&self) -> f32 {
        self.kl
    }

    fn row(&self) -> usize {
        self.row
    }
}

impl ComparisonTally {
    /// An empty tally that names so many of the rows with the largest divergences. `top_k` is the number of classes whose
    /// overlap was counted in each row, or 0.
    pub fn new(top_k: usize, changed_rows: usize) -> Self {
        Self {
            length: None,
            rows: 0,
            left_out: 0,
            nan: 0,
            infinite: 0,
            first_bad: None,
            equal: 0,
            divergence: Moments::default(),
            divergences: Histogram::default(),
            losses: Default::default(),
            loss_change: Moments::default(),
            loss_products: ProductSum::default(),
            prob_change: Moments::default(),
            prob_change_squares: Moments::default(),
            prob_changes: Histogram::default(),
            judged: 0,
            same_top: 0,
            right: [0; 3],
            targets: 0,
            top_k: top_k as u64,
            overlap: 0,
            logit_difference: None,
            changed: Worst::new(changed_rows),
        }
    }

    /// Takes sequences of so many rows as independent, and not the rows of one. Standard errors of means are then those of
    /// sequences, if there are several. A part that is [`merge`](Self::merge)d must begin with a sequence.
    #[must_use]
    pub fn of_sequences(mut self, length: usize) -> Self {
        self.length = Some(length.max(1) as u64);
        self.moments_mut().into_iter().for_each(Moments::of_sequences);
        self
    }

    /// Adds the rows of a window.
    pub fn add(&mut self, window: &ComparedRows<'_>) {
        for (row, result) in (window.rows.start..).zip(window.results) {
            self.add_row(row, result);
        }
    }

    fn add_row(&mut self, row: usize, result: &ComparedRow) {
        if self.length.is_some_and(|length| (row as u64).is_multiple_of(length)) {
            self.moments_mut().into_iter().for_each(Moments::end_sequence);
        }
        self.rows += 1;
        if result.is_left_out() {
            self.left_out += 1;
            return;
        }
        let difference = result.logit_difference;
        self.equal += u64::from(difference == 0.0);
        // Of equal differences, the first row's.
        if self.logit_difference.is_none_or(|(most, _)| difference > f32::from_bits(most)) {
            self.logit_difference = Some((difference.to_bits(), row as u64));
        }
        self.add_predictions(result);
        let losses = result.losses();
        let values = || [result.kl].into_iter().chain(losses.into_iter().flatten());
        let is_finite = values().all(f32::is_finite);
        self.changed.add(ChangedRow {
            row,
            kl: result.kl,
            losses: losses.filter(|_| is_finite).map(|[base, other]| (base, other)),
            target: result.target,
            argmax: (result.base_argmax, result.other_argmax),
        });
        if !is_finite {
            let is_nan = values().any(f32::is_nan);
            self.nan += u64::from(is_nan);
            self.infinite += u64::from(!is_nan);
            self.first_bad.get_or_insert((row as u64, result.flags().bits()));
            return;
        }
        self.divergence.add(result.kl.into());
        self.divergences.add(result.kl);
        if let Some(losses) = losses {
            let [base, other] = losses.map(f64::from);
            self.losses[0].add(base);
            self.losses[1].add(other);
            self.loss_change.add(other - base);
            self.loss_products.add_f64(base * other);
            let change = result.prob_change();
            self.prob_change.add(change);
            self.prob_change_squares.add(change * change);
            self.prob_changes.add(change as f32);
        }
    }

    fn moments_mut(&mut self) -> [&mut Moments; 6] {
        let Self { divergence, losses: [base, other], loss_change, prob_change, prob_change_squares, .. } =
            self;
        [divergence, base, other, loss_change, prob_change, prob_change_squares]
    }

    fn add_predictions(&mut self, result: &ComparedRow) {
        let &ComparedRow { base_argmax: base, other_argmax: other, target, overlap, .. } = result;
        if base == NO_CLASS || other == NO_CLASS {
            return;
        }
        self.judged += 1;
        self.same_top += u64::from(base == other);
        self.overlap += u64::from(overlap);
        if target != NO_CLASS {
            self.targets += 1;
            let of = [(true, true), (true, false), (false, true)];
            for (count, hits) in self.right.iter_mut().zip(of) {
                *count += u64::from((base == target, other == target) == hits);
            }
        }
    }

    /// Adds the tally of another part of the batch, made with the same options. Parts may come in any order.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.left_out += other.left_out;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.first_bad = self.first_bad.into_iter().chain(other.first_bad).min();
        self.equal += other.equal;
        self.divergence.merge(&other.divergence);
        self.divergences.merge(&other.divergences);
        self.losses.iter_mut().zip(&other.losses).for_each(|(losses, more)| losses.merge(more));
        self.loss_change.merge(&other.loss_change);
        self.loss_products.merge(&other.loss_products);
        self.prob_change.merge(&other.prob_change);
        self.prob_change_squares.merge(&other.prob_change_squares);
        self.prob_changes.merge(&other.prob_changes);
        self.judged += other.judged;
        self.same_top += other.same_top;
        self.right.iter_mut().zip(other.right).for_each(|(count, more)| *count += more);
        self.targets += other.targets;
        self.overlap += other.overlap;
        // The bits of floats that are not negative are in their order.
        let both = self.logit_difference.into_iter().chain(other.logit_difference);
        self.logit_difference = both.max_by_key(|&(most, row)| (most, std::cmp::Reverse(row)));
        self.changed.merge(&other.changed);
    }

    /// The rows of the sequences that are taken as independent; `None` if rows are.
    pub fn sequence_length(&self) -> Option<usize> {
        self.length.map(|length| length as usize)
    }

    /// How many rows were added, including those left out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many rows do not count.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How many rows have a NaN divergence or loss.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// How many rows have an infinite divergence or loss, such as where the other gives no probability to a class that the
    /// base holds possible.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// The first row that is not finite, and the flags of both models there.
    pub fn first_bad(&self) -> Option<(usize, Flags)> {
        self.first_bad.map(|(row, flags)| (row as usize, Flags::from_bits_truncate(flags)))
    }

    /// Whether both models gave equal logits in every row that counts.
    pub fn is_equal(&self) -> bool {
        self.equal == self.rows - self.left_out
    }

    /// How many rows have equal logits.
    pub fn equal_rows(&self) -> u64 {
        self.equal
    }

    /// The losses of both models; `None` without targets, or without a row whose losses are finite.
    pub fn losses(&self) -> Option<PairedLosses> {
        let [base, other] = &self.losses;
        PairedLosses::of([base, other, &self.loss_change], &self.loss_products)
    }

    /// The mean of KL(base ‖ other), in nats.
    pub fn divergence(&self) -> Option<Estimate> {
        self.divergence.mean()
    }

    /// The distribution of KL(base ‖ other) over the rows.
    pub fn divergences(&self) -> &Histogram {
        &self.divergences
    }

    /// The mean change of the target's probability: the other's minus the base's.
    pub fn prob_change(&self) -> Option<Estimate> {
        self.prob_change.mean()
    }

    /// The root of the mean square of that change.
    pub fn rms_prob_change(&self) -> Option<Estimate> {
        self.prob_change_squares.root_mean()
    }

    /// The distribution of that change over the rows.
    pub fn prob_changes(&self) -> &Histogram {
        &self.prob_changes
    }

    /// How many rows have a most probable class in both: those of [`same_top`](Self::same_top) and [`overlap`](Self::overlap).
    pub fn predicted(&self) -> u64 {
        self.judged
    }

    /// The share of rows for which both have the same most probable class, among those for which both have one.
    pub fn same_top(&self) -> Option<Estimate> {
        Estimate::of_share(self.same_top, self.judged)
    }

    /// The mean share of the largest [`top_k`](Self::top_k) classes that both have in common.
    pub fn overlap(&self) -> Option<f64> {
        let all = self.top_k * self.judged;
        (all > 0).then(|| self.overlap as f64 / all as f64)
    }

    /// How many of the largest classes were looked at in each row, or 0.
    pub fn top_k(&self) -> usize {
        self.top_k as usize
    }

    /// The accuracy of base and other: the share of rows whose most probable class is the target.
    pub fn accuracies(&self) -> Option<[Estimate; 2]> {
        let [both, base, other] = self.right;
        let of = |alone: u64| Estimate::of_share(both + alone, self.targets);
        Some([of(base)?, of(other)?])
    }

    /// The rows that only the base predicts, and those that only the other does.
    pub fn lost_and_gained(&self) -> [u64; 2] {
        [self.right[1], self.right[2]]
    }

    /// The largest difference of two logits of a class, and the first row that has it.
    pub fn logit_difference(&self) -> Option<(f32, usize)> {
        self.logit_difference.map(|(bits, row)| (f32::from_bits(bits), row as usize))
    }

    /// The rows with the largest divergences, from the largest.
    pub fn changed_rows(&self) -> &[ChangedRow] {
        self.changed.rows()
    }

    /// Whether [`add`](Self::add) can have made this tally from `rows` rows with these options. Check this first for a
    /// tally that was read from a file.
    pub fn is_sound(&self, rows: usize, top_k: usize, changed_rows: usize) -> bool {
        let parts = [self.left_out, self.nan, self.infinite, self.divergence.rows()];
        let sum = parts.iter().try_fold(0u64, |sum, &part| sum.checked_add(part));
        let scored = self.loss_change.rows();
        let of_losses = [&self.losses[0], &self.losses[1], &self.prob_change, &self.prob_change_squares];
        self.rows == rows as u64
            && self.length != Some(0)
            && sum == Some(self.rows)
            && self.first_bad.is_some() == (self.nan + self.infinite > 0)
            && self.equal <= self.rows - self.left_out
            && self.divergences.rows() == self.divergence.rows()
            && of_losses.iter().all(|of| of.rows() == scored)
            && self.prob_changes.rows() == scored
            && scored <= self.divergence.rows()
            && self.divergences.is_sound()
            && self.prob_changes.is_sound()
            && self.same_top <= self.judged
            && self.judged <= self.rows
            && self.targets <= self.judged
            && self.right.iter().try_fold(0u64, |sum, &part| sum.checked_add(part)) <= Some(self.targets)
            && self.top_k == top_k as u64
            && self.overlap <= self.top_k.saturating_mul(self.judged)
            && self.changed.is_sound(changed_rows, self.rows)
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
