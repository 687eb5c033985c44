//! Multi-label binary cross-entropy of logits against targets: the definition of the loss. [`loss`](crate::op::loss)
//! runs it.

use std::ops::Range;

use crate::bounds::loss_bound;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, RowInputs, SigmoidBceInputs, WEIGHT};
use crate::kernel::Params;
use crate::kernel::passes::{self, Pass, binding};
use crate::op::loss::sealed::Sealed;
use crate::op::loss::{
    CLASS_WEIGHTS, HostInputs, Kind, LossBuffers, LossKind, LossOp, LossOutputs, LossStream, POS_WEIGHT,
    RowInputBuffers, Second, host_if,
};
use crate::op::stream::SecondArray;
use crate::options::{Reducing, SigmoidBceOptions};
use crate::reference::sigmoid_bce::{row_dlogits_at, row_loss_at, row_scale, sigmoid};
use crate::shape::Shape;
use crate::verification::Verification;

/// Multi-label binary cross-entropy of logits against targets, like PyTorch's `BCEWithLogitsLoss`: each class is a
/// separate yes-or-no question, and any number of classes may apply. Loss and gradient in one read of logits and
/// targets.
///
/// With target t, `pos_weight` P and class weight w, a class's loss is
/// `w·[ (1−t)·x + (1+(P−1)·t)·(ln(1+exp(−|x|)) + max(−x, 0)) ]` nats, the stable form of
/// `−w·[P·t·ln σ(x) + (1−t)·ln(1−σ(x))]`. A row's loss is the sum over its classes, times the row's weight r. A mean
/// divides by Σ r · cols. The gradient is `w·[(1−t)·σ(x) − P·t·σ(−x)]` (prediction minus target if P is 1), times
/// upstream gradients and r / denominator.
///
/// | case | result |
/// | --- | --- |
/// | a logit is NaN | the row is NaN, loss and gradient; reported in the [`Flags`](crate::Flags) |
/// | a logit is +∞ | loss +∞ unless t = 1; gradient finite |
/// | a logit is −∞ | loss +∞ unless P·t = 0; gradient finite |
/// | a factor of a term is 0 (w, t, P or 1 − t) | the term is 0, and so is 0 · ∞ |
/// | a row of weight 0, or masked | loss 0, gradient 0, not counted; neither logits nor targets are read |
/// | a target is NaN or infinite | host slices: [`Error::InvalidTarget`](crate::Error::InvalidTarget); buffers: the row is NaN, reported in the flags |
/// | a weight is negative, NaN or infinite | host slices: [`Error::InvalidOption`](crate::Error::InvalidOption); buffers: for a class weight, every row is NaN; for a row weight, the row's loss is NaN, its gradient 0, and it does not count; reported in the flags |
/// | logits of ±3.4e38 | the correct finite result, or +∞ beyond f32's range |
///
/// The inputs are a slice of targets, or [`SigmoidBceInputs`] to give more than targets.
///
/// ```no_run
/// use xent::{Context, Shape, SigmoidBce};
///
/// let gpu = Context::new().wait()?;
/// let op = SigmoidBce::<f32>::new(&gpu, &Default::default())?;
/// // One picture and three labels. The first and the last label apply.
/// let loss = op.loss(&[2.0, -1.0, 0.0], &[1.0, 0.0, 1.0], Shape::new(1, 3)).wait()?;
/// assert!((loss.value - 0.3778).abs() < 1e-4);
/// # Ok::<(), xent::Error>(())
/// ```
pub type SigmoidBce<E> = LossOp<E, SigmoidBceOptions>;

/// A [`SigmoidBce`] that takes its batch window by window, made by [`SigmoidBce::stream`](LossOp::stream).
pub type SigmoidBceStream<E> = LossStream<E, SigmoidBceOptions>;

/// The buffers of a bound [`SigmoidBce`]: logits, targets, other inputs, and at least one output.
///
/// The flags of the [`LossRecord`](crate::LossRecord) report bad values in a buffer. A NaN logit, a target that is NaN
/// or infinite, or a class weight or `pos_weight` that is negative or not finite makes the row NaN. The record's
/// `weight` is Σ row weight · cols of the rows that count.
///
/// More fields may come: end a literal with `..SigmoidBceBuffers::new(logits, targets)`.
#[derive(Clone, Debug)]
pub struct SigmoidBceBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Targets: f32 (rows, cols), in the logits' layout. Any offset that is a multiple of 4.
    pub targets: wgpu::BufferBinding<'a>,
    /// The weight of a class where it applies: f32 (cols,). See [`SigmoidBceInputs`].
    pub pos_weight: Option<wgpu::BufferBinding<'a>>,
    /// A weight for each class: f32 (cols,). See [`SigmoidBceInputs`].
    pub class_weights: Option<wgpu::BufferBinding<'a>>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputBuffers<'a>,
    /// Destinations of loss, row losses and gradient.
    pub outputs: LossOutputs<'a>,
}

