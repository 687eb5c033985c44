//! The options of InfoNCE.

use crate::error::{Error, Result};
use crate::options::{CrossEntropyOptions, Reduction, check_temperature};
use crate::shape::Shape;

/// Options of [`InfoNce`](crate::InfoNce).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InfoNceOptions {
    /// T: the logits are the similarities / T. From 2^-100 (7.9e-31) to 2^126 (8.5e37). Default: 0.07, where CLIP
    /// (Radford et al. 2021, arXiv:2103.00020) begins to learn it.
    pub temperature: f32,
}

impl Default for InfoNceOptions {
    fn default() -> Self {
        Self { temperature: 0.07 }
    }
}

impl InfoNceOptions {
    /// The options of a model that learns the logarithm s of the scale: the logits are e^s · similarities, and T is e^−s,
    /// rounded to f32.
    pub fn of_log_scale(log_scale: f32) -> Self {
        Self { temperature: (-f64::from(log_scale)).exp() as f32 }
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        check_temperature(self.temperature)
    }

    /// The cross-entropy of the rows, and of the columns.
    pub(crate) fn cross_entropy(&self) -> CrossEntropyOptions {
        CrossEntropyOptions { temperature: self.temperature, ..Default::default() }
    }

    /// The same, each with its half of the mean of the two.
    pub(crate) fn cross_entropy_of_half(&self, pairs: usize) -> CrossEntropyOptions {
        CrossEntropyOptions { reduction: Reduction::MeanOver(2.0 * pairs as f32), ..self.cross_entropy() }
    }
}

/// Refuses similarities that are not a dense square matrix.
pub(crate) fn check_similarities<T>(similarities: &[T], shape: Shape) -> Result<()> {
    check_pairs(shape)?;
    shape.check_slice("similarities", similarities)
}

/// Refuses a shape that is not a dense square matrix.
pub(crate) fn check_pairs(shape: Shape) -> Result<()> {
    shape.check()?;
    let Shape { rows, cols, row_stride, inner } = shape;
    if inner != 1 {
        return Err(Error::ClassAxisNotLast { inner });
    }
    if rows != cols || row_stride != cols {
        return Err(Error::NotSquare { rows, cols, row_stride });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_scale_is_a_temperature() {
        assert_eq!(InfoNceOptions::of_log_scale(0.0).temperature, 1.0);
        let default = InfoNceOptions::of_log_scale((1.0f32 / 0.07).ln()).temperature;
        assert!((default - InfoNceOptions::default().temperature).abs() < 1e-7, "{default}");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 70.0, -88.0] {
            let error = InfoNceOptions::of_log_scale(bad).check();
            assert!(
                matches!(error, Err(Error::InvalidOption { option: "temperature", .. })),
                "{bad}: {error:?}"
            );
        }
    }

    #[test]
    fn only_a_dense_square_matrix_is_taken() {
        let of = |shape| check_similarities(&[0.0f32; 4], shape);
        assert_eq!(of(Shape::new(2, 2)), Ok(()));
        assert_eq!(of(Shape::new(1, 4)), Err(Error::NotSquare { rows: 1, cols: 4, row_stride: 4 }));
        assert_eq!(of(Shape::new(4, 1)), Err(Error::NotSquare { rows: 4, cols: 1, row_stride: 1 }));
        let padded = Shape::new(2, 2).row_stride(3);
        assert_eq!(of(padded), Err(Error::NotSquare { rows: 2, cols: 2, row_stride: 3 }));
        assert_eq!(of(Shape::nchw(1, 2, 2)), Err(Error::ClassAxisNotLast { inner: 2 }));
        assert_eq!(of(Shape::new(0, 0)), Err(Error::NoCols { rows: 0 }));
        let short = Error::Length { what: "similarities", found: 4, needed: 9 };
        assert_eq!(of(Shape::new(3, 3)), Err(short));
    }
}
