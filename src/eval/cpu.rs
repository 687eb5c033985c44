//! The same without a GPU: on the reference, a row at a time on each core.

use rayon::prelude::*;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::evaluate::{EvaluateOptions, Evaluated, Evaluator, run};
use crate::eval::inputs::EvaluateInputs;
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::flags::Flags;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::op::{NO_CLASS, RowResult};
use crate::options::CrossEntropyOptions;
use crate::reference;
use crate::reference::cross_entropy::{row_dlogits_at, row_loss_at};
use crate::shape::Shape;
use crate::targets::Targets;

/// [`evaluate`](super::evaluate()) on the f64 [`reference`](mod@crate::reference), spread over the cores: for machines
/// on which no adapter is found. What it gives a row is rounded to f32, as a device gives it. With the feature `cli`.
///
/// # Errors
/// As [`evaluate`](super::evaluate()), as far as they are not about a device.
pub fn evaluate_on_cpu<'a, E: Element>(
    op: &CrossEntropyOptions,
    source: &mut impl Source<E>,
    inputs: impl Into<EvaluateInputs<'a>>,
    options: &EvaluateOptions,
    each: impl FnMut(&Evaluated<'_>) -> Result<()>,
) -> Result<Report> {
    let shape = source.shape();
    let plain = CrossEntropyOptions { sequences: None, ..*op };
    let open = |batch| Ok(Cpu { op: plain, shape, batch, next_row: 0, results: Vec::new() });
    run(open, op, source, inputs.into(), options, each)
}

/// Bytes of logits that are taken at a time.
const WINDOW_BYTES: usize = 16 << 20;

struct Cpu {
    op: CrossEntropyOptions,
    shape: Shape,
    /// What all rows weigh.
    batch: BatchWeight,
    next_row: usize,
    results: Vec<RowResult>,
}

impl<E: Element> Evaluator<E> for Cpu {
    fn window_rows(&self) -> usize {
        (WINDOW_BYTES / size_of::<E>() / self.shape.row_stride).max(1) * self.shape.inner
    }

    fn push(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        let Self { op, batch, ref mut next_row, ref mut results, .. } = *self;
        let shape = self.shape.with_rows(rows);
        if let Targets::Soft(_) = inputs.targets {
            inputs.check(shape, &op).map_err(|error| match error {
                Error::InvalidTarget { row, at, value } => {
                    Error::InvalidTarget { row: row + *next_row, at, value }
                }
                other => other,
            })?;
        }
        *next_row += rows;
        (0..rows)
            .into_par_iter()
            .map(|row| row_result(logits, inputs, shape, &op, row))
            .collect_into_vec(results);
        if let Some(dlogits) = dlogits {
            // Rows that lie side by side have no slice of their own to be written by a thread.
            dlogits.par_chunks_mut(shape.row_stride).enumerate().for_each(|(group, into)| {
                for slot in 0..shape.inner {
                    let row = group * shape.inner + slot;
                    let values = row_dlogits_at(logits, inputs, shape, &op, &batch, row);
                    for (class, value) in values.into_iter().enumerate() {
                        into[slot + class * shape.inner] = value as f32;
                    }
                }
            });
        }
        Ok(results)
    }
}

/// As the kernel `row_losses` gives it.
fn row_result<E: Element>(
    logits: &[E],
    inputs: &CrossEntropyInputs<'_>,
    shape: Shape,
    op: &CrossEntropyOptions,
    row: usize,
) -> RowResult {
    if inputs.row_target(shape, op, row).is_none() {
        return RowResult { argmax: NO_CLASS, ..RowResult::default() };
    }
    let parts = row_loss_at(logits, inputs, shape, op, row);
    let weight = f64::from(inputs.row_weight(row));
    let (loss, z_loss) = ((weight * parts.total()) as f32, (weight * parts.z_loss) as f32);
    let values: Vec<f64> = shape.row(logits, row).map(|x| x.to_f64()).collect();
    let has_nan = values.iter().any(|logit| logit.is_nan());
    let mut flags = Flags::empty();
    flags.set(Flags::NAN_LOGIT, has_nan);
    flags.set(Flags::INFINITE_LOGIT, !has_nan && values.contains(&f64::INFINITY));
    flags.set(Flags::MASKED_ROW, values.iter().all(|&logit| logit == f64::NEG_INFINITY));
    flags.set(Flags::INFINITE_LOSS, loss == f32::INFINITY);
    flags.set(Flags::NAN_LOSS, loss.is_nan());
    let argmax = reference::argmax_row(&shape.row_vec(logits, row));
    RowResult { loss, z_loss, lse: parts.lse as f32, argmax, flags: flags.bits() }
}
