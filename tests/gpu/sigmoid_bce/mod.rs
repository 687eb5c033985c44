//! Multi-label binary cross-entropy against the reference: what it brings to the harness of losses.

mod accuracy;
mod inputs;
mod layouts;
mod misuse;
mod requests;
mod special;

use xent::bounds::loss_bound;
use xent::reference::sigmoid_bce as reference;
use xent::{
    Bound, Context, Element, EmptyBatch, Flags, LossOp, LossOutputs, Reduction, Request, Result,
    RowInputBuffers, Shape, SigmoidBceBuffers, SigmoidBceInputs, SigmoidBceOptions, Tuning, Verification,
};

use crate::losses::{self, ALIGNED, Buffers, ExpectedRow, Given, Loss, Run, forward_calls};
use crate::typed::To;

type Case<E> = losses::Case<SigmoidBceOptions, E>;
const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const MEAN: SigmoidBceOptions =
    SigmoidBceOptions { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan };
const SUM: SigmoidBceOptions = SigmoidBceOptions { reduction: Reduction::Sum, ..MEAN };
const BOUND: Run = Run::Bound(ALIGNED, To::Element);
const IN_PLACE: Run = Run::Bound(ALIGNED, To::InPlace);

forward_calls!(SigmoidBceOptions);

impl Loss for SigmoidBceOptions {
    /// Targets, in f32 whatever the logits are.
    type Second<E: Element> = f32;

    const ALONE_ERROR: f64 = 1e-6;

    fn second<E: Element>(value: f32) -> f32 {
        value
    }

    fn inputs<'a, E: Element>(targets: &'a [f32], given: &'a Given) -> SigmoidBceInputs<'a> {
        SigmoidBceInputs {
            targets,
            pos_weight: given.pos_weight.as_deref(),
            class_weights: given.class_weights.as_deref(),
            rows: given.rows(),
        }
    }

    fn buffers<'a>(
        buffers: Buffers<'a>,
        rows: RowInputBuffers<'a>,
        outputs: LossOutputs<'a>,
    ) -> SigmoidBceBuffers<'a> {
        let Buffers { logits, second: targets, pos_weight, class_weights } = buffers;
        SigmoidBceBuffers { logits, targets, pos_weight, class_weights, rows, outputs }
    }

    fn reduction(&self) -> (Reduction, EmptyBatch) {
        (self.reduction, self.empty_batch)
    }

    fn with_empty_batch(self, empty_batch: EmptyBatch) -> Self {
        Self { empty_batch, ..self }
    }

    fn weight_factor(shape: Shape) -> f64 {
        shape.cols as f64
    }

    fn expected_row<E: Element>(case: &Case<E>, row: usize, weight: f64, scale: f64) -> ExpectedRow {
        let (x, t) = (case.row_logits(row), case.row_second(row));
        let Given { pos_weight, class_weights, .. } = &case.given;
        let (pos_weight, class_weights) = (pos_weight.as_deref(), class_weights.as_deref());
        let loss = weight * reference::row_loss(&x, &t, pos_weight, class_weights);
        let dlogits = reference::row_dlogits(&x, &t, pos_weight, class_weights, scale);
        let bounded = dlogits.into_iter().enumerate().map(|(class, value)| {
            let at = |weights: Option<&[f32]>| weights.map_or(1.0, |weights| f64::from(weights[class]));
            let (x, t) = (x[class].to_f64(), f64::from(t[class]));
            let positive = (at(pos_weight) * t).abs() * reference::sigmoid(-x);
            let negative = (1.0 - t).abs() * reference::sigmoid(x);
            let scale = scale.abs() * at(class_weights);
            (value, scale * 2e-5 * (positive + negative) + 1e-37 * (1.0 + scale))
        });
        let dlogits = bounded.collect();
        let is_weight = |weight: &f32| *weight >= 0.0 && weight.is_finite();
        let mut flags = Flags::empty();
        flags.set(Flags::NAN_LOGIT, x.iter().any(|x| x.to_f64().is_nan()));
        flags.set(Flags::INVALID_TARGET, !t.iter().all(|t| t.is_finite()));
        let mut weights = [pos_weight, class_weights].into_iter().flatten().flatten();
        flags.set(Flags::INVALID_WEIGHT, !weights.all(is_weight));
        ExpectedRow { loss: (loss, loss_bound(loss)), dlogits, flags }
    }

    fn reference_loss<E: Element>(case: &Case<E>) -> Option<f64> {
        reference::loss(&case.logits, case.inputs(), case.shape, &case.options).ok()
    }

    fn total_bounds(losses: &[(f64, f64)], denominator: f64) -> (f64, f64) {
        let sum: f64 = losses.iter().map(|(loss, _)| loss).sum();
        let mean = sum / denominator;
        (5e-6 * (1.0 + losses.len() as f64) + 2e-6 * sum.abs(), 5e-6 + 2e-6 * mean.abs())
    }
}

/// Numbers in 0..1, the same ones for a seed.
fn uniform(seed: u64, len: usize) -> Vec<f32> {
    let mut state: u64 = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Logits in ±scale, in a type.
fn logits<E: Element>(seed: u64, len: usize, scale: f32) -> Vec<E> {
    uniform(seed, len).iter().map(|u| E::from_f32((2.0 * u - 1.0) * scale)).collect()
}

/// Targets: 0, 1, and a third of them between.
fn labels(seed: u64, len: usize) -> Vec<f32> {
    let kinds = uniform(seed + 1_000, len);
    let soft = uniform(seed + 2_000, len);
    kinds
        .iter()
        .zip(soft)
        .map(|(kind, soft)| {
            if *kind < 0.3 {
                0.0
            } else if *kind < 0.7 {
                1.0
            } else {
                soft
            }
        })
        .collect()
}

/// Logits and targets alone.
fn plain<E: Element>(
    name: &str,
    shape: Shape,
    logits: Vec<E>,
    targets: Vec<f32>,
    options: SigmoidBceOptions,
) -> Case<E> {
    let (name, given) = (name.to_owned(), Given::default());
    Case { name, shape, labels: Vec::new(), logits, second: targets, given, options }
}

/// Random logits in ±scale, and targets. What lies between the rows is random too.
fn random<E: Element>(seed: u64, shape: Shape, scale: f32, options: SigmoidBceOptions) -> Case<E> {
    let (logits, targets) = (logits(seed, shape.len(), scale), labels(seed, shape.len()));
    plain("random", shape, logits, targets, options)
}

/// The same with everything that the loss takes; about every fifth weight is 0.
fn full<E: Element>(seed: u64, shape: Shape, scale: f32, options: SigmoidBceOptions) -> Case<E> {
    let Shape { rows, cols, .. } = shape;
    let weights = |seed, len| -> Vec<f32> {
        uniform(seed, len).iter().map(|u| if *u < 0.2 { 0.0 } else { 3.0 * u }).collect()
    };
    let given = Given {
        pos_weight: Some(weights(seed + 1, cols)),
        class_weights: Some(weights(seed + 2, cols)),
        row_weights: Some(weights(seed + 3, rows)),
        row_mask: Some(uniform(seed + 4, rows).iter().map(|u| *u > 0.2).collect()),
        upstream: Some(-2.5),
        row_upstream: Some(uniform(seed + 5, rows)),
    };
    Case { name: "full".to_owned(), given, ..random(seed, shape, scale, options) }
}
