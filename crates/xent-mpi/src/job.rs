//! A job that ends as a whole.
//!
//! MPI leaves it to the program what happens when one rank fails. A rank that panics or returns early drops its universe, which
//! waits for the other ranks, and they wait for it in their next collective call: nobody ends. [`run`] makes the first failure
//! the end of the job, with its message.

use std::fmt::Display;
use std::io::Write;
use std::panic;
use std::process;

use mpi::environment::{self, Threading};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

/// The status of a job in which a rank returned an error.
pub const FAILED: i32 = 2;
/// The status of a job in which a rank panicked.
pub const PANICKED: i32 = 101;

/// Starts MPI, does this work on every rank, and ends MPI. If the work of one rank returns an error, or a thread of it panics,
/// the job ends: the rank says why on stderr and calls `MPI_Abort`, which ends the others wherever they are.
///
/// Every panic ends the job, also one that would be caught. Call it once in a process, from `main`.
///
/// ```no_run
/// use mpi::traits::Communicator;
///
/// fn main() {
///     xent_mpi::run(|world| -> Result<(), xent::Error> {
///         println!("rank {} of {}", world.rank(), world.size());
///         Ok(())
///     });
/// }
/// ```
///
/// A process that ends without a word to MPI, for example by `std::process::exit`, is found by `mpirun`, if its status is not 0.
pub fn run<T, E: Display>(work: impl FnOnce(&SimpleCommunicator) -> Result<T, E>) -> T {
    // Threads other than this one only ever abort.
    let Some((universe, _)) = environment::initialize_with_threading(Threading::Serialized) else {
        eprintln!("xent-mpi: MPI was started before; a process has one job");
        process::exit(FAILED);
    };
    let world = universe.world();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        before(info);
        abort(PANICKED, "a thread panicked");
    }));
    match work(&world) {
        Ok(done) => {
            // Ends MPI, when all ranks are here.
            drop(universe);
            done
        }
        Err(error) => abort(FAILED, error),
    }
}

/// Ends the job from any rank and any thread: says why on stderr, and ends all ranks with this status. Before MPI has started, or
/// after it has ended, it ends this process only.
pub fn abort(status: i32, why: impl Display) -> ! {
    if !environment::is_initialized() || environment::is_finalized() {
        eprintln!("xent-mpi: {why}");
        process::exit(status);
    }
    let world = SimpleCommunicator::world();
    // In one piece, as the lines of other ranks go to the same place.
    let line = format!("xent-mpi: rank {} of {}: {why}\n", world.rank(), world.size());
    let _ = std::io::stderr().write_all(line.as_bytes());
    world.abort(status)
}
