//! Evaluation of batches larger than a buffer, or larger than memory.
//!
//! A [`Source`] gives the logits window by window. [`evaluate`] sends them through the device and sums everything up in
//! one [`Report`], for every loss: [`CrossEntropy`](crate::CrossEntropy), [`KlDivergence`](crate::KlDivergence),
//! [`SigmoidBce`](crate::SigmoidBce). The other inputs (targets, a teacher's logits, weights, a mask) are in slices or
//! come window by window from sources of their own: see [`EvaluateInputs`].
//!
//! ```no_run
//! use xent::eval::{SliceSource, evaluate};
//! use xent::{Context, CrossEntropy, Shape, Targets};
//!
//! let gpu = Context::new().wait()?;
//! let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
//! let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
//! let mut source = SliceSource::new(&logits, Shape::new(2, 3))?;
//! let targets = Targets::Classes(&[0, 1]);
//! let report = evaluate(&op, &mut source, targets, &Default::default(), |_| Ok(()))?;
//! assert_eq!(report.accuracy(), Some(1.0));
//! # Ok::<(), xent::Error>(())
//! ```

pub mod calibrate;
pub mod compare;
#[cfg(feature = "cli")]
mod cpu;
mod each_window;
mod evaluate;
mod evaluated;
mod evaluation;
mod evaluator;
#[cfg(all(test, feature = "cli"))]
mod figures_tests;
#[cfg(any(feature = "npy", feature = "safetensors"))]
pub mod files;
mod inputs;
mod losses;
mod memory;
mod merge;
mod misuse;
#[cfg(feature = "ndarray")]
mod ndarray;
mod options;
#[cfg(feature = "cpu")]
mod processor;
mod read_ahead;
mod report;
mod row_inputs;
mod softmax;
mod source;
mod state;
#[cfg(feature = "cli")]
mod synthetic;
mod tally;
mod top_k;
mod window;

#[cfg(feature = "whole-file")]
#[doc(hidden)]
pub use crate::error::{escaped, is_safe};
#[cfg(feature = "whole-file")]
pub use crate::whole_file::{FilePart, WholeFile};
pub use evaluate::evaluate;
pub use evaluated::Evaluated;
pub use evaluation::Evaluation;
pub use inputs::{EvaluateInputs, EvaluateKind, LabelSource, RowSource, TargetSource, TeacherSource};
pub use merge::MergeError;
pub use misuse::{Misuse, Notice};
pub use options::EvaluateOptions;
pub use report::Report;
pub use softmax::{entmax, softmax};
pub use source::{SliceSource, Source};
pub use state::EvaluationState;
#[cfg(feature = "cli")]
pub use synthetic::SyntheticLogits;
pub use tally::{
    ClassFigures, EqualBins, EqualMass, Histogram, MAX_CONFUSED_CLASSES, MAX_LISTED_BAD_ROWS,
    MAX_TALLIED_CLASSES, MAX_TALLIED_RANK, Positions, Quantile, RELIABILITY_BINS, Reliability,
    ReliabilityBin, SequenceTotal, Tally, TallyOptions, TallyRows, WorstRow,
};
pub use top_k::top_k;
