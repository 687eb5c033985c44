//! The element types of logits.

use half::{bf16, f16};

mod sealed {
    /// What only this crate calls.
    pub trait Sealed: Sized {
        /// The same values, if this is f32.
        fn as_f32(values: &[Self]) -> Option<&[f32]>;
        /// The values, exactly. Simple enough for the compiler to do several at a time.
        fn widen(values: &[Self], into: &mut [f32]);
    }

    impl Sealed for f32 {
        #[inline(always)]
        fn as_f32(values: &[Self]) -> Option<&[f32]> {
            Some(values)
        }

        #[inline(always)]
        fn widen(values: &[Self], into: &mut [f32]) {
            into.copy_from_slice(values);
        }
    }

    impl Sealed for half::f16 {
        #[inline(always)]
        fn as_f32(_: &[Self]) -> Option<&[f32]> {
            None
        }

        #[inline(always)]
        fn widen(values: &[Self], into: &mut [f32]) {
            // With its exponent in place but 112 too small, denormal or not, a value is off by the factor 2^112.
            let factor = f32::from_bits((127 + 112) << 23);
            for (into, value) in into.iter_mut().zip(values) {
                let bits = u32::from(value.to_bits());
                let magnitude = (bits & 0x7fff) << 13;
                let scaled = (f32::from_bits(magnitude) * factor).to_bits();
                // Infinities and NaN have every bit of the exponent.
                let special = magnitude | 0x7f80_0000;
                let widened = if magnitude >= 0x7c00 << 13 { special } else { scaled };
                *into = f32::from_bits(widened | (bits & 0x8000) << 16);
            }
        }
    }

    impl Sealed for half::bf16 {
        #[inline(always)]
        fn as_f32(_: &[Self]) -> Option<&[f32]> {
            None
        }

        #[inline(always)]
        fn widen(values: &[Self], into: &mut [f32]) {
            for (into, value) in into.iter_mut().zip(values) {
                *into = f32::from_bits(u32::from(value.to_bits()) << 16);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::sealed::Sealed;
    use super::*;

    fn check<E: Element + Sealed>(of_bits: impl Fn(u16) -> E) {
        let all: Vec<E> = (0..=u16::MAX).map(of_bits).collect();
        let mut widened = vec![0.5; all.len()];
        E::widen(&all, &mut widened);
        for (value, widened) in all.into_iter().zip(widened) {
            let (value, widened) = (value.to_f64(), f64::from(widened));
            assert!(
                value.to_bits() == widened.to_bits() || (value.is_nan() && widened.is_nan()),
                "{value:e}"
            );
        }
    }

    #[test]
    fn every_value_of_16_bits_is_widened_exactly() {
        check(f16::from_bits);
        check(bf16::from_bits);
    }
}
