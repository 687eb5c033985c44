//! The per-call numbers of every pass, as `Params` in `shaders/common/params.wgsl`.

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
