//! The options of the multi-label loss.

use crate::error::Result;
use crate::options::{EmptyBatch, Reducing, Reduction};

/// Options of [`SigmoidBce`](crate::SigmoidBce). Weights and targets are data: see
/// [`SigmoidBceInputs`](crate::SigmoidBceInputs).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SigmoidBceOptions {
    /// How row losses become one loss. A row's loss is the sum over its classes, and `dlogits` is the gradient of the
    /// one loss. A mean is taken over all classes of the rows that count, as in PyTorch: it divides by Σ row weight ·
    /// cols, regardless of class weights and `pos_weight`. Default: [`Reduction::Mean`].
    pub reduction: Reduction,
    /// The mean when no row counts. Default: [`EmptyBatch::Nan`].
    pub empty_batch: EmptyBatch,
}

impl SigmoidBceOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), naming the option and the value.
    pub fn check(&self) -> Result<()> {
        self.reduction.check()
    }

    /// How rows become one loss.
    pub(crate) fn reducing(&self) -> Reducing {
        Reducing { reduction: self.reduction, empty_batch: self.empty_batch, z_loss: 0.0 }
    }
}
