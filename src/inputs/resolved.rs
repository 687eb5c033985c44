//! Inputs of a range of rows, in which everything that needs the whole batch is resolved.

use std::ops::Range;

use crate::inputs::{CrossEntropyInputs, RowInputs};
use crate::options::CrossEntropyOptions;
use crate::shape::Shape;
use crate::targets::{Indices, Targets, narrowed};

/// Inputs `I` of a range of rows with sequences resolved. Owns what the caller's slices do not hold.
pub(crate) struct Resolved<I> {
    /// What the caller's slices hold.
    pub inputs: I,
    /// Row targets of cross-entropy.
    pub targets: Option<OwnedTargets>,
    pub row_weights: Option<Vec<f32>>,
    pub row_mask: Option<Vec<bool>>,
}

impl<I> Resolved<I> {
    /// Inputs that the caller's slices hold.
    pub fn of(inputs: I) -> Self {
        Self { inputs, targets: None, row_weights: None, row_mask: None }
    }

    /// The inputs of the rows, given those in the caller's slices.
    pub fn rows<'v>(&'v self, rows: RowInputs<'v>) -> RowInputs<'v> {
        RowInputs {
            row_weights: self.row_weights.as_deref().or(rows.row_weights),
            row_mask: self.row_mask.as_deref().or(rows.row_mask),
            ..rows
        }
    }
}

impl Resolved<CrossEntropyInputs<'_>> {
    /// Narrows wide class indices to i32, for inputs that have been checked.
    pub fn narrow(&mut self) {
        if let Some(Indices::I64(classes)) = self.inputs().targets.indices() {
            let classes = classes.iter().copied().map(narrowed).collect();
            self.targets = Some(OwnedTargets::Classes(classes));
        }
    }

    /// Leaves out the rows whose target is one of these classes.
    pub fn mask_ignored(&mut self, classes: &[i32]) {
        let Some(indices) = self.inputs().targets.indices().filter(|_| !classes.is_empty()) else { return };
        let is_kept = |class: i64| classes.iter().all(|&ignored| class != i64::from(ignored));
        let kept: Vec<bool> = match indices {
            Indices::I32(indices) => indices.iter().map(|&class| is_kept(class.into())).collect(),
            Indices::I64(indices) => indices.iter().map(|&class| is_kept(class)).collect(),
        };
        let mask = self.row_mask.as_deref().or(self.inputs.rows.row_mask);
        let is_scored = |at: usize| mask.is_none_or(|mask| mask.get(at).is_none_or(|&is_scored| is_scored));
        self.row_mask = Some(kept.into_iter().enumerate().map(|(at, kept)| kept && is_scored(at)).collect());
    }

    /// The inputs, to be used without [`sequences`](crate::CrossEntropyOptions::sequences).
    pub fn inputs(&self) -> CrossEntropyInputs<'_> {
        CrossEntropyInputs {
            targets: self.targets.as_ref().map_or(self.inputs.targets, OwnedTargets::targets),
            rows: self.rows(self.inputs.rows),
            ..self.inputs
        }
    }
}

/// The rows that hold the masks and the weights of these rows. There are fewer at the end of the batch.
pub(crate) fn input_rows(shape: Shape, options: &CrossEntropyOptions, rows: &Range<usize>) -> Range<usize> {
    let shift = options.sequences.map_or(0, |sequences| sequences.input_shift());
    let moved = |row: usize| row.saturating_add(shift).min(shape.rows);
    moved(rows.start)..moved(rows.end)
}

/// The rows that hold the targets of these rows. There are fewer at the end of the batch, where rows have no target.
pub(crate) fn target_rows(shape: Shape, options: &CrossEntropyOptions, rows: &Range<usize>) -> Range<usize> {
    let shift = options.sequences.map_or(0, |sequences| sequences.shift);
    let moved = |row: usize| row.saturating_add(shift).min(shape.rows);
    moved(rows.start)..moved(rows.end)
}

/// Targets that were read from a source, narrowed, or moved.
pub(crate) enum OwnedTargets {
    Classes(Vec<i32>),
    ClassesU32(Vec<u32>),
    ClassesI64(Vec<i64>),
    ClassesUsize(Vec<usize>),
    Sparse { indices: Vec<i32>, probs: Vec<f32>, entries: usize },
}

impl OwnedTargets {
    /// A copy of class or sparse targets, padded at the end with rows that have no target. Classes keep their type,
    /// because they may not have been checked. Soft targets are never moved.
    pub fn padded(targets: Targets<'_>, rows: usize, ignored: i32) -> Option<Self> {
        match targets {
            Targets::Classes(classes) => Some(Self::Classes(padded(classes, rows, ignored))),
            Targets::ClassesU32(classes) => Some(Self::ClassesU32(padded(classes, rows, ignored as u32))),
            Targets::ClassesI64(classes) => Some(Self::ClassesI64(padded(classes, rows, ignored.into()))),
            Targets::ClassesUsize(classes) => {
                Some(Self::ClassesUsize(padded(classes, rows, ignored as usize)))
            }
            Targets::Sparse { indices, probs, entries } => Some(Self::Sparse {
                indices: padded(indices, rows * entries, ignored),
                probs: padded(probs, rows * entries, 0.0),
                entries,
            }),
            Targets::Soft(_) => None,
        }
    }

    fn targets(&self) -> Targets<'_> {
        match self {
            Self::Classes(classes) => Targets::Classes(classes),
            Self::ClassesU32(classes) => Targets::ClassesU32(classes),
            Self::ClassesI64(classes) => Targets::ClassesI64(classes),
            Self::ClassesUsize(classes) => Targets::ClassesUsize(classes),
            Self::Sparse { indices, probs, entries } => Targets::Sparse { indices, probs, entries: *entries },
        }
    }
}

fn padded<T: Copy>(values: &[T], len: usize, fill: T) -> Vec<T> {
    let mut padded = Vec::with_capacity(len);
    padded.extend_from_slice(values);
    padded.resize(len, fill);
    padded
}
