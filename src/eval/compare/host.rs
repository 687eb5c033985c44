//! What the host finds in two rows of logits: their largest difference, and the overlap of their largest classes. It has
//! them in its caches when it writes them for the device. The device's search for the largest classes took longer there than
//! the losses and the divergence together (2,048 × 50,000 in bf16 on lavapipe: 2.4 s of 3.6).

use half::bf16;

use crate::coded::Logits;
use crate::element::Element;
use crate::shape::Shape;

/// The largest |a − b| of two logits of a class in one row. Equal values, and two NaN, differ by 0; any other pair with a
/// NaN or an infinity differs by +∞.
pub(super) fn logit_difference<E: Element>(
    a: Logits<'_, E>,
    b: Logits<'_, E>,
    shape: Shape,
    row: usize,
) -> f32 {
    let (a, b) = match (a, b) {
        (Logits::Values(a), Logits::Values(b)) => (a, b),
        (Logits::Codes(a), Logits::Codes(b)) => {
            let (a, b) = (a.row(row, shape.cols), b.row(row, shape.cols));
            return of_pairs(|| a.values().zip(b.values()));
        }
        _ => {
            return exactly(
                a.row(shape, row).into_iter().zip(b.row(shape, row)).map(|(a, b)| (a as f32, b as f32)),
            );
        }
    };
    let start = shape.row_start(row);
    if shape.inner == 1 {
        let all = start..start + shape.cols;
        return of_slices(&a[all.clone()], &b[all]);
    }
    let pairs = shape.row(a, row).zip(shape.row(b, row));
    exactly(pairs.map(|(a, b)| (a.to_f64() as f32, b.to_f64() as f32)))
}

fn of_pairs<I: Iterator<Item = (f32, f32)>>(pairs: impl Fn() -> I) -> f32 {
    let most = largest_bits(pairs());
    // What is not finite is rare, and is looked at again.
    if most < f32::INFINITY.to_bits() { f32::from_bits(most) } else { exactly(pairs()) }
}

fn of_slices<E: Element>(a: &[E], b: &[E]) -> f32 {
    fn of<T: bytemuck::Pod>(a: &[T], b: &[T], widened: impl Fn(T) -> f32 + Copy) -> f32 {
        of_pairs(|| a.iter().zip(b).map(move |(&a, &b)| (widened(a), widened(b))))
    }
    match E::NAME {
        f32::NAME => of(bytemuck::cast_slice(a), bytemuck::cast_slice(b), |x: f32| x),
        bf16::NAME => of(bytemuck::cast_slice(a), bytemuck::cast_slice(b), of_bf16_bits),
        _ => of(bytemuck::cast_slice(a), bytemuck::cast_slice(b), of_f16_bits),
    }
}

/// How many classes are among the largest k of one row of both, in the order of [`TopK`](crate::TopK). The rows have no NaN.
pub(super) fn overlap<E: Element>([a, b]: [Logits<'_, E>; 2], shape: Shape, row: usize, k: usize) -> u32 {
    let k = k.min(shape.cols);
    if k == 0 || k == shape.cols {
        return k as u32;
    }
    let of_row = |logits: Logits<'_, E>| {
        let start = shape.row_start(row);
        let mut classes = match logits {
            Logits::Codes(codes) => {
                let of = codes.row(row, shape.cols);
                largest(of.codes, k, |code| of.coding.value(code))
            }
            Logits::Values(values) if shape.inner == 1 => {
                largest_of_slice(&values[start..start + shape.cols], k)
            }
            Logits::Values(values) => largest(&shape.row_vec(values, row), k, |x: E| x.to_f64() as f32),
        };
        classes.sort_unstable();
        classes
    };
    let others = of_row(b);
    of_row(a).iter().filter(|class| others.binary_search(class).is_ok()).count() as u32
}

fn largest_of_slice<E: Element>(row: &[E], k: usize) -> Vec<u32> {
    match E::NAME {
        f32::NAME => largest(bytemuck::cast_slice(row), k, |x: f32| x),
        bf16::NAME => largest(bytemuck::cast_slice(row), k, of_bf16_bits),
        _ => largest(bytemuck::cast_slice(row), k, of_f16_bits),
    }
}

