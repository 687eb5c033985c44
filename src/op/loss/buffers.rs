//! The caller's buffers of a bound loss that are the same for every loss.

use crate::op::loss::inputs::{self, Input};
use crate::op::output::OutputBuffer;

/// Buffers of the per-row inputs of any loss: [`RowInputs`](crate::RowInputs) on the device. All are optional.
///
/// A row weight that is negative or not finite gives its row a NaN loss and no gradient, and the row does not count.
/// The flags of the [`LossRecord`](crate::LossRecord) report it.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Debug, Default)]
pub struct RowInputBuffers<'a> {
    /// A weight for each row: f32 (rows,).
    pub row_weights: Option<wgpu::BufferBinding<'a>>,
    /// Which rows are scored: u32 (rows,), 0 for those left out.
    pub row_mask: Option<wgpu::BufferBinding<'a>>,
    /// The gradient of the caller's objective with respect to the reduced loss: one f32. Loss scaling can change it at
    /// every step without binding again.
    pub upstream: Option<wgpu::BufferBinding<'a>>,
    /// The gradient of the caller's objective with respect to each row's loss: f32 (rows,).
    pub row_upstream: Option<wgpu::BufferBinding<'a>>,
}

/// Output buffers of any loss. At least one output is needed.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Debug, Default)]
pub struct LossOutputs<'a> {
    /// Destination of the batch's loss: one [`LossRecord`](crate::LossRecord).
    pub loss: Option<wgpu::BufferBinding<'a>>,
    /// Destination of the row losses: f32 (rows,), in nats, times the rows' weights, not reduced.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Destination of the gradient of the reduced loss with respect to the logits.
    pub dlogits: Option<OutputBuffer<'a>>,
}

/// The buffers of any loss.
pub(crate) struct LossBuffers<'b> {
    pub logits: &'b wgpu::BufferBinding<'b>,
    /// An array with the logits' layout.
    pub second: Option<&'b wgpu::BufferBinding<'b>>,
    /// The inputs that only this loss takes.
    pub own: Vec<(&'static Input, Option<&'b wgpu::BufferBinding<'b>>)>,
    pub rows: &'b RowInputBuffers<'b>,
    pub outputs: &'b LossOutputs<'b>,
    /// Destination of the row fields that the options ask for.
    pub row_results: Option<&'b wgpu::BufferBinding<'b>>,
}

impl<'b> LossBuffers<'b> {
    /// All inputs that are present.
    pub fn inputs(&self) -> impl Iterator<Item = (&'static Input, &'b wgpu::BufferBinding<'b>)> + use<'b> {
        let rows = self.rows;
        let rows = [
            (&inputs::ROW_WEIGHTS, rows.row_weights.as_ref()),
            (&inputs::ROW_MASK, rows.row_mask.as_ref()),
            (&inputs::UPSTREAM, rows.upstream.as_ref()),
            (&inputs::ROW_UPSTREAM, rows.row_upstream.as_ref()),
        ];
        let all: Vec<_> = self.own.iter().copied().chain(rows).collect();
        all.into_iter().filter_map(|(input, bound)| Some((input, bound?)))
    }
}
