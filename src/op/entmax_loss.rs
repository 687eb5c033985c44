//! The Fenchel-Young loss of entmax against target classes: the definition of the loss. [`loss`](crate::op::loss) runs it.

use std::ops::Range;

use crate::bounds::{entmax_bounds, entmax_loss_bound};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, CrossEntropyInputs, RowInputs};
use crate::kernel::passes::{self, Pass, Target, constant};
use crate::kernel::{Needs, Params};
use crate::op::entmax::{entmax_needs, power_constant};
use crate::op::loss::sealed::Sealed;
use crate::op::loss::{
    CLASSES, HostInputs, Kind, LossBuffers, LossKind, LossOp, LossOutputs, LossStream, RowInputBuffers,
    host_classes,
};
use crate::op::stream::SecondArray;
use crate::options::{CrossEntropyOptions, EntmaxLossOptions, MaskedRow, Reducing};
use crate::reference::cross_entropy::row_scale;
use crate::reference::entmax_loss::{row_dlogits_at, row_loss_at};
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::TargetKind;
use crate::verification::Verification;

/// The Fenchel-Young loss of [`Entmax`](crate::Entmax) against target classes, as cross-entropy is that of softmax: the loss
/// to train a model with whose output is an entmax. With α = 2 it is sparsemax's
/// ([`EntmaxLossOptions::sparsemax`]).
///
/// With p = entmax(x), a row's loss is `(1 − Σ p^α) / (α·(α − 1)) + ⟨p − e_y, x⟩` for target class y, and its gradient `(p −
/// e_y) · weight / denominator`: prediction minus target (Blondel, Martins, Niculae 2020, arXiv:1901.02324). The loss is 0, and
/// so is the gradient, where the target's logit is at least 1 / (α − 1) above all others.
///
/// | case | result |
/// | --- | --- |
/// | a logit of −∞ | probability 0, gradient 0 there; the rest is finite |
/// | the target's logit is −∞ | loss +∞, gradient p − e_y |
/// | a NaN or a +∞ | the row is NaN; reported in the [`Flags`](crate::Flags) |
/// | every logit of a row is −∞ | NaN, or zeros with [`MaskedRow::Zero`] |
/// | a row is ignored, masked or of weight 0 | loss 0, gradient 0, not counted; its logits are not read |
///
/// The inputs are those of a [`CrossEntropy`](crate::CrossEntropy): class indices, or [`CrossEntropyInputs`] to give more than
/// targets. Targets that are not classes and weights of classes are refused. Errors of a loss are within
/// [`entmax_loss_bound`].
///
/// ```no_run
/// use xent::{Context, EntmaxLoss, EntmaxLossOptions, Shape};
///
/// let gpu = Context::new().wait()?;
/// let op = EntmaxLoss::<f32>::new(&gpu, &EntmaxLossOptions::sparsemax())?;
/// let (loss, dlogits) = op.loss_and_dlogits(&[1.0, 0.5, -1.0], &[0], Shape::new(1, 3)).wait()?;
/// assert!((loss.value - 0.0625).abs() < 1e-6); // the gradient is −0.25, 0.25, 0
/// # Ok::<(), xent::Error>(())
/// ```
pub type EntmaxLoss<E> = LossOp<E, EntmaxLossOptions>;

/// An [`EntmaxLoss`] that takes its batch window by window, made by [`EntmaxLoss::stream`](LossOp::stream).
pub type EntmaxLossStream<E> = LossStream<E, EntmaxLossOptions>;

/// The buffers of a bound [`EntmaxLoss`]: logits, target classes, other inputs, and at least one output.
///
/// More fields may come: end a literal with `..EntmaxLossBuffers::new(logits, classes)`.
#[derive(Clone, Debug)]
pub struct EntmaxLossBuffers<'a> {
    /// Logits (rows, cols), as in [`CrossEntropyBuffers::logits`](crate::CrossEntropyBuffers::logits).
    pub logits: wgpu::BufferBinding<'a>,
    /// Target classes: i32 or u32 (rows,).
    pub classes: wgpu::BufferBinding<'a>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputBuffers<'a>,
    /// Destinations of loss, row losses and gradient.
    pub outputs: LossOutputs<'a>,
}

impl<'a> EntmaxLossBuffers<'a> {
    /// Buffers with logits and target classes, without outputs.
    pub fn new(logits: wgpu::BufferBinding<'a>, classes: wgpu::BufferBinding<'a>) -> Self {
        Self { logits, classes, rows: RowInputBuffers::default(), outputs: LossOutputs::default() }
    }
}

impl Sealed for EntmaxLossOptions {}

impl LossKind for EntmaxLossOptions {
    type Inputs<'a, E: Element> = CrossEntropyInputs<'a>;
    type Buffers<'a> = EntmaxLossBuffers<'a>;
    type Layout = TargetKind;
}

