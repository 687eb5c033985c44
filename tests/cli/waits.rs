//! Nothing is waited for when the run is to stop, and nothing for ever.

#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::kept::{COLS, EVAL, ROWS, begun, command, expected, folder, resumes, signal};
use crate::support::{Folder, ended_within, logits};

/// What is so slow that it fails is not slow but stuck.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_stop_is_seen_while_stdin_stalls() {
    let folder = folder();
    let some = &folder.read("logits.npy")[..150_000];
    for (name, args, sent) in [
        ("rows", "eval - --targets targets.npy --windows 10KB --rows-out rows.csv", some),
        ("no header yet", "eval - --targets targets.npy --rows-out rows.csv", &some[..0]),
        ("half a header", "softmax - -o out.npy", &some[..40]),
        ("softmax", "softmax - -o out.npy", some),
    ] {
        for kill in ["-INT", "-TERM"] {
            let mut stalled = command(&folder, args);
            let stalled = stalled.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = stalled.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(sent).unwrap();
            sleep(Duration::from_millis(500));
            assert!(child.try_wait().unwrap().is_none(), "{name}: it waits");
            let start = Instant::now();
            signal(&child, kill);
            assert_eq!(ended_within(&mut child, PATIENCE), Some(130), "{name} {kill}");
            // A second is promised; a machine with other work has some more.
            assert!(start.elapsed() < Duration::from_secs(4), "{name} {kill}: {:?}", start.elapsed());
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.ends_with("xent: stopped\n"), "{name} {kill}: {said}");
            if name == "rows" {
                let says =
                    "rows; input from stdin or a pipe cannot be read again, so the run cannot be resumed";
                assert!(said.contains(says), "{kill}: {said}");
                assert!(String::from_utf8(output.stdout).unwrap().contains("so far"), "{kill}: {said}");
            }
            assert_eq!(folder.names(), ["logits.npy", "targets.npy"], "{name} {kill}");
        }
    }
}

/// Something in a window that does not return: here a report that nobody takes, behind the last row.
#[test]
fn a_stop_is_seen_where_no_window_comes() {
    let folder = folder();
    let mut stuck = command(&folder, EVAL);
    let (reader, writer) = std::io::pipe().unwrap();
    // A pipe that is full already.
    let full = spawn_filler(&writer);
    let mut child = stuck.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(stuck);
    let is_all_done = || {
        let names = folder.names();
        names.iter().any(|name| {
            name.starts_with("grad.npy.")
                && folder.path(name).metadata().is_ok_and(|file| file.len() as usize > ROWS * COLS * 4)
        })
    };
    let start = Instant::now();
    while !is_all_done() && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "nobody has taken the report");
    let start = Instant::now();
    signal(&child, "-INT");
    assert_eq!(ended_within(&mut child, PATIENCE), Some(130));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    drop((reader, full));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(
        said.contains("after 1,500 of 1,500 rows; the same command with --resume continues from "),
        "{said}"
    );
    assert!(resumes(&folder, EVAL, &expected(), "stuck"));
}

/// Fills a pipe, as far as it takes bytes.
fn spawn_filler(pipe: &std::io::PipeWriter) -> Child {
    let child = Command::new("cat").arg("/dev/zero").stdout(pipe.try_clone().unwrap()).spawn().unwrap();
    sleep(Duration::from_millis(200));
    child
}

#[test]
fn a_second_signal_ends_a_run_at_once_and_keeps_its_checkpoint() {
    let folder = folder();
    let mut child = begun(&folder, EVAL, 30_000);
    signal(&child, "-TERM");
    signal(&child, "-TERM");
    assert_eq!(ended_within(&mut child, PATIENCE), Some(130));
    assert!(resumes(&folder, EVAL, &expected(), "two signals"));
}

#[test]
fn pipes_where_files_are_needed_are_refused() {
    let folder = Folder::new();
    folder.logits(&logits(40), 4).targets(&[1; 10]);
    assert!(Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap().success());
    std::os::unix::fs::symlink("pipe", folder.path("pipe.npy")).unwrap();
    let eval = "eval logits.npy --targets targets.npy";
    for args in [
        format!("{eval} --checkpoint pipe"),
        format!("{eval} --checkpoint pipe --resume"),
        format!("{eval} --rows-out pipe.npy"),
        format!("{eval} --tuning pipe"),
        "softmax logits.npy -o out.npy --tuning pipe".to_owned(),
        "eval logits.npy --loss kl --teacher pipe".to_owned(),
        "softmax logits.npy -o pipe.npy".to_owned(),
        "tune --quick -o pipe".to_owned(),
    ] {
        let before = folder.names();
        let mut command = folder.command(&args);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let status = ended_within(&mut child, PATIENCE);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert!(status == Some(2) && said.contains("regular file"), "{args}: {status:?}, {said}");
        assert_eq!(folder.names(), before, "{args}");
    }
}