/// Values that are compared with the k-th largest at once. Few of them pass: in a row in no special order, about k·ln(n/k).
const CHUNK: usize = 64;

/// The k largest classes of a row, by falling value and rising index.
fn largest<T: Copy>(row: &[T], k: usize, widened: impl Fn(T) -> f32) -> Vec<u32> {
    let mut kept: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
    let mut least = f32::NEG_INFINITY;
    for (chunk, values) in row.chunks(CHUNK).enumerate() {
        // Without a branch, so that the compiler makes vectors of it.
        let most = values.iter().fold(f32::NEG_INFINITY, |most, &x| {
            let x = widened(x);
            if x > most { x } else { most }
        });
        if kept.len() == k && most <= least {
            continue;
        }
        for (at, &x) in values.iter().enumerate() {
            let x = widened(x);
            if kept.len() == k && x <= least {
                continue;
            }
            // Behind those that are equal, whose indices are lower.
            let place = kept.partition_point(|&(other, _)| other >= x);
            kept.insert(place, (x, (chunk * CHUNK + at) as u32));
            kept.truncate(k);
            least = kept.last().map_or(f32::NEG_INFINITY, |&(least, _)| least);
        }
    }
    kept.into_iter().map(|(_, class)| class).collect()
}

fn of_bf16_bits(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
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
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

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
                    let [a, b] = [&base, &other].map(|values| Logits::Values(values));
                    let found = logit_difference(a, b, Shape::new(1, cols), 0);
                    assert_eq!(f64::from(found), f64::from(expected as f32), "{} {cols}", E::NAME);
                    let beside = Shape::nchw(1, cols, 1);
                    assert_eq!(found, logit_difference(a, b, beside, 0));
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
    fn the_largest_classes_are_those_of_a_sort() {
        fn check<E: Element>(rng: &mut StdRng) {
            for cols in [1, 2, 5, 63, 64, 65, 130, 1000] {
                // Few values, so that many are equal; and many values, in no order, rising and falling.
                for (case, steps) in [3, 1 << 20, 1 << 20, 1 << 20].into_iter().enumerate() {
                    let mut row = || -> Vec<E> {
                        let value = |_| rng.random_range(-steps..=steps) as f32 * (9.0 / steps as f32);
                        let mut row: Vec<f32> = (0..cols).map(value).collect();
                        match case {
                            2 => row.sort_by(f32::total_cmp),
                            3 => row.sort_by(|a, b| b.total_cmp(a)),
                            _ => row[cols / 2] = f32::NEG_INFINITY,
                        }
                        row.into_iter().map(E::from_f32).collect()
                    };
                    let (a, b) = (row(), row());
                    for k in [0, 1, 5, 64, 1024] {
                        let options = ComparatorOptions { top_k: k, ..Default::default() };
                        let expected = compare_row(&a, &b, None, &options).overlap;
                        let has_both = options.top(cols).is_none() || cols > 1 || a[0].to_f64().is_finite();
                        let found = overlap([&a[..], &b].map(Logits::Values), Shape::new(1, cols), 0, k);
                        assert!(found == expected || !has_both, "{} {cols}, case {case}, k {k}", E::NAME);
                    }
                }
            }
        }
        let mut rng = StdRng::seed_from_u64(1);
        check::<f32>(&mut rng);
        check::<f16>(&mut rng);
        check::<bf16>(&mut rng);
        let beside = ([1.0f32, 9.0, 2.0, 8.0, 3.0, 7.0], [3.0f32, 9.0, 2.0, 8.0, 1.0, 7.0]);
        let of = |row| overlap([&beside.0[..], &beside.1].map(Logits::Values), Shape::nchw(1, 3, 2), row, 1);
        assert_eq!([of(0), of(1)], [0, 1]);
    }

    #[test]
    fn rows_side_by_side() {
        let (a, b) = ([1.0f32, 2.0, 3.0, 4.0], [1.0f32, 0.0, 3.5, 4.0]);
        let of = |row| logit_difference(Logits::Values(&a), Logits::Values(&b), Shape::nchw(1, 2, 2), row);
        assert_eq!([of(0), of(1)], [0.5, 2.0]);
    }
}
