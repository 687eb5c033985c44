//! The caller's own buffers: all checks, scratch and bind groups, once.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::check_combination;
use crate::kernel::passes::{self, Output, binding};
use crate::kernel::{Binding, Dispatch, Plan, Work};
use crate::op::bound::{Bound, Recipe};
use crate::op::buffers::{self, Checked, Need};
use crate::op::cross_entropy::{CrossEntropy, LossRecord};
use crate::op::dlogits::Dlogits;
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::rows::{self, Given, InputBindings, Kept, RowOutputs, Scratch};
use crate::shape::Shape;
use crate::targets::{TargetKind, check_entries};

/// The buffers of a bound [`CrossEntropy`]: logits, targets, what goes with them, and at least one output.
///
/// What is wrong in a buffer is told by the [`LossRecord`]'s flags: a target out of range, or a weight that is negative or
/// not finite, gives its row a NaN loss and no gradient, and the row does not count; a soft target that is not finite
/// makes its row NaN.
#[derive(Clone, Debug)]
pub struct CrossEntropyBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size; of 4 bytes where they are written over.
    /// 16-bit logits are read in whole words: the size bound is rounded up to 4 bytes. All that has one value a row or
    /// class begins at a multiple of the device's `min_storage_buffer_offset_alignment`.
    pub logits: wgpu::BufferBinding<'a>,
    /// The targets.
    pub targets: TargetBuffers<'a>,
    /// A weight for each class: f32 (cols,). See [`CrossEntropyInputs`](crate::CrossEntropyInputs) for this and the
    /// next four.
    pub class_weights: Option<wgpu::BufferBinding<'a>>,
    /// A weight for each row: f32 (rows,).
    pub row_weights: Option<wgpu::BufferBinding<'a>>,
    /// Which rows are scored: u32 (rows,), 0 for those left out.
    pub row_mask: Option<wgpu::BufferBinding<'a>>,
    /// The gradient of what comes behind with respect to the reduced loss: one f32. Loss scaling changes it at every
    /// step, without a new binding.
    pub upstream: Option<wgpu::BufferBinding<'a>>,
    /// The same for each row's loss: f32 (rows,).
    pub row_upstream: Option<wgpu::BufferBinding<'a>>,
    /// Where the batch's loss goes: one [`LossRecord`].
    pub loss: Option<wgpu::BufferBinding<'a>>,
    /// Where row losses go: f32 (rows,), in nats, times the rows' weights, z-loss included, not reduced.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Where ln Σ exp goes of the logits as the loss takes them (capped, divided by the temperature): f32 (rows,), in
    /// nats; 0 for rows left out, NaN where target or weight is invalid.
    pub lse: Option<wgpu::BufferBinding<'a>>,
    /// Where the most probable class goes: u32 (rows,); [`NO_CLASS`](crate::NO_CLASS) for rows left out and where target
    /// or weight is invalid.
    pub argmax: Option<wgpu::BufferBinding<'a>>,
    /// Where the gradient of the reduced loss goes.
    pub dlogits: Option<Dlogits<'a>>,
}

/// The targets in buffers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TargetBuffers<'a> {
    /// Class indices: i32 or u32 (rows,).
    Classes(wgpu::BufferBinding<'a>),
    /// A probability for each class: f32 (rows, cols), laid out as the logits are.
    Soft(wgpu::BufferBinding<'a>),
    /// A few classes of each row with their probabilities.
    Sparse {
        /// Class indices: i32 or u32 (rows, entries).
        indices: wgpu::BufferBinding<'a>,
        /// Their probabilities: f32 (rows, entries).
        probs: wgpu::BufferBinding<'a>,
        /// Entries of each row, in 1..=[`MAX_SPARSE_ENTRIES`](crate::MAX_SPARSE_ENTRIES).
        entries: usize,
    },
}

impl<'a> CrossEntropyBuffers<'a> {
    /// Logits and target classes (i32 or u32), and no output yet.
    pub fn new(logits: wgpu::BufferBinding<'a>, classes: wgpu::BufferBinding<'a>) -> Self {
        Self::with_targets(logits, TargetBuffers::Classes(classes))
    }

    /// Logits and targets of any kind, and no output yet.
    pub fn with_targets(logits: wgpu::BufferBinding<'a>, targets: TargetBuffers<'a>) -> Self {
        Self {
            logits,
            targets,
            class_weights: None,
            row_weights: None,
            row_mask: None,
            upstream: None,
            row_upstream: None,
            loss: None,
            row_losses: None,
            lse: None,
            argmax: None,
            dlogits: None,
        }
    }
}

impl TargetBuffers<'_> {
    fn kind(&self) -> TargetKind {
        match self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Soft(_) => TargetKind::Soft,
            Self::Sparse { entries, .. } => TargetKind::Sparse { entries: *entries },
        }
    }
}

