//! Cross-entropy of rows whose targets are classes, its readouts and its gradient. The formulas are those of
//! [`reference::cross_entropy`](crate::reference::cross_entropy); here a row's sums come from vectors, and what follows
//! from them is computed in f64.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::coded::{CodedRow, Codes};
use crate::cpu::reader::Reader;
use crate::cpu::readout_sums::{Spread, Sums};
use crate::cpu::row::{Row, Stats};
use crate::cpu::simd::BLOCK;
use crate::cpu::special::{self, result_of};
use crate::element::Element;
use crate::flags::Flags;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::options::{CrossEntropyOptions, Input};
use crate::reference::RowReadouts;
use crate::reference::cross_entropy::{RowScale, counted_row_scale, row_dlogits_at};
use crate::results::RowResult;
use crate::row_fields::RowFields;
use crate::shape::Shape;

/// A batch whose inputs have been checked.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a, E> {
    pub logits: &'a [E],
    pub inputs: &'a CrossEntropyInputs<'a>,
    pub shape: Shape,
    pub options: &'a CrossEntropyOptions,
    pub weight: &'a BatchWeight,
    pub smoothing: &'a Smoothing,
    /// How many threads share a row.
    pub threads: usize,
}

/// What label smoothing needs to know of the class weights.
pub(super) struct Smoothing {
    /// Each divided by the largest, so that no product with a logit overflows. None without weights or smoothing.
    weights: Option<Vec<f32>>,
    largest: f64,
    /// Σ w.
    total: f64,
}

impl Smoothing {
    pub fn new(inputs: &CrossEntropyInputs<'_>, cols: usize, options: &CrossEntropyOptions) -> Self {
        match inputs.class_weights.filter(|_| options.label_smoothing > 0.0) {
            None => Self { weights: None, largest: 1.0, total: cols as f64 },
            Some(weights) => {
                let largest = f64::from(weights.iter().copied().fold(0.0, f32::max));
                let share = |&weight: &f32| {
                    if weight == 0.0 { 0.0 } else { (f64::from(weight) / largest) as f32 }
                };
                let total = weights.iter().map(|&weight| f64::from(weight)).sum();
                Self { weights: Some(weights.iter().map(share).collect()), largest, total }
            }
        }
    }
}

/// Rows of codes to be made values.
pub(super) struct Widened<'a, E> {
    pub codes: Codes<'a>,
    /// Of these rows alone.
    pub shape: Shape,
    /// The first of them among those of the codes.
    pub first: usize,
    /// In this shape.
    pub into: &'a mut [E],
}

impl<E: Element> WithSimd for Widened<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { codes, shape, first, into } = self;
        for (row, into) in into.chunks_mut(shape.row_stride).enumerate() {
            let CodedRow { coding, codes } = codes.row(first + row, shape.cols);
            for (into, &code) in into.iter_mut().zip(codes) {
                *into = E::from_f32(coding.value(code));
            }
        }
    }
}

/// A part of a batch, row by row.
pub(super) struct Rows<'a, E, F> {
    pub batch: Batch<'a, E>,
    pub rows: Range<usize>,
    /// The gradient of these rows, laid out by the batch's shape.
    pub dlogits: Option<&'a mut [f32]>,
    /// Takes the result of each row, counted from the first of these.
    pub each: F,
}

impl<E: Element, F: FnMut(usize, RowResult)> WithSimd for Rows<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { batch, rows, dlogits, mut each } = self;
        let mut reader =
            Reader::new((batch.logits, batch.shape), rows.clone(), batch.options.temperature, batch.threads);
        let mut dlogits = dlogits.map(|dlogits| dlogits.chunks_mut(batch.shape.row_stride));
        for (at, row) in rows.enumerate() {
            let dlogits = dlogits.as_mut().and_then(Iterator::next).map(|padded| {
                let (dlogits, padding) = padded.split_at_mut(batch.shape.cols);
                padding.fill(0.0);
                dlogits
            });
            each(at, batch.row(simd, &mut reader, row, dlogits));
        }
    }
}

/// A row's target and the factors of its loss.
struct OfTarget {
    class: usize,
    logit: f32,
    /// t_y = (x_y − m) / T.
    score: f64,
    /// ℓ_y = −ln p_y.
    nll: f64,
    /// (1 − ε)·w_y.
    own: f64,
    /// ε / C.
    smoothing: f64,
}

/// What makes probabilities of exponentials: p_j = e^t_j / z, for scores t_j = (x_j − m) / T.
#[derive(Clone, Copy)]
struct Norm {
    z: f64,
    ln_z: f64,
    /// ln Σ e^(x / T).
    lse: f64,
    /// Whether the input is log-probabilities, which are taken as they are: then z = e^−m, and p_j = e^x_j.
    is_given: bool,
}

