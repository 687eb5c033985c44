//! The largest difference of two rows of logits, on the host: no operation of the device has it.

use half::bf16;

use crate::element::Element;
use crate::shape::Shape;

/// The largest |a − b| of two logits of a class in one row. Equal values, and two NaN, differ by 0; any other pair with a
/// NaN or an infinity differs by +∞.
pub(super) fn logit_difference<E: Element>(a: &[E], b: &[E], shape: Shape, row: usize) -> f32 {
    let start = shape.row_start(row);
    if shape.inner == 1 {
        let all = start..start + shape.cols;
        return of_slices(&a[all.clone()], &b[all]);
    }
    let pairs = shape.row(a, row).zip(shape.row(b, row));
    exactly(pairs.map(|(a, b)| (a.to_f64() as f32, b.to_f64() as f32)))
}

fn of_slices<E: Element>(a: &[E], b: &[E]) -> f32 {
    fn of<E: Element, T: bytemuck::Pod>(a: &[E], b: &[E], widened: impl Fn(T) -> f32 + Copy) -> f32 {
        let (a, b): (&[T], &[T]) = (bytemuck::cast_slice(a), bytemuck::cast_slice(b));
        let pairs = || a.iter().zip(b).map(move |(&a, &b)| (widened(a), widened(b)));
        let most = largest_bits(pairs());
        // What is not finite is rare, and is looked at again.
        if most < f32::INFINITY.to_bits() { f32::from_bits(most) } else { exactly(pairs()) }
    }
    match E::NAME {
        f32::NAME => of(a, b, |x: f32| x),
        bf16::NAME => of(a, b, |x: u16| f32::from_bits(u32::from(x) << 16)),
        _ => of(a, b, of_f16_bits),
    }
}

/// Widens an f16 exactly, without a branch: its exponent is 112 below that of an f32 of the same bits.
fn of_f16_bits(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let is_finite = bits & 0x7c00 != 0x7c00;
    let scaled = f32::from_bits(magnitude) * 2f32.powi(112);
    let magnitude = if is_finite { scaled.to_bits() } else { magnitude | 0x7f80_0000 };
    f32::from_bits(magnitude | u32::from(bits & 0x8000) << 16)
}

/// The bits of the largest |a − b|, where values that are not equal and not finite give something from +∞ on. It has no
/// branch, so that the compiler makes vectors of it.
fn largest_bits(pairs: impl Iterator<Item = (f32, f32)>) -> u32 {
    let of = |(a, b): (f32, f32)| if a == b { 0 } else { (a - b).to_bits() & 0x7fff_ffff };
    pairs.map(of).fold(0, u32::max)
}

fn exactly(pairs: impl Iterator<Item = (f32, f32)>) -> f32 {
    let of = |(a, b): (f32, f32)| {
        if a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else if a.is_finite() && b.is_finite() {
            (a - b).abs()
        } else {
            f32::INFINITY
        }
    };
    pairs.map(of).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::options::ComparatorOptions;
    use crate::reference::compare_row;

    /// Every pair of special values, in rows that end at any place of a vector.
    #[test]
    fn equals_the_reference() {
        fn check<E: Element>() {
            let values: Vec<E> =
                [0.0, -0.0, 1.0, -2.5, 1e-7, 6e4, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN]
                    .into_iter()
                    .map(E::from_f32)
                    .collect();
            for (&a, &b) in values.iter().flat_map(|a| values.iter().map(move |b| (a, b))) {
                for cols in [1, 5, 16, 33] {
                    let (mut base, mut other) = (vec![E::from_f32(0.5); cols], vec![E::from_f32(0.25); cols]);
                    (base[cols - 1], other[cols - 1]) = (a, b);
                    let expected =
                        compare_row(&base, &other, None, &ComparatorOptions::default()).logit_difference;
                    let found = logit_difference(&base, &other, Shape::new(1, cols), 0);
                    assert_eq!(f64::from(found), f64::from(expected as f32), "{} {cols}", E::NAME);
                    let beside = Shape::nchw(1, cols, 1);
                    assert_eq!(found, logit_difference(&base, &other, beside, 0));
                }
            }
        }
        check::<f32>();
        check::<f16>();
        check::<bf16>();
    }

    #[test]
    fn every_f16_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (of_f16_bits(bits), f16::from_bits(bits).to_f32());
            assert!(
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                "{bits:x}"
            );
        }
    }

    #[test]
    fn rows_side_by_side() {
        let (a, b) = ([1.0f32, 2.0, 3.0, 4.0], [1.0f32, 0.0, 3.5, 4.0]);
        let of = |row| logit_difference(&a, &b, Shape::nchw(1, 2, 2), row);
        assert_eq!([of(0), of(1)], [0.5, 2.0]);
    }
}
