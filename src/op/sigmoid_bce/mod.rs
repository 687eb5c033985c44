//! Multi-label binary cross-entropy of logits against targets: loss and gradient.

mod bind;
mod host;

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::SigmoidBceInputs;
use crate::kernel::passes::constant;
use crate::kernel::{Params, Tuning};
use crate::op::cross_entropy::Loss;
use crate::op::engine::Engine;
use crate::op::pool::Pool;
use crate::op::verify::{Verification, loss_bound};
use crate::options::{EmptyBatch, SigmoidBceOptions};
use crate::reference::sigmoid_bce::{row_dlogits_at, row_loss_at, row_scale, sigmoid};
use crate::shape::Shape;

pub use bind::SigmoidBceBuffers;

/// Multi-label binary cross-entropy of logits against targets, as PyTorch's `BCEWithLogitsLoss`: each class is a question
/// of its own, and any number of them may apply. Loss and gradient in one read of logits and targets.
///
/// With target t, `pos_weight` P and class weight w a class's loss is
/// `w·[ (1−t)·x + (1+(P−1)·t)·(ln(1+exp(−|x|)) + max(−x, 0)) ]` nats, the stable form of
/// `−w·[P·t·ln σ(x) + (1−t)·ln(1−σ(x))]`; a row's is the sum over its classes, times the row's weight r. A mean divides by
/// Σ r · cols. The gradient is `w·[(1−t)·σ(x) − P·t·σ(−x)]`, prediction minus target where P is 1, times upstream
/// gradients and r / denominator.
///
/// | case | result |
/// | --- | --- |
/// | a logit is NaN | the row is NaN, loss and gradient; in the [`Flags`](crate::Flags) |
/// | a logit is +∞ | loss +∞ unless t = 1; gradient finite |
/// | a logit is −∞ | loss +∞ unless P·t = 0; gradient finite |
/// | a factor of a term is 0 (w, t, P or 1 − t) | the term is 0: 0 · ∞ too |
/// | a row of weight 0, or masked | loss 0, gradient 0, not counted; neither logits nor targets are read |
/// | a target is NaN or infinite | host slices: [`Error::InvalidTarget`](crate::Error::InvalidTarget); buffers: the row is NaN, in the flags |
/// | a weight is negative, NaN or infinite | host slices: [`Error::InvalidOption`](crate::Error::InvalidOption); buffers: of a class, every row is NaN; of a row, its loss is NaN, its gradient 0, and it does not count; in the flags |
/// | logits of ±3.4e38 | the right finite answer, or +∞ where f32 ends |
///
/// ```no_run
/// use xent::{Context, Shape, SigmoidBce};
///
/// let gpu = Context::new_blocking()?;
/// let op = SigmoidBce::<f32>::new(&gpu, &Default::default())?;
/// // One picture; three labels, of which the first and the last apply.
/// let loss = op.loss(&gpu, &[2.0, -1.0, 0.0], &[1.0, 0.0, 1.0], Shape::new(1, 3))?;
/// assert!((loss.value - 0.3778).abs() < 1e-4);
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SigmoidBce<E: Element> {
    engine: Engine<E>,
    options: SigmoidBceOptions,
    pool: Pool,
}

