//! Target classes from files.

use super::dtype::Dtype;
use super::layout::Layout;
use super::tensor::TensorFile;
use super::weights::read_floats;
use crate::error::Result;
use crate::targets::{Targets, check_entries};

/// Target classes of integers of any width, each in 0..cols or `ignore_index`; of the logits' axes without the classes,
/// or (rows,).
///
/// A target is `ignore_index` by its value; for u32 by its bits as i32, so that −100 works there too. Where `used` (rows,)
/// is given and false, no row is scored against the target: it may be anything, and becomes `ignore_index`.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as of [`TensorFile::read_at`], and for another number of targets, or the first one
/// that is out of range.
pub fn read_targets(
    file: &mut TensorFile,
    layout: &Layout,
    ignore_index: i32,
    used: Option<&[bool]>,
) -> Result<Vec<i32>> {
    layout.check_rows(file)?;
    read_classes(file, layout, 1, ignore_index, used)
}

/// A few classes of each row with their probabilities, as [`Targets::Sparse`] has them.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseTargets {
    /// Class indices (rows, entries).
    pub indices: Vec<i32>,
    /// Their probabilities (rows, entries).
    pub probs: Vec<f32>,
    /// Entries of each row.
    pub entries: usize,
}

impl SparseTargets {
    /// The targets.
    pub fn targets(&self) -> Targets<'_> {
        Targets::Sparse { indices: &self.indices, probs: &self.probs, entries: self.entries }
    }
}

/// Sparse targets: class indices as of [`read_targets`], and probabilities of floats, read as f32. Both have one
/// axis more than targets, of the entries.
///
/// # Errors
/// As [`read_targets`]; [`Error::File`](crate::Error::File) where the two differ in their entries, or there are none or
/// too many.
pub fn read_sparse_targets(
    indices: &mut TensorFile,
    probs: &mut TensorFile,
    layout: &Layout,
    ignore_index: i32,
    used: Option<&[bool]>,
) -> Result<SparseTargets> {
    let entries = layout.check_entries(indices, None)?;
    check_entries(entries).map_err(|error| indices.error(error))?;
    layout.check_entries(probs, Some(entries))?;
    Ok(SparseTargets {
        indices: read_classes(indices, layout, entries, ignore_index, used)?,
        probs: read_floats(probs, "probs", |_| Ok(()))?,
        entries,
    })
}

/// Classes of which each row has so many.
fn read_classes(
    file: &mut TensorFile,
    layout: &Layout,
    entries: usize,
    ignore_index: i32,
    used: Option<&[bool]>,
) -> Result<Vec<i32>> {
    let Some(value_of) = file.dtype().and_then(Dtype::integers) else {
        return Err(file.error(format!("type {}: targets must be integers", file.descr())));
    };
    let is_u32 = file.dtype() == Some(Dtype::U32);
    let cols = layout.shape().cols;
    file.read_all("targets", |at, bytes| {
        let value = value_of(bytes);
        let is_unused = || used.is_some_and(|used| !used[at / entries]);
        if value == i128::from(ignore_index) || (is_u32 && value as u32 as i32 == ignore_index) || is_unused()
        {
            return Ok(ignore_index);
        }
        let class = i32::try_from(value).ok().filter(|&class| (0..cols as i128).contains(&class.into()));
        class.ok_or_else(|| format!("{value} is outside 0..{cols} and is not ignore_index ({ignore_index})"))
    })
}
