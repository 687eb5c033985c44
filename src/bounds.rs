//! Error bounds of results, as functions of the values of the f64 [`reference`](mod@crate::reference). `verify` and
//! `verify_dlogits` check the kernels against these bounds.
//!
//! They also hold for [vocabulary shards](crate::VocabularyShard): merging rounds each sum to f32 once for each shard, which adds
//! 6e-8 of a sum for each. That of 64 shards is 4e-6, a fifth of what the bound of a probability allows.

use crate::element::Element;
use crate::inputs::{BatchWeight, SampledSoftmaxInputs};
use crate::masks::Masks;
use crate::options::{
    CrossEntropyOptions, EntmaxBackwardOptions, EntmaxOptions, Input, MaskedSoftmaxOptions, Reduction,
    SampledSoftmaxOptions, SoftmaxBackwardOptions, SoftmaxOptions,
};
use crate::reference;
use crate::reference::cross_entropy::RowScale;
use crate::reference::log_softmax_row;
use crate::shape::Shape;

/// The error bound of a row's loss, its lse or a log-probability.
pub fn loss_bound(expected: f64) -> f64 {
    5e-6 + 1e-6 * expected.abs()
}

/// The error bound of the loss of a row whose target is a class, given as logits, without label smoothing. It is relative:
/// where the class is nearly certain, such a loss is ln(1 + x), from a sum x over the other classes alone. `loss` is the
/// target's part, not multiplied by weights. [`loss_bound`] holds as well. Infinite for other rows.
///
/// It is 2e-5·loss, times 1 + γ for focal loss; rounding capped logits adds to it. The absolute part, 1e-37 and 1.2e-38
/// for each of the `cols` classes, is what f32 flushes to 0.
pub fn class_loss_bound(options: &CrossEntropyOptions, cols: usize, loss: f64) -> f64 {
    if !has_class_bounds(options) {
        return f64::INFINITY;
    }
    (1.0 + f64::from(options.focal_gamma)) * (2e-5 + softcap_rounding(options)) * loss.abs() + flushed(cols)
}

/// What a sum of the probabilities of `cols` classes may lack where each is below f32's normal numbers.
fn flushed(cols: usize) -> f64 {
    1e-37 + 1.2e-38 * cols as f64
}

/// Whether the loss and the gradient at a class target have relative bounds.
fn has_class_bounds(options: &CrossEntropyOptions) -> bool {
    options.label_smoothing == 0.0 && options.input == Input::Logits
}

/// The error bound of a probability. Its absolute part is tiny, so that a wrong zero cannot pass: of 128k classes most
/// have a probability below 1e-6.
pub fn prob_bound(expected: f64) -> f64 {
    2e-5 * expected + 1e-37
}

/// The error bounds of the probabilities of row `at` (cols,) of a scaled, masked batch: [`prob_bound`], plus the shift
/// from rounding the scores to f32.
///
/// A score s = scale·x + mask has an error of at most δ = 6e-8·(|scale·x| + |s|), which changes its exponential by the
/// factor e^±δ. The probability then lies between `p·e^−δ / Σ p·e^δ` and `p·e^δ / Σ p·e^−δ`. For small δ the relative
/// error is δ + Σ p·δ.
///
/// The bound is NaN, which no value meets, where the reference is NaN because a mask lacks values or an option is
/// invalid.
pub fn masked_prob_bounds<E: Element>(
    row: &[E],
    at: usize,
    masks: Masks<'_>,
    options: &MaskedSoftmaxOptions,
) -> Vec<f64> {
    let scores = reference::masked_scores_row(row, at, masks, options);
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // From scores and not from probabilities, which may underflow where the shift still makes a difference.
    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    let shift = |at: usize| 6e-8 * ((f64::from(options.scale) * row[at].to_f64()).abs() + scores[at].abs());
    let shifted = |at: usize, sign: f64| match scores[at] {
        f64::NEG_INFINITY => 0.0,
        s => (s - max + sign * shift(at)).exp() / sum,
    };
    let total = |sign| (0..row.len()).map(|at| shifted(at, sign)).sum::<f64>();
    let (least, most) = (total(-1.0), total(1.0));
    let bound = |at: usize| {
        let p = shifted(at, 0.0);
        if p == 0.0 && scores[at] == f64::NEG_INFINITY {
            return prob_bound(0.0);
        }
        let (low, high) = (shifted(at, -1.0) / most, (shifted(at, 1.0) / least).min(1.0));
        (high - p).max(p - low) + prob_bound(high)
    };
    (0..row.len()).map(bound).collect()
}

