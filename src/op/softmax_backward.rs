//! The backward pass of softmax and log-softmax.

use crate::bounds::softmax_backward_bounds;
use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, constant};
use crate::kernel::{Params, Tuning};
use crate::op::Bound;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, RowMap, verified};
use crate::options::SoftmaxBackwardOptions;
use crate::reference;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

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
#[derive(Clone, Debug)]
pub struct SoftmaxBackward<E: Element> {
    rows: RowMap<E>,
    options: SoftmaxBackwardOptions,
}

/// The buffers of a bound [`SoftmaxBackward`]. All have the same layout, `row_stride` included; padding is not written.
///
/// More fields may come: end a literal with `..SoftmaxBackwardBuffers::new(probs, dprobs, dlogits)`.
#[derive(Clone, Debug)]
pub struct SoftmaxBackwardBuffers<'a> {
    /// Probabilities (rows, cols), or log-probabilities with `log`. Any offset that is a multiple of the element's size.
    pub probs: wgpu::BufferBinding<'a>,
    /// The gradient with respect to `probs` (rows, cols), of the same type. Any offset that is a multiple of the
    /// element's size.
    pub dprobs: wgpu::BufferBinding<'a>,
    /// Destination of the gradient with respect to the logits (rows, cols). [`OutputBuffer::InPlace`] overwrites
    /// `dprobs`.
    pub dlogits: OutputBuffer<'a>,
}

impl<'a> SoftmaxBackwardBuffers<'a> {
    /// Probabilities, the gradient with respect to them, and the destination of the gradient with respect to the
    /// logits, all (rows, cols).
    pub fn new(
        probs: wgpu::BufferBinding<'a>,
        dprobs: wgpu::BufferBinding<'a>,
        dlogits: OutputBuffer<'a>,
    ) -> Self {
        Self { probs, dprobs, dlogits }
    }
}

impl<E: Element> SoftmaxBackward<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &SoftmaxBackwardOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowMap::new(gpu)?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. A different scale needs no new pipeline.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &SoftmaxBackwardOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// The options of this operation.
    pub fn options(&self) -> &SoftmaxBackwardOptions {
        &self.options
    }

    /// The gradient with respect to the logits (rows, cols). `probs` are the probabilities (or log-probabilities) and
    /// `dprobs` the gradient with respect to them. All three are (rows, cols) with the same layout; padding columns are
    /// 0.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge); whatever the device reports.
    pub fn backward<'a>(&'a self, probs: &'a [E], dprobs: &'a [E], shape: Shape) -> Request<'a, Vec<E>> {
        let given = HostMap { second: Some(probs), ..HostMap::of(dprobs) };
        self.rows.run(shape, given, Ok(self.map()))
    }

    /// Like [`backward`](Self::backward), but writes into a slice of yours, as long as the inputs. The slice decides
    /// the type: the inputs' type, or f32, which avoids rounding.
    ///
    /// # Errors
    /// As for [`backward`](Self::backward); [`Error::Length`](crate::Error::Length) for the slice, before any work.
    pub fn backward_into<'a, D: Element>(
        &'a self,
        probs: &'a [E],
        dprobs: &'a [E],
        shape: Shape,
        dlogits: &'a mut [D],
    ) -> Request<'a, ()> {
        let given = HostMap { second: Some(probs), ..HostMap::of(dprobs) };
        self.rows.run_into(shape, given, dlogits, Ok(self.map()))
    }

    /// Bytes of device memory kept from the last host call for reuse: see
    /// [`Softmax::idle_buffer_bytes`](crate::Softmax::idle_buffer_bytes).
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.rows.pool.bytes()
    }

    /// Frees the buffers that [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        drop(self.rows.pool.take());
    }

    /// Checks the gradient of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`backward`](Self::backward).
    pub fn verify<'a>(
        &'a self,
        probs: &'a [E],
        dprobs: &'a [E],
        shape: Shape,
        rows: usize,
    ) -> Request<'a, Verification> {
        self.backward(probs, dprobs, shape).map(move |dlogits| {
            verified(&dlogits, [probs, dprobs], shape, rows, |probs, dprobs| {
                let of_row = if self.options.log {
                    reference::log_softmax_backward_row(probs, dprobs)
                } else {
                    reference::softmax_backward_row(probs, dprobs)
                };
                let scale = f64::from(self.options.scale);
                let values = of_row.into_iter().map(|value| value * scale).collect();
                [values, softmax_backward_bounds(probs, dprobs, &self.options)]
            })
        })
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &SoftmaxBackwardBuffers<'_>) -> Result<Bound> {
        let buffers = MapBuffers { logits: &to.dprobs, second: Some(&to.probs), output: to.dlogits.clone() };
        self.rows.bind(shape, vec![(self.map(), buffers)], [])
    }

    fn map(&self) -> Map {
        let params = Params { score_scale: 2.0 * self.options.scale, ..Params::default() };
        let constants = vec![(constant::LOG_PROBS, u32::from(self.options.log))];
        Map::backward::<E>(&passes::SOFTMAX_BACKWARD, params, constants)
    }
}
