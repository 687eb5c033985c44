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
use crate::op::kl_divergence::KlDivergence;
use crate::op::rows::{self, Given, InputBindings, RowOutputs, Scratch};
use crate::shape::Shape;

/// The buffers of a bound [`KlDivergence`]: both batches of logits, what goes with them, and at least one output.
///
/// A row weight that is negative or not finite gives its row a NaN loss and no gradient, and the row does not count: the
/// [`LossRecord`]'s flags tell.
#[derive(Clone, Debug)]
pub struct KlDivergenceBuffers<'a> {
    /// The student's logits (rows, cols). Any offset that is a multiple of the element's size.
    pub student: wgpu::BufferBinding<'a>,
    /// The teacher's logits (rows, cols), of the same type, laid out alike. Any offset that is a multiple of the element's
    /// size; fastest where both batches are as far from a multiple of four values.
    pub teacher: wgpu::BufferBinding<'a>,
    /// A weight for each row: f32 (rows,). See [`KlDivergenceInputs`](crate::KlDivergenceInputs) for this and the next
    /// three.
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
    /// Where row losses go: f32 (rows,), in nats, times the rows' weights (and T², if asked for), not reduced.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Where the gradient of the reduced loss by the student's logits goes (`InPlace`: over them).
    pub dlogits: Option<Dlogits<'a>>,
}

impl<'a> KlDivergenceBuffers<'a> {
    /// Both batches of logits (rows, cols), and no output yet.
    pub fn new(student: wgpu::BufferBinding<'a>, teacher: wgpu::BufferBinding<'a>) -> Self {
        Self {
            student,
            teacher,
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

impl<E: Element> KlDivergence<E> {
    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`], [`Error::BufferTooSmall`], [`Error::BufferOffset`],
    /// [`Error::BufferUsage`], [`Error::BufferAlias`]; of 16-bit gradients [`Error::OddStride`],
    /// [`Error::PackedLayout`]; [`Error::RowTooLarge`], [`Error::GroupTooLarge`], [`Error::TooManyRows`];
    /// [`Error::OtherDevice`]; whatever the device reports.
    pub fn bind(&self, shape: Shape, to: &KlDivergenceBuffers<'_>) -> Result<Bound> {
        let engine = &self.engine;
        shape.check()?;
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let (dlogits, output, output_bytes) = Dlogits::parts(to.dlogits.as_ref(), value_bytes);
        let widest_bytes = value_bytes.max(output_bytes);
        let plan =
            engine.resident_plan(Work { widest_bytes, writes: output.is_some(), ..engine.work(shape) })?;
        let alignment = engine.profile.offset_alignment;
        let bytes = plan.logits_bytes(shape.rows);
        let per_row = || Need { bytes: shape.rows as u64 * 4, alignment };

        let student = if output == Some(Output::InPlace) {
            buffers::write("student", &to.student, Need { bytes, alignment: 4 })?
        } else {
            buffers::read("student", &to.student, Need { bytes, alignment: value_bytes })?
        };
        let teacher = buffers::read("teacher", &to.teacher, Need { bytes, alignment: value_bytes })?;
        let read_if = |name, bound: &Option<wgpu::BufferBinding<'_>>, need: Need| {
            bound.as_ref().map(|bound| buffers::read(name, bound, need)).transpose()
        };
        let row_weights = read_if("row_weights", &to.row_weights, per_row())?;
        let row_mask = read_if("row_mask", &to.row_mask, per_row())?;
        let upstream = read_if("upstream", &to.upstream, Need { bytes: 4, alignment })?;
        let row_upstream = read_if("row_upstream", &to.row_upstream, per_row())?;

        let loss = buffers::write_if("loss", to.loss.as_ref(), Need { bytes: LossRecord::BYTES, alignment })?;
        let row_losses = buffers::write_if("row_losses", to.row_losses.as_ref(), per_row())?;
        if output.is_some() {
            buffers::check_words("dlogits", shape, output_bytes)?;
        }
        let dlogits_need = Need { bytes: plan.value_bytes(shape.rows, output_bytes), alignment: 4 };
        let dlogits = buffers::write_if("dlogits", dlogits, dlogits_need)?;

        if output.is_none() && loss.is_none() && row_losses.is_none() {
            return Err(Error::NoOutput { options: "loss, row_losses, dlogits" });
        }
        let optional = [&row_weights, &row_mask, &upstream, &row_upstream, &loss, &row_losses, &dlogits];
        let optional = optional.into_iter().filter_map(Option::as_ref);
        buffers::check_aliases([&student, &teacher].into_iter().chain(optional))?;

        let scratch = Scratch::new(engine, shape.rows)?;
        let binding = |buffer: Option<Checked>| buffer.map(|buffer| buffer.binding);
        let passes = Passes {
            op: self.clone(),
            plan,
            shape,
            output,
            output_bytes,
            student: student.binding,
            teacher: teacher.binding,
            row_weights: binding(row_weights),
            row_mask: binding(row_mask),
            upstream: binding(upstream),
            row_upstream: binding(row_upstream),
            loss: binding(loss),
            row_losses: binding(row_losses),
            dlogits: binding(dlogits),
            scratch,
        };
        Bound::new(shape, passes)
    }
}

/// All that the dispatches of a bound divergence need.
struct Passes<E: Element> {
    op: KlDivergence<E>,
    plan: Plan,
    shape: Shape,
    output: Option<Output>,
    output_bytes: u64,
    student: Binding,
    teacher: Binding,
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
            class_weights: false,
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
            ..InputBindings::default()
        };
        let mut dispatches =
            rows::input_dispatches(engine, plan, &params, constants, &from, scratch)?.to_vec();

        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let mut arrays = vec![
            Array { number: binding::LOGITS, binding: &self.student, value_bytes },
            Array { number: binding::TEACHER, binding: &self.teacher, value_bytes },
        ];
        arrays.extend(self.dlogits.as_ref().map(|binding| Array {
            number: binding::OUTPUT,
            binding,
            value_bytes: self.output_bytes,
        }));
        let rest = [(binding::ROW_INPUTS, &scratch.inputs), (binding::ROW_RESULTS, &scratch.results)];
        let (pass, output) = match self.output {
            Some(output) => (&passes::KL_DLOGITS, output),
            None => (&passes::KL_LOSSES, Output::Element),
        };
        let variant = engine.variant(output, Target::None);
        let call = LogitsCall { pass, variant, constants, params: &params, rest: &rest };
        dispatches.extend(engine.resident_dispatches(plan, rows, &call, &arrays)?);
        let to = RowOutputs {
            loss: self.loss.as_ref(),
            row_losses: self.row_losses.as_ref(),
            ..RowOutputs::default()
        };
        dispatches.extend(rows::reduction_dispatches(engine, plan, &params, constants, &to, scratch)?);
        Ok(dispatches)
    }
}
