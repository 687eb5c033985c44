//! The axes of logits in a file, and of the inputs that come with them.

use super::tensor::TensorFile;
use super::text::shape_text;
use crate::error::Result;
use crate::shape::Shape;

/// The axes of a dense array of logits. One is the class axis; the others are the rows, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dims: Vec<usize>,
    axis: usize,
    shape: Shape,
    /// The classes that the file holds; the first of them are used.
    stored_cols: usize,
}

impl Layout {
    /// A layout of these axes, with classes along `class_axis`; −1 is the last axis, as in NumPy.
    ///
    /// # Errors
    /// As for [`Shape::nd`].
    pub fn new(dims: &[usize], class_axis: isize) -> Result<Self> {
        let shape = Shape::nd(dims, class_axis)?;
        let axis =
            if class_axis < 0 { dims.len() - class_axis.unsigned_abs() } else { class_axis.unsigned_abs() };
        Ok(Self { dims: dims.to_vec(), axis, shape, stored_cols: shape.cols })
    }

    /// The layout of the first `cols` classes; the others pad the vocabulary. `None` if there are fewer.
    pub(super) fn of_first_classes(&self, cols: usize) -> Option<Self> {
        let mut dims = self.dims.clone();
        dims[self.axis] = cols;
        let shape = Shape { cols, row_stride: cols * self.shape.inner, ..self.shape };
        (1..=self.shape.cols).contains(&cols).then_some(Self { dims, shape, ..self.clone() })
    }

    /// The classes that the file holds.
    pub(super) fn stored_cols(&self) -> usize {
        self.stored_cols
    }

    /// The axes of the array in the file.
    pub(super) fn stored_dims(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        dims[self.axis] = self.stored_cols;
        dims
    }

    /// The shape: rows and classes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The axes of the logits, and of arrays with the same layout.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The axes of an array with one value per row: those of the logits without the class axis.
    pub fn row_dims(&self) -> Vec<usize> {
        [&self.dims[..self.axis], &self.dims[self.axis + 1..]].concat()
    }

    /// Default rows per sequence: the length of the axis before the class axis, if the class axis is last, as in
    /// (batch, position, class); otherwise all rows are one sequence. At least 1.
    pub fn sequence_length(&self) -> usize {
        let before = if self.axis + 1 == self.dims.len() { self.dims[..self.axis].last() } else { None };
        before.copied().unwrap_or(self.shape.rows).max(1)
    }

    /// Whether the class axis is the first axis.
    pub(super) fn has_classes_first(&self) -> bool {
        self.axis == 0
    }

    /// Refuses an array that does not have one value per row.
    pub(super) fn check_rows(&self, file: &TensorFile) -> Result<()> {
        if self.has_rows(file.dims()) { Ok(()) } else { Err(self.refuse(file, None)) }
    }

    /// Refuses an array that does not have the needed number of values in each row, and returns that number.
    pub(super) fn check_entries(&self, file: &TensorFile, needed: Option<usize>) -> Result<usize> {
        let letter = || needed.map_or("k".to_owned(), |entries| entries.to_string());
        match file.dims().split_last() {
            Some((&entries, rows))
                if self.has_rows(rows) && needed.is_none_or(|needed| entries == needed) =>
            {
                Ok(entries)
            }
            _ => Err(self.refuse(file, Some(letter()))),
        }
    }

    /// Whether an array of these axes has the rows in their order: the logits' axes without the class axis, or one axis of
    /// all rows. Axes of length 1 change no order. If the logits have one axis of rows, the array may have several, as
    /// (batch, position) for logits (batch · position, class).
    fn has_rows(&self, dims: &[usize]) -> bool {
        let longer = |dims: &[usize]| dims.iter().copied().filter(|&len| len != 1).collect::<Vec<_>>();
        let (found, rows) = (longer(dims), longer(&self.row_dims()));
        let is_flat = found.len() <= 1 || rows.len() <= 1;
        found == rows || is_flat && dims.iter().product::<usize>() == self.shape.rows
    }

    fn refuse(&self, file: &TensorFile, entries: Option<String>) -> crate::error::Error {
        let of = |dims: &[usize]| {
            let lengths: Vec<String> = dims.iter().map(usize::to_string).chain(entries.clone()).collect();
            shape_text(&lengths)
        };
        let (rows, row_dims) = (self.shape.rows, self.row_dims());
        let flat = of(&[rows]);
        let needed = if row_dims == [rows] { flat } else { format!("{} or {flat}", of(&row_dims)) };
        let mut why = format!("shape {}: {rows} rows of logits need {needed}", shape_text(file.dims()));
        if file.dims() == self.dims && entries.is_none() {
            why += "; with a value for each class, as one-hot targets have, they are soft targets";
        }
        file.error(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_have_other_axes_in_the_same_order() {
        for (dims, axis, good, bad) in [
            (
                &[6, 7][..],
                -1,
                &[&[6][..], &[6, 1], &[1, 6], &[2, 3], &[1, 3, 2]][..],
                &[&[7][..], &[6, 7], &[]][..],
            ),
            (&[2, 3, 7], -1, &[&[2, 3], &[6], &[2, 3, 1], &[6, 1], &[2, 1, 3]], &[&[3, 2], &[2, 3, 7], &[2]]),
            (&[2, 7, 3, 5], 1, &[&[2, 3, 5], &[2, 1, 3, 5], &[30]], &[&[2, 5, 3], &[6, 5], &[2, 7, 3, 5]]),
            (&[1, 7], -1, &[&[1], &[], &[1, 1]], &[&[7], &[1, 7]]),
            (&[0, 7], -1, &[&[0]], &[&[1]]),
        ] {
            let layout = Layout::new(dims, axis).unwrap();
            for rows in good {
                assert!(layout.has_rows(rows), "{dims:?} {rows:?}");
            }
            for rows in bad {
                assert!(!layout.has_rows(rows), "{dims:?} {rows:?}");
            }
        }
    }

    #[test]
    fn rows_are_the_axes_without_the_classes() {
        for (dims, axis, rows, length) in [
            (&[7][..], 0, &[][..], 1),
            (&[5, 7], -1, &[5], 5),
            (&[5, 7], 0, &[7], 7),
            (&[2, 5, 7], -1, &[2, 5], 5),
            (&[2, 5, 7], 2, &[2, 5], 5),
            (&[2, 5, 7], -2, &[2, 7], 14),
            (&[0, 7], -1, &[0], 1),
        ] {
            let layout = Layout::new(dims, axis).unwrap();
            assert_eq!((layout.row_dims(), layout.sequence_length()), (rows.to_vec(), length), "{dims:?}");
            assert_eq!(layout.row_dims().iter().product::<usize>(), layout.shape().rows, "{dims:?}");
        }
        for (dims, axis) in [(&[][..], -1), (&[5, 7], 2), (&[5, 7], -3), (&[5, 0], 1)] {
            assert!(Layout::new(dims, axis).is_err(), "{dims:?} {axis}");
        }
    }
}
