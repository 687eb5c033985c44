//! The same without a GPU: on the reference, a row at a time on each core.

use rayon::prelude::*;

use crate::error::Result;
use crate::eval::evaluate::{EvaluateOptions, Evaluated, Evaluator, run};
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::flags::Flags;
use crate::op::{NO_CLASS, RowResult};
use crate::options::CrossEntropyOptions;
use crate::reference;
use crate::shape::Shape;

/// [`evaluate`](super::evaluate()) on the f64 [`reference`](mod@crate::reference), spread over the cores: for machines
/// on which no adapter is found. What it gives a row is rounded to f32, as a device gives it. With the feature `cli`.
///
/// # Errors
/// As [`evaluate`](super::evaluate()), as far as they are not about a device;
/// [`Error::InvalidOption`](crate::Error::InvalidOption).
pub fn evaluate_on_cpu(
    op: &CrossEntropyOptions,
    source: &mut impl Source<f32>,
    targets: &[i32],
    options: &EvaluateOptions,
    each: impl FnMut(&Evaluated<'_, f32>) -> Result<()>,
) -> Result<Report> {
    op.check()?;
    let shape = source.shape();
    let open = |counted: usize| {
        let denominator = op.reduction.denominator(counted.max(1) as f64);
        Ok(Cpu { op: *op, shape, upstream: 1.0 / denominator, results: Vec::new() })
    };
    run(open, op, source, targets, options, each)
}

/// Bytes of logits that are taken at a time.
const WINDOW_BYTES: usize = 16 << 20;

struct Cpu {
    op: CrossEntropyOptions,
    shape: Shape,
    /// What a row's gradient is multiplied by.
    upstream: f64,
    results: Vec<RowResult>,
}

impl Evaluator<f32> for Cpu {
    fn window_rows(&self) -> usize {
        WINDOW_BYTES / size_of::<f32>() / self.shape.row_stride
    }

    fn push(&mut self, logits: &[f32], targets: &[i32], dlogits: Option<&mut [f32]>) -> Result<&[RowResult]> {
        let Self { op, shape, upstream, ref mut results } = *self;
        targets
            .par_iter()
            .enumerate()
            .map(|(row, &target)| row_result(shape.row(logits, row), target, &op))
            .collect_into_vec(results);
        if let Some(dlogits) = dlogits {
            dlogits.par_chunks_mut(shape.row_stride).zip(targets).enumerate().for_each(
                |(row, (into, &target))| {
                    let logits = shape.row(logits, row);
                    let values = reference::cross_entropy::row_dlogits(logits, target, upstream, &op);
                    into.iter_mut().zip(values).for_each(|(into, value)| *into = value as f32);
                },
            );
        }
        Ok(results)
    }
}

/// As the kernel `row_losses` gives it.
fn row_result(row: &[f32], target: i32, op: &CrossEntropyOptions) -> RowResult {
    if target == op.ignore_index {
        return RowResult { argmax: NO_CLASS, ..RowResult::default() };
    }
    let loss = reference::cross_entropy::row_loss(row, target, op) as f32;
    let lse = reference::logsumexp_row(row) as f32;
    let has_nan = row.iter().any(|logit| logit.is_nan());
    let mut flags = Flags::empty();
    flags.set(Flags::NAN_LOGIT, has_nan);
    flags.set(Flags::INFINITE_LOGIT, !has_nan && row.contains(&f32::INFINITY));
    flags.set(Flags::MASKED_ROW, row.iter().all(|&logit| logit == f32::NEG_INFINITY));
    flags.set(Flags::INFINITE_LOSS, loss == f32::INFINITY);
    flags.set(Flags::NAN_LOSS, loss.is_nan());
    RowResult { loss, lse, argmax: reference::argmax_row(row), flags: flags.bits() }
}
