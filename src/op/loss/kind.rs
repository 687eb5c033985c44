//! What a loss is.

use std::fmt::Debug;
use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, RowInputs};
use crate::kernel::Params;
use crate::kernel::passes::{Pass, Target};
use crate::op::loss::{HostInputs, LossBuffers};
use crate::options::Reducing;
use crate::shape::Shape;
use crate::verification::Verification;

pub(crate) mod sealed {
    /// Nobody else can add a loss: its kernels are this crate's.
    pub trait Sealed {}
}

/// The options of a loss, which say what it is: [`CrossEntropyOptions`](crate::CrossEntropyOptions),
/// [`KlDivergenceOptions`](crate::KlDivergenceOptions), [`SigmoidBceOptions`](crate::SigmoidBceOptions).
pub trait LossKind: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// What a host call takes beside the logits.
    type Inputs<'a, E: Element>: Copy + Send + Sync;
    /// The buffers of a bound operation.
    type Buffers<'a>;
    /// What must be known of the inputs before they come.
    type Layout: Copy + Debug + PartialEq + Send + Sync + 'static;
}

/// What the engine asks of a loss.
pub(crate) trait Kind: LossKind {
    /// The label of its submissions.
    const NAME: &'static str;
    /// What messages call the logits.
    const LOGITS: &'static str = "logits";
    /// The pass that gives row losses, and the one that gives the gradient too.
    const LOSSES: &'static Pass;
    const DLOGITS: &'static Pass;
    /// Whether the passes can share a row among workgroups.
    const SPLITS: bool = false;
    /// The outputs of which a bound operation needs one.
    const OUTPUTS: &'static str = "loss, row_losses, dlogits";

    fn check(&self) -> Result<()>;
    fn reducing(&self) -> Reducing;
    /// The numbers that all passes of a call have in common, but for those of the reduction.
    fn params(&self, shape: Shape, layout: Self::Layout) -> Params;
    /// The override constants that the loss alone knows of.
    fn switches(&self, layout: Self::Layout) -> Vec<(&'static str, bool)>;

    /// What a row's target is, for the kernels.
    fn target(_: Self::Layout) -> Target {
        Target::None
    }
    /// What lies like the logits beside them.
    fn second<E: Element>(layout: Self::Layout) -> Option<SecondArray>;
    /// Entries of a row's sparse target, or 0.
    fn entries(_: Self::Layout) -> usize {
        0
    }
    /// Refuses inputs that the options do not go with.
    fn check_layout(&self, _: Self::Layout) -> Result<()> {
        Ok(())
    }
    /// Refuses options that need all rows at once.
    fn check_stream(&self) -> Result<()> {
        Ok(())
    }
    /// Refuses what no batch can weigh, where it is a mean's denominator.
    fn check_weight(weight: &BatchWeight, layout: Self::Layout, shape: Shape) -> Result<()>;

    fn layout<E: Element>(inputs: &Self::Inputs<'_, E>) -> Self::Layout;
    /// Refuses inputs of another layout.
    fn check_same_layout<E: Element>(_: &Self::Inputs<'_, E>, _: Self::Layout) -> Result<()> {
        Ok(())
    }
    fn rows<'i, E: Element>(inputs: &'i Self::Inputs<'_, E>) -> RowInputs<'i>;
    /// Refuses lengths and values that are not what they should be; says what the rows weigh.
    fn check_inputs<E: Element>(&self, inputs: &Self::Inputs<'_, E>, shape: Shape) -> Result<BatchWeight>;
    /// The inputs of some rows.
    fn part<'i, E: Element>(
        inputs: &'i Self::Inputs<'_, E>,
        shape: Shape,
        rows: Range<usize>,
    ) -> Self::Inputs<'i, E>;
    /// Runs with the inputs of some rows, with all worked in that needs the whole batch.
    fn with_part<E: Element, R>(
        &self,
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        rows: Range<usize>,
        run: impl FnOnce(&Self::Inputs<'_, E>) -> R,
    ) -> R {
        run(&Self::part(inputs, shape, rows))
    }
    /// The options of such parts.
    fn of_resolved(self) -> Self {
        self
    }
    /// What comes with a window, but for what is given for each row.
    fn host_inputs<'i, E: Element>(inputs: &'i Self::Inputs<'_, E>) -> HostInputs<'i, E>;
    /// What is bound.
    fn buffers<'b>(to: &'b Self::Buffers<'_>) -> (Self::Layout, LossBuffers<'b>);

    /// Compares a row's loss with the reference.
    fn verify_row<E: Element>(
        &self,
        logits: &[E],
        inputs: &Self::Inputs<'_, E>,
        shape: Shape,
        row: usize,
        loss: f32,
        into: &mut Verification,
    );
    /// Compares a row of the gradient (cols,) with the reference. `batch` is what all rows weigh.
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

/// An array that lies like the logits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SecondArray {
    pub name: &'static str,
    /// The number of its binding.
    pub number: u32,
    pub value_bytes: u64,
}
