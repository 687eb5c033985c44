//! Every rank has some of the rows: `xent eval --part` on each, and `xent merge` on rank 0.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;
use xent_mpi::job::abort;

use crate::asked::Asked;
use crate::children::{self, Ended};
use crate::waiting::wait_for_all;
use crate::{Failure, devices, stop};

/// Evaluates, and prints the report on rank 0. Returns the status of the job.
pub fn run(world: &SimpleCommunicator, asked: &Asked) -> Result<u8, Failure> {
    let tool = children::tool(asked.tool.as_deref());
    let (rank, ranks) = (world.rank(), world.size());
    let part = format!("{}/{ranks}", rank + 1);
    let state = state_path(asked, &part);
    let mut args: Vec<OsString> = vec!["eval".into()];
    args.extend(asked.eval.iter().cloned());
    args.extend(["--part".into(), OsString::from(&part), "--state-out".into(), state.clone().into()]);
    if let Some(adapter) = devices::adapter(world, asked.adapter.as_deref()) {
        args.extend(["--adapter".into(), adapter.into()]);
    }
    let mut command = children::command(&tool, args)?;
    command.env_remove("XENT_ADAPTER").stdout(Stdio::null());
    ended(children::run(command, &format!("rank {rank}"))?, &format!("part {part}"))?;

    let no_state = |error| format!("{} has left no state in {}: {error}", tool.display(), state.display());
    let own = fs::read(&state).map_err(no_state)?;
    wait_for_all(world);
    let all = xent_mpi::gather_bytes(world, 0, "the states", &own)?;
    let status = all.map(|all| merge(&tool, &asked.merge, &all)).transpose()?.unwrap_or(0);
    // Nobody needs the states any more. Until here, a job that was stopped could have used them.
    wait_for_all(world);
    fs::remove_file(&state).map_err(|error| format!("{}: {error}", state.display()))?;
    Ok(status)
}

/// Merges states, prints the report, and returns its status.
fn merge(tool: &Path, options: &[OsString], states: &[Vec<u8>]) -> Result<u8, Failure> {
    let folder = tempfile::tempdir()?;
    let mut args: Vec<OsString> = vec!["merge".into()];
    for (rank, bytes) in states.iter().enumerate() {
        let path = folder.path().join(format!("rank-{rank}.state"));
        fs::write(&path, bytes)?;
        args.push(path.into());
    }
    args.extend(options.iter().cloned());
    let mut command = children::command(tool, args)?;
    // `mpirun` gives ranks a terminal wherever their output goes.
    command.env("NO_COLOR", "1");
    match children::run(command, "rank 0")? {
        // Bad rows in a strict run, or results that were not verified: the report has been printed.
        Ended::With(status) if status.code() == Some(1) => Ok(1),
        other => ended(other, "merging").map(|()| 0),
    }
}

/// Refuses a child that did not end well. A stop ends the job here.
fn ended(ended: Ended, what: &str) -> Result<(), Failure> {
    match ended {
        Ended::With(status) if status.success() => Ok(()),
        Ended::With(status) if status.code() == Some(stop::STATUS) => {
            abort(stop::STATUS, format!("stopped ({what})"))
        }
        Ended::Stopped => abort(stop::STATUS, format!("stopped ({what})")),
        Ended::With(status) => Err(format!("{what}: `xent` ended with {status}").into()),
    }
}

/// The file of a part's state, in this folder, where --resume finds it again. Its name is that of the command, without --resume.
fn state_path(asked: &Asked, part: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    let options = asked.eval.iter().chain(&asked.merge).filter(|arg| *arg != "--resume");
    options.collect::<Vec<_>>().hash(&mut hasher);
    asked.adapter.hash(&mut hasher);
    format!("xent-mpi.{:016x}.{}.xent-state", hasher.finish(), part.replace('/', "-of-")).into()
}
