//! Little of what a process may take: the tool says what is short, or does without.

#![cfg(target_os = "linux")]

use std::process::Command;

use crate::support::{Folder, Run, logits, run};

/// The tool under a limit, as a shell sets it.
fn under(folder: &Folder, limit: &str, args: &str) -> Run {
    let mut command = Command::new("sh");
    let script = format!("ulimit {limit} && exec '{}' {args}", env!("CARGO_BIN_EXE_xent"));
    command.args(["-c", &script]).current_dir(folder.path("")).env_remove("RUST_LOG");
    // The best there is: a named adapter that fails is an error, and not replaced by the CPU.
    command.env_remove("XENT_ADAPTER");
    run(command)
}

/// Every limit of these, on every command that looks for a device.
fn check(limits: &[&str], says: &str) {
    let folder = Folder::new();
    folder.logits(&logits(120), 3).targets(&[0; 40]);
    for limit in limits {
        for args in [
            "eval logits.npy --targets targets.npy --rows-out rows.npy",
            "softmax logits.npy -o probs.npy",
            "demo --rows 8 --cols 100",
            "adapters",
        ] {
            let run = under(&folder, limit, args);
            let context = format!("ulimit {limit}, {args}: {run:?}");
            // A loader that finds no library; and a driver that crashes, which was told before.
            let is_of_the_loader = run.status == Some(127);
            let is_told = run.complaints().iter().any(|line| line.contains(says));
            let is_crash = run.status.is_none() && is_told;
            assert!(is_crash || is_of_the_loader || matches!(run.status, Some(0 | 2 | 3)), "{context}");
            assert!(!run.stderr.contains("panicked") && !run.stderr.contains("syntax"), "{context}");
            if run.status == Some(2) {
                assert!(run.stderr.contains("Too many open files"), "{context}");
            } else if !is_of_the_loader {
                assert!(is_told, "{context}");
            }
        }
    }
}

#[test]
fn few_files() {
    check(&["-n 4", "-n 5", "-n 6", "-n 7", "-n 9", "-n 15"], "(ulimit -n)");
}

#[test]
fn little_address_space() {
    check(&["-v 40000", "-v 60000", "-v 150000", "-v 250000", "-v 300000"], "(ulimit -v)");
}

/// A stack that is small is enough.
#[test]
fn a_small_stack() {
    let folder = Folder::new();
    folder.logits(&logits(120), 3).targets(&[0; 40]);
    for limit in ["-s 64", "-s 128", "-s 512"] {
        for args in ["eval logits.npy --targets targets.npy", "softmax logits.npy -o probs.npy", "adapters"] {
            let run = under(&folder, limit, args);
            assert_eq!(run.status, Some(0), "ulimit {limit}, {args}: {run:?}");
        }
    }
}
