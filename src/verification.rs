//! Verification as a feature: compares rows of the caller's own batch with the f64 reference.

use crate::element::Element;
use crate::shape::Shape;

/// The result of comparing device results with the f64 reference.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Verification {
    /// Rows compared.
    pub rows_checked: usize,
    /// The row with the largest error relative to its error bound, if any row was compared.
    pub worst_row: Option<usize>,
    /// That row's absolute error; infinite if one side is NaN or infinite and the other is not.
    pub worst_abs: f64,
    /// That row's relative error.
    pub worst_rel: f64,
    /// Whether every value was within its error bound.
    pub passed: bool,
    /// The worst error as a multiple of its error bound.
    worst: f64,
    last_row: Option<usize>,
}

impl Default for Verification {
    fn default() -> Self {
        Self::new()
    }
}

impl Verification {
    /// A verification with nothing compared yet. It passes.
    pub fn new() -> Self {
        Self {
            rows_checked: 0,
            worst_row: None,
            worst_abs: 0.0,
            worst_rel: 0.0,
            passed: true,
            worst: -1.0,
            last_row: None,
        }
    }

    /// Picks `count` of `rows` rows, evenly spaced, including the first and the last.
    pub fn sample(rows: usize, count: usize) -> impl Iterator<Item = usize> {
        let count = count.min(rows);
        (0..count).map(move |i| {
            if count < 2 { 0 } else { (i as u128 * (rows - 1) as u128 / (count - 1) as u128) as usize }
        })
    }

    /// Compares a [`sample`](Self::sample) of rows.
    pub(crate) fn of_rows(rows: usize, count: usize, mut compare: impl FnMut(usize, &mut Self)) -> Self {
        let mut verification = Self::new();
        Self::sample(rows, count).for_each(|row| compare(row, &mut verification));
        verification
    }

    /// Compares the values (rows, cols) of a [`sample`](Self::sample) of rows. `expected` gives a row's values, each with
    /// its error bound.
    pub(crate) fn of_values<E: Element, I: IntoIterator<Item = (f64, f64)>>(
        values: &[E],
        shape: Shape,
        count: usize,
        expected: impl Fn(usize) -> I,
    ) -> Self {
        Self::of_rows(shape.rows, count, |row, into| {
            for (&value, (expected, bound)) in shape.row(values, row).zip(expected(row)) {
                into.compare_rounded(row, value, expected, bound);
            }
        })
    }

    /// Compares one value that was rounded to its type, which may overflow to infinity. Near the end of the type's
    /// range, the finite value and infinity are both accepted.
    pub(crate) fn compare_rounded<E: Element>(&mut self, row: usize, actual: E, expected: f64, bound: f64) {
        let actual = actual.to_f64();
        let ends = [expected - bound, expected, expected + bound].map(|end| E::from_f32(end as f32).to_f64());
        let may_be_infinite = actual.is_infinite() && ends.contains(&actual);
        let must_be = ends.iter().all(|end| end.is_infinite());
        let (expected, bound) = match ends[1] {
            _ if may_be_infinite => (actual, 0.0),
            rounded if must_be => (rounded, bound),
            _ => (expected, bound + E::rounding(expected)),
        };
        self.compare(row, actual, expected, bound);
    }

    /// Compares one value of a row. NaN equals only NaN. An infinity equals itself, or a finite reference that f32
    /// cannot hold. Finite values may differ by `bound`.
    pub fn compare(&mut self, row: usize, actual: f64, expected: f64, bound: f64) {
        if self.last_row != Some(row) {
            self.last_row = Some(row);
            self.rows_checked += 1;
        }
        let same = actual == expected
            || (actual.is_nan() && expected.is_nan())
            || (actual.is_infinite() && actual == f64::from(expected as f32));
        let (abs, rel, of_bound) = if same {
            (0.0, 0.0, 0.0)
        } else if actual.is_finite() && expected.is_finite() {
            let abs = (actual - expected).abs();
            (abs, abs / expected.abs(), abs / bound)
        } else {
            (f64::INFINITY, f64::INFINITY, f64::INFINITY)
        };
        // An error with an error bound of 0 gives ∞. A bound that is NaN or below 0 must not pass either.
        let of_bound = if of_bound >= 0.0 { of_bound } else { f64::INFINITY };
        self.passed &= of_bound <= 1.0;
        if of_bound > self.worst {
            self.worst = of_bound;
            self.worst_row = Some(row);
            self.worst_abs = abs;
            self.worst_rel = rel;
        }
    }

