//! One evaluation, or one training step, on many processes: [xent](https://docs.rs/xent) over MPI.
//!
//! - **Rows**: each rank has some of the rows. [`rows_of`] says which, [`merge_states`] puts what they found together, with the bits of
//!   one process, and [`mean_over`] gives the denominator of a mean before gradients are written.
//! - **Columns**: each rank has some of the columns of every row, as a vocabulary-parallel LM head has. [`columns_of`] or [`shard_of`]
//!   says which, [`fold_partials`] makes the partials of whole rows from those of the ranks, and
//!   [`loss_and_dlogits`] gives the loss and the gradient of a rank's columns.
//! - **Failures**: a rank that fails ends the job with its message: [`run`].
//!
//! The program `xent-mpi` does the same for files: `mpirun -n 4 xent-mpi eval logits.npy --targets targets.npy`.

mod error;
mod gather;
pub mod job;
mod rows;
mod vocab;

pub use error::{Error, Result};
pub use gather::gather_bytes;
pub use job::run;
pub use rows::{mean_over, merge_states, rows_of};
pub use vocab::{columns_of, fold_partials, largest, least, loss_and_dlogits, same, shard_of};