impl Norm {
    /// Beyond this, e^m of log-probabilities, or its square, leaves f64's range or comes near its end.
    const REACH: f32 = 300.0;

    /// `None` where z cannot be held.
    #[inline(always)]
    fn new(stats: &Stats, options: &CrossEntropyOptions) -> Option<Self> {
        let log_sum = stats.log_sum();
        let lse = f64::from(stats.max) / f64::from(options.temperature) + log_sum;
        match options.input {
            Input::Logits => Some(Self { z: stats.sum_exp(), ln_z: log_sum, lse, is_given: false }),
            Input::LogProbs if stats.max.abs() > Self::REACH => None,
            Input::LogProbs => {
                let ln_z = -f64::from(stats.max);
                Some(Self { z: ln_z.exp(), ln_z, lse, is_given: true })
            }
        }
    }

    /// p_y and 1 − p_y. Of logits, the second keeps its digits where p_y is near 1.
    #[inline(always)]
    fn probs(&self, target: &OfTarget, stats: &Stats) -> [f64; 2] {
        let (is_best, exp) = (target.class == stats.best, target.score.exp());
        let prob = exp / self.z;
        let others = match self.is_given {
            true => 1.0 - prob,
            false if is_best => stats.rest / self.z,
            false => (1.0 + (stats.rest - exp)) / self.z,
        };
        [prob, others]
    }
}

