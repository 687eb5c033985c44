//! The largest classes of a row.

use std::fmt;

use crate::coded::Logits;
use crate::context::Context;
use crate::device::{Profile, Wait};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{self, binding, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::rows::{RowArray, RowValues, ValuesOf, ValuesStream, stats_switches};
use crate::op::stream::{Back, Flight, Start};
use crate::options::{HALVED_FROM, MaskedRow, SoftmaxOptions, TopKOptions, TopValues};
use crate::request::Request;
use crate::results::TopClasses;
use crate::shape::Shape;

/// The k largest classes of each row with their probabilities, log-probabilities or logits: sorted, the lowest index first
/// among equals. Reads an ordinary row once and the parts with its largest classes again, and sorts only the few classes that
/// may be among the k. If these are more than 512, because values are equal or very close or k is a few hundred, a search reads
/// the row up to five more times, with the same answer. Rows of up to 8,192 classes with a k of up to 8 are read twice, or, if
/// many values are equal, up to k times more.
///
/// | case | result |
/// | --- | --- |
/// | a logit is NaN | it comes first, whatever its sign; every probability of the row is NaN |
/// | a logit is −∞ | it comes last, with probability 0 |
/// | a logit is +∞ | it comes after NaN; every probability of the row is NaN |
/// | every logit is −∞ | the first k indices; values by [`MaskedRow`] |
/// | k is above the number of classes | [`Error::TooFewClasses`] |
///
/// The result is what [`Targets::Sparse`](crate::Targets::Sparse) takes, up to
/// [`MAX_SPARSE_ENTRIES`](crate::MAX_SPARSE_ENTRIES) classes a row: the targets of a distillation from a teacher's k largest
/// classes.
///
/// ```no_run
/// use xent::{Context, CrossEntropy, Shape, TopK, TopKOptions};
///
/// let gpu = Context::new().wait()?;
/// let (teacher, student) = ([2.0, 1.0, 0.5, 0.1, 3.0, 0.2], [1.5, 1.0, 0.5, 0.1, 2.0, 1.2]);
/// let shape = Shape::new(2, 3);
/// let top = TopK::<f32>::new(&gpu, &TopKOptions { renormalize: true, ..TopKOptions::new(2) })?;
/// let classes = top.top_k(&teacher, shape).wait()?;
/// assert_eq!(classes.indices, [0, 1, 1, 2]);
/// let loss = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
/// let (loss, dlogits) = loss.loss_and_dlogits(&student, classes.targets(), shape).wait()?;
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TopK<E: Element> {
    rows: RowValues<E>,
    options: TopKOptions,
}

/// The buffers of a bound [`TopK`].
///
/// More fields may come: end a literal with `..TopKBuffers::new(logits, indices, values)`.
#[derive(Clone, Debug)]
pub struct TopKBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Destination of the class indices: u32 or i32 (rows, k).
    pub indices: wgpu::BufferBinding<'a>,
    /// Destination of their values: f32 (rows, k).
    pub values: wgpu::BufferBinding<'a>,
}

impl<'a> TopKBuffers<'a> {
    /// Logits (rows, cols), and the destinations of indices and values (rows, k).
    pub fn new(
        logits: wgpu::BufferBinding<'a>,
        indices: wgpu::BufferBinding<'a>,
        values: wgpu::BufferBinding<'a>,
    ) -> Self {
        Self { logits, indices, values }
    }
}

impl<E: Element> TopK<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &TopKOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowValues::new(gpu, values_of(options, false))?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. Another k or temperature needs no new pipeline.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_options(&self, options: &TopKOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowValues { of: values_of(options, false), ..self.rows.clone() }, options: *options })
    }

    /// Uses this tuning instead of the one that the plan would choose. A workgroup takes one row, whatever the tuning
    /// says.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a tuning that the device cannot run.
    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// The options of this operation.
    pub fn options(&self) -> &TopKOptions {
        &self.options
    }

    /// The k largest classes of each row of logits (rows, cols).
    ///
    /// # Errors
    /// [`Error::TooFewClasses`]; as for [`Softmax::softmax`](crate::Softmax::softmax).
    pub fn top_k<'a>(&'a self, logits: &'a [E], shape: Shape) -> Request<'a, TopClasses> {
        let waits = self.rows.engine.gpu.waits();
        Request::new(waits, move |wait| async move {
            self.check(shape)?;
            Ok(top_classes(self.options.k, self.rows_of(shape).all(logits, shape, wait).await?))
        })
    }

    /// Opens a stream that takes a batch window by window, for batches that do not fit into memory: see
    /// [`TopKStream`].
    ///
    /// # Errors
    /// [`Error::TooFewClasses`]; what [`Shape::check`] refuses, [`Error::RowTooLarge`], [`Error::OutOfMemory`].
    pub fn stream(&self, shape: Shape) -> Result<TopKStream<E>> {
        self.check(shape)?;
        Ok(TopKStream { windows: self.rows_of(shape).stream(shape)?, k: self.options.k })
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

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// [`Error::TooFewClasses`]; as for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &TopKBuffers<'_>) -> Result<Bound> {
        self.check(shape)?;
        self.rows_of(shape).bind(shape, &to.logits, &[], &[&to.indices, &to.values])
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.rows.engine.profile
    }

    /// How a request waits on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        self.rows.engine.gpu.blocking()
    }

    /// What runs for rows of this length.
    fn rows_of(&self, shape: Shape) -> RowValues<E> {
        let is_short = self.options.k <= SHORT_K && shape.cols <= SHORT_COLS;
        RowValues { of: values_of(&self.options, is_short), ..self.rows.clone() }
    }

    fn check(&self, shape: Shape) -> Result<()> {
        shape.check()?;
        let (k, cols) = (self.options.k, shape.cols);
        if k <= cols { Ok(()) } else { Err(Error::TooFewClasses { k, cols }) }
    }
}

