//! The caller's own buffers: all checks, scratch and bind groups, once.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{self, Output, Target, binding};
use crate::kernel::{Binding, Dispatch, Plan, Work};
use crate::op::bound::{Bound, Recipe};
use crate::op::buffers::{self, Checked, Need};
use crate::op::cross_entropy::LossRecord;
use crate::op::dlogits::Dlogits;
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::rows::{self, InputBindings, RowOutputs, Scratch};
use crate::op::sigmoid_bce::{Given, SigmoidBce};
use crate::shape::Shape;

/// The buffers of a bound [`SigmoidBce`]: logits, targets, what goes with them, and at least one output.
///
/// What is wrong in a buffer is told by the [`LossRecord`]'s flags: a NaN logit, a target that is NaN or infinite, a class
/// weight or `pos_weight` that is negative or not finite makes the row NaN; such a row weight gives its row a NaN loss and
/// no gradient, and the row does not count.
#[derive(Clone, Debug)]
pub struct SigmoidBceBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Targets: f32 (rows, cols), laid out as the logits are. Any offset that is a multiple of 4.
    pub targets: wgpu::BufferBinding<'a>,
    /// What a class weighs where it applies: f32 (cols,). See [`SigmoidBceInputs`](crate::SigmoidBceInputs) for this and
    /// the next five.
    pub pos_weight: Option<wgpu::BufferBinding<'a>>,
    /// A weight for each class: f32 (cols,).
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
    /// Where the batch's loss goes: one [`LossRecord`], whose `weight` is Σ row weight · cols of the rows that count.
    pub loss: Option<wgpu::BufferBinding<'a>>,
    /// Where row losses go: f32 (rows,), in nats, times the rows' weights, not reduced.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Where the gradient of the reduced loss goes.
    pub dlogits: Option<Dlogits<'a>>,
}

impl<'a> SigmoidBceBuffers<'a> {
    /// Logits and targets, and no output yet.
    pub fn new(logits: wgpu::BufferBinding<'a>, targets: wgpu::BufferBinding<'a>) -> Self {
        Self {
            logits,
            targets,
            pos_weight: None,
            class_weights: None,
            row_weights: None,
            row_mask: None,
            upstream: None,
            row_upstream: None,
            loss: None,
            row_losses: None,
            dlogits: None,
        }
    }
}

