//! Weights and masks from files.

use super::dtype::Dtype;
use super::layout::Layout;
use super::tensor::TensorFile;
use super::text::shape_text;
use crate::error::Result;

/// Class weights (cols,): floats, read as f32.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as of [`TensorFile::read_at`], for another number of weights, or for the first one
/// that is negative, NaN or infinite.
pub fn read_class_weights(file: &mut TensorFile, layout: &Layout) -> Result<Vec<f32>> {
    let (found, cols) = (file.dims(), layout.shape().cols);
    if *found != [cols] {
        return Err(file.error(format!("shape {}: {cols} classes need ({cols},)", shape_text(found))));
    }
    read_floats(file, "class_weights", check_weight)
}

/// Row weights: floats, read as f32; of the logits' axes without the classes, or (rows,).
///
/// # Errors
/// As [`read_class_weights`].
pub fn read_row_weights(file: &mut TensorFile, layout: &Layout) -> Result<Vec<f32>> {
    layout.check_rows(file)?;
    read_floats(file, "row_weights", check_weight)
}

/// Which rows are scored: booleans, or integers of which 0 leaves a row out; axes as of [`read_row_weights`].
///
/// # Errors
/// [`Error::File`](crate::Error::File) as of [`TensorFile::read_at`], and for another number of rows.
pub fn read_row_mask(file: &mut TensorFile, layout: &Layout) -> Result<Vec<bool>> {
    if file.dtype().is_none_or(Dtype::is_float) {
        return Err(file.error(format!("type {}: a row mask must be booleans or integers", file.descr())));
    }
    layout.check_rows(file)?;
    file.read_all("row_mask", |_, bytes| Ok(bytes.iter().any(|&byte| byte != 0)))
}

/// All values of a file of floats, as f32.
pub(super) fn read_floats(
    file: &mut TensorFile,
    what: &str,
    check: impl Fn(f32) -> Result<(), &'static str>,
) -> Result<Vec<f32>> {
    let Some(value_of) = file.dtype().and_then(Dtype::floats) else {
        return Err(file.error(format!("type {}: {what} must be f16, bf16, f32 or f64", file.descr())));
    };
    file.read_all(what, |_, bytes| {
        let value = value_of(bytes);
        check(value as f32).map(|()| value as f32).map_err(|needed| format!("{value:?}: must be {needed}"))
    })
}

fn check_weight(weight: f32) -> Result<(), &'static str> {
    if weight >= 0.0 && weight.is_finite() { Ok(()) } else { Err("finite in f32 and at least 0") }
}
