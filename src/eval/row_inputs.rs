//! The per-row inputs of a batch, made window by window. They are never held for all rows.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::eval::inputs::{EvaluateInputs, RowSource, TargetSource};
use crate::eval::source::{Source, check_same_shape};
use crate::inputs::{
    BatchWeight, CrossEntropyInputs, OwnedTargets, Resolved, RowInputs, check_combination, check_weights,
    target_rows,
};
use crate::options::CrossEntropyOptions;
use crate::shape::Shape;
use crate::targets::{TargetKind, check_entries};

/// Values of a source that are read at a time in the first pass, before the first window.
const FIRST_PASS_VALUES: usize = 1 << 16;

/// Targets, weights and mask, from slices and from sources.
pub(super) struct BatchRows<'a> {
    beside: CrossEntropyInputs<'a>,
    targets: RowTargets<'a>,
    weights: Option<&'a mut dyn RowSource<f32>>,
    mask: Option<&'a mut dyn RowSource<bool>>,
    shape: Shape,
    /// The options, including sequences.
    op: CrossEntropyOptions,
}

enum RowTargets<'a> {
    InMemory,
    Classes(&'a mut dyn RowSource<i32>),
    Sparse {
        indices: &'a mut dyn RowSource<i32>,
        probs: &'a mut dyn RowSource<f32>,
        entries: usize,
    },
    /// They come with the logits.
    Soft,
}

/// The parts that an evaluation's inputs are split into.
pub(super) type Parts<'a> = (BatchRows<'a>, Option<&'a mut dyn Source<f32>>, BatchWeight);

