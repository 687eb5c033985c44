//! What is known of a window before the device is done with it.

use std::iter::Peekable;
use std::ops::Range;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::read_ahead::Values;
use crate::eval::state::EvaluationState;
use crate::inputs::CrossEntropyInputs;
use crate::op::RowResult;
use crate::options::CrossEntropyOptions;
use crate::reference;
use crate::shape::Shape;
use crate::targets::Targets;

/// A window on its way. Its logits are not kept: what will be wanted of them is found when they are given to the device.
pub(super) struct Window<'w> {
    pub rows: Range<usize>,
    /// What comes with its rows. Soft targets that were read are not among it.
    pub inputs: CrossEntropyInputs<'w>,
    /// The class that each row is to give, of rows that count.
    top_classes: Vec<Option<u32>>,
    /// The losses of some rows by the reference, without their weights.
    expected: Vec<(usize, f64)>,
}

impl<'w> Window<'w> {
    /// Of the next rows, whose values have come; `all` is what comes with every row, `verified` the rows that are to be
    /// compared with the reference.
    ///
    /// # Errors
    /// [`Error::InvalidTarget`] for soft targets that are no numbers, the row counted from the batch's first.
    pub fn new<E: Element>(
        rows: Range<usize>,
        values: &Values<'_, E>,
        all: &CrossEntropyInputs<'w>,
        shape: Shape,
        op: &CrossEntropyOptions,
        verified: &mut Peekable<impl Iterator<Item = usize>>,
    ) -> Result<Self> {
        let inputs = all.part(shape, rows.clone());
        let shape = shape.with_rows(rows.len());
        let with_soft = with_soft(&inputs, values.soft);
        if values.soft.is_some() {
            with_soft.check(shape, op).map_err(|error| match error {
                Error::InvalidTarget { row, at, value } => {
                    Error::InvalidTarget { row: row + rows.start, at, value }
                }
                other => other,
            })?;
        }
        let top_class = |row| with_soft.row_target(shape, op, row)?.top_class(op.ignore_index);
        let expected = |row: usize| {
            let loss = reference::cross_entropy::row_loss_at(values.logits, with_soft, shape, op, row);
            (row, loss.total())
        };
        Ok(Self {
            top_classes: (0..rows.len()).map(top_class).collect(),
            expected: std::iter::from_fn(|| verified.next_if(|row| rows.contains(row)))
                .map(|row| expected(row - rows.start))
                .collect(),
            inputs,
            rows,
        })
    }

    /// Adds what the device has found of it.
    pub fn add_to(&self, state: &mut EvaluationState, results: &[RowResult], op: &CrossEntropyOptions) {
        let is_correct = |(class, result): &(&Option<u32>, &RowResult)| **class == Some(result.argmax);
        state.add(results, self.top_classes.iter().zip(results).filter(is_correct).count());
        for &(row, expected) in &self.expected {
            let (at, weights) = (self.rows.start + row, self.inputs.weights(row));
            state.verification.compare_loss(at, results[row].loss, expected, weights, op);
        }
    }
}

/// The same inputs, with soft targets that were read.
pub(super) fn with_soft<'w>(
    inputs: &CrossEntropyInputs<'w>,
    soft: Option<&'w [f32]>,
) -> CrossEntropyInputs<'w> {
    CrossEntropyInputs { targets: soft.map_or(inputs.targets, Targets::Soft), ..*inputs }
}
