//! Tokens drawn from the softmax of each row.

use std::fmt;

use crate::context::Context;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::kernel::passes::binding::sample;
use crate::kernel::passes::{self, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::rows::{RowArray, RowValues, ValuesOf, ValuesStream};
use crate::options::{SamplerOptions, Sampling, Step, StepOrder, Truncations, share_of_32_bits};
use crate::reference::sampling::{applies_xtc, half_min_p_gap};
use crate::request::Request;
use crate::results::Samples;
use crate::shape::Shape;

/// Draws tokens from each row: greedy, or from the softmax at a temperature, after truncations such as top-k, top-p and
/// min-p ([`Sampling`] has them all, with their definitions). Rows may differ in every value.
///
/// **Reproducible.** A draw is one random number of 64 bits, Philox 4×32-10 keyed by the row's seed and counter. It says at
/// which point of the cumulative sum of the weights, in the order of classes, the token is. Weights are the exponentials
/// e^((x − max) / T) in fixed point, so their sums are exact: neither the number of lanes nor the windows of a batch nor
/// the other rows change a token. Adapters differ only as far as their exponentials do. Greedy, top-k and min-p keep the
/// same classes everywhere.
///
/// **No sort of the vocabulary.** Without truncations a row is read twice. Top-k, top-p and typical sampling take 1 to 9 more
/// reads: few if few classes are left. A threshold (min-p, top-n-σ, epsilon, eta, XTC) takes none to three, and as many more
/// as top-k if it has to count classes, for `min_keep` or XTC.
///
/// | case | result |
/// | --- | --- |
/// | a logit is −∞ | its class is never drawn, and does not count as left |
/// | a logit is NaN or +∞, or all are −∞ | no token: [`NO_CLASS`](crate::NO_CLASS), with the reason in the flags |
/// | equal logits | the lowest index comes first |
/// | k above the number of classes, p ≥ 1 | nothing is left out |
///
/// ```no_run
/// use xent::{Context, Sampler, Sampling, Shape};
///
/// let gpu = Context::new().wait()?;
/// let sampler = Sampler::<f32>::new(&gpu, &Default::default())?;
/// let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
/// let nucleus = Sampling { temperature: 0.8, top_p: 0.9, seed: 42, ..Default::default() };
/// // The second row is greedy.
/// let rows = [nucleus, Sampling::greedy()];
/// let samples = sampler.sample(&logits, &rows, Shape::new(2, 3)).wait()?;
/// assert_eq!(samples.tokens[1], 1);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler<E: Element> {
    rows: RowValues<E>,
    options: SamplerOptions,
}

/// How tokens are drawn from a row, in the form that the kernel reads: see [`Sampler::record`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SamplingRecord {
    words: [u32; RECORD_WORDS],
}

/// As in `shaders/common/sampling_record.wgsl`.
const RECORD_WORDS: usize = 16;

/// The buffers of a bound [`Sampler`].
///
/// More fields may come: end a literal with `..SamplerBuffers::new(logits, samplings, tokens, log_probs, rows)`.
#[derive(Clone, Debug)]
pub struct SamplerBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// How tokens are drawn: a [`SamplingRecord`] for each row (rows,).
    pub samplings: wgpu::BufferBinding<'a>,
    /// Destination of the tokens: u32 (rows, samples).
    pub tokens: wgpu::BufferBinding<'a>,
    /// Destination of their log-probabilities: f32 (rows, samples, 2). The first is in the distribution that the token
    /// was drawn from, the second in the softmax of the untouched logits.
    pub log_probs: wgpu::BufferBinding<'a>,
    /// Destination of the number of classes that were left, and the row's [`Flags`]: u32 (rows, 2).
    pub rows: wgpu::BufferBinding<'a>,
}

impl<'a> SamplerBuffers<'a> {
    /// Logits (rows, cols) and records (rows,); and the destinations of tokens (rows, samples), of log-probabilities
    /// (rows, samples, 2), and of counts and flags (rows, 2).
    pub fn new(
        logits: wgpu::BufferBinding<'a>,
        samplings: wgpu::BufferBinding<'a>,
        tokens: wgpu::BufferBinding<'a>,
        log_probs: wgpu::BufferBinding<'a>,
        rows: wgpu::BufferBinding<'a>,
    ) -> Self {
        Self { logits, samplings, tokens, log_probs, rows }
    }
}

