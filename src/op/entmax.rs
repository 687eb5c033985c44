//! α-entmax and sparsemax.

use std::fmt;

use crate::bounds::entmax_bounds;
use crate::context::Context;
use crate::device::{Profile, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, MapStream, RowMap};
use crate::op::stream::Start;
use crate::options::{EntmaxOptions, MaskedRow};
use crate::reference;
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

/// α-entmax of rows of logits: like softmax, but most probabilities are exactly 0. With α = 2 it is sparsemax
/// ([`EntmaxOptions::sparsemax`]).
///
/// `p_j = ((α − 1)·x_j − τ)₊^(1/(α − 1))`, with the τ for which the probabilities of a row sum to 1 (Peters, Niculae,
/// Martins 2019, arXiv:1905.05702). The threshold is found without a sort: one read of the logits finds the maximum and lists
/// the few classes that may be above the threshold, Newton's method finds the threshold over that list, and a second read
/// writes the probabilities. A row with more such classes than the list holds (thousands of nearly equal logits) is read
/// again, usually two to six times, at most 64 times.
///
/// | the row | result |
/// | --- | --- |
/// | a logit of −∞ | probability 0 there |
/// | a NaN or a +∞ | NaN throughout |
/// | only −∞ | NaN, or zeros with [`MaskedRow::Zero`] |
/// | rows shifted by 1e4 … 1e8, logits of ±3.4e38 | the correct result |
///
/// Errors are within [`entmax_bounds`]. The class axis may be anywhere. [`EntmaxBackward`](crate::EntmaxBackward) gives the
/// gradient.
///
/// ```no_run
/// use xent::{Context, Entmax, EntmaxOptions, Shape};
///
/// let gpu = Context::new().wait()?;
/// let sparsemax = Entmax::<f32>::new(&gpu, &EntmaxOptions::sparsemax())?;
/// let probs = sparsemax.entmax(&[1.0, 0.5, -1.0], Shape::new(1, 3)).wait()?; // 0.75, 0.25, 0
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Entmax<E: Element> {
    rows: RowMap<E>,
    options: EntmaxOptions,
}

/// The buffers of a bound [`Entmax`]. Both have the same layout, `row_stride` included; padding is not written.
///
/// More fields may come: end a literal with `..EntmaxBuffers::new(logits, probs)`.
#[derive(Clone, Debug)]
pub struct EntmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Destination of the probabilities (rows, cols). [`OutputBuffer::InPlace`] overwrites the logits.
    pub probs: OutputBuffer<'a>,
}

impl<'a> EntmaxBuffers<'a> {
    /// Logits and the destination of the probabilities, both (rows, cols).
    pub fn new(logits: wgpu::BufferBinding<'a>, probs: OutputBuffer<'a>) -> Self {
        Self { logits, probs }
    }
}

