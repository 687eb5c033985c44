//! The per-row inputs of a batch, made window by window. They are never held for all rows.

use std::ops::Range;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::inputs::{EvaluateInputs, EvaluateKind, RowSource};
use crate::eval::losses::{Evaluable, Origin};
use crate::eval::misuse::{OfSequences, Runs};
use crate::eval::source::{Source, check_same_shape};
use crate::inputs::{BatchWeight, Resolved, check_weights};
use crate::op::LossKind;
use crate::options::{CrossEntropyOptions, SequenceUnit};
use crate::results::NO_CLASS;
use crate::shape::Shape;
use crate::target_kind::TargetKind;

/// Values of a source that are read at a time in the first pass, before the first window.
const FIRST_PASS_VALUES: usize = 1 << 16;

/// Targets, weights and mask, from slices and from sources.
pub(super) struct BatchRows<'a, E: Element, L: Evaluable> {
    beside: L::Inputs<'a, E>,
    targets: Origin<L::RowTargets<'a>>,
    weights: Option<&'a mut dyn RowSource<f32>>,
    mask: Option<&'a mut dyn RowSource<bool>>,
    layout: L::Layout,
    shape: Shape,
    /// The options, including sequences.
    op: L,
    /// The targets of sequences, followed to their ends.
    runs: Runs,
}

/// The inputs of an evaluation of this loss.
pub(super) type BatchInputs<'a, E, L> =
    EvaluateInputs<'a, <L as LossKind>::Inputs<'a, E>, <L as EvaluateKind>::Source<'a, E>>;

/// The source of the second array of this loss.
pub(super) type SecondSource<'a, E, L> = &'a mut dyn Source<<L as Evaluable>::Second<E>>;

/// The parts that an evaluation's inputs are split into.
pub(super) type Parts<'a, E, L> = (BatchRows<'a, E, L>, Option<SecondSource<'a, E, L>>, BatchWeight);