/// The error bounds of the gradient of one row (cols,), as [`SoftmaxBackward`](crate::SoftmaxBackward) computes it,
/// where s is the scale:
/// - from probabilities: `s·(2e-5·p·(|dp| + Σ p·|dp|) + 1e-37) + 1e-37`;
/// - from log-probabilities: `s·(2e-5·p·Σ |d| + 1e-6·|d| + 1e-37) + 1e-37`.
///
/// All are NaN, which no value meets, if the two rows differ in length.
pub fn softmax_backward_bounds<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    probs: &[P],
    dprobs: &[D],
    options: &SoftmaxBackwardOptions,
) -> Vec<f64> {
    if probs.len() != dprobs.len() {
        return vec![f64::NAN; probs.len()];
    }
    let scale = f64::from(options.scale).abs();
    let of = |p: P| if options.log { p.into().exp() } else { p.into().abs() };
    let pairs = || probs.iter().zip(dprobs).map(|(&p, &d)| (of(p), d.into().abs()));
    let sum: f64 = pairs().map(|(p, d): (f64, f64)| if options.log { d } else { p * d }).sum();
    let bound = |(p, d): (f64, f64)| {
        let error = if options.log { 2e-5 * p * sum + 1e-6 * d } else { 2e-5 * p * (d + sum) };
        scale * (error + 1e-37) + 1e-37
    };
    pairs().map(bound).collect()
}

/// The error bounds of the probabilities of a row (cols,), as [`Entmax`](crate::Entmax) computes them. A class's margin above
/// the threshold ([`entmax_margins_row`](reference::entmax_margins_row)) is within 1e-6 of the largest margin of the row; the
/// power of it has a relative error of 2e-5. Where the margin is further below 0, the probability is exactly 0.
///
/// For α above 2, a probability near 0 is a root of its margin, and a small error of the margin is a large one of the
/// probability. The sum by which the probabilities are divided then has such errors, too.
pub fn entmax_bounds<E: Element>(row: &[E], options: &EntmaxOptions) -> Vec<f64> {
    let margins = reference::entmax_margins_row(row, options);
    let largest = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return vec![0.0; row.len()]; // NaN, or the fill of a masked row
    }
    let power = |margin: f64| margin.max(0.0).powf(1.0 / (f64::from(options.alpha) - 1.0));
    let slack = 1e-6 * largest;
    let total = |slack: f64| margins.iter().map(|margin| power(margin + slack)).sum::<f64>();
    let (least, most) = if options.alpha > 2.0 { (total(-slack), total(slack)) } else { (1.0, 1.0) };
    let bound = |&margin: &f64| {
        let p = power(margin);
        let (low, high) = (power(margin - slack) / most, power(margin + slack) / least);
        (high - p).max(p - low) + 2e-5 * p + if high > 0.0 { 1e-37 } else { 0.0 }
    };
    margins.iter().map(bound).collect()
}

/// The error bound of a row's loss of entmax: that of any loss, [`loss_bound`].
pub fn entmax_loss_bound(expected: f64) -> f64 {
    loss_bound(expected)
}

/// The error bound of the loss of row `row` of a [`SampledSoftmax`](crate::SampledSoftmax), not multiplied by its weight:
/// [`loss_bound`] plus the shift from rounding the scores to f32, or relative to the loss, whichever is smaller. Takes the
/// arguments of [`row_loss_at`](reference::sampled_softmax::row_loss_at).
pub fn sampled_loss_bound<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
    row: usize,
) -> f64 {
    let loss = reference::sampled_softmax::row_loss_at(logits, inputs, shape, options, row);
    let shift = sampled_shift(logits, inputs, shape, options, row);
    (loss_bound(loss) + 2.0 * shift).min((2e-5 + (2.0 * shift).exp_m1()) * loss + flushed(shape.cols))
}

/// The error bounds of the gradient of row `row` (cols,) of a [`SampledSoftmax`](crate::SampledSoftmax), for an upstream
/// gradient of 1: 2e-5 of each value, and what rounding the scores to f32 adds. Takes the arguments of
/// [`row_loss_at`](reference::sampled_softmax::row_loss_at).
pub fn sampled_dlogits_bounds<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
    row: usize,
) -> Vec<f64> {
    let one = SampledSoftmaxInputs { rows: Default::default(), ..*inputs };
    let sum = SampledSoftmaxOptions { reduction: Reduction::Sum, ..*options };
    let batch = BatchWeight::default();
    let dlogits = reference::sampled_softmax::row_dlogits_at(logits, &one, shape, &sum, &batch, row);
    let shift = sampled_shift(logits, inputs, shape, options, row);
    // The own class's is the sum of the others, each of which may be flushed.
    let (relative, least) = (2e-5 + (2.0 * shift).exp_m1(), 1e-37 / f64::from(options.temperature));
    let bound = |(at, dx): (usize, &f64)| {
        let flushed = if at == 0 { flushed(shape.cols) / f64::from(options.temperature) } else { least };
        relative * dx.abs() + flushed + 1e-37
    };
    dlogits.iter().enumerate().map(bound).collect()
}

