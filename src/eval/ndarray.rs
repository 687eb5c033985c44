//! `ndarray` views as sources.

use std::ops::Range;

use ndarray::{ArrayView2, Axis};

use super::source::{Source, check_buffer, values_of};
use crate::element::Element;
use crate::error::Result;
use crate::shape::Shape;

/// Logits (rows, cols) in an array with any strides. In standard layout they are used in place, otherwise they are
/// copied row by row. With the feature `ndarray`.
///
/// ```
/// use ndarray::array;
/// use xent::eval::Source;
///
/// let columns = array![[0.1f32, 0.4], [0.2, 0.5], [0.3, 0.6]];
/// // 2 rows × 3 cols.
/// let mut logits = columns.t();
/// let mut row = [0.0; 3];
/// logits.read_rows(1..2, &mut row)?;
/// assert_eq!(row, [0.4, 0.5, 0.6]);
/// # Ok::<(), xent::Error>(())
/// ```
impl<E: Element> Source<E> for ArrayView2<'_, E> {
    fn shape(&self) -> Shape {
        Shape::new(self.nrows(), self.ncols())
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        check_buffer(into, values_of(Source::shape(self), rows.clone())?.len())?;
        let window = self.slice_axis(Axis(0), rows.into());
        into.iter_mut().zip(window).for_each(|(into, &value)| *into = value);
        Ok(())
    }

    fn values(&self) -> Option<&[E]> {
        self.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Slice};

    use super::*;

    #[test]
    fn strides_of_any_kind() {
        let whole = Array2::from_shape_fn((6, 4), |(row, col)| (10 * row + col) as f32);
        let rows = |slice: Slice| whole.slice_axis(Axis(0), slice);
        let mut backwards = whole.view();
        backwards.invert_axis(Axis(0));
        backwards.invert_axis(Axis(1));
        for (name, view, lies_there) in [
            ("standard", whole.view(), true),
            ("transposed", whole.t(), false),
            ("every second row", rows(Slice::new(0, None, 2)), false),
            ("backwards", backwards, false),
            ("a part of each row", whole.view().split_at(Axis(1), 1).1, false),
            ("some rows", rows(Slice::from(2..5)), true),
            ("no row", rows(Slice::from(2..2)), true),
        ] {
            let mut source = view;
            assert_eq!(source.values().is_some(), lies_there, "{name}");
            let expected: Vec<f32> = view.iter().copied().collect();
            let (rows, cols) = view.dim();
            let mut found = vec![f32::NAN; expected.len()];
            let middle = rows / 2;
            source.read_rows(0..middle, &mut found[..middle * cols]).unwrap();
            source.read_rows(middle..rows, &mut found[middle * cols..]).unwrap();
            assert_eq!(found, expected, "{name}");
            assert!(source.read_rows(0..rows + 1, &mut found).is_err(), "{name}");
            assert_eq!(source.read_rows(Range { start: rows, end: 0 }, &mut []), Ok(()), "{name}");
        }
    }
}
