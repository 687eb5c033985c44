//! The backward pass of entmax and sparsemax.

use crate::bounds::entmax_backward_bounds;
use crate::error::Result;
use crate::kernel::Params;
use crate::kernel::passes::{self, Pass, constant};
use crate::op::entmax::power_constant;
use crate::op::rows::{BackwardKind, MapKind, MapOp, sealed};
use crate::options::EntmaxBackwardOptions;
use crate::reference;

/// The backward pass of [`Entmax`](crate::Entmax), given its probabilities: the gradient with respect to the logits from the
/// gradient with respect to the probabilities.
///
/// `dx_k = g_k·(dp_k − Σ g·dp / Σ g)` with `g = p^(2 − α)` where p is above 0, and 0 elsewhere (Peters, Niculae, Martins 2019,
/// arXiv:1905.05702, proposition 2). For sparsemax, that is dp less its mean over the support. Reads both arrays twice.
///
/// | the row | result |
/// | --- | --- |
/// | a NaN or an infinity in either array | NaN throughout. A NaN never disappears |
/// | a probability of 0 | 0 there |
/// | all probabilities are 0 (a masked row with [`MaskedRow::Zero`](crate::MaskedRow::Zero)) | 0 throughout |
///
/// Errors are within [`entmax_backward_bounds`]. The class axis may be anywhere.
///
/// ```no_run
/// use xent::{Context, EntmaxBackward, EntmaxBackwardOptions, Shape};
///
/// let gpu = Context::new().wait()?;
/// let backward = EntmaxBackward::<f32>::new(&gpu, &EntmaxBackwardOptions { alpha: 2.0 })?;
/// let (probs, dprobs) = ([0.75, 0.25, 0.0], [1.0, 2.0, 3.0]);
/// let dlogits = backward.backward(&probs, &dprobs, Shape::new(1, 3)).wait()?; // −0.5, 0.5, 0
/// # Ok::<(), xent::Error>(())
/// ```
pub type EntmaxBackward<E> = MapOp<E, EntmaxBackwardOptions>;

impl sealed::Sealed for EntmaxBackwardOptions {}

impl MapKind for EntmaxBackwardOptions {
    fn check(&self) -> Result<()> {
        self.check()
    }
}

impl BackwardKind for EntmaxBackwardOptions {
    const PASS: &'static Pass = &passes::ENTMAX_BACKWARD;

    fn params(&self) -> Params {
        Params { score_scale: 2.0, ..Params::default() }.with_alpha(self.alpha)
    }

    fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![(constant::LOG_PROBS, 0), (constant::ENTMAX_POWER, power_constant(self.alpha))]
    }

    fn expected_row(&self, probs: &[f64], dprobs: &[f64]) -> [Vec<f64>; 2] {
        let bounds = entmax_backward_bounds(probs, dprobs, self);
        [reference::entmax_backward_row(probs, dprobs, self), bounds]
    }
}
