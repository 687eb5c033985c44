//! Softmax and log-softmax.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::passes::{self, Output, Pass, Target, binding, constant};
use crate::kernel::{Params, Tuning, Work};
use crate::op::buffers::{self, Need};
use crate::op::engine::{Array, Engine, LogitsCall};
use crate::op::pool::Pool;
use crate::op::stream::{Back, Extras, Flight, Part, Start, Stream, clear_padding, through, windows};
use crate::op::verify::Verification;
use crate::op::{Bound, loss_bound, prob_bound};
use crate::options::{HALVED_FROM, MaskedRow, SoftmaxOptions};
use crate::reference;
use crate::shape::Shape;

/// Softmax and log-softmax of rows of logits, stable: the row's maximum is taken off before the exponential.
///
/// `softmax_j = exp(x_j − m) / Σ exp(x − m)` and `log_softmax_j = (x_j − m) − ln Σ exp(x − m)` with `m = max x`.
/// Two reads of the logits (the second from cache where a row fits there) and one write.
///
/// ```no_run
/// use xent::{Context, Shape, Softmax};
///
/// let gpu = Context::new_blocking()?;
/// let softmax = Softmax::<f32>::new(&gpu, &Default::default())?;
/// let probs = softmax.softmax(&gpu, &[2.0, 1.0, 0.5, -1.0], Shape::new(1, 4))?;
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Softmax<E: Element> {
    engine: Engine<E>,
    options: SoftmaxOptions,
    pool: Pool,
}

/// The buffers of a bound [`Softmax`]: at least one output. Outputs are laid out as the logits are, `row_stride`
/// included; padding is not written.
#[derive(Clone, Debug)]
pub struct SoftmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Where probabilities go (rows, cols).
    pub probs: Option<wgpu::BufferBinding<'a>>,
    /// Where log-probabilities go (rows, cols), in nats.
    pub log_probs: Option<wgpu::BufferBinding<'a>>,
}

