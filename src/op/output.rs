//! Where a value for each logit goes.

use crate::kernel::passes::Output;
use crate::shape::Shape;

/// Where an output (rows, cols) goes: a gradient, probabilities. It is laid out as the logits are; padding is not written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OutputBuffer<'a> {
    /// A buffer of the logits' type, at an offset that is a multiple of 4 bytes. 16-bit rows must not share words: an even
    /// `row_stride`, the class axis last. A gradient beyond the type's range is ±∞: with the large upstream gradients of
    /// loss scaling and f16, take [`F32`](Self::F32).
    To(wgpu::BufferBinding<'a>),
    /// A buffer of f32, whatever the logits' type.
    F32(wgpu::BufferBinding<'a>),
    /// Over the logits, which are lost. For 16-bit logits as [`To`](Self::To).
    InPlace,
}

impl OutputBuffer<'_> {
    /// The buffer of its own, if it has one; how the kernels write it; the bytes of a value where a logit has
    /// `logit_bytes`.
    pub(super) fn parts(&self, logit_bytes: u64) -> (Option<&wgpu::BufferBinding<'_>>, Output, u64) {
        match self {
            Self::InPlace => (None, Output::InPlace, logit_bytes),
            Self::To(bound) => (Some(bound), Output::Element, logit_bytes),
            Self::F32(bound) => (Some(bound), Output::F32, 4),
        }
    }
}

/// How a host call's output of the logits' type is written. 16-bit values of rows side by side share words: they are written
/// as f32, and rounded on their way back.
pub(super) fn own_output(shape: Shape) -> Output {
    if shape.inner > 1 { Output::F32 } else { Output::Element }
}
