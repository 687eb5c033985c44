//! The loss of sampled softmax: the definition of the loss. [`loss`](crate::op::loss) runs it.

use std::ops::Range;

use crate::bounds::{sampled_dlogits_bounds, sampled_loss_bound};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, NegativesKind, RowInputs, SampledSoftmaxInputs};
use crate::kernel::Params;
use crate::kernel::passes::{self, Pass, Target};
use crate::op::loss::sealed::Sealed;
use crate::op::loss::{
    CLASSES, HostInputs, Kind, LossBuffers, LossKind, LossOp, LossOutputs, LossStream, NEGATIVES,
    RowInputBuffers, SHARED_NEGATIVES, TARGET_LOG_COUNTS, host, host_classes,
};
use crate::op::stream::SecondArray;
use crate::options::{CrossEntropyOptions, Reducing, SampledSoftmaxOptions};
use crate::reference::sampled_softmax::{row_dlogits_at, row_loss_at, row_scale_at};
use crate::shape::Shape;
use crate::targets::TargetKind;
use crate::verification::Verification;

/// Sampled softmax: cross-entropy of each row's own class among a few drawn classes instead of among all, to train with
/// vocabularies and catalogues of millions of classes.
///
/// A row of logits (cols,) begins with the logit of the row's own class; those of its negatives follow. With c how often a class
/// is expected among the negatives, and T the temperature, the scores are `z = x / T − ln c`, for the own class, too. A negative
/// that happens to be the own class counts as −∞. A row's loss is `ln Σ exp z − z₀` nats, and its gradient `(p − e₀) / T · weight
/// / denominator`, with p the softmax of the scores (Jean, Cho, Memisevic, Bengio 2015, arXiv:1412.2007). It reads the logits
/// once for the loss and twice with the gradient.
///
/// So a training step computes the logits of `1 + negatives` classes for each row, and not of all. With shared
/// negatives they are the rows' own dot products, and one product of matrices. [`NegativeSampler`](crate::NegativeSampler) draws
/// the classes, and gives the logarithms of the counts.
///
/// | case | result |
/// | --- | --- |
/// | a negative is the row's own class | no part of the loss, gradient 0; its logit may be NaN |
/// | another logit of −∞ | gradient 0 there; the rest is finite |
/// | the own class's logit is −∞ | loss +∞, a finite gradient |
/// | a NaN or a +∞; in buffers, a logarithm of a count that is not from −1,000 to 1,000 | the row is NaN; reported in the [`Flags`](crate::Flags) |
/// | every score of a row is −∞ | NaN, or zeros with [`MaskedRow::Zero`](crate::MaskedRow::Zero) |
/// | no negatives, or all are the own class | loss 0, gradient 0 |
/// | a row is ignored, masked or of weight 0 | loss 0, gradient 0, not counted; its logits are not read |
///
/// Scores are rounded to f32, which [`sampled_loss_bound`] and [`sampled_dlogits_bounds`] include. Its f64 twin is
/// [`reference::sampled_softmax`](mod@crate::reference::sampled_softmax).
///
/// ```no_run
/// use xent::{Context, NegativeSampler, SampledSoftmax, SampledSoftmaxInputs, SampledSoftmaxOptions, Shape, Targets};
///
/// let gpu = Context::new().wait()?;
/// let classes = 1_000_000;
/// let op = SampledSoftmax::<f32>::new(&gpu, &SampledSoftmaxOptions::new(classes))?;
/// let (targets, seed, step) = (Targets::Classes(&[17, 4]), 42, 0);
/// let drawn = NegativeSampler::log_uniform(classes)?.draw(1, 3, seed, step)?;
/// // Each row's own logit, then those of the drawn classes, in the order of `drawn.values()`.
/// let logits = [2.0, 1.0, 0.5, -1.0, 3.0, 0.0, 0.2, 0.1];
/// let log_counts = drawn.log_counts(targets);
/// let inputs = SampledSoftmaxInputs::new(targets, &log_counts, drawn.negatives());
/// let (loss, dlogits) = op.loss_and_dlogits(&logits, &inputs, Shape::new(2, 4)).wait()?;
/// # Ok::<(), xent::Error>(())
/// ```
pub type SampledSoftmax<E> = LossOp<E, SampledSoftmaxOptions>;

