//! Target classes from files.

use super::dtype::Dtype;
use super::layout::Layout;
use super::rows::FileRows;
use super::tensor::TensorFile;
use super::weights::numbers;
use crate::error::Result;
use crate::targets::check_entries;

impl FileRows<i32> {
    /// Target classes: integers of any width, each in 0..cols or `ignore_index`. The file has the logits' axes without
    /// the class axis, or (rows,).
    ///
    /// A target is one of the `ignored` if it has that value; a u32 also if it has the same bits as an i32, so that −100
    /// works there too. The first of them is [`ignore_index`](crate::CrossEntropyOptions::ignore_index), the others are
    /// [`ignore_also`](crate::CrossEntropyInputs::ignore_also). The target of a row that is not scored may be any value; if
    /// i32 cannot hold it, it becomes `ignore_index`.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a wrong type or a wrong number of targets. When they are read: as for
    /// [`TensorFile::read_at`], and for the first target that is out of range.
    pub fn targets(file: TensorFile, layout: &Layout, ignored: &[i32]) -> Result<Self> {
        layout.check_rows(&file)?;
        classes(file, layout, 1, ignored)
    }
}

/// Sparse targets: class indices as for [`FileRows::targets`], and probabilities as floats, read as f32. Both have one
/// more axis than targets, for the entries.
///
/// # Errors
/// As for [`FileRows::targets`]; [`Error::File`](crate::Error::File) if the two have different numbers of entries, or
/// no entries, or too many.
pub fn sparse_targets(
    indices: TensorFile,
    probs: TensorFile,
    layout: &Layout,
    ignore_index: i32,
) -> Result<(FileRows<i32>, FileRows<f32>)> {
    let entries = layout.check_entries(&indices, None)?;
    check_entries(entries).map_err(|error| indices.error(error))?;
    layout.check_entries(&probs, Some(entries))?;
    let indices = classes(indices, layout, entries, &[ignore_index])?;
    let value_of = numbers(&probs, "probs")?;
    let probs = FileRows::new(probs, "probs", entries, move |bytes, _| Ok(value_of(bytes) as f32));
    Ok((indices, probs))
}

/// Classes, `entries` per row.
fn classes(file: TensorFile, layout: &Layout, entries: usize, ignored: &[i32]) -> Result<FileRows<i32>> {
    let Some(value_of) = file.dtype().and_then(Dtype::integers) else {
        return Err(file.error(format!("type {}: targets must be integers", file.descr())));
    };
    let is_u32 = file.dtype() == Some(Dtype::U32);
    let (cols, ignored) = (layout.shape().cols, ignored.to_vec());
    let ignore_index = ignored.first().copied().unwrap_or(-100);
    Ok(FileRows::new(file, "targets", entries, move |bytes, is_used| {
        let value = value_of(bytes);
        let is = |index: i32| value == i128::from(index) || (is_u32 && value as u32 as i32 == index);
        if let Some(&index) = ignored.iter().find(|&&index| is(index)) {
            return Ok(index);
        }
        let class = i32::try_from(value).ok();
        if !is_used {
            return Ok(class.unwrap_or(ignore_index));
        }
        let class = class.filter(|&class| (0..cols as i128).contains(&class.into()));
        class.ok_or_else(|| format!("{value} is outside 0..{cols} and is not ignore_index ({ignore_index})"))
    }))
}
