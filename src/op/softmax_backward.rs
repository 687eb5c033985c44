//! The gradient that comes back through a softmax or a log-softmax.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, Output, Target, binding, constant};
use crate::kernel::{Params, Tuning, Work};
use crate::op::buffers::{self, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::pool::Pool;
use crate::op::stream::{Back, Extras, Part, Second, Stream, clear_padding, through, windows};
use crate::op::verify::Verification;
use crate::op::{Bound, Dlogits, softmax_backward_bounds};
use crate::options::SoftmaxBackwardOptions;
use crate::reference;
use crate::shape::Shape;

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
/// let gpu = Context::new_blocking()?;
/// let backward = SoftmaxBackward::<f32>::new(&gpu, &Default::default())?;
/// let (probs, dprobs) = ([0.5, 0.25, 0.25], [1.0, 2.0, 0.0]);
/// let dlogits = backward.backward(&gpu, &probs, &dprobs, Shape::new(1, 3))?; // 0, 0.25, −0.25
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SoftmaxBackward<E: Element> {
    engine: Engine<E>,
    options: SoftmaxBackwardOptions,
    pool: Pool,
}

/// The buffers of a bound [`SoftmaxBackward`]: all are laid out alike, `row_stride` included; padding is not written.
#[derive(Clone, Debug)]
pub struct SoftmaxBackwardBuffers<'a> {
    /// Probabilities (rows, cols), or log-probabilities with `log`. Any offset that is a multiple of the element's size.
    pub probs: wgpu::BufferBinding<'a>,
    /// The gradient by them (rows, cols), of the same type. Any offset that is a multiple of the element's size.
    pub dprobs: wgpu::BufferBinding<'a>,
    /// Where the gradient by the logits goes (rows, cols). [`Dlogits::InPlace`] is over `dprobs`, which are lost.
    pub dlogits: Dlogits<'a>,
}

