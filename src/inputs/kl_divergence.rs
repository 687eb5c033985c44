//! The inputs of the KL divergence besides the student's logits.

use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, RowInputs, row_setters};
use crate::shape::Shape;

/// The inputs of a [`KlDivergence`](crate::KlDivergence) besides the student's logits. The teacher's logits alone are
/// enough: methods that take these inputs also take a slice of them.
///
/// ```
/// use xent::KlDivergenceInputs;
///
/// let inputs = KlDivergenceInputs::new(&[1.0f32, 0.0, 2.0, -1.0]).row_weights(&[1.0, 0.5]).upstream(1024.0);
/// ```
///
/// More fields may come: end a literal with `..KlDivergenceInputs::new(teacher)`.
#[derive(Clone, Copy, Debug)]
pub struct KlDivergenceInputs<'a, E> {
    /// The teacher's logits (rows, cols), of the same type and layout as the student's.
    pub teacher: &'a [E],
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputs<'a>,
}

impl<'a, E> From<&'a [E]> for KlDivergenceInputs<'a, E> {
    fn from(teacher: &'a [E]) -> Self {
        Self::new(teacher)
    }
}

impl<'a, E, const N: usize> From<&'a [E; N]> for KlDivergenceInputs<'a, E> {
    fn from(teacher: &'a [E; N]) -> Self {
        Self::new(teacher)
    }
}

impl<'a, E> From<&'a Vec<E>> for KlDivergenceInputs<'a, E> {
    fn from(teacher: &'a Vec<E>) -> Self {
        Self::new(teacher)
    }
}

impl<'a, E: Copy> From<&KlDivergenceInputs<'a, E>> for KlDivergenceInputs<'a, E> {
    fn from(inputs: &KlDivergenceInputs<'a, E>) -> Self {
        *inputs
    }
}

impl<'a, E> KlDivergenceInputs<'a, E> {
    /// Inputs with the teacher's logits only.
    pub const fn new(teacher: &'a [E]) -> Self {
        Self { teacher, rows: RowInputs::NONE }
    }

    row_setters!();
}

impl<E: Element> KlDivergenceInputs<'_, E> {
    /// Checks lengths and weights before any work, and returns the total weight of the rows.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::Length`](crate::Error::Length);
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for weights.
    pub fn check(&self, shape: Shape) -> Result<BatchWeight> {
        shape.check()?;
        shape.check_slice("teacher", self.teacher)?;
        self.rows.check(shape)?;
        let mut batch = BatchWeight::default();
        self.weigh(shape, &mut batch);
        Ok(batch)
    }

    /// Adds the weights of the rows one by one, so that the parts of a batch give the same bits as the whole.
    pub(crate) fn weigh(&self, shape: Shape, batch: &mut BatchWeight) {
        for row in 0..shape.rows {
            let weight = f64::from(self.rows.weight(row));
            if weight != 0.0 {
                batch.add(BatchWeight { weight, row_weight: weight, counted: 1 });
            }
        }
    }

    /// The inputs of a range of rows. If the logits' rows lie side by side, the range covers whole groups.
    pub(crate) fn part(&self, shape: Shape, rows: Range<usize>) -> Self {
        let (start, len) = (shape.row_start(rows.start), shape.with_rows(rows.len()).len());
        Self { teacher: &self.teacher[start..][..len], rows: self.rows.part(rows) }
    }
}