/// A [`SampledSoftmax`] that takes its batch window by window, made by [`SampledSoftmax::stream`](LossOp::stream).
pub type SampledSoftmaxStream<E> = LossStream<E, SampledSoftmaxOptions>;

/// The negatives of a bound [`SampledSoftmax`]: records of [`Negative`](crate::Negative), 8 bytes each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NegativeBuffers<'a> {
    /// The same ones for all rows: (cols − 1,).
    Shared(wgpu::BufferBinding<'a>),
    /// Other ones for each row: (rows, cols − 1), in one binding.
    PerRow(wgpu::BufferBinding<'a>),
}

/// The buffers of a bound [`SampledSoftmax`]: logits, target classes, negatives, other inputs, and at least one output.
///
/// More fields may come: end a literal with `..SampledSoftmaxBuffers::new(logits, classes, log_counts, negatives)`.
#[derive(Clone, Debug)]
pub struct SampledSoftmaxBuffers<'a> {
    /// Logits (rows, cols), as in [`CrossEntropyBuffers::logits`](crate::CrossEntropyBuffers::logits): each row's own class, then
    /// its negatives.
    pub logits: wgpu::BufferBinding<'a>,
    /// The rows' own classes, of all classes: i32 or u32 (rows,).
    pub classes: wgpu::BufferBinding<'a>,
    /// ln(count) of each row's own class: f32 (rows,). See
    /// [`SampledSoftmaxInputs::target_log_counts`](field@SampledSoftmaxInputs::target_log_counts).
    pub target_log_counts: wgpu::BufferBinding<'a>,
    /// The negatives.
    pub negatives: NegativeBuffers<'a>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputBuffers<'a>,
    /// Destinations of loss, row losses and gradient.
    pub outputs: LossOutputs<'a>,
}

impl<'a> SampledSoftmaxBuffers<'a> {
    /// Buffers with all that is required, without outputs.
    pub fn new(
        logits: wgpu::BufferBinding<'a>,
        classes: wgpu::BufferBinding<'a>,
        target_log_counts: wgpu::BufferBinding<'a>,
        negatives: NegativeBuffers<'a>,
    ) -> Self {
        let (rows, outputs) = (RowInputBuffers::default(), LossOutputs::default());
        Self { logits, classes, target_log_counts, negatives, rows, outputs }
    }
}

impl Sealed for SampledSoftmaxOptions {}

impl LossKind for SampledSoftmaxOptions {
    type Inputs<'a, E: Element> = SampledSoftmaxInputs<'a>;
    type Buffers<'a> = SampledSoftmaxBuffers<'a>;
    type Layout = NegativesKind;
}

impl Kind for SampledSoftmaxOptions {
    const NAME: &'static str = "xent::sampled_softmax";
    const LOSSES: &'static Pass = &passes::SAMPLED_LOSSES;
    const DLOGITS: &'static Pass = &passes::SAMPLED_DLOGITS;

    fn check(&self) -> Result<()> {
        Self::check(self)
    }

    fn reducing(&self) -> Reducing {
        Self::reducing(self)
    }

    fn params(&self, shape: Shape, kind: NegativesKind) -> Params {
        let row_negatives = if kind == NegativesKind::PerRow { shape.cols as u32 - 1 } else { 0 };
        let of_targets = Kind::params(&self.of_targets(), shape, TargetKind::Classes);
        Params { classes: self.classes as u32, row_negatives, count_scale: self.temperature, ..of_targets }
    }

    fn switches(&self, _: NegativesKind) -> Vec<(&'static str, bool)> {
        self.of_targets().switches(TargetKind::Classes)
    }

    fn target(_: NegativesKind) -> Target {
        Target::Class
    }

    fn second<E: Element>(_: NegativesKind) -> Option<SecondArray> {
        None
    }

