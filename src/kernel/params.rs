//! The per-call numbers of every pass, as `Params` in `shaders/common/params.wgsl`.

use crate::shape::Shape;

/// The uniform of a dispatch. Values are counted in elements of the logits' type.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Params {
    pub rows: u32,
    pub cols: u32,
    pub row_stride: u32,
    pub first_row: u32,
    pub logits_base: u32,
    pub output_base: u32,
    pub ignore_index: i32,
    pub denominator: f32,
}

impl Params {
    /// The numbers of a checked shape.
    pub fn of(shape: Shape) -> Self {
        Self {
            rows: shape.rows as u32,
            cols: shape.cols as u32,
            row_stride: shape.row_stride as u32,
            ..Self::default()
        }
    }
}
