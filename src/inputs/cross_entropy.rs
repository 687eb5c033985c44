//! What a cross-entropy takes beside the logits.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, RowFactors, check_weights};
use crate::options::CrossEntropyOptions;
use crate::shape::Shape;
use crate::targets::{RowTarget, TargetKind, Targets};

/// What a [`CrossEntropy`](crate::CrossEntropy) takes beside the logits. Targets alone are enough: wherever these inputs
/// are asked for, [`Targets`] will do.
///
/// ```
/// use xent::{CrossEntropyInputs, Targets};
///
/// let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 2])).class_weights(&[1.0, 0.5, 2.0]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyInputs<'a> {
    /// The targets.
    pub targets: Targets<'a>,
    /// A weight for each class (cols,), finite and at least 0: PyTorch's `weight`. With class targets a mean divides by
    /// the weights of the rows' classes; with soft ones it does not, as in PyTorch. Default: 1 each.
    pub class_weights: Option<&'a [f32]>,
    /// A weight for each row (rows,), finite and at least 0. A row of weight 0 is left out. Default: 1 each.
    pub row_weights: Option<&'a [f32]>,
    /// Which rows are scored (rows,); the others are left out, as if their target were `ignore_index`. Default: all.
    pub row_mask: Option<&'a [bool]>,
    /// The gradient of whatever comes behind with respect to this loss: `dlogits` is multiplied by it. Default: 1.
    pub upstream: f32,
    /// The same for each row's loss (rows,). Default: 1 each.
    pub row_upstream: Option<&'a [f32]>,
}

impl<'a> From<Targets<'a>> for CrossEntropyInputs<'a> {
    fn from(targets: Targets<'a>) -> Self {
        Self::new(targets)
    }
}

impl<'a> From<&CrossEntropyInputs<'a>> for CrossEntropyInputs<'a> {
    fn from(inputs: &CrossEntropyInputs<'a>) -> Self {
        *inputs
    }
}

/// A row's own weight, and the largest that a class may add to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowWeights {
    pub own: f64,
    pub heaviest_class: f64,
}

impl<'a> CrossEntropyInputs<'a> {
    /// Targets, and nothing else.
    pub const fn new(targets: Targets<'a>) -> Self {
        Self {
            targets,
            class_weights: None,
            row_weights: None,
            row_mask: None,
            upstream: 1.0,
            row_upstream: None,
        }
    }

    /// The same with class weights (cols,).
    pub const fn class_weights(self, weights: &'a [f32]) -> Self {
        Self { class_weights: Some(weights), ..self }
    }

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

    /// What multiplies a row's loss.
    pub(crate) fn weights(&self, row: usize) -> RowWeights {
        let heaviest = self.class_weights.map_or(1.0, |weights| weights.iter().copied().fold(0.0, f32::max));
        RowWeights { own: f64::from(self.row_weight(row)), heaviest_class: f64::from(heaviest) }
    }