/// The most that rounding to f32 shifts a score of a row, in units of the scores: 6e-8 of T·ln c and of T·z, over T.
fn sampled_shift<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
    row: usize,
) -> f64 {
    let Some(class) = inputs.class_of(shape, options, row) else { return 0.0 };
    let negatives = inputs.negatives.of_row(shape.cols - 1, row);
    let own = inputs.target_log_counts[row];
    let scores =
        reference::sampled_softmax::row_scores(&shape.row_vec(logits, row), class, own, negatives, options);
    let log_counts = std::iter::once(own).chain(negatives.iter().map(|negative| negative.log_count));
    let shifts = scores.iter().zip(log_counts).filter(|(score, _)| score.is_finite());
    shifts.map(|(score, count)| 6e-8 * (score.abs() + f64::from(count).abs())).fold(0.0, f64::max)
}

/// The error bounds of the gradient of one row (cols,), as [`EntmaxBackward`](crate::EntmaxBackward) computes it, with `g =
/// p^(2 − α)`: `2e-5·g·(|dp| + Σ g·|dp| / Σ g) + 1e-37`. All are NaN, which no value meets, if the two rows differ in length.
pub fn entmax_backward_bounds<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    probs: &[P],
    dprobs: &[D],
    options: &EntmaxBackwardOptions,
) -> Vec<f64> {
    if probs.len() != dprobs.len() {
        return vec![f64::NAN; probs.len()];
    }
    let slope = |p: f64| if p > 0.0 { p.powf(2.0 - f64::from(options.alpha)) } else { 0.0 };
    let pairs: Vec<(f64, f64)> =
        probs.iter().zip(dprobs).map(|(&p, &d)| (slope(p.into()), d.into().abs())).collect();
    let total: f64 = pairs.iter().map(|(g, _)| g).sum();
    let mean = pairs.iter().map(|(g, d)| g * d).sum::<f64>() / total.max(f64::MIN_POSITIVE);
    pairs.iter().map(|(g, d)| 2e-5 * g * (d + mean) + if *g > 0.0 { 1e-37 } else { 0.0 }).collect()
}

/// The error that rounding a capped logit to f32 adds to a loss, in nats: up to 1.5e-7·κ/T. The loss's own error bound
/// covers the first 4.5e-6 (κ = 30, T = 1).
pub fn softcap_rounding(options: &CrossEntropyOptions) -> f64 {
    let softcap = options.softcap.map_or(0.0, f64::from);
    1.5e-7 * (softcap / f64::from(options.temperature) - 30.0).max(0.0)
}

/// The error bound of a row's gradient at a class, as a function of the class's probability p and its share t of the
/// target's mass. `shares` are all shares of the row (see [`row_shares`](crate::reference::cross_entropy::row_shares)).
/// `scale` holds the factors of the row's loss and of its z-loss. `lse` is the row's ln Σ exp as the loss uses it
/// ([`RowLoss::lse`](crate::reference::cross_entropy::RowLoss::lse)).
///
/// With S = Σ t the gradient is `p·S − t`, scaled. Each of the two terms has its own relative error; that of p is
/// [`prob_bound`]. The bound is NaN, which no value meets, if an option is outside its range.
pub fn gradient_bound(
    options: &CrossEntropyOptions,
    scale: RowScale,
    shares: &[f64],
    lse: f64,
) -> impl Fn(f64, f64) -> f64 + use<> {
    let GradientScale { loss, z_mass, capped } = GradientScale::new(options, scale, lse);
    let mass = shares.iter().fold(0.0, |sum: f64, share| sum + share.abs());
    let focus = 1.0 + f64::from(options.focal_gamma);
    move |p, share| {
        let p = prob_bound(if p.is_finite() { p } else { 0.0 });
        focus * loss * (1e-6 * share.abs() + mass * p) + z_mass * p + capped * (loss * mass + z_mass) + 1e-37
    }
}

