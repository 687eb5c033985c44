//! Sampled softmax: the loss of a row's own class among drawn negatives, and its gradient.
//!
//! A row holds the logit of its own class, then those of its negatives. With T the temperature and c how often a class is
//! expected among the negatives, the scores are `z = x / T − ln c`, for the own class, too, and −∞ for a negative that is the own
//! class again. The loss is the cross-entropy of the scores with the own class as the target (Jean, Cho, Memisevic, Bengio 2015,
//! *On Using Very Large Target Vocabulary for Neural Machine Translation*, arXiv:1412.2007; Bengio, Senécal 2008, *Adaptive
//! Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model*).
//!
//! ```
//! use xent::{Negative, SampledSoftmaxOptions, reference::sampled_softmax};
//! # use xent::reference::sampled_softmax::{expected_count, log_uniform_prob};
//!
//! // Class 3 of 10, with negatives 0 and 7, drawn log-uniformly.
//! let log_count = |class| expected_count(log_uniform_prob(class, 10), 2).ln() as f32;
//! let negatives = [0, 7].map(|class| Negative::new(class, log_count(class as usize)));
//! let options = SampledSoftmaxOptions::new(10);
//! let loss = sampled_softmax::row_loss(&[2.0f32, 1.0, 0.5], 3, log_count(3), &negatives, &options);
//! assert!((loss - 0.432533837).abs() < 1e-6);
//! ```

use super::{cross_entropy, map_rows, reduced};
use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, MOST_LOG_COUNT, Negative, SampledSoftmaxInputs};
use crate::options::{MaskedRow, SampledSoftmaxOptions};
use crate::shape::{Shape, assert_row};

/// The probability of class k of so many in a log-uniform draw: `ln((k + 2) / (k + 1)) / ln(classes + 1)`. 0 for one that is
/// none.
pub fn log_uniform_prob(class: usize, classes: usize) -> f64 {
    if class >= classes {
        return 0.0;
    }
    (1.0 / (class as f64 + 1.0)).ln_1p() / (classes as f64 + 1.0).ln()
}

/// How often a class of this probability is expected in so many draws with replacement.
pub fn expected_count(prob: f64, draws: usize) -> f64 {
    prob * draws as f64
}

/// How often a class of this probability is expected among classes that are drawn at most once, if so many draws were needed
/// to find them: `1 − (1 − P)^tries`.
pub fn expected_unique_count(prob: f64, tries: u64) -> f64 {
    -(tries as f64 * (-prob).ln_1p()).exp_m1()
}

/// The scores (cols,) of one row, in the logits' order. NaN for a `log_count` that is outside ±1,000, and throughout for a class
/// outside 0..classes, an option outside its range, or another number of negatives than `row` has behind its first logit.
pub fn row_scores<E: Element>(
    row: &[E],
    class: u32,
    log_count: f32,
    negatives: &[Negative],
    options: &SampledSoftmaxOptions,
) -> Vec<f64> {
    if row.len() != negatives.len() + 1 || class as usize >= options.classes || options.check().is_err() {
        return vec![f64::NAN; row.len()];
    }
    let score = |x: &E, log_count: f32| {
        let is_count = log_count.abs() <= MOST_LOG_COUNT;
        let log_count = if is_count { f64::from(log_count) } else { f64::NAN };
        x.to_f64() / f64::from(options.temperature) - log_count
    };
    let of_negative = |(x, negative): (&E, &Negative)| {
        if negative.class == class { f64::NEG_INFINITY } else { score(x, negative.log_count) }
    };
    let negatives = row[1..].iter().zip(negatives).map(of_negative);
    std::iter::once(score(&row[0], log_count)).chain(negatives).collect()
}

/// A row whose scores are not all finite or −∞, or are all −∞, with what fills it.
fn special(scores: &[f64], options: &SampledSoftmaxOptions) -> Option<f64> {
    let is_bad = |score: &f64| score.is_nan() || *score == f64::INFINITY;
    if scores.iter().any(is_bad) || scores.is_empty() {
        return Some(f64::NAN);
    }
    let is_masked = scores.iter().all(|&score| score == f64::NEG_INFINITY);
    is_masked.then_some(if options.masked_row == MaskedRow::Zero { 0.0 } else { f64::NAN })
}

/// Σ exp(z − z₀) over the negatives, from the largest score as their base, with that of the own class: `(others, own)`.
fn exponentials(scores: &[f64]) -> (f64, f64) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (scores[1..].iter().map(|z| (z - max).exp()).sum(), (scores[0] - max).exp())
}

/// The loss of one row (cols,): the logits of its own class, and of its negatives.
///
/// | the row | loss |
/// | --- | --- |
/// | a NaN or +∞, but in a negative that is the own class again; what makes [`row_scores`] NaN | NaN |
/// | only −∞ | NaN, or 0 with [`MaskedRow::Zero`] |
/// | the own class's logit is −∞, another is finite | +∞ |
/// | no negatives, or all are the own class again | 0 |
pub fn row_loss<E: Element>(
    row: &[E],
    class: u32,
    log_count: f32,
    negatives: &[Negative],
    options: &SampledSoftmaxOptions,
) -> f64 {
    let scores = row_scores(row, class, log_count, negatives, options);
    if let Some(fill) = special(&scores, options) {
        return fill;
    }
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (others, own) = exponentials(&scores);
    // The first form keeps the digits of a small loss, the second those of a large one.
    if scores[0] == max { (others / own).ln_1p() } else { (others + own).ln() + (max - scores[0]) }
}

