//! Evaluates a batch from a source and returns a report.

use crate::element::Element;
use crate::error::Result;
use crate::eval::evaluated::Evaluated;
use crate::eval::evaluation::Evaluation;
use crate::eval::inputs::EvaluateInputs;
use crate::eval::losses::Evaluable;
use crate::eval::options::EvaluateOptions;
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::op::LossOp;

/// The loss of a batch with any number of rows. Each window is read, computed and passed to `each`, which may write it
/// somewhere, show progress, or stop the run with an error. `inputs` are the inputs of any host call of this loss, or
/// [`EvaluateInputs`] if some of them are read from sources. Blocks.
///
/// To stop and resume, use an [`Evaluation`].
///
/// # Errors
/// As for [`Evaluation::new`], before any logit is read, and for [`Evaluation::run`].
#[expect(private_bounds, reason = "sealed")]
pub fn evaluate<'a, E: Element, L: Evaluable>(
    op: &LossOp<E, L>,
    source: &mut dyn Source<E>,
    inputs: impl Into<EvaluateInputs<'a, L::Inputs<'a, E>, L::Source<'a, E>>>,
    options: &EvaluateOptions,
    each: impl FnMut(&Evaluated<'_>) -> Result<()>,
) -> Result<Report> {
    let mut evaluation = Evaluation::new(op.options(), source.shape(), inputs, options)?;
    evaluation.run(op, source, each)?;
    Ok(evaluation.report())
}
