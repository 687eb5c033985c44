//! The host path: a batch that passes through the device window by window.

use crate::device::{Context, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, CrossEntropyInputs, check_combination, mask_words};
use crate::kernel::passes::{self, Output, binding};
use crate::kernel::{Binding, Params};
use crate::op::cross_entropy::{CrossEntropy, Loss, LossSum, RowResult};
use crate::op::engine::LogitsCall;
use crate::op::rows::{self, Given, InputBindings, Scratch, is_mean};
use crate::op::stream::{Extras, Second, Stream, Taken};
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
    scratch: Scratch,
    buffers: Buffers,
    raw: Vec<[u32; 4]>,
    results: Vec<RowResult>,
    sum: LossSum,
}

/// What comes with a window's targets, made when it first comes.
#[derive(Default)]
struct Buffers {
    classes: Option<Binding>,
    probs: Option<Binding>,
    class_weights: Option<Binding>,
    row_weights: Option<Binding>,
    row_mask: Option<Binding>,
    row_upstream: Option<Binding>,
}

impl<E: Element> CrossEntropyStream<E> {
    pub(super) fn new(
        op: &CrossEntropy<E>,
        gpu: &Context,
        shape: Shape,
        kind: TargetKind,
        gradient: Option<(Output, BatchWeight)>,
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
        let stream = Stream::new(&op.engine, gpu, shape, Extras { output, second, entries })?;
        let device_shape = stream.device_shape();
        let mut params = rows::params(device_shape, kind, &op.options);
        match gradient {
            // What the whole batch weighs; 0, if that is it, is what the windows weigh too.
            Some((_, weight)) if is_mean(op.options.reduction) => {
                params.denominator = weight.weight as f32;
                params.row_denominator = weight.row_weight as f32;
            }
            _ => {}
        }
        Ok(Self {
            op: op.clone(),
            gpu: gpu.clone(),
            scratch: Scratch::new(&op.engine, stream.window_rows())?,
            stream,
            shape,
            kind,
            output,
            params,
            buffers: Buffers::default(),
            raw: Vec::new(),
            results: Vec::new(),
            sum: LossSum::default(),
        })
    }

