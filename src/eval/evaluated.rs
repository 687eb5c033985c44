//! The view of each window that the caller gets.

use std::ops::Range;

use crate::eval::state::EvaluationState;
use crate::op::RowResult;

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
    /// The gradient of the reduced loss (rows, cols), in the layout of the source's shape, if asked for. In f32,
    /// whatever the logits' type.
    pub dlogits: Option<&'a [f32]>,
    /// How far the evaluation has come with this window: what another process needs to continue after it.
    pub state: &'a EvaluationState,
    /// The rows that are left out, if their results do not tell.
    pub(super) left_out: Option<&'a [bool]>,
}

impl Evaluated<'_> {
    /// Whether the row at this place in the window was left out: ignored, masked, of weight 0, or not scored. False for
    /// a place beyond the window.
    pub fn is_left_out(&self, at: usize) -> bool {
        match self.left_out {
            Some(left_out) => left_out.get(at).is_some_and(|&is_left_out| is_left_out),
            None => self.results.get(at).is_some_and(RowResult::is_left_out),
        }
    }
}
