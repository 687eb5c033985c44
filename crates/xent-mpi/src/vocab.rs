//! Every rank has some of the columns of every row.

use std::ops::Range;

use mpi::traits::Communicator;
use xent::{CrossEntropy, CrossEntropyInputs, Element, Loss, RowPartials, Shape, VocabularyShard};

use crate::error::{Error, Result};
use crate::gather::{all_gather, rank, ranks};

/// The most bytes of partials that one call of MPI brings to a rank.
const MOST_BYTES: usize = 16 << 20;

/// The columns of a rank: ⌊rank·cols/ranks⌋ to ⌊(rank + 1)·cols/ranks⌋. They may be none.
pub fn columns_of(comm: &impl Communicator, total_cols: usize) -> Range<usize> {
    let start = |rank: usize| (total_cols as u128 * rank as u128 / ranks(comm) as u128) as usize;
    start(rank(comm))..start(rank(comm) + 1)
}

/// Where the columns of this rank are among those of all, which lie in the order of the ranks. `cols` is how many it has. All
/// ranks call it.
pub fn shard_of(comm: &impl Communicator, cols: usize) -> VocabularyShard {
    let all = all_gather(comm, &[cols as u64]);
    let sum = |ranks: &[u64]| ranks.iter().sum::<u64>() as usize;
    VocabularyShard::new(sum(&all[..rank(comm)]), sum(&all))
}

/// What all ranks together know of each row (rows,), from what each knows of its columns: one all-gather of 32 bytes a row, in
/// pieces of at most 16 MiB, folded in the order of the ranks. Every rank gets the same bits, whatever the pieces. All ranks call it, with
/// the same rows and the temperature at which the partials were made.
///
/// [`CrossEntropyOptions::merged_loss`](xent::CrossEntropyOptions::merged_loss) gives the loss of the result.
///
/// ```no_run
/// use xent::reference::cross_entropy::row_partials;
/// use xent::{CrossEntropyOptions, Shape};
///
/// # fn main() {
/// # let (logits, targets) = (vec![0.0f32; 12], vec![0i32; 4]);
/// xent_mpi::run(|world| -> xent_mpi::Result<()> {
///     // Four rows; each rank has three columns of them.
///     let options = CrossEntropyOptions { shard: Some(xent_mpi::shard_of(world, 3)), ..Default::default() };
///     let rows = logits.chunks(3).zip(&targets);
///     let own: Vec<_> = rows.map(|(row, &class)| row_partials(row, class.into(), None, &options)).collect();
///     let merged = xent_mpi::fold_partials(world, &own, options.temperature)?;
///     println!("{} nats", options.merged_loss(&merged, &targets)?.value);
///     Ok(())
/// });
/// # }
/// ```
///
/// # Errors
/// [`Error::Differs`] if a rank has another number of rows; on all ranks.
pub fn fold_partials(
    comm: &impl Communicator,
    own: &[RowPartials],
    temperature: f32,
) -> Result<Vec<RowPartials>> {
    same(comm, "the rows of the partials", own.len())?;
    let step = (MOST_BYTES / size_of::<RowPartials>() / ranks(comm)).max(1);
    let mut folded = Vec::with_capacity(own.len());
    for own in own.chunks(step) {
        let all = all_gather(comm, own);
        let fold = |row: usize| {
            let of_ranks = all.iter().skip(row).step_by(own.len());
            of_ranks.fold(RowPartials::NONE, |left, right| left.combine(right, temperature))
        };
        folded.extend((0..own.len()).map(fold));
    }
    Ok(folded)
}

/// The loss of whole rows, and its gradient with respect to this rank's columns: (rows, cols) logits, in their type. `op` is built with
/// the rank's [`shard`](xent::CrossEntropyOptions::shard), `inputs` are those of the whole rows. Two reads of the logits with one
/// [`fold_partials`] between them. All ranks call it, and all get the same loss.
///
/// # Errors
/// Those of [`fold_partials`], and those of the operation, which end this rank's part of the call: the others wait, unless the
/// job ends, as it does under [`run`](crate::run).
pub fn loss_and_dlogits<'a, E: Element>(
    comm: &impl Communicator,
    op: &CrossEntropy<E>,
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
) -> Result<(Loss, Vec<E>)> {
    let inputs = inputs.into();
    let own = op.partials(logits, inputs, shape).wait()?;
    let merged = fold_partials(comm, &own, op.options().temperature)?;
    if shape.cols == 0 {
        return Ok((op.options().merged_loss(&merged, inputs)?, Vec::new()));
    }
    Ok(op.loss_and_dlogits(logits, inputs.partials(&merged), shape).wait()?)
}

/// Refuses a number that is not the same on all ranks, on all ranks.
///
/// # Errors
/// [`Error::Differs`].
pub fn same(comm: &impl Communicator, what: &'static str, own: usize) -> Result<()> {
    let all = all_gather(comm, &[own as u64]);
    match all.iter().position(|&other| other != all[0]) {
        Some(rank) => Err(Error::Differs { what, rank, found: all[rank] as usize, needed: all[0] as usize }),
        None => Ok(()),
    }
}

/// The largest of the numbers of all ranks. All ranks call it.
pub fn largest(comm: &impl Communicator, own: usize) -> usize {
    all_gather(comm, &[own as u64]).into_iter().max().unwrap_or(0) as usize
}

/// The least of the numbers of all ranks. All ranks call it.
pub fn least(comm: &impl Communicator, own: usize) -> usize {
    all_gather(comm, &[own as u64]).into_iter().min().unwrap_or(0) as usize
}