impl<E: Element> SoftmaxBackward<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &SoftmaxBackwardOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, options: *options, pool: Pool::default() })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.engine.tuning = Some(tuning);
        self
    }

    /// The same, on the same pipelines, with other options: another scale makes nothing anew.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &SoftmaxBackwardOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// The gradient by the logits (rows, cols), from probabilities (or log-probabilities) and the gradient by them, both
    /// (rows, cols), all laid out alike; padding columns are 0. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge); whatever the device reports.
    pub fn backward(&self, gpu: &Context, probs: &[E], dprobs: &[E], shape: Shape) -> Result<Vec<E>> {
        pollster::block_on(self.all(gpu, probs, dprobs, shape, Wait::blocking(gpu)))
    }

    /// [`backward`](Self::backward), async: natively somebody else must poll the device (a thread in
    /// [`wgpu::Device::poll`]); in a browser, the browser does.
    ///
    /// # Errors
    /// As [`backward`](Self::backward).
    pub async fn backward_async(
        &self,
        gpu: &Context,
        probs: &[E],
        dprobs: &[E],
        shape: Shape,
    ) -> Result<Vec<E>> {
        self.all(gpu, probs, dprobs, shape, Wait::Elsewhere).await
    }

    /// [`backward`](Self::backward) into a slice of the caller's, as long as the others. Blocks.
    ///
    /// # Errors
    /// As [`backward`](Self::backward); [`Error::Length`](crate::Error::Length) of the slice, before any work.
    pub fn backward_into(
        &self,
        gpu: &Context,
        probs: &[E],
        dprobs: &[E],
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<()> {
        pollster::block_on(self.into(gpu, (probs, dprobs), shape, dlogits, Wait::blocking(gpu)))
    }

    /// [`backward_into`](Self::backward_into), async, as [`backward_async`](Self::backward_async).
    ///
    /// # Errors
    /// As [`backward_into`](Self::backward_into).
    pub async fn backward_into_async(
        &self,
        gpu: &Context,
        probs: &[E],
        dprobs: &[E],
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<()> {
        self.into(gpu, (probs, dprobs), shape, dlogits, Wait::Elsewhere).await
    }

    /// Device memory that the last host call left to the next, in bytes: see
    /// [`Softmax::idle_buffer_bytes`](crate::Softmax::idle_buffer_bytes).
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Frees it.
    pub fn free_idle_buffers(&self) {
        drop(self.pool.take());
    }

    /// Checks the gradient of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`backward`](Self::backward).
    pub fn verify(
        &self,
        gpu: &Context,
        probs: &[E],
        dprobs: &[E],
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let dlogits = self.backward(gpu, probs, dprobs, shape)?;
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
        Ok(verification)
    }

    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &SoftmaxBackwardBuffers<'_>) -> Result<Bound> {
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let (output, to_dlogits, output_bytes) = match &to.dlogits {
            Dlogits::InPlace => (Output::InPlace, None, value_bytes),
            Dlogits::To(bound) => (Output::Element, Some(bound), value_bytes),
            Dlogits::F32(bound) => (Output::F32, Some(bound), 4),
        };
        let plan = self.engine.resident_plan(Work {
            widest_bytes: output_bytes,
            writes: true,
            ..self.engine.work(shape)
        })?;
        let bytes = plan.logits_bytes(shape.rows);
        let need = || Need { bytes, alignment: value_bytes };
        let probs = buffers::read("probs", &to.probs, need())?;
        let dprobs = if output == Output::InPlace {
            buffers::write("dprobs", &to.dprobs, Need { bytes, alignment: 4 })?
        } else {
            buffers::read("dprobs", &to.dprobs, need())?
        };
        let dlogits_need = Need { bytes: plan.value_bytes(shape.rows, output_bytes), alignment: 4 };
        let dlogits = buffers::write_if("dlogits", to_dlogits, dlogits_need)?;
        buffers::check_words("dlogits", shape, output_bytes)?;
        buffers::check_aliases([&probs, &dprobs].into_iter().chain(&dlogits))?;

        let op = self.clone();
        Bound::new(shape, move |rows| {
            let (params, constants) = (op.params(shape), op.constants());
            // The gradient takes the logits' place: over it the output may be written.
            let arrays = [
                Array { number: binding::LOGITS, binding: &dprobs.binding, value_bytes },
                Array { number: binding::PROBS, binding: &probs.binding, value_bytes },
            ];
            let dlogits = dlogits.as_ref().map(|dlogits| Array {
                number: binding::OUTPUT,
                binding: &dlogits.binding,
                value_bytes: output_bytes,
            });
            let arrays: Vec<Array<'_>> = arrays.into_iter().chain(dlogits).collect();
            op.engine.resident_dispatches(&plan, rows, &op.call(output, &params, &constants), &arrays)
        })
    }

    fn call<'a>(
        &self,
        output: Output,
        params: &'a Params,
        constants: &'a [(&'static str, u32)],
    ) -> LogitsCall<'a> {
        let variant = self.engine.variant(output, Target::None);
        LogitsCall { pass: &passes::SOFTMAX_BACKWARD, variant, constants, params, rest: &[] }
    }

    fn params(&self, shape: Shape) -> Params {
        Params { score_scale: 2.0 * self.options.scale, ..Params::of(shape) }
    }

    fn constants(&self) -> [(&'static str, u32); 1] {
        [(constant::LOG_PROBS, u32::from(self.options.log))]
    }

    async fn all(
        &self,
        gpu: &Context,
        probs: &[E],
        dprobs: &[E],
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<E>> {
        shape.check_slice("probs", probs)?;
        let mut dlogits = vec![E::default(); shape.len()];
        self.into(gpu, (probs, dprobs), shape, &mut dlogits, wait).await?;
        Ok(dlogits)
    }

    async fn into(
        &self,
        gpu: &Context,
        (probs, dprobs): (&[E], &[E]),
        shape: Shape,
        dlogits: &mut [E],
        wait: Wait,
    ) -> Result<()> {
        shape.check_slice("probs", probs)?;
        shape.check_slice("dprobs", dprobs)?;
        shape.check_slice("dlogits", dlogits)?;
        // 16-bit values of rows side by side share words: they are written as f32, and rounded on their way back.
        let output = if shape.inner > 1 { Output::F32 } else { Output::Element };
        let extras = Extras {
            output: Some(output),
            second: Some(Second { number: binding::PROBS, value_bytes: Engine::<E>::ELEMENT_BYTES }),
            ..Default::default()
        };
        let mut stream = Stream::pooled(&self.engine, gpu, shape, extras, &self.pool)?;
        let (params, constants) = (self.params(stream.device_shape()), self.constants());
        let call = self.call(output, &params, &constants);
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut Stream<E>, (rows, values): Part| {
            let mut filling = stream.open(&dprobs[values.clone()], rows.len(), true)?;
            stream.write_second(&mut filling, &probs[values])?;
            let dispatches = stream.dispatches(&self.engine, &filling, &call)?;
            stream.submit("xent::softmax_backward", filling, &dispatches)
        };
        let read = |stream: &mut Stream<E>, back: Back, (_, values): Part| {
            stream.read_output(&back, &mut dlogits[values])?;
            stream.close(back);
            Ok(())
        };
        through(&mut stream, parts, wait, submit, read).await?;
        self.pool.put(stream.into_idle());
        clear_padding(dlogits, shape);
        Ok(())
    }
}
