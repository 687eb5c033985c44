//! Losses over host slices: a batch that passes through the device window by window.

use std::fmt;

use crate::coded::{Codes, Logits};
use crate::device::Wait;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::BatchWeight;
use crate::kernel::Params;
use crate::kernel::passes::Output;
use crate::op::loss::dispatches::{LossBindings, LossCall, RowOutputs, Scratch, kept, params};
use crate::op::loss::inputs::{HostInputs, Second, host_rows};
use crate::op::loss::{Kind, LossKind, LossOp};
use crate::op::pool::Idle;
use crate::op::stream::{Back, Extras, Flight, ROW_RESULTS, Start, Stream};
use crate::options::Reduction;
use crate::request::Request;
use crate::results::{Loss, LossSum, RowResult};
use crate::row_fields::RowFields;
use crate::shape::Shape;

/// A batch that passes through the device window by window, for batches that do not fit into memory. The buffers are
/// made once and take less than half a gigabyte for any number of rows, unless a single row needs more. Made by
/// [`LossOp::stream`] or [`LossOp::stream_with_dlogits`].
pub struct LossStream<E: Element, L: LossKind> {
    op: LossOp<E, L>,
    stream: Stream<E>,
    shape: Shape,
    layout: L::Layout,
    output: Option<Output>,
    params: Params,
    /// The caller's total weight of all rows, which divides the gradient of a mean.
    whole: Option<BatchWeight>,
    /// The results of each row that are read back.
    fields: RowFields,
    results: Vec<RowResult>,
    sum: LossSum,
}

#[expect(private_bounds, reason = "sealed")]
impl<E: Element, L: Kind> LossStream<E, L> {
    pub(super) fn new(
        op: &LossOp<E, L>,
        shape: Shape,
        layout: L::Layout,
        gradient: Option<(Output, BatchWeight)>,
    ) -> Result<Self> {
        if let Some((_, weight)) = gradient {
            shape.check()?;
            let fits = |weight: &BatchWeight| L::check_weight(weight, layout, shape);
            weight.check_given(shape, op.kind.reducing(), fits)?;
        }
        let stream = |extras| Stream::new(&op.engine, shape, extras);
        let stream = Self::over(op, shape, layout, gradient, stream)?;
        let is_mean = op.kind.reducing().reduction == Reduction::Mean;
        Ok(Self { whole: gradient.map(|(_, weight)| weight).filter(|_| is_mean), ..stream })
    }

    /// A stream for two windows in flight: one is submitted while the device still works on the one before. See
    /// [`submit`](Self::submit) and [`read`](Self::read).
    pub(crate) fn ahead(
        op: &LossOp<E, L>,
        shape: Shape,
        layout: L::Layout,
        gradient: Option<(Output, BatchWeight)>,
        start: Start,
    ) -> Result<Self> {
        let stream = |extras| Stream::ahead(&op.engine, shape, extras, start);
        Self::over(op, shape, layout, gradient, stream)
    }

    /// A stream for a whole host batch, in the buffers kept from an earlier batch.
    pub(super) fn pooled(
        op: &LossOp<E, L>,
        shape: Shape,
        layout: L::Layout,
        gradient: Option<(Output, BatchWeight)>,
    ) -> Result<Self> {
        let stream = |extras| Stream::pooled(&op.engine, shape, extras, &op.pool);
        Self::over(op, shape, layout, gradient, stream)
    }

