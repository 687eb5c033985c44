//! Values of any element type in buffers, where they go, and their comparison with what is expected.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Normal};
use xent::{Context, Element, OutputBuffer, Shape, Tuning, Verification};

use crate::harness::{Region, SENTINEL, gpu};

/// Where a value for each logit goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    /// A buffer of the logits' type.
    Element,
    F32,
    InPlace,
}

impl To {
    pub fn buffer(self, region: &Region) -> OutputBuffer<'_> {
        match self {
            Self::Element => OutputBuffer::To(region.binding()),
            Self::F32 => OutputBuffer::F32(region.binding()),
            Self::InPlace => OutputBuffer::InPlace,
        }
    }

    /// All that a bound operation takes for this type and layout: 16-bit rows must not share words.
    pub fn all<E: Element>(shape: Shape) -> &'static [Self] {
        let shares_words = shape.inner > 1 || !shape.row_stride.is_multiple_of(2);
        if size_of::<E>() == 2 && shares_words {
            &[Self::F32]
        } else {
            &[Self::Element, Self::F32, Self::InPlace]
        }
    }
}

/// The plan's tuning, and one for each number of lanes that the device has.
pub fn tunings_of(lanes: &[u32]) -> Vec<Option<Tuning>> {
    let most = gpu().device.limits().max_compute_invocations_per_workgroup;
    let fits = lanes.iter().filter(|&&lanes| lanes <= most);
    std::iter::once(None).chain(fits.map(|&lanes| Some(Tuning::fixed(lanes, 1)))).collect()
}

/// Noise of a normal distribution.
pub fn noise(seed: u64, len: usize, deviation: f32) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    Normal::new(0.0f32, deviation).expect("a deviation").sample_iter(&mut rng).take(len).collect()
}

pub fn narrowed<E: Element>(values: &[f32]) -> Vec<E> {
    values.iter().map(|&x| E::from_f32(x)).collect()
}

/// A region that holds values; behind the last, its word is filled up with the sentinel.
pub fn region<E: Element>(gpu: &Context, offset: u64, values: &[E]) -> Region {
    let mut bytes = bytemuck::cast_slice::<E, u8>(values).to_vec();
    if !bytes.len().is_multiple_of(4) {
        bytes.extend(&SENTINEL.to_ne_bytes()[2..]);
    }
    Region::new(gpu, offset, &bytemuck::pod_collect_to_vec::<u8, u32>(&bytes))
}

/// An output for so many values that nobody has written yet.
pub fn unwritten<E: Element>(gpu: &Context, offset: u64, len: usize) -> Region {
    Region::unwritten_at(gpu, offset, (len * size_of::<E>()).div_ceil(4))
}

/// The values that a region holds, as bits in f32 or in their own width.
pub fn read<E: Element>(gpu: &Context, region: &Region, len: usize) -> Vec<E> {
    bytemuck::cast_slice::<u32, E>(&region.read(gpu))[..len].to_vec()
}

pub fn same_bits<E: Element>(a: &[E], b: &[E]) -> bool {
    bytemuck::cast_slice::<E, u8>(a) == bytemuck::cast_slice::<E, u8>(b)
}

/// Whether a value is what was there before: either half of the sentinel, or all of it. No kernel writes these NaNs.
fn is_unwritten<E: Element>(value: E) -> bool {
    let sentinel = SENTINEL.to_ne_bytes();
    let bytes = bytemuck::bytes_of(&value);
    if bytes.len() == 4 { bytes == sentinel } else { bytes == &sentinel[2..] }
}

/// What row and column should be, and by how much that may be missed.
pub type Expected = Vec<Vec<(f64, f64)>>;

/// Compares a result with what is expected; what lies between the rows must be the sentinel, or zero.
pub fn check<E: Element>(
    context: &str,
    labels: &[String],
    shape: Shape,
    actual: &[E],
    expected: &Expected,
    padding_is_zero: bool,
) {
    let (mut failures, mut failed) = (Vec::new(), 0);
    let mut is_value = vec![false; actual.len()];
    assert_eq!(actual.len(), shape.len(), "{context}");
    for row in 0..shape.rows {
        for col in 0..shape.cols {
            let at = shape.row_start(row) + col * shape.inner;
            is_value[at] = true;
            let (expected, bound) = expected[row][col];
            let mut verification = Verification::new();
            verification.compare(row, actual[at].to_f64(), expected, bound + E::rounding(expected));
            if !verification.passed || is_unwritten(actual[at]) {
                failed += 1;
                if failures.len() < 5 {
                    let (label, actual) = (labels.get(row).map_or("", String::as_str), actual[at].to_f64());
                    failures.push(format!(
                        "row {row} ({label}) col {col}: {actual:e}, expected {expected:e} ± {bound:e}"
                    ));
                }
            }
        }
    }
    for (at, _) in is_value.iter().enumerate().filter(|&(_, is_value)| !is_value) {
        let kept = if padding_is_zero {
            actual[at].to_f64() == 0.0
        } else {
            let sentinel = SENTINEL.to_ne_bytes();
            let bytes = bytemuck::bytes_of(&actual[at]);
            bytes == &sentinel[..bytes.len()] || bytes == &sentinel[4 - bytes.len()..]
        };
        if !kept {
            failed += 1;
            failures.push(format!("padding at {at}: {:e}", actual[at].to_f64()));
        }
    }
    failures.truncate(8);
    assert!(failed == 0, "{context}, {shape:?}, {}: {failed} wrong\n  {}", E::NAME, failures.join("\n  "));
}

#[test]
fn the_comparison_fails_on_a_wrong_answer() {
    let shape = Shape::new(2, 2).row_stride(3);
    let expected: Expected = vec![vec![(1.0, 1e-6), (f64::NAN, 1.0)], vec![(0.5, 1e-6), (0.0, 0.0)]];
    let fails = |values: [f32; 5]| {
        std::panic::catch_unwind(|| check("wrong", &[], shape, &values, &expected, true)).is_err()
    };
    let nan = f32::NAN;
    assert!(!fails([1.0, nan, 0.0, 0.5, 0.0]), "the right one");
    assert!(fails([1.0, nan, 0.0, 0.0, 0.5]), "swapped");
    assert!(fails([1.0, 0.0, 0.0, 0.5, 0.0]), "a value for a NaN");
    assert!(fails([1.0, nan, 0.0, nan, 0.0]), "a NaN for a value");
    assert!(fails([1.0, nan, 1.0, 0.5, 0.0]), "padding");
    assert!(fails([1.0, f32::from_bits(SENTINEL), 0.0, 0.5, 0.0]), "unwritten");
    assert!(fails([1.0, nan, 0.0, 0.5, 1e-7]), "not quite zero");
}
