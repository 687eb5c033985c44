//! The Kullback-Leibler divergence of a student's distribution from a teacher's, both given by logits.

mod bind;
mod windows;

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::KlDivergenceInputs;
use crate::kernel::passes::constant;
use crate::kernel::{Params, Tuning};
use crate::op::cross_entropy::{Loss, RowResult};
use crate::op::engine::Engine;
use crate::op::pool::Pool;
use crate::op::rows::{self, Given, Kept};
use crate::op::verify::{Verification, kl_divergence_bound, prob_bound};
use crate::options::{KlDivergenceOptions, SoftmaxOptions};
use crate::reference::{kl_divergence as reference, softmax_row};
use crate::shape::Shape;
use crate::targets::TargetKind;

pub use bind::KlDivergenceBuffers;

/// The Kullback-Leibler divergence KL(teacher ‖ student), for distillation: the loss in one read of both batches of
/// logits, the gradient in two.
///
/// With p = softmax(x / T) of the student's logits x and q = softmax(b / T) of the teacher's logits b, a row's loss is
/// `Σ_j q_j·(ln q_j − ln p_j)` nats (Kullback and Leibler 1951, doi:10.1214/aoms/1177729694), and its gradient by x
/// `(p − q) / T · weight / denominator`. Both are multiplied by T² if
/// [`scale_by_t_squared`](KlDivergenceOptions::scale_by_t_squared) asks for it (Hinton, Vinyals, Dean 2015,
/// arXiv:1503.02531). The teacher gets no gradient.
///
/// Both batches have one type and one [`Shape`]: (rows, cols), N samples or tokens by C classes or vocabulary, laid out
/// alike.
///
/// | case | result |
/// | --- | --- |
/// | a teacher's logit is −∞ | its term is 0, whatever the student's logit; gradient p·u/T there |
/// | a student's logit is −∞, the teacher's is finite | loss +∞ (a finite logit is a positive probability, however small); gradient −q·u/T there |
/// | a NaN or +∞ in either batch | the row is NaN; in the [`Flags`](crate::Flags) |
/// | every logit of a row is −∞, in either batch | NaN, or zeros by [`MaskedRow::Zero`](crate::MaskedRow::Zero); in the flags |
/// | a row's weight is 0, or it is masked | loss 0, gradient 0, not counted; its logits are not read |
///
/// A row's loss, before weight and T², is within 5e-6 + 1e-6·|value| of the exact one (with student logits 1e8 and more
/// apart: 2e-5 of it, see [`kl_divergence_bound`]); of equal rows it is 0. Rounding may leave a divergence of almost equal
/// rows that much below 0.
///
/// ```no_run
/// use xent::{Context, KlDivergence, KlDivergenceInputs, KlDivergenceOptions, Shape};
///
/// let gpu = Context::new_blocking()?;
/// let options = KlDivergenceOptions { temperature: 2.0, scale_by_t_squared: true, ..Default::default() };
/// let op = KlDivergence::<f32>::new(&gpu, &options)?;
/// let (student, teacher) = ([1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, -1.0]);
/// let inputs = KlDivergenceInputs::default();
/// let (loss, dlogits) = op.loss_and_dlogits(&gpu, &student, &teacher, inputs, Shape::new(2, 2))?;
/// # Ok::<(), xent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct KlDivergence<E: Element> {
    engine: Engine<E>,
    options: KlDivergenceOptions,
    pool: Pool,
}

