//! The element types of logits.

use half::{bf16, f16};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

/// An element type of logits: `f32`, or [`half`]'s `f16` and `bf16`. Sealed, because the shaders must support it.
///
/// All arithmetic is in f32, whatever the type. 16-bit logits are widened exactly. 16-bit results are rounded once, to
/// nearest, ties to even.
pub trait Element: sealed::Sealed + bytemuck::Pod + Default + Send + Sync + 'static {
    /// The type's name in shaders and messages.
    const NAME: &'static str;

    /// The value, exactly.
    fn to_f64(self) -> f64;

    /// The nearest value of this type, ties to even; ±∞ beyond its range, NaN for NaN.
    fn from_f32(value: f32) -> Self;

    /// The distance between values of this type near `value`, which is what rounding to it may add to an error. 0 for
    /// f32, because everything is computed in f32.
    fn rounding(value: f64) -> f64;
}

/// The distance between neighbouring values near `value`, in a type with `fraction_bits` bits of fraction whose
/// smallest normal number is 2^`least`.
fn spacing(value: f64, fraction_bits: i32, least: i32) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return 2f64.powi(least - fraction_bits);
    }
    let exponent = value.abs().log2().floor() as i32;
    2f64.powi(exponent.max(least) - fraction_bits)
}

impl Element for f32 {
    const NAME: &'static str = "f32";

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn rounding(_: f64) -> f64 {
        0.0
    }
}

impl Element for f16 {
    const NAME: &'static str = "f16";

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn rounding(value: f64) -> f64 {
        spacing(value, 10, -14)
    }
}

impl Element for bf16 {
    const NAME: &'static str = "bf16";

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn rounding(value: f64) -> f64 {
        spacing(value, 7, -126)
    }
}
