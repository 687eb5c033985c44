//! The caller's buffers of a bound loss, as far as they are the same for every loss.

use crate::op::loss::inputs::{self, Input};
use crate::op::output::OutputBuffer;

/// Buffers of what every loss may be given for its rows: as [`RowInputs`](crate::RowInputs) on the device. All of it may be
/// left out.
///
/// A row weight that is negative or not finite gives its row a NaN loss and no gradient, and the row does not count: the
/// [`LossRecord`](crate::LossRecord)'s flags tell.
#[derive(Clone, Debug, Default)]
pub struct RowInputBuffers<'a> {
    /// A weight for each row: f32 (rows,).
    pub row_weights: Option<wgpu::BufferBinding<'a>>,
    /// Which rows are scored: u32 (rows,), 0 for those left out.
    pub row_mask: Option<wgpu::BufferBinding<'a>>,
    /// The gradient of what follows the loss with respect to the reduced loss: one f32. Loss scaling changes it at every
    /// step, without a new binding.
    pub upstream: Option<wgpu::BufferBinding<'a>>,
    /// The same for each row's loss: f32 (rows,).
    pub row_upstream: Option<wgpu::BufferBinding<'a>>,
}

/// Buffers that every loss can write. At least one output is needed.
#[derive(Clone, Debug, Default)]
pub struct LossOutputs<'a> {
    /// Where the batch's loss goes: one [`LossRecord`](crate::LossRecord).
    pub loss: Option<wgpu::BufferBinding<'a>>,
    /// Where row losses go: f32 (rows,), in nats, times the rows' weights, not reduced.
    pub row_losses: Option<wgpu::BufferBinding<'a>>,
    /// Where the gradient of the reduced loss goes, with respect to the logits.
    pub dlogits: Option<OutputBuffer<'a>>,
}

/// The buffers of any loss.
pub(crate) struct LossBuffers<'b> {
    pub logits: &'b wgpu::BufferBinding<'b>,
    /// What lies like the logits.
    pub second: Option<&'b wgpu::BufferBinding<'b>>,
    /// What the loss alone takes.
    pub own: Vec<(&'static Input, Option<&'b wgpu::BufferBinding<'b>>)>,
    pub rows: &'b RowInputBuffers<'b>,
    pub outputs: &'b LossOutputs<'b>,
    /// Where else row results go.
    pub lse: Option<&'b wgpu::BufferBinding<'b>>,
    pub argmax: Option<&'b wgpu::BufferBinding<'b>>,
}

impl<'b> LossBuffers<'b> {
    /// All inputs that are given.
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
