//! What is kept of a run that dies, or that meets a fault: everything but the last moments.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::{Folder, Run, logits, run, without_adapters};

pub const COLS: usize = 50;
pub const ROWS: usize = 1_500;
const OUTPUTS: [&str; 3] = ["rows.csv", "grad.npy", "lse.npy"];
/// Many windows, and a checkpoint before each.
pub const EVAL: &str = "eval logits.npy --targets targets.npy --json --windows 10KB --checkpoint-every 0 \
    --rows-out rows.csv --grad-out grad.npy --lse-out lse.npy";
pub fn folder() -> Folder {
    let folder = Folder::in_memory();
    let targets: Vec<i64> = (0..ROWS).map(|row| (row * row % COLS) as i64).collect();
    folder.logits(&logits(ROWS * COLS), COLS).targets(&targets);
    folder
}

/// Without a device: what is kept is the same, and it begins at once.
pub fn command(folder: &Folder, args: &str) -> Command {
    without_adapters(folder.command(args))
}

fn eval(folder: &Folder, args: &str) -> Run {
    run(command(folder, args))
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn signal(child: &Child, name: &str) {
    let _ = Command::new("kill").args([name, &child.id().to_string()]).status();
}

/// What an unbroken run writes.
pub fn expected() -> Vec<Vec<u8>> {
    let folder = folder();
    let run = eval(&folder, &EVAL.replace("--checkpoint-every 0", ""));
    assert_eq!(run.status, Some(0), "{run:?}");
    outputs(&folder)
}

fn outputs(folder: &Folder) -> Vec<Vec<u8>> {
    OUTPUTS.iter().map(|name| folder.read(name)).collect()
}

/// Resumes a run, which must give this and leave nothing else; whether it went on behind the first row.
pub fn resumes(folder: &Folder, args: &str, expected: &[Vec<u8>], name: &str) -> bool {
    let resumed = eval(folder, &format!("{args} --resume"));
    assert_eq!(resumed.status, Some(0), "{name}: {resumed:?}");
    assert!(outputs(folder) == expected, "{name}: {resumed:?}");
    let mut left = folder.names();
    left.retain(|name| !OUTPUTS.contains(&name.as_str()));
    assert_eq!(left, ["logits.npy", "targets.npy"], "{name}: nothing else is left");
    resumed.stderr.contains("xent: continuing after ")
}

/// Runs until the gradient has so many bytes.
pub fn begun(folder: &Folder, args: &str, bytes: u64) -> Child {
    let mut child = spawn(command(folder, args));
    let has_begun = || {
        let names = folder.names();
        let partial = names.iter().find(|name| name.starts_with("grad.npy."));
        partial.is_some_and(|name| folder.path(name).metadata().is_ok_and(|file| file.len() > bytes))
    };
    while !has_begun() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn killed_at_twenty_points_and_resumed_a_run_has_the_digits_of_an_unbroken_one() {
    let expected = expected();
    let unbroken = folder();
    let start = Instant::now();
    assert_eq!(eval(&unbroken, EVAL).status, Some(0));
    let whole = start.elapsed();
    let mut rng = SmallRng::seed_from_u64(9);
    let mut resumed = 0;
    for kill in 0..20 {
        let folder = folder();
        let mut child = spawn(command(&folder, EVAL));
        sleep(whole.mul_f64(rng.random_range(0.0..1.0)));
        signal(&child, if kill % 5 == 4 { "-QUIT" } else { "-KILL" });
        child.wait().unwrap();
        resumed += usize::from(resumes(&folder, EVAL, &expected, &format!("kill {kill}")));
    }
    assert!(resumed >= 5, "most were killed behind their first checkpoint: {resumed}");
}

#[test]
fn of_two_that_resume_one_run_at_once_the_second_is_refused() {
    let expected = expected();
    let mut refused = 0;
    for round in 0..20 {
        let folder = folder();
        assert_eq!(eval(&folder, &format!("{EVAL} --stop-after 700")).status, Some(130));
        let resume = format!("{EVAL} --resume");
        let both = [(); 2].map(|()| spawn(command(&folder, &resume)));
        let mut done = 0;
        for child in both {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let complaints =
                said.lines().filter(|line| line.starts_with("xent: ") && !line.contains("adapter"));
            match (output.status.code(), &complaints.collect::<Vec<_>>()[..]) {
                // If the other one was through already, this one starts from the beginning.
                (Some(0), _) => done += 1,
                (Some(2), [line]) if line.contains("this run is in progress in another process") => {
                    refused += 1
                }
                other => panic!("{round}: {other:?}"),
            }
        }
        assert!(done >= 1, "{round}");
        assert!(outputs(&folder) == expected, "{round}");
        assert_eq!(folder.names().len(), 2 + OUTPUTS.len(), "{round}: {:?}", folder.names());
    }
    assert!(refused > 0, "they never met");
}

#[test]
fn a_second_run_changes_nothing_of_the_first() {
    let folder = folder();
    let first = begun(&folder, EVAL, 10_000);
    let second = eval(&folder, EVAL);
    let says =
        "this run is in progress in another process, which continues; this process has changed nothing";
    assert!(second.status == Some(2) && second.complaints()[0].ends_with(says), "{second:?}");
    // Another name of the checkpoint is no way around it.
    let third = eval(&folder, &format!("{EVAL} --checkpoint mine"));
    let says = "rows.csv: cannot be written: another process is writing it";
    assert!(third.status == Some(2) && third.complaints()[0].ends_with(says), "{third:?}");
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
    assert!(outputs(&folder) == expected());
    assert_eq!(folder.names().len(), 2 + OUTPUTS.len(), "{:?}", folder.names());
}

/// A file that ends early while it is read, and is whole again.
#[test]
fn a_read_that_fails_loses_nothing() {
    let folder = folder();
    let child = begun(&folder, EVAL, 30_000);
    let path = folder.path("logits.npy");
    let (bytes, there) = (folder.read("logits.npy"), path.metadata().unwrap());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(100).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("rows; the same command with --resume continues from logits.npy."), "{said}");
    assert!(said.contains("xent: logits.npy: it became shorter while it was read"), "{said}");
    std::fs::write(&path, bytes).unwrap();
    file.set_modified(there.modified().unwrap()).unwrap();
    assert!(resumes(&folder, EVAL, &expected(), "truncated"));
}

/// A write beyond so many blocks of 512 bytes is SIGXFSZ.
#[test]
fn a_file_larger_than_is_allowed_loses_nothing() {
    let folder = folder();
    // By the clock there is no checkpoint yet: the fault makes it.
    let args = EVAL.replace("--checkpoint-every 0", "");
    let mut limited = Command::new("sh");
    let script = format!("ulimit -f 400; exec {} {args}", env!("CARGO_BIN_EXE_xent"));
    limited.args(["-c", &script]).current_dir(folder.path(""));
    let stopped = run(without_adapters(limited));
    assert_eq!(stopped.status, Some(2), "{stopped:?}");
    assert!(stopped.stderr.contains("grad.npy: File too large"), "{stopped:?}");
    assert!(resumes(&folder, &args, &expected(), "ulimit"));
}

/// A file system of so many bytes, where the rights to make one are there.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(at: std::path::PathBuf, bytes: usize) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(&at)
            .output();
        let is_mounted = mount.is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let folder = folder();
    let Some(small) = Small::mount(folder.path("small"), 1_000_000) else {
        let _ = writeln!(std::io::stderr(), "xent: SKIPPED: a full disk: no file system can be mounted");
        return;
    };
    let args = EVAL.replace("--checkpoint-every 0", "");
    for name in ["logits.npy", "targets.npy"] {
        std::fs::copy(folder.path(name), small.0.join(name)).unwrap();
    }
    let on_small = |args: &str| {
        let mut command = command(&folder, args);
        command.current_dir(&small.0);
        run(command)
    };
    // What is left is taken up to the last bytes, so that the checkpoint has only the room that it has taken before.
    let ballast = small.0.join("ballast");
    std::fs::write(&ballast, vec![1; 350_000]).unwrap();
    let full = on_small(&args);
    assert_eq!(full.status, Some(2), "{full:?}");
    assert!(full.stderr.contains("No space left on device"), "{full:?}");
    assert!(full.stderr.contains("the same command with --resume continues from logits.npy."), "{full:?}");
    std::fs::remove_file(ballast).unwrap();
    let resumed = on_small(&format!("{args} --resume"));
    assert_eq!(resumed.status, Some(0), "{resumed:?}");
    let expected = expected();
    for (name, expected) in OUTPUTS.iter().zip(expected) {
        assert!(std::fs::read(small.0.join(name)).unwrap() == expected, "{name}");
    }
    assert_eq!(std::fs::read_dir(&small.0).unwrap().count(), 2 + OUTPUTS.len(), "nothing else is left");
}

