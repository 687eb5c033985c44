//! Weights and masks from files.

use super::dtype::Dtype;
use super::layout::Layout;
use super::rows::FileRows;
use super::tensor::TensorFile;
use super::text::shape_text;
use crate::error::Result;

/// Class weights (cols,): floats, integers or booleans, read as f32.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as for [`TensorFile::read_at`], for a wrong number of weights, or for the first
/// weight that is negative, NaN or infinite.
pub fn read_class_weights(file: &mut TensorFile, layout: &Layout) -> Result<Vec<f32>> {
    of_classes(file, layout, "class_weights")
}

/// Weights (cols,) of the classes that apply, for a [`SigmoidBce`](crate::SigmoidBce): numbers of any type, read as
/// f32.
///
/// # Errors
/// As for [`read_class_weights`].
pub fn read_pos_weight(file: &mut TensorFile, layout: &Layout) -> Result<Vec<f32>> {
    of_classes(file, layout, "pos_weight")
}

/// Weights (cols,).
fn of_classes(file: &mut TensorFile, layout: &Layout, what: &str) -> Result<Vec<f32>> {
    let (found, cols) = (file.dims(), layout.shape().cols);
    if *found != [cols] {
        return Err(file.error(format!("shape {}: {cols} classes need ({cols},)", shape_text(found))));
    }
    let value_of = numbers(file, what)?;
    file.read_all(what, |_, bytes| weight(value_of(bytes)))
}

impl FileRows<f32> {
    /// Row weights: floats, integers or booleans, read as f32. The file has the logits' axes without the class axis, or (rows,).
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a wrong type or a wrong number of rows. When they are read: as for
    /// [`read_class_weights`].
    pub fn row_weights(file: TensorFile, layout: &Layout) -> Result<Self> {
        layout.check_rows(&file)?;
        let value_of = numbers(&file, "row_weights")?;
        Ok(Self::new(file, "row_weights", 1, move |bytes, _| weight(value_of(bytes))))
    }
}

impl FileRows<bool> {
    /// Which rows are scored: booleans, or integers where 0 leaves a row out. The axes are those of row weights.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a wrong type or a wrong number of rows.
    pub fn row_mask(file: TensorFile, layout: &Layout) -> Result<Self> {
        if file.dtype().is_none_or(Dtype::is_float) {
            let found = file.descr();
            return Err(file.error(format!("type {found}: a row mask must be booleans or integers")));
        }
        layout.check_rows(&file)?;
        Ok(Self::new(file, "row_mask", 1, |bytes, _| Ok(bytes.iter().any(|&byte| byte != 0))))
    }
}

/// A function that reads a number from its bytes.
pub(super) fn numbers(file: &TensorFile, what: &str) -> Result<fn(&[u8]) -> f64> {
    let numbers = file.dtype().map(Dtype::numbers);
    numbers.ok_or_else(|| {
        file.error(format!("type {}: {what} must be floats, integers or booleans", file.descr()))
    })
}

/// Converts a valid weight to f32.
fn weight(value: f64) -> Result<f32, String> {
    let weight = value as f32;
    if weight >= 0.0 && weight.is_finite() {
        Ok(weight)
    } else {
        Err(format!("{value:?}: must be finite in f32 and at least 0"))
    }
}