impl<'a> SigmoidBceBuffers<'a> {
    /// Buffers with logits and targets, without outputs.
    pub fn new(logits: wgpu::BufferBinding<'a>, targets: wgpu::BufferBinding<'a>) -> Self {
        let (rows, outputs) = (RowInputBuffers::default(), LossOutputs::default());
        Self { logits, targets, pos_weight: None, class_weights: None, rows, outputs }
    }
}

impl Sealed for SigmoidBceOptions {}

impl LossKind for SigmoidBceOptions {
    type Inputs<'a, E: Element> = SigmoidBceInputs<'a>;
    type Buffers<'a> = SigmoidBceBuffers<'a>;
    type Layout = ();
}

impl Kind for SigmoidBceOptions {
    const NAME: &'static str = "xent::sigmoid_bce";
    const LOSSES: &'static Pass = &passes::SIGMOID_BCE_LOSSES;
    const DLOGITS: &'static Pass = &passes::SIGMOID_BCE_DLOGITS;

    fn check(&self) -> Result<()> {
        Self::check(self)
    }

    fn reducing(&self) -> Reducing {
        Self::reducing(self)
    }

    fn params(&self, shape: Shape, (): ()) -> Params {
        Params { weight_factor: shape.cols as f32, ..Params::of(shape) }
    }

    fn switches(&self, (): ()) -> Vec<(&'static str, bool)> {
        vec![]
    }

    fn second<E: Element>((): ()) -> Option<SecondArray> {
        // Targets are f32, whatever the logits' type.
        Some(SecondArray { name: "targets", number: binding::TARGETS, value_bytes: 4 })
    }

    fn check_weight(weight: &BatchWeight, (): (), shape: Shape) -> Result<()> {
        let classes = weight.row_weight * shape.cols as f64;
        if (weight.weight - classes).abs() <= 1e-6 * classes {
            return Ok(());
        }
        Err(Error::option(WEIGHT, weight.weight, "row_weight times the number of classes"))
    }

    fn layout<E: Element>(_: &SigmoidBceInputs<'_>) {}

    fn rows<'i, E: Element>(inputs: &'i SigmoidBceInputs<'_>) -> RowInputs<'i> {
        inputs.rows
    }

    fn check_inputs<E: Element>(&self, inputs: &SigmoidBceInputs<'_>, shape: Shape) -> Result<BatchWeight> {
        inputs.check(shape, self)
    }

    fn part<'i, E: Element>(
        inputs: &'i SigmoidBceInputs<'_>,
        shape: Shape,
        rows: Range<usize>,
    ) -> SigmoidBceInputs<'i> {
        inputs.part(shape, rows)
    }

    fn host_inputs<'i, E: Element>(inputs: &'i SigmoidBceInputs<'_>) -> HostInputs<'i, E> {
        let weights =
            [host_if(&POS_WEIGHT, inputs.pos_weight), host_if(&CLASS_WEIGHTS, inputs.class_weights)];
        HostInputs {
            second: Some(Second::F32(inputs.targets)),
            values: weights.into_iter().flatten().collect(),
        }
    }

    fn buffers<'b>(to: &'b SigmoidBceBuffers<'_>) -> ((), LossBuffers<'b>) {
        let buffers = LossBuffers {
            logits: &to.logits,
            second: Some(&to.targets),
            own: vec![(&POS_WEIGHT, to.pos_weight.as_ref()), (&CLASS_WEIGHTS, to.class_weights.as_ref())],
            rows: &to.rows,
            outputs: &to.outputs,
            row_results: None,
        };
        ((), buffers)
    }

    fn expected_loss<E: Element>(
        &self,
        logits: &[E],
        inputs: &SigmoidBceInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> (f64, f64) {
        let expected = row_loss_at(logits, *inputs, shape, row);
        (expected, loss_bound(expected))
    }

    /// Each of a gradient's two terms, `(1−t)·σ(x)` and `P·t·σ(−x)`, may have a relative error of 2e-5, and where both
    /// underflow, an error as large as what f32 cannot hold.
    fn verify_row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &SigmoidBceInputs<'_>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
        dlogits: &[E],
        into: &mut Verification,
    ) {
        let at = |weights: Option<&[f32]>, class: usize| weights.map_or(1.0, |all| f64::from(all[class]));
        let expected = row_dlogits_at(logits, *inputs, shape, self, batch, row);
        let scale = row_scale(*inputs, self, batch, row).abs();
        let classes = shape.row(logits, row).zip(shape.row(inputs.targets, row)).enumerate();
        for ((class, (x, &t)), &actual) in classes.zip(dlogits) {
            let (x, t) = (x.to_f64(), f64::from(t));
            let own_scale = scale * at(inputs.class_weights, class);
            let positive = at(inputs.pos_weight, class) * t;
            let terms = (1.0 - t).abs() * sigmoid(x) + positive.abs() * sigmoid(-x);
            let least = 1e-37 * (1.0 + own_scale * (1.0 + positive.abs()));
            let terms = if terms.is_finite() { own_scale * terms } else { 0.0 };
            into.compare_rounded(row, actual, expected[class], 2e-5 * terms + least);
        }
    }
}
