//! What `evaluate` takes beside the logits.

use std::fmt;

use crate::error::Result;
use crate::eval::source::{Source, check_same_shape};
use crate::inputs::{BatchWeight, CrossEntropyInputs, check_combination};
use crate::options::CrossEntropyOptions;
use crate::shape::Shape;
use crate::targets::{TargetKind, Targets};

/// What [`evaluate`](super::evaluate()) takes beside the logits. [`Targets`] or [`CrossEntropyInputs`] will do where
/// all of it is in memory; soft targets, of which there are as many as logits, may come window by window too:
///
/// ```
/// use xent::Shape;
/// use xent::eval::{EvaluateInputs, SliceSource};
///
/// let mut teacher = SliceSource::new(&[0.9, 0.1, 0.5, 0.5], Shape::new(2, 2))?;
/// let mut inputs = EvaluateInputs::soft(&mut teacher);
/// inputs.beside.row_weights = Some(&[1.0, 0.5]);
/// # Ok::<(), xent::Error>(())
/// ```
pub struct EvaluateInputs<'a> {
    /// Targets, weights and mask. Its targets are not looked at where there are soft ones from a source.
    pub beside: CrossEntropyInputs<'a>,
    /// Soft targets, of the logits' own [`Shape`].
    pub soft_targets: Option<&'a mut dyn Source<f32>>,
}

impl<'a> EvaluateInputs<'a> {
    /// Soft targets from a source, and nothing else.
    pub fn soft(targets: &'a mut dyn Source<f32>) -> Self {
        Self { beside: CrossEntropyInputs::new(Targets::Soft(&[])), soft_targets: Some(targets) }
    }

    /// What the targets are.
    pub(super) fn kind(&self) -> TargetKind {
        if self.soft_targets.is_some() { TargetKind::Soft } else { self.beside.targets.kind() }
    }
}

impl<'a> From<CrossEntropyInputs<'a>> for EvaluateInputs<'a> {
    fn from(beside: CrossEntropyInputs<'a>) -> Self {
        Self { beside, soft_targets: None }
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

impl fmt::Debug for EvaluateInputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let soft = self.soft_targets.as_ref().map(|targets| targets.shape());
        f.debug_struct("EvaluateInputs").field("beside", &self.beside).field("soft_targets", &soft).finish()
    }
}

/// What of the soft targets may be another than of the logits.
const SOFT_TARGETS: [&str; 4] = [
    "a row of the soft targets",
    "a group of the soft targets",
    "a padded row of the soft targets",
    "the soft targets",
];

/// What the rows weigh whose soft targets are still to come: these have no part in it. `stand_in` is a class 0 for
/// each row.
pub(super) fn check_before_soft(
    soft: Shape,
    stand_in: CrossEntropyInputs<'_>,
    shape: Shape,
    op: &CrossEntropyOptions,
) -> Result<BatchWeight> {
    check_combination(TargetKind::Soft, op)?;
    check_same_shape(SOFT_TARGETS, soft, shape)?;
    // No class is ignored, and soft targets' mean leaves class weights aside.
    let batch = stand_in.check(shape, &CrossEntropyOptions { ignore_index: -1, ..*op })?;
    Ok(BatchWeight { weight: batch.row_weight, ..batch })
}
