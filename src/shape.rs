//! The layout of a batch of logits in memory. All arithmetic on lengths, byte sizes and alignments is in this file.

use crate::error::{Error, Result};

/// The shape of a batch: `rows` × `cols` values, N samples or tokens by C classes or vocabulary.
///
/// ```
/// use xent::Shape;
///
/// let dense = Shape::new(32, 1000);
/// assert_eq!(dense.len(), 32_000);
/// // A vocabulary of 50,257 padded to 50,304 values per row: the padding is ignored.
/// let padded = Shape::new(4, 50_257).row_stride(50_304);
/// assert_eq!(padded.len(), 3 * 50_304 + 50_257);
/// // Segmentation: N = 2 images, C = 21 classes, 8 × 9 pixels. Each pixel is a row.
/// let pixels = Shape::nd(&[2, 21, 8, 9], 1)?;
/// assert_eq!((pixels.rows, pixels.cols, pixels.inner), (2 * 8 * 9, 21, 8 * 9));
/// # Ok::<(), xent::Error>(())
/// ```
///
/// More fields may come: end a literal with `..Shape::new(rows, cols)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows: samples or tokens. Zero is allowed; always a multiple of `inner`.
    pub rows: usize,
    /// Classes of each row. Zero is an [`Error::NoCols`].
    pub cols: usize,
    /// Values from the start of one row (or one group of `inner` rows) to the start of the next; at least
    /// `cols * inner`.
    pub row_stride: usize,
    /// Values from one class to the next: 1 when the class axis is last, otherwise the product of the axes after it. It
    /// is also the number of rows that lie side by side in a group.
    pub inner: usize,
}

