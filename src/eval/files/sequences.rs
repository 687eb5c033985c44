//! The lengths of sequences from files.

use super::dtype::Dtype;
use super::layout::Layout;
use super::tensor::TensorFile;
use super::text::shape_text;
use crate::error::Result;

/// Where the sequences of a packed batch end, as [`sequence_ends`](crate::CrossEntropyInputs::sequence_ends): from a file
/// with their lengths (sequences,), integers that add up to the rows.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as for [`TensorFile::read_at`]; for another type or shape; for a negative length,
/// and for lengths that do not add up to the rows.
pub fn read_sequence_ends(file: &mut TensorFile, layout: &Layout) -> Result<Vec<usize>> {
    const WHAT: &str = "sequence_lengths";
    if file.dims().len() != 1 {
        return Err(
            file.error(format!("shape {}: the lengths of sequences have one axis", shape_text(file.dims())))
        );
    }
    let Some(value_of) = file.dtype().and_then(Dtype::integers) else {
        return Err(file.error(format!("type {}: lengths must be integers", file.descr())));
    };
    let lengths = file.read_all(WHAT, |_, bytes| {
        let value = value_of(bytes);
        usize::try_from(value).map_err(|_| format!("{value} is not a length"))
    })?;
    let (rows, mut end) = (layout.shape().rows, 0usize);
    let ends: Vec<usize> = lengths
        .iter()
        .map(|&length| {
            end = end.saturating_add(length);
            end
        })
        .collect();
    match end == rows {
        true => Ok(ends),
        false => Err(file.error(format!("the lengths add up to {end}; there are {rows} rows of logits"))),
    }
}

impl TensorFile {
    /// Where the rows of each file end, in the order of the files: each file is then a sequence, such as a document.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if the classes are along the first axis, along which files are joined.
    pub fn file_ends(&self, layout: &Layout) -> Result<Vec<usize>> {
        if layout.has_classes_first() {
            return Err(self.error("the classes are along the first axis, so that no file holds whole rows"));
        }
        let cols = layout.stored_cols().max(1);
        Ok(self.part_ends().map(|end| end / cols).collect())
    }
}
