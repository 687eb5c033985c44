//! The caller's own buffers: all checks, scratch and bind groups, once.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::{Binding, Dispatch, Params, Plan, passes};
use crate::op::bound::{Bound, Recipe};
use crate::op::buffers::{self, Need};
use crate::op::cross_entropy::rows::{self, BLOCK_ROWS, Scratch};
use crate::op::cross_entropy::{CrossEntropy, LossRecord};
use crate::op::engine::LogitsCall;
use crate::shape::Shape;

/// The buffers of a bound [`CrossEntropy`]: at least one output.
///
/// A target out of range gives its row a NaN loss and no gradient, and is told by the [`LossRecord`]'s flags.
#[derive(Clone, Debug)]
pub struct CrossEntropyBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Target classes: i32 (rows,).
    pub targets: wgpu::BufferBinding<'a>,
    /// Where the batch's loss goes: one [`LossRecord`].
    pub loss: Option<wgpu::BufferBinding<'a>>,
    /// Where row losses go: f32 (rows,), in nats, not reduced.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Where ln Σ exp(logits) goes: f32 (rows,), in nats; 0 for ignored rows, NaN where the target is out of
    /// range.
    pub lse: Option<wgpu::BufferBinding<'a>>,
    /// Where the most probable class goes: u32 (rows,); [`NO_CLASS`](crate::NO_CLASS) for ignored rows and
    /// where the target is out of range.
    pub argmax: Option<wgpu::BufferBinding<'a>>,
    /// Where the gradient of the reduced loss goes: (rows, cols) laid out as the logits are; padding is not written.
    pub dlogits: Option<wgpu::BufferBinding<'a>>,
}

impl<'a> CrossEntropyBuffers<'a> {
    /// Logits and targets, and no output yet.
    pub fn new(logits: wgpu::BufferBinding<'a>, targets: wgpu::BufferBinding<'a>) -> Self {
        Self { logits, targets, loss: None, row_losses: None, lse: None, argmax: None, dlogits: None }
    }
}

impl<E: Element> CrossEntropy<E> {
    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`], [`Error::BufferTooSmall`], [`Error::BufferOffset`],
    /// [`Error::BufferUsage`], [`Error::BufferAlias`]; [`Error::RowTooLarge`], [`Error::TooManyRows`];
    /// [`Error::OtherDevice`]; whatever the device reports.
    pub fn bind(&self, device: &wgpu::Device, shape: Shape, to: &CrossEntropyBuffers<'_>) -> Result<Bound> {
        let engine = &self.engine;
        engine.check_device(device)?;
        let plan = engine.resident_plan(shape)?;
        let alignment = engine.profile.offset_alignment;
        let values = || Need { bytes: plan.window_bytes(shape.rows), alignment: size_of::<E>() as u64 };
        let per_row = || Need { bytes: shape.rows as u64 * 4, alignment };

        let logits = buffers::read("logits", &to.logits, values())?;
        let targets = buffers::read("targets", &to.targets, per_row())?;
        let loss = buffers::write_if("loss", to.loss.as_ref(), Need { bytes: LossRecord::BYTES, alignment })?;
        let row_losses = buffers::write_if("row_losses", to.row_losses.as_ref(), per_row())?;
        let lse = buffers::write_if("lse", to.lse.as_ref(), per_row())?;
        let argmax = buffers::write_if("argmax", to.argmax.as_ref(), per_row())?;
        let dlogits = buffers::write_if("dlogits", to.dlogits.as_ref(), values())?;
        let outputs = [&loss, &row_losses, &lse, &argmax, &dlogits];
        if outputs.iter().all(|output| output.is_none()) {
            return Err(Error::NoOutput { options: "loss, row_losses, lse, argmax, dlogits" });
        }
        buffers::check_aliases([&logits, &targets].into_iter().chain(outputs.into_iter().flatten()))?;

        let scratch = Scratch::new(engine, shape.rows)?;
        let binding = |buffer: Option<buffers::Checked>| buffer.map(|buffer| buffer.binding);
        let passes = Passes {
            op: self.clone(),
            plan,
            shape,
            logits: logits.binding,
            targets: targets.binding,
            loss: binding(loss),
            dlogits: binding(dlogits),
            row_losses: binding(row_losses),
            lse: binding(lse),
            argmax: binding(argmax),
            scratch,
        };
        Bound::new(shape.rows, passes)
    }
}

/// All that the dispatches of a bound cross-entropy need.
struct Passes<E: Element> {
    op: CrossEntropy<E>,
    plan: Plan,
    shape: Shape,
    logits: Binding,
    targets: Binding,
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
        let Self { op, plan, scratch, .. } = self;
        let params = rows::params(self.shape.with_rows(rows), &op.options);
        let mut dispatches =
            rows::input_dispatches(&op.engine, plan, &params, &self.targets, scratch)?.to_vec();

        let Scratch { inputs, results, totals, .. } = scratch;
        let (pass, rest) = match self.dlogits {
            Some(_) => (&passes::DLOGITS, &[inputs, results, totals][..]),
            None => (&passes::ROW_LOSSES, &[inputs, results][..]),
        };
        let constants = &rows::constants(&op.options, self.argmax.is_some());
        let call = LogitsCall { pass, constants, params: &params, rest };
        let dlogits = self.dlogits.as_ref();
        dispatches.extend(op.engine.resident_dispatches(plan, rows, &call, &self.logits, dlogits)?);
        dispatches.extend(self.reduction(&params)?);
        Ok(dispatches)
    }
}

impl<E: Element> Passes<E> {
    fn reduction(&self, params: &Params) -> Result<Vec<Dispatch>> {
        let Self { op, plan, scratch, row_losses, lse, argmax, .. } = self;
        if self.loss.is_none() && row_losses.is_none() && lse.is_none() && argmax.is_none() {
            return Ok(Vec::new());
        }
        let mut dispatches = vec![op.engine.kernels.dispatch(
            &passes::REDUCE_LOSS,
            &[
                (passes::WRITE_ROW_LOSSES, u32::from(row_losses.is_some())),
                (passes::WRITE_LSE, u32::from(lse.is_some())),
                (passes::WRITE_ARGMAX, u32::from(argmax.is_some())),
            ],
            params,
            &[
                Some(&scratch.results),
                Some(&scratch.blocks),
                row_losses.as_ref(),
                lse.as_ref(),
                argmax.as_ref(),
            ],
            plan.grid((params.rows as usize).div_ceil(BLOCK_ROWS)),
        )?];
        if let Some(loss) = &self.loss {
            dispatches.push(op.engine.kernels.dispatch(
                &passes::FINISH_LOSS,
                &[],
                params,
                &[Some(&scratch.blocks), Some(&scratch.totals), Some(loss)],
                [1, 1],
            )?);
        }
        Ok(dispatches)
    }
}
