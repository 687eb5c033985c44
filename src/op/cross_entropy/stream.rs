//! The host path: a batch that passes through the device window by window.

use crate::device::{Context, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::{Binding, Params, passes};
use crate::op::cross_entropy::rows::{self, Scratch};
use crate::op::cross_entropy::{CrossEntropy, Loss, RowResult};
use crate::op::engine::LogitsCall;
use crate::op::stream::Stream;
use crate::shape::Shape;
use crate::targets::Targets;

/// A batch that passes through the device window by window, in buffers made once: less than half a gigabyte however
/// many rows come (unless one row alone needs more). For batches that do not fit into memory; made by
/// [`CrossEntropy::stream`] or [`CrossEntropy::stream_with_dlogits`].
pub struct CrossEntropyStream<E: Element> {
    op: CrossEntropy<E>,
    gpu: Context,
    stream: Stream<E>,
    shape: Shape,
    params: Params,
    scratch: Scratch,
    targets: Binding,
    with_dlogits: bool,
    results: Vec<RowResult>,
    loss: Loss,
}

impl<E: Element> CrossEntropyStream<E> {
    pub(super) fn new(
        op: &CrossEntropy<E>,
        gpu: &Context,
        shape: Shape,
        dlogits_denominator: Option<f32>,
    ) -> Result<Self> {
        let stream = Stream::new(&op.engine, gpu, shape, dlogits_denominator.is_some())?;
        let window_rows = stream.plan.window_rows();
        let params = Params {
            denominator: dlogits_denominator.unwrap_or(1.0),
            ..rows::params(shape.with_rows(window_rows), &op.options)
        };
        Ok(Self {
            op: op.clone(),
            gpu: gpu.clone(),
            scratch: Scratch::new(&op.engine, window_rows)?,
            targets: op.engine.scratch("xent::window::targets", window_rows as u64 * 4)?,
            stream,
            shape,
            params,
            with_dlogits: dlogits_denominator.is_some(),
            results: Vec::new(),
            loss: Loss::empty(),
        })
    }

    /// The most rows of one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.stream.plan.window_rows()
    }

    /// Device memory that the stream takes, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.stream.plan.buffer_bytes(self.with_dlogits)
    }

    /// The next rows, as many as there are targets: logits (rows, cols) laid out by the stream's shape. Gives what one
    /// read of them tells. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::TargetOutOfRange`], the row counted from the stream's first; [`Error::RowsExceedBound`]
    /// beyond a window or the stream's shape; whatever the device reports, and then [`Error::StreamEnded`].
    pub fn push(&mut self, logits: &[E], targets: Targets<'_>) -> Result<&[RowResult]> {
        let wait = Wait::blocking(&self.gpu);
        pollster::block_on(self.push_with(logits, targets, None, wait))
    }

    /// [`push`](Self::push), and the gradient (rows, cols), laid out as the logits are; padding columns are 0. For a
    /// stream made by [`CrossEntropy::stream_with_dlogits`].
    ///
    /// # Errors
    /// As [`push`](Self::push); [`Error::NoOutput`] for a stream made without.
    pub fn push_with_dlogits(
        &mut self,
        logits: &[E],
        targets: Targets<'_>,
        dlogits: &mut [E],
    ) -> Result<&[RowResult]> {
        let wait = Wait::blocking(&self.gpu);
        pollster::block_on(self.push_with(logits, targets, Some(dlogits), wait))
    }

    /// The loss of all rows pushed so far.
    pub fn loss(&self) -> Loss {
        self.loss.reduced(self.op.options.reduction)
    }

    pub(super) async fn push_with(
        &mut self,
        logits: &[E],
        targets: Targets<'_>,
        dlogits: Option<&mut [E]>,
        wait: Wait,
    ) -> Result<&[RowResult]> {
        if dlogits.is_some() && !self.with_dlogits {
            return Err(Error::NoOutput { options: "stream_with_dlogits" });
        }
        let classes = targets.classes();
        let shape = self.shape.with_rows(classes.len());
        if let Some(dlogits) = &dlogits {
            self.stream.check_output("dlogits", dlogits, shape.rows)?;
        }
        let counted = targets.check(&shape, self.op.options.ignore_index).map_err(|error| match error {
            Error::TargetOutOfRange { row, target, cols } => {
                Error::TargetOutOfRange { row: row + self.loss.rows, target, cols }
            }
            other => other,
        })?;
        let taken = self.stream.take(logits, shape.rows, wait).await?;
        self.results.resize(shape.rows, RowResult::default());
        if shape.rows > 0 {
            self.stream.transfer.upload(bytemuck::cast_slice(classes), &self.targets.buffer, 0, wait).await?;
            let engine = &self.op.engine;
            let params = Params { rows: shape.rows as u32, ..self.params };
            let [inputs, merge] =
                rows::input_dispatches(engine, &self.stream.plan, &params, &self.targets, &self.scratch)?;
            let Scratch { inputs: row_inputs, results, totals, .. } = &self.scratch;
            let (pass, rest) = match dlogits {
                Some(_) => (&passes::DLOGITS, &[row_inputs, results, totals][..]),
                None => (&passes::ROW_LOSSES, &[row_inputs, results][..]),
            };
            let constants = &rows::constants(&self.op.options, true);
            let call = LogitsCall { pass, constants, params: &params, rest };
            let rows = self.stream.dispatch(engine, &taken, &call, dlogits.is_some())?;
            self.stream.run("xent::cross_entropy", &[inputs, merge, rows])?;
            let bytes = bytemuck::cast_slice_mut(&mut self.results);
            self.stream.transfer.download(&results.buffer, 0, bytes, wait).await?;
            if let Some(dlogits) = dlogits {
                self.stream.read_output(&taken, dlogits, wait).await?;
            }
        }
        self.stream.finish();
        self.loss.add(&self.results, counted);
        Ok(&self.results)
    }
}
