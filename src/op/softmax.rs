//! Softmax and log-softmax.

use std::fmt;

use crate::bounds::{loss_bound, prob_bound};
use crate::context::Context;
use crate::device::{Profile, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, MapStream, RowMap, stats_switches};
use crate::op::stream::Start;
use crate::options::{HALVED_FROM, MaskedRow, SoftmaxOptions};
use crate::reference;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

/// Softmax and log-softmax of rows of logits, numerically stable: the row's maximum is subtracted before the
/// exponential.
///
/// `softmax_j = exp(x_j − m) / Σ exp(x − m)` and `log_softmax_j = (x_j − m) − ln Σ exp(x − m)` with `m = max x`.
/// Reads the logits twice (the second time from cache if a row fits there) and writes once.
///
/// ```no_run
/// use xent::{Context, Shape, Softmax};
///
/// let gpu = Context::new().wait()?;
/// let softmax = Softmax::<f32>::new(&gpu, &Default::default())?;
/// let probs = softmax.softmax(&[2.0, 1.0, 0.5, -1.0], Shape::new(1, 4)).wait()?;
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Softmax<E: Element> {
    rows: RowMap<E>,
    options: SoftmaxOptions,
}

/// The buffers of a bound [`Softmax`], with at least one output. Outputs have the logits' layout, `row_stride`
/// included; padding is not written.
///
/// More fields may come: end a literal with `..SoftmaxBuffers::new(logits)`.
#[derive(Clone, Debug)]
pub struct SoftmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Destination of the probabilities (rows, cols).
    pub probs: Option<wgpu::BufferBinding<'a>>,
    /// Destination of the log-probabilities (rows, cols), in nats.
    pub log_probs: Option<wgpu::BufferBinding<'a>>,
}

impl<'a> SoftmaxBuffers<'a> {
    /// Logits (rows, cols), without outputs.
    pub fn new(logits: wgpu::BufferBinding<'a>) -> Self {
        Self { logits, probs: None, log_probs: None }
    }
}

