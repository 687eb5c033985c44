//! The backward pass of entmax and sparsemax.

use crate::bounds::entmax_backward_bounds;
use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, constant};
use crate::kernel::{Params, Tuning};
use crate::op::Bound;
use crate::op::entmax::power_constant;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, RowMap, verified};
use crate::options::EntmaxOptions;
use crate::reference;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

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
/// use xent::{Context, EntmaxBackward, EntmaxOptions, Shape};
///
/// let gpu = Context::new().wait()?;
/// let backward = EntmaxBackward::<f32>::new(&gpu, &EntmaxOptions::sparsemax())?;
/// let (probs, dprobs) = ([0.75, 0.25, 0.0], [1.0, 2.0, 3.0]);
/// let dlogits = backward.backward(&probs, &dprobs, Shape::new(1, 3)).wait()?; // −0.5, 0.5, 0
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EntmaxBackward<E: Element> {
    rows: RowMap<E>,
    options: EntmaxOptions,
}

/// The buffers of a bound [`EntmaxBackward`]. All have the same layout, `row_stride` included; padding is not written.
///
/// More fields may come: end a literal with `..EntmaxBackwardBuffers::new(probs, dprobs, dlogits)`.
#[derive(Clone, Debug)]
pub struct EntmaxBackwardBuffers<'a> {
    /// Probabilities (rows, cols). Any offset that is a multiple of the element's size.
    pub probs: wgpu::BufferBinding<'a>,
    /// The gradient with respect to `probs` (rows, cols), of the same type. Any offset that is a multiple of the
    /// element's size.
    pub dprobs: wgpu::BufferBinding<'a>,
    /// Destination of the gradient with respect to the logits (rows, cols). [`OutputBuffer::InPlace`] overwrites
    /// `dprobs`.
    pub dlogits: OutputBuffer<'a>,
}

impl<'a> EntmaxBackwardBuffers<'a> {
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

impl<E: Element> EntmaxBackward<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &EntmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowMap::new(gpu)?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. See
    /// [`Entmax::with_options`](crate::Entmax::with_options).
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &EntmaxOptions) -> Result<Self> {
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
    pub fn options(&self) -> &EntmaxOptions {
        &self.options
    }

    /// The gradient with respect to the logits (rows, cols). `probs` are the probabilities and
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
                let bounds = entmax_backward_bounds(probs, dprobs, &self.options);
                [reference::entmax_backward_row(probs, dprobs, &self.options), bounds]
            })
        })
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &EntmaxBackwardBuffers<'_>) -> Result<Bound> {
        let buffers = MapBuffers { logits: &to.dprobs, second: Some(&to.probs), output: to.dlogits.clone() };
        self.rows.bind(shape, vec![(self.map(), buffers)], [])
    }

    fn map(&self) -> Map {
        let params = Params { score_scale: 2.0, ..Params::default() }.with_alpha(self.options.alpha);
        let constants =
            vec![(constant::LOG_PROBS, 0), (constant::ENTMAX_POWER, power_constant(self.options.alpha))];
        Map::backward::<E>(&passes::ENTMAX_BACKWARD, params, constants)
    }
}
