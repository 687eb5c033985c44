//! The Kullback-Leibler divergence of a student's distribution from a teacher's, both given by logits: the definition
//! of the loss. [`loss`](crate::op::loss) runs it.

use std::ops::Range;

use crate::bounds::{kl_divergence_bound, prob_bound};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, KlDivergenceInputs, RowInputs, WEIGHT};
use crate::kernel::Params;
use crate::kernel::passes::{self, Pass, binding, constant};
use crate::op::loss::sealed::Sealed;
use crate::op::loss::{
    HostInputs, Kind, LossBuffers, LossKind, LossOp, LossOutputs, LossStream, RowInputBuffers, Second,
};
use crate::op::stream::SecondArray;
use crate::options::{HALVED_FROM, KlDivergenceOptions, MaskedRow, Reducing, SoftmaxOptions};
use crate::reference::kl_divergence::{row_dlogits_at, row_loss_at, row_scale};
use crate::reference::softmax_row;
use crate::shape::Shape;
use crate::verification::Verification;

/// The Kullback-Leibler divergence KL(teacher ‖ student), for distillation. Reads both batches of logits once for the
/// loss, twice for the gradient.
///
/// With p = softmax(x / T) of the student's logits x and q = softmax(b / T) of the teacher's logits b, a row's loss is
/// `Σ_j q_j·(ln q_j − ln p_j)` nats (Kullback and Leibler 1951, doi:10.1214/aoms/1177729694). Its gradient with respect
/// to x is `(p − q) / T · weight / denominator`. With [`scale_by_t_squared`](KlDivergenceOptions::scale_by_t_squared),
/// both are multiplied by T² (Hinton, Vinyals, Dean 2015, arXiv:1503.02531). The teacher gets no gradient.
///
/// The inputs are the teacher's logits, or [`KlDivergenceInputs`] to give more than these. Both batches have the same
/// type and [`Shape`], and so the same layout: (rows, cols), N samples or tokens by C classes or vocabulary.
///
/// | case | result |
/// | --- | --- |
/// | a teacher's logit is −∞ | its term is 0, whatever the student's logit; gradient p·u/T there |
/// | a student's logit is −∞, the teacher's is finite | loss +∞ (a finite logit has a positive probability, however small); gradient −q·u/T there |
/// | a NaN or +∞ in either batch | the row is NaN; reported in the [`Flags`](crate::Flags) |
/// | every logit of a row is −∞, in either batch | NaN, or zeros with [`MaskedRow::Zero`](crate::MaskedRow::Zero); reported in the flags |
/// | a row's weight is 0, or it is masked | loss 0, gradient 0, not counted; its logits are not read |
///
/// A row's loss, before weight and T², is within 5e-6 + 1e-6·|value| of the exact value. With student logits 1e8 or
/// more apart it is within 2e-5 of it, relatively: see [`kl_divergence_bound`]. It is never below 0, and equal rows
/// give exactly 0.
///
/// ```no_run
/// use xent::{Context, KlDivergence, KlDivergenceOptions, Shape};
///
/// let gpu = Context::new().wait()?;
/// let options = KlDivergenceOptions { temperature: 2.0, scale_by_t_squared: true, ..Default::default() };
/// let op = KlDivergence::<f32>::new(&gpu, &options)?;
/// let (student, teacher) = ([1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, -1.0]);
/// let (loss, dlogits) = op.loss_and_dlogits(&student, &teacher, Shape::new(2, 2)).wait()?;
/// # Ok::<(), xent::Error>(())
/// ```
pub type KlDivergence<E> = LossOp<E, KlDivergenceOptions>;

/// A [`KlDivergence`] that takes its batch window by window, made by [`KlDivergence::stream`](LossOp::stream).
pub type KlDivergenceStream<E> = LossStream<E, KlDivergenceOptions>;

/// The buffers of a bound [`KlDivergence`]: both batches of logits, other inputs, and at least one output.
///
/// More fields may come: end a literal with `..KlDivergenceBuffers::new(student, teacher)`.
#[derive(Clone, Debug)]
pub struct KlDivergenceBuffers<'a> {
    /// The student's logits (rows, cols). Any offset that is a multiple of the element's size.
    pub student: wgpu::BufferBinding<'a>,
    /// The teacher's logits (rows, cols), of the same type and layout. Any offset that is a multiple of the element's
    /// size. It is fastest if both batches have the same distance from a multiple of four values.
    pub teacher: wgpu::BufferBinding<'a>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputBuffers<'a>,
    /// Destinations of loss, row losses (times T², if asked for) and the gradient with respect to the student's logits.
    pub outputs: LossOutputs<'a>,
}

