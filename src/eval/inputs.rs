//! The inputs of `evaluate` besides the logits.

use std::fmt;
use std::ops::Range;

use crate::error::Result;
use crate::eval::source::Source;
use crate::inputs::CrossEntropyInputs;
use crate::targets::{TargetKind, Targets, class_indices};

/// Values that come with the rows of a batch, window by window: targets, weights, a mask.
///
/// [`Evaluation::new`](super::Evaluation::new) reads all of them once, to check them and to find the total weight of
/// the rows, which a gradient needs before its first value. A run then reads each window's values again.
pub trait RowSource<T>: Send {
    /// The number of rows.
    fn rows(&self) -> usize;

    /// Reads the values of a range of rows into a buffer of exactly their length: one per row, or (rows, entries) for
    /// sparse targets. `used` (rows,) says which rows are scored against them; the values of other rows are not used
    /// and may be invalid. Ranges come in order and may start at any row; a later pass may start again from an earlier
    /// row.
    ///
    /// # Errors
    /// Whatever prevents reading, most often an [`Error::File`](crate::Error::File).
    fn read_rows(&mut self, rows: Range<usize>, used: &[bool], into: &mut [T]) -> Result<()>;
}

/// Targets that are read window by window.
pub enum TargetSource<'a> {
    /// Class indices (rows,), as in [`Targets::Classes`].
    Classes(&'a mut dyn RowSource<i32>),
    /// Classes with their probabilities (rows, entries), as in [`Targets::Sparse`].
    Sparse {
        /// Class indices (rows, entries).
        indices: &'a mut dyn RowSource<i32>,
        /// Their probabilities (rows, entries).
        probs: &'a mut dyn RowSource<f32>,
        /// Entries per row.
        entries: usize,
    },
    /// A probability for each class, in the logits' own [`Shape`](crate::Shape). Values that are not finite are
    /// reported when their window comes.
    Soft(&'a mut dyn Source<f32>),
}

impl TargetSource<'_> {
    fn kind(&self) -> TargetKind {
        match *self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Sparse { entries, .. } => TargetKind::Sparse { entries },
            Self::Soft(_) => TargetKind::Soft,
        }
    }
}

/// The inputs of [`evaluate`](super::evaluate()) besides the logits. If all of them are in memory, pass [`Targets`] or
/// [`CrossEntropyInputs`] instead. If only targets are given and they are read, pass a [`TargetSource`].
///
/// ```
/// use xent::Shape;
/// use xent::eval::{EvaluateInputs, SliceSource, TargetSource};
///
/// let mut teacher = SliceSource::new(&[0.9, 0.1, 0.5, 0.5], Shape::new(2, 2))?;
/// let mut inputs = EvaluateInputs::from(TargetSource::Soft(&mut teacher));
/// inputs.beside.rows.row_weights = Some(&[1.0, 0.5]);
/// # Ok::<(), xent::Error>(())
/// ```
///
/// More fields may come: end a literal with `..EvaluateInputs::from(targets)`.
pub struct EvaluateInputs<'a> {
    /// Targets, weights and mask in memory. An input from a source replaces the one given here.
    pub beside: CrossEntropyInputs<'a>,
    /// Targets that are read from a source.
    pub targets: Option<TargetSource<'a>>,
    /// Row weights that are read from a source.
    pub row_weights: Option<&'a mut dyn RowSource<f32>>,
    /// A row mask that is read from a source.
    pub row_mask: Option<&'a mut dyn RowSource<bool>>,
}

impl EvaluateInputs<'_> {
    /// The kind of the targets.
    pub(super) fn kind(&self) -> TargetKind {
        self.targets.as_ref().map_or_else(|| self.beside.targets.kind(), TargetSource::kind)
    }
}

impl<'a> From<CrossEntropyInputs<'a>> for EvaluateInputs<'a> {
    fn from(beside: CrossEntropyInputs<'a>) -> Self {
        Self { beside, targets: None, row_weights: None, row_mask: None }
    }
}

impl<'a> From<&CrossEntropyInputs<'a>> for EvaluateInputs<'a> {
    fn from(beside: &CrossEntropyInputs<'a>) -> Self {
        (*beside).into()
    }
}

impl<'a> From<Targets<'a>> for EvaluateInputs<'a> {
    fn from(targets: Targets<'a>) -> Self {
        CrossEntropyInputs::new(targets).into()
    }
}

class_indices!(EvaluateInputs);

impl<'a> From<TargetSource<'a>> for EvaluateInputs<'a> {
    fn from(targets: TargetSource<'a>) -> Self {
        Self { targets: Some(targets), ..Targets::Classes(&[]).into() }
    }
}

impl fmt::Debug for EvaluateInputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvaluateInputs")
            .field("beside", &self.beside)
            .field("targets", &self.targets.as_ref().map(TargetSource::kind))
            .field("row_weights", &self.row_weights.is_some())
            .field("row_mask", &self.row_mask.is_some())
            .finish()
    }
}
