//! Weights and masks from `.npy` files.

use std::path::Path;

use half::f16;
use npyz::TypeChar;

use super::file::{NpyFile, array};
use super::header::shape_text;
use super::layout::NpyLayout;
use super::targets::integers;
use crate::error::Result;

/// Class weights (cols,): f16, f32 or f64, read as f32.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as for [`NpyLogits::open`](super::NpyLogits::open), for another number of weights,
/// or for the first one that is negative, NaN or infinite.
pub fn read_class_weights(path: impl AsRef<Path>, layout: &NpyLayout) -> Result<Vec<f32>> {
    let mut file = NpyFile::open(path.as_ref())?;
    let (found, cols) = (&file.header.shape, layout.shape().cols);
    if *found != [cols] {
        return Err(file.error(format!("shape {}: {cols} classes need ({cols},)", shape_text(found))));
    }
    read_floats(&mut file, "class_weights", check_weight)
}

/// Row weights: f16, f32 or f64, read as f32; of the logits' axes without the classes, or (rows,).
///
/// # Errors
/// As [`read_class_weights`].
pub fn read_row_weights(path: impl AsRef<Path>, layout: &NpyLayout) -> Result<Vec<f32>> {
    let mut file = NpyFile::open(path.as_ref())?;
    layout.check_rows(&file)?;
    read_floats(&mut file, "row_weights", check_weight)
}

/// Which rows are scored: booleans, or integers of which 0 leaves a row out; axes as of [`read_row_weights`].
///
/// # Errors
/// [`Error::File`](crate::Error::File) as for [`NpyLogits::open`](super::NpyLogits::open), and for another number of
/// rows.
pub fn read_row_mask(path: impl AsRef<Path>, layout: &NpyLayout) -> Result<Vec<bool>> {
    let mut file = NpyFile::open(path.as_ref())?;
    let header = &file.header;
    if (header.kind, header.size) != (TypeChar::Bool, 1) && integers(header.kind, header.size).is_none() {
        return Err(file.error(format!("type {}: a row mask must be booleans or integers", header.descr)));
    }
    layout.check_rows(&file)?;
    file.read_all("row_mask", |_, bytes| Ok(bytes.iter().any(|&byte| byte != 0)))
}

/// All values of a file of floats, as f32.
pub(super) fn read_floats(
    file: &mut NpyFile,
    what: &str,
    check: impl Fn(f32) -> Result<(), &'static str>,
) -> Result<Vec<f32>> {
    let header = &file.header;
    let value_of: fn(&[u8]) -> f64 = match (header.kind, header.size) {
        (TypeChar::Float, 2) => |bytes| f16::from_le_bytes(array(bytes)).into(),
        (TypeChar::Float, 4) => |bytes| f32::from_le_bytes(array(bytes)).into(),
        (TypeChar::Float, 8) => |bytes| f64::from_le_bytes(array(bytes)),
        _ => return Err(file.error(format!("type {}: {what} must be '<f2', '<f4' or '<f8'", header.descr))),
    };
    file.read_all(what, |_, bytes| {
        let value = value_of(bytes);
        check(value as f32).map(|()| value as f32).map_err(|needed| format!("{value:?}: must be {needed}"))
    })
}

fn check_weight(weight: f32) -> Result<(), &'static str> {
    if weight >= 0.0 && weight.is_finite() { Ok(()) } else { Err("finite in f32 and at least 0") }
}