impl<E: Element> Sampler<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::DeviceLimit`].
    pub fn new(gpu: &Context, options: &SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowValues::new(gpu, values_of(options))?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. Another number of samples needs no new pipeline.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_options(&self, options: &SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowValues { of: values_of(options), ..self.rows.clone() }, options: *options })
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
    pub fn options(&self) -> &SamplerOptions {
        &self.options
    }

    /// The record of a row, for [`SamplerBuffers::samplings`]. Write a new one for each token of a request, because its
    /// counter must differ.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a value outside its range, or a truncation that this operation was built without.
    pub fn record(&self, sampling: &Sampling) -> Result<SamplingRecord> {
        record_of(sampling, &self.options)
    }

    /// Draws tokens from each row of logits (rows, cols). `samplings` has one value for each row, or one for all; then
    /// row r has the given counter plus r.
    ///
    /// # Errors
    /// [`Error::Length`], and [`Error::InvalidOption`] as for [`record`](Self::record), with the row; as for
    /// [`Softmax::softmax`](crate::Softmax::softmax).
    pub fn sample<'a>(
        &'a self,
        logits: &'a [E],
        samplings: &'a [Sampling],
        shape: Shape,
    ) -> Request<'a, Samples> {
        let waits = self.rows.engine.gpu.waits();
        Request::new(waits, move |wait| async move {
            shape.check()?;
            let records = self.records(samplings, 0, shape.rows)?;
            let arrays = self.rows.all_with(logits, &[bytemuck::cast_slice(&records)], shape, wait).await?;
            Ok(samples_of(self.options.samples, arrays))
        })
    }

    /// Opens a stream that takes a batch window by window, for batches that do not fit into memory: see
    /// [`SamplerStream`].
    ///
    /// # Errors
    /// What [`Shape::check`] refuses, [`Error::RowTooLarge`], [`Error::OutOfMemory`].
    pub fn stream(&self, shape: Shape) -> Result<SamplerStream<E>> {
        Ok(SamplerStream { windows: self.rows.stream(shape)?, op: self.clone() })
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
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &SamplerBuffers<'_>) -> Result<Bound> {
        let SamplerBuffers { logits, samplings, tokens, log_probs, rows } = to;
        self.rows.bind(shape, logits, &[samplings], &[tokens, log_probs, rows])
    }

    /// The records of some rows, the first of them row `first_row` of the batch.
    fn records(&self, samplings: &[Sampling], first_row: usize, rows: usize) -> Result<Vec<SamplingRecord>> {
        let at_row =
            |row: usize, sampling: &Sampling| self.record(sampling).map_err(|error| error.at_index(row));
        match samplings {
            [all] => {
                // Only the counter differs, and with it XTC's random number.
                self.record(all)?;
                let of_row = |row: usize| {
                    let counter = all.counter.wrapping_add((first_row + row) as u64);
                    self.record(&Sampling { counter, ..*all })
                };
                (0..rows).map(of_row).collect()
            }
            each if each.len() == rows => {
                each.iter().enumerate().map(|(row, sampling)| at_row(row, sampling)).collect()
            }
            each => Err(Error::Length { what: "samplings", found: each.len(), needed: rows }),
        }
    }
}

/// A batch that passes through the device window by window. The buffers are made once and take less than half a
/// gigabyte for any number of rows, unless a single row needs more.
pub struct SamplerStream<E: Element> {
    windows: ValuesStream<E>,
    op: Sampler<E>,
}

impl<E: Element> SamplerStream<E> {
    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.windows.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.windows.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows of logits (rows, cols), in the layout of the stream's shape, and draws their tokens.
    /// `samplings` has one value for each of these rows, or one for all; then row r of the whole batch has the given
    /// counter plus r. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::InvalidOption`]; [`Error::RowsExceedBound`] for more rows than a window or the
    /// stream's shape holds; whatever the device reports, and after that [`Error::StreamEnded`].
    pub fn push<'a>(
        &'a mut self,
        logits: &'a [E],
        samplings: &'a [Sampling],
        rows: usize,
    ) -> Request<'a, Samples> {
        let waits = self.windows.gpu().waits();
        Request::new(waits, move |wait| async move {
            self.windows.stream.check_rows(logits.into(), rows)?;
            let records = self.op.records(samplings, self.windows.stream.next_row(), rows)?;
            let arrays = self.windows.push(logits, &[bytemuck::cast_slice(&records)], rows, wait).await?;
            Ok(samples_of(self.op.options.samples, arrays))
        })
    }
}

impl<E: Element> fmt::Debug for SamplerStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamplerStream").field("window_rows", &self.window_rows()).finish_non_exhaustive()
    }
}

