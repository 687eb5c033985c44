//! KL(teacher ‖ student) against the reference: what it brings to the harness of losses.

mod accuracy;
mod inputs;
mod layouts;
mod misuse;
mod requests;
mod special;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xent::bounds::{kl_divergence_bound, prob_bound};
use xent::reference::{kl_divergence as reference, softmax_row};
use xent::{
    Bound, Context, Element, EmptyBatch, Flags, KlDivergenceBuffers, KlDivergenceInputs, KlDivergenceOptions,
    LossOp, LossOutputs, MaskedRow, Reduction, Request, Result, RowInputBuffers, Shape, SoftmaxOptions,
    Tuning, Verification,
};

use crate::losses::{self, Buffers, ExpectedRow, Given, Loss, forward_calls};

type Options = KlDivergenceOptions;
type Case<E> = losses::Case<Options, E>;
type Rows = Vec<losses::Row>;
const INF: f32 = f32::INFINITY;

forward_calls!(KlDivergenceOptions);

impl Loss for KlDivergenceOptions {
    /// The teacher's logits.
    type Second<E: Element> = E;

    const ALONE_ERROR: f64 = 0.0;

    fn second<E: Element>(value: f32) -> E {
        E::from_f32(value)
    }

    fn inputs<'a, E: Element>(teacher: &'a [E], given: &'a Given) -> KlDivergenceInputs<'a, E> {
        KlDivergenceInputs::new(teacher).rows(given.rows())
    }

    fn buffers<'a>(
        buffers: Buffers<'a>,
        rows: RowInputBuffers<'a>,
        outputs: LossOutputs<'a>,
    ) -> KlDivergenceBuffers<'a> {
        KlDivergenceBuffers { rows, outputs, ..KlDivergenceBuffers::new(buffers.logits, buffers.second) }
    }

    fn reduction(&self) -> (Reduction, EmptyBatch) {
        (self.reduction, self.empty_batch)
    }

    fn with_empty_batch(self, empty_batch: EmptyBatch) -> Self {
        Self { empty_batch, ..self }
    }

    fn weight_factor(_: Shape) -> f64 {
        1.0
    }

    fn expected_row<E: Element>(case: &Case<E>, row: usize, weight: f64, scale: f64) -> ExpectedRow {
        let options = &case.options;
        let temperature = f64::from(options.temperature);
        let t_squared = if options.scale_by_t_squared { temperature.powi(2) } else { 1.0 };
        let (x, b) = (case.row_logits(row), case.row_second(row));
        let kl = reference::row_loss(&x, &b, options);
        let bound = kl_divergence_bound(&x, &b, options.temperature, kl / t_squared) * t_squared;
        let softmax = SoftmaxOptions { temperature: options.temperature, ..Default::default() };
        let (p, q) = (softmax_row(&x, &softmax), softmax_row(&b, &softmax));
        let dlogits = reference::row_dlogits(&x, &b, options, scale);
        let scale = scale.abs() * t_squared / temperature;
        let bound_at = |class: usize| scale * (prob_bound(p[class]) + prob_bound(q[class])) + 1e-37;
        let bounded = dlogits.into_iter().enumerate().map(|(class, value)| {
            let bound = if scale == 0.0 { 0.0 } else { bound_at(class) };
            (value, bound)
        });
        let dlogits = bounded.collect();
        ExpectedRow { loss: (weight * kl, weight * bound), dlogits, flags: flags_of(&x, &b, options) }
    }

    fn reference_loss<E: Element>(case: &Case<E>) -> Option<f64> {
        reference::loss(&case.logits, case.inputs(), case.shape, &case.options).ok()
    }

    fn total_bounds(losses: &[(f64, f64)], denominator: f64) -> (f64, f64) {
        let of_row = |&(loss, bound): &(f64, f64)| bound + 1e-6 * loss.abs();
        let bound: f64 = losses.iter().map(of_row).sum();
        (bound, bound / denominator)
    }
}

/// What a row's logits are told by.
fn flags_of<E: Element>(student: &[E], teacher: &[E], options: &Options) -> Flags {
    let both = || student.iter().chain(teacher).map(|value| value.to_f64());
    let is_masked = |row: &[E]| row.iter().all(|value| value.to_f64() == f64::NEG_INFINITY);
    if both().any(f64::is_nan) {
        Flags::NAN_LOGIT | Flags::NAN_LOSS
    } else if both().any(|value| value == f64::INFINITY) {
        Flags::INFINITE_LOGIT | Flags::NAN_LOSS
    } else if is_masked(student) || is_masked(teacher) {
        let is_nan = options.masked_row == MaskedRow::Nan;
        Flags::MASKED_ROW | if is_nan { Flags::NAN_LOSS } else { Flags::empty() }
    } else {
        Flags::empty()
    }
}

fn noise(seed: u64, len: usize, spread: f32) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| (0..4).map(|_| rng.random_range(-spread..spread)).sum()).collect()
}

fn noise_rows(seed: u64, rows: usize, cols: usize) -> Rows {
    let row = |row: usize| {
        let seed = seed * 1000 + 2 * row as u64;
        (format!("noise {row}"), noise(seed, cols, 3.0), noise(seed + 1, cols, 3.0))
    };
    (0..rows).map(row).collect()
}
