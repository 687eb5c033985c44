//! What an evaluation needs from each loss. Everything else is written once.

mod cross_entropy;
mod entmax;
mod kl_divergence;
mod sigmoid_bce;
#[cfg(all(test, feature = "cli"))]
mod tests;

use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::eval::inputs::EvaluateKind;
use crate::eval::source::Source;
use crate::inputs::{BatchWeight, Resolved, RowInputs};
use crate::op::Kind;
use crate::options::Sequences;
#[cfg(feature = "cli")]
use crate::results::RowResult;
use crate::shape::Shape;

/// Where the targets of a batch are, or the teacher's logits.
pub(crate) enum Origin<R> {
    /// In slices, among the other inputs.
    InMemory,
    /// In a source that gives them row by row.
    Rows(R),
    /// In a source that is read together with the logits.
    WithLogits,
}

/// Where targets are, and the source that is read together with the logits if there is one.
pub(crate) type Split<'a, R, S> = (Origin<R>, Option<&'a mut dyn Source<S>>);

/// Whether a target is a probability, which may be a little above 1 if it was added up or rounded.
fn is_proper(prob: &f32) -> bool {
    (-1e-6..=1.001).contains(prob)
}

/// A loss, as an evaluation needs it. `Resolved` are the inputs of a window.
pub(crate) trait Evaluable: Kind + EvaluateKind {
    /// A value of the second array: of soft targets, of a binary target, or of a teacher's logits.
    type Second<E: Element>: Element;
    /// A source of targets that are read row by row.
    type RowTargets<'a>;

    /// The names of what may differ between the shapes of the second array and of the logits.
    const SECOND: [&'static str; 4];

    /// The layout of the inputs, if the targets come from this source.
    fn batch_layout<E: Element>(
        inputs: &Self::Inputs<'_, E>,
        source: Option<&Self::Source<'_, E>>,
    ) -> Self::Layout;
    fn split<'a, E: Element>(source: Self::Source<'a, E>)
    -> Split<'a, Self::RowTargets<'a>, Self::Second<E>>;
    fn rows_mut<'i, 'a, E: Element>(inputs: &'i mut Self::Inputs<'a, E>) -> &'i mut RowInputs<'a>;
    /// Checks the inputs that are in memory, except those of the rows. Targets are among them only if they are in
    /// memory.
    fn check_in_memory<E: Element>(
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        has_targets: bool,
    ) -> Result<()>;
    /// Checks the inputs that depend on the options.
    fn check_beside<E: Element>(&self, _: &Self::Inputs<'_, E>, _: Shape, _: Self::Layout) -> Result<()> {
        Ok(())
    }
    /// Checks how many row targets there are.
    fn check_row_targets(_: &Self::RowTargets<'_>, _: Shape) -> Result<()> {
        Ok(())
    }

    /// The options for the windows of an evaluation, in whose inputs everything that needs the whole batch is resolved.
    fn for_evaluation(self) -> Self {
        self.of_resolved()
    }
    /// The distance from a row to the row that holds its target.
    fn shift(&self) -> usize {
        0
    }
    /// The rows that hold the masks and the weights of these rows. There may be fewer at the end of the batch.
    fn input_rows(&self, _: Shape, rows: &Range<usize>) -> Range<usize> {
        rows.clone()
    }
    /// Where the sequences end, if they differ in length.
    fn sequence_ends<'a, E: Element>(_: &Self::Inputs<'a, E>) -> Option<&'a [usize]> {
        None
    }
    /// The inputs of a range of rows that are in memory.
    fn resolved<'a, E: Element>(
        &self,
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
        rows: Range<usize>,
        has_targets: bool,
    ) -> Resolved<Self::Inputs<'a, E>>;
    /// Reads the row targets of a range of rows, whose other inputs are known.
    fn read_row_targets<E: Element>(
        &self,
        _: &mut Self::RowTargets<'_>,
        _: &mut Resolved<Self::Inputs<'_, E>>,
        _: Shape,
        _: Range<usize>,
    ) -> Result<()> {
        Ok(())
    }
    /// Brings inputs that have been checked into the form that windows keep.
    fn narrow<E: Element>(_: &mut Resolved<Self::Inputs<'_, E>>) {}
    /// The inputs of a window, with its part of the second array if that was read.
    fn inputs<'v, E: Element>(
        window: &'v Resolved<Self::Inputs<'_, E>>,
        second: Option<&'v [Self::Second<E>]>,
    ) -> Self::Inputs<'v, E>;

    /// What a row of this weight adds to that of the batch, whatever its target is.
    fn row_weight(_: Shape, row_weight: f64) -> BatchWeight {
        BatchWeight { weight: row_weight, row_weight, counted: 1 }
    }
    /// Adds the weights of the rows one by one, and checks their targets. Errors count rows from `first`.
    fn weigh<E: Element>(
        &self,
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        first: usize,
        batch: &mut BatchWeight,
    ) -> Result<()>;
    /// The class that each row should predict, [`NO_CLASS`](crate::NO_CLASS) for a row that does not count. Empty if the
    /// loss has no classes.
    fn top_classes<E: Element>(&self, _: &Self::Inputs<'_, E>, _: Shape) -> Vec<u32> {
        Vec::new()
    }
    /// The weight of each row in a mean, if there are weights.
    fn row_weights<E: Element>(&self, inputs: &Self::Inputs<'_, E>, shape: Shape) -> Option<Vec<f64>> {
        let rows = Self::rows(inputs);
        rows.row_weights.map(|_| (0..shape.rows).map(|row| f64::from(rows.weight(row))).collect())
    }
    /// Whether the values are log-probabilities, used as they are.
    fn takes_log_probs(&self) -> bool {
        false
    }
    /// Rows whose targets are below 0 or above 1 although they are to be probabilities ([`is_proper`]), and rows with such
    /// targets.
    fn improper_targets<E: Element>(&self, _: &Self::Inputs<'_, E>, _: Shape) -> (u64, u64) {
        (0, 0)
    }
    /// The sequences of the batch, if there are any.
    fn sequences(&self) -> Option<Sequences> {
        None
    }
    /// The class of each row, if targets are classes.
    fn classes<'i, E: Element>(_: &Self::Inputs<'i, E>) -> Option<&'i [i32]> {
        None
    }

    /// The result that the kernel of row losses gives, by the reference.
    #[cfg(feature = "cli")]
    fn row_result<E: Element>(
        &self,
        logits: &[E],
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        row: usize,
    ) -> RowResult;
    /// A row of the gradient (cols,), by the reference. `batch` is the total weight of all rows.
    #[cfg(feature = "cli")]
    fn row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
    ) -> Vec<f64>;
}
