//! What the caller sees of each window.

use std::ops::Range;

use crate::eval::state::EvaluationState;
use crate::op::RowResult;

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
