//! α-entmax and sparsemax.

use crate::bounds::entmax_bounds;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params};
use crate::op::Bound;
use crate::op::output::OutputBuffer;
use crate::op::rows::{HostMap, Map, MapBuffers, MapKind, MapOp, MapStream, sealed};
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
pub type Entmax<E> = MapOp<E, EntmaxOptions>;

impl sealed::Sealed for EntmaxOptions {}

impl MapKind for EntmaxOptions {
    fn check(&self) -> Result<()> {
        self.check()
    }
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
        self.rows.stream(self.map(), shape)
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &EntmaxBuffers<'_>) -> Result<Bound> {
        let buffers = MapBuffers { logits: &to.logits, second: None, output: to.probs.clone() };
        self.rows.bind(shape, vec![(self.map(), buffers)], [])
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

/// A batch that passes through the device window by window: see [`MapStream`].
pub type EntmaxStream<E> = MapStream<E>;
