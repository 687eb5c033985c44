//! The facts about a window that are computed before the device has finished it.

use std::iter::Peekable;
use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::eval::read_ahead::Values;
use crate::eval::state::EvaluationState;
use crate::inputs::{BatchWeight, CrossEntropyInputs, Resolved};
use crate::options::CrossEntropyOptions;
use crate::reference;
use crate::results::RowResult;
use crate::shape::Shape;
use crate::targets::Targets;

/// A window in flight. Its logits are not kept: what is needed from them is computed when they are submitted.
pub(super) struct Window<'w> {
    pub rows: Range<usize>,
    beside: Resolved<'w>,
    /// The total weight of the batch's rows up to the window's last row.
    weight: BatchWeight,
    /// The class that each counted row should predict.
    top_classes: Vec<Option<u32>>,
    /// The reference losses of some rows, without their weights.
    expected: Vec<(usize, f64)>,
}

impl<'w> Window<'w> {
    /// A window of the next rows, whose values have come. `beside` are their inputs, `before` is the weight of the rows
    /// before, `shift` is the distance from a row to its target in messages, and `verified` are the rows to compare
    /// with the reference.
    /// # Errors
    /// As for [`CrossEntropyInputs::weigh`], with rows counted from the start of the batch.
    pub fn new<E: Element>(
        rows: Range<usize>,
        values: &Values<'_, E>,
        mut beside: Resolved<'w>,
        mut before: BatchWeight,
        (shape, shift): (Shape, usize),
        op: &CrossEntropyOptions,
        verified: &mut Peekable<impl Iterator<Item = usize>>,
    ) -> Result<Self> {
        let shape = shape.with_rows(rows.len());
        let first = rows.start.saturating_add(shift);
        with_soft(beside.inputs(), values.soft).weigh(shape, op, first, &mut before)?;
        beside.narrow();
        let inputs = with_soft(beside.inputs(), values.soft);
        let top_class = |row| inputs.row_target(shape, op, row)?.top_class(op.ignore_index);
        let expected = |row: usize| {
            let loss = reference::cross_entropy::row_loss_at(values.logits, inputs, shape, op, row);
            (row, loss.total())
        };
        Ok(Self {
            top_classes: (0..rows.len()).map(top_class).collect(),
            expected: std::iter::from_fn(|| verified.next_if(|row| rows.contains(row)))
                .map(|row| expected(row - rows.start))
                .collect(),
            weight: before,
            beside,
            rows,
        })
    }

    /// The total weight of the batch's rows up to the window's last row.
    pub fn weight(&self) -> BatchWeight {
        self.weight
    }

    /// The inputs of its rows. Soft targets that were read are not kept, so they are passed in.
    pub fn inputs<'v>(&'v self, soft: Option<&'v [f32]>) -> CrossEntropyInputs<'v> {
        with_soft(self.beside.inputs(), soft)
    }

    /// Adds the device's results for this window.
    pub fn add_to(&self, state: &mut EvaluationState, results: &[RowResult], op: &CrossEntropyOptions) {
        let is_correct = |(class, result): &(&Option<u32>, &RowResult)| **class == Some(result.argmax);
        state.add(results, self.top_classes.iter().zip(results).filter(is_correct).count());
        state.sum = state.sum.weighing(self.weight);
        let inputs = self.inputs(None);
        for &(row, expected) in &self.expected {
            let (at, weights) = (self.rows.start + row, inputs.weights(row));
            state.verification.compare_loss(at, results[row].loss, expected, weights, op);
        }
    }
}

fn with_soft<'v>(inputs: CrossEntropyInputs<'v>, soft: Option<&'v [f32]>) -> CrossEntropyInputs<'v> {
    CrossEntropyInputs { targets: soft.map_or(inputs.targets, Targets::Soft), ..inputs }
}