impl Shape {
    /// Dense rows with the class axis last.
    pub const fn new(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: cols, inner: 1 }
    }

    /// A dense array of (outer, cols, inner) with the class axis in the middle, like PyTorch's N, C, d1, d2, …. It has
    /// `outer * inner` rows, in the order of the array without its class axis.
    pub const fn nchw(outer: usize, cols: usize, inner: usize) -> Self {
        Self { rows: outer.saturating_mul(inner), cols, row_stride: cols.saturating_mul(inner), inner }
    }

    /// A dense array with any number of axes and the classes along `class_axis`; −1 is the last axis, as in NumPy.
    ///
    /// # Errors
    /// [`Error::ClassAxis`] if there is no such axis; what [`check`](Self::check) refuses.
    pub fn nd(dims: &[usize], class_axis: isize) -> Result<Self> {
        let (axis, cols) = axis_of(dims, class_axis)?;
        let product = |dims: &[usize]| dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
        let (outer, inner) = (product(&dims[..axis]), product(&dims[axis + 1..]));
        if outer.checked_mul(inner).is_none() {
            return Err(Error::ShapeOverflow {
                rows: usize::MAX,
                cols,
                row_stride: cols.saturating_mul(inner),
            });
        }
        // An empty axis after the class axis leaves no rows and nothing to lay out.
        let shape = if inner == 0 { Self::new(0, cols) } else { Self::nchw(outer, cols, inner) };
        shape.check()?;
        Ok(shape)
    }

    /// An array with any number of axes, `strides[i]` values from one index of axis i to the next, and the classes along
    /// `class_axis`; −1 is the last axis. The rows come in the order of the array without its class axis.
    ///
    /// A shape can describe rows of neighbouring classes that are all the same distance apart (some columns, every
    /// second row), and classes along an axis before the last if the axes after it have no gaps (images of N, C, H, W).
    ///
    /// ```
    /// use xent::Shape;
    ///
    /// // Every second row of an array of (8, 1000), without its first 10 columns.
    /// assert_eq!(Shape::strided(&[4, 990], &[2000, 1], -1)?, Shape::new(4, 990).row_stride(2000));
    /// // Images of (N, H, W, C) with their axes in the order N, C, H, W.
    /// assert_eq!(Shape::strided(&[2, 3, 8, 9], &[216, 1, 27, 3], 1)?, Shape::new(2 * 8 * 9, 3));
    /// # Ok::<(), xent::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Strides`] if no shape describes the array: reversed axes, repeated values (a stride of 0), other orders
    /// of the axes. [`Error::ClassAxis`]; [`Error::Length`] if there are not as many strides as axes; what
    /// [`check`](Self::check) refuses.
    pub fn strided(dims: &[usize], strides: &[isize], class_axis: isize) -> Result<Self> {
        if strides.len() != dims.len() {
            return Err(Error::Length { what: "strides", found: strides.len(), needed: dims.len() });
        }
        let (axis, cols) = axis_of(dims, class_axis)?;
        if Self::nd(dims, class_axis)?.rows == 0 {
            return Ok(Self::new(0, cols));
        }
        // An axis of one index has no stride.
        let axes = dims.iter().zip(strides).enumerate().filter(|&(at, (&len, _))| at != axis && len > 1);
        let axes: Vec<(usize, isize)> = axes.map(|(_, (&len, &stride))| (len, stride)).collect();
        let inners = match usize::try_from(strides[axis]) {
            _ if cols == 1 => ends_of(&axes),
            Ok(inner) => vec![inner],
            Err(_) => vec![],
        };
        let Some(shape) = inners.into_iter().find_map(|inner| Self::grouped(&axes, cols, inner)) else {
            let (dims, strides) = (dims.to_vec(), strides.to_vec());
            return Err(Error::Strides { dims, strides, class_axis });
        };
        shape.check()?;
        Ok(shape)
    }

    /// The shape of rows along axes of (length, stride), in groups of `inner`, if there is one.
    fn grouped(axes: &[(usize, isize)], cols: usize, inner: usize) -> Option<Self> {
        // The last axes are the rows of a group.
        let (mut outer, mut group) = (axes, 1usize);
        while group < inner {
            let (&(len, stride), rest) = outer.split_last()?;
            if usize::try_from(stride) != Ok(group) {
                return None;
            }
            (outer, group) = (rest, group.checked_mul(len)?);
        }
        let needed = cols.checked_mul(inner)?;
        // All the others together are one axis.
        let row_stride = outer.last().map_or(Some(needed), |&(_, stride)| usize::try_from(stride).ok())?;
        let (mut rows, mut expected) = (group, row_stride);
        for &(len, stride) in outer.iter().rev() {
            if usize::try_from(stride) != Ok(expected) {
                return None;
            }
            (rows, expected) = (rows.checked_mul(len)?, expected.checked_mul(len)?);
        }
        (group == inner && row_stride >= needed).then_some(Self { rows, cols, row_stride, inner })
    }

    /// Sets the distance from one row to the next, in values.
    pub const fn row_stride(self, row_stride: usize) -> Self {
        Self { row_stride, ..self }
    }

    /// Changes the number of rows and keeps the layout.
    pub const fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// The number of groups of `inner` rows.
    pub(crate) const fn groups(&self) -> usize {
        self.rows / if self.inner == 0 { 1 } else { self.inner }
    }

    /// The number of values from the first to the last, including padding between rows but not after the last row.
    /// Saturates if the shape overflows, which [`check`](Self::check) refuses.
    pub const fn len(&self) -> usize {
        if self.rows == 0 {
            return 0;
        }
        (self.groups().saturating_sub(1))
            .saturating_mul(self.row_stride)
            .saturating_add(self.cols.saturating_mul(self.inner))
    }

    /// Whether the shape holds no values.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the first value of row `row`.
    pub const fn row_start(&self, row: usize) -> usize {
        let inner = if self.inner == 0 { 1 } else { self.inner };
        (row / inner).saturating_mul(self.row_stride).saturating_add(row % inner)
    }

    /// The values of one row of a slice with this shape, class by class.
    ///
    /// # Panics
    /// If `row` is not in 0..rows, or if the slice ends before the row does.
    pub fn row<'a, T>(
        &self,
        values: &'a [T],
        row: usize,
    ) -> impl ExactSizeIterator<Item = &'a T> + use<'a, T> {
        let inner = self.inner.max(1);
        self.assert_holds(values, row);
        values[self.row_start(row)..].iter().step_by(inner).take(self.cols)
    }

    /// Panics if there is no such row, or if a slice ends before the row does, like an index out of bounds.
    #[track_caller]
    pub(crate) fn assert_holds<T>(&self, values: &[T], row: usize) {
        let &Self { rows, cols, inner, .. } = self;
        assert_row(row, rows);
        let before_last = cols.saturating_sub(1).saturating_mul(inner.max(1));
        let end = self.row_start(row).saturating_add(before_last).saturating_add(cols.min(1));
        let found = values.len();
        assert!(end <= found, "row {row} of {cols} cols ends at value {end}; the slice holds {found}");
    }

    /// The values of one row, collected.
    pub(crate) fn row_vec<T: Copy>(&self, values: &[T], row: usize) -> Vec<T> {
        self.row(values, row).copied().collect()
    }

    /// Refuses shapes that no operation can compute.
    ///
    /// # Errors
    /// [`Error::NoCols`], [`Error::RowStride`], [`Error::ShapeOverflow`], [`Error::Layout`].
    pub fn check(&self) -> Result<()> {
        let &Self { rows, cols, row_stride, inner } = self;
        if cols == 0 {
            return Err(Error::NoCols { rows });
        }
        if inner == 0 || !rows.is_multiple_of(inner) {
            return Err(Error::Layout { rows, inner });
        }
        let overflow = Error::ShapeOverflow { rows, cols, row_stride };
        let needed = cols.checked_mul(inner).ok_or_else(|| overflow.clone())?;
        if row_stride < needed {
            return Err(Error::RowStride { row_stride, needed });
        }
        // The widest element has eight bytes. With zero rows, a stride that no row could have must still be refused.
        match (rows / inner).max(1).checked_mul(row_stride).and_then(|values| values.checked_mul(8)) {
            Some(_) => Ok(()),
            None => Err(overflow),
        }
    }

    /// Like [`check`](Self::check), and checks that a slice has this shape's length. The slice may include padding
    /// after the last row.
    pub(crate) fn check_slice<T>(&self, what: &'static str, values: &[T]) -> Result<()> {
        self.check()?;
        let (found, needed) = (values.len(), self.len());
        if found == needed || found == self.groups() * self.row_stride {
            Ok(())
        } else {
            Err(Error::Length { what, found, needed })
        }
    }
}

