//! Where logits come from.

use std::ops::Range;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::shape::Shape;

/// Logits (rows, cols) that come window by window.
pub trait Source<E: Element> {
    /// The shape of all of them.
    fn shape(&self) -> Shape;

    /// The logits (rows, cols) of a range of rows, laid out by [`shape`](Self::shape); they stay until the next call.
    /// Ranges are asked for in order, each row once.
    ///
    /// # Errors
    /// Whatever keeps them from coming, most often an [`Error::File`](crate::Error::File).
    fn read_rows(&mut self, rows: Range<usize>) -> Result<&[E]>;
}

/// Logits that are in memory: windows are parts of the slice, nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct SliceSource<'a, E> {
    logits: &'a [E],
    shape: Shape,
}

impl<'a, E: Element> SliceSource<'a, E> {
    /// Logits (rows, cols), laid out by `shape`.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::Length`](crate::Error::Length).
    pub fn new(logits: &'a [E], shape: Shape) -> Result<Self> {
        shape.check_slice("logits", logits)?;
        Ok(Self { logits, shape })
    }
}

impl<E: Element> Source<E> for SliceSource<'_, E> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn read_rows(&mut self, rows: Range<usize>) -> Result<&[E]> {
        if rows.end > self.shape.rows {
            return Err(Error::RowsExceedBound { rows: rows.end, bound: self.shape.rows });
        }
        let len = self.shape.with_rows(rows.len()).len();
        Ok(&self.logits[self.shape.row_start(rows.start)..][..len])
    }
}
