//! The inputs of cross-entropy besides the logits.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, OwnedTargets, Resolved, RowInputs, check_weights, row_setters};
use crate::options::CrossEntropyOptions;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::{Indices, RowTarget, TargetKind, Targets, class_indices};

/// The inputs of a [`CrossEntropy`](crate::CrossEntropy) besides the logits. Targets alone are enough: methods that
/// take these inputs also take [`Targets`], or class indices in a slice, an array or a vector of i32, i64, u32 or usize.
///
/// ```
/// use xent::{CrossEntropyInputs, Targets};
///
/// let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 2])).class_weights(&[1.0, 0.5, 2.0]);
/// ```
///
/// More fields may come: end a literal with `..CrossEntropyInputs::new(targets)`.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyInputs<'a> {
    /// The targets.
    pub targets: Targets<'a>,
    /// A weight for each class (cols,), finite and at least 0: PyTorch's `weight`. With class targets, a mean divides
    /// by the sum of the weights of the rows' classes; with soft targets it does not, as in PyTorch. Default: 1 each.
    pub class_weights: Option<&'a [f32]>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputs<'a>,
}

impl<'a> From<Targets<'a>> for CrossEntropyInputs<'a> {
    fn from(targets: Targets<'a>) -> Self {
        Self::new(targets)
    }
}

class_indices!(CrossEntropyInputs);

impl<'a> From<&CrossEntropyInputs<'a>> for CrossEntropyInputs<'a> {
    fn from(inputs: &CrossEntropyInputs<'a>) -> Self {
        *inputs
    }
}

/// A row's own weight, and the largest class weight that can multiply it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowWeights {
    pub own: f64,
    pub heaviest_class: f64,
}

impl<'a> CrossEntropyInputs<'a> {
    /// Inputs with targets only.
    pub const fn new(targets: Targets<'a>) -> Self {
        Self { targets, class_weights: None, rows: RowInputs::NONE }
    }

    /// Sets class weights (cols,).
    pub const fn class_weights(self, weights: &'a [f32]) -> Self {
        Self { class_weights: Some(weights), ..self }
    }

    row_setters!();

    /// The weights that multiply a row's loss.
    pub(crate) fn weights(&self, row: usize) -> RowWeights {
        let heaviest = self.class_weights.map_or(1.0, |weights| weights.iter().copied().fold(0.0, f32::max));
        RowWeights { own: f64::from(self.rows.weight(row)), heaviest_class: f64::from(heaviest) }
    }

