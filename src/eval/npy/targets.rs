//! Target classes from `.npy` files.

use std::path::Path;

use npyz::TypeChar;

use super::file::NpyFile;
use super::layout::NpyLayout;
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
/// [`Error::File`](crate::Error::File) as for [`NpyLogits::open`](super::NpyLogits::open), and for another number of
/// targets, or the first one that is out of range.
pub fn read_targets(
    path: impl AsRef<Path>,
    layout: &NpyLayout,
    ignore_index: i32,
    used: Option<&[bool]>,
) -> Result<Vec<i32>> {
    let mut file = NpyFile::open(path.as_ref())?;
    layout.check_rows(&file)?;
    read_classes(&mut file, layout, 1, ignore_index, used)
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

/// Sparse targets: class indices as of [`read_targets`], and probabilities of f16, f32 or f64, read as f32. Both have one
/// axis more than targets, of the entries.
///
/// # Errors
/// As [`read_targets`]; [`Error::File`](crate::Error::File) where the two differ in their entries, or there are none or
/// too many.
pub fn read_sparse_targets(
    indices: impl AsRef<Path>,
    probs: impl AsRef<Path>,
    layout: &NpyLayout,
    ignore_index: i32,
    used: Option<&[bool]>,
) -> Result<SparseTargets> {
    let (mut indices, mut probs) = (NpyFile::open(indices.as_ref())?, NpyFile::open(probs.as_ref())?);
    let entries = layout.check_entries(&indices, None)?;
    check_entries(entries).map_err(|error| indices.error(error))?;
    layout.check_entries(&probs, Some(entries))?;
    Ok(SparseTargets {
        indices: read_classes(&mut indices, layout, entries, ignore_index, used)?,
        probs: read_floats(&mut probs, "probs", |_| Ok(()))?,
        entries,
    })
}

/// Classes of which each row has so many.
fn read_classes(
    file: &mut NpyFile,
    layout: &NpyLayout,
    entries: usize,
    ignore_index: i32,
    used: Option<&[bool]>,
) -> Result<Vec<i32>> {
    let header = &file.header;
    let Some(value_of) = integers(header.kind, header.size) else {
        return Err(file.error(format!("type {}: targets must be integers", header.descr)));
    };
    let is_u32 = (header.kind, header.size) == (TypeChar::Uint, 4);
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

/// How an integer of this type is read from its bytes, little-endian.
pub(super) fn integers(kind: TypeChar, size: usize) -> Option<fn(&[u8]) -> i128> {
    let unsigned: fn(&[u8]) -> i128 =
        |bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | i128::from(byte));
    let signed: fn(&[u8]) -> i128 = |bytes| {
        let (top, rest) = bytes.split_last().map_or((0, bytes), |(&top, rest)| (top as i8, rest));
        rest.iter().rev().fold(i128::from(top), |value, &byte| value << 8 | i128::from(byte))
    };
    match (kind, size) {
        (TypeChar::Int, 1 | 2 | 4 | 8) => Some(signed),
        (TypeChar::Uint, 1 | 2 | 4 | 8) => Some(unsigned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_sign() {
        let read = |kind, bytes: &[u8]| integers(kind, bytes.len()).map(|value_of| value_of(bytes));
        for (bytes, signed, unsigned) in [
            (&[0x9c_u8][..], -100, 156),
            (&[0x34, 0x12], 0x1234, 0x1234),
            (&[0x9c, 0xff, 0xff, 0xff], -100, 4_294_967_196),
            (&[0xff; 8], -1, i128::from(u64::MAX)),
            (&[0, 0, 0, 0, 0, 0, 0, 0x80], i128::from(i64::MIN), 1 << 63),
        ] {
            assert_eq!(read(TypeChar::Int, bytes), Some(signed), "{bytes:?}");
            assert_eq!(read(TypeChar::Uint, bytes), Some(unsigned), "{bytes:?}");
        }
        assert_eq!(read(TypeChar::Float, &[0; 4]), None);
        assert_eq!(read(TypeChar::Bool, &[0]), None);
    }
}
