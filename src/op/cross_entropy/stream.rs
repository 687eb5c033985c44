//! The host path: a batch that passes through the device window by window.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, CrossEntropyInputs, check_combination};
use crate::kernel::Params;
use crate::kernel::passes::{self, Output, binding};
use crate::op::cross_entropy::{CrossEntropy, Loss, LossSum, RowResult};
use crate::op::engine::LogitsCall;
use crate::op::pool::Idle;
use crate::op::rows::{self, Given, InputBindings, Kept};
use crate::op::stream::{Back, Extras, Flight, Second, Start, Stream};
use crate::options::Reduction;
use crate::shape::Shape;
use crate::targets::{TargetKind, Targets};

/// A batch that passes through the device window by window, in buffers made once: less than half a gigabyte however
/// many rows come (unless one row alone needs more). For batches that do not fit into memory; made by
/// [`CrossEntropy::stream`] or [`CrossEntropy::stream_with_dlogits`].
pub struct CrossEntropyStream<E: Element> {
    op: CrossEntropy<E>,
    gpu: Context,
    stream: Stream<E>,
    shape: Shape,
    kind: TargetKind,
    output: Option<Output>,
    params: Params,
    /// What the caller says that all rows weigh, of which the gradient of a mean is.
    whole: Option<BatchWeight>,
    /// Whether all of a row's result is kept, and not what the batch's loss needs alone.
    pub(super) keeps_rows: bool,
    results: Vec<RowResult>,
    sum: LossSum,
}

impl<E: Element> CrossEntropyStream<E> {
    pub(super) fn new(
        op: &CrossEntropy<E>,
        gpu: &Context,
        shape: Shape,
        kind: TargetKind,
        gradient: Option<(Output, BatchWeight)>,
    ) -> Result<Self> {
        if let Some((_, weight)) = gradient {
            shape.check()?;
            weight.check_given(shape, kind, &op.options)?;
        }
        let stream = |extras| Stream::new(&op.engine, gpu, shape, extras);
        let stream = Self::over(op, gpu, shape, kind, gradient, stream)?;
        let is_mean = op.options.reduction == Reduction::Mean;
        Ok(Self { whole: gradient.map(|(_, weight)| weight).filter(|_| is_mean), ..stream })
    }

    /// For windows of which one is given to the device while the one before is under way: see
    /// [`submit`](Self::submit) and [`read`](Self::read).
    pub(crate) fn ahead(
        op: &CrossEntropy<E>,
        gpu: &Context,
        shape: Shape,
        kind: TargetKind,
        gradient: Option<(Output, BatchWeight)>,
        start: Start,
    ) -> Result<Self> {
        let stream = |extras| Stream::ahead(&op.engine, gpu, shape, extras, start);
        Self::over(op, gpu, shape, kind, gradient, stream)
    }

    /// For a whole host batch, in the buffers that an earlier one left.
    pub(super) fn pooled(
        op: &CrossEntropy<E>,
        gpu: &Context,
        shape: Shape,
        kind: TargetKind,
        gradient: Option<(Output, BatchWeight)>,
    ) -> Result<Self> {
        let stream = |extras| Stream::pooled(&op.engine, gpu, shape, extras, &op.pool);
        Self::over(op, gpu, shape, kind, gradient, stream)
    }

    fn over(
        op: &CrossEntropy<E>,
        gpu: &Context,
        shape: Shape,
        kind: TargetKind,
        gradient: Option<(Output, BatchWeight)>,
        stream: impl FnOnce(Extras) -> Result<Stream<E>>,
    ) -> Result<Self> {
        if let Some(sequences) = op.options.sequences {
            let length = sequences.length as f64;
            return Err(Error::option(
                "sequences: length",
                length,
                "unset in a stream, whose rows come in parts",
            ));
        }
        check_combination(kind, &op.options)?;
        let output = gradient.map(|(output, _)| output);
        let second =
            (kind == TargetKind::Soft).then_some(Second { number: binding::TARGETS, value_bytes: 4 });
        let entries = if let TargetKind::Sparse { entries } = kind { entries } else { 0 };
        let stream = stream(Extras { output, second, entries, splits: true })?;
        let mut params = rows::params(stream.device_shape(), kind, &op.options);
        if let Some((_, weight)) = gradient {
            params = rows::weighed(params, op.options.reduction, weight);
        }
        Ok(Self {
            op: op.clone(),
            gpu: gpu.clone(),
            stream,
            shape,
            kind,
            output,
            params,
            whole: None,
            keeps_rows: true,
            results: Vec::new(),
            sum: LossSum::default(),
        })
    }

