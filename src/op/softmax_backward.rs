//! The gradient that comes back through a softmax or a log-softmax.

use crate::bounds::softmax_backward_bounds;
use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, binding, constant};
use crate::kernel::{Params, Tuning};
use crate::op::Bound;
use crate::op::loss::SecondArray;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, RowMap};
use crate::options::SoftmaxBackwardOptions;
use crate::reference;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

/// The gradient by the logits of whatever comes behind a [`Softmax`](crate::Softmax) or a
/// [`MaskedSoftmax`](crate::MaskedSoftmax), from its gradient by the probabilities, or by their logarithms.
///
/// | options | `dlogits_k`, s being the scale |
/// | --- | --- |
/// | default | `s · p_k · (dp_k − Σ p·dp)` |
/// | `log` | `s · (d_k − p_k · Σ d)` with `p_k = exp(log_prob_k)` |
///
/// Two reads of each of the two arrays (the second from cache where a row fits there) and one write. At the edges:
///
/// | the row | gradient |
/// | --- | --- |
/// | a NaN or an infinity in either array (but a log-probability of −∞) | NaN throughout. A NaN never disappears |
/// | a probability of 0 | 0 there |
/// | a log-probability of −∞ | `s · d_k` there: the probability is 0 |
/// | nothing but probabilities of 0, or their logarithms (a masked row under [`MaskedRow::Zero`](crate::MaskedRow::Zero)) | 0 throughout |
/// | log-probabilities whose `Σ d` exceeds twice f32's largest | NaN throughout |
///
/// Errors are within [`softmax_backward_bounds`]. Under a softcap this is the gradient by the capped logits. The class axis
/// may be anywhere.
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

/// The buffers of a bound [`SoftmaxBackward`]: all are laid out alike, `row_stride` included; padding is not written.
#[derive(Clone, Debug)]
pub struct SoftmaxBackwardBuffers<'a> {
    /// Probabilities (rows, cols), or log-probabilities with `log`. Any offset that is a multiple of the element's size.
    pub probs: wgpu::BufferBinding<'a>,
    /// The gradient by them (rows, cols), of the same type. Any offset that is a multiple of the element's size.
    pub dprobs: wgpu::BufferBinding<'a>,
    /// Where the gradient by the logits goes (rows, cols). [`OutputBuffer::InPlace`] is over `dprobs`, which are lost.
    pub dlogits: OutputBuffer<'a>,
}

impl<E: Element> SoftmaxBackward<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &SoftmaxBackwardOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowMap::new(gpu)?, options: *options })
    }

    /// The same on the same pipelines, with other options. Another scale makes nothing anew.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &SoftmaxBackwardOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// The same with another tuning than the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// The options it was built with.
    pub fn options(&self) -> &SoftmaxBackwardOptions {
        &self.options
    }

    /// The gradient by the logits (rows, cols), from probabilities (or log-probabilities) and the gradient by them, both
    /// (rows, cols), all laid out alike; padding columns are 0.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge); whatever the device reports.
    pub fn backward<'a>(&'a self, probs: &'a [E], dprobs: &'a [E], shape: Shape) -> Request<'a, Vec<E>> {
        let given = HostMap { second: Some(probs), ..HostMap::of(dprobs) };
        self.rows.run(shape, given, Ok(self.map()))
    }

    /// The same in a slice of yours, as long as the others. The slice decides the type: theirs, or f32, which does not round.
    ///
    /// # Errors
    /// As [`backward`](Self::backward); [`Error::Length`](crate::Error::Length) of the slice, before any work.
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

    /// Bytes of device memory that the last host call left for the next: see
    /// [`Softmax::idle_buffer_bytes`](crate::Softmax::idle_buffer_bytes).
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.rows.pool.bytes()
    }

    /// Frees what [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        drop(self.rows.pool.take());
    }

    /// Checks the gradient of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`backward`](Self::backward).
    pub fn verify<'a>(
        &'a self,
        probs: &'a [E],
        dprobs: &'a [E],
        shape: Shape,
        rows: usize,
    ) -> Request<'a, Verification> {
        self.backward(probs, dprobs, shape).map(move |dlogits| {
            let mut verification = Verification::new();
            for row in Verification::sample(shape.rows, rows) {
                let wide = |values: &[E]| shape.row(values, row).map(|x| x.to_f64()).collect::<Vec<f64>>();
                let (probs, dprobs) = (wide(probs), wide(dprobs));
                let of_row = if self.options.log {
                    reference::log_softmax_backward_row(&probs, &dprobs)
                } else {
                    reference::softmax_backward_row(&probs, &dprobs)
                };
                let bounds = softmax_backward_bounds(&probs, &dprobs, &self.options);
                for ((&dx, expected), bound) in shape.row(&dlogits, row).zip(of_row).zip(bounds) {
                    let expected = expected * f64::from(self.options.scale);
                    verification.compare_rounded(row, dx, expected, bound);
                }
            }
            verification
        })
    }

    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &SoftmaxBackwardBuffers<'_>) -> Result<Bound> {
        let buffers = MapBuffers { logits: &to.dprobs, second: Some(&to.probs), output: to.dlogits.clone() };
        self.rows.bind(shape, vec![(self.map(), buffers)], [])
    }

    /// The gradient takes the logits' place: over it the output may be written.
    fn map(&self) -> Map {
        let value_bytes = size_of::<E>() as u64;
        Map {
            pass: &passes::SOFTMAX_BACKWARD,
            logits: "dprobs",
            output: "dlogits",
            second: Some(SecondArray { name: "probs", number: binding::PROBS, value_bytes }),
            splits: false,
            params: Params { score_scale: 2.0 * self.options.scale, ..Params::default() },
            constants: vec![(constant::LOG_PROBS, u32::from(self.options.log))],
            rest: vec![],
        }
    }
}
