//! Cross-entropy of logits against targets: loss and gradient.

mod bind;
mod loss;
mod rows;
mod stream;

use crate::device::{Context, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::kernel::Tuning;
use crate::op::engine::Engine;
use crate::op::stream::windows;
use crate::op::verify::{Verification, gradient_bound};
use crate::options::{CrossEntropyOptions, SoftmaxOptions};
use crate::reference;
use crate::shape::Shape;
use crate::targets::Targets;

pub use bind::CrossEntropyBuffers;
pub use loss::{Loss, LossRecord, NO_CLASS, RowResult};
#[cfg(test)]
pub(crate) use rows::{BLOCK_ROWS, TOTALS_BYTES};
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
/// let op = CrossEntropy::<f32>::new(&gpu.device, &Default::default())?;
/// let logits = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
/// let loss = op.loss(&gpu, &logits, Targets::Classes(&[0, 1]), Shape::new(2, 3))?;
/// assert!((loss.value - 0.2870).abs() < 1e-4);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CrossEntropy<E: Element> {
    engine: Engine<E>,
    options: CrossEntropyOptions,
}

impl<E: Element> CrossEntropy<E> {
    /// Builds the operation for a device. Pipelines are made on first use.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(device: &wgpu::Device, options: &CrossEntropyOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(device)?, options: *options })
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

    /// The loss of logits (rows, cols) against targets (rows,): one read of the logits. Blocks.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length) and what [`Shape::check`] refuses;
    /// [`Error::TargetOutOfRange`](crate::Error::TargetOutOfRange), before any work;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge); whatever the device reports.
    pub fn loss(&self, gpu: &Context, logits: &[E], targets: Targets<'_>, shape: Shape) -> Result<Loss> {
        Ok(pollster::block_on(self.all(gpu, logits, targets, shape, None, Wait::blocking(gpu)))?.0)
    }

    /// [`loss`](Self::loss), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_async(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
    ) -> Result<Loss> {
        Ok(self.all(gpu, logits, targets, shape, None, Wait::Elsewhere).await?.0)
    }

    /// The loss, and its gradient (rows, cols) laid out as the logits are; padding columns are 0. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_dlogits(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
    ) -> Result<(Loss, Vec<E>)> {
        pollster::block_on(self.all_with_dlogits(gpu, logits, targets, shape, Wait::blocking(gpu)))
    }

    /// [`loss_and_dlogits`](Self::loss_and_dlogits), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_and_dlogits_async(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
    ) -> Result<(Loss, Vec<E>)> {
        self.all_with_dlogits(gpu, logits, targets, shape, Wait::Elsewhere).await
    }

    /// All that one read of the logits tells, row by row, not reduced: loss, lse, argmax. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn row_results(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
    ) -> Result<Vec<RowResult>> {
        Ok(pollster::block_on(self.all(gpu, logits, targets, shape, None, Wait::blocking(gpu)))?.1)
    }

    /// [`row_results`](Self::row_results), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn row_results_async(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
    ) -> Result<Vec<RowResult>> {
        Ok(self.all(gpu, logits, targets, shape, None, Wait::Elsewhere).await?.1)
    }

    /// Row losses (rows,), in nats, not reduced. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn row_losses(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        let results = self.row_results(gpu, logits, targets, shape)?;
        Ok(results.iter().map(|result| result.loss).collect())
    }

    /// Checks the losses of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let results = self.row_results(gpu, logits, targets, shape)?;
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let (values, target) = (shape.row(logits, row), targets.classes()[row]);
            verification.compare_loss(row, values, target, results[row].loss, &self.options);
        }
        Ok(verification)
    }

    /// Checks the gradients of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify_dlogits(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let (_, dlogits) = self.loss_and_dlogits(gpu, logits, targets, shape)?;
        let denominator = reference::cross_entropy::denominator(targets, shape, &self.options)?;
        let scale = 1.0 / denominator;
        let softmax = SoftmaxOptions { masked_row: self.options.masked_row };
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let (values, target) = (shape.row(logits, row), targets.classes()[row]);
            let expected = reference::cross_entropy::row_dlogits(values, target, scale, &self.options);
            let probs = reference::softmax_row(values, &softmax);
            for (class, &actual) in shape.row(&dlogits, row).iter().enumerate() {
                let mass = f64::from(class as i64 == i64::from(target));
                let bound = gradient_bound(scale, probs[class], mass);
                verification.compare(row, actual.to_f64(), expected[class], bound);
            }
        }
        Ok(verification)
    }

    /// Takes a batch window by window, for batches that do not fit into memory: see [`CrossEntropyStream`].
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::RowTooLarge`](crate::Error::RowTooLarge),
    /// [`Error::OtherDevice`](crate::Error::OtherDevice), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn stream(&self, gpu: &Context, shape: Shape) -> Result<CrossEntropyStream<E>> {
        CrossEntropyStream::new(self, gpu, shape, None)
    }

    /// The same with the gradient. A mean's gradient needs the batch's whole weight before its first value: `counted`
    /// is the number of rows that count, in all windows together (other reductions do not need it).
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub fn stream_with_dlogits(
        &self,
        gpu: &Context,
        shape: Shape,
        counted: usize,
    ) -> Result<CrossEntropyStream<E>> {
        // Where no row counts, none is divided by it.
        let denominator = self.options.reduction.denominator(counted.max(1) as f64) as f32;
        CrossEntropyStream::new(self, gpu, shape, Some(denominator))
    }

    async fn all(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
        mut dlogits: Option<&mut [E]>,
        wait: Wait,
    ) -> Result<(Loss, Vec<RowResult>)> {
        shape.check_slice("logits", logits)?;
        let counted = targets.check(&shape, self.options.ignore_index)?;
        let mut stream = match dlogits {
            Some(_) => self.stream_with_dlogits(gpu, shape, counted)?,
            None => self.stream(gpu, shape)?,
        };
        let mut results = Vec::with_capacity(shape.rows);
        for (rows, values) in windows(shape, stream.window_rows()) {
            let part = dlogits.as_deref_mut().map(|all| &mut all[values.clone()]);
            let targets = Targets::Classes(&targets.classes()[rows]);
            results.extend_from_slice(stream.push_with(&logits[values], targets, part, wait).await?);
        }
        Ok((stream.loss(), results))
    }

    async fn all_with_dlogits(
        &self,
        gpu: &Context,
        logits: &[E],
        targets: Targets<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<(Loss, Vec<E>)> {
        shape.check_slice("logits", logits)?;
        let mut dlogits = vec![E::default(); shape.len()];
        let (loss, _) = self.all(gpu, logits, targets, shape, Some(&mut dlogits), wait).await?;
        Ok((loss, dlogits))
    }
}
