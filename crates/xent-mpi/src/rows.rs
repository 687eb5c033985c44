//! Every rank has some of the rows.

use std::ops::Range;

use mpi::traits::Communicator;
use xent::eval::EvaluationState;
use xent::{Reduction, Shape};

use crate::error::{Error, Result};
use crate::gather::{all_gather, gather_bytes, rank, ranks};

/// The rows of a rank: ⌊rank·rows/ranks⌋ to ⌊(rank + 1)·rows/ranks⌋, moved back to the start of a group where rows lie side by
/// side. They may be none. A sequence may lie on two ranks: its standard error is that of one sequence all the same.
pub fn rows_of(comm: &impl Communicator, shape: Shape) -> Range<usize> {
    let start = |rank: usize| {
        let row = (shape.rows as u128 * rank as u128 / ranks(comm) as u128) as usize;
        if rank == ranks(comm) { shape.rows } else { row - row % shape.inner.max(1) }
    };
    start(rank(comm))..start(rank(comm) + 1)
}

/// The state of the whole from the states of the ranks, on the root; `None` elsewhere. One gather, of some kilobytes from each
/// rank; the states are merged in the order of the ranks, and the result has the bits of one process over all rows (but for the
/// times). All ranks call it.
///
/// ```no_run
/// use xent::cpu::Processor;
/// use xent::eval::{Evaluation, SliceSource};
/// use xent::{CrossEntropyOptions, Shape, Targets};
///
/// # fn main() {
/// # let (logits, targets) = (vec![0.0f32; 12], vec![0i32; 4]);
/// xent_mpi::run(|world| -> xent_mpi::Result<()> {
///     let shape = Shape::new(4, 3);
///     let options = CrossEntropyOptions::default();
///     let mut source = SliceSource::new(&logits, shape)?;
///     let mut part = Evaluation::new(&options, shape, Targets::Classes(&targets), &Default::default())?;
///     part.restrict(xent_mpi::rows_of(world, shape))?;
///     part.run_on_processor(&Processor::new(), &mut source, |_| Ok(()))?;
///     if let Some(whole) = xent_mpi::merge_states(world, 0, part.state())? {
///         println!("{} nats", whole.report().mean());
///     }
///     Ok(())
/// });
/// # }
/// ```
///
/// # Errors
/// [`Error::Merge`] and [`Error::NotAState`] on the root; [`Error::TooMuch`] on all ranks.
pub fn merge_states(
    comm: &impl Communicator,
    root: usize,
    state: &EvaluationState,
) -> Result<Option<EvaluationState>> {
    let mut own = Vec::new();
    // A vector takes whatever is written to it.
    if let Err(error) = ciborium::into_writer(state, &mut own) {
        let message = error.to_string();
        return Err(Error::NotAState { rank: rank(comm), bytes: own.len(), message });
    }
    let Some(all) = gather_bytes(comm, root, "the states", &own)? else { return Ok(None) };
    let mut whole = EvaluationState::default();
    for (rank, bytes) in all.iter().enumerate() {
        let state = ciborium::from_reader::<EvaluationState, _>(&bytes[..]);
        let refused = |message| Error::NotAState { rank, bytes: bytes.len(), message };
        let state = state.map_err(|error| refused(error.to_string()))?;
        whole.merge(&state).map_err(|source| Error::Merge { rank, source })?;
    }
    Ok(Some(whole))
}

/// The reduction with which each rank computes its share of a mean over the rows of all ranks, from the weight of its own rows
/// ([`BatchWeight::weight`](xent::BatchWeight), as the inputs' `check` gives it): the sum of the losses and of the gradients
/// of all ranks is then the loss and the gradient of the mean. Call it before gradients are written. The weights are added in
/// the order of the ranks, in f64, so that all ranks have the same bits.
///
/// If no row of any rank counts, it is a sum: there is nothing to divide.
///
/// ```no_run
/// use xent::{CrossEntropyInputs, CrossEntropyOptions, Shape, Targets};
///
/// # fn main() {
/// # let (targets, shape) = (vec![0i32; 4], Shape::new(4, 3));
/// xent_mpi::run(|world| -> xent_mpi::Result<()> {
///     let mut options = CrossEntropyOptions::default();
///     let inputs = CrossEntropyInputs::from(Targets::Classes(&targets));
///     let own = inputs.check(shape, &options)?;
///     options.reduction = xent_mpi::mean_over(world, own.weight);
///     Ok(())
/// });
/// # }
/// ```
pub fn mean_over(comm: &impl Communicator, weight: f64) -> Reduction {
    let all: f64 = all_gather(comm, &[weight]).iter().sum();
    if all == 0.0 { Reduction::Sum } else { Reduction::MeanOver(all as f32) }
}