/// Faults that the system makes on purpose, where it can: `strace` lets the `when`th call on a file fail.
#[test]
fn input_and_output_errors_lose_nothing() {
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
    {
        let _ = writeln!(std::io::stderr(), "xent: SKIPPED: errors of input and output: no strace");
        return;
    }
    let expected = expected();
    let args = EVAL.replace("--checkpoint-every 0", "");
    // The name of the partial output has the run's in it, and that is the folder's too.
    let folder = folder();
    assert_eq!(eval(&folder, &format!("{args} --stop-after 700")).status, Some(130));
    let partial = folder.names().into_iter().find(|name| name.starts_with("grad.npy.")).unwrap();
    assert!(resumes(&folder, &args, &expected, "stopped"));
    let every = format!("{args} --checkpoint-every 0");
    for (name, file, inject, args, says) in [
        ("a read", "logits.npy", "read:error=EIO:when=20", &args, "logits.npy: Input/output error"),
        ("a write", &partial, "write:error=EIO:when=20", &args, "grad.npy: Input/output error"),
        ("a full disk", &partial, "write:error=ENOSPC:when=20", &args, "grad.npy: No space left on device"),
        ("a sync", &partial, "fdatasync:error=EIO:when=9", &every, "grad.npy: Input/output error"),
        ("a death in a sync", &partial, "fdatasync:signal=KILL:when=9", &every, ""),
    ] {
        let inner = command(&folder, args);
        let mut traced = Command::new("strace");
        let of_calls = format!("trace={}", inject.split(':').next().unwrap());
        traced
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(folder.path(file).canonicalize().unwrap_or(folder.path(file)));
        traced.args(["-e", &of_calls, "-e", &format!("inject={inject}")]).arg(inner.get_program());
        traced.args(inner.get_args()).current_dir(folder.path(""));
        let failed = run(without_adapters(traced));
        assert!(failed.status != Some(0) && failed.stderr.contains(says), "{name}: {failed:?}");
        assert!(resumes(&folder, args, &expected, name), "{name}: {failed:?}");
        OUTPUTS.iter().for_each(|name| std::fs::remove_file(folder.path(name)).unwrap());
    }
}