/// The gradient (cols,) of `scale` · [`row_loss`] with respect to the logits: `scale / T · (p − e₀)`, where p is the softmax of
/// the scores. NaN throughout where the loss is NaN; 0 for a row of only −∞ with [`MaskedRow::Zero`].
pub fn row_dlogits<E: Element>(
    row: &[E],
    class: u32,
    log_count: f32,
    negatives: &[Negative],
    options: &SampledSoftmaxOptions,
    scale: f64,
) -> Vec<f64> {
    let scores = row_scores(row, class, log_count, negatives, options);
    if let Some(fill) = special(&scores, options) {
        return vec![fill; row.len()];
    }
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (others, own) = exponentials(&scores);
    let factor = scale / f64::from(options.temperature) / (others + own);
    let negatives = scores[1..].iter().map(|z| factor * (z - max).exp());
    std::iter::once(-factor * others).chain(negatives).collect()
}

/// The loss of each row of (rows, cols) logits, (rows,): row weight · [`row_loss`], not reduced. Exactly 0 for a row that is
/// left out: its target is ignored, its weight is 0, or it is masked.
///
/// # Errors
/// Those of [`SampledSoftmaxInputs::check`]; [`Error::Length`](crate::Error::Length) if the length of `logits` does not match
/// `shape`.
pub fn row_losses<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
) -> Result<Vec<f64>> {
    check(logits, inputs, shape, options)?;
    let weight = |row| f64::from(inputs.rows.weight(row));
    Ok((0..shape.rows).map(|row| weight(row) * row_loss_at(logits, inputs, shape, options, row)).collect())
}

/// The reduced loss of (rows, cols) logits, summed in row order: `Σ r·loss / N`, where r is the row's weight and N is Σ r over
/// the rows that count (mean), 1 (sum) or the given denominator.
///
/// If no row counts, a mean is NaN, 0 or an error, as [`EmptyBatch`](crate::EmptyBatch) says; a sum and a mean over a given
/// denominator are 0. `upstream` and `row_upstream` do not affect a loss.
///
/// # Errors
/// Those of [`row_losses`]; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
pub fn loss<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
) -> Result<f64> {
    let batch = check(logits, inputs, shape, options)?;
    reduced(shape.rows, &batch, options.reducing(), || row_losses(logits, inputs, shape, options))
}

/// The gradient of [`loss`] with respect to the logits, times `upstream` and each row's `row_upstream`, in the layout of the
/// (rows, cols) logits, with zeros in the padding between rows. Exactly 0 for a row that is left out, and everywhere if the
/// reduction is a mean and no row counts.
///
/// # Errors
/// Those of [`row_losses`].
pub fn dlogits<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
) -> Result<Vec<f64>> {
    let batch = check(logits, inputs, shape, options)?;
    Ok(map_rows(shape, |row| row_dlogits_at(logits, inputs, shape, options, &batch, row)))
}

/// The [`row_loss`] of one row of a batch with its own inputs, not multiplied by the row's weight. If the row is left out, it is
/// 0 and its logits are not read. Takes the arguments of [`row_losses`] and does not check them again.
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_loss_at<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
    row: usize,
) -> f64 {
    assert_row(row, shape.rows);
    let Some(class) = inputs.class_of(shape, options, row) else { return 0.0 };
    let negatives = inputs.negatives.of_row(shape.cols - 1, row);
    row_loss(&shape.row_vec(logits, row), class, inputs.target_log_counts[row], negatives, options)
}

/// The [`row_dlogits`] of one row of a batch (cols,), with its own inputs: that row of [`dlogits`]. Takes the arguments of
/// [`dlogits`] and does not check them again; `batch` is the result of [`SampledSoftmaxInputs::check`].
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_dlogits_at<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
    batch: &BatchWeight,
    row: usize,
) -> Vec<f64> {
    assert_row(row, shape.rows);
    match inputs.class_of(shape, options, row) {
        Some(class) if !batch.is_empty_mean(options.reduction) => {
            let scale = row_scale_at(inputs, shape, options, batch, row);
            let negatives = inputs.negatives.of_row(shape.cols - 1, row);
            let log_count = inputs.target_log_counts[row];
            row_dlogits(&shape.row_vec(logits, row), class, log_count, negatives, options, scale)
        }
        _ => vec![0.0; shape.cols],
    }
}

/// The factor of a row's loss in its gradient: weight · upstream gradients / denominator.
pub(crate) fn row_scale_at(
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
    batch: &BatchWeight,
    row: usize,
) -> f64 {
    cross_entropy::row_scale(inputs.of_targets(), shape, &options.of_targets(), batch, row).loss
}

fn check<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
) -> Result<BatchWeight> {
    shape.check_slice("logits", logits)?;
    inputs.check(shape, options)
}

#[cfg(test)]
#[path = "sampled_softmax_tests.rs"]
mod tests;
