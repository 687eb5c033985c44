//! Per-row inputs of logits, from files.

use std::fmt;
use std::ops::Range;

use super::tensor::{CHUNK_VALUES, TensorFile};
use crate::error::{Error, Result};
use crate::eval::inputs::RowSource;
use crate::eval::source::check_buffer;

/// Target classes, row weights or a row mask in a [`TensorFile`], read window by window.
pub struct FileRows<T> {
    file: TensorFile,
    /// The name of the values in messages.
    what: &'static str,
    entries: usize,
    make: Make<T>,
    /// Values of the file's type, before conversion.
    raw: Vec<u8>,
}

/// Converts a value's bytes, or says what is wrong with them. The flag says whether the value is used.
type Make<T> = Box<dyn Fn(&[u8], bool) -> Result<T, String> + Send>;

impl<T> FileRows<T> {
    /// Values of a file, `entries` per row.
    pub(super) fn new(
        file: TensorFile,
        what: &'static str,
        entries: usize,
        make: impl Fn(&[u8], bool) -> Result<T, String> + Send + 'static,
    ) -> Self {
        Self { file, what, entries, make: Box::new(make), raw: Vec::new() }
    }

    /// Values per row: 1, except for sparse targets.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Reads the values of all rows into memory.
    ///
    /// # Errors
    /// [`Error::File`], also if they do not fit into memory.
    pub fn read_all(&mut self) -> Result<Vec<T>>
    where
        T: Clone + Default,
    {
        let (rows, len) = (self.rows(), self.file.len());
        let mut values = Vec::new();
        if values.try_reserve_exact(len).is_err() {
            return Err(self.file.error(format!("{len} {} do not fit into memory", self.what)));
        }
        values.resize(len, T::default());
        let step = (CHUNK_VALUES / self.entries.max(1)).max(1);
        let used = vec![true; step.min(rows)];
        for (chunk, into) in values.chunks_mut(step * self.entries.max(1)).enumerate() {
            let first = chunk * step;
            let rows = first..first + into.len() / self.entries.max(1);
            self.read_rows(rows.clone(), &used[..rows.len()], into)?;
        }
        Ok(values)
    }
}

impl<T> RowSource<T> for FileRows<T> {
    fn rows(&self) -> usize {
        self.file.len() / self.entries.max(1)
    }

    fn read_rows(&mut self, rows: Range<usize>, used: &[bool], into: &mut [T]) -> Result<()> {
        if rows.end > self.rows() {
            return Err(Error::RowsExceedBound { rows: rows.end, bound: self.rows() });
        }
        check_buffer(into, rows.len() * self.entries)?;
        let Self { file, what, entries, make, raw } = self;
        let size = file.value_bytes();
        for (chunk, into) in into.chunks_mut(CHUNK_VALUES).enumerate() {
            let start = chunk * CHUNK_VALUES;
            let first = rows.start * *entries + start;
            raw.resize(into.len() * size, 0);
            file.read_at(first, raw)?;
            for (at, (value, bytes)) in into.iter_mut().zip(raw.chunks_exact(size.max(1))).enumerate() {
                let is_used = used.get((start + at) / *entries).is_none_or(|&used| used);
                *value = make(bytes, is_used).map_err(|why| file.value_error(what, first + at, why))?;
            }
        }
        Ok(())
    }
}

impl<T> fmt::Debug for FileRows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, what, entries, .. } = self;
        f.debug_struct("FileRows")
            .field("file", file)
            .field("what", what)
            .field("entries", entries)
            .finish_non_exhaustive()
    }
}