impl<E: Element> KlDivergence<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &KlDivergenceOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, options: *options, pool: Pool::default() })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.engine.tuning = Some(tuning);
        self
    }

    /// The options it was built with.
    pub fn options(&self) -> &KlDivergenceOptions {
        &self.options
    }

    /// The same, on the same pipelines, with other options: another temperature makes nothing anew, other switches
    /// their pipelines when first used.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &KlDivergenceOptions) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// The loss, in nats, of student and teacher logits (rows, cols): one read of both. Blocks.
    ///
    /// # Errors
    /// What [`KlDivergenceInputs::check`] refuses, before any work; [`Error::Length`](crate::Error::Length);
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::GroupTooLarge`](crate::Error::GroupTooLarge);
    /// [`Error::NoRowCounts`](crate::Error::NoRowCounts) by [`EmptyBatch`](crate::EmptyBatch); whatever the device
    /// reports.
    pub fn loss(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        Ok(pollster::block_on(self.windows::<E>(gpu, (student, teacher), inputs, shape, None, wait))?.0)
    }

    /// [`loss`](Self::loss), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_async(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<Loss> {
        Ok(self.windows::<E>(gpu, (student, teacher), inputs, shape, None, Wait::Elsewhere).await?.0)
    }

    /// The loss, and its gradient (rows, cols) by the student's logits, laid out as they are, in their type; padding
    /// columns are 0. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_dlogits(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<(Loss, Vec<E>)> {
        pollster::block_on(self.all(gpu, student, teacher, inputs, shape, Wait::blocking(gpu)))
    }

    /// [`loss_and_dlogits`](Self::loss_and_dlogits), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_and_dlogits_async(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<(Loss, Vec<E>)> {
        self.all(gpu, student, teacher, inputs, shape, Wait::Elsewhere).await
    }

    /// [`loss_and_dlogits`](Self::loss_and_dlogits) with the gradient in f32, whatever the logits' type. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn loss_and_dlogits_f32(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<(Loss, Vec<f32>)> {
        pollster::block_on(self.all(gpu, student, teacher, inputs, shape, Wait::blocking(gpu)))
    }

    /// [`loss_and_dlogits_f32`](Self::loss_and_dlogits_f32), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_and_dlogits_f32_async(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<(Loss, Vec<f32>)> {
        self.all(gpu, student, teacher, inputs, shape, Wait::Elsewhere).await
    }

    /// [`loss_and_dlogits`](Self::loss_and_dlogits) with the gradient in a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`](crate::Error::Length) of the slice, before any work.
    pub fn loss_and_dlogits_into(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        Ok(pollster::block_on(self.windows(gpu, (student, teacher), inputs, shape, Some(dlogits), wait))?.0)
    }

    /// [`loss_and_dlogits_into`](Self::loss_and_dlogits_into), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss_and_dlogits_into`](Self::loss_and_dlogits_into).
    pub async fn loss_and_dlogits_into_async(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        dlogits: &mut [E],
    ) -> Result<Loss> {
        Ok(self.windows(gpu, (student, teacher), inputs, shape, Some(dlogits), Wait::Elsewhere).await?.0)
    }

    /// [`loss_and_dlogits_f32`](Self::loss_and_dlogits_f32) with the gradient in a slice of the caller's, as long as the logits. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss); [`Error::Length`](crate::Error::Length) of the slice, before any work.
    pub fn loss_and_dlogits_f32_into(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        let wait = Wait::blocking(gpu);
        Ok(pollster::block_on(self.windows(gpu, (student, teacher), inputs, shape, Some(dlogits), wait))?.0)
    }

    /// [`loss_and_dlogits_f32_into`](Self::loss_and_dlogits_f32_into), async: see
    /// [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss_and_dlogits_f32_into`](Self::loss_and_dlogits_f32_into).
    pub async fn loss_and_dlogits_f32_into_async(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        dlogits: &mut [f32],
    ) -> Result<Loss> {
        Ok(self.windows(gpu, (student, teacher), inputs, shape, Some(dlogits), Wait::Elsewhere).await?.0)
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

    /// Row losses (rows,), in nats, times the rows' weights (and T², if asked for), not reduced. Blocks.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn row_losses(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        let wait = Wait::blocking(gpu);
        let results =
            pollster::block_on(self.windows::<E>(gpu, (student, teacher), inputs, shape, None, wait))?.1;
        Ok(losses(&results))
    }

    /// [`row_losses`](Self::row_losses), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn row_losses_async(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
    ) -> Result<Vec<f32>> {
        let wait = Wait::Elsewhere;
        Ok(losses(&self.windows::<E>(gpu, (student, teacher), inputs, shape, None, wait).await?.1))
    }

    /// Checks the losses of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](crate::reference::kl_divergence).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let losses = self.row_losses(gpu, student, teacher, inputs, shape)?;
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let weight = f64::from(inputs.row_weight(row));
            let expected = reference::row_loss_at(student, teacher, inputs, shape, &self.options, row);
            let t_squared = self.options.loss_scale();
            let (x, b) = (shape.row_vec(student, row), shape.row_vec(teacher, row));
            let bound = kl_divergence_bound(&x, &b, self.options.temperature, expected / t_squared);
            let bound = weight * t_squared * bound;
            verification.compare(row, f64::from(losses[row]), weight * expected, bound);
        }
        Ok(verification)
    }

    /// Checks the gradients of `rows` rows of this very batch, evenly spread, against the f64
    /// [`reference`](crate::reference::kl_divergence).
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub fn verify_dlogits(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        rows: usize,
    ) -> Result<Verification> {
        let (_, dlogits) = self.loss_and_dlogits(gpu, student, teacher, inputs, shape)?;
        let (batch, options) = (inputs.check(shape)?, &self.options);
        let softmax = SoftmaxOptions { temperature: options.temperature, ..Default::default() };
        let mut verification = Verification::new();
        for row in Verification::sample(shape.rows, rows) {
            let expected = reference::row_dlogits_at(student, teacher, inputs, shape, options, &batch, row);
            let scale = reference::row_scale(inputs, options, &batch, row).abs();
            let slope = scale * options.loss_scale() / f64::from(options.temperature);
            let probs = |logits| softmax_row(&shape.row_vec(logits, row), &softmax);
            let (p, q) = (probs(student), probs(teacher));
            for (class, &actual) in shape.row(&dlogits, row).enumerate() {
                let of_both = slope * (prob_bound(p[class]) + prob_bound(q[class])) + 1e-37;
                verification.compare_rounded(row, actual, expected[class], of_both);
            }
        }
        Ok(verification)
    }

    async fn all<D: Element>(
        &self,
        gpu: &Context,
        student: &[E],
        teacher: &[E],
        inputs: KlDivergenceInputs<'_>,
        shape: Shape,
        wait: Wait,
    ) -> Result<(Loss, Vec<D>)> {
        shape.check_slice("student", student)?;
        let mut dlogits = vec![D::default(); shape.len()];
        let (loss, _) =
            self.windows(gpu, (student, teacher), inputs, shape, Some(&mut dlogits), wait).await?;
        Ok((loss, dlogits))
    }

    /// The numbers that all passes of a call have in common.
    fn params(&self, shape: Shape) -> Params {
        rows::params(shape, TargetKind::Soft, &self.options.of_rows())
    }

    /// The override constants of all passes of a call; each takes those that it has.
    fn constants(&self, given: Given) -> Vec<(&'static str, u32)> {
        let kept = Kept { lse: false, argmax: false };
        let mut constants = rows::constants(&self.options.of_rows(), TargetKind::Soft, given, kept);
        constants.push((constant::SCALE_BY_T_SQUARED, u32::from(self.options.scale_by_t_squared)));
        constants
    }
}

fn losses(results: &[RowResult]) -> Vec<f32> {
    results.iter().map(|result| result.loss).collect()
}
