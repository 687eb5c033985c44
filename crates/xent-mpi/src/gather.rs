//! Collective calls over values of any plain type.

use bytemuck::Pod;
use mpi::Count;
use mpi::datatype::PartitionMut;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use crate::error::{Error, Result};

/// The number of ranks.
pub(crate) fn ranks(comm: &impl Communicator) -> usize {
    usize::try_from(comm.size()).unwrap_or(1)
}

/// This rank.
pub(crate) fn rank(comm: &impl Communicator) -> usize {
    usize::try_from(comm.rank()).unwrap_or(0)
}

/// The bytes of every rank, in the order of the ranks, on the root; `None` elsewhere. All ranks call it; ranks may give different
/// numbers of bytes. `what` they are is said in the error.
///
/// # Errors
/// [`Error::TooMuch`], on all ranks.
pub fn gather_bytes(
    comm: &impl Communicator,
    root: usize,
    what: &'static str,
    own: &[u8],
) -> Result<Option<Vec<Vec<u8>>>> {
    let lens = all_gather(comm, &[own.len() as u64]);
    let (counts, starts) = partition(what, lens.iter().map(|&len| len as usize))?;
    // `partition` has refused what a count cannot hold, and so has the communicator for ranks.
    let to = comm.process_at_rank(root as i32);
    if rank(comm) != root {
        to.gather_varcount_into(own);
        return Ok(None);
    }
    let mut all = vec![0u8; lens.iter().sum::<u64>() as usize];
    to.gather_varcount_into_root(own, &mut PartitionMut::new(&mut all[..], &counts[..], &starts[..]));
    let of_rank = |(&start, &len): (&Count, &Count)| all[start as usize..][..len as usize].to_vec();
    Ok(Some(starts.iter().zip(&counts).map(of_rank).collect()))
}

/// The values of every rank, one rank after the other. Every rank gives the same number of them.
pub(crate) fn all_gather<T: Pod>(comm: &impl Communicator, own: &[T]) -> Vec<T> {
    let mut all = vec![T::zeroed(); own.len() * ranks(comm)];
    comm.all_gather_into(bytemuck::cast_slice::<T, u8>(own), bytemuck::cast_slice_mut::<T, u8>(&mut all));
    all
}

/// The counts and the starts of parts of these lengths, in bytes.
fn partition(
    what: &'static str,
    lens: impl Iterator<Item = usize> + Clone,
) -> Result<(Vec<Count>, Vec<Count>)> {
    let bytes = lens.clone().sum::<usize>();
    if Count::try_from(bytes).is_err() {
        return Err(Error::TooMuch { what, bytes });
    }
    let counts: Vec<Count> = lens.map(|len| len as Count).collect();
    let starts = counts.iter().scan(0, |end, &len| Some(std::mem::replace(end, *end + len))).collect();
    Ok((counts, starts))
}
