//! Rows of codes: each row has a scale and a minimum, which make values of its codes, `value = scale · code + minimum`.
//! llama.cpp saves logits like this. Kernels that take codes read half the bytes of f32 values, and need no values on the
//! host.
//!
//! A row is [`LEAD`] words of 16 bits, which are the f32 scale and the f32 minimum, then the codes, with one more to pad an odd
//! number of them.

use std::borrow::Cow;

use crate::element::Element;
use crate::shape::Shape;

/// The words of a row before its codes.
pub(crate) const LEAD: usize = 4;
/// The largest code.
pub(crate) const CODE_MAX: f32 = 65_535.0;
/// Codes of a row begin at a multiple of this many words on the device: a pack.
const ALIGNMENT: usize = 8;
/// Where the codes of the first row begin there.
pub(crate) const DEVICE_BASE: usize = ALIGNMENT;

/// The words of a row with this many classes.
pub(crate) const fn row_words(cols: usize) -> usize {
    LEAD + cols.next_multiple_of(2)
}

/// The layout of rows of codes on the device.
pub(crate) fn device_shape(shape: Shape) -> Shape {
    shape.row_stride((LEAD + shape.cols).next_multiple_of(ALIGNMENT))
}

/// Whether the rows of a batch are smaller as codes than as f32 values. Otherwise its windows might not fit where those of
/// the values do.
pub(crate) fn is_smaller(shape: Shape) -> bool {
    shape.inner == 1 && device_shape(shape).row_stride <= 2 * shape.cols
}

/// What makes values of the codes of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    scale: f32,
    minimum: f32,
}

impl Coding {
    /// Of a scale and a minimum. If they are not finite, or reach beyond f32's range, all values are NaN.
    pub fn new(scale: f32, minimum: f32) -> Self {
        let reach = f64::from(scale.abs()) * f64::from(CODE_MAX) + f64::from(minimum.abs());
        if reach < f64::from(f32::MAX) {
            Self { scale, minimum }
        } else {
            Self { scale: 0.0, minimum: f32::NAN }
        }
    }

    /// Of the words before a row's codes.
    fn of_lead(row: &[u16]) -> Self {
        let word = |at: usize| f32::from_bits(u32::from(row[at]) | u32::from(row[at + 1]) << 16);
        Self::new(word(0), word(2))
    }

    /// The value of a code. The product is rounded, then the sum.
    #[inline(always)]
    pub fn value(self, code: u16) -> f32 {
        self.scale * f32::from(code) + self.minimum
    }
}

/// A row of codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodedRow<'a> {
    pub coding: Coding,
    pub codes: &'a [u16],
}

/// The rows of codes of a window, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes<'a>(pub &'a [u16]);

impl<'a> Codes<'a> {
    /// A row with this many classes.
    pub fn row(self, row: usize, cols: usize) -> CodedRow<'a> {
        let words = row_words(cols);
        let row = &self.0[row * words..][..words];
        CodedRow { coding: Coding::of_lead(row), codes: &row[LEAD..][..cols] }
    }
}

impl<'a> CodedRow<'a> {
    /// Its values.
    pub fn values(self) -> impl Iterator<Item = f32> + 'a {
        self.codes.iter().map(move |&code| self.coding.value(code))
    }
}

/// The logits of a window: values, or codes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Logits<'a, E> {
    Values(&'a [E]),
    Codes(Codes<'a>),
}

impl<'a, E: Element> Logits<'a, E> {
    /// The values of a row, exactly.
    pub fn row(self, shape: Shape, row: usize) -> Vec<f64> {
        match self {
            Self::Values(values) => shape.row(values, row).map(|value| value.to_f64()).collect(),
            Self::Codes(codes) => codes.row(row, shape.cols).values().map(f64::from).collect(),
        }
    }

    /// One value.
    pub fn value(self, shape: Shape, row: usize, class: usize) -> f64 {
        match self {
            Self::Values(values) => values[shape.row_start(row) + class * shape.inner].to_f64(),
            Self::Codes(codes) => {
                let row = codes.row(row, shape.cols);
                f64::from(row.coding.value(row.codes[class]))
            }
        }
    }

    /// All values, in the layout of this shape.
    pub fn values(self, shape: Shape) -> Cow<'a, [E]> {
        match self {
            Self::Values(values) => Cow::Borrowed(values),
            Self::Codes(codes) => {
                let of_row = |row| codes.row(row, shape.cols).values().map(E::from_f32);
                Cow::Owned((0..shape.rows).flat_map(of_row).collect())
            }
        }
    }
}

impl<'a, E> From<&'a [E]> for Logits<'a, E> {
    fn from(values: &'a [E]) -> Self {
        Self::Values(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_and_its_values() {
        let lead = |value: f32| [value.to_bits() as u16, (value.to_bits() >> 16) as u16];
        let row = |scale: f32, codes: [u16; 4]| [&lead(scale)[..], &lead(-17.5), &codes].concat();
        let rows = [row(0.25, [0, 1, 65_535, 9]), row(f32::INFINITY, [0, 1, 2, 9])].concat();
        let (logits, shape) = (Logits::<f32>::Codes(Codes(&rows)), Shape::new(2, 3));
        assert_eq!(logits.row(shape, 0), [-17.5, -17.25, 16_366.25]);
        assert_eq!(logits.value(shape, 0, 1), -17.25);
        assert_eq!(logits.values(shape)[..3], [-17.5, -17.25, 16_366.25]);
        assert!(logits.row(shape, 1).iter().all(|value| value.is_nan()), "no value is a number");
        for (scale, minimum) in [(f32::NAN, 0.0), (1.0, f32::NEG_INFINITY), (-1e34, 0.0), (0.0, f32::MAX)] {
            assert!(Coding::new(scale, minimum).value(0).is_nan(), "{scale} {minimum}");
        }
        assert_eq!(Coding::new(-1e33, 1.0).value(1), -1e33);
    }

    #[test]
    fn short_rows_are_smaller_as_values() {
        let smaller: Vec<usize> = (1..20).filter(|&cols| is_smaller(Shape::new(3, cols))).collect();
        assert_eq!(smaller, [4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        assert!(!is_smaller(Shape::nchw(1, 64, 2)));
    }
}
