//! Softmax and log-softmax.

use crate::bounds::{loss_bound, prob_bound};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params};
use crate::op::Bound;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, MapKind, MapOp, MapStream, sealed, stats_switches};
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
pub type Softmax<E> = MapOp<E, SoftmaxOptions>;

impl sealed::Sealed for SoftmaxOptions {}

impl MapKind for SoftmaxOptions {
    fn check(&self) -> Result<()> {
        self.check()
    }
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
        self.rows.stream(self.map(log), shape)
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

/// A batch that passes through the device window by window: see [`MapStream`].
pub type SoftmaxStream<E> = MapStream<E>;