impl<E: Element> SigmoidBce<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &SigmoidBceOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, options: *options, pool: Pool::default() })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.engine.tuning = Some(tuning);
        self
    }

    /// The options it was built with.
    pub fn options(&self) -> &SigmoidBceOptions {
        &self.options
    }

    /// The same, on the same pipelines, with other options.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &SigmoidBceOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// The loss of logits (rows, cols) against targets of the same layout: one read of both. Blocks. `inputs` are a slice
    /// of targets, or [`SigmoidBceInputs`] where more is given than those.
    ///
    /// # Errors
    /// What [`SigmoidBceInputs::check`] refuses, before any work; [`Error::Length`](crate::Error::Length);
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::GroupTooLarge`](crate::Error::GroupTooLarge);
    /// [`Error::NoRowCounts`](crate::Error::NoRowCounts) by [`EmptyBatch`]; whatever the device reports.
    pub fn loss<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
    ) -> Result<Loss> {
        Ok(pollster::block_on(self.all(gpu, logits, inputs.into(), shape, Wait::blocking(gpu)))?.0)
    }

    /// [`loss`](Self::loss), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
    ) -> Result<Loss> {
        Ok(self.all(gpu, logits, inputs.into(), shape, Wait::Elsewhere).await?.0)
    }

    /// The loss, and its gradient (rows, cols) laid out as the logits are, in their type; padding columns are 0. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_dlogits<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
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
        inputs: impl Into<SigmoidBceInputs<'a>>,
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
        inputs: impl Into<SigmoidBceInputs<'a>>,
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
        inputs: impl Into<SigmoidBceInputs<'a>>,
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
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        Ok(pollster::block_on(self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), wait))?.0)
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
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<Loss> {
        Ok(self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), Wait::Elsewhere).await?.0)
    }

    /// [`loss_and_dlogits_f32`](Self::loss_and_dlogits_f32) with the gradient in a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`](crate::Error::Length) of the slice, before any work.
    pub fn loss_and_dlogits_f32_into<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        Ok(pollster::block_on(self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), wait))?.0)
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
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        Ok(self.windows(gpu, logits, inputs.into(), shape, Some(dlogits), Wait::Elsewhere).await?.0)
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

    /// Row losses (rows,), in nats: each the sum over the row's classes, times the row's weight, not reduced. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn row_losses<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        Ok(pollster::block_on(self.all(gpu, logits, inputs.into(), shape, Wait::blocking(gpu)))?.1)
    }

    /// [`row_losses`](Self::row_losses), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn row_losses_async<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        Ok(self.all(gpu, logits, inputs.into(), shape, Wait::Elsewhere).await?.1)
    }

    /// Checks the losses of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference::sigmoid_bce).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let inputs = inputs.into();
        let losses = self.row_losses(gpu, logits, inputs, shape)?;
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let expected = row_loss_at(logits, inputs, shape, row);
            verification.compare(row, losses[row].into(), expected, loss_bound(expected));
        }
        Ok(verification)
    }

    /// Checks the gradients of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](mod@crate::reference::sigmoid_bce): each of a gradient's two terms, `(1−t)·σ(x)` and `P·t·σ(−x)`,
    /// may be off by 2e-5 of itself, and where both underflow by what f32 cannot hold.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify_dlogits<'a>(
        &self,
        gpu: &Context,
        logits: &[E],
        inputs: impl Into<SigmoidBceInputs<'a>>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let (inputs, options) = (inputs.into(), &self.options);
        let (_, dlogits) = self.loss_and_dlogits(gpu, logits, inputs, shape)?;
        let batch = inputs.check(shape, options)?;
        let at = |weights: Option<&[f32]>, class: usize| weights.map_or(1.0, |all| f64::from(all[class]));
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let expected = row_dlogits_at(logits, inputs, shape, options, &batch, row);
            let scale = row_scale(inputs, options, &batch, row).abs();
            let classes = shape.row(logits, row).zip(shape.row(inputs.targets, row)).enumerate();
            for ((class, (x, &t)), &actual) in classes.zip(shape.row(&dlogits, row)) {
                let (x, t) = (x.to_f64(), f64::from(t));
                let own_scale = scale * at(inputs.class_weights, class);
                let positive = at(inputs.pos_weight, class) * t;
                let terms = (1.0 - t).abs() * sigmoid(x) + positive.abs() * sigmoid(-x);
                let least = 1e-37 * (1.0 + own_scale * (1.0 + positive.abs()));
                let terms = if terms.is_finite() { own_scale * terms } else { 0.0 };
                verification.compare_rounded(row, actual, expected[class], 2e-5 * terms + least);
            }
        }
        Ok(verification)
    }

    /// The numbers that all passes of a call have in common.
    fn params(&self, shape: Shape) -> Params {
        // A mean's denominator is the batch's own weight, which a pass before finds: 0 stands for it.
        let denominator = self.options.reduction.denominator(0.0) as f32;
        Params {
            denominator,
            row_denominator: denominator,
            weight_factor: shape.cols as f32,
            ..Params::of(shape)
        }
    }

    /// The override constants of all passes of a call; each takes those that it has.
    fn constants(&self, given: Given) -> Vec<(&'static str, u32)> {
        let switches = [
            (constant::POS_WEIGHT, given.pos_weight),
            (constant::CLASS_WEIGHTS, given.class_weights),
            (constant::ROW_WEIGHTS, given.row_weights),
            (constant::ROW_MASK, given.row_mask),
            (constant::UPSTREAM, given.upstream),
            (constant::ROW_UPSTREAM, given.row_upstream),
            (constant::EMPTY_ZERO, self.options.empty_batch == EmptyBatch::Zero),
        ];
        switches.iter().map(|&(name, on)| (name, u32::from(on))).collect()
    }
}

/// What is given beside logits and targets.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    pos_weight: bool,
    class_weights: bool,
    row_weights: bool,
    row_mask: bool,
    upstream: bool,
    row_upstream: bool,
}
