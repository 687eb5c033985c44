//! Cross-entropy, evaluated.

use std::ops::Range;

#[cfg(feature = "cli")]
use crate::cpu::special;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::eval::inputs::{RowSource, TargetSource};
use crate::eval::losses::{Evaluable, Origin, Split, is_proper};
use crate::eval::row_inputs::read;
use crate::inputs::{
    BatchWeight, CrossEntropyInputs, OwnedTargets, Resolved, RowInputs, check_weights, input_rows,
    target_rows,
};
use crate::options::{CrossEntropyOptions, Input, Sequences, check_shard};
#[cfg(feature = "cli")]
use crate::reference::cross_entropy::row_dlogits_at;
use crate::results::NO_CLASS;
#[cfg(feature = "cli")]
use crate::results::RowResult;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::{RowTarget, TargetKind, Targets, check_entries};

/// Targets that are read row by row.
pub(crate) enum RowTargets<'a> {
    Classes(&'a mut dyn RowSource<i32>),
    Sparse { indices: &'a mut dyn RowSource<i32>, probs: &'a mut dyn RowSource<f32>, entries: usize },
}

impl Evaluable for CrossEntropyOptions {
    type Second<E: Element> = f32;
    type RowTargets<'a> = RowTargets<'a>;

    const SECOND: [&'static str; 4] = [
        "a row of the soft targets",
        "a group of the soft targets",
        "a padded row of the soft targets",
        "the soft targets",
    ];

    fn batch_layout<E: Element>(
        inputs: &CrossEntropyInputs<'_>,
        source: Option<&TargetSource<'_>>,
    ) -> TargetKind {
        source.map_or_else(|| inputs.targets.kind(), TargetSource::kind)
    }