/// The class axis, counted from the first, and its length.
fn axis_of(dims: &[usize], class_axis: isize) -> Result<(usize, usize)> {
    let axis =
        if class_axis < 0 { dims.len().checked_add_signed(class_axis) } else { Some(class_axis as usize) };
    let found = axis.and_then(|axis| Some((axis, *dims.get(axis)?)));
    found.ok_or(Error::ClassAxis { axis: class_axis, axes: dims.len() })
}

/// The number of rows along the last axes, from none of them to all.
fn ends_of(axes: &[(usize, isize)]) -> Vec<usize> {
    let mut ends = vec![1usize];
    for &(len, _) in axes.iter().rev() {
        ends.push(ends[ends.len() - 1].saturating_mul(len));
    }
    ends
}

/// Panics if there is no such row, like an index out of bounds.
#[track_caller]
pub(crate) fn assert_row(row: usize, rows: usize) {
    assert!(row < rows, "row {row} is out of range: the batch has {rows} rows");
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
        assert_eq!(Shape::nchw(2, 3, 4).with_rows(6).check(), Err(Error::Layout { rows: 6, inner: 4 }));
        assert_eq!(Shape { inner: 0, ..Shape::new(2, 3) }.check(), Err(Error::Layout { rows: 2, inner: 0 }));
        assert_eq!(
            Shape::nchw(2, 3, 4).row_stride(11).check(),
            Err(Error::RowStride { row_stride: 11, needed: 12 })
        );
        assert_eq!(Shape::nd(&[2, 3], 2), Err(Error::ClassAxis { axis: 2, axes: 2 }));
        assert_eq!(Shape::nd(&[2, 3], -3), Err(Error::ClassAxis { axis: -3, axes: 2 }));
        assert_eq!(Shape::nd(&[2, 0], 1), Err(Error::NoCols { rows: 2 }));
        assert!(matches!(Shape::new(usize::MAX / 4, 9).check(), Err(Error::ShapeOverflow { .. })));
        assert!(matches!(Shape::nchw(usize::MAX, usize::MAX, 1).check(), Err(Error::ShapeOverflow { .. })));
        assert!(matches!(Shape::new(0, 1 << 62).check(), Err(Error::ShapeOverflow { .. })));
        assert!(matches!(Shape::new(0, 3).row_stride(1 << 62).check(), Err(Error::ShapeOverflow { .. })));
        assert!(Shape::new(usize::MAX / 8, 1).check().is_ok());
    }

    #[test]
    fn the_class_axis_may_be_anywhere() {
        assert_eq!(Shape::nd(&[7], 0), Ok(Shape::new(1, 7)));
        assert_eq!(Shape::nd(&[5, 6, 7], -1), Ok(Shape::new(30, 7)));
        assert_eq!(Shape::nd(&[5, 6, 7], 0), Ok(Shape::nchw(1, 5, 42)));
        assert_eq!(Shape::nd(&[5, 6, 0], 1), Ok(Shape::new(0, 6)));
        assert_eq!(Shape::nd(&[0, 6, 7], 1), Ok(Shape::nchw(0, 6, 7)));
        let (shape, values): (_, Vec<usize>) = (Shape::nchw(2, 3, 4), (0..24).collect());
        assert_eq!(shape.row_vec(&values, 0), [0, 4, 8]);
        assert_eq!(shape.row_vec(&values, 3), [3, 7, 11]);
        assert_eq!(shape.row_vec(&values, 5), [13, 17, 21]);
        let padded = Shape::nchw(2, 2, 3).row_stride(8);
        assert_eq!((padded.len(), padded.row_vec(&values, 4)), (14, vec![9, 12]));
        assert_eq!(padded.check(), Ok(()));
    }

    #[test]
    fn strides_that_a_shape_describes() {
        for (name, dims, strides, class_axis, expected) in [
            ("dense", &[4, 6][..], &[6, 1][..], 1, Shape::new(4, 6)),
            ("a part of each row", &[4, 3], &[6, 1], -1, Shape::new(4, 3).row_stride(6)),
            ("every second row", &[2, 6], &[12, 1], -1, Shape::new(2, 6).row_stride(12)),
            ("one row", &[6], &[1], 0, Shape::new(1, 6)),
            ("one row of a strange stride", &[1, 6], &[-5, 1], 1, Shape::new(1, 6)),
            ("transposed", &[4, 6], &[1, 4], 1, Shape::nchw(1, 6, 4)),
            ("classes first", &[6, 4], &[4, 1], 0, Shape::nchw(1, 6, 4)),
            ("classes in the middle", &[2, 3, 4], &[12, 4, 1], -2, Shape::nchw(2, 3, 4)),
            ("every second image", &[2, 3, 4], &[24, 4, 1], 1, Shape::nchw(2, 3, 4).row_stride(24)),
            ("one of many classes", &[4, 1], &[6, 1], 1, Shape::new(4, 1).row_stride(6)),
            ("one class in the middle", &[2, 1, 3], &[8, 3, 1], 1, Shape::nchw(2, 1, 3).row_stride(8)),
            ("no row", &[0, 6], &[0, 0], 1, Shape::new(0, 6)),
            ("one value", &[1, 1], &[0, 0], 1, Shape::new(1, 1)),
        ] {
            assert_eq!(Shape::strided(dims, strides, class_axis), Ok(expected), "{name}");
        }
    }

    #[test]
    fn strides_that_no_shape_describes() {
        for (name, dims, strides, class_axis) in [
            ("backwards", &[4, 6][..], &[-6, 1][..], 1),
            ("classes backwards", &[4, 6], &[6, -1], 1),
            ("one row for all", &[4, 6], &[0, 1], 1),
            ("one value for all classes", &[4, 6], &[1, 0], 1),
            ("every second class", &[4, 3], &[6, 2], 1),
            ("a column", &[6], &[4], 0),
            ("rows that overlap", &[4, 6], &[5, 1], 1),
            ("a part of each row of an image", &[2, 3, 4, 2], &[36, 12, 3, 1], 1),
            ("the rows' axes swapped", &[3, 2, 5], &[5, 15, 1], 2),
            ("some columns of a transposed array", &[2, 6], &[1, 4], 1),
            ("huge", &[2, 3], &[isize::MIN, isize::MAX], 1),
        ] {
            let (of_dims, of_strides) = (dims.to_vec(), strides.to_vec());
            let refused = Error::Strides { dims: of_dims, strides: of_strides, class_axis };
            assert_eq!(Shape::strided(dims, strides, class_axis), Err(refused), "{name}");
        }
        let no_axis = Error::ClassAxis { axis: isize::MIN, axes: 2 };
        assert_eq!(Shape::strided(&[2, 3], &[3, 1], isize::MIN), Err(no_axis));
        let length = Error::Length { what: "strides", found: 1, needed: 2 };
        assert_eq!(Shape::strided(&[2, 3], &[1], 1), Err(length));
        assert_eq!(Shape::strided(&[2, 0], &[1, 1], 1), Err(Error::NoCols { rows: 2 }));
        let overflow = Shape::strided(&[2, 3], &[isize::MAX, 1], 1);
        assert!(matches!(overflow, Err(Error::ShapeOverflow { .. })), "{overflow:?}");
    }

    #[test]
    fn rows_and_slices_out_of_bounds_panic_with_the_numbers() {
        let says = |shape: Shape, found: usize, row: usize| {
            let values = vec![0u8; found];
            let panic = std::panic::catch_unwind(|| shape.row(&values, row).count()).expect_err("a panic");
            panic.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        let padded = Shape::nchw(2, 2, 3).row_stride(8);
        for (shape, found, row, expected) in [
            (Shape::new(2, 3), 6, 2, "row 2 is out of range: the batch has 2 rows"),
            (Shape::new(2, 3), 9, 2, "row 2 is out of range: the batch has 2 rows"),
            (Shape::new(0, 3), 3, 0, "row 0 is out of range: the batch has 0 rows"),
            (Shape::new(2, 3), 5, 1, "row 1 of 3 cols ends at value 6; the slice holds 5"),
            (Shape::new(2, 3), 0, 0, "row 0 of 3 cols ends at value 3; the slice holds 0"),
            (padded, 13, 5, "row 5 of 2 cols ends at value 14; the slice holds 13"),
            (padded, 3, 0, "row 0 of 2 cols ends at value 4; the slice holds 3"),
        ] {
            assert_eq!(says(shape, found, row), expected, "{shape:?}");
        }
        let huge = Shape { rows: usize::MAX, cols: usize::MAX, row_stride: usize::MAX, inner: usize::MAX };
        assert!(says(huge, 3, usize::MAX - 1).contains("the slice holds 3"));
        assert_eq!(padded.row(&[0u8; 14], 5).count(), 2);
        assert_eq!(Shape::new(2, 0).row(&[0u8; 0], 1).count(), 0, "no value is needed");
        assert_eq!(Shape { inner: 0, ..Shape::new(2, 3) }.row(&[0u8; 6], 1).count(), 3);
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