    /// The target of a row, or `None` if the row is left out.
    pub(crate) fn row_target(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        row: usize,
    ) -> Option<RowTarget<'a>> {
        if self.rows.weight(row) == 0.0 {
            return None;
        }
        let target_row = match options.sequences {
            // If the last sequence is cut short, there is no target after its end.
            Some(sequences) => sequences.target_row(row).filter(|&target| target < shape.rows)?,
            None => row,
        };
        let target = self.targets.row(shape, target_row);
        (!target.is_ignored(options.ignore_index)).then_some(target)
    }

    /// Checks lengths, targets and weights before any work, and returns the total weight of the rows.
    ///
    /// # Errors
    /// What [`Shape::check`] and [`CrossEntropyOptions::check`] refuse; [`Error::Length`], [`Error::TargetOutOfRange`],
    /// [`Error::InvalidTarget`]; [`Error::InvalidOption`] for weights, and for options that these targets do not allow.
    pub fn check(&self, shape: Shape, options: &CrossEntropyOptions) -> Result<BatchWeight> {
        shape.check()?;
        options.check()?;
        check_combination(self.targets.kind(), options)?;
        self.targets.check_lengths(shape)?;
        check_weights("class_weights", self.class_weights, shape.cols)?;
        self.rows.check(shape)?;
        // Messages name the row that holds the target.
        let shift = options.sequences.map_or(0, |sequences| sequences.shift);
        let mut batch = BatchWeight::default();
        self.weigh(shape, options, shift, &mut batch)?;
        Ok(batch)
    }

    /// Adds the weights of the rows one by one, so that the parts of a batch give the same bits as the whole. Messages
    /// count targets from `first`.
    ///
    /// # Errors
    /// [`Error::TargetOutOfRange`], [`Error::InvalidTarget`].
    pub(crate) fn weigh(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        first: usize,
        batch: &mut BatchWeight,
    ) -> Result<()> {
        if let Some(plain) = self.plain_weight(shape, options) {
            batch.add(plain);
            return Ok(());
        }
        for row in 0..shape.rows {
            let Some(target) = self.row_target(shape, options, row) else { continue };
            let checked = target.check(first.saturating_add(row), shape.cols, options.ignore_index);
            checked.map_err(|error| match error {
                Error::TargetOutOfRange { row, target, cols } => {
                    Error::TargetOutOfRange { row, target: self.targets.as_given(target), cols }
                }
                other => other,
            })?;
            batch.add(self.weight_of(row, &target));
        }
        Ok(())
    }

    /// The weight of rows that have one class each and no other inputs, if every class is valid. Checking each row for
    /// all possible inputs took an eighth of the processor's time in a call with a million narrow rows.
    fn plain_weight(&self, shape: Shape, options: &CrossEntropyOptions) -> Option<BatchWeight> {
        let Self { class_weights: None, rows: RowInputs { row_weights: None, row_mask: None, .. }, .. } =
            self
        else {
            return None;
        };
        let classes = self.targets.indices().filter(|_| options.sequences.is_none())?;
        // Cast to unsigned, a negative class is above every possible class.
        let end = u32::try_from(shape.cols).unwrap_or(u32::MAX).min(1 << 31);
        let ignored = options.ignore_index;
        let (counted, wrong) = match classes {
            Indices::I32(classes) => count(classes, ignored, |class| class as u32 >= end),
            Indices::I64(classes) => count(classes, ignored.into(), |class| class as u64 >= end.into()),
        };
        let weight = counted as f64;
        (wrong == 0).then_some(BatchWeight { weight, row_weight: weight, counted })
    }

    /// The weight of a row that is not left out.
    pub(crate) fn weight_of(&self, row: usize, target: &RowTarget<'_>) -> BatchWeight {
        let row_weight = f64::from(self.rows.weight(row));
        let class_weight = match (target, self.class_weights) {
            (&RowTarget::Class(class), Some(weights)) => usize::try_from(class)
                .ok()
                .and_then(|class| weights.get(class))
                .map_or(0.0, |&w| f64::from(w)),
            _ => 1.0,
        };
        BatchWeight { weight: row_weight * class_weight, row_weight, counted: 1 }
    }

    /// The inputs of a range of rows. If the logits' rows lie side by side, the range covers whole groups.
    pub(crate) fn part(&self, shape: Shape, rows: Range<usize>) -> Self {
        Self { targets: self.targets.part(shape, rows.clone()), rows: self.rows.part(rows), ..*self }
    }

    /// The inputs of a range of rows with [`sequences`](CrossEntropyOptions::sequences) resolved: each target is in the
    /// row that it scores, and a mask marks the rows that have a target. The part no longer depends on its neighbours.
    pub(crate) fn resolved(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        rows: Range<usize>,
    ) -> Resolved<Self> {
        let mut resolved = self.resolved_rows(shape, options, rows.clone());
        let of_targets = target_rows(shape, options, &rows);
        resolved.inputs.targets = self.targets.part(shape, of_targets.clone());
        if of_targets.len() < rows.len() {
            let of = resolved.inputs.targets;
            resolved.targets = OwnedTargets::padded(of, rows.len(), options.ignore_index);
        }
        resolved
    }

    /// Like `resolved`, without targets.
    pub(crate) fn resolved_rows(
        &self,
        shape: Shape,
        options: &CrossEntropyOptions,
        rows: Range<usize>,
    ) -> Resolved<Self> {
        let of_rows = self.rows.part(rows.clone());
        let inputs = Self { targets: Targets::Soft(&[]), rows: of_rows, ..*self };
        let row_mask = options.sequences.map(|sequences| {
            let has_target = |row| sequences.target_row(row).is_some_and(|target| target < shape.rows);
            let is_scored = |at: usize| of_rows.row_mask.is_none_or(|mask| mask[at]);
            rows.enumerate().map(|(at, row)| is_scored(at) && has_target(row)).collect()
        });
        Resolved { row_mask, ..Resolved::of(inputs) }
    }
}

/// How many classes are not ignored, and how many of these are wrong.
fn count<T: Copy + PartialEq>(classes: &[T], ignored: T, is_wrong: impl Fn(T) -> bool) -> (usize, usize) {
    let (mut counted, mut wrong) = (0, 0);
    for &class in classes {
        let counts = class != ignored;
        counted += usize::from(counts);
        wrong += usize::from(counts && is_wrong(class));
    }
    (counted, wrong)
}

/// The rows that hold the targets of these rows. There are fewer at the end of the batch, where rows have no target.
pub(crate) fn target_rows(shape: Shape, options: &CrossEntropyOptions, rows: &Range<usize>) -> Range<usize> {
    let shift = options.sequences.map_or(0, |sequences| sequences.shift);
    let moved = |row: usize| row.saturating_add(shift).min(shape.rows);
    moved(rows.start)..moved(rows.end)
}

/// Refuses options that have no meaning for this kind of targets.
pub(crate) fn check_combination(kind: TargetKind, options: &CrossEntropyOptions) -> Result<()> {
    if options.focal_gamma > 0.0 && kind != TargetKind::Classes {
        return Err(Error::option("focal_gamma", options.focal_gamma, "0 unless targets are class indices"));
    }
    if kind != TargetKind::Classes {
        let needed = "without fields of a target's class, unless targets are class indices";
        options.row_fields.check_within(!RowFields::OF_CLASS_TARGETS, needed)?;
    }
    let shift = options.sequences.map_or(0, |sequences| sequences.shift);
    if shift > 0 && kind == TargetKind::Soft {
        return Err(Error::option("sequences: shift", shift as f64, "0 when targets are soft"));
    }
    Ok(())
}