    /// Adds the comparison of other rows. Of errors that are equally bad, that of the lowest row is kept, as if all rows had
    /// been compared in their order.
    pub(crate) fn merge(&mut self, other: &Self) {
        let is_first = other.worst_row < self.worst_row;
        let (worst, is_worse) =
            (self.worst, other.worst > self.worst || (other.worst == self.worst && is_first));
        let of = if is_worse { other } else { &*self };
        *self = Self {
            rows_checked: self.rows_checked + other.rows_checked,
            passed: self.passed && other.passed,
            last_row: self.last_row.max(other.last_row),
            worst: worst.max(other.worst),
            ..*of
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(actual: f64, expected: f64, bound: f64) -> bool {
        let mut verification = Verification::new();
        verification.compare(3, actual, expected, bound);
        assert_eq!(verification.rows_checked, 1);
        assert_eq!(verification.worst_row, Some(3));
        verification.passed
    }

    #[test]
    fn a_comparator_that_cannot_fail_is_none() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for (name, actual, expected, ok) in [
            ("equal", 1.0, 1.0, true),
            ("within", 1.0 + 9e-7, 1.0, true),
            ("beyond", 1.0 + 2e-6, 1.0, false),
            ("a zero for a small value", 0.0, 1.0, false),
            ("nan for a value", nan, 1.0, false),
            ("a value for nan", 1.0, nan, false),
            ("nan for nan", nan, nan, true),
            ("inf for inf", inf, inf, true),
            ("-inf for inf", -inf, inf, false),
            ("inf for a value", inf, 1.0, false),
            ("a value for inf", 3e38, inf, false),
            ("inf for nan", inf, nan, false),
            ("nan for inf", nan, inf, false),
            ("inf for a value that f32 cannot hold", inf, 6.8e38, true),
            ("-inf for a value that f32 cannot hold", -inf, 6.8e38, false),
            ("sign", -1.0, 1.0, false),
        ] {
            assert_eq!(passes(actual, expected, 1e-6), ok, "{name}");
        }
        assert!(!passes(1.0, 1.5, 0.0), "no bound");
        assert!(!passes(1.0, 1.5, nan), "a NaN bound");
        assert!(!passes(1.0, 1.5, -1.0), "a bound below 0");
        assert!(passes(0.0, 0.0, 0.0), "exact zero");
    }

    #[test]
    fn near_the_end_of_a_type_either_side_is_right() {
        use half::f16;
        let passes = |actual: f32, expected: f64| {
            let mut verification = Verification::new();
            verification.compare_rounded(0, f16::from_f32(actual), expected, 1.0);
            verification.passed
        };
        assert!(
            passes(f32::INFINITY, 65_519.5) && passes(65_504.0, 65_520.5) && passes(f32::INFINITY, 65_530.0)
        );
        assert!(!passes(f32::INFINITY, 65_510.0) && !passes(65_504.0, 65_530.0));
        assert!(!passes(f32::NEG_INFINITY, 65_519.5) && !passes(f32::NAN, 65_519.5));
    }

    #[test]
    fn the_worst_row_is_kept_and_rows_are_counted_once() {
        let mut verification = Verification::new();
        for (row, actual) in [(0, 1.0), (0, 1.0), (5, 1.2), (7, 1.1)] {
            verification.compare(row, actual, 1.0, 0.5);
        }
        assert_eq!((verification.rows_checked, verification.worst_row), (3, Some(5)));
        assert!(verification.passed && (verification.worst_abs - 0.2).abs() < 1e-12);
        verification.compare(9, f64::NAN, 1.0, 0.5);
        assert_eq!((verification.passed, verification.worst_row), (false, Some(9)));
    }

    #[test]
    fn samples_are_spread_over_the_batch() {
        let sample = |rows, count| Verification::sample(rows, count).collect::<Vec<_>>();
        assert_eq!(sample(10, 4), [0, 3, 6, 9]);
        assert_eq!(sample(3, 64), [0, 1, 2]);
        assert_eq!(sample(10, 1), [0]);
        assert_eq!(sample(0, 4), [] as [usize; 0]);
        assert_eq!(sample(10, 0), [] as [usize; 0]);
    }
}