impl<'a> KlDivergenceBuffers<'a> {
    /// Buffers with both batches of logits (rows, cols), without outputs.
    pub fn new(student: wgpu::BufferBinding<'a>, teacher: wgpu::BufferBinding<'a>) -> Self {
        Self { student, teacher, rows: RowInputBuffers::default(), outputs: LossOutputs::default() }
    }
}

impl Sealed for KlDivergenceOptions {}

impl LossKind for KlDivergenceOptions {
    type Inputs<'a, E: Element> = KlDivergenceInputs<'a, E>;
    type Buffers<'a> = KlDivergenceBuffers<'a>;
    type Layout = ();
}

impl Kind for KlDivergenceOptions {
    const NAME: &'static str = "xent::kl_divergence";
    const LOGITS: &'static str = "student";
    const LOSSES: &'static Pass = &passes::KL_LOSSES;
    const DLOGITS: &'static Pass = &passes::KL_DLOGITS;

    fn check(&self) -> Result<()> {
        Self::check(self)
    }

    fn reducing(&self) -> Reducing {
        Self::reducing(self)
    }

    fn params(&self, shape: Shape, (): ()) -> Params {
        Params::of(shape).with_temperature(self.temperature)
    }

    fn switches(&self, (): ()) -> Vec<(&'static str, bool)> {
        vec![
            (constant::MASKED_ROW_ZERO, self.masked_row == MaskedRow::Zero),
            (constant::HALVE_DIFFERENCES, self.temperature > HALVED_FROM),
            (constant::SCALE_BY_T_SQUARED, self.scale_by_t_squared),
        ]
    }

    fn second<E: Element>((): ()) -> Option<SecondArray> {
        let value_bytes = size_of::<E>() as u64;
        Some(SecondArray { name: "teacher", number: binding::TEACHER, value_bytes })
    }

    fn check_weight(weight: &BatchWeight, (): (), _: Shape) -> Result<()> {
        if weight.weight == weight.row_weight {
            return Ok(());
        }
        Err(Error::option(WEIGHT, weight.weight, "equal to row_weight"))
    }

    fn layout<E: Element>(_: &KlDivergenceInputs<'_, E>) {}

    fn rows<'i, E: Element>(inputs: &'i KlDivergenceInputs<'_, E>) -> RowInputs<'i> {
        inputs.rows
    }

    fn check_inputs<E: Element>(
        &self,
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
    ) -> Result<BatchWeight> {
        inputs.check(shape)
    }

    fn part<'i, E: Element>(
        inputs: &'i KlDivergenceInputs<'_, E>,
        shape: Shape,
        rows: Range<usize>,
    ) -> KlDivergenceInputs<'i, E> {
        inputs.part(shape, rows)
    }

    fn host_inputs<'i, E: Element>(inputs: &'i KlDivergenceInputs<'_, E>) -> HostInputs<'i, E> {
        HostInputs { second: Some(Second::Logits(inputs.teacher)), values: vec![] }
    }

    fn buffers<'b>(to: &'b KlDivergenceBuffers<'_>) -> ((), LossBuffers<'b>) {
        let buffers = LossBuffers {
            logits: &to.student,
            second: Some(&to.teacher),
            own: vec![],
            rows: &to.rows,
            outputs: &to.outputs,
            row_results: None,
        };
        ((), buffers)
    }

    fn expected_loss<E: Element>(
        &self,
        student: &[E],
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
        row: usize,
    ) -> (f64, f64) {
        let weight = f64::from(inputs.rows.weight(row));
        let expected = row_loss_at(student, *inputs, shape, self, row);
        let t_squared = self.loss_scale();
        let (x, b) = (shape.row_vec(student, row), shape.row_vec(inputs.teacher, row));
        let bound = kl_divergence_bound(&x, &b, self.temperature, expected / t_squared);
        (weight * expected, weight * t_squared * bound)
    }

    fn verify_row_dlogits<E: Element>(
        &self,
        student: &[E],
        inputs: &KlDivergenceInputs<'_, E>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
        dlogits: &[E],
        into: &mut Verification,
    ) {
        let softmax = SoftmaxOptions { temperature: self.temperature, ..Default::default() };
        let expected = row_dlogits_at(student, *inputs, shape, self, batch, row);
        let scale = row_scale(*inputs, self, batch, row).abs();
        let slope = scale * self.loss_scale() / f64::from(self.temperature);
        let probs = |logits| softmax_row(&shape.row_vec(logits, row), &softmax);
        let (p, q) = (probs(student), probs(inputs.teacher));
        for (class, &actual) in dlogits.iter().enumerate() {
            let of_both = slope * (prob_bound(p[class]) + prob_bound(q[class])) + 1e-37;
            into.compare_rounded(row, actual, expected[class], of_both);
        }
    }
}