    /// The target of a row, unless the row is left out.
    pub(crate) fn row_target(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        row: usize,
    ) -> Option<RowTarget<'a>> {
        if self.row_weight(row) == 0.0 {
            return None;
        }
        let target_row = match options.sequences {
            // A last sequence that is cut short has no target behind its end.
            Some(sequences) => sequences.target_row(row).filter(|&target| target < shape.rows)?,
            None => row,
        };
        let target = self.targets.row(shape, target_row);
        (!target.is_ignored(options.ignore_index)).then_some(target)
    }

    /// The gradient by which a row's loss is multiplied, of its own and of the whole.
    pub(crate) fn row_gradient(&self, row: usize) -> f64 {
        self.rows().gradient(row)
    }

    /// Refuses lengths, targets and weights that are not what they should be, before any work; says what the rows weigh.
    ///
    /// # Errors
    /// What [`Shape::check`] and [`CrossEntropyOptions::check`] refuse; [`Error::Length`], [`Error::TargetOutOfRange`],
    /// [`Error::InvalidTarget`]; [`Error::InvalidOption`] for weights, and for options that these targets do not go with.
    pub fn check(&self, shape: Shape, options: &CrossEntropyOptions) -> Result<BatchWeight> {
        shape.check()?;
        options.check()?;
        check_combination(self.targets.kind(), options)?;
        self.targets.check_lengths(shape)?;
        check_weights("class_weights", self.class_weights, shape.cols)?;
        self.rows().check(shape)?;
        if let Some(batch) = self.plain_weight(shape, options) {
            return Ok(batch);
        }
        let mut batch = BatchWeight::default();
        for row in 0..shape.rows {
            let Some(target) = self.row_target(shape, options, row) else { continue };
            // Messages speak of the row that the target stands in.
            let shift = options.sequences.map_or(0, |sequences| sequences.shift);
            target.check(row + shift, shape.cols, options.ignore_index).map_err(|error| match error {
                Error::TargetOutOfRange { row, target, cols } => {
                    let target = match self.targets {
                        Targets::ClassesU32(_) => i64::from(target as u32),
                        _ => target,
                    };
                    Error::TargetOutOfRange { row, target, cols }
                }
                other => other,
            })?;
            batch.add(self.weight_of(row, &target));
        }
        Ok(batch)
    }

    /// What rows weigh that have a class each and nothing else, if every one of them is right. To go through all that a row
    /// may have took an eighth of the processor's time in a call with a million narrow rows.
    fn plain_weight(&self, shape: Shape, options: &CrossEntropyOptions) -> Option<BatchWeight> {
        let Self { class_weights: None, row_weights: None, row_mask: None, .. } = self else { return None };
        let classes = self.targets.classes().filter(|_| options.sequences.is_none())?;
        // As a u32 a negative class is beyond every possible one.
        let end = u32::try_from(shape.cols).unwrap_or(u32::MAX).min(1 << 31);
        let (mut counted, mut wrong) = (0, 0);
        for &class in classes {
            let counts = class != options.ignore_index;
            counted += usize::from(counts);
            wrong += usize::from(counts && class as u32 >= end);
        }
        let weight = counted as f64;
        (wrong == 0).then_some(BatchWeight { weight, row_weight: weight, counted })
    }

    /// What a row that is not left out weighs.
    pub(crate) fn weight_of(&self, row: usize, target: &RowTarget<'_>) -> BatchWeight {
        let row_weight = f64::from(self.row_weight(row));
        let class_weight = match (target, self.class_weights) {
            (&RowTarget::Class(class), Some(weights)) => usize::try_from(class)
                .ok()
                .and_then(|class| weights.get(class))
                .map_or(0.0, |&w| f64::from(w)),
            _ => 1.0,
        };
        BatchWeight { weight: row_weight * class_weight, row_weight, counted: 1 }
    }

    /// The inputs of some rows (with the logits' rows side by side: of whole groups of them).
    pub(crate) fn part(&self, shape: Shape, rows: Range<usize>) -> Self {
        let of_rows = self.rows().part(rows.clone());
        Self {
            targets: self.targets.part(shape, rows),
            row_weights: of_rows.weights,
            row_mask: of_rows.mask,
            row_upstream: of_rows.row_upstream,
            ..*self
        }
    }

    /// The same with [`sequences`](CrossEntropyOptions::sequences) worked in, for parts that know nothing of their
    /// neighbours: targets in the row they are scored in, and a mask of the rows that have one.
    pub(crate) fn resolved(&self, shape: Shape, options: &CrossEntropyOptions) -> Resolved<'a> {
        let mut resolved =
            Resolved { inputs: *self, classes: None, indices: None, probs: None, row_mask: None };
        let Some(sequences) = options.sequences else { return resolved };
        let target_rows: Vec<Option<usize>> = (0..shape.rows)
            .map(|row| sequences.target_row(row).filter(|&target| target < shape.rows))
            .collect();
        let is_scored = |row: usize| target_rows[row].is_some() && self.row_mask.is_none_or(|mask| mask[row]);
        resolved.row_mask = Some((0..shape.rows).map(is_scored).collect());
        if sequences.shift > 0 {
            let moved = |row: usize| target_rows[row].unwrap_or(row);
            if let Some(classes) = self.targets.classes() {
                resolved.classes = Some((0..shape.rows).map(|row| classes[moved(row)]).collect());
            }
            if let Targets::Sparse { indices, probs, entries } = self.targets {
                let rows = || (0..shape.rows).map(|row| moved(row) * entries);
                resolved.indices =
                    Some(rows().flat_map(|start| &indices[start..start + entries]).copied().collect());
                resolved.probs =
                    Some(rows().flat_map(|start| &probs[start..start + entries]).copied().collect());
            }
        }
        resolved
    }
}

/// Inputs whose sequences are worked in.
pub(crate) struct Resolved<'a> {
    inputs: CrossEntropyInputs<'a>,
    classes: Option<Vec<i32>>,
    indices: Option<Vec<i32>>,
    probs: Option<Vec<f32>>,
    row_mask: Option<Vec<bool>>,
}

impl Resolved<'_> {
    /// The inputs, to be used without [`sequences`](CrossEntropyOptions::sequences).
    pub fn inputs(&self) -> CrossEntropyInputs<'_> {
        let targets = match (&self.classes, &self.indices, &self.probs, self.inputs.targets) {
            (Some(classes), ..) => Targets::Classes(classes),
            (_, Some(indices), Some(probs), Targets::Sparse { entries, .. }) => {
                Targets::Sparse { indices, probs, entries }
            }
            (.., targets) => targets,
        };
        let row_mask = self.row_mask.as_deref().or(self.inputs.row_mask);
        CrossEntropyInputs { targets, row_mask, ..self.inputs }
    }
}

/// Refuses options that a kind of targets has no meaning for.
pub(crate) fn check_combination(kind: TargetKind, options: &CrossEntropyOptions) -> Result<()> {
    if options.focal_gamma > 0.0 && kind != TargetKind::Classes {
        return Err(Error::option("focal_gamma", options.focal_gamma, "0 unless targets are class indices"));
    }
    let shift = options.sequences.map_or(0, |sequences| sequences.shift);
    if shift > 0 && kind == TargetKind::Soft {
        return Err(Error::option("sequences: shift", shift as f64, "0 where each class has a target"));
    }
    Ok(())
}
