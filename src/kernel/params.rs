//! The per-call parameters of every pass, as `Params` in `shaders/common/params.wgsl`.

use std::f64::consts::LOG2_E;

use crate::options::distance_scale;
use crate::shape::Shape;

/// The uniform of a dispatch. Positions and lengths are in elements of their array's type.
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
    pub mask_scale: f32,
    pub twice_exp_scale: f32,
    pub twice_inverse_temperature: f32,

    pub distance_scale: f32,
    pub inverse_distance: f32,
    pub input_shift: u32,

    pub entmax_power: f32,
    pub entmax_slope: f32,
    pub entmax_twice_slope: f32,
    pub entmax_loss_scale: f32,

    pub classes: u32,
    pub row_negatives: u32,
    pub count_scale: f32,
    pub pair_scale: f32,

    pub first_col: u32,
    pub total_cols: u32,
    pub unused: [u32; 2],

    pub moment_scales_a: [f32; 4],
    pub moment_scales_b: [f32; 4],
}

impl Default for Params {
    fn default() -> Self {
        Self { upstream: 1.0, weight_factor: 1.0, ..bytemuck::Zeroable::zeroed() }.with_temperature(1.0)
    }
}

impl Params {
    /// The parameters of a checked shape, with temperature 1 and no softcap.
    pub fn of(shape: Shape) -> Self {
        Self::default().shaped(shape)
    }

    /// Sets a checked shape.
    pub fn shaped(self, shape: Shape) -> Self {
        Self {
            rows: shape.rows as u32,
            cols: shape.cols as u32,
            classes: shape.cols as u32,
            total_cols: shape.cols as u32,
            row_stride: shape.row_stride as u32,
            inner: shape.inner as u32,
            ..self
        }
    }

    /// Divides scores by a checked temperature.
    pub fn with_temperature(self, temperature: f32) -> Self {
        let inverse = 1.0 / f64::from(temperature);
        let (exp_scale, inverse_temperature) = ((LOG2_E * inverse) as f32, inverse as f32);
        let distance_scale = distance_scale(temperature);
        Self {
            exp_scale,
            inverse_temperature,
            twice_exp_scale: 2.0 * exp_scale,
            twice_inverse_temperature: 2.0 * inverse_temperature,
            distance_scale: distance_scale as f32,
            inverse_distance: (inverse / distance_scale) as f32,
            ..self
        }
    }

    /// Makes scores `scale·x + mask` with a checked scale. They are divided by a power of two, and the exponential
    /// multiplies by it again. Neither part is then above half of f32's largest number, and their sum does not
    /// overflow.
    pub fn with_masked_scores(self, scale: f32) -> Self {
        // The power of two above the scale, doubled for the sum. With a scale below 2^-26, a scaled logit is rounded
        // away next to a mask near f32's largest number: no sum overflows, and the scale is kept from becoming
        // subnormal.
        let power_above = (scale.abs().to_bits() >> 23) as i32 - 126;
        let divisor = if power_above < -25 { 1.0 } else { 2f32.powi(power_above.max(0) + 1) };
        Self {
            score_scale: scale / divisor,
            mask_scale: 1.0 / divisor,
            exp_scale: (LOG2_E * f64::from(divisor)) as f32,
            ..self
        }
    }

    /// Sets a checked α of entmax.
    pub fn with_alpha(self, alpha: f32) -> Self {
        let alpha = f64::from(alpha);
        let slope = alpha - 1.0;
        Self {
            entmax_power: (1.0 / slope) as f32,
            entmax_slope: slope as f32,
            entmax_twice_slope: (2.0 * slope) as f32,
            entmax_loss_scale: (1.0 / (alpha * slope)) as f32,
            ..self
        }
    }

    /// Caps logits to a checked ±softcap.
    pub fn with_softcap(self, softcap: Option<f32>) -> Self {
        let softcap = softcap.unwrap_or(0.0);
        let inverse_softcap = if softcap == 0.0 { 0.0 } else { 1.0 / softcap };
        Self { softcap, inverse_softcap, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_scores_do_not_overflow() {
        let two = |exponent| 2f32.powi(exponent);
        for scale in [
            f32::MIN_POSITIVE,
            two(-27),
            two(-26),
            0.125,
            0.3,
            1.0,
            1.0000001,
            1.9999999,
            -2.0,
            3e29,
            -two(100),
        ] {
            let of = Params::of(Shape::new(1, 1)).with_masked_scores(scale);
            let extreme = (of.score_scale.abs() * f32::MAX, of.mask_scale * f32::MAX);
            assert!((extreme.0 + extreme.1).is_finite(), "{scale:e}: {extreme:?}");
            assert!(of.score_scale.is_normal() && of.mask_scale.is_normal(), "{scale:e}: {of:?}");
            // The division by a power of two is undone.
            assert_eq!(of.mask_scale.to_bits() << 9, 0, "{scale:e}");
            assert_eq!(of.score_scale / of.mask_scale, scale);
            assert_eq!(of.exp_scale * of.mask_scale, std::f32::consts::LOG2_E, "{scale:e}");
        }
    }
}