fn record_of(sampling: &Sampling, options: &SamplerOptions) -> Result<SamplingRecord> {
    sampling.check()?;
    let needed = "off, or among the truncations that the sampler was built with";
    let on = sampling.truncations();
    if let Some((name, _)) = (on - options.truncations).iter_names().next() {
        let (option, value) = match name {
            "TOP_K" => ("top_k", sampling.top_k as f64),
            "TOP_P" => ("top_p", sampling.top_p.into()),
            "MIN_P" => ("min_p", sampling.min_p.into()),
            "TYPICAL" => ("typical_p", sampling.typical_p.into()),
            "TOP_N_SIGMA" => ("top_n_sigma", sampling.top_n_sigma.into()),
            "EPSILON" => ("epsilon", sampling.epsilon.into()),
            "ETA" => ("eta", sampling.eta.into()),
            _ => ("xtc_probability", sampling.xtc_probability.into()),
        };
        return Err(Error::option(option, value, needed));
    }
    let on = if applies_xtc(sampling) { on } else { on - Truncations::XTC };
    let ln = |value: f32| (f64::from(value).ln() as f32).to_bits();
    let temperature = f64::from(options.order.truncation_temperature(sampling.temperature));
    let halves = |value: u64| [value as u32, (value >> 32) as u32];
    let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let mut words = [0; RECORD_WORDS];
    words[0] = on.bits();
    for step in options.order.steps().into_iter().filter(|&step| on.bits() >> step as u32 & 1 == 1) {
        words[step as usize] = match step {
            Step::TopNSigma => sampling.top_n_sigma.to_bits(),
            Step::TopK => count(sampling.top_k),
            Step::TopP => share_of_32_bits(sampling.top_p),
            Step::MinP => half_min_p_gap(temperature, sampling.min_p).to_bits(),
            Step::Typical => share_of_32_bits(sampling.typical_p),
            Step::Epsilon => ln(sampling.epsilon),
            Step::Eta => ln(sampling.eta),
            Step::Xtc => ln(sampling.xtc_threshold),
        };
    }
    words[9] = count(sampling.min_keep);
    words[10] = sampling.temperature.to_bits();
    words[11] = sampling.first_draw;
    words[12..14].copy_from_slice(&halves(sampling.counter));
    words[14..].copy_from_slice(&halves(sampling.seed));
    Ok(SamplingRecord { words })
}

/// The samples in the three arrays that the pass writes.
fn samples_of(samples: usize, arrays: Vec<Vec<u32>>) -> Samples {
    let mut arrays = arrays.into_iter();
    let mut next = || arrays.next().unwrap_or_default();
    let (tokens, log_probs, rows) = (next(), next(), next());
    let every_other =
        |words: &[u32], from: usize| -> Vec<u32> { words.iter().copied().skip(from).step_by(2).collect() };
    let floats = |from| every_other(&log_probs, from).into_iter().map(f32::from_bits).collect();
    Samples {
        samples,
        tokens,
        log_probs: floats(0),
        raw_log_probs: floats(1),
        kept: every_other(&rows, 0),
        flags: every_other(&rows, 1).into_iter().map(Flags::from_bits_truncate).collect(),
    }
}

/// What the pass needs with these options.
pub(crate) fn sampler_needs(options: &SamplerOptions) -> Needs {
    // A search collects classes twice, at most, before it takes four reads for its digits and two more to collect its
    // classes, or to find the last of those that are alike. Sums take one read.
    let (mut searches, mut sums) = (0, 1);
    for truncation in options.truncations {
        searches += 1;
        sums += match truncation {
            Truncations::TOP_K => 0,
            Truncations::TOP_P | Truncations::TYPICAL | Truncations::MIN_P => 1,
            Truncations::TOP_N_SIGMA => 3,
            _ => 2,
        };
    }
    let samples = options.samples as u64;
    Needs {
        row_words: RECORD_WORDS.max(2 * options.samples),
        // Sums of lanes, and counts.
        lane_bytes: 8 + 4,
        // The pool, the sums and the largest keys of blocks, and a few words.
        shared_bytes: (2048 + 512 + 256) * 4 + 48,
        is_alone: true,
        // Besides the two that the plan counts: the first class may be looked for twice. A draw reads one block of 256.
        further_reads: 8 * searches + sums + samples.div_ceil(128),
        // Emptying the pool five times; three times sorting 1,024 candidates and adding up their weights; twice ranking the
        // keys of 256 blocks and going through 512 packs; emptying the sums.
        fixed_iterations: searches * (5 * 2048 + 3 * 31_000 + 2 * 5_000) + sums * 512,
        // Looking for a digit among 256 four times, and at 256 blocks twice; adding up the blocks and the lanes; a draw.
        own_iterations: searches * 1_800 + sums * 512 + samples * 50,
    }
}

fn values_of(options: &SamplerOptions) -> ValuesOf {
    let samples = options.samples;
    let steps = options.order.steps().into_iter().enumerate();
    let order = steps.map(|(at, step)| (step as u32) << (4 * at)).sum();
    ValuesOf {
        pass: &passes::SAMPLE,
        inputs: vec![RowArray::new("samplings", sample::SAMPLINGS, RECORD_WORDS)],
        arrays: vec![
            RowArray::new("tokens", sample::TOKENS, samples),
            RowArray::new("log_probs", sample::LOG_PROBS, 2 * samples),
            RowArray::new("rows", sample::ROWS, 2),
        ],
        splits: false,
        needs: sampler_needs(options),
        constants: vec![
            (constant::SAMPLING_ORDER, order),
            (constant::SAMPLING_STEPS, options.truncations.bits()),
            (constant::TRUNCATES, u32::from(!options.truncations.is_empty())),
            (constant::TRUNCATES_FIRST, u32::from(options.order == StepOrder::LlamaCpp)),
        ],
        params: Params { entries: samples as u32, ..Params::default() },
    }
}