    fn over(
        op: &LossOp<E, L>,
        shape: Shape,
        layout: L::Layout,
        gradient: Option<(Output, BatchWeight)>,
        stream: impl FnOnce(Extras) -> Result<Stream<E>>,
    ) -> Result<Self> {
        op.kind.check_stream()?;
        op.kind.check_layout(layout)?;
        let output = gradient.map(|(output, _)| output);
        let second = L::second::<E>(layout);
        let fields = kept(op.kind.row_fields(), op.kind.reducing());
        let (entries, beside_bytes) = (L::entries(layout), L::beside_bytes(layout));
        let (splits, needs) = (L::SPLITS, L::needs(fields));
        let stream = stream(Extras { output, second, beside_bytes, entries, splits, needs })?;
        let params = params(&op.kind, stream.device_shape(), layout, gradient.map(|(_, weight)| weight));
        Ok(Self {
            op: op.clone(),
            stream,
            shape,
            layout,
            output,
            params,
            whole: None,
            fields,
            results: Vec::new(),
            sum: LossSum::default(),
        })
    }

    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes. It grows a little when targets and weights
    /// come.
    pub fn buffer_bytes(&self) -> u64 {
        self.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows: logits in the layout of the stream's shape, targets and other inputs. Returns the
    /// result of each row. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::TargetOutOfRange`] and [`Error::InvalidTarget`], with the row counted from the
    /// stream's first; [`Error::InvalidOption`] for weights, and for the weight of the whole batch if the rows do not
    /// add up to it; [`Error::TargetKind`]; [`Error::RowsExceedBound`] for more rows than a window or the stream's
    /// shape holds; whatever the device reports, and after that [`Error::StreamEnded`].
    pub fn push<'a>(
        &'a mut self,
        logits: &'a [E],
        rows: usize,
        inputs: impl Into<L::Inputs<'a, E>>,
    ) -> Request<'a, &'a [RowResult]> {
        let inputs = inputs.into();
        let waits = self.op.engine.gpu.waits();
        Request::new(waits, move |wait| async move {
            self.push_with::<E>(logits, rows, &inputs, None, wait).await
        })
    }

