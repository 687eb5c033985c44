//! The command line itself.

use std::process::Stdio;

use crate::support::{Folder, logits};

#[test]
fn what_is_not_understood_has_status_2() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    for (name, args, says) in [
        ("no command", "", "Usage: xent"),
        ("unknown command", "evaluate", "unrecognized subcommand"),
        (
            "unknown option",
            "eval logits.npy --targets targets.npy --frobnicate",
            "unexpected argument '--frobnicate'",
        ),
        ("no targets", "eval logits.npy", "--targets <TARGETS.npy>"),
        ("no logits", "eval --targets targets.npy", "<LOGITS.npy>"),
        ("no output", "softmax logits.npy", "--output <OUT.npy>"),
        ("unknown reduction", "eval logits.npy --targets targets.npy --reduction none", "mean, sum"),
        (
            "ignore index beyond i32",
            "eval logits.npy --targets targets.npy --ignore-index 4294967196",
            "4294967196 is not in -2147483648..=2147483647",
        ),
        ("a negative count", "eval logits.npy --targets targets.npy --verify=-1", "--verify"),
        ("no classes in the demo", "demo --rows 1 --cols 0", "a row needs at least one class"),
        ("too large a demo", "demo --rows 99999999999 --cols 9999999999", "overflows the address space"),
    ] {
        let run = folder.run(args);
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{name}: {run:?}");
        assert!(run.stderr.contains(says), "{name}: {}", run.stderr);
    }
}

#[test]
fn help_and_version() {
    let folder = Folder::new();
    let help = folder.run("--help");
    assert_eq!(help.status, Some(0));
    for word in ["eval", "softmax", "adapters", "demo", "Exit status:"] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    for (command, word) in
        [("eval", "JSON keys:"), ("softmax", "--log"), ("adapters", "--json"), ("demo", "--seed")]
    {
        let help = folder.run(&format!("{command} --help"));
        assert!(help.status == Some(0) && help.stdout.contains(word), "{command}: {help:?}");
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{command}: {}", help.stdout);
    }
    assert!(!folder.run("demo --help").stdout.contains("--rows"), "hidden");
    let version = folder.run("--version");
    assert_eq!(version.stdout, format!("xent {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = Folder::new();
    folder.logits(&logits(40), 4).targets(&[1; 10]);
    for args in
        ["eval logits.npy --targets targets.npy", "adapters", "demo --rows 4 --cols 100", "eval --help"]
    {
        let mut child = folder.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args}: {stderr}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = folder.command("eval logits.npy --targets targets.npy").stdout(full).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("xent: stdout: No space left"), "{stderr}");
}

#[test]
fn logging_is_off_unless_asked_for() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let run = |level: Option<&str>| {
        let mut command = folder.command("eval logits.npy --targets targets.npy");
        level.map(|level| command.env("RUST_LOG", level));
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(!run(None).contains("took adapter"));
    assert!(run(Some("info")).contains("took adapter"));
}
