//! Sources of logits.

use std::ops::Range;

use crate::coded::is_smaller;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::shape::Shape;

/// Logits (rows, cols) that come window by window, or soft targets with the same layout. While the device works on one
/// window, a separate thread reads the next.
pub trait Source<E: Element>: Send {
    /// The shape of the whole batch.
    fn shape(&self) -> Shape;

    /// Reads the values (rows, cols) of a range of rows into a buffer of exactly their length, in the layout of
    /// [`shape`](Self::shape). Ranges come in order, each row once, and may start at any row; a run that continues
    /// after a failure starts again from an earlier row, and a [`Calibrator`](crate::eval::calibrate::Calibrator) reads
    /// all rows several times. If rows lie side by side, ranges cover whole groups.
    ///
    /// # Errors
    /// Whatever prevents reading, most often an [`Error::File`](crate::Error::File).
    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()>;

    /// All the values in the layout of [`shape`](Self::shape), if they are in memory. They are then used in place, and
    /// `read_rows` is not called.
    fn values(&self) -> Option<&[E]> {
        None
    }

    /// Whether the values, of f32, are also there as codes of 16 bits with a scale and a minimum for each row:
    /// `value = scale · code + minimum`, the product rounded to f32 before the sum. Kernels that take codes then read these,
    /// so that a window has half the bytes. A class axis that is not the last has no codes.
    fn has_codes(&self) -> bool {
        false
    }

    /// Reads a range of rows as codes, in the order of [`read_rows`](Self::read_rows), into a buffer of exactly their
    /// length. A row (4 + cols, one more if cols is odd) is the bits of the f32 scale, its lower half first, likewise the
    /// minimum, and a code for each class. Called if [`has_codes`](Self::has_codes).
    ///
    /// # Errors
    /// As for [`read_rows`](Self::read_rows); [`Error::Length`] for a source without codes.
    fn read_codes(&mut self, _: Range<usize>, into: &mut [u16]) -> Result<()> {
        Err(Error::Length { what: "the codes of the source", found: 0, needed: into.len() })
    }
}

/// Whether the rows of all these sources are read as codes: they have them, and are smaller like this.
pub(super) fn are_coded<E: Element>(sources: &[&dyn Source<E>]) -> bool {
    E::NAME == f32::NAME && sources.iter().all(|source| source.has_codes() && is_smaller(source.shape()))
}

/// The range of values of a range of rows, in a checked shape.
pub(super) fn values_of(shape: Shape, rows: Range<usize>) -> Result<Range<usize>> {
    // A range that ends before it starts is empty.
    let end = rows.end.max(rows.start);
    if end > shape.rows {
        return Err(Error::RowsExceedBound { rows: end, bound: shape.rows });
    }
    let inner = shape.inner;
    if let Some(&rows) = [rows.start, rows.len()].iter().find(|rows| !rows.is_multiple_of(inner)) {
        return Err(Error::Layout { rows, inner });
    }
    let start = shape.row_start(rows.start);
    Ok(start..start + shape.with_rows(rows.len()).len())
}

/// Refuses a buffer whose length differs from that of the values to read.
pub(super) fn check_buffer<E>(into: &[E], needed: usize) -> Result<()> {
    let found = into.len();
    if found == needed {
        Ok(())
    } else {
        Err(Error::Length { what: "the buffer of a window", found, needed })
    }
}

/// Reserves memory for this number of values, or fails if there is not enough.
#[cfg(feature = "cpu")]
pub(super) fn reserved<T>(what: &str, values: usize) -> Result<Vec<T>> {
    let mut reserved = Vec::new();
    match reserved.try_reserve_exact(values) {
        Ok(()) => Ok(reserved),
        Err(error) => Err(Error::OutOfMemory { what: what.to_owned(), message: error.to_string() }),
    }
}

/// Refuses a shape that differs from the one needed. `what` names the part that differs: a row, a group of rows side by
/// side, a row with its padding, or the whole.
pub(super) fn check_same_shape(what: [&'static str; 4], found: Shape, needed: Shape) -> Result<()> {
    let parts = |shape: Shape| [shape.cols, shape.inner, shape.row_stride, shape.len()];
    for ((what, found), needed) in what.into_iter().zip(parts(found)).zip(parts(needed)) {
        if found != needed {
            return Err(Error::Length { what, found, needed });
        }
    }
    Ok(())
}

/// Refuses a source whose shape is invalid, or whose values in memory do not match its shape.
pub(super) fn check_values<E: Element>(source: &dyn Source<E>) -> Result<()> {
    let shape = source.shape();
    shape.check()?;
    source.values().map_or(Ok(()), |values| shape.check_slice("the source", values))
}

/// Logits in memory: windows are parts of the slice, and nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct SliceSource<'a, E> {
    logits: &'a [E],
    shape: Shape,
}

impl<'a, E: Element> SliceSource<'a, E> {
    /// A source of logits (rows, cols) in the layout of `shape`.
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

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        let values = &self.logits[values_of(self.shape, rows)?];
        check_buffer(into, values.len())?;
        into.copy_from_slice(values);
        Ok(())
    }

    fn values(&self) -> Option<&[E]> {
        Some(self.logits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_parts_of_the_slice() {
        let values: Vec<f32> = (0..14).map(|value| value as f32).collect();
        let padded = Shape::nchw(2, 2, 3).row_stride(8);
        let mut source = SliceSource::new(&values, padded).unwrap();
        let mut read = |rows, len| {
            let mut into = vec![f32::NAN; len];
            source.read_rows(rows, &mut into).map(|()| into)
        };
        assert_eq!(read(0..3, 6).as_deref(), Ok(&values[0..6]));
        assert_eq!(read(3..6, 6).as_deref(), Ok(&values[8..14]));
        assert_eq!(read(3..3, 0).as_deref(), Ok(&values[..0]));
        for (rows, refused) in [
            (3..9, Error::RowsExceedBound { rows: 9, bound: 6 }),
            (Range { start: 9, end: 3 }, Error::RowsExceedBound { rows: 9, bound: 6 }),
            (Range { start: usize::MAX, end: 0 }, Error::RowsExceedBound { rows: usize::MAX, bound: 6 }),
            (1..4, Error::Layout { rows: 1, inner: 3 }),
            (3..5, Error::Layout { rows: 2, inner: 3 }),
            (0..3, Error::Length { what: "the buffer of a window", found: 7, needed: 6 }),
        ] {
            assert_eq!(read(rows, 7), Err(refused));
        }
        assert_eq!(source.values(), Some(&values[..]));
    }
}
