//! The inputs of `evaluate` besides the logits.

use std::fmt;
use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::eval::source::Source;
use crate::inputs::{CrossEntropyInputs, KlDivergenceInputs, SigmoidBceInputs};
use crate::op::LossKind;
use crate::options::{CrossEntropyOptions, EntmaxLossOptions, KlDivergenceOptions, SigmoidBceOptions};
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

/// Targets of a [`CrossEntropy`](crate::CrossEntropy) that are read window by window.
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
    pub(super) fn kind(&self) -> TargetKind {
        match *self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Sparse { entries, .. } => TargetKind::Sparse { entries },
            Self::Soft(_) => TargetKind::Soft,
        }
    }
}

/// The teacher's logits of a [`KlDivergence`](crate::KlDivergence), read window by window: of the same type and
/// [`Shape`](crate::Shape) as the student's.
///
/// ```no_run
/// use xent::eval::{SliceSource, TeacherSource, evaluate};
/// use xent::{Context, KlDivergence, Shape};
///
/// let gpu = Context::new().wait()?;
/// let op = KlDivergence::<f32>::new(&gpu, &Default::default())?;
/// let mut student = SliceSource::new(&[1.0, 0.0, 0.0, 0.0], Shape::new(2, 2))?;
/// let mut teacher = SliceSource::new(&[1.0, 0.0, 2.0, -1.0], Shape::new(2, 2))?;
/// let report = evaluate(&op, &mut student, TeacherSource(&mut teacher), &Default::default(), |_| Ok(()))?;
/// println!("{} nats", report.loss.value);
/// # Ok::<(), xent::Error>(())
/// ```
pub struct TeacherSource<'a, E: Element>(pub &'a mut dyn Source<E>);

/// Targets of a [`SigmoidBce`](crate::SigmoidBce) that are read window by window, in the logits' own
/// [`Shape`](crate::Shape). Values that are not finite are reported when their window comes.
pub struct LabelSource<'a>(pub &'a mut dyn Source<f32>);

/// The options of a loss, as an evaluation takes them: the source that its targets are read from. Sealed.
pub trait EvaluateKind: LossKind {
    /// The source of targets, or of a teacher's logits.
    type Source<'a, E: Element>;
}

impl EvaluateKind for CrossEntropyOptions {
    type Source<'a, E: Element> = TargetSource<'a>;
}

impl EvaluateKind for EntmaxLossOptions {
    type Source<'a, E: Element> = TargetSource<'a>;
}

impl EvaluateKind for KlDivergenceOptions {
    type Source<'a, E: Element> = TeacherSource<'a, E>;
}

impl EvaluateKind for SigmoidBceOptions {
    type Source<'a, E: Element> = LabelSource<'a>;
}

/// The inputs of [`evaluate`](super::evaluate()) besides the logits. If all of them are in memory, pass the inputs that
/// any host call of the loss takes instead: [`Targets`], [`CrossEntropyInputs`], a slice of a teacher's logits,
/// [`SigmoidBceInputs`] and so on. If only targets are given and they are read, pass their source: a [`TargetSource`],
/// [`TeacherSource`] or [`LabelSource`].
///
/// `I` are the loss's inputs in memory, and `S` is the source of its targets. The defaults are those of a cross-entropy.
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
pub struct EvaluateInputs<'a, I = CrossEntropyInputs<'a>, S = TargetSource<'a>> {
    /// Targets, weights and mask in memory. An input from a source replaces the one given here.
    pub beside: I,
    /// Targets, or a teacher's logits, that are read from a source.
    pub targets: Option<S>,
    /// Row weights that are read from a source.
    pub row_weights: Option<&'a mut dyn RowSource<f32>>,
    /// A row mask that is read from a source.
    pub row_mask: Option<&'a mut dyn RowSource<bool>>,
}

impl<I, S> EvaluateInputs<'_, I, S> {
    /// Inputs in memory.
    fn in_memory(beside: I) -> Self {
        Self { beside, targets: None, row_weights: None, row_mask: None }
    }
}

/// Implements `From` for the inputs of a loss, for references to them, and for its source of targets. `$none` are inputs
/// without targets.
macro_rules! evaluate_inputs {
    ([$($element:ident)?] $inputs:ty, $source:ty, $none:expr) => {
        impl<'a $(, $element: Element)?> From<$inputs> for EvaluateInputs<'a, $inputs, $source> {
            fn from(beside: $inputs) -> Self {
                Self::in_memory(beside)
            }
        }

        impl<'a $(, $element: Element)?> From<&$inputs> for EvaluateInputs<'a, $inputs, $source> {
            fn from(beside: &$inputs) -> Self {
                Self::in_memory(*beside)
            }
        }

        impl<'a $(, $element: Element)?> From<$source> for EvaluateInputs<'a, $inputs, $source> {
            fn from(targets: $source) -> Self {
                Self { targets: Some(targets), ..Self::in_memory($none) }
            }
        }
    };
}

/// Implements `From` for a second array in memory.
macro_rules! evaluate_slices {
    ([$($element:ident)?] $inputs:ty, $source:ty, $value:ty) => {
        impl<'a $(, $element: Element)?> From<&'a [$value]> for EvaluateInputs<'a, $inputs, $source> {
            fn from(values: &'a [$value]) -> Self {
                Self::in_memory(values.into())
            }
        }

        impl<'a $(, $element: Element)?, const N: usize> From<&'a [$value; N]>
            for EvaluateInputs<'a, $inputs, $source>
        {
            fn from(values: &'a [$value; N]) -> Self {
                Self::in_memory(values.into())
            }
        }

        impl<'a $(, $element: Element)?> From<&'a Vec<$value>> for EvaluateInputs<'a, $inputs, $source> {
            fn from(values: &'a Vec<$value>) -> Self {
                Self::in_memory(values.into())
            }
        }
    };
}

evaluate_inputs!([] CrossEntropyInputs<'a>, TargetSource<'a>, Targets::Classes(&[]).into());
evaluate_inputs!([E] KlDivergenceInputs<'a, E>, TeacherSource<'a, E>, KlDivergenceInputs::new(&[]));
evaluate_inputs!([] SigmoidBceInputs<'a>, LabelSource<'a>, SigmoidBceInputs::new(&[]));
evaluate_slices!([E] KlDivergenceInputs<'a, E>, TeacherSource<'a, E>, E);
evaluate_slices!([] SigmoidBceInputs<'a>, LabelSource<'a>, f32);

impl<'a> From<Targets<'a>> for EvaluateInputs<'a> {
    fn from(targets: Targets<'a>) -> Self {
        CrossEntropyInputs::new(targets).into()
    }
}

class_indices!(EvaluateInputs);

impl<I: fmt::Debug, S> fmt::Debug for EvaluateInputs<'_, I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvaluateInputs")
            .field("beside", &self.beside)
            .field("targets", &self.targets.is_some())
            .field("row_weights", &self.row_weights.is_some())
            .field("row_mask", &self.row_mask.is_some())
            .finish()
    }
}