impl<'a, E: Element, L: Evaluable> BatchRows<'a, E, L> {
    /// Checks all per-row inputs and finds the total weight of the rows. Sources are read once, from front to back. The
    /// source of a second array, whose values come with the logits, is returned.
    ///
    /// # Errors
    /// What the options and the inputs' `check` refuse; whatever the sources report.
    pub fn checked(inputs: BatchInputs<'a, E, L>, shape: Shape, op: &L) -> Result<Parts<'a, E, L>> {
        shape.check()?;
        op.check()?;
        let layout = L::batch_layout(&inputs.beside, inputs.targets.as_ref());
        let EvaluateInputs { mut beside, targets, row_weights: weights, row_mask: mask } = inputs;
        let of_rows = L::rows_mut(&mut beside);
        of_rows.row_weights = of_rows.row_weights.filter(|_| weights.is_none());
        of_rows.row_mask = of_rows.row_mask.filter(|_| mask.is_none());
        let (targets, second) = targets.map_or((Origin::InMemory, None), L::split);
        let runs = Runs::default();
        let mut rows = Self { beside, targets, weights, mask, layout, shape, op: *op, runs };
        if rows.is_in_memory() {
            let weight = op.check_inputs(&beside, shape)?;
            if rows.of_sequences().is_some() {
                rows.each_part(|batch, rows, part| {
                    batch.follow(rows, part);
                    Ok(())
                })?;
            }
            return Ok((rows, None, weight));
        }
        op.check_layout(layout)?;
        if let Some(second) = &second {
            check_same_shape(L::SECOND, second.shape(), shape)?;
        }
        rows.check_lengths()?;
        let weight = rows.weigh()?;
        Ok((rows, second, weight))
    }

    /// The facts about the inputs that a stream must know.
    pub fn layout(&self) -> L::Layout {
        self.layout
    }

    fn is_in_memory(&self) -> bool {
        self.has_targets() && self.weights.is_none() && self.mask.is_none()
    }

    /// Whether the targets are in memory.
    fn has_targets(&self) -> bool {
        matches!(self.targets, Origin::InMemory)
    }

    fn check_lengths(&self) -> Result<()> {
        L::check_in_memory(&self.beside, self.shape, self.has_targets())?;
        self.op.check_beside(&self.beside, self.shape, self.layout)?;
        L::rows(&self.beside).check(self.shape)?;
        if let Origin::Rows(targets) = &self.targets {
            L::check_row_targets(targets, self.shape)?;
        }
        let weights = self.weights.as_ref().map(|weights| weights.rows());
        let mask = self.mask.as_ref().map(|mask| mask.rows());
        let needed = self.shape.rows;
        for (what, found) in [("row_weights", weights), ("row_mask", mask)] {
            if let Some(found) = found.filter(|&found| found != needed) {
                return Err(Error::Length { what, found, needed });
            }
        }
        Ok(())
    }

    /// The total weight of all rows, added up in row order. Follows the targets of sequences meanwhile.
    fn weigh(&mut self) -> Result<BatchWeight> {
        let (shape, op, shift) = (self.shape, self.op.of_resolved(), self.shift());
        // Only a second array depends on the layout of the rows.
        let lies = if self.has_second() { shape } else { Shape::new(shape.rows, shape.cols) };
        let mut weight = BatchWeight::default();
        self.each_part(|batch, rows, part| {
            let inputs = L::inputs(part, None);
            if !batch.has_row_targets() {
                // The values of a second array are checked when they come; they do not affect the weight.
                for row_weight in (0..rows.len()).map(|row| f64::from(L::rows(&inputs).weight(row))) {
                    if row_weight != 0.0 {
                        weight.add(L::row_weight(shape, row_weight));
                    }
                }
            } else {
                let first = rows.start.saturating_add(shift);
                op.weigh(&inputs, lies.with_rows(rows.len()), first, &mut weight)?;
                batch.follow(rows, part);
            }
            Ok(())
        })?;
        Ok(weight)
    }

    /// Whether a second array comes with the logits.
    fn has_second(&self) -> bool {
        L::second::<E>(self.layout).is_some()
    }

    /// Takes the inputs of all rows, part by part in order. The parts are the same whatever the windows are.
    fn each_part(
        &mut self,
        mut take: impl FnMut(&mut Self, Range<usize>, &mut Resolved<L::Inputs<'a, E>>) -> Result<()>,
    ) -> Result<()> {
        let (rows, group) = (self.shape.rows, if self.has_second() { self.shape.inner } else { 1 });
        let step = (FIRST_PASS_VALUES / L::entries(self.layout).max(1)).max(1).next_multiple_of(group);
        for first in (0..rows).step_by(step) {
            let part = first..rows.min(first.saturating_add(step));
            let mut inputs = self.window(part.clone())?;
            take(self, part, &mut inputs)?;
        }
        Ok(())
    }

    /// Follows the targets of these rows through their sequences.
    fn follow(&mut self, rows: Range<usize>, part: &mut Resolved<L::Inputs<'a, E>>) {
        let Some(sequences) = self.of_sequences() else { return };
        L::narrow(part);
        let inputs = L::inputs(part, None);
        let shape = Shape::new(rows.len(), self.shape.cols);
        let classes = self.op.of_resolved().top_classes(&inputs, shape);
        self.runs.follow(rows.start, &classes, L::classes(&inputs), &sequences);
    }

    /// Whether targets are known without the logits.
    pub fn has_row_targets(&self) -> bool {
        !matches!(self.targets, Origin::WithLogits)
    }

    /// The class that a row should predict, if targets are known without the logits; `None` for a row that does not count.
    pub fn top_class(&mut self, row: usize) -> Result<Option<u32>> {
        let mut part = self.window(row..row + 1)?;
        L::narrow(&mut part);
        let shape = Shape::new(1, self.shape.cols);
        let classes = self.op.of_resolved().top_classes(&L::inputs(&part, None), shape);
        Ok(classes.first().copied().filter(|&class| class != NO_CLASS))
    }

    /// The targets of sequences, followed to their ends.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Where the sequences of the batch end, if they differ in length.
    pub fn sequence_ends(&self) -> Option<&'a [usize]> {
        L::sequence_ends(&self.beside)
    }

    /// The sequences of the batch, as those that follow its targets need them; `None` if targets are not shifted.
    pub fn of_sequences(&self) -> Option<OfSequences<'a>> {
        let sequences = self.op.sequences().filter(|sequences| sequences.shift > 0)?;
        Some(OfSequences {
            length: sequences.length,
            shift: sequences.shift,
            ends: self.sequence_ends(),
            is_in_positions: sequences.unit == SequenceUnit::Positions,
        })
    }