impl<E: Element> Entmax<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &EntmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowMap::new(gpu)?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. There are three kinds of α, each with its own pipelines:
    /// 1.5, 2, and all others.
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

    /// Probabilities (rows, cols) of logits (rows, cols), with the same layout; padding columns are 0.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge), with a lower limit than softmax has, because a row may be read many
    /// times; whatever the device reports.
    pub fn entmax<'a>(&'a self, logits: &'a [E], shape: Shape) -> Request<'a, Vec<E>> {
        self.rows.run(shape, HostMap::of(logits), Ok(self.map()))
    }

    /// Like [`entmax`](Self::entmax), but writes into a slice of yours, as long as the logits. The slice decides the type: the
    /// logits' type, or f32, which avoids rounding.
    ///
    /// # Errors
    /// As for [`entmax`](Self::entmax); [`Error::Length`](crate::Error::Length) for the slice, before any work.
    pub fn entmax_into<'a, D: Element>(
        &'a self,
        logits: &'a [E],
        shape: Shape,
        probs: &'a mut [D],
    ) -> Request<'a, ()> {
        self.rows.run_into(shape, HostMap::of(logits), probs, Ok(self.map()))
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

    /// Checks the probabilities of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`entmax`](Self::entmax).
    pub fn verify<'a>(&'a self, logits: &'a [E], shape: Shape, rows: usize) -> Request<'a, Verification> {
        let options = self.options;
        self.entmax(logits, shape).map(move |probs| {
            Verification::of_values(&probs, shape, rows, |row| {
                let row = shape.row_vec(logits, row);
                let bounds = entmax_bounds(&row, &options);
                reference::entmax_row(&row, &options).into_iter().zip(bounds)
            })
        })
    }

    /// Opens a stream that takes a batch window by window, for batches that do not fit into memory: see
    /// [`EntmaxStream`].
    ///
    /// # Errors
    /// What [`Shape::check`] refuses, [`Error::RowTooLarge`](crate::Error::RowTooLarge),
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn stream(&self, shape: Shape) -> Result<EntmaxStream<E>> {
        Ok(EntmaxStream { windows: self.rows.stream(self.map(), shape)? })
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &EntmaxBuffers<'_>) -> Result<Bound> {
        let buffers = MapBuffers { logits: &to.logits, second: None, output: to.probs.clone() };
        self.rows.bind(shape, vec![(self.map(), buffers)], [])
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.rows.engine.profile
    }

    /// How a request waits on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        self.rows.engine.gpu.blocking()
    }

    /// A stream for two windows in flight.
    pub(crate) fn ahead(&self, shape: Shape, start: Start) -> Result<MapStream<E>> {
        self.rows.ahead(self.map(), shape, start)
    }

    fn map(&self) -> Map {
        let EntmaxOptions { alpha, masked_row } = self.options;
        Map {
            pass: &passes::ENTMAX,
            logits: "logits",
            output: "probs",
            second: None,
            splits: false,
            needs: entmax_needs(),
            params: Params::default().with_alpha(alpha),
            constants: vec![
                (constant::ENTMAX_POWER, power_constant(alpha)),
                (constant::MASKED_ROW_ZERO, u32::from(masked_row == MaskedRow::Zero)),
            ],
            rest: vec![],
        }
    }
}

/// The exponent 1 / (α − 1) if the kernels need no power function for it, or 0.
pub(crate) fn power_constant(alpha: f32) -> u32 {
    if alpha == 2.0 {
        1
    } else if alpha == 1.5 {
        2
    } else {
        0
    }
}

/// What the search for a threshold needs: see `shaders/common/entmax.wgsl`.
pub(crate) fn entmax_needs() -> Needs {
    const ROUNDS: u64 = 64;
    // A lane's list, four classes at a time in chunks; the sum over a row's lanes, of which there are at most 1,024.
    let of_round = 256 / 4 + 256 / 64 + 16 + 64;
    Needs {
        row_words: 0,
        lane_bytes: 0,
        // The lists, and what says whether a row's search goes on.
        shared_bytes: 2048 * 4 + 32,
        is_alone: false,
        further_reads: ROUNDS,
        fixed_iterations: 0,
        own_iterations: 256 + ROUNDS * of_round,
    }
}

/// A batch that passes through the device window by window. The buffers are made once and take less than half a
/// gigabyte for any number of rows, unless a single row needs more.
pub struct EntmaxStream<E: Element> {
    windows: MapStream<E>,
}

impl<E: Element> EntmaxStream<E> {
    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.windows.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.windows.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows of logits and writes their probabilities. Both are (rows, cols) in the layout of the
    /// stream's shape. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length); [`Error::RowsExceedBound`](crate::Error::RowsExceedBound) for more rows than a
    /// window or the stream's shape holds; whatever the device reports, and after that
    /// [`Error::StreamEnded`](crate::Error::StreamEnded).
    pub fn push<'a>(&'a mut self, logits: &'a [E], rows: usize, probs: &'a mut [E]) -> Request<'a, ()> {
        let waits = self.windows.gpu().waits();
        Request::new(waits, move |wait| self.windows.push(logits, rows, probs, wait))
    }
}

impl<E: Element> fmt::Debug for EntmaxStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntmaxStream").field("window_rows", &self.window_rows()).finish_non_exhaustive()
    }
}