impl<E: Element> CrossEntropy<E> {
    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`], [`Error::BufferTooSmall`], [`Error::BufferOffset`],
    /// [`Error::BufferUsage`], [`Error::BufferAlias`]; of 16-bit gradients [`Error::OddStride`],
    /// [`Error::PackedLayout`]; [`Error::InvalidOption`] for options that the targets do not go with;
    /// [`Error::RowTooLarge`], [`Error::GroupTooLarge`], [`Error::TooManyRows`]; [`Error::OtherDevice`]; whatever the
    /// device reports.
    pub fn bind(&self, shape: Shape, to: &CrossEntropyBuffers<'_>) -> Result<Bound> {
        let engine = &self.engine;
        shape.check()?;
        let kind = to.targets.kind();
        check_combination(kind, &self.options)?;
        let entries = match kind {
            TargetKind::Sparse { entries } => {
                check_entries(entries)?;
                entries
            }
            _ => 0,
        };
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let is_f32 = kind == TargetKind::Soft || matches!(to.dlogits, Some(Dlogits::F32(_)));
        let widest_bytes = if is_f32 { 4 } else { value_bytes };
        let in_place = matches!(to.dlogits, Some(Dlogits::InPlace));
        let (writes, splits) = (to.dlogits.is_some(), !in_place);
        let plan =
            engine.resident_plan(Work { widest_bytes, entries, writes, splits, ..engine.work(shape) })?;
        let alignment = engine.profile.offset_alignment;
        let values = |bytes: u64| plan.value_bytes(shape.rows, bytes);
        let records = |count: usize| Need { bytes: count as u64 * 4, alignment };
        let per_row = || records(shape.rows);

        let logits_need =
            Need { bytes: values(value_bytes), alignment: if in_place { 4 } else { value_bytes } };
        let logits = if in_place {
            buffers::write("logits", &to.logits, logits_need)?
        } else {
            buffers::read("logits", &to.logits, logits_need)?
        };
        let (targets, probs) = match &to.targets {
            TargetBuffers::Classes(classes) => (buffers::read("targets", classes, per_row())?, None),
            TargetBuffers::Soft(probs) => {
                (buffers::read("targets", probs, Need { bytes: values(4), alignment: 4 })?, None)
            }
            TargetBuffers::Sparse { indices, probs, entries } => {
                let count = shape.rows.saturating_mul(*entries);
                let limit = engine.profile.max_binding_bytes;
                if count as u64 * 4 > limit {
                    return Err(Error::TooManyRows { rows: shape.rows, limit: limit as usize / 4 / entries });
                }
                let indices = buffers::read("targets: indices", indices, records(count))?;
                (indices, Some(buffers::read("targets: probs", probs, records(count))?))
            }
        };
        let read_if = |name, bound: &Option<wgpu::BufferBinding<'_>>, count: usize| {
            bound.as_ref().map(|bound| buffers::read(name, bound, records(count))).transpose()
        };
        let class_weights = read_if("class_weights", &to.class_weights, shape.cols)?;
        let row_weights = read_if("row_weights", &to.row_weights, shape.rows)?;
        let row_mask = read_if("row_mask", &to.row_mask, shape.rows)?;
        let upstream = read_if("upstream", &to.upstream, 1)?;
        let row_upstream = read_if("row_upstream", &to.row_upstream, shape.rows)?;

        let loss = buffers::write_if("loss", to.loss.as_ref(), Need { bytes: LossRecord::BYTES, alignment })?;
        let row_losses = buffers::write_if("row_losses", to.row_losses.as_ref(), per_row())?;
        let lse = buffers::write_if("lse", to.lse.as_ref(), per_row())?;
        let argmax = buffers::write_if("argmax", to.argmax.as_ref(), per_row())?;
        let (dlogits, output, output_bytes) = Dlogits::parts(to.dlogits.as_ref(), value_bytes);
        if output.is_some() {
            buffers::check_words("dlogits", shape, output_bytes)?;
        }
        let dlogits_need = Need { bytes: values(output_bytes), alignment: 4 };
        let dlogits = buffers::write_if("dlogits", dlogits, dlogits_need)?;

        let outputs = [&loss, &row_losses, &lse, &argmax, &dlogits];
        if output.is_none() && outputs.iter().all(|output| output.is_none()) {
            return Err(Error::NoOutput { options: "loss, row_losses, lse, argmax, dlogits" });
        }
        let given = [&probs, &class_weights, &row_weights, &row_mask, &upstream, &row_upstream];
        let optional = given.into_iter().chain(outputs).filter_map(Option::as_ref);
        buffers::check_aliases([&logits, &targets].into_iter().chain(optional))?;

        let scratch = Scratch::new(engine, shape.rows)?;
        let binding = |buffer: Option<Checked>| buffer.map(|buffer| buffer.binding);
        let passes = Passes {
            op: self.clone(),
            plan,
            shape,
            kind,
            output,
            output_bytes,
            logits: logits.binding,
            targets: targets.binding,
            probs: binding(probs),
            class_weights: binding(class_weights),
            row_weights: binding(row_weights),
            row_mask: binding(row_mask),
            upstream: binding(upstream),
            row_upstream: binding(row_upstream),
            loss: binding(loss),
            dlogits: binding(dlogits),
            row_losses: binding(row_losses),
            lse: binding(lse),
            argmax: binding(argmax),
            scratch,
        };
        Bound::new(shape, passes)
    }
}

/// All that the dispatches of a bound cross-entropy need.
struct Passes<E: Element> {
    op: CrossEntropy<E>,
    plan: Plan,
    shape: Shape,
    kind: TargetKind,
    output: Option<Output>,
    output_bytes: u64,
    logits: Binding,
    targets: Binding,
    probs: Option<Binding>,
    class_weights: Option<Binding>,
    row_weights: Option<Binding>,
    row_mask: Option<Binding>,
    upstream: Option<Binding>,
    row_upstream: Option<Binding>,
    loss: Option<Binding>,
    dlogits: Option<Binding>,
    row_losses: Option<Binding>,
    lse: Option<Binding>,
    argmax: Option<Binding>,
    scratch: Scratch,
}

impl<E: Element> Recipe for Passes<E> {
    /// Row inputs, row losses (and gradient), reduction.
    fn dispatches(&self, rows: usize) -> Result<Vec<Dispatch>> {
        let Self { op, plan, scratch, kind, .. } = self;
        let params = rows::params(self.shape.with_rows(rows), *kind, &op.options);
        let given = Given {
            class_weights: self.class_weights.is_some(),
            row_weights: self.row_weights.is_some(),
            row_mask: self.row_mask.is_some(),
            upstream: self.upstream.is_some(),
            row_upstream: self.row_upstream.is_some(),
        };
        let kept = Kept { lse: self.lse.is_some(), argmax: self.argmax.is_some() };
        let constants = &rows::constants(&op.options, *kind, given, kept);
        let from = InputBindings {
            classes: (*kind != TargetKind::Soft).then_some(&self.targets),
            class_weights: self.class_weights.as_ref(),
            row_weights: self.row_weights.as_ref(),
            row_mask: self.row_mask.as_ref(),
            upstream: self.upstream.as_ref(),
            row_upstream: self.row_upstream.as_ref(),
        };
        let mut dispatches =
            rows::input_dispatches(&op.engine, plan, &params, constants, &from, scratch)?.to_vec();

        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let mut arrays = vec![Array { number: binding::LOGITS, binding: &self.logits, value_bytes }];
        arrays.extend(self.dlogits.as_ref().map(|binding| Array {
            number: binding::OUTPUT,
            binding,
            value_bytes: self.output_bytes,
        }));
        let mut rest = vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        rest.extend(self.class_weights.as_ref().map(|weights| (binding::CLASS_WEIGHTS, weights)));
        match kind {
            TargetKind::Classes => {}
            TargetKind::Soft => {
                arrays.push(Array { number: binding::TARGETS, binding: &self.targets, value_bytes: 4 });
            }
            TargetKind::Sparse { .. } => {
                rest.push((binding::TARGETS, &self.targets));
                rest.extend(self.probs.as_ref().map(|probs| (binding::TARGET_PROBS, probs)));
            }
        }
        let (pass, output) = match self.output {
            Some(output) => (&passes::DLOGITS, output),
            None => (&passes::ROW_LOSSES, Output::Element),
        };
        let variant = op.engine.variant(output, rows::target(*kind));
        let call = LogitsCall { pass, variant, constants, params: &params, rest: &rest };
        dispatches.extend(op.engine.resident_dispatches(plan, rows, &call, &arrays)?);
        let to = RowOutputs {
            row_losses: self.row_losses.as_ref(),
            lse: self.lse.as_ref(),
            argmax: self.argmax.as_ref(),
            loss: self.loss.as_ref(),
        };
        dispatches.extend(rows::reduction_dispatches(&op.engine, plan, &params, constants, &to, scratch)?);
        Ok(dispatches)
    }
}
