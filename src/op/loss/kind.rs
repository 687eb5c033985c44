//! The definition of a loss.

use std::fmt::Debug;
use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, RowInputs};
use crate::kernel::passes::{Pass, Target};
use crate::kernel::{Needs, Params};
use crate::op::loss::{HostInputs, LossBuffers};
use crate::op::stream::SecondArray;
use crate::options::Reducing;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::verification::Verification;

pub(crate) mod sealed {
    /// Seals [`LossKind`](super::LossKind): a loss needs kernels of this crate.
    pub trait Sealed {}
}

/// The options of a loss, which select the loss: [`CrossEntropyOptions`](crate::CrossEntropyOptions),
/// [`KlDivergenceOptions`](crate::KlDivergenceOptions), [`SigmoidBceOptions`](crate::SigmoidBceOptions),
/// [`EntmaxLossOptions`](crate::EntmaxLossOptions), [`SampledSoftmaxOptions`](crate::SampledSoftmaxOptions).
pub trait LossKind: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// The inputs of a host call besides the logits.
    type Inputs<'a, E: Element>: Copy + Send + Sync;
    /// The buffers of a bound operation.
    type Buffers<'a>;
    /// The facts about the inputs that must be known before they come.
    type Layout: Copy + Debug + PartialEq + Send + Sync + 'static;
}

/// What the engine needs from a loss.
pub(crate) trait Kind: LossKind {
    /// The label of its submissions.
    const NAME: &'static str;
    /// The name of the logits in messages.
    const LOGITS: &'static str = "logits";
    /// The pass that gives row losses, and the pass that also gives the gradient.
    const LOSSES: &'static Pass;
    const DLOGITS: &'static Pass;
    /// Whether the passes can split a row among several workgroups.
    const SPLITS: bool = false;
    /// The names of the outputs. A bound operation needs at least one.
    const OUTPUTS: &'static str = "loss, row_losses, dlogits";

    fn check(&self) -> Result<()>;
    fn reducing(&self) -> Reducing;
    /// The results of each row that are asked for.
    fn row_fields(&self) -> RowFields {
        RowFields::LOSS | RowFields::FLAGS
    }
    /// The parameters that all passes of a call share, except those of the reduction.
    fn params(&self, shape: Shape, layout: Self::Layout) -> Params;
    /// What its passes need besides a row's statistics, to keep these fields of each row.
    fn needs(fields: RowFields) -> Needs {
        Needs::of(fields)
    }
    /// The override constants of this loss only that are not switches.
    fn numbers(&self) -> Vec<(&'static str, u32)> {
        Vec::new()
    }
    /// The switches of this loss only.
    fn switches(&self, layout: Self::Layout) -> Vec<(&'static str, bool)>;

    /// The kind of a row's target, for the kernels.
    fn target(_: Self::Layout) -> Target {
        Target::None
    }
    /// The second array with the logits' layout, if there is one.
    fn second<E: Element>(layout: Self::Layout) -> Option<SecondArray>;
    /// Bytes for each logit of further inputs with a value for each, which have a layout of their own.
    fn beside_bytes(_: Self::Layout) -> u64 {
        0
    }
    /// Entries per row of sparse targets, or 0.
    fn entries(_: Self::Layout) -> usize {
        0
    }
    /// Refuses inputs that the options do not allow.
    fn check_layout(&self, _: Self::Layout) -> Result<()> {
        Ok(())
    }
    /// Refuses options that need all rows at once.
    fn check_stream(&self) -> Result<()> {
        Ok(())
    }
    /// Refuses a mean's denominator that no batch can weigh.
    fn check_weight(weight: &BatchWeight, layout: Self::Layout, shape: Shape) -> Result<()>;

    fn layout<E: Element>(inputs: &Self::Inputs<'_, E>) -> Self::Layout;
    /// The shape that inputs are counted by: with the classes of whole rows.
    fn input_shape(&self, shape: Shape) -> Shape {
        shape
    }
    /// Whether the inputs of a host call say what all parts of the rows tell.
    fn has_partials<E: Element>(_: &Self::Inputs<'_, E>) -> bool {
        false
    }
    /// Refuses columns beyond whole rows, and calls that need to know what other columns hold: more is asked for than the
    /// [`PARTIALS`](RowFields::PARTIALS) of these columns.
    fn check_part(&self, _: Shape, _has_partials: bool, _asks_for_more: bool) -> Result<()> {
        Ok(())
    }
    /// Refuses what the reference cannot verify.
    fn check_verifiable(&self) -> Result<()> {
        Ok(())
    }

    /// Refuses inputs of another layout.
    fn check_same_layout<E: Element>(_: &Self::Inputs<'_, E>, _: Self::Layout) -> Result<()> {
        Ok(())
    }
    fn rows<'i, E: Element>(inputs: &'i Self::Inputs<'_, E>) -> RowInputs<'i>;
    /// Checks lengths and values, and returns the total weight of the rows.
    fn check_inputs<E: Element>(&self, inputs: &Self::Inputs<'_, E>, shape: Shape) -> Result<BatchWeight>;
    /// The inputs of a range of rows.
    fn part<'i, E: Element>(
        inputs: &'i Self::Inputs<'_, E>,
        shape: Shape,
        rows: Range<usize>,
    ) -> Self::Inputs<'i, E>;
    /// Runs with the inputs of a range of rows, in which everything that needs the whole batch is resolved.
    fn with_part<E: Element, R>(
        &self,
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        rows: Range<usize>,
        run: impl FnOnce(&Self::Inputs<'_, E>) -> R,
    ) -> R {
        run(&Self::part(inputs, shape, rows))
    }
    /// The options for such resolved parts.
    fn of_resolved(self) -> Self {
        self
    }
    /// The inputs of a window, except the per-row inputs.
    fn host_inputs<'i, E: Element>(inputs: &'i Self::Inputs<'_, E>) -> HostInputs<'i, E>;
    /// The buffers of a bound operation.
    fn buffers<'b>(to: &'b Self::Buffers<'_>) -> (Self::Layout, LossBuffers<'b>);

    /// A row's loss by the reference, times the row's weight, and how far the device may be from it.
    fn expected_loss<E: Element>(
        &self,
        logits: &[E],
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        row: usize,
    ) -> (f64, f64);
    /// Compares a row of the gradient (cols,) with the reference. `batch` is the total weight of all rows.
    #[expect(clippy::too_many_arguments, reason = "a row of a batch, and where it is compared")]
    fn verify_row_dlogits<E: Element>(
        &self,
        logits: &[E],
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        batch: &BatchWeight,
        row: usize,
        dlogits: &[E],
        into: &mut Verification,
    );
}
