//! `mpirun -n 4 xent-mpi eval …`: one evaluation of files on many processes.

mod asked;
mod children;
mod devices;
mod rows;
mod stop;
mod vocab;
mod waiting;

use std::ffi::OsString;
use std::process::ExitCode;

use asked::{Asked, split};
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

/// An error of the program, as its message.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
One evaluation of logits in files, on all ranks of an MPI job

Usage: mpirun -n <RANKS> xent-mpi eval <LOGITS>... --targets <FILE> [OPTIONS]

Each rank runs `xent eval` over its part of the rows; the report of the whole is printed by rank 0,
digit by digit that of one process. All options of `xent eval` apply: see `xent eval --help`.

Options:
      --distributed rows    Split by rows [default]
      --distributed vocab   Split by columns: `xent-mpi eval --distributed vocab --help`
      --tool <PATH>         The program `xent` [env: XENT_TOOL] [default: beside this one, else in PATH]

In every argument, {rank} stands for the number of the rank, from 0. Files that each rank writes need
it: --rows-out rows.{rank}.csv. --json, --html, --plot, --state-out and --strict are of the whole.

Ctrl-C stops all ranks, and a rank that fails ends the job with its message. The same command with
--resume continues.";

/// How the logits are distributed.
#[derive(Clone, Copy, PartialEq)]
enum Distributed {
    Rows,
    Vocab,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(command) = children::tied(&args) {
        // What becomes a child is no rank.
        return children::become_the_child(command);
    }
    let asked = distributed(args);
    let asks_for_help = |args: &[OsString]| args.iter().any(|arg| arg == "--help" || arg == "-h");
    match &asked {
        Ok((Distributed::Rows, args)) if args.is_empty() || asks_for_help(args) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok((Distributed::Vocab, args)) if asks_for_help(args) => return vocab::help(),
        _ => {}
    }
    stop::on_signals();
    ExitCode::from(xent_mpi::run(|world| work(world, asked)))
}

fn work(
    world: &SimpleCommunicator,
    asked: Result<(Distributed, Vec<OsString>), Failure>,
) -> Result<u8, Failure> {
    let (distributed, args) = asked?;
    match distributed {
        Distributed::Rows => rows::run(world, &Asked::of(args, world.rank(), world.size())?),
        Distributed::Vocab => vocab::run(world, args),
    }
}

/// How the logits are distributed, and the arguments behind the command without that.
fn distributed(args: Vec<OsString>) -> Result<(Distributed, Vec<OsString>), Failure> {
    let mut args = args.into_iter();
    match args.next() {
        None => return Ok((Distributed::Rows, Vec::new())),
        Some(help) if help == "--help" || help == "-h" => return Ok((Distributed::Rows, vec![help])),
        Some(command) if command != "eval" => {
            let command = command.to_string_lossy();
            return Err(format!("{command}: the command is `eval` (--help says more)").into());
        }
        Some(_) => {}
    }
    let (mut how, mut others) = (Distributed::Rows, Vec::new());
    while let Some(arg) = args.next() {
        let (flag, value) = split(&arg);
        if flag != "--distributed" {
            others.push(arg);
            continue;
        }
        let value = value.or_else(|| args.next()).unwrap_or_default();
        how = match value.to_str() {
            Some("rows") => Distributed::Rows,
            Some("vocab") => Distributed::Vocab,
            _ => return Err(format!("--distributed {}: rows or vocab", value.to_string_lossy()).into()),
        };
    }
    Ok((how, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_taken_out_of_the_arguments() {
        let of = |args: &str| distributed(args.split_whitespace().map(OsString::from).collect());
        for (args, how, others) in [
            ("eval a.npy --json", Distributed::Rows, 2),
            ("eval --distributed=vocab a.npy", Distributed::Vocab, 1),
            ("eval a.npy --distributed rows -h", Distributed::Rows, 2),
            ("--help", Distributed::Rows, 1),
        ] {
            let (found, rest) = of(args).unwrap();
            assert!(found == how && rest.len() == others, "{args}: {rest:?}");
        }
        for (args, says) in [
            ("softmax a.npy", "softmax: the command is `eval` (--help says more)"),
            ("eval a.npy --distributed columns", "--distributed columns: rows or vocab"),
            ("eval a.npy --distributed", "--distributed : rows or vocab"),
        ] {
            assert_eq!(of(args).err().map(|error| error.to_string()).as_deref(), Some(says), "{args}");
        }
    }
}