    fn split<'a, E: Element>(source: Self::Source<'a, E>) -> Split<'a, RowTargets<'a>, f32> {
        match source {
            TargetSource::Classes(classes) => (Origin::Rows(RowTargets::Classes(classes)), None),
            TargetSource::Sparse { indices, probs, entries } => {
                (Origin::Rows(RowTargets::Sparse { indices, probs, entries }), None)
            }
            TargetSource::Soft(soft) => (Origin::WithLogits, Some(soft)),
        }
    }

    fn rows_mut<'i, 'a, E: Element>(inputs: &'i mut Self::Inputs<'a, E>) -> &'i mut RowInputs<'a> {
        &mut inputs.rows
    }

    fn check_in_memory<E: Element>(
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        has_targets: bool,
    ) -> Result<()> {
        check_weights("class_weights", inputs.class_weights, shape.cols)?;
        if has_targets { inputs.targets.check_lengths(shape) } else { Ok(()) }
    }

    fn check_beside<E: Element>(
        &self,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        kind: TargetKind,
    ) -> Result<()> {
        if let Some(shard) = self.shard {
            let needed = "unset: an evaluation has whole rows";
            return Err(Error::option("shard: total_cols", shard.total_cols as f64, needed));
        }
        check_shard(None, shape, inputs.partials.map(<[_]>::len))?;
        inputs.check_sequences(shape, self)?;
        inputs.check_ignored(kind)
    }

    fn check_row_targets(targets: &RowTargets<'_>, shape: Shape) -> Result<()> {
        let length = |what, found, needed| match found == needed {
            true => Ok(()),
            false => Err(Error::Length { what, found, needed }),
        };
        match targets {
            RowTargets::Classes(classes) => length("targets", classes.rows(), shape.rows),
            RowTargets::Sparse { indices, probs, entries } => {
                check_entries(*entries)?;
                length("targets", indices.rows(), shape.rows)?;
                length("targets: probs", probs.rows(), shape.rows)
            }
        }
    }

    fn for_evaluation(self) -> Self {
        // Accuracy is counted from the argmax. The confidence tells log-probabilities above 0.
        let told = match self.input {
            Input::Logits => RowFields::default(),
            Input::LogProbs => RowFields::default() | RowFields::CONFIDENCE,
        };
        Self { row_fields: self.row_fields | told, sequences: None, ..self }
    }

    fn shift(&self) -> usize {
        self.sequences.map_or(0, |sequences| sequences.shift)
    }

    fn input_rows(&self, shape: Shape, rows: &Range<usize>) -> Range<usize> {
        input_rows(shape, self, rows)
    }

    fn sequence_ends<'a, E: Element>(inputs: &Self::Inputs<'a, E>) -> Option<&'a [usize]> {
        inputs.sequence_ends
    }

    fn resolved<'a, E: Element>(
        &self,
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
        rows: Range<usize>,
        has_targets: bool,
    ) -> Resolved<CrossEntropyInputs<'a>> {
        match has_targets {
            true => inputs.resolved(shape, self, rows),
            false => inputs.resolved_rows(shape, self, rows),
        }
    }

    fn read_row_targets<E: Element>(
        &self,
        targets: &mut RowTargets<'_>,
        window: &mut Resolved<CrossEntropyInputs<'_>>,
        shape: Shape,
        rows: Range<usize>,
    ) -> Result<()> {
        let (of_targets, count) = (target_rows(shape, self, &rows), rows.len());
        let inputs = window.inputs();
        let used: Vec<bool> = (0..of_targets.len()).map(|row| inputs.rows.weight(row) != 0.0).collect();
        window.targets = Some(match targets {
            RowTargets::Classes(source) => {
                OwnedTargets::Classes(read(*source, of_targets, &used, (count, 1), self.ignore_index)?)
            }
            RowTargets::Sparse { indices, probs, entries } => {
                let sizes = (count, *entries);
                OwnedTargets::Sparse {
                    indices: read(*indices, of_targets.clone(), &used, sizes, self.ignore_index)?,
                    probs: read(*probs, of_targets, &used, sizes, 0.0)?,
                    entries: *entries,
                }
            }
        });
        window.mask_ignored(window.inputs.ignore_also);
        Ok(())
    }

    fn narrow<E: Element>(window: &mut Resolved<CrossEntropyInputs<'_>>) {
        window.narrow();
    }

    fn inputs<'v, E: Element>(
        window: &'v Resolved<CrossEntropyInputs<'_>>,
        soft: Option<&'v [f32]>,
    ) -> CrossEntropyInputs<'v> {
        let inputs = window.inputs();
        CrossEntropyInputs { targets: soft.map_or(inputs.targets, Targets::Soft), ..inputs }
    }

    fn weigh<E: Element>(
        &self,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        first: usize,
        batch: &mut BatchWeight,
    ) -> Result<()> {
        inputs.weigh(shape, self, first, batch)
    }

    fn top_classes<E: Element>(&self, inputs: &CrossEntropyInputs<'_>, shape: Shape) -> Vec<u32> {
        let rows = 0..shape.rows;
        match (inputs.targets.classes(), inputs.rows.row_mask, inputs.rows.row_weights) {
            // The usual case, without the checks of all the others.
            (Some(classes), None, None) => classes
                .iter()
                .map(|&class| if class == self.ignore_index { NO_CLASS } else { class as u32 })
                .collect(),
            _ => rows
                .map(|row| {
                    let target = inputs.row_target(shape, self, row);
                    target.and_then(|target| target.top_class(self.ignore_index)).unwrap_or(NO_CLASS)
                })
                .collect(),
        }
    }

    fn row_weights<E: Element>(&self, inputs: &CrossEntropyInputs<'_>, shape: Shape) -> Option<Vec<f64>> {
        let is_of_classes = inputs.class_weights.is_some() && inputs.targets.indices().is_some();
        if inputs.rows.row_weights.is_none() && !is_of_classes {
            return None;
        }
        let weight = |row| {
            let target = inputs.row_target(shape, self, row);
            target.map_or(0.0, |target| inputs.weight_of(self, row, &target).weight)
        };
        Some((0..shape.rows).map(weight).collect())
    }

    fn takes_log_probs(&self) -> bool {
        self.input == Input::LogProbs
    }

    fn improper_targets<E: Element>(&self, inputs: &CrossEntropyInputs<'_>, shape: Shape) -> (u64, u64) {
        if inputs.targets.indices().is_some() {
            return (0, 0);
        }
        let (mut improper, mut with_probs) = (0, 0);
        for target in (0..shape.rows).filter_map(|row| inputs.row_target(shape, self, row)) {
            let are_proper = match &target {
                RowTarget::Class(_) => true,
                RowTarget::Soft(probs) => probs.iter().all(is_proper),
                RowTarget::Sparse { indices, probs } => {
                    let used = indices.iter().zip(*probs).filter(|&(&index, _)| index != self.ignore_index);
                    used.map(|(_, prob)| prob).all(is_proper)
                }
            };
            with_probs += 1;
            improper += u64::from(!are_proper);
        }
        (improper, with_probs)
    }

    fn sequences(&self) -> Option<Sequences> {
        self.sequences
    }

    fn classes<'i, E: Element>(inputs: &Self::Inputs<'i, E>) -> Option<&'i [i32]> {
        inputs.targets.classes()
    }

    #[cfg(feature = "cli")]
    fn row_result<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> RowResult {
        special::row_result(logits, inputs, shape, self, row)
    }

    #[cfg(feature = "cli")]
    fn row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
    ) -> Vec<f64> {
        row_dlogits_at(logits, *inputs, shape, self, batch, row)
    }
}