impl<E: Element> Batch<'_, E> {
    /// One row: its result, and its gradient (cols,).
    #[inline(always)]
    fn row<S: Simd>(
        &self,
        simd: S,
        reader: &mut Reader<'_, E>,
        row: usize,
        dlogits: Option<&mut [f32]>,
    ) -> RowResult {
        let &Self { logits, inputs, shape, options, .. } = self;
        let class_of = |row| inputs.row_class(shape, options, row);
        let needs_sums = options.row_fields.intersects(RowFields::SWEPT);
        // A row that is left out has no use for its sums.
        let mut of_row = reader.next(simd, row, needs_sums.then_some(|row| class_of(row).unwrap_or(0)));
        let Some(class) = class_of(row) else {
            if let Some(dlogits) = dlogits {
                dlogits.fill(0.0);
            }
            return RowResult::LEFT_OUT;
        };
        let stats = match needs_sums {
            true => of_row.readout_stats(simd, class).map(|(stats, sums)| (stats, Some(sums))),
            false => of_row.stats(simd).map(|stats| (stats, None)),
        };
        let normed = stats.and_then(|(stats, sums)| Some(((stats, Norm::new(&stats, options)?), sums)));
        let Some((stats, sums)) = normed else {
            if let Some(dlogits) = dlogits {
                self.special_dlogits(row, dlogits);
            }
            return special::row_result(logits, inputs, shape, options, row);
        };
        let target = self.of_target(&of_row, &stats, class);
        if let Some(dlogits) = dlogits {
            self.dlogits(simd, &mut of_row, row, &target, &stats, dlogits);
        }
        self.result(simd, &mut of_row, row, &target, &stats, sums.as_ref())
    }

    #[inline(always)]
    fn of_target(&self, row: &Row<'_, E>, (stats, norm): &(Stats, Norm), class: usize) -> OfTarget {
        let logit = row.at(class);
        let score = (f64::from(logit) - f64::from(stats.max)) / f64::from(self.options.temperature);
        let epsilon = f64::from(self.options.label_smoothing);
        let weight = self.inputs.class_weights.map_or(1.0, |weights| f64::from(weights[class]));
        OfTarget {
            class,
            logit,
            score,
            nll: norm.ln_z - score,
            own: (1.0 - epsilon) * weight,
            smoothing: epsilon / self.shape.cols as f64,
        }
    }

    #[inline(always)]
    fn result<S: Simd>(
        &self,
        simd: S,
        of_row: &mut Row<'_, E>,
        row: usize,
        target: &OfTarget,
        (stats, norm): &(Stats, Norm),
        sums: Option<&(Spread, Sums)>,
    ) -> RowResult {
        let (options, smoothing) = (self.options, self.smoothing);
        let (temperature, lse) = (f64::from(options.temperature), norm.lse);
        let mut loss = product(target.own, target.nll);
        if target.smoothing > 0.0 && smoothing.total > 0.0 {
            // Σ w·ℓ = Σ w·ln z − Σ w·(x − m) / T.
            let below = of_row.sum_below(simd, smoothing.weights.as_deref(), stats.max) * smoothing.largest;
            loss += target.smoothing * (smoothing.total * norm.ln_z - below / temperature);
        }
        let z_loss = product(options.z_loss.into(), lse * lse);
        let weight = self.inputs.row_weight(options, row);
        let result = result_of((weight * (loss + z_loss)) as f32, Flags::empty());
        let argmax = stats.best as u32;
        let result = RowResult { z_loss: (weight * z_loss) as f32, lse: lse as f32, argmax, ..result };
        if !options.row_fields.intersects(!RowFields::default()) {
            return result;
        }
        let readouts = self.readouts(target, stats, norm, sums.unwrap_or(&(Spread::NONE, Sums::NONE)));
        result.with_readouts(&readouts, options.row_fields)
    }

    /// The readouts of [`row_readouts`](crate::reference::row_readouts). Without sums, those that need them are wrong.
    fn readouts(
        &self,
        target: &OfTarget,
        stats: &Stats,
        norm: &Norm,
        (spread, sums): &(Spread, Sums),
    ) -> RowReadouts {
        let temperature = f64::from(self.options.temperature);
        let (is_correct, z) = (target.class == stats.best, norm.z);
        let (max, logit) = (f64::from(stats.max), f64::from(target.logit));
        // The sums leave out the largest and the target.
        let apart = |value: f64| if is_correct { 0.0 } else { value };
        let [prob, error] = norm.probs(target, stats);
        let scored = apart(product(prob * z, target.score)) + sums.exp_score;
        let squares = (apart(1.0) + sums.exp_squared) / (z * z);
        RowReadouts {
            row_max: max,
            sum_exp: stats.sum_exp(),
            target_logit: logit,
            target_prob: prob,
            target_log_prob: -target.nll,
            confidence: 1.0 / z,
            is_correct,
            // Whatever is the largest is ahead of every other target.
            rank: if is_correct { 1 } else { 2 + sums.ahead },
            mass_ahead: apart((1.0 + sums.exp_ahead) / z),
            entropy: norm.ln_z * (stats.sum_exp() / z) - scored / z,
            brier: error * error + squares,
            margin: (max - f64::from(spread.second)) / temperature,
            min_logit: f64::from(spread.min),
            mean_logit: spread.small_sum * BLOCK as f64 / self.shape.cols as f64,
        }
    }

    #[inline(always)]
    fn dlogits<S: Simd>(
        &self,
        simd: S,
        of_row: &mut Row<'_, E>,
        row: usize,
        target: &OfTarget,
        (stats, norm): &(Stats, Norm),
        dlogits: &mut [f32],
    ) {
        let &Self { inputs, options, weight, smoothing, .. } = self;
        let scale = match weight.is_empty_mean(options.reduction) {
            true => RowScale::ZERO,
            false => counted_row_scale(inputs, options, weight, row),
        };
        // As the kernels do with factors that f32 cannot hold.
        if !((scale.loss as f32).is_finite() && (scale.z_loss as f32).is_finite()) {
            return dlogits.fill(f32::NAN);
        }
        let temperature = f64::from(options.temperature);
        let by_lse = scale.z_loss * product(options.z_loss.into(), 2.0 * norm.lse);
        // As in the reference: beyond f32 the z-loss has no part.
        let by_lse = if ((by_lse / temperature) as f32).is_finite() { by_lse } else { 0.0 };
        let of_smoothing = target.smoothing * smoothing.total;
        // ∂ℓ_j/∂x_k = p_k − [j = k], and −[j = k] of log-probabilities.
        let by_prob = match norm.is_given {
            true => 0.0,
            false => (scale.loss * (target.own + of_smoothing) + by_lse) / temperature,
        };
        let less = scale.loss * target.smoothing / temperature;
        let (factor, most) = ((by_prob / stats.sum_exp()) as f32, (less * smoothing.largest) as f32);
        if !(factor.is_finite() && most.is_finite()) {
            return self.special_dlogits(row, dlogits);
        }
        let weights = inputs.class_weights.filter(|_| less != 0.0);
        let even = if weights.is_some() { 0.0 } else { less as f32 };
        of_row.write_scaled_exp(simd, dlogits, stats, (factor, even));
        if let Some(weights) = weights {
            for (into, &weight) in dlogits.iter_mut().zip(weights) {
                *into -= (less * f64::from(weight)) as f32;
            }
        }
        let share = target.smoothing * inputs.class_weights.map_or(1.0, |of| f64::from(of[target.class]));
        let [prob, others] = if norm.is_given { [0.0, 1.0] } else { norm.probs(target, stats) };
        let of_loss = of_smoothing * prob - share - target.own * others;
        dlogits[target.class] = ((scale.loss * of_loss + by_lse * prob) / temperature) as f32;
    }

    /// A row of the gradient by the reference.
    fn special_dlogits(&self, row: usize, dlogits: &mut [f32]) {
        let &Self { logits, inputs, shape, options, weight, .. } = self;
        for (into, value) in
            dlogits.iter_mut().zip(row_dlogits_at(logits, *inputs, shape, options, weight, row))
        {
            *into = value as f32;
        }
    }
}

/// factor · value, where a factor of 0 removes the term: 0 · ∞ = 0.
fn product(factor: f64, value: f64) -> f64 {
    if factor == 0.0 { 0.0 } else { factor * value }
}