impl<E: Element> SigmoidBce<E> {
    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`], [`Error::BufferTooSmall`], [`Error::BufferOffset`],
    /// [`Error::BufferUsage`], [`Error::BufferAlias`]; of 16-bit gradients [`Error::OddStride`],
    /// [`Error::PackedLayout`]; [`Error::RowTooLarge`], [`Error::GroupTooLarge`], [`Error::TooManyRows`];
    /// [`Error::OtherDevice`]; whatever the device reports.
    pub fn bind(&self, shape: Shape, to: &SigmoidBceBuffers<'_>) -> Result<Bound> {
        let engine = &self.engine;
        shape.check()?;
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        // Targets are f32, whatever the logits are.
        let plan = engine.resident_plan(Work {
            widest_bytes: 4,
            writes: to.dlogits.is_some(),
            ..engine.work(shape)
        })?;
        let alignment = engine.profile.offset_alignment;
        let values = |bytes: u64| plan.value_bytes(shape.rows, bytes);
        let records = |count: usize| Need { bytes: count as u64 * 4, alignment };

        let in_place = matches!(to.dlogits, Some(Dlogits::InPlace));
        let need = Need { bytes: values(value_bytes), alignment: if in_place { 4 } else { value_bytes } };
        let logits = if in_place {
            buffers::write("logits", &to.logits, need)?
        } else {
            buffers::read("logits", &to.logits, need)?
        };
        let targets = buffers::read("targets", &to.targets, Need { bytes: values(4), alignment: 4 })?;
        let read_if = |name, bound: &Option<wgpu::BufferBinding<'_>>, count: usize| {
            bound.as_ref().map(|bound| buffers::read(name, bound, records(count))).transpose()
        };
        let pos_weight = read_if("pos_weight", &to.pos_weight, shape.cols)?;
        let class_weights = read_if("class_weights", &to.class_weights, shape.cols)?;
        let row_weights = read_if("row_weights", &to.row_weights, shape.rows)?;
        let row_mask = read_if("row_mask", &to.row_mask, shape.rows)?;
        let upstream = read_if("upstream", &to.upstream, 1)?;
        let row_upstream = read_if("row_upstream", &to.row_upstream, shape.rows)?;

        let loss = buffers::write_if("loss", to.loss.as_ref(), Need { bytes: LossRecord::BYTES, alignment })?;
        let row_losses = buffers::write_if("row_losses", to.row_losses.as_ref(), records(shape.rows))?;
        let (dlogits, output, output_bytes) = Dlogits::parts(to.dlogits.as_ref(), value_bytes);
        if output.is_some() {
            buffers::check_words("dlogits", shape, output_bytes)?;
        }
        let need = Need { bytes: values(output_bytes), alignment: 4 };
        let dlogits = buffers::write_if("dlogits", dlogits, need)?;

        let outputs = [&loss, &row_losses, &dlogits];
        if output.is_none() && outputs.iter().all(|output| output.is_none()) {
            return Err(Error::NoOutput { options: "loss, row_losses, dlogits" });
        }
        let given = [&pos_weight, &class_weights, &row_weights, &row_mask, &upstream, &row_upstream];
        let optional = given.into_iter().chain(outputs).filter_map(Option::as_ref);
        buffers::check_aliases([&logits, &targets].into_iter().chain(optional))?;

        let binding = |buffer: Option<Checked>| buffer.map(|buffer| buffer.binding);
        let passes = Passes {
            op: self.clone(),
            scratch: Scratch::new(engine, shape.rows)?,
            plan,
            shape,
            output,
            output_bytes,
            logits: logits.binding,
            targets: targets.binding,
            pos_weight: binding(pos_weight),
            class_weights: binding(class_weights),
            row_weights: binding(row_weights),
            row_mask: binding(row_mask),
            upstream: binding(upstream),
            row_upstream: binding(row_upstream),
            loss: binding(loss),
            row_losses: binding(row_losses),
            dlogits: binding(dlogits),
        };
        Bound::new(shape, passes)
    }
}

/// All that the dispatches of a bound operation need.
struct Passes<E: Element> {
    op: SigmoidBce<E>,
    plan: Plan,
    shape: Shape,
    output: Option<Output>,
    output_bytes: u64,
    logits: Binding,
    targets: Binding,
    pos_weight: Option<Binding>,
    class_weights: Option<Binding>,
    row_weights: Option<Binding>,
    row_mask: Option<Binding>,
    upstream: Option<Binding>,
    row_upstream: Option<Binding>,
    loss: Option<Binding>,
    row_losses: Option<Binding>,
    dlogits: Option<Binding>,
    scratch: Scratch,
}

impl<E: Element> Recipe for Passes<E> {
    /// Row inputs, row losses (and gradient), reduction.
    fn dispatches(&self, rows: usize) -> Result<Vec<Dispatch>> {
        let Self { op, plan, scratch, .. } = self;
        let engine = &op.engine;
        let params = op.params(self.shape.with_rows(rows));
        let constants = &op.constants(Given {
            pos_weight: self.pos_weight.is_some(),
            class_weights: self.class_weights.is_some(),
            row_weights: self.row_weights.is_some(),
            row_mask: self.row_mask.is_some(),
            upstream: self.upstream.is_some(),
            row_upstream: self.row_upstream.is_some(),
        });
        let from = InputBindings {
            row_weights: self.row_weights.as_ref(),
            row_mask: self.row_mask.as_ref(),
            upstream: self.upstream.as_ref(),
            row_upstream: self.row_upstream.as_ref(),
            ..Default::default()
        };
        let mut dispatches =
            rows::input_dispatches(engine, plan, &params, constants, &from, scratch)?.to_vec();

        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let mut arrays = vec![
            Array { number: binding::LOGITS, binding: &self.logits, value_bytes },
            Array { number: binding::TARGETS, binding: &self.targets, value_bytes: 4 },
        ];
        arrays.extend(self.dlogits.as_ref().map(|binding| Array {
            number: binding::OUTPUT,
            binding,
            value_bytes: self.output_bytes,
        }));
        let mut rest = vec![(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        rest.extend(self.class_weights.as_ref().map(|weights| (binding::CLASS_WEIGHTS, weights)));
        rest.extend(self.pos_weight.as_ref().map(|weights| (binding::POS_WEIGHT, weights)));
        let (pass, output) = match self.output {
            Some(output) => (&passes::SIGMOID_BCE_DLOGITS, output),
            None => (&passes::SIGMOID_BCE_LOSSES, Output::Element),
        };
        let variant = engine.variant(output, Target::None);
        let call = LogitsCall { pass, variant, constants, params: &params, rest: &rest };
        dispatches.extend(engine.resident_dispatches(plan, rows, &call, &arrays)?);
        let to = RowOutputs {
            row_losses: self.row_losses.as_ref(),
            loss: self.loss.as_ref(),
            ..Default::default()
        };
        dispatches.extend(rows::reduction_dispatches(engine, plan, &params, constants, &to, scratch)?);
        Ok(dispatches)
    }
}