    /// The most rows of one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    /// Device memory that the stream takes, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.stream.buffer_bytes()
    }

    /// The next `rows` rows: logits laid out by the stream's shape, targets and what comes with them. Gives what one read
    /// of them tells. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::TargetOutOfRange`] and [`Error::InvalidTarget`], the row counted from the stream's
    /// first; [`Error::InvalidOption`] for weights, and for targets of another kind than the stream's;
    /// [`Error::RowsExceedBound`] beyond a window or the stream's shape; whatever the device reports, and then
    /// [`Error::StreamEnded`].
    pub fn push<'a>(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: impl Into<CrossEntropyInputs<'a>>,
    ) -> Result<&[RowResult]> {
        let wait = Wait::blocking(&self.gpu);
        pollster::block_on(self.push_with::<E>(logits, rows, &inputs.into(), None, None, wait))
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
        pollster::block_on(self.push_with(logits, rows, &inputs.into(), Some(dlogits), None, wait))
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

    /// `checked` is what inputs weigh that have been checked already.
    pub(super) async fn push_with<D: Element>(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [D]>,
        checked: Option<BatchWeight>,
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
        let shape = self.shape.with_rows(rows);
        if let Some(dlogits) = &dlogits {
            self.stream.check_output("dlogits", dlogits, rows)?;
        }
        if inputs.targets.kind() != self.kind {
            return Err(Error::TargetKind { given: inputs.targets.kind(), made_for: self.kind });
        }
        let weight = match checked {
            Some(weight) => weight,
            None => self.check(shape, inputs)?,
        };
        let taken = self.stream.take(logits, rows, wait).await?;
        self.results.clear();
        if rows > 0 {
            self.upload(&taken, inputs, wait).await?;
            self.run(&taken, rows, inputs, dlogits.is_some())?;
            self.raw.resize(rows, [0; 4]);
            let bytes = bytemuck::cast_slice_mut(&mut self.raw);
            self.stream.transfer.download(&self.scratch.results.buffer, 0, bytes, wait).await?;
            let z_factor = self.op.options.z_loss;
            let result =
                |(row, &record): (usize, &[u32; 4])| RowResult::of(record, inputs.row_weight(row), z_factor);
            self.results.extend(self.raw.iter().enumerate().map(result));
            if let Some(dlogits) = dlogits {
                self.stream.read_output(&taken, dlogits, wait).await?;
            }
        }
        self.stream.finish();
        self.sum.add(&self.results, weight);
        Ok(&self.results)
    }

    async fn upload(&mut self, taken: &Taken, inputs: &CrossEntropyInputs<'_>, wait: Wait) -> Result<()> {
        let rows = self.stream.window_rows();
        let Self { op, stream, buffers, .. } = self;
        let mask = inputs.row_mask.map(mask_words);
        let (classes, probs): (Option<&[i32]>, Option<&[f32]>) = match inputs.targets {
            Targets::Sparse { indices, probs, .. } => (Some(indices), Some(probs)),
            targets => (targets.classes(), None),
        };
        let entries = self.kind.entries();
        let (cols, targets) = (self.shape.cols, rows * entries);
        let given = [
            (&mut buffers.classes, "classes", targets, classes.map(bytemuck::cast_slice)),
            (&mut buffers.probs, "probs", targets, probs.map(bytemuck::cast_slice)),
            (
                &mut buffers.class_weights,
                "class_weights",
                cols,
                inputs.class_weights.map(bytemuck::cast_slice),
            ),
            (&mut buffers.row_weights, "row_weights", rows, inputs.row_weights.map(bytemuck::cast_slice)),
            (&mut buffers.row_mask, "row_mask", rows, mask.as_deref().map(bytemuck::cast_slice)),
            (&mut buffers.row_upstream, "row_upstream", rows, inputs.row_upstream.map(bytemuck::cast_slice)),
        ];
        for (buffer, name, values, bytes) in given {
            let Some(bytes): Option<&[u8]> = bytes else { continue };
            if buffer.is_none() {
                *buffer = Some(op.engine.scratch(&format!("xent::window::{name}"), values as u64 * 4)?);
            }
            if let Some(binding) = buffer {
                stream.transfer.upload(bytes, &binding.buffer, 0, wait).await?;
            }
        }
        if let Targets::Soft(probs) = inputs.targets {
            stream.take_second(taken, probs, wait).await?;
        }
        Ok(())
    }

    fn run(
        &self,
        taken: &Taken,
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        with_dlogits: bool,
    ) -> Result<()> {
        let Self { op, buffers, scratch, .. } = self;
        let given = Given {
            class_weights: inputs.class_weights.is_some(),
            row_weights: inputs.row_weights.is_some(),
            row_mask: inputs.row_mask.is_some(),
            upstream: false,
            row_upstream: inputs.row_upstream.is_some(),
        };
        let params = Params { rows: rows as u32, upstream: inputs.upstream, ..self.params };
        let constants = rows::constants(&op.options, self.kind, given, true);
        let from = InputBindings {
            classes: buffers.classes.as_ref(),
            class_weights: only(&buffers.class_weights, given.class_weights),
            row_weights: only(&buffers.row_weights, given.row_weights),
            row_mask: only(&buffers.row_mask, given.row_mask),
            upstream: None,
            row_upstream: only(&buffers.row_upstream, given.row_upstream),
        };
        let [first, merge] =
            rows::input_dispatches(&op.engine, &self.stream.plan, &params, &constants, &from, scratch)?;
        let mut rest = vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        rest.extend(from.class_weights.map(|weights| (binding::CLASS_WEIGHTS, weights)));
        if let TargetKind::Sparse { .. } = self.kind {
            rest.extend(buffers.classes.as_ref().map(|classes| (binding::TARGETS, classes)));
            rest.extend(buffers.probs.as_ref().map(|probs| (binding::TARGET_PROBS, probs)));
        }
        let target = rows::target(self.kind);
        let (pass, output) = match self.output {
            Some(output) if with_dlogits => (&passes::DLOGITS, output),
            _ => (&passes::ROW_LOSSES, Output::Element),
        };
        let variant = op.engine.variant(output, target);
        let call = LogitsCall { pass, variant, constants: &constants, params: &params, rest: &rest };
        let rows = self.stream.dispatch(&op.engine, taken, &call, with_dlogits)?;
        self.stream.run("xent::cross_entropy", &[first, merge, rows])
    }
}

/// What an earlier window brought is not this one's.
fn only(binding: &Option<Binding>, is_given: bool) -> Option<&Binding> {
    binding.as_ref().filter(|_| is_given)
}
