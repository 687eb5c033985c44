//! Evaluation without a GPU: runs on the reference, with rows spread over the cores.

use rayon::prelude::*;

use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluation::Evaluation;
use crate::eval::evaluator::Evaluator;
use crate::eval::source::{Source, reserved};
use crate::flags::Flags;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::op::Start;
use crate::options::CrossEntropyOptions;
use crate::reference;
use crate::reference::cross_entropy::{row_dlogits_at, row_loss_at};
use crate::reference::row_readouts;
use crate::results::RowResult;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::RowTarget;

impl Evaluation<'_> {
    /// Like [`run`](Self::run), on the f64 [`reference`](mod@crate::reference) and on all cores: for machines without
    /// an adapter. Results are rounded to f32, as a device gives them. With the feature `cli`.
    ///
    /// # Errors
    /// As for [`run`](Self::run), except those of a device.
    pub fn run_on_cpu<E: Element>(
        &mut self,
        source: &mut dyn Source<E>,
        each: impl FnMut(&Evaluated<'_>) -> Result<()>,
    ) -> Result<()> {
        let (op, shape, batch) = (*self.op(), source.shape(), *self.weight());
        let footprint = self.footprint(None, source);
        let open = |start: Start| {
            let room = start.room.map_or(WINDOW_BYTES, |room| WINDOW_BYTES.min(room));
            let window_rows = footprint.groups(room) as usize * shape.inner;
            Ok(Cpu { op, shape, batch, window_rows, results: Vec::new() })
        };
        self.run_on(open, None, source, each)
    }

    /// Like [`window_bytes`](Self::window_bytes), for [`run_on_cpu`](Self::run_on_cpu). With the feature `cli`.
    ///
    /// # Errors
    /// As for [`window_bytes`](Self::window_bytes).
    pub fn window_bytes_on_cpu<E: Element>(&self, source: &dyn Source<E>) -> Result<u64> {
        self.window_bytes_on(None, source)
    }
}

/// The maximum bytes of a window's widest array.
const WINDOW_BYTES: u64 = 16 << 20;

struct Cpu {
    op: CrossEntropyOptions,
    shape: Shape,
    /// The total weight of all rows.
    batch: BatchWeight,
    window_rows: usize,
    /// The results of the last window.
    results: Vec<RowResult>,
}

impl<E: Element> Evaluator<E> for Cpu {
    /// Results (rows,), and the gradient.
    type Flight = (Vec<RowResult>, Vec<f32>);

    fn window_rows(&self) -> usize {
        self.window_rows
    }

    fn submit(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<Self::Flight> {
        let Self { op, batch, .. } = self;
        let shape = self.shape.with_rows(rows);
        let result = |row| row_result(logits, inputs, shape, op, row);
        let mut results = reserved("the results of a window", rows)?;
        results.par_extend((0..rows).into_par_iter().map(result));
        let values = if with_dlogits { shape.len() } else { 0 };
        let mut dlogits = reserved("the gradient of a window", values)?;
        dlogits.resize(values, 0.0);
        // Rows that lie side by side have no separate slice that a thread could write.
        dlogits.par_chunks_mut(shape.row_stride).enumerate().for_each(|(group, into)| {
            for slot in 0..shape.inner {
                let row = group * shape.inner + slot;
                let values = row_dlogits_at(logits, inputs, shape, op, batch, row);
                for (class, value) in values.into_iter().enumerate() {
                    into[slot + class * shape.inner] = value as f32;
                }
            }
        });
        Ok((results, dlogits))
    }

    fn finish(
        &mut self,
        (results, computed): Self::Flight,
        _: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        self.results = results;
        if let Some(dlogits) = dlogits {
            dlogits.copy_from_slice(&computed);
        }
        Ok(&self.results)
    }
}

/// The result that the kernel `row_losses` gives.
fn row_result<E: Element>(
    logits: &[E],
    inputs: &CrossEntropyInputs<'_>,
    shape: Shape,
    op: &CrossEntropyOptions,
    row: usize,
) -> RowResult {
    if inputs.row_target(shape, op, row).is_none() {
        return RowResult::LEFT_OUT;
    }
    let parts = row_loss_at(logits, inputs, shape, op, row);
    let weight = f64::from(inputs.rows.weight(row));
    let (loss, z_loss) = ((weight * parts.total()) as f32, (weight * parts.z_loss) as f32);
    let values: Vec<f64> = shape.row(logits, row).map(|x| x.to_f64()).collect();
    let has_nan = values.iter().any(|logit| logit.is_nan());
    let mut flags = Flags::empty();
    flags.set(Flags::NAN_LOGIT, has_nan);
    flags.set(Flags::INFINITE_LOGIT, !has_nan && values.contains(&f64::INFINITY));
    flags.set(Flags::MASKED_ROW, values.iter().all(|&logit| logit == f64::NEG_INFINITY));
    flags.set(Flags::INFINITE_LOSS, loss.is_infinite());
    flags.set(Flags::NAN_LOSS, loss.is_nan());
    let argmax = reference::argmax_row(&shape.row_vec(logits, row));
    let result =
        RowResult { loss, z_loss, lse: parts.lse as f32, argmax, flags: flags.bits(), ..Default::default() };
    if op.row_fields.intersects(!RowFields::default()) {
        let target = inputs.row_target(shape, op, row).and_then(|target| match target {
            RowTarget::Class(class) => usize::try_from(class).ok(),
            _ => None,
        });
        return result.with_readouts(&row_readouts(&shape.row_vec(logits, row), target, op), op.row_fields);
    }
    result
}
