//! The backward pass of softmax and log-softmax.

use crate::bounds::softmax_backward_bounds;
use crate::error::Result;
use crate::kernel::Params;
use crate::kernel::passes::{self, Pass, constant};
use crate::op::rows::{BackwardKind, MapKind, MapOp, sealed};
use crate::options::SoftmaxBackwardOptions;
use crate::reference;

/// The backward pass of a [`Softmax`](crate::Softmax) or a [`MaskedSoftmax`](crate::MaskedSoftmax): computes the
/// gradient with respect to the logits from the gradient with respect to the probabilities or log-probabilities.
///
/// | options | `dlogits_k`, where s is the scale |
/// | --- | --- |
/// | default | `s · p_k · (dp_k − Σ p·dp)` |
/// | `log` | `s · (d_k − p_k · Σ d)` with `p_k = exp(log_prob_k)` |
///
/// Reads each of the two arrays twice (the second time from cache if a row fits there) and writes once. Edge cases:
///
/// | the row | gradient |
/// | --- | --- |
/// | a NaN or an infinity in either array (except a log-probability of −∞) | NaN throughout. A NaN never disappears |
/// | a probability of 0 | 0 there |
/// | a log-probability of −∞ | `s · d_k` there: the probability is 0 |
/// | all probabilities are 0, or their logarithms −∞ (a masked row with [`MaskedRow::Zero`](crate::MaskedRow::Zero)) | 0 throughout |
/// | log-probabilities whose `Σ d` exceeds twice f32's largest number | NaN throughout |
///
/// Errors are within [`softmax_backward_bounds`]. With a softcap, this is the gradient with respect to the capped
/// logits. The class axis may be anywhere.
///
/// ```no_run
/// use xent::{Context, Shape, SoftmaxBackward};
///
/// let gpu = Context::new().wait()?;
/// let backward = SoftmaxBackward::<f32>::new(&gpu, &Default::default())?;
/// let (probs, dprobs) = ([0.5, 0.25, 0.25], [1.0, 2.0, 0.0]);
/// let dlogits = backward.backward(&probs, &dprobs, Shape::new(1, 3)).wait()?; // 0, 0.25, −0.25
/// # Ok::<(), xent::Error>(())
/// ```
pub type SoftmaxBackward<E> = MapOp<E, SoftmaxBackwardOptions>;

impl sealed::Sealed for SoftmaxBackwardOptions {}

impl MapKind for SoftmaxBackwardOptions {
    fn check(&self) -> Result<()> {
        self.check()
    }
}

impl BackwardKind for SoftmaxBackwardOptions {
    const PASS: &'static Pass = &passes::SOFTMAX_BACKWARD;

    fn params(&self) -> Params {
        Params { score_scale: 2.0 * self.scale, ..Params::default() }
    }

    fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![(constant::LOG_PROBS, u32::from(self.log))]
    }

    fn expected_row(&self, probs: &[f64], dprobs: &[f64]) -> [Vec<f64>; 2] {
        let of_row = if self.log {
            reference::log_softmax_backward_row(probs, dprobs)
        } else {
            reference::softmax_backward_row(probs, dprobs)
        };
        let scale = f64::from(self.scale);
        let values = of_row.into_iter().map(|value| value * scale).collect();
        [values, softmax_backward_bounds(probs, dprobs, self)]
    }
}