    fn beside_bytes(kind: NegativesKind) -> u64 {
        if kind == NegativesKind::PerRow { crate::Negative::BYTES } else { 0 }
    }

    fn check_weight(weight: &BatchWeight, _: NegativesKind, shape: Shape) -> Result<()> {
        // Without class weights, as for targets that are not classes.
        CrossEntropyOptions::check_weight(weight, TargetKind::Soft, shape)
    }

    fn layout<E: Element>(inputs: &SampledSoftmaxInputs<'_>) -> NegativesKind {
        inputs.negatives.kind()
    }

    fn check_same_layout<E: Element>(
        inputs: &SampledSoftmaxInputs<'_>,
        made_for: NegativesKind,
    ) -> Result<()> {
        let given = inputs.negatives.kind();
        if given == made_for { Ok(()) } else { Err(Error::NegativesKind { given, made_for }) }
    }

    fn rows<'i, E: Element>(inputs: &'i SampledSoftmaxInputs<'_>) -> RowInputs<'i> {
        inputs.rows
    }

    fn check_inputs<E: Element>(
        &self,
        inputs: &SampledSoftmaxInputs<'_>,
        shape: Shape,
    ) -> Result<BatchWeight> {
        inputs.check(shape, self)
    }

    fn part<'i, E: Element>(
        inputs: &'i SampledSoftmaxInputs<'_>,
        shape: Shape,
        rows: Range<usize>,
    ) -> SampledSoftmaxInputs<'i> {
        inputs.part(shape, rows)
    }

    fn host_inputs<'i, E: Element>(inputs: &'i SampledSoftmaxInputs<'_>) -> HostInputs<'i, E> {
        let negatives = match inputs.negatives.kind() {
            NegativesKind::Shared => &SHARED_NEGATIVES,
            NegativesKind::PerRow => &NEGATIVES,
        };
        let given =
            [host(negatives, inputs.negatives.values()), host(&TARGET_LOG_COUNTS, inputs.target_log_counts)];
        let classes = inputs.targets.indices().map(host_classes);
        // Nothing is bound in the place of no negatives.
        let given = given.into_iter().filter(|(_, values)| !values.is_empty());
        HostInputs { second: None, values: classes.into_iter().chain(given).collect() }
    }

    fn buffers<'b>(to: &'b SampledSoftmaxBuffers<'_>) -> (NegativesKind, LossBuffers<'b>) {
        let (kind, negatives) = match &to.negatives {
            NegativeBuffers::Shared(bound) => (NegativesKind::Shared, (&SHARED_NEGATIVES, Some(bound))),
            NegativeBuffers::PerRow(bound) => (NegativesKind::PerRow, (&NEGATIVES, Some(bound))),
        };
        let log_counts = (&TARGET_LOG_COUNTS, Some(&to.target_log_counts));
        let buffers = LossBuffers {
            logits: &to.logits,
            second: None,
            own: vec![(&CLASSES, Some(&to.classes)), negatives, log_counts],
            rows: &to.rows,
            outputs: &to.outputs,
            row_results: None,
        };
        (kind, buffers)
    }

    fn expected_loss<E: Element>(
        &self,
        logits: &[E],
        inputs: &SampledSoftmaxInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> (f64, f64) {
        let weight = f64::from(inputs.rows.weight(row));
        let loss = row_loss_at(logits, inputs, shape, self, row);
        (weight * loss, weight * sampled_loss_bound(logits, inputs, shape, self, row))
    }

    fn verify_row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &SampledSoftmaxInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
        dlogits: &[E],
        into: &mut Verification,
    ) {
        let expected = row_dlogits_at(logits, inputs, shape, self, batch, row);
        let scale = row_scale_at(inputs, shape, self, batch, row);
        let bounds = sampled_dlogits_bounds(logits, inputs, shape, self, row);
        for (at, &actual) in dlogits.iter().enumerate() {
            into.compare_rounded(row, actual, expected[at], scale.abs() * bounds[at]);
        }
    }
}