impl Kind for EntmaxLossOptions {
    const NAME: &'static str = "xent::entmax_loss";
    const LOSSES: &'static Pass = &passes::ENTMAX_LOSSES;
    const DLOGITS: &'static Pass = &passes::ENTMAX_DLOGITS;

    fn check(&self) -> Result<()> {
        Self::check(self)
    }

    fn reducing(&self) -> Reducing {
        Self::reducing(self)
    }

    fn needs(fields: RowFields) -> Needs {
        Needs { row_words: fields.words(), ..entmax_needs() }
    }

    fn params(&self, shape: Shape, kind: TargetKind) -> Params {
        Kind::params(&self.of_targets(), shape, kind).with_alpha(self.alpha)
    }

    fn switches(&self, _: TargetKind) -> Vec<(&'static str, bool)> {
        vec![(constant::MASKED_ROW_ZERO, self.masked_row == MaskedRow::Zero)]
    }

    fn numbers(&self) -> Vec<(&'static str, u32)> {
        vec![(constant::ENTMAX_POWER, power_constant(self.alpha))]
    }

    fn target(_: TargetKind) -> Target {
        Target::Class
    }

    fn second<E: Element>(_: TargetKind) -> Option<SecondArray> {
        None
    }

    fn check_layout(&self, given: TargetKind) -> Result<()> {
        let made_for = TargetKind::Classes;
        if given == made_for { Ok(()) } else { Err(Error::TargetKind { given, made_for }) }
    }

    fn check_stream(&self) -> Result<()> {
        self.of_targets().check_stream()
    }

    fn check_weight(weight: &BatchWeight, kind: TargetKind, shape: Shape) -> Result<()> {
        // Without class weights, as for targets that are not classes.
        let kind = if kind == TargetKind::Classes { TargetKind::Soft } else { kind };
        CrossEntropyOptions::check_weight(weight, kind, shape)
    }

    fn layout<E: Element>(inputs: &CrossEntropyInputs<'_>) -> TargetKind {
        inputs.targets.kind()
    }

    fn check_same_layout<E: Element>(inputs: &CrossEntropyInputs<'_>, made_for: TargetKind) -> Result<()> {
        CrossEntropyOptions::check_same_layout::<E>(inputs, made_for)
    }

    fn rows<'i, E: Element>(inputs: &'i CrossEntropyInputs<'_>) -> RowInputs<'i> {
        inputs.rows
    }

    fn check_inputs<E: Element>(&self, inputs: &CrossEntropyInputs<'_>, shape: Shape) -> Result<BatchWeight> {
        inputs.check_of_classes(shape, self)
    }

    fn part<'i, E: Element>(
        inputs: &'i CrossEntropyInputs<'_>,
        shape: Shape,
        rows: Range<usize>,
    ) -> CrossEntropyInputs<'i> {
        inputs.part(shape, rows)
    }

    fn with_part<E: Element, R>(
        &self,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        rows: Range<usize>,
        run: impl FnOnce(&CrossEntropyInputs<'_>) -> R,
    ) -> R {
        self.of_targets().with_part::<E, R>(inputs, shape, rows, run)
    }

    fn of_resolved(self) -> Self {
        Self { sequences: None, ..self }
    }

    fn host_inputs<'i, E: Element>(inputs: &'i CrossEntropyInputs<'_>) -> HostInputs<'i, E> {
        let classes = inputs.targets.indices().map(host_classes);
        HostInputs { second: None, values: classes.into_iter().collect() }
    }

    fn buffers<'b>(to: &'b EntmaxLossBuffers<'_>) -> (TargetKind, LossBuffers<'b>) {
        let buffers = LossBuffers {
            logits: &to.logits,
            second: None,
            own: vec![(&CLASSES, Some(&to.classes))],
            rows: &to.rows,
            outputs: &to.outputs,
            row_results: None,
        };
        (TargetKind::Classes, buffers)
    }

    fn expected_loss<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> (f64, f64) {
        let weight = inputs.row_weight(&self.of_targets(), row);
        let loss = row_loss_at(logits, *inputs, shape, self, row);
        (weight * loss, weight * entmax_loss_bound(loss))
    }

    fn verify_row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
        dlogits: &[E],
        into: &mut Verification,
    ) {
        let expected = row_dlogits_at(logits, *inputs, shape, self, batch, row);
        let scale = row_scale(*inputs, shape, &self.of_targets(), batch, row).loss.abs();
        let bounds = entmax_bounds(&shape.row_vec(logits, row), &self.entmax());
        let class = match inputs.row_target(shape, &self.of_targets(), row) {
            Some(crate::targets::RowTarget::Class(class)) => usize::try_from(class).ok(),
            _ => None,
        };
        for (at, &actual) in dlogits.iter().enumerate() {
            let of_target = if class == Some(at) { 1e-6 } else { 0.0 };
            into.compare_rounded(row, actual, expected[at], scale * (bounds[at] + of_target));
        }
    }
}
