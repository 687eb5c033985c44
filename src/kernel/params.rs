//! The per-call numbers of every pass, as `Params` in `shaders/common/params.wgsl`.

use crate::shape::Shape;

/// The uniform of a dispatch. Values are counted in elements of their array's type.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Params {
    pub rows: u32,
    pub cols: u32,
    pub row_stride: u32,
    pub inner: u32,
    pub first_row: u32,
    pub logits_base: u32,
    pub output_base: u32,
    pub second_base: u32,

    pub weight_factor: f32,
    pub entries: u32,
    pub ignore_index: i32,
    pub exp_scale: f32,
    pub inverse_temperature: f32,
    pub denominator: f32,
    pub row_denominator: f32,
    pub upstream: f32,

    pub softcap: f32,
    pub inverse_softcap: f32,
    pub smoothing: f32,
    pub z_loss: f32,
    pub focal_gamma: f32,
    pub sequence_length: u32,
    pub shift: u32,
    pub score_from: u32,

    pub score_to: u32,
    pub score_scale: f32,
    pub mask_first_row: u32,
    pub causal_offset: i32,

    pub additive_rows: u32,
    pub additive_repeat: u32,
    pub boolean_rows: u32,
    pub boolean_repeat: u32,

    pub segments: u32,
    pub segment_values: u32,

    pub distance_scale: f32,
    pub inverse_distance: f32,
}

impl Params {
    /// The numbers of a checked shape, and of nothing else: temperature 1, no cap.
    pub fn of(shape: Shape) -> Self {
        Self {
            rows: shape.rows as u32,
            cols: shape.cols as u32,
            row_stride: shape.row_stride as u32,
            inner: shape.inner as u32,
            upstream: 1.0,
            weight_factor: 1.0,
            ..bytemuck::Zeroable::zeroed()
        }
        .with_temperature(1.0)
    }

    /// Scores are divided by a checked temperature.
    pub fn with_temperature(self, temperature: f32) -> Self {
        let inverse = 1.0 / f64::from(temperature);
        // A power of two changes no digit. By this one a sum of 2^32 distances between finite scores is within f32, and what
        // it loses below f32 is nothing beside a loss.
        let distance_scale = 2f64.powi((-33 - f64::from(temperature).log2().floor() as i32).clamp(-100, -1));
        Self {
            distance_scale: distance_scale as f32,
            inverse_distance: (inverse / distance_scale) as f32,
            exp_scale: (std::f64::consts::LOG2_E * inverse) as f32,
            inverse_temperature: inverse as f32,
            ..self
        }
    }

    /// Logits are capped to a checked ±softcap.
    pub fn with_softcap(self, softcap: Option<f32>) -> Self {
        let softcap = softcap.unwrap_or(0.0);
        let inverse_softcap = if softcap == 0.0 { 0.0 } else { 1.0 / softcap };
        Self { softcap, inverse_softcap, ..self }
    }
}
