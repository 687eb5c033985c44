//! The destination of an output with one value per logit.

use crate::kernel::passes::Output;
use crate::shape::Shape;

/// The destination of an output (rows, cols), such as a gradient or probabilities. The output has the logits' layout;
/// padding is not written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OutputBuffer<'a> {
    /// A buffer of the logits' type, at an offset that is a multiple of 4 bytes. 16-bit rows must not share words: this
    /// needs an even `row_stride` and the class axis last. Gradient values beyond the type's range become ±∞: with f16
    /// and the large upstream gradients of loss scaling, use [`F32`](Self::F32).
    To(wgpu::BufferBinding<'a>),
    /// A buffer of f32, whatever the logits' type.
    F32(wgpu::BufferBinding<'a>),
    /// Overwrites the logits. For 16-bit logits the rules of [`To`](Self::To) apply.
    InPlace,
}

impl OutputBuffer<'_> {
    /// The output's own buffer, if it has one; how the kernels write it; and the bytes per output value. `logit_bytes`
    /// is the bytes per logit.
    pub(super) fn parts(&self, logit_bytes: u64) -> (Option<&wgpu::BufferBinding<'_>>, Output, u64) {
        match self {
            Self::InPlace => (None, Output::InPlace, logit_bytes),
            Self::To(bound) => (Some(bound), Output::Element, logit_bytes),
            Self::F32(bound) => (Some(bound), Output::F32, 4),
        }
    }
}

/// How the kernels write a host call's output of the logits' type. 16-bit values of rows side by side share words, so
/// they are written as f32 and rounded when they are read back.
pub(super) fn own_output(shape: Shape) -> Output {
    if shape.inner > 1 { Output::F32 } else { Output::Element }
}
