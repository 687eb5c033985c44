//! The facts about a window that are computed before the device has finished it.

use std::borrow::Cow;
use std::iter::Peekable;
use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::eval::losses::Evaluable;
use crate::eval::misuse::Looked;
use crate::eval::read_ahead::Values;
use crate::eval::state::EvaluationState;
use crate::inputs::{BatchWeight, Resolved};
use crate::results::{NO_CLASS, RowResult};
use crate::shape::Shape;

/// A window in flight. Its logits are not kept: what is needed from them is computed when they are submitted.
pub(super) struct Window<'w, E: Element, L: Evaluable> {
    pub rows: Range<usize>,
    beside: Resolved<L::Inputs<'w, E>>,
    /// The total weight of the batch's rows up to the window's last row.
    weight: BatchWeight,
    /// The class that each counted row should predict, if the loss has classes.
    top_classes: Vec<u32>,
    /// The weights of the rows, if there are any.
    weights: Option<Vec<f64>>,
    /// What was seen in the values of a few rows.
    looked: Looked,
    shape: Shape,
    /// The reference losses of some rows, with their error bounds.
    expected: Vec<(usize, f64, f64)>,
}

impl<'w, E: Element, L: Evaluable> Window<'w, E, L> {
    /// A window of the next rows, whose values have come. `beside` are their inputs, `before` is the weight of the rows
    /// before, `shift` is the distance from a row to its target in messages, and `verified` are the rows to compare
    /// with the reference.
    /// # Errors
    /// As for [`Evaluable::weigh`], with rows counted from the start of the batch.
    pub fn new(
        rows: Range<usize>,
        values: &Values<'_, E, L::Second<E>>,
        mut beside: Resolved<L::Inputs<'w, E>>,
        mut before: BatchWeight,
        (shape, shift): (Shape, usize),
        op: &L,
        verified: &mut Peekable<impl Iterator<Item = usize>>,
    ) -> Result<Self> {
        let shape = shape.with_rows(rows.len());
        let first = rows.start.saturating_add(shift);
        let second = values.second_values();
        op.weigh(&L::inputs(&beside, second), shape, first, &mut before)?;
        L::narrow(&mut beside);
        let inputs = L::inputs(&beside, second);
        let (top_classes, weights) = (op.top_classes(&inputs, shape), op.row_weights(&inputs, shape));
        let verified: Vec<usize> = std::iter::from_fn(|| verified.next_if(|row| rows.contains(row)))
            .map(|row| row - rows.start)
            .collect();
        let logits = if verified.is_empty() { Cow::Borrowed(&[][..]) } else { values.logits.values(shape) };
        let expected = |row: usize| {
            let (loss, bound) = op.expected_loss(&logits, &inputs, shape, row);
            (row, loss, bound)
        };
        let looked = Looked::of_targets(op.improper_targets(&inputs, shape));
        Ok(Self {
            looked,
            shape,
            top_classes,
            weights,
            expected: verified.into_iter().map(expected).collect(),
            weight: before,
            beside,
            rows,
        })
    }

    /// The total weight of the batch's rows up to the window's last row.
    pub fn weight(&self) -> BatchWeight {
        self.weight
    }

    /// The inputs of its rows. A second array that was read is not kept, so it is passed in.
    pub fn inputs<'v>(&'v self, second: Option<&'v [L::Second<E>]>) -> L::Inputs<'v, E> {
        L::inputs(&self.beside, second)
    }

    /// The class that each row should predict; none if the loss has no classes.
    pub fn top_classes(&self) -> &[u32] {
        &self.top_classes
    }

    /// The weights of the rows, if there are any.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// Looks at the values of those of these rows that are in the window and count. With `neighbour`, which gives the class
    /// that a row outside the window should predict, their losses are compared with those of their neighbours' targets.
    ///
    /// # Errors
    /// As for `neighbour`.
    pub fn look_at(
        &mut self,
        values: &Values<'_, E, L::Second<E>>,
        op: &L,
        rows: &mut Peekable<impl Iterator<Item = usize>>,
        batch_rows: usize,
        mut neighbour: Option<impl FnMut(usize) -> Result<Option<u32>>>,
    ) -> Result<()> {
        let mut looked = self.looked;
        while let Some(row) = rows.next_if(|row| self.rows.contains(row)) {
            let (at, own) = (row - self.rows.start, self.class(row));
            let counts = L::rows(&self.inputs(values.second_values())).weight(at) != 0.0;
            if !counts || (!self.top_classes.is_empty() && own.is_none()) {
                continue;
            }
            let logits = values.logits.row(self.shape, at);
            looked.at(&logits, op.takes_log_probs(), Looked::rounding::<E>());
            let (Some(own), Some(neighbour)) = (own, &mut neighbour) else { continue };
            let mut class_of = |row: Option<usize>| match row.filter(|&row| row < batch_rows) {
                Some(row) if self.rows.contains(&row) => Ok(self.class(row)),
                Some(row) => neighbour(row),
                None => Ok(None),
            };
            if let (Some(before), Some(behind)) =
                (class_of(row.checked_sub(1))?, class_of(row.checked_add(1))?)
            {
                // The losses differ by their logits alone.
                let loss = |class: u32| logits.get(class as usize).map_or(f64::NAN, |logit| -logit);
                looked.shift(loss(own), [loss(before), loss(behind)]);
            }
        }
        self.looked = looked;
        Ok(())
    }

    /// The class that a row of the window should predict.
    fn class(&self, row: usize) -> Option<u32> {
        let class = self.top_classes.get(row.checked_sub(self.rows.start)?).copied();
        class.filter(|&class| class != NO_CLASS)
    }

    /// Adds the device's results for this window.
    pub fn add_to(&self, state: &mut EvaluationState, results: &[RowResult], (op, shape): (&L, Shape)) {
        state.add(results, &self.top_classes);
        state.signs.add(op, (shape, self.rows.start), results, &self.top_classes, &self.looked);
        state.sum = state.sum.weighing(self.weight);
        for &(row, expected, bound) in &self.expected {
            let (at, loss) = (self.rows.start + row, f64::from(results[row].loss));
            state.verification.compare(at, loss, expected, bound);
        }
    }
}