impl<E: Element> Softmax<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &SoftmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowMap::new(gpu)?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. A different temperature needs no new
    /// pipeline, unless it is above 2^100: such temperatures have their own pipelines.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_options(&self, options: &SoftmaxOptions) -> Result<Self> {
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
    pub fn options(&self) -> &SoftmaxOptions {
        &self.options
    }

    /// Probabilities (rows, cols) of logits (rows, cols), with the same layout; padding columns are 0.
    ///
    /// # Errors
    /// [`Error::Length`] and what [`Shape::check`] refuses; [`Error::RowTooLarge`]; whatever the device reports.
    pub fn softmax<'a>(&'a self, logits: &'a [E], shape: Shape) -> Request<'a, Vec<E>> {
        self.run(logits, shape, false)
    }

    /// Like [`softmax`](Self::softmax), but writes into a slice of yours, as long as the logits. The slice decides the
    /// type: the logits' type, or f32, which avoids rounding.
    ///
    /// # Errors
    /// As for [`softmax`](Self::softmax); [`Error::Length`] for the slice, before any work.
    pub fn softmax_into<'a, D: Element>(
        &'a self,
        logits: &'a [E],
        shape: Shape,
        probs: &'a mut [D],
    ) -> Request<'a, ()> {
        self.run_into(logits, shape, false, probs)
    }

    /// Log-probabilities (rows, cols), in nats, of logits (rows, cols), with the same layout; padding columns are 0.
    ///
    /// # Errors
    /// As for [`softmax`](Self::softmax).
    pub fn log_softmax<'a>(&'a self, logits: &'a [E], shape: Shape) -> Request<'a, Vec<E>> {
        self.run(logits, shape, true)
    }

    /// Like [`log_softmax`](Self::log_softmax), but writes into a slice of yours. See
    /// [`softmax_into`](Self::softmax_into).
    ///
    /// # Errors
    /// As for [`softmax_into`](Self::softmax_into).
    pub fn log_softmax_into<'a, D: Element>(
        &'a self,
        logits: &'a [E],
        shape: Shape,
        log_probs: &'a mut [D],
    ) -> Request<'a, ()> {
        self.run_into(logits, shape, true, log_probs)
    }

    /// Bytes of device memory kept from the last host call for reuse. This operation and its clones keep at most one
    /// set of buffers, those of two windows. A second call at the same time makes its own; a call that fails keeps
    /// none.
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.rows.pool.bytes()
    }

    /// Frees the buffers that [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        drop(self.rows.pool.take());
    }

    /// Checks the probabilities of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`softmax`](Self::softmax).
    pub fn verify<'a>(&'a self, logits: &'a [E], shape: Shape, rows: usize) -> Request<'a, Verification> {
        self.verified(logits, shape, rows, false)
    }

    /// Checks log-probabilities like [`verify`](Self::verify).
    ///
    /// # Errors
    /// As for [`softmax`](Self::softmax).
    pub fn verify_log<'a>(&'a self, logits: &'a [E], shape: Shape, rows: usize) -> Request<'a, Verification> {
        self.verified(logits, shape, rows, true)
    }

    /// Opens a stream that takes a batch window by window, for batches that do not fit into memory: see
    /// [`SoftmaxStream`]. `log` asks for log-probabilities.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses, [`Error::RowTooLarge`], [`Error::OutOfMemory`].
    pub fn stream(&self, shape: Shape, log: bool) -> Result<SoftmaxStream<E>> {
        Ok(SoftmaxStream { windows: self.rows.stream(self.map(log), shape)? })
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`], [`Error::BufferTooSmall`], [`Error::BufferOffset`],
    /// [`Error::BufferUsage`], [`Error::BufferAlias`]; for 16-bit logits [`Error::OddStride`], [`Error::PackedLayout`];
    /// [`Error::RowTooLarge`], [`Error::TooManyRows`]; [`Error::OtherDevice`]; whatever the device reports.
    pub fn bind(&self, shape: Shape, to: &SoftmaxBuffers<'_>) -> Result<Bound> {
        let outputs = [(false, &to.probs), (true, &to.log_probs)];
        let maps: Vec<_> = outputs
            .into_iter()
            .filter_map(|(log, output)| {
                let output = OutputBuffer::To(output.clone()?);
                Some((self.map(log), MapBuffers { logits: &to.logits, second: None, output }))
            })
            .collect();
        if maps.is_empty() {
            shape.check()?;
            return Err(Error::NoOutput { options: "probs, log_probs" });
        }
        self.rows.bind(shape, maps, [])
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.rows.engine.profile
    }

    /// How a request waits on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        self.rows.engine.gpu.blocking()
    }

    /// A stream for two windows in flight.
    pub(crate) fn ahead(&self, log: bool, shape: Shape, start: Start) -> Result<MapStream<E>> {
        self.rows.ahead(self.map(log), shape, start)
    }

    fn map(&self, log: bool) -> Map {
        let SoftmaxOptions { masked_row, temperature, softcap, .. } = self.options;
        let params = Params::default().with_temperature(temperature).with_softcap(softcap);
        Map {
            pass: if log { &passes::LOG_SOFTMAX } else { &passes::SOFTMAX },
            logits: "logits",
            output: if log { "log_probs" } else { "probs" },
            second: None,
            splits: true,
            needs: Needs::default(),
            params,
            constants: stats_switches(&[
                (constant::MASKED_ROW_ZERO, masked_row == MaskedRow::Zero),
                (constant::SOFTCAP, softcap.is_some()),
                (constant::HALVE_DIFFERENCES, temperature > HALVED_FROM),
            ]),
            rest: vec![],
        }
    }

    fn run<'a>(&'a self, logits: &'a [E], shape: Shape, log: bool) -> Request<'a, Vec<E>> {
        self.rows.run(shape, HostMap::of(logits), Ok(self.map(log)))
    }

    fn run_into<'a, D: Element>(
        &'a self,
        logits: &'a [E],
        shape: Shape,
        log: bool,
        output: &'a mut [D],
    ) -> Request<'a, ()> {
        self.rows.run_into(shape, HostMap::of(logits), output, Ok(self.map(log)))
    }

    fn verified<'a>(
        &'a self,
        logits: &'a [E],
        shape: Shape,
        rows: usize,
        log: bool,
    ) -> Request<'a, Verification> {
        let options = self.options;
        self.run(logits, shape, log).map(move |values| {
            Verification::of_values(&values, shape, rows, |row| {
                let row = shape.row_vec(logits, row);
                let (expected, bound): (_, fn(f64) -> f64) = if log {
                    (reference::log_softmax_row(&row, &options), loss_bound)
                } else {
                    (reference::softmax_row(&row, &options), prob_bound)
                };
                expected.into_iter().map(move |value| (value, bound(value)))
            })
        })
    }
}

/// A batch that passes through the device window by window. The buffers are made once and take less than half a
/// gigabyte for any number of rows, unless a single row needs more.
pub struct SoftmaxStream<E: Element> {
    windows: MapStream<E>,
}

impl<E: Element> SoftmaxStream<E> {
    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.windows.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.windows.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows of logits and writes their probabilities (or log-probabilities). Both are (rows,
    /// cols) in the layout of the stream's shape. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::RowsExceedBound`] for more rows than a window or the stream's shape holds; whatever
    /// the device reports, and after that [`Error::StreamEnded`].
    pub fn push<'a>(&'a mut self, logits: &'a [E], rows: usize, output: &'a mut [E]) -> Request<'a, ()> {
        let waits = self.windows.gpu().waits();
        Request::new(waits, move |wait| self.windows.push(logits, rows, output, wait))
    }
}

impl<E: Element> fmt::Debug for SoftmaxStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftmaxStream").field("window_rows", &self.window_rows()).finish_non_exhaustive()
    }
}