impl<'a> BatchRows<'a> {
    /// Checks all per-row inputs and finds the total weight of the rows. Sources are read once, from front to back.
    /// Soft targets from a source are returned.
    ///
    /// # Errors
    /// As for [`CrossEntropyInputs::check`]; whatever the sources report.
    pub fn checked(inputs: EvaluateInputs<'a>, shape: Shape, op: &CrossEntropyOptions) -> Result<Parts<'a>> {
        let kind = inputs.kind();
        let EvaluateInputs { beside, targets, row_weights: weights, row_mask: mask } = inputs;
        let rows = RowInputs {
            row_weights: beside.rows.row_weights.filter(|_| weights.is_none()),
            row_mask: beside.rows.row_mask.filter(|_| mask.is_none()),
            ..beside.rows
        };
        let beside = CrossEntropyInputs { rows, ..beside };
        let mut soft_targets = None;
        let targets = match targets {
            None => RowTargets::InMemory,
            Some(TargetSource::Classes(classes)) => RowTargets::Classes(classes),
            Some(TargetSource::Sparse { indices, probs, entries }) => {
                RowTargets::Sparse { indices, probs, entries }
            }
            Some(TargetSource::Soft(soft)) => {
                soft_targets = Some(soft);
                RowTargets::Soft
            }
        };
        let mut rows = Self { beside, targets, weights, mask, shape, op: *op };
        if rows.is_in_memory() {
            let weight = beside.check(shape, op)?;
            return Ok((rows, None, weight));
        }
        shape.check()?;
        op.check()?;
        check_combination(kind, op)?;
        if let Some(soft) = &soft_targets {
            check_same_shape(SOFT_TARGETS, soft.shape(), shape)?;
        }
        rows.check_lengths()?;
        let weight = rows.weigh(kind)?;
        Ok((rows, soft_targets, weight))
    }

    fn is_in_memory(&self) -> bool {
        matches!(self.targets, RowTargets::InMemory) && self.weights.is_none() && self.mask.is_none()
    }

    fn check_lengths(&self) -> Result<()> {
        check_weights("class_weights", self.beside.class_weights, self.shape.cols)?;
        self.beside.rows.check(self.shape)?;
        let (mut indices, mut probs) = (None, None);
        match &self.targets {
            RowTargets::InMemory => self.beside.targets.check_lengths(self.shape)?,
            RowTargets::Classes(classes) => indices = Some(classes.rows()),
            RowTargets::Sparse { indices: of, probs: with, entries } => {
                check_entries(*entries)?;
                (indices, probs) = (Some(of.rows()), Some(with.rows()));
            }
            RowTargets::Soft => {}
        }
        let weights = self.weights.as_ref().map(|weights| weights.rows());
        let mask = self.mask.as_ref().map(|mask| mask.rows());
        let needed = self.shape.rows;
        for (what, found) in
            [("targets", indices), ("targets: probs", probs), ("row_weights", weights), ("row_mask", mask)]
        {
            if let Some(found) = found.filter(|&found| found != needed) {
                return Err(Error::Length { what, found, needed });
            }
        }
        Ok(())
    }

    /// The total weight of all rows, added up in row order.
    fn weigh(&mut self, kind: TargetKind) -> Result<BatchWeight> {
        let Self { shape, op, .. } = *self;
        let op = CrossEntropyOptions { sequences: None, ..op };
        // Only soft targets depend on the layout of the rows.
        let (group, lies) = match kind {
            TargetKind::Soft => (shape.inner, shape),
            _ => (1, Shape::new(shape.rows, shape.cols)),
        };
        let step = (FIRST_PASS_VALUES / kind.entries().max(1)).max(1).next_multiple_of(group);
        let mut weight = BatchWeight::default();
        for first in (0..shape.rows).step_by(step) {
            let rows = first..shape.rows.min(first.saturating_add(step));
            let count = rows.len();
            let part = self.window(rows)?;
            let inputs = part.inputs();
            if let RowTargets::Soft = self.targets {
                // Soft target values are checked when they come; they do not affect the weight.
                for row_weight in (0..count).map(|row| f64::from(inputs.rows.weight(row))) {
                    if row_weight != 0.0 {
                        weight.add(BatchWeight { weight: row_weight, row_weight, counted: 1 });
                    }
                }
            } else {
                inputs.weigh(lies.with_rows(count), &op, first.saturating_add(self.shift()), &mut weight)?;
            }
        }
        Ok(weight)
    }

    /// The distance from a row to the row that holds its target.
    pub fn shift(&self) -> usize {
        self.op.sequences.map_or(0, |sequences| sequences.shift)
    }

    /// The per-row inputs of a range of rows, with sequences resolved. Soft targets from a source are not included.
    pub fn window(&mut self, rows: Range<usize>) -> Result<Resolved<'a>> {
        let Self { beside, shape, op, .. } = *self;
        if self.is_in_memory() {
            return Ok(beside.resolved(shape, &op, rows));
        }
        let count = rows.len();
        let mut part = match self.targets {
            RowTargets::InMemory => beside.resolved(shape, &op, rows.clone()),
            _ => beside.resolved_rows(shape, &op, rows.clone()),
        };
        let all = vec![true; if self.weights.is_some() || self.mask.is_some() { count } else { 0 }];
        if let Some(source) = &mut self.weights {
            let weights = read(*source, rows.clone(), &all, (count, 1), 0.0)?;
            check_weights("row_weights", Some(&weights), count).map_err(|error| match error {
                Error::InvalidOption { option, at: Some(at), value, needed } => {
                    Error::InvalidOption { option, at: Some(at + rows.start), value, needed }
                }
                other => other,
            })?;
            part.row_weights = Some(weights);
        }
        if let Some(source) = &mut self.mask {
            let mut mask = read(*source, rows.clone(), &all, (count, 1), false)?;
            if let Some(of_sequences) = &part.row_mask {
                mask.iter_mut().zip(of_sequences).for_each(|(scored, has_target)| *scored &= has_target);
            }
            part.row_mask = Some(mask);
        }
        drop(all);
        let scored = |of: &Resolved<'_>, targets: usize| -> Vec<bool> {
            let inputs = of.inputs();
            (0..targets).map(|row| inputs.rows.weight(row) != 0.0).collect()
        };
        let of_targets = target_rows(shape, &op, &rows);
        part.targets = match &mut self.targets {
            RowTargets::InMemory | RowTargets::Soft => part.targets,
            RowTargets::Classes(source) => {
                let used = scored(&part, of_targets.len());
                let classes = read(*source, of_targets, &used, (count, 1), op.ignore_index)?;
                Some(OwnedTargets::Classes(classes))
            }
            RowTargets::Sparse { indices, probs, entries } => {
                let (used, entries) = (scored(&part, of_targets.len()), *entries);
                let sizes = (count, entries);
                let indices = read(*indices, of_targets.clone(), &used, sizes, op.ignore_index)?;
                let probs = read(*probs, of_targets, &used, sizes, 0.0)?;
                Some(OwnedTargets::Sparse { indices, probs, entries })
            }
        };
        Ok(part)
    }
}

/// Reads the values (rows, entries) of a range of rows. If it is shorter than `count` rows, at the end of the batch,
/// the other rows keep the fill value.
fn read<T: Clone>(
    source: &mut dyn RowSource<T>,
    rows: Range<usize>,
    used: &[bool],
    (count, entries): (usize, usize),
    filled_with: T,
) -> Result<Vec<T>> {
    let mut values = vec![filled_with; count * entries];
    let len = rows.len() * entries;
    source.read_rows(rows, used, &mut values[..len])?;
    Ok(values)
}

/// The names of what may differ between the shapes of soft targets and logits.
const SOFT_TARGETS: [&str; 4] = [
    "a row of the soft targets",
    "a group of the soft targets",
    "a padded row of the soft targets",
    "the soft targets",
];

#[cfg(test)]
#[path = "row_inputs_tests.rs"]
mod tests;