    /// The distance from a row to the row that holds its target.
    pub fn shift(&self) -> usize {
        self.op.shift()
    }

    /// The inputs of a range of rows, with sequences resolved. A second array from a source is not included.
    pub fn window(&mut self, rows: Range<usize>) -> Result<Resolved<L::Inputs<'a, E>>> {
        let Self { beside, shape, op, .. } = *self;
        let mut part = op.resolved(beside, shape, rows.clone(), self.has_targets());
        let (count, of_inputs) = (rows.len(), op.input_rows(shape, &rows));
        let all = vec![true; if self.weights.is_some() || self.mask.is_some() { count } else { 0 }];
        if let Some(source) = &mut self.weights {
            let weights = read(*source, of_inputs.clone(), &all[..of_inputs.len()], (count, 1), 0.0)?;
            check_weights("row_weights", Some(&weights), count).map_err(|error| match error {
                Error::InvalidOption { option, at: Some(at), value, needed } => {
                    Error::InvalidOption { option, at: Some(at + of_inputs.start), value, needed }
                }
                other => other,
            })?;
            part.row_weights = Some(weights);
        }
        if let Some(source) = &mut self.mask {
            let used = &all[..of_inputs.len()];
            let mut mask = read(*source, of_inputs, used, (count, 1), false)?;
            if let Some(of_sequences) = &part.row_mask {
                mask.iter_mut().zip(of_sequences).for_each(|(scored, has_target)| *scored &= has_target);
            }
            part.row_mask = Some(mask);
        }
        if let Origin::Rows(targets) = &mut self.targets {
            op.read_row_targets(targets, &mut part, shape, rows)?;
        }
        Ok(part)
    }
}

impl<'a, E: Element> BatchRows<'a, E, CrossEntropyOptions> {
    /// Like [`checked`](Self::checked), for a job whose targets are classes.
    ///
    /// # Errors
    /// [`Error::TargetKind`], [`Error::NoRowCounts`]; as for `checked`.
    pub fn of_classes(inputs: EvaluateInputs<'a>, shape: Shape, op: &CrossEntropyOptions) -> Result<Self> {
        let (rows, weight) = Self::of_any_classes(inputs, shape, op)?;
        if weight.row_weight > 0.0 { Ok(rows) } else { Err(Error::NoRowCounts { rows: shape.rows }) }
    }

    /// The same where no row may count, with the total weight.
    ///
    /// # Errors
    /// [`Error::TargetKind`]; as for `checked`.
    pub fn of_any_classes(
        inputs: EvaluateInputs<'a>,
        shape: Shape,
        op: &CrossEntropyOptions,
    ) -> Result<(Self, BatchWeight)> {
        let given = inputs.targets.as_ref().map_or(inputs.beside.targets.kind(), |targets| targets.kind());
        if given != TargetKind::Classes {
            return Err(Error::TargetKind { given, made_for: TargetKind::Classes });
        }
        let (rows, _, weight) = Self::checked(inputs, shape, op)?;
        Ok((rows, weight))
    }
}

/// Reads the values (rows, entries) of a range of rows. If it is shorter than `count` rows, at the end of the batch,
/// the other rows keep the fill value.
pub(super) fn read<T: Clone>(
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

#[cfg(test)]
#[path = "row_inputs_tests.rs"]
mod tests;
