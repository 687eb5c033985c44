//! The view of each window that the caller gets.

use std::ops::Range;

use crate::eval::state::EvaluationState;
use crate::results::RowResult;

/// A window of a batch that has passed through the device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluated<'a> {
    /// The rows of the batch in this window.
    pub rows: Range<usize>,
    /// The results of the rows (rows,) from one read of their logits.
    pub results: &'a [RowResult],
    /// The class that each row is scored against (rows,), if targets are classes. Sequences are already resolved. For a
    /// row that is left out it may be any value.
    pub classes: Option<&'a [i32]>,
    /// The class that each row should predict (rows,): its target, or for soft and sparse targets the class of the largest
    /// probability; [`NO_CLASS`](crate::NO_CLASS) for a row that is left out. Empty for losses without classes.
    pub top_classes: &'a [u32],
    /// The weight of each row in a mean (rows,), if there are weights: its own, times the weight of its class if the
    /// targets are classes.
    pub weights: Option<&'a [f64]>,
    /// Where the sequences of the batch end, if they differ in length: the index after the last row of each.
    pub sequence_ends: Option<&'a [usize]>,
    /// The gradient of the reduced loss (rows, cols), in the layout of the source's shape, if asked for. In f32,
    /// whatever the logits' type.
    pub dlogits: Option<&'a [f32]>,
    /// How far the evaluation has come with this window: what another process needs to continue after it.
    pub state: &'a EvaluationState,
}
