//! What a batch of logits looks like in memory: every length, byte size and alignment sum in one place.

use crate::error::{Error, Result};

/// The shape of a batch: `rows` × `cols` values, N samples or tokens by C classes or vocabulary.
///
/// ```
/// use xent::Shape;
///
/// let dense = Shape::new(32, 1000);
/// assert_eq!(dense.len(), 32_000);
/// // A vocabulary of 50,257 padded to 50,304 values a row: the padding takes no part.
/// let padded = Shape::new(4, 50_257).row_stride(50_304);
/// assert_eq!(padded.len(), 3 * 50_304 + 50_257);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows: samples or tokens. Zero is allowed.
    pub rows: usize,
    /// Classes of each row. Zero is an [`Error::NoCols`].
    pub cols: usize,
    /// Values from the start of one row (of one group of `inner` rows) to the start of the next; at least
    /// `cols * inner`.
    pub row_stride: usize,
    /// Values from one class to the next: 1 when the class axis is last, else the product of the axes behind it.
    pub inner: usize,
}

impl Shape {
    /// Dense rows, class axis last.
    pub const fn new(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: cols, inner: 1 }
    }

    /// A dense array of (outer, cols, inner), class axis in the middle, as PyTorch's N, C, d1, d2, …: it has
    /// `outer * inner` rows. No operation takes `inner > 1` yet; they answer [`Error::Layout`].
    pub const fn nchw(outer: usize, cols: usize, inner: usize) -> Self {
        Self { rows: outer.saturating_mul(inner), cols, row_stride: cols.saturating_mul(inner), inner }
    }

    /// The same rows, `row_stride` values apart.
    pub const fn row_stride(self, row_stride: usize) -> Self {
        Self { row_stride, ..self }
    }

    /// The same layout with another number of rows.
    pub const fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Values from the first to behind the last, padding between rows included (behind the last row: none).
    /// Saturates where the shape overflows, which [`check`](Self::check) refuses.
    pub const fn len(&self) -> usize {
        if self.rows == 0 {
            return 0;
        }
        let groups = self.rows / if self.inner == 0 { 1 } else { self.inner };
        (groups.saturating_sub(1))
            .saturating_mul(self.row_stride)
            .saturating_add(self.cols.saturating_mul(self.inner))
    }

    /// Whether there is no value at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where row `row` begins, in values.
    pub const fn row_start(&self, row: usize) -> usize {
        row.saturating_mul(self.row_stride)
    }

    /// One row of a slice laid out in this shape.
    pub(crate) fn row<'a, T>(&self, values: &'a [T], row: usize) -> &'a [T] {
        &values[self.row_start(row)..][..self.cols]
    }

    /// Refuses what no operation can compute.
    ///
    /// # Errors
    /// [`Error::NoCols`], [`Error::RowStride`], [`Error::ShapeOverflow`], [`Error::Layout`].
    pub fn check(&self) -> Result<()> {
        let &Self { rows, cols, row_stride, inner } = self;
        if cols == 0 {
            return Err(Error::NoCols { rows });
        }
        if inner != 1 {
            return Err(Error::Layout { inner });
        }
        if row_stride < cols {
            return Err(Error::RowStride { row_stride, needed: cols });
        }
        // Eight bytes a value is the widest element there is. Zero rows must not hide a stride that no row could have.
        match rows.max(1).checked_mul(row_stride).and_then(|values| values.checked_mul(8)) {
            Some(_) => Ok(()),
            None => Err(Error::ShapeOverflow { rows, cols, row_stride }),
        }
    }

    /// [`check`](Self::check), and that a slice has this shape's length (the padding behind the last row may be there).
    pub(crate) fn check_slice<T>(&self, what: &'static str, values: &[T]) -> Result<()> {
        self.check()?;
        let (found, needed) = (values.len(), self.len());
        if found == needed || found == self.rows * self.row_stride {
            Ok(())
        } else {
            Err(Error::Length { what, found, needed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(Shape::new(0, 7).len(), 0);
        assert_eq!(Shape::new(3, 7).len(), 21);
        assert_eq!(Shape::new(3, 7).row_stride(8).len(), 23);
        assert_eq!(Shape::nchw(2, 3, 4).len(), 24);
        assert_eq!(Shape::nchw(2, 3, 4).rows, 8);
    }

    #[test]
    fn refusals() {
        assert_eq!(Shape::new(3, 0).check(), Err(Error::NoCols { rows: 3 }));
        assert_eq!(Shape::new(0, 0).check(), Err(Error::NoCols { rows: 0 }));
        assert_eq!(
            Shape::new(3, 7).row_stride(6).check(),
            Err(Error::RowStride { row_stride: 6, needed: 7 })
        );
        assert_eq!(Shape::nchw(2, 3, 4).check(), Err(Error::Layout { inner: 4 }));
        assert!(matches!(Shape::new(usize::MAX / 4, 9).check(), Err(Error::ShapeOverflow { .. })));
        assert!(matches!(Shape::nchw(usize::MAX, usize::MAX, 1).check(), Err(Error::ShapeOverflow { .. })));
        assert!(matches!(Shape::new(0, 1 << 62).check(), Err(Error::ShapeOverflow { .. })));
        assert!(matches!(Shape::new(0, 3).row_stride(1 << 62).check(), Err(Error::ShapeOverflow { .. })));
        assert!(Shape::new(usize::MAX / 8, 1).check().is_ok());
    }

    #[test]
    fn a_slice_may_hold_the_last_rows_padding_or_not() {
        let shape = Shape::new(2, 3).row_stride(4);
        assert!(shape.check_slice("logits", &[0.0; 7]).is_ok());
        assert!(shape.check_slice("logits", &[0.0; 8]).is_ok());
        assert_eq!(
            shape.check_slice("logits", &[0.0; 6]),
            Err(Error::Length { what: "logits", found: 6, needed: 7 })
        );
    }
}
