//! Where gradients go.

use crate::kernel::passes::Output;

/// Where a gradient (rows, cols) goes. It is laid out as the logits are; padding is not written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Dlogits<'a> {
    /// A buffer of the logits' type, at an offset that is a multiple of 4 bytes. 16-bit rows must not share words: an even
    /// `row_stride`, the class axis last. A gradient beyond the type's range is ±∞: with the large upstream gradients of
    /// loss scaling and f16, take [`F32`](Self::F32).
    To(wgpu::BufferBinding<'a>),
    /// A buffer of f32, whatever the logits' type.
    F32(wgpu::BufferBinding<'a>),
    /// Over the logits, which are lost. For 16-bit logits as [`To`](Self::To).
    InPlace,
}

impl Dlogits<'_> {
    /// The buffer of its own, if it has one; how the kernels write it; the bytes of a value, logits having so many.
    pub(super) fn parts<'b>(
        this: Option<&'b Self>,
        logit_bytes: u64,
    ) -> (Option<&'b wgpu::BufferBinding<'b>>, Option<Output>, u64) {
        match this {
            None => (None, None, 0),
            Some(Self::InPlace) => (None, Some(Output::InPlace), logit_bytes),
            Some(Self::To(bound)) => (Some(bound), Some(Output::Element), logit_bytes),
            Some(Self::F32(bound)) => (Some(bound), Some(Output::F32), 4),
        }
    }
}
