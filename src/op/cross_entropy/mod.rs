//! Cross-entropy of logits against targets: loss and gradient.

mod bind;
mod loss;
mod stream;

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::kernel::Tuning;
use crate::kernel::passes::Output;
use crate::op::engine::Engine;
use crate::op::pool::Pool;
use crate::op::stream::{Back, Part, clear_padding, through, windows};
use crate::op::verify::{Verification, gradient_bound};
use crate::options::{CrossEntropyOptions, SoftmaxOptions};
use crate::reference;
use crate::shape::Shape;
use crate::targets::TargetKind;

pub use bind::{CrossEntropyBuffers, TargetBuffers};
pub(crate) use loss::LossSum;
pub use loss::{Loss, LossRecord, NO_CLASS, RowResult};
pub use stream::CrossEntropyStream;

/// Cross-entropy of logits against targets, as PyTorch's `F.cross_entropy`: softmax, logarithm and mean in one read of
/// the logits, and the gradient in a second.
///
/// With `m = max x` and `z = Σ exp(x − m)`, a row's loss is `ln z + (m − x_y)` nats for target class y, and its
/// gradient `(p − y) · weight / denominator` with `p = exp(x − m) / z`: prediction minus target.
///
/// ```no_run
/// use xent::{Context, CrossEntropy, Shape, Targets};
///
/// let gpu = Context::new_blocking()?;
/// let op = CrossEntropy::<f32>::new(&gpu, &Default::default())?;
/// let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
/// let loss = op.loss(&gpu, &logits, Targets::Classes(&[0, 1]), Shape::new(2, 3))?;
/// assert!((loss.value - 0.2870).abs() < 1e-4);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CrossEntropy<E: Element> {
    engine: Engine<E>,
    options: CrossEntropyOptions,
    pool: Pool,
}