#[test]
fn logits_of_one_name_have_checkpoints_of_their_own() {
    let folder = folder();
    let others: Vec<f32> = logits(ROWS * COLS).iter().map(|logit| 0.5 * logit).collect();
    for (name, values) in [("a", logits(ROWS * COLS)), ("b", others)] {
        std::fs::create_dir(folder.path(name)).unwrap();
        folder.array(&format!("{name}/logits.npy"), &[ROWS, COLS], &values);
    }
    let args = |name: &str, more: &str| {
        format!(
            "eval {name}/logits.npy --targets targets.npy --json --windows 10KB --lse-out {name}.npy {more}"
        )
    };
    for (name, row) in [("a", 300), ("b", 900)] {
        assert_eq!(eval(&folder, &args(name, &format!("--stop-after {row}"))).status, Some(130));
    }
    for name in ["a", "b"] {
        let resumed = eval(&folder, &args(name, "--resume"));
        assert_eq!(resumed.status, Some(0), "{name}: {resumed:?}");
        let unbroken = eval(
            &folder,
            &args(name, "--lse-out whole.npy").replacen(&format!("--lse-out {name}.npy"), "", 1),
        );
        assert_eq!(unbroken.status, Some(0), "{unbroken:?}");
        assert!(folder.read(&format!("{name}.npy")) == folder.read("whole.npy"), "{name}");
    }
    assert!(folder.names().iter().all(|name| !name.contains("xent-")), "{:?}", folder.names());
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told_before_the_run() {
    let folder = folder();
    let long = "c".repeat(240);
    let args = "eval logits.npy --targets targets.npy --json --windows 10KB";
    for (checkpoint, says) in [(&*long, "File name too long"), ("/proc/c", "cannot be written: ")] {
        let run = eval(&folder, &format!("{args} --checkpoint {checkpoint}"));
        assert!(run.status == Some(2) && run.stdout.is_empty() && run.stderr.contains(says), "{run:?}");
    }
    // The logits may have the longest name there is.
    let name = format!("{}.npy", "l".repeat(251));
    std::fs::rename(folder.path("logits.npy"), folder.path(&name)).unwrap();
    let args = args.replace("logits.npy", &name);
    assert_eq!(eval(&folder, &format!("{args} --stop-after 700")).status, Some(130));
    assert_eq!(eval(&folder, &format!("{args} --resume")).status, Some(0));
    // Where nobody has named one, a run goes without.
    let (logits, targets) = (folder.path(&name), folder.path("targets.npy"));
    let args = format!("eval {} --targets {} --json", logits.display(), targets.display());
    let mut elsewhere = command(&folder, &args);
    elsewhere.current_dir("/proc");
    let run = run(elsewhere);
    let says = "this run has no checkpoint unless --checkpoint gives a place for it";
    assert!(run.status == Some(0) && run.complaints()[0].ends_with(says), "{run:?}");
}