/// A batch that passes through the device window by window. The buffers are made once and take less than half a
/// gigabyte for any number of rows, unless a single row needs more.
pub struct TopKStream<E: Element> {
    windows: ValuesStream<E>,
    k: usize,
}

impl<E: Element> TopKStream<E> {
    /// A stream for two windows in flight: one is submitted while the device still works on the one before. See
    /// [`submit`](Self::submit) and [`read`](Self::read).
    pub(crate) fn ahead(op: &TopK<E>, shape: Shape, start: Start) -> Result<Self> {
        op.check(shape)?;
        Ok(Self { windows: op.rows_of(shape).ahead(shape, start)?, k: op.options.k })
    }

    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.windows.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.windows.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows of logits (rows, cols), in the layout of the stream's shape, and returns their
    /// largest classes. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::RowsExceedBound`] for more rows than a window or the stream's shape holds; whatever
    /// the device reports, and after that [`Error::StreamEnded`].
    pub fn push<'a>(&'a mut self, logits: &'a [E], rows: usize) -> Request<'a, TopClasses> {
        let waits = self.windows.gpu().waits();
        Request::new(waits, move |wait| async move {
            Ok(top_classes(self.k, self.windows.push(logits, &[], rows, wait).await?))
        })
    }

    pub(crate) fn submit(&mut self, logits: Logits<'_, E>, rows: usize) -> Result<Flight> {
        self.windows.submit(logits, &[], rows)
    }

    pub(crate) fn read(&mut self, back: Back, rows: usize) -> Result<TopClasses> {
        Ok(top_classes(self.k, self.windows.read(back, rows)?))
    }
}

impl<E: Element> fmt::Debug for TopKStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopKStream").field("window_rows", &self.window_rows()).finish_non_exhaustive()
    }
}

/// The classes in the two arrays that the pass writes.
fn top_classes(k: usize, arrays: Vec<Vec<u32>>) -> TopClasses {
    let mut arrays = arrays.into_iter();
    let mut next = || arrays.next().unwrap_or_default().into_iter();
    TopClasses {
        k,
        indices: next().map(|index| index as i32).collect(),
        values: next().map(f32::from_bits).collect(),
    }
}

/// The rows of which a workgroup takes several: up to this many classes are found in rows of up to this length.
const SHORT_K: usize = 8;
const SHORT_COLS: usize = 8192;

/// What the pass over short rows needs.
pub(crate) fn top_k_rows_needs() -> Needs {
    Needs {
        row_words: SHORT_K,
        // A head, and the length of a list.
        lane_bytes: 8 + 4,
        // The pool of tops and candidates, and whether a list has no room.
        shared_bytes: 2048 * 4 + 8,
        is_alone: false,
        // Besides the two that the plan counts: one for each class if a list has no room.
        further_reads: SHORT_K as u64,
        // Comparing 64 candidates with one another.
        fixed_iterations: 64 * 64,
        // Three times a lane's blocks; twice the heads of all lanes for each class.
        own_iterations: 3 * 32 + 2 * SHORT_K as u64 * 1024,
    }
}

/// What the search needs with k classes a row.
pub(crate) fn top_k_needs(k: usize) -> Needs {
    let blocks = (8 * k as u64).next_power_of_two().clamp(256, 1024);
    Needs {
        row_words: k,
        // Its count of keys, and the pool.
        lane_bytes: 4,
        shared_bytes: 2048 * 4 + 32,
        is_alone: true,
        // Besides the two that the plan counts. Reading blocks again takes a fifth more iterations than packs.
        further_reads: 6,
        // Emptying and searching the pool four times, comparing 256 candidates with one another (or sorting 1,024), and writing
        // k of them; emptying, listing and searching the tops of blocks.
        fixed_iterations: 20_000 + 256 * 256 + 26 * blocks,
        own_iterations: 0,
    }
}

/// The operation, over short rows or over any.
fn values_of(options: &TopKOptions, is_short: bool) -> ValuesOf {
    let SoftmaxOptions { masked_row, temperature, softcap } = options.softmax;
    let mut constants = stats_switches(&[
        (constant::MASKED_ROW_ZERO, masked_row == MaskedRow::Zero),
        (constant::SOFTCAP, softcap.is_some()),
        (constant::HALVE_DIFFERENCES, temperature > HALVED_FROM),
    ]);
    let values = match options.values {
        TopValues::Logits => 0,
        TopValues::LogProbs => 1,
        TopValues::Probs => 2,
    };
    let renormalize = u32::from(options.renormalize);
    constants.extend([(constant::TOP_VALUES, values), (constant::RENORMALIZE, renormalize)]);
    let params = Params { entries: options.k as u32, ..Params::default() };
    ValuesOf {
        pass: if is_short { &passes::TOP_K_ROWS } else { &passes::TOP_K },
        logits: "logits",
        inputs: vec![],
        arrays: vec![
            RowArray::new("indices", binding::ROW_VALUES, options.k),
            RowArray::new("values", binding::MORE_ROW_VALUES, options.k),
        ],
        splits: false,
        needs: if is_short { top_k_rows_needs() } else { top_k_needs(options.k) },
        constants,
        params: params.with_temperature(temperature).with_softcap(softcap),
        around: None,
    }
}