impl<E: Element> CrossEntropy<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &CrossEntropyOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, options: *options, pool: Pool::default() })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.engine.tuning = Some(tuning);
        self
    }

    /// The options it was built with.
    pub fn options(&self) -> &CrossEntropyOptions {
        &self.options
    }

    /// The same, on the same pipelines, with other options: other values make nothing anew, other switches (an option
    /// on that was off) their pipelines when first used.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &CrossEntropyOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// The loss of logits (rows, cols) against targets: one read of the logits. Blocks. `inputs` are
    /// [`Targets`](crate::Targets), or [`CrossEntropyInputs`] where more is given than those.
    ///
    /// # Errors
    /// What [`CrossEntropyInputs::check`] refuses, before any work; [`Error::Length`](crate::Error::Length);
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::GroupTooLarge`](crate::Error::GroupTooLarge);
    /// [`Error::NoRowCounts`](crate::Error::NoRowCounts) by [`EmptyBatch`](crate::EmptyBatch); whatever the device
    /// reports.
    pub fn loss<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<Loss> {
        pollster::block_on(self.reduced(gpu, logits, inputs.into(), shape, Wait::blocking(gpu)))
    }

    /// [`loss`](Self::loss), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<Loss> {
        self.reduced(gpu, logits, inputs.into(), shape, Wait::Elsewhere).await
    }

    /// The loss, and its gradient (rows, cols) laid out as the logits are, in their type; padding columns are 0. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_dlogits<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<(Loss, Vec<E>)> {
        pollster::block_on(self.all_with_dlogits(gpu, logits, inputs.into(), shape, Wait::blocking(gpu)))
    }

    /// The same with the gradient in f32, whatever the logits' type. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_dlogits_f32<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<(Loss, Vec<f32>)> {
        pollster::block_on(self.all_with_dlogits(gpu, logits, inputs.into(), shape, Wait::blocking(gpu)))
    }

    /// [`loss_and_dlogits`](Self::loss_and_dlogits), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_and_dlogits_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<(Loss, Vec<E>)> {
        self.all_with_dlogits(gpu, logits, inputs.into(), shape, Wait::Elsewhere).await
    }

    /// [`loss_and_dlogits_f32`](Self::loss_and_dlogits_f32), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_and_dlogits_f32_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<(Loss, Vec<f32>)> {
        self.all_with_dlogits(gpu, logits, inputs.into(), shape, Wait::Elsewhere).await
    }

    /// [`loss_and_dlogits`](Self::loss_and_dlogits) with the gradient in a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`](crate::Error::Length) of the slice, before any work.
    pub fn loss_and_dlogits_into<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        pollster::block_on(self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), wait, None))
    }

    /// [`loss_and_dlogits_into`](Self::loss_and_dlogits_into), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss_and_dlogits_into`](Self::loss_and_dlogits_into).
    pub async fn loss_and_dlogits_into_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<Loss> {
        self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), Wait::Elsewhere, None).await
    }

    /// [`loss_and_dlogits_f32`](Self::loss_and_dlogits_f32) with the gradient in a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`](crate::Error::Length) of the slice, before any work.
    pub fn loss_and_dlogits_f32_into<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        pollster::block_on(self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), wait, None))
    }

    /// [`loss_and_dlogits_f32_into`](Self::loss_and_dlogits_f32_into), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss_and_dlogits_f32_into`](Self::loss_and_dlogits_f32_into).
    pub async fn loss_and_dlogits_f32_into_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), Wait::Elsewhere, None).await
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

    /// All that one read of the logits tells, row by row, not reduced: loss, lse, argmax. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn row_results<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<Vec<RowResult>> {
        pollster::block_on(self.of_rows(gpu, logits, inputs.into(), shape, Wait::blocking(gpu)))
    }

    /// [`row_results`](Self::row_results), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn row_results_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<Vec<RowResult>> {
        self.of_rows(gpu, logits, inputs.into(), shape, Wait::Elsewhere).await
    }

    /// Row losses (rows,), in nats, times the rows' weights, not reduced. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn row_losses<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        let results = self.row_results(gpu, logits, inputs, shape)?;
        Ok(results.iter().map(|result| result.loss).collect())
    }

    /// Checks the losses of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let inputs = inputs.into();
        let results = self.row_results(gpu, logits, inputs, shape)?;
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let expected =
                reference::cross_entropy::row_loss_at(logits, inputs, shape, &self.options, row).total();
            verification.compare_loss(row, results[row].loss, expected, inputs.weights(row), &self.options);
        }
        Ok(verification)
    }

    /// Checks the gradients of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify_dlogits<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<CrossEntropyInputs<'a>>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        use reference::cross_entropy::{row_dlogits_at, row_loss_at, row_scale, row_shares};
        let (inputs, options) = (inputs.into(), &self.options);
        let (_, dlogits) = self.loss_and_dlogits(gpu, logits, inputs, shape)?;
        let batch = inputs.check(shape, options)?;
        let softmax = SoftmaxOptions {
            masked_row: options.masked_row,
            temperature: options.temperature,
            softcap: options.softcap,
        };
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let expected = row_dlogits_at(logits, inputs, shape, options, &batch, row);
            let scale = row_scale(inputs, shape, options, &batch, row);
            let target = inputs.row_target(shape, options, row);
            let shares = target
                .and_then(|target| row_shares(&target, inputs.class_weights, shape.cols, options))
                .unwrap_or_else(|| vec![0.0; shape.cols]);
            let values = shape.row_vec(logits, row);
            let probs = reference::softmax_row(&values, &softmax);
            let lse = row_loss_at(logits, inputs, shape, options, row).lse;
            let bound = gradient_bound(options, scale, &shares, lse);
            for (class, &actual) in shape.row(&dlogits, row).enumerate() {
                let bound = bound(probs[class], shares[class]);
                verification.compare_rounded(row, actual, expected[class], bound);
            }
        }
        Ok(verification)
    }

    /// Takes a batch window by window, for batches that do not fit into memory: see [`CrossEntropyStream`].
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::RowTooLarge`](crate::Error::RowTooLarge),
    /// [`Error::GroupTooLarge`](crate::Error::GroupTooLarge); [`Error::InvalidOption`](crate::Error::InvalidOption) for
    /// [`sequences`](CrossEntropyOptions::sequences), and for options that the targets do not go with;
    /// [`Error::OtherDevice`](crate::Error::OtherDevice), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn stream(&self, gpu: &Context, shape: Shape, targets: TargetKind) -> Result<CrossEntropyStream<E>> {
        CrossEntropyStream::new(self, gpu, shape, targets, None)
    }

    /// The same with the gradient, in the logits' type. A mean's gradient needs the batch's whole weight before its first
    /// value: `weight` is that of all windows together, as [`CrossEntropyInputs::check`] gives it (other reductions do not
    /// need it). A push that makes the rows weigh more than that is refused, and so is the last if they weigh less.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); [`Error::InvalidOption`](crate::Error::InvalidOption) for a `weight` that no batch of
    /// this shape can have; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
    pub fn stream_with_dlogits(
        &self,
        gpu: &Context,
        shape: Shape,
        targets: TargetKind,
        weight: BatchWeight,
    ) -> Result<CrossEntropyStream<E>> {
        CrossEntropyStream::new(self, gpu, shape, targets, Some((dlogits_output(shape), weight)))
    }

    /// [`stream_with_dlogits`](Self::stream_with_dlogits) with the gradient in f32, whatever the logits' type.
    ///
    /// # Errors
    /// As [`stream_with_dlogits`](Self::stream_with_dlogits).
    pub fn stream_with_dlogits_f32(
        &self,
        gpu: &Context,
        shape: Shape,
        targets: TargetKind,
        weight: BatchWeight,
    ) -> Result<CrossEntropyStream<E>> {
        CrossEntropyStream::new(self, gpu, shape, targets, Some((Output::F32, weight)))
    }

    async fn reduced(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: CrossEntropyInputs<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<Loss> {
        self.windows::<E>(gpu, logits, inputs, shape, None, wait, None).await
    }

    async fn of_rows(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: CrossEntropyInputs<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<RowResult>> {
        let mut results = Vec::new();
        self.windows::<E>(gpu, logits, inputs, shape, None, wait, Some(&mut results)).await?;
        Ok(results)
    }

    async fn all_with_dlogits<D: Element>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: CrossEntropyInputs<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<(Loss, Vec<D>)> {
        shape.check_slice("logits", logits)?;
        let mut dlogits = vec![D::default(); shape.len()];
        let loss = self.windows(gpu, logits, inputs, shape, Some(&mut dlogits), wait, None).await?;
        Ok((loss, dlogits))
    }

    /// The whole batch, window by window; `results` takes each row's in their order.
    #[expect(clippy::too_many_arguments, reason = "what a host call has, and where each of its results goes")]
    async fn windows<D: Element>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: CrossEntropyInputs<'_>,
        shape: Shape,
        mut dlogits: Option<&mut [D]>,
        wait: Wait,
        mut results: Option<&mut Vec<RowResult>>,
    ) -> Result<Loss> {
        shape.check_slice("logits", logits)?;
        if let Some(dlogits) = &dlogits {
            shape.check_slice("dlogits", dlogits)?;
        }
        let weight = inputs.check(shape, &self.options)?;
        weight.check(shape.rows, &self.options)?;
        let op = Self { options: CrossEntropyOptions { sequences: None, ..self.options }, ..self.clone() };
        let output = if D::NAME == E::NAME { dlogits_output(shape) } else { Output::F32 };
        let gradient = dlogits.is_some().then_some((output, weight));
        let kind = inputs.targets.kind();
        let mut stream = CrossEntropyStream::pooled(&op, gpu, shape, kind, gradient)?;
        stream.keeps_rows = results.is_some();
        if let Some(results) = &mut results {
            results.reserve_exact(shape.rows);
        }
        // The first window stands for what the whole weighs.
        let mut weight = Some(weight);
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut CrossEntropyStream<E>, (rows, values): Part| {
            let (count, resolved) = (rows.len(), inputs.resolved(shape, &self.options, rows));
            stream.submit(&logits[values], count, &resolved.inputs(), gradient.is_some())
        };
        let read = |stream: &mut CrossEntropyStream<E>, back: Back, (rows, values): Part| {
            let part = dlogits.as_deref_mut().map(|all| &mut all[values]);
            let weight = weight.take().unwrap_or_default();
            let keep = |result| {
                if let Some(results) = results.as_deref_mut() {
                    results.push(result);
                }
            };
            // A row that is left out by its place in a sequence has lse 0, and needs no weight.
            stream.read_each(back, &inputs.part(shape, rows), part, weight, keep)
        };
        through(&mut stream, parts, wait, submit, read).await?;
        if let Some(dlogits) = dlogits {
            clear_padding(dlogits, shape);
        }
        let loss = stream.loss();
        self.pool.put(stream.into_idle());
        Ok(loss)
    }
}

/// 16-bit values of rows side by side share words: they are written as f32, and rounded on their way back.
fn dlogits_output(shape: Shape) -> Output {
    if shape.inner > 1 { Output::F32 } else { Output::Element }
}
