//! A batch, from a source to a report.

use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluation::Evaluation;
use crate::eval::inputs::EvaluateInputs;
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::eval::state::EvaluationState;
use crate::op::{CrossEntropy, RowResult};

/// What [`evaluate`] does besides the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Rows, evenly spread, whose losses are compared with the f64 [`reference`](mod@crate::reference) in the same
    /// pass. Default: none.
    pub verify_rows: usize,
    /// Whether each window comes with its gradient, which costs a second sweep and its readback. Default: no.
    pub dlogits: bool,
    /// Bytes that all windows together may take, on the host and on the device: they get smaller to fit. Default: as many
    /// as are fast, some 32 MiB of logits in each of four windows.
    pub memory: Option<u64>,
}

/// A window of a batch that has been through the device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluated<'a> {
    /// Which rows of the batch these are.
    pub rows: Range<usize>,
    /// All that one read of their logits tells (rows,).
    pub results: &'a [RowResult],
    /// The class that each row is scored against (rows,), where targets are classes: sequences are worked in. Of a row that
    /// is left out it may be any.
    pub classes: Option<&'a [i32]>,
    /// The gradient of the reduced loss (rows, cols), laid out by the source's shape, if asked for. In f32, whatever
    /// the logits' type.
    pub dlogits: Option<&'a [f32]>,
    /// How far the evaluation has come with this window: what another process needs to go on behind it.
    pub state: &'a EvaluationState,
}

/// The loss of a batch, however many rows it has: each window is read, computed and handed to `each`, which may write
/// it somewhere, show progress, or stop the run with an error. `inputs` are [`Targets`](crate::Targets), or
/// [`CrossEntropyInputs`](crate::CrossEntropyInputs) where more is given than those, or [`EvaluateInputs`] where
/// something of it is read too. Blocks.
///
/// An [`Evaluation`] does the same, and can go on where it was stopped.
///
/// # Errors
/// As [`Evaluation::new`], before any logit is read, and [`Evaluation::run`].
pub fn evaluate<'a, E: Element>(
    op: &CrossEntropy<E>,
    source: &mut dyn Source<E>,
    inputs: impl Into<EvaluateInputs<'a>>,
    options: &EvaluateOptions,
    each: impl FnMut(&Evaluated<'_>) -> Result<()>,
) -> Result<Report> {
    let mut evaluation = Evaluation::new(op.options(), source.shape(), inputs, options)?;
    evaluation.run(op, source, each)?;
    Ok(evaluation.report())
}
