//! A harness of cases for the losses with a second array: KL divergence and multi-label binary cross-entropy.
//!
//! A [`Case`] is a batch with its options. `run` gives what the device makes of it, [`Found`]: through host slices, or
//! bound to buffers. [`Expected`] is what the reference makes of it. `check` runs and compares; `shared` has the tests
//! that are the same for every loss. A loss supplies only what differs: [`Loss`].

mod calls;
mod case;
mod check;
pub mod comparator;
mod expected;
mod run;
pub mod shared;

use bytemuck::Pod;
use xent::{Element, EmptyBatch, Flags, LossOutputs, Reduction, RowInputBuffers, Shape, wgpu};

pub use calls::Calls;
pub(crate) use calls::forward_calls;
pub use case::{Case, Given, Row};
pub use check::{check, check_runs};
pub use expected::Expected;
pub use run::{ALIGNED, Buffers, Found, Offsets, Regions, Run, run, run_bound, run_host};

/// A loss as its cases need it. The options are the loss.
pub trait Loss: Calls + Default {
    /// A value of the second array: a teacher's logit, or a target.
    type Second<E: Element>: Pod;

    /// By how much a loss without its gradient may differ from one with it, relative to 1 + |value|. With 0 they have
    /// the same bits.
    const ALONE_ERROR: f64;

    fn second<E: Element>(value: f32) -> Self::Second<E>;
    fn inputs<'a, E: Element>(second: &'a [Self::Second<E>], given: &'a Given) -> Self::Inputs<'a, E>;
    fn buffers<'a>(
        buffers: Buffers<'a>,
        rows: RowInputBuffers<'a>,
        outputs: LossOutputs<'a>,
    ) -> Self::Buffers<'a>;

    fn reduction(&self) -> (Reduction, EmptyBatch);
    fn with_empty_batch(self, empty_batch: EmptyBatch) -> Self;
    /// What one unit of a row's weight adds to the denominator of a mean.
    fn weight_factor(shape: Shape) -> f64;

    /// What the reference says of a row. `weight` is the row's weight, `scale` the factor of its loss before
    /// differentiation.
    fn expected_row<E: Element>(case: &Case<Self, E>, row: usize, weight: f64, scale: f64) -> ExpectedRow;
    /// The reference's loss of the batch; `None` if it refuses the inputs.
    fn reference_loss<E: Element>(case: &Case<Self, E>) -> Option<f64>;
    /// What the sum of these row losses, each with its bound, may be off, and what the reduced loss may be.
    fn total_bounds(losses: &[(f64, f64)], denominator: f64) -> (f64, f64);
}

/// What the reference says of a row that counts. Numbers come with what they may be off.
pub struct ExpectedRow {
    /// Times the row's weight.
    pub loss: (f64, f64),
    /// Rounding to the gradient's type not counted. A bound of 0 allows none of it.
    pub dlogits: Vec<(f64, f64)>,
    /// Without those of the loss itself, which `Expected` adds.
    pub flags: Flags,
}

/// A binding of a caller's buffer.
type Binding<'a> = wgpu::BufferBinding<'a>;