/// The error bound of a row's gradient at its target, if that is a class, given as logits, without label smoothing. It is
/// relative, because the gradient there is −share·(1 − p), scaled. It is a function of the class's probability p and of
/// 1 − p, which has its own digits: the sum of the probabilities of the other classes, of `cols` in all. `share` is the
/// class's share of the target's mass; the other arguments are those of [`gradient_bound`], which holds as well. Infinite
/// for other rows.
pub fn class_gradient_bound(
    options: &CrossEntropyOptions,
    cols: usize,
    scale: RowScale,
    share: f64,
    lse: f64,
) -> impl Fn(f64, f64) -> f64 + use<> {
    let GradientScale { loss, z_mass, capped } = GradientScale::new(options, scale, lse);
    let focus = 1.0 + f64::from(options.focal_gamma);
    let has_bounds = has_class_bounds(options);
    move |p, rest| {
        if !has_bounds || !p.is_finite() {
            return f64::INFINITY;
        }
        let of_loss = focus * loss * share.abs() * ((2e-5 + capped) * rest + flushed(cols));
        of_loss + z_mass * (prob_bound(p) + capped) + 1e-37
    }
}

/// The factors of the terms of a row's gradient, without signs.
struct GradientScale {
    loss: f64,
    /// Of the z-loss, times the derivative by which a probability enters.
    z_mass: f64,
    /// What the slope of a cap adds to the errors.
    capped: f64,
}

impl GradientScale {
    fn new(options: &CrossEntropyOptions, scale: RowScale, lse: f64) -> Self {
        let slope = if options.check().is_ok() { 1.0 / f64::from(options.temperature) } else { f64::NAN };
        let (loss, z_loss) = (scale.loss.abs() * slope, scale.z_loss.abs() * slope);
        let lse = if lse.is_finite() { lse.abs() } else { 0.0 };
        // Beyond f32 the z-loss has no part in the gradient.
        let z_mass = 2.0 * z_loss * f64::from(options.z_loss) * lse;
        let z_mass = if (z_mass as f32).is_finite() { z_mass } else { 0.0 };
        let capped = if options.softcap.is_some() { 1e-6 + softcap_rounding(options) } else { 0.0 };
        Self { loss, z_mass, capped }
    }
}

/// The error bound of the divergence `kl` (before weight and T²) of one row (cols,) of student and teacher logits at a
/// temperature. It is the bound of a loss, plus the effect of rounding each exponential's argument, 2.5e-7 of that
/// argument. The second part matters only if the student's logits are 1e8 or more apart.
pub fn kl_divergence_bound<E: Element>(student: &[E], teacher: &[E], temperature: f32, kl: f64) -> f64 {
    let options = SoftmaxOptions { temperature, ..Default::default() };
    let (log_p, log_q) = (log_softmax_row(student, &options), log_softmax_row(teacher, &options));
    let highest = log_q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rounded: f64 = log_p
        .iter()
        .zip(&log_q)
        .map(|(log_p, log_q)| log_q.exp() * (highest - log_q) * (log_q - log_p).abs())
        .filter(|term| term.is_finite())
        .sum();
    loss_bound(kl) + 2.5e-7 * rounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::Verification;

    fn passes(actual: f64, expected: f64, bound: f64) -> bool {
        let mut verification = Verification::new();
        verification.compare(0, actual, expected, bound);
        verification.passed
    }

    #[test]
    fn bounds_leave_no_room_for_a_zero() {
        assert!(!passes(0.0, 1e-9, prob_bound(1e-9)));
        let bound = gradient_bound(&Default::default(), RowScale::ONE, &[1.0, 0.0], 0.0);
        assert!(!passes(0.0, 1e-9, bound(1e-9, 0.0)));
        assert!(!passes(0.0, -0.9, bound(0.1, 1.0)));
        assert!(!passes(0.0, 1e-3, loss_bound(1e-3)));
        let of_class = class_gradient_bound(&Default::default(), 4, RowScale::ONE, 1.0, 0.0);
        assert!(!passes(-2.61e-8, -2.63e-8, of_class(1.0, 2.63e-8)));
        assert!(!passes(0.0, 2.3e-7, class_loss_bound(&Default::default(), 4, 2.3e-7)));
        let smoothed = CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() };
        assert_eq!(class_loss_bound(&smoothed, 4, 1.0), f64::INFINITY);
    }

    #[test]
    fn a_flushed_probability_is_within_a_scaled_bound() {
        let scale = RowScale { loss: 65_536.0, z_loss: 65_536.0 };
        let bound = gradient_bound(&Default::default(), scale, &[1.0, 0.0], 0.0);
        assert!(passes(0.0, 65_536.0 * 1.1e-38, bound(1.1e-38, 0.0)));
        assert!(!passes(0.0, 65_536.0 * 1e-35, bound(1e-35, 0.0)));
    }
}
