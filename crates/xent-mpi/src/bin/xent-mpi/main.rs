//! `mpirun -n 4 xent-mpi eval …`: one evaluation of files on many processes.

mod asked;
mod children;
mod devices;
mod rows;
mod stop;

use std::ffi::OsString;
use std::process::ExitCode;

use asked::{Asked, HELP};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

/// An error of the program, as its message.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(command) = children::tied(&args) {
        // What becomes a child is no rank.
        return children::become_the_child(command);
    }
    if args.is_empty() || args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    stop::on_signals();
    ExitCode::from(xent_mpi::run(|world| work(world, args)))
}

fn work(world: &SimpleCommunicator, args: Vec<OsString>) -> Result<u8, Failure> {
    let asked = Asked::of(args, world.rank(), world.size())?;
    rows::run(world, &asked)
}