    /// Like [`push`](Self::push), with the gradient (rows, cols) in the logits' layout; padding columns are 0. For a
    /// stream made by [`LossOp::stream_with_dlogits`], with `D` the logits' type, or by
    /// [`LossOp::stream_with_dlogits_f32`], with `D` the logits' type or f32.
    ///
    /// # Errors
    /// As for [`push`](Self::push); [`Error::NoOutput`] if the stream was made for another output type, or for no
    /// gradient.
    pub fn push_with_dlogits<'a, D: Element>(
        &'a mut self,
        logits: &'a [E],
        rows: usize,
        inputs: impl Into<L::Inputs<'a, E>>,
        dlogits: &'a mut [D],
    ) -> Request<'a, &'a [RowResult]> {
        let inputs = inputs.into();
        let waits = self.op.engine.gpu.waits();
        Request::new(waits, move |wait| async move {
            self.push_with(logits, rows, &inputs, Some(dlogits), wait).await
        })
    }

    /// The loss of all rows pushed so far.
    pub fn loss(&self) -> Loss {
        self.op.loss_of(&self.sum)
    }

    /// The sums of all rows pushed so far. Those of several streams combine.
    pub fn sum(&self) -> &LossSum {
        &self.sum
    }

    /// Checks the inputs; errors count rows from the stream's first.
    fn check(&self, shape: Shape, inputs: &L::Inputs<'_, E>) -> Result<BatchWeight> {
        let first = self.sum.rows();
        self.op.kind.check_inputs(inputs, shape).map_err(|error| match error {
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
        inputs: &L::Inputs<'_, E>,
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
        L::check_same_layout(inputs, self.layout)?;
        self.op.kind.check_part(self.shape, L::has_partials(inputs), true)?;
        let weight = self.check(self.shape.with_rows(rows), inputs)?;
        self.stream.check_rows(logits.into(), rows)?;
        if let Some(whole) = self.whole {
            let are_all = self.sum.rows() + rows == self.shape.rows;
            let mut parts = self.sum.weight();
            parts.add(weight);
            whole.check_parts(parts, are_all)?;
        }
        self.results.clear();
        if rows > 0 {
            let back = self.submit(logits.into(), None, rows, inputs, dlogits.is_some())?.land(wait).await?;
            self.read(back, inputs, dlogits, weight)?;
        }
        Ok(&self.results)
    }

    /// Submits the next rows to the device. A second array that comes as codes is not among the inputs.
    pub(crate) fn submit(
        &mut self,
        logits: Logits<'_, E>,
        second_codes: Option<Codes<'_>>,
        rows: usize,
        inputs: &L::Inputs<'_, E>,
        with_dlogits: bool,
    ) -> Result<Flight> {
        let Self { op, stream, layout, fields, .. } = self;
        let mut filling = stream.open(logits, rows, with_dlogits)?;
        let HostInputs { second, values } = L::host_inputs(inputs);
        match (second_codes, second) {
            (Some(codes), _) => stream.write_second_codes(&mut filling, codes)?,
            (None, Some(Second::F32(values))) => stream.write_second(&mut filling, values)?,
            (None, Some(Second::Logits(values))) => stream.write_second(&mut filling, values)?,
            (None, None) => {}
        }
        let of_rows = L::rows(inputs);
        let most = self.shape.with_rows(stream.window_rows());
        let given = values.into_iter().chain(host_rows(&of_rows));
        let given = given.map(|(input, values)| {
            let room = input.count.of(op.kind.input_shape(most), L::entries(*layout));
            Ok((input, stream.upload(&mut filling, input.name, room, &values)?))
        });
        let inputs = given.collect::<Result<Vec<_>>>()?;
        let [input_bytes, _, block_bytes] = Scratch::bytes(stream.window_rows(), *fields);
        let scratch = Scratch {
            inputs: stream.scratch(&mut filling, "row_inputs", input_bytes)?,
            results: stream.row_values(&mut filling, ROW_RESULTS, fields.words())?,
            blocks: stream.scratch(&mut filling, "blocks", block_bytes)?,
        };
        let bindings = LossBindings {
            inputs,
            scratch,
            output: self.output.filter(|_| with_dlogits),
            to: RowOutputs::default(),
            fields: *fields,
        };
        let params = Params { rows: rows as u32, upstream: of_rows.upstream, ..self.params };
        let call =
            LossCall { engine: &op.engine, kind: &op.kind, layout: *layout, plan: &stream.plan, params };
        let dispatches =
            call.dispatches(&bindings, |sweep| stream.dispatches(&op.engine, &filling, sweep))?;
        stream.submit(L::NAME, filling, &dispatches)
    }

    /// Reads a finished window. Afterwards `self.results` holds its rows' results. `weight` is the weight of the
    /// window, or that of the whole batch with the first window.
    pub(crate) fn read<D: Element>(
        &mut self,
        back: Back,
        inputs: &L::Inputs<'_, E>,
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

    /// Like `read`, but passes each row's result to `keep`.
    pub(super) fn read_each<D: Element>(
        &mut self,
        back: Back,
        inputs: &L::Inputs<'_, E>,
        dlogits: Option<&mut [D]>,
        weight: BatchWeight,
        mut keep: impl FnMut(RowResult),
    ) -> Result<()> {
        let (z_factor, rows, mut sum) = (self.op.kind.reducing().z_loss, L::rows(inputs), self.sum);
        sum.weigh(weight);
        let fields = self.fields;
        back.results(fields.words(), |row, record| {
            let result = RowResult::of(record, fields, rows.weight(row), z_factor);
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

    /// Reads back only what the batch's loss needs, instead of each row's whole result.
    pub(super) fn without_rows(self) -> Self {
        Self { fields: kept(RowFields::empty(), self.op.kind.reducing()), ..self }
    }

    /// The buffers, for the next batch.
    pub(super) fn into_idle(self) -> Idle {
        self.stream.into_idle()
    }
}

impl<E: Element, L: LossKind> fmt::Debug for LossStream<E, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LossStream")
            .field("shape", &self.shape)
            .field("rows", &self.sum.rows())
            .finish_non_exhaustive()
    }
}
