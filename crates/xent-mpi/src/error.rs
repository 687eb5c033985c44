//! What can go wrong between ranks.

/// The error of a call over a communicator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An evaluation, a file, or the device.
    #[error(transparent)]
    Xent(#[from] xent::Error),
    /// The states of two ranks do not belong together.
    #[error("the state of rank {rank} cannot be merged with those of the ranks before it: {source}")]
    Merge {
        /// The rank whose state was refused.
        rank: usize,
        /// Why.
        source: xent::eval::MergeError,
    },
    /// What a rank sent is not a state.
    #[error("rank {rank} sent {bytes} bytes that are not a state of this version: {message}")]
    NotAState {
        /// The rank that sent it.
        rank: usize,
        /// Its length.
        bytes: usize,
        /// Why it cannot be read.
        message: String,
    },
    /// More bytes than MPI can count in one call.
    #[error("{what}: {bytes} bytes from all ranks together, and a call of MPI takes at most {}", i32::MAX)]
    TooMuch {
        /// What was to be sent.
        what: &'static str,
        /// The bytes of all ranks.
        bytes: usize,
    },
    /// The ranks were not given the same.
    #[error("{what}: {found} on rank {rank}, and {needed} on rank 0")]
    Differs {
        /// What differs.
        what: &'static str,
        /// The first rank that has something else.
        rank: usize,
        /// What it has.
        found: usize,
        /// What rank 0 has.
        needed: usize,
    },
}

/// The result of a call over a communicator.
pub type Result<T, E = Error> = std::result::Result<T, E>;
