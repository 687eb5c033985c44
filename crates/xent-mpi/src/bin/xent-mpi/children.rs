//! The tool `xent`, as a child of a rank. A child ends with its rank, however that ends.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::stop;

/// The first argument of a process that becomes a child: the id of its rank and the child's command follow.
const TIED: &str = "--tied-to";
/// How often a rank looks at its child, and at signals.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How a child ended.
pub enum Ended {
    /// By itself.
    With(ExitStatus),
    /// As the rank was asked to stop.
    Stopped,
}

/// The tool: the one that was named, or the one beside this program, or the one that PATH has.
pub fn tool(named: Option<&Path>) -> PathBuf {
    let of_the_environment = std::env::var_os("XENT_TOOL").filter(|path| !path.is_empty()).map(PathBuf::from);
    let beside = || {
        let beside = std::env::current_exe().ok()?.with_file_name("xent");
        beside.is_file().then_some(beside)
    };
    named.map(Path::to_owned).or(of_the_environment).or_else(beside).unwrap_or_else(|| "xent".into())
}

/// A command of the tool that ends when this rank does. Its stdin is empty.
pub fn command(tool: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(TIED).arg(std::process::id().to_string()).arg(tool).args(args).stdin(Stdio::null());
    Ok(command)
}

/// Runs a child to its end. Each line that it says on stderr is repeated with this name in front. If the rank is asked to stop,
/// so is the child.
pub fn run(mut command: Command, name: &str) -> std::io::Result<Ended> {
    // `mpirun` signals the process group of the rank. The child would get that signal beside the rank's own, and a second signal
    // ends the tool at once, without a checkpoint.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let said = child.stderr.take();
    thread::scope(|scope| {
        scope.spawn(|| said.map(|said| repeat(said, name)));
        wait(&mut child)
    })
}

fn wait(child: &mut Child) -> std::io::Result<Ended> {
    let mut was_asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if was_asked { Ended::Stopped } else { Ended::With(status) });
        }
        if stop::is_asked_for() && !std::mem::replace(&mut was_asked, true) {
            ask_to_stop(child);
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(unix)]
fn ask_to_stop(child: &Child) {
    if let Some(id) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn ask_to_stop(child: &mut Child) {
    let _ = child.kill();
}

/// Repeats lines on stderr. Nobody may be there to read them any more.
fn repeat(said: impl Read, name: &str) {
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        // In one piece, as the lines of other ranks go to the same place.
        let line = format!("{name}: {}\n", String::from_utf8_lossy(&line).trim_end());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// The rank and the command of what these arguments make a child.
pub fn tied(args: &[OsString]) -> Option<(&OsString, &[OsString])> {
    match args {
        [first, rank, command @ ..] if first == TIED && !command.is_empty() => Some((rank, command)),
        _ => None,
    }
}

/// Becomes the child, after it has asked the system for a signal at the end of the rank: a killed rank cannot stop it.
pub fn become_the_child((rank, command): (&OsString, &[OsString])) -> ExitCode {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};

        // The signal outlives `exec`. A rank that has ended before is no longer the parent.
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
        let parent = getppid().map(|parent| parent.as_raw_nonzero().to_string());
        if parent.is_none_or(|parent| *rank != *parent) {
            return ExitCode::FAILURE;
        }
    }
    let _ = rank;
    let [tool, args @ ..] = command else { return ExitCode::FAILURE };
    let mut command = Command::new(tool);
    command.args(args);
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => return ExitCode::from(status.code().map_or(1, |code| code as u8)),
        Err(error) => error,
    };
    eprintln!(
        "{}: {error} (the tool is part of the crate xent: cargo install xent --features cli; --tool or XENT_TOOL names it)",
        tool.display()
    );
    ExitCode::from(2)
}
