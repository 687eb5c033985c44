//! A batch, from a source to a report.

use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluation::Evaluation;
use crate::eval::inputs::EvaluateInputs;
use crate::eval::options::EvaluateOptions;
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::op::CrossEntropy;

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
