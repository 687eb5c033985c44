//! What a divergence takes beside the two batches of logits.

use std::ops::Range;

use crate::error::Result;
use crate::inputs::{BatchWeight, RowFactors};
use crate::shape::Shape;

/// What a [`KlDivergence`](crate::KlDivergence) takes beside the two batches of logits. All of it may be left out:
/// `KlDivergenceInputs::default()`.
///
/// ```
/// use xent::KlDivergenceInputs;
///
/// let inputs = KlDivergenceInputs::default().row_weights(&[1.0, 0.5]).upstream(1024.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KlDivergenceInputs<'a> {
    /// A weight for each row (rows,), finite and at least 0. A row of weight 0 is left out. Default: 1 each.
    pub row_weights: Option<&'a [f32]>,
    /// Which rows are scored (rows,); the others are left out. Default: all.
    pub row_mask: Option<&'a [bool]>,
    /// The gradient of whatever comes behind with respect to this loss: `dlogits` is multiplied by it. Default: 1.
    pub upstream: f32,
    /// The same for each row's loss (rows,). Default: 1 each.
    pub row_upstream: Option<&'a [f32]>,
}

impl Default for KlDivergenceInputs<'_> {
    fn default() -> Self {
        Self { row_weights: None, row_mask: None, upstream: 1.0, row_upstream: None }
    }
}

impl<'a> KlDivergenceInputs<'a> {
    /// The same with row weights (rows,).
    pub const fn row_weights(self, weights: &'a [f32]) -> Self {
        Self { row_weights: Some(weights), ..self }
    }

    /// The same with a mask (rows,) of the rows that are scored.
    pub const fn row_mask(self, mask: &'a [bool]) -> Self {
        Self { row_mask: Some(mask), ..self }
    }

    /// The same with an upstream gradient of the reduced loss.
    pub const fn upstream(self, upstream: f32) -> Self {
        Self { upstream, ..self }
    }

    /// The same with an upstream gradient (rows,) for each row's loss.
    pub const fn row_upstream(self, upstream: &'a [f32]) -> Self {
        Self { row_upstream: Some(upstream), ..self }
    }

    /// What is given for each row.
    pub(crate) fn rows(&self) -> RowFactors<'a> {
        let &Self { row_weights, row_mask, upstream, row_upstream, .. } = self;
        RowFactors { weights: row_weights, mask: row_mask, upstream, row_upstream }
    }

    /// The weight of a row, 0 if it is masked.
    pub(crate) fn row_weight(&self, row: usize) -> f32 {
        self.rows().weight(row)
    }

    /// The gradient by which a row's loss is multiplied, of its own and of the whole.
    pub(crate) fn row_gradient(&self, row: usize) -> f64 {
        self.rows().gradient(row)
    }

    /// Refuses lengths and weights that are not what they should be, before any work; says what the rows weigh.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::Length`](crate::Error::Length);
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for weights.
    pub fn check(&self, shape: Shape) -> Result<BatchWeight> {
        shape.check()?;
        self.rows().check(shape)?;
        let mut batch = BatchWeight::default();
        for row in 0..shape.rows {
            let weight = f64::from(self.row_weight(row));
            if weight != 0.0 {
                batch.add(BatchWeight { weight, row_weight: weight, counted: 1 });
            }
        }
        Ok(batch)
    }

    /// The inputs of some rows (with the logits' rows side by side: of whole groups of them).
    pub(crate) fn part(&self, rows: Range<usize>) -> Self {
        let of_rows = self.rows().part(rows);
        Self {
            row_weights: of_rows.weights,
            row_mask: of_rows.mask,
            row_upstream: of_rows.row_upstream,
            ..*self
        }
    }
}
