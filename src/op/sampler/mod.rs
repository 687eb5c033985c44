//! Tokens drawn from the softmax of each row.

mod pass;
mod record;
mod stream;

use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::Tuning;
use crate::op::Bound;
use crate::op::rows::RowValues;
use crate::options::{SamplerOptions, Sampling, ScoreChanges, ScoreRecords};
use crate::request::Request;
use crate::results::Samples;
use crate::shape::Shape;

#[cfg(test)]
pub(crate) use pass::sampler_needs;
use pass::{values_of, values_of_changed};
pub use record::SamplingRecord;
pub(crate) use record::{RECORD_WORDS, records_of};
use record::{record_of, samples_of};
pub use stream::SamplerStream;

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
/// **Bias, penalties and masks** ([`ScoreChanges`]) change a row's scores before all other steps:
/// [`sample_changed`](Self::sample_changed). They take three dispatches: the first writes a copy of the logits in f32 with these
/// changes, the second draws from it, the third gives the log-probabilities in the untouched logits.
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
    /// Destination of the number of classes that were left, and the row's [`Flags`](crate::Flags): u32 (rows, 2).
    pub rows: wgpu::BufferBinding<'a>,
    /// What changes the scores of each row: the words of [`ScoreRecords`] (rows, row_words), and how many a row has.
    /// The operation then keeps a copy of the logits in f32.
    pub changes: Option<(wgpu::BufferBinding<'a>, usize)>,
}

impl<'a> SamplerBuffers<'a> {
    /// Logits (rows, cols) and records (rows,); and the destinations of tokens (rows, samples), of log-probabilities
    /// (rows, samples, 2), and of counts and flags (rows, 2). No changes.
    pub fn new(
        logits: wgpu::BufferBinding<'a>,
        samplings: wgpu::BufferBinding<'a>,
        tokens: wgpu::BufferBinding<'a>,
        log_probs: wgpu::BufferBinding<'a>,
        rows: wgpu::BufferBinding<'a>,
    ) -> Self {
        Self { logits, samplings, tokens, log_probs, rows, changes: None }
    }
}

impl<E: Element> Sampler<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowValues::new(gpu, values_of(options))?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. Another number of samples needs no new pipeline.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &SamplerOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowValues { of: values_of(options), ..self.rows.clone() }, options: *options })
    }

    /// Uses this tuning instead of the one that the plan would choose. A workgroup takes one row, whatever the tuning
    /// says.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
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
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a value outside its range, or a truncation that this operation was built without.
    pub fn record(&self, sampling: &Sampling) -> Result<SamplingRecord> {
        record_of(sampling, &self.options)
    }

    /// Draws tokens from each row of logits (rows, cols). `samplings` has one value for each row, or one for all; then
    /// row r has the given counter plus r.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length), and [`Error::InvalidOption`](crate::Error::InvalidOption) as for [`record`](Self::record), with the row; as for
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

    /// Like [`sample`](Self::sample), after a bias, penalties and a mask: `changes` has one value for each row, or one for
    /// all. The raw log-probabilities are those of the untouched logits.
    ///
    /// # Errors
    /// As for [`sample`](Self::sample); [`Error::Length`](crate::Error::Length), and [`Error::InvalidOption`](crate::Error::InvalidOption) as for [`ScoreChanges::check`],
    /// with the row.
    ///
    /// ```no_run
    /// use xent::{Context, Sampler, Sampling, ScoreChanges, Shape};
    ///
    /// # fn main() -> xent::Result<()> {
    /// let gpu = Context::new().wait()?;
    /// let sampler = Sampler::<f32>::new(&gpu, &Default::default())?;
    /// let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
    /// // The first row has generated class 0 twice; the second may only take classes 0 and 2.
    /// let changes = [
    ///     ScoreChanges { output: &[0, 0], frequency_penalty: 0.7, ..Default::default() },
    ///     ScoreChanges { allowed: Some(&[0b101]), ..Default::default() },
    /// ];
    /// let samples = sampler.sample_changed(&logits, &[Sampling::greedy()], &changes, Shape::new(2, 3)).wait()?;
    /// assert_eq!(samples.tokens, [1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sample_changed<'a>(
        &'a self,
        logits: &'a [E],
        samplings: &'a [Sampling],
        changes: &'a [ScoreChanges<'a>],
        shape: Shape,
    ) -> Request<'a, Samples> {
        let waits = self.rows.engine.gpu.waits();
        Request::new(waits, move |wait| async move {
            shape.check()?;
            let records = self.records(samplings, 0, shape.rows)?;
            let changes = ScoreRecords::of(changes, shape.rows, shape.cols)?;
            let inputs = [bytemuck::cast_slice(&records), &changes.words[..]];
            let arrays = self.changed(changes.row_words).all_with(logits, &inputs, shape, wait).await?;
            Ok(samples_of(self.options.samples, arrays))
        })
    }

    /// The operation on logits that are changed by records of this many words.
    fn changed(&self, row_words: usize) -> RowValues<E> {
        RowValues { of: values_of_changed(&self.options, row_words), ..self.rows.clone() }
    }

    /// Opens a stream that takes a batch window by window, for batches that do not fit into memory: see
    /// [`SamplerStream`].
    ///
    /// # Errors
    /// What [`Shape::check`] refuses, [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
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
        let SamplerBuffers { logits, samplings, tokens, log_probs, rows, changes } = to;
        let outputs = [tokens, log_probs, rows];
        match changes {
            None => self.rows.bind(shape, logits, &[samplings], &outputs),
            Some((changes, row_words)) => {
                self.changed(*row_words).bind(shape, logits, &[samplings, changes], &outputs)
            }
        }
    }

    /// The records of some rows, the first of them row `first_row` of the batch.
    fn records(&self, samplings: &[Sampling], first_row: usize, rows: usize) -> Result<Vec<SamplingRecord>> {
        let of_first = |all: &Sampling| {
            let counter = all.counter.wrapping_add(first_row as u64);
            [Sampling { counter, ..*all }]
        };
        match samplings {
            [all] => records_of(&of_first(all), rows, 1, &self.options),
            each => records_of(each, rows, 1, &self.options),
        }
    }
}
