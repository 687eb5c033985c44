//! Softmax's relatives on a batch on the device: sparsemax, entmax, and the loss of sampled softmax; and the checks of them.

use xent::bounds::{entmax_bounds, sampled_loss_bound};
use xent::reference::entmax_row;
use xent::reference::sampled_softmax::row_loss;
use xent::wgpu::{self, BufferBinding};
use xent::{
    Bound, Context, DrawnNegatives, Element, Entmax, EntmaxBuffers, NegativeBuffers, NegativeSampler,
    OutputBuffer, Result, SampledSoftmax, SampledSoftmaxBuffers, SampledSoftmaxInputs, SampledSoftmaxOptions,
    Shape, Tuning, Verification,
};

use super::compare::compare;
use super::device::{buffer_of, scoped};
use crate::operation::{Operation, entmax_options};

/// All classes of a sampled softmax: the columns of its logits are each row's own class, and the same negatives for all rows.
const CLASSES: usize = 1_000_000;

/// Binds an entmax to logits and an output of their layout.
pub fn bind_entmax<E: Element>(
    gpu: &Context,
    op: Operation,
    (shape, logits): (Shape, BufferBinding<'_>),
    probs: BufferBinding<'_>,
    tuning: Option<Tuning>,
) -> Result<Bound> {
    let mut entmax = Entmax::<E>::new(gpu, &entmax_options(op))?;
    if let Some(tuning) = tuning {
        entmax = entmax.with_tuning(tuning)?;
    }
    entmax.bind(shape, &EntmaxBuffers { logits, probs: OutputBuffer::To(probs) })
}

/// Compares a row's probabilities with the reference.
pub fn compare_entmax<E: Element>(
    verification: &mut Verification,
    row: usize,
    op: Operation,
    logits: &[E],
    found: &[E],
) {
    let options = entmax_options(op);
    let (expected, bounds) = (entmax_row(logits, &options), entmax_bounds(logits, &options));
    for ((&actual, expected), bound) in found.iter().zip(expected).zip(bounds) {
        compare(verification, row, actual, expected, bound);
    }
}

/// The negatives of a sampled softmax over so many columns, and what is known of its rows' own classes.
pub struct Drawn {
    negatives: DrawnNegatives,
    options: SampledSoftmaxOptions,
    targets: Vec<i32>,
    log_counts: Vec<f32>,
}

impl Drawn {
    /// For rows with these classes.
    pub fn new(targets: &[i32], cols: usize) -> Result<Self> {
        let classes = CLASSES.max(cols);
        let negatives = NegativeSampler::log_uniform(classes)?.draw(1, cols - 1, 42, 0)?;
        let log_counts = negatives.log_counts(targets);
        let options = SampledSoftmaxOptions::new(classes);
        Ok(Self { negatives, options, targets: targets.to_vec(), log_counts })
    }

    /// Binds the loss to logits and to destinations of the loss and of the rows' losses.
    pub fn bind<E: Element>(
        &self,
        gpu: &Context,
        (shape, logits): (Shape, BufferBinding<'_>),
        classes: BufferBinding<'_>,
        [loss, row_losses]: [BufferBinding<'_>; 2],
        tuning: Option<Tuning>,
    ) -> Result<Bound> {
        let mut op = SampledSoftmax::<E>::new(gpu, &self.options)?;
        if let Some(tuning) = tuning {
            op = op.with_tuning(tuning)?;
        }
        let uploaded = |label, bytes: &[u8]| -> Result<wgpu::Buffer> {
            let buffer = buffer_of(gpu, label, bytes.len().max(8) as u64)?;
            scoped(&gpu.device, "an upload", || gpu.queue.write_buffer(&buffer, 0, bytes))?;
            Ok(buffer)
        };
        let log_counts = uploaded("target_log_counts", bytemuck::cast_slice(&self.log_counts))?;
        let negatives = uploaded("negatives", bytemuck::cast_slice(self.negatives.values()))?;
        let whole = wgpu::Buffer::as_entire_buffer_binding;
        let negatives = NegativeBuffers::Shared(whole(&negatives));
        let mut to = SampledSoftmaxBuffers::new(logits, classes, whole(&log_counts), negatives);
        (to.outputs.loss, to.outputs.row_losses) = (Some(loss), Some(row_losses));
        op.bind(shape, &to)
    }

    /// Compares a row's loss with the reference.
    pub fn compare<E: Element>(&self, verification: &mut Verification, row: usize, logits: &[E], found: f32) {
        let (target, log_count) = (&self.targets[row..=row], &self.log_counts[row..=row]);
        let inputs = SampledSoftmaxInputs::new(target.into(), log_count, self.negatives.negatives());
        let expected =
            row_loss(logits, target[0] as u32, log_count[0], self.negatives.values(), &self.options);
        let bound = sampled_loss_bound(logits, &inputs, Shape::new(1, logits.len()), &self.options, 0);
        verification.compare(row, f64::from(found), expected, bound);
    }
}