    /// The most rows of one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes: a little more once targets and weights have come.
    pub fn buffer_bytes(&self) -> u64 {
        self.stream.buffer_bytes()
    }

    /// The next `rows` rows: logits laid out by the stream's shape, targets and what comes with them. Gives what one read
    /// of them tells. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::TargetOutOfRange`] and [`Error::InvalidTarget`], the row counted from the stream's
    /// first; [`Error::InvalidOption`] for weights, that of the whole batch among them where the rows do not add up to it;
    /// [`Error::TargetKind`]; [`Error::RowsExceedBound`] beyond a window or the stream's shape; whatever the device reports, and then
    /// [`Error::StreamEnded`].
    pub fn push<'a>(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: impl Into<CrossEntropyInputs<'a>>,
    ) -> Result<&[RowResult]> {
        let wait = Wait::blocking(&self.gpu);
        pollster::block_on(self.push_with::<E>(logits, rows, &inputs.into(), None, wait))
    }

    /// [`push`](Self::push), and the gradient (rows, cols), laid out as the logits are; padding columns are 0. For a
    /// stream made by [`CrossEntropy::stream_with_dlogits`], with `D` the logits' type, or by
    /// [`CrossEntropy::stream_with_dlogits_f32`], with `D` either type.
    ///
    /// # Errors
    /// As [`push`](Self::push); [`Error::NoOutput`] for a stream made for another output, or for none.
    pub fn push_with_dlogits<'a, D: Element>(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: impl Into<CrossEntropyInputs<'a>>,
        dlogits: &mut [D],
    ) -> Result<&[RowResult]> {
        let wait = Wait::blocking(&self.gpu);
        pollster::block_on(self.push_with(logits, rows, &inputs.into(), Some(dlogits), wait))
    }

    /// The loss of all rows pushed so far.
    pub fn loss(&self) -> Loss {
        self.sum.reduced(&self.op.options)
    }

    /// Refuses inputs as [`CrossEntropyInputs::check`] does; rows are counted from the stream's first.
    fn check(&self, shape: Shape, inputs: &CrossEntropyInputs<'_>) -> Result<BatchWeight> {
        let first = self.sum.rows();
        inputs.check(shape, &self.op.options).map_err(|error| match error {
            Error::TargetOutOfRange { row, target, cols } => {
                Error::TargetOutOfRange { row: row + first, target, cols }
            }
            Error::InvalidTarget { row, at, value } => Error::InvalidTarget { row: row + first, at, value },
            other => other,
        })
    }

    async fn push_with<D: Element>(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [D]>,
        wait: Wait,
    ) -> Result<&[RowResult]> {
        let fits = match self.output {
            Some(Output::F32) => true,
            Some(_) => D::NAME == E::NAME,
            None => false,
        };
        if dlogits.is_some() && !fits {
            return Err(Error::NoOutput { options: "stream_with_dlogits, stream_with_dlogits_f32" });
        }
        if let Some(dlogits) = &dlogits {
            self.stream.check_output("dlogits", dlogits, rows)?;
        }
        if inputs.targets.kind() != self.kind {
            return Err(Error::TargetKind { given: inputs.targets.kind(), made_for: self.kind });
        }
        let weight = self.check(self.shape.with_rows(rows), inputs)?;
        self.stream.check_rows(logits, rows)?;
        if let Some(whole) = self.whole {
            let are_all = self.sum.rows() + rows == self.shape.rows;
            let mut parts = self.sum.weight();
            parts.add(weight);
            whole.check_parts(parts, are_all)?;
        }
        self.results.clear();
        if rows > 0 {
            let back = self.submit(logits, rows, inputs, dlogits.is_some())?.land(wait).await?;
            self.read(back, inputs, dlogits, weight)?;
        }
        Ok(&self.results)
    }

    /// Gives the next rows to the device.
    pub(crate) fn submit(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<Flight> {
        let Self { op, stream, .. } = self;
        let mut filling = stream.open(logits, rows, with_dlogits)?;
        let (most, cols) = (stream.window_rows(), self.shape.cols);
        let (classes, probs): (Option<&[i32]>, Option<&[f32]>) = match inputs.targets {
            Targets::Sparse { indices, probs, .. } => (Some(indices), Some(probs)),
            Targets::Soft(soft) => {
                stream.write_second(&mut filling, soft)?;
                (None, None)
            }
            targets => (targets.classes(), None),
        };
        let entries = most * self.kind.entries();
        let filled = &mut filling;
        let classes = stream.upload(filled, "classes", entries, classes)?;
        let probs = stream.upload(filled, "probs", entries, probs)?;
        let class_weights = stream.upload(filled, "class_weights", cols, inputs.class_weights)?;
        let of_rows = stream.upload_rows(filled, inputs.row_weights, inputs.row_mask, inputs.row_upstream)?;
        let scratch = stream.row_records(filled)?;

        let given = Given {
            class_weights: class_weights.is_some(),
            row_weights: inputs.row_weights.is_some(),
            row_mask: inputs.row_mask.is_some(),
            upstream: false,
            row_upstream: inputs.row_upstream.is_some(),
        };
        let params = Params { rows: rows as u32, upstream: inputs.upstream, ..self.params };
        let kept = Kept { lse: self.keeps_rows, argmax: self.keeps_rows };
        let constants = rows::constants(&op.options, self.kind, given, kept);
        let from = InputBindings {
            classes: classes.as_ref(),
            class_weights: class_weights.as_ref(),
            ..of_rows.inputs()
        };
        let [first, merge] =
            rows::input_dispatches(&op.engine, &stream.plan, &params, &constants, &from, &scratch)?;
        let mut rest = vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        rest.extend(class_weights.as_ref().map(|weights| (binding::CLASS_WEIGHTS, weights)));
        if let TargetKind::Sparse { .. } = self.kind {
            rest.extend(classes.as_ref().map(|classes| (binding::TARGETS, classes)));
            rest.extend(probs.as_ref().map(|probs| (binding::TARGET_PROBS, probs)));
        }
        let (pass, output) = match self.output {
            Some(output) if with_dlogits => (&passes::DLOGITS, output),
            _ => (&passes::ROW_LOSSES, Output::Element),
        };
        let variant = op.engine.variant(output, rows::target(self.kind));
        let call = LogitsCall { pass, variant, constants: &constants, params: &params, rest: &rest };
        let rows = stream.dispatches(&op.engine, &filling, &call)?;
        stream.submit("xent::cross_entropy", filling, &[vec![first, merge], rows].concat())
    }

    /// Reads a window that is back: its rows' results are `self.results`. `weight` is what the window weighs, or the whole
    /// batch for the first.
    pub(crate) fn read<D: Element>(
        &mut self,
        back: Back,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [D]>,
        weight: BatchWeight,
    ) -> Result<&[RowResult]> {
        let mut results = std::mem::take(&mut self.results);
        results.clear();
        let read = self.read_each(back, inputs, dlogits, weight, |result| results.push(result));
        self.results = results;
        read?;
        Ok(&self.results)
    }

    /// The same, each row's result for the caller to keep.
    pub(super) fn read_each<D: Element>(
        &mut self,
        back: Back,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [D]>,
        weight: BatchWeight,
        mut keep: impl FnMut(RowResult),
    ) -> Result<()> {
        let (z_factor, mut sum) = (self.op.options.z_loss, self.sum);
        sum.weigh(weight);
        back.results(|row, record| {
            let result = RowResult::of(record, inputs.row_weight(row), z_factor);
            sum.add(&result);
            keep(result);
        })?;
        if let Some(dlogits) = dlogits {
            self.stream.read_output(&back, dlogits)?;
        }
        self.stream.close(back);
        self.sum = sum;
        Ok(())
    }

    /// The buffers, for the next batch.
    pub(super) fn into_idle(self) -> Idle {
        self.stream.into_idle()
    }
}