impl<E: Element> Softmax<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &SoftmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, options: *options, pool: Pool::default() })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.engine.tuning = Some(tuning);
        self
    }

    /// The same, on the same pipelines, with other options: another temperature makes nothing anew (one above 2^100, which
    /// has pipelines of its own, on first use).
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_options(&self, options: &SoftmaxOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// Probabilities (rows, cols) of logits (rows, cols), laid out alike; padding columns are 0. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`] and what [`Shape::check`] refuses; [`Error::RowTooLarge`]; whatever the device reports.
    pub fn softmax(&self, gpu: &Context, logits: &[E], shape: Shape) -> Result<Vec<E>> {
        pollster::block_on(self.all(gpu, logits, shape, false, Wait::blocking(gpu)))
    }

    /// [`softmax`](Self::softmax), async: natively somebody else must poll the device (a thread in
    /// [`wgpu::Device::poll`]); in a browser, the browser does.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub async fn softmax_async(&self, gpu: &Context, logits: &[E], shape: Shape) -> Result<Vec<E>> {
        self.all(gpu, logits, shape, false, Wait::Elsewhere).await
    }

    /// [`softmax`](Self::softmax) into a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax); [`Error::Length`] of the slice, before any work.
    pub fn softmax_into(&self, gpu: &Context, logits: &[E], shape: Shape, probs: &mut [E]) -> Result<()> {
        pollster::block_on(self.into(gpu, logits, shape, false, probs, Wait::blocking(gpu)))
    }

    /// [`softmax_into`](Self::softmax_into), async, as [`softmax_async`](Self::softmax_async).
    ///
    /// # Errors
    /// As [`softmax_into`](Self::softmax_into).
    pub async fn softmax_into_async(
        &self,
        gpu: &Context,
        logits: &[E],
        shape: Shape,
        probs: &mut [E],
    ) -> Result<()> {
        self.into(gpu, logits, shape, false, probs, Wait::Elsewhere).await
    }

    /// Log-probabilities (rows, cols) in nats of logits (rows, cols), laid out alike; padding columns are 0. Blocks.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub fn log_softmax(&self, gpu: &Context, logits: &[E], shape: Shape) -> Result<Vec<E>> {
        pollster::block_on(self.all(gpu, logits, shape, true, Wait::blocking(gpu)))
    }

    /// [`log_softmax`](Self::log_softmax), async, as [`softmax_async`](Self::softmax_async).
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub async fn log_softmax_async(&self, gpu: &Context, logits: &[E], shape: Shape) -> Result<Vec<E>> {
        self.all(gpu, logits, shape, true, Wait::Elsewhere).await
    }

    /// [`log_softmax`](Self::log_softmax) into a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax); [`Error::Length`] of the slice, before any work.
    pub fn log_softmax_into(
        &self,
        gpu: &Context,
        logits: &[E],
        shape: Shape,
        log_probs: &mut [E],
    ) -> Result<()> {
        pollster::block_on(self.into(gpu, logits, shape, true, log_probs, Wait::blocking(gpu)))
    }

    /// [`log_softmax_into`](Self::log_softmax_into), async, as [`softmax_async`](Self::softmax_async).
    ///
    /// # Errors
    /// As [`log_softmax_into`](Self::log_softmax_into).
    pub async fn log_softmax_into_async(
        &self,
        gpu: &Context,
        logits: &[E],
        shape: Shape,
        log_probs: &mut [E],
    ) -> Result<()> {
        self.into(gpu, logits, shape, true, log_probs, Wait::Elsewhere).await
    }

    /// Device memory that the last host call left to the next, in bytes: of this operation and its copies, one set of
    /// buffers at most, those of two windows. A second call at the same time makes its own; a call that fails leaves none.
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Frees it.
    pub fn free_idle_buffers(&self) {
        drop(self.pool.take());
    }

    /// Checks the probabilities of `rows` rows of this very batch, evenly spread, against the f64 [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub fn verify(&self, gpu: &Context, logits: &[E], shape: Shape, rows: usize) -> Result<Verification> {
        let probs = self.softmax(gpu, logits, shape)?;
        Ok(compare_rows(logits, &probs, shape, rows, |row| {
            reference::softmax_row(row, &self.options).into_iter().map(|p| (p, prob_bound(p))).collect()
        }))
    }

    /// The same for log-probabilities.
    ///
    /// # Errors
    /// As [`softmax`](Self::softmax).
    pub fn verify_log(&self, gpu: &Context, logits: &[E], shape: Shape, rows: usize) -> Result<Verification> {
        let log_probs = self.log_softmax(gpu, logits, shape)?;
        Ok(compare_rows(logits, &log_probs, shape, rows, |row| {
            reference::log_softmax_row(row, &self.options).into_iter().map(|p| (p, loss_bound(p))).collect()
        }))
    }

    /// Takes a batch window by window, for batches that do not fit into memory: see [`SoftmaxStream`].
    /// `log` asks for log-probabilities.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses, [`Error::RowTooLarge`], [`Error::OtherDevice`], [`Error::OutOfMemory`].
    pub fn stream(&self, gpu: &Context, shape: Shape, log: bool) -> Result<SoftmaxStream<E>> {
        let stream = Stream::new(&self.engine, gpu, shape, Self::extras(shape))?;
        Ok(self.stream_over(gpu, stream, shape, log))
    }

    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`], [`Error::BufferTooSmall`], [`Error::BufferOffset`],
    /// [`Error::BufferUsage`], [`Error::BufferAlias`]; of 16-bit logits [`Error::OddStride`], [`Error::PackedLayout`];
    /// [`Error::RowTooLarge`], [`Error::TooManyRows`]; [`Error::OtherDevice`]; whatever the device reports.
    pub fn bind(&self, shape: Shape, to: &SoftmaxBuffers<'_>) -> Result<Bound> {
        let plan =
            self.engine.resident_plan(Work { writes: true, splits: true, ..self.engine.work(shape) })?;
        let value_bytes = Engine::<E>::ELEMENT_BYTES;
        let bytes = plan.logits_bytes(shape.rows);
        let output = || Need { bytes, alignment: 4 };
        let logits = buffers::read("logits", &to.logits, Need { bytes, alignment: value_bytes })?;
        let probs = buffers::write_if("probs", to.probs.as_ref(), output())?;
        let log_probs = buffers::write_if("log_probs", to.log_probs.as_ref(), output())?;
        if probs.is_none() && log_probs.is_none() {
            return Err(Error::NoOutput { options: "probs, log_probs" });
        }
        for (what, output) in [("probs", &probs), ("log_probs", &log_probs)] {
            if output.is_some() {
                buffers::check_words(what, shape, value_bytes)?;
            }
        }
        buffers::check_aliases(std::iter::once(&logits).chain(&probs).chain(&log_probs))?;

        let op = self.clone();
        Bound::new(shape, move |rows| {
            let mut dispatches = Vec::new();
            for (output, log) in [(&probs, false), (&log_probs, true)] {
                let Some(output) = output else { continue };
                let arrays = [
                    Array { number: binding::LOGITS, binding: &logits.binding, value_bytes },
                    Array { number: binding::OUTPUT, binding: &output.binding, value_bytes },
                ];
                let (params, constants) = (op.params(shape), op.constants());
                let call = op.call(log, Output::Element, &params, &constants);
                dispatches.extend(op.engine.resident_dispatches(&plan, rows, &call, &arrays)?);
            }
            Ok(dispatches)
        })
    }

    fn call<'a>(
        &self,
        log: bool,
        output: Output,
        params: &'a Params,
        constants: &'a [(&'static str, u32)],
    ) -> LogitsCall<'a> {
        let pass: &'static Pass = if log { &passes::LOG_SOFTMAX } else { &passes::SOFTMAX };
        LogitsCall { pass, variant: self.engine.variant(output, Target::None), constants, params, rest: &[] }
    }

    fn params(&self, shape: Shape) -> Params {
        Params::of(shape).with_temperature(self.options.temperature).with_softcap(self.options.softcap)
    }

    fn constants(&self) -> [(&'static str, u32); 3] {
        [
            (constant::MASKED_ROW_ZERO, u32::from(self.options.masked_row == MaskedRow::Zero)),
            (constant::SOFTCAP, u32::from(self.options.softcap.is_some())),
            (constant::HALVE_DIFFERENCES, u32::from(self.options.temperature > HALVED_FROM)),
        ]
    }

    fn extras(shape: Shape) -> Extras {
        Extras { output: Some(Self::output(shape)), splits: true, ..Default::default() }
    }

    /// 16-bit values of rows side by side share words: they are written as f32, and rounded on their way back.
    fn output(shape: Shape) -> Output {
        if shape.inner > 1 { Output::F32 } else { Output::Element }
    }

    fn stream_over(&self, gpu: &Context, stream: Stream<E>, shape: Shape, log: bool) -> SoftmaxStream<E> {
        SoftmaxStream { op: self.clone(), gpu: gpu.clone(), stream, log, output: Self::output(shape) }
    }

    async fn all(&self, gpu: &Context, logits: &[E], shape: Shape, log: bool, wait: Wait) -> Result<Vec<E>> {
        shape.check_slice("logits", logits)?;
        let mut output = vec![E::default(); shape.len()];
        self.into(gpu, logits, shape, log, &mut output, wait).await?;
        Ok(output)
    }

    async fn into(
        &self,
        gpu: &Context,
        logits: &[E],
        shape: Shape,
        log: bool,
        output: &mut [E],
        wait: Wait,
    ) -> Result<()> {
        shape.check_slice("logits", logits)?;
        shape.check_slice(output_name(log), output)?;
        let stream = Stream::pooled(&self.engine, gpu, shape, Self::extras(shape), &self.pool)?;
        let mut stream = self.stream_over(gpu, stream, shape, log);
        let parts = windows(shape, stream.window_rows());
        let submit =
            |stream: &mut SoftmaxStream<E>, (rows, values): Part| stream.submit(&logits[values], rows.len());
        let read = |stream: &mut SoftmaxStream<E>, back: Back, (_, values): Part| {
            stream.read(back, &mut output[values])
        };
        through(&mut stream, parts, wait, submit, read).await?;
        self.pool.put(stream.stream.into_idle());
        clear_padding(output, shape);
        Ok(())
    }
}

fn output_name(log: bool) -> &'static str {
    if log { "log_probs" } else { "probs" }
}

/// A batch that passes through the device window by window, in buffers made once: less than half a gigabyte however
/// many rows come (unless one row alone needs more).
pub struct SoftmaxStream<E: Element> {
    op: Softmax<E>,
    gpu: Context,
    stream: Stream<E>,
    log: bool,
    output: Output,
}

impl<E: Element> SoftmaxStream<E> {
    /// For windows of which one is given to the device while the one before is under way: see
    /// [`submit`](Self::submit) and [`read`](Self::read).
    pub(crate) fn ahead(
        op: &Softmax<E>,
        gpu: &Context,
        shape: Shape,
        log: bool,
        start: Start,
    ) -> Result<Self> {
        let stream = Stream::ahead(&op.engine, gpu, shape, Softmax::<E>::extras(shape), start)?;
        Ok(op.stream_over(gpu, stream, shape, log))
    }

    /// The most rows of one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.stream.buffer_bytes()
    }

    /// The next `rows` rows: logits in, probabilities (or log-probabilities) out, both (rows, cols) laid out by the
    /// stream's shape. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::RowsExceedBound`] beyond a window or the stream's shape; whatever the device reports,
    /// and then [`Error::StreamEnded`].
    pub fn push(&mut self, logits: &[E], rows: usize, output: &mut [E]) -> Result<()> {
        let wait = Wait::blocking(&self.gpu);
        pollster::block_on(self.push_with(logits, rows, output, wait))
    }

    async fn push_with(&mut self, logits: &[E], rows: usize, output: &mut [E], wait: Wait) -> Result<()> {
        self.stream.check_output(output_name(self.log), output, rows)?;
        if rows == 0 {
            return self.stream.check_rows(logits, rows);
        }
        let back = self.submit(logits, rows)?.land(wait).await?;
        self.read(back, output)
    }

    pub(crate) fn submit(&mut self, logits: &[E], rows: usize) -> Result<Flight> {
        let filling = self.stream.open(logits, rows, true)?;
        let (params, constants) = (self.op.params(self.stream.device_shape()), self.op.constants());
        let call = self.op.call(self.log, self.output, &params, &constants);
        let dispatches = self.stream.dispatches(&self.op.engine, &filling, &call)?;
        self.stream.submit("xent::softmax", filling, &dispatches)
    }

    pub(crate) fn read(&mut self, back: Back, output: &mut [E]) -> Result<()> {
        self.stream.read_output(&back, output)?;
        self.stream.close(back);
        Ok(())
    }
}

/// Compares rows of a result with what the reference gives for them, and by how much that may be missed.
fn compare_rows<E: Element>(
    logits: &[E],
    values: &[E],
    shape: Shape,
    rows: usize,
    expected: impl Fn(&[E]) -> Vec<(f64, f64)>,
) -> Verification {
    let mut verification = Verification::new();
    for row in Verification::sample(shape.rows, rows) {
        let expected = expected(&shape.row_vec(logits, row));
        for (&value, (expected, bound)) in shape.row(values, row).zip(expected) {
            verification.compare_rounded(row, value, expected, bound);
        }
    }
    verification
}
