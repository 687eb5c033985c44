//! Output files: there whole or not at all.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Folder, npy};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.logits(&[0.0; 12], 3).targets(&[0, 1, 2, 0]);
    folder
}

#[test]
fn outputs_that_cannot_be() {
    let folder = folder();
    std::fs::create_dir(folder.path("folder.npy")).unwrap();
    folder.write("locked.npy", "locked");
    let mut locked = std::fs::metadata(folder.path("locked.npy")).unwrap().permissions();
    locked.set_readonly(true);
    std::fs::set_permissions(folder.path("locked.npy"), locked).unwrap();
    let eval = "eval logits.npy --targets targets.npy";
    let too_long = format!("{}.npy: cannot be written: File name too long", "g".repeat(300));
    for (name, args, line) in [
        (
            "the logits",
            format!("{eval} --rows-out logits.npy"),
            "logits.npy: cannot be written: it is also the logits",
        ),
        (
            "the logits by another name",
            format!("{eval} --grad-out folder.npy/../logits.npy"),
            "folder.npy/../logits.npy: cannot be written: it is also the logits",
        ),
        (
            "the targets",
            format!("{eval} --grad-out ./targets.npy"),
            "./targets.npy: cannot be written: it is also the targets",
        ),
        (
            "the tuning",
            format!("{eval} --tuning tune.csv --rows-out tune.csv"),
            "tune.csv: cannot be written: it is also the tuning",
        ),
        (
            "the tuning of probabilities",
            "softmax logits.npy --tuning t.npy -o t.npy".into(),
            "t.npy: cannot be written: it is also the tuning",
        ),
        (
            "the tuning of a comparison",
            "compare logits.npy logits.npy --tuning tune.csv --rows-out tune.csv".into(),
            "tune.csv: cannot be written: it is also the tuning",
        ),
        (
            "the tuning of the largest classes",
            "topk logits.npy -k 1 --tuning t.npy -o t.npy".into(),
            "t.npy: cannot be written: it is also the tuning",
        ),
        (
            "the tuning of a sample",
            "sample logits.npy --tuning t.npy -o t.npy".into(),
            "t.npy: cannot be written: it is also the tuning",
        ),
        (
            "both outputs",
            format!("{eval} --rows-out new.npy --grad-out ./new.npy"),
            "./new.npy: cannot be written: it is also another output",
        ),
        (
            "a mask",
            format!("{eval} --row-mask targets.npy --lse-out targets.npy"),
            "targets.npy: cannot be written: it is also the targets",
        ),
        (
            "weights",
            format!("{eval} --row-weights w.npy --argmax-out w.npy"),
            "w.npy: cannot be written: it is also the row weights",
        ),
        (
            "soft targets",
            "eval logits.npy --soft-targets s.npy --lse-out s.npy".into(),
            "s.npy: cannot be written: it is also the soft targets",
        ),
        (
            "lse and argmax",
            format!("{eval} --lse-out new.npy --argmax-out new.npy"),
            "new.npy: cannot be written: it is also another output",
        ),
        (
            "softmax onto itself",
            "softmax logits.npy -o logits.npy".into(),
            "logits.npy: cannot be written: it is also the logits",
        ),
        (
            "no such folder",
            format!("{eval} --rows-out none/rows.npy"),
            "none/rows.npy: cannot be written: No such file",
        ),
        (
            "softmax to no folder",
            "softmax logits.npy -o none/out.npy".into(),
            "none/out.npy: cannot be written: No such file",
        ),
        (
            "a folder",
            format!("{eval} --rows-out folder.npy"),
            "folder.npy: cannot be written: it exists and is not a regular file",
        ),
        (
            "read-only",
            format!("{eval} --rows-out locked.npy"),
            "locked.npy: cannot be written: it exists and is read-only",
        ),
        (
            "a name too long for a second output",
            format!("{eval} --rows-out good.npy --grad-out {}.npy", "g".repeat(300)),
            &too_long,
        ),
        (
            "a good one beside a bad one",
            format!("{eval} --rows-out good.npy --grad-out none/grad.npy"),
            "none/grad.npy: cannot be written: No such file",
        ),
    ] {
        let (before, logits) = (folder.names(), folder.read("logits.npy"));
        let run = folder.run(&args);
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{name}: {run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{name}: {run:?}");
        assert!(run.stderr.starts_with(&format!("xent: {line}")), "{name}: {}", run.stderr);
        assert_eq!((folder.names(), folder.read("logits.npy")), (before, logits), "{name}");
    }
    assert_eq!(folder.read("locked.npy"), b"locked");
}

#[test]
fn a_run_that_fails_late_leaves_the_output_whole() {
    // The last value of many does not fit into f32: all before it is read, and the output begun.
    let mut values = vec![0.0f64; 300 * 1000];
    values[299_999] = 1e300;
    let folder = folder();
    folder.write("wide.npy", npy("<f8", "(300, 1000)", bytemuck::cast_slice(&values)));
    folder.write("out.npy", "whole");
    let before = folder.names();
    let run = folder.run("softmax wide.npy -o out.npy");
    assert_eq!(run.status, Some(2), "{run:?}");
    assert_eq!(
        run.complaints(),
        [
            "xent: wide.npy: f64 logits, narrowed to f32",
            "xent: wide.npy: logits[299, 999] = 1e300 is beyond f32's range"
        ]
    );
    assert_eq!((folder.names(), folder.read("out.npy")), (before, b"whole".to_vec()));
}

#[test]
fn soft_targets_that_fail_late_leave_no_output() {
    let folder = folder();
    folder.array("soft.npy", &[4, 3], &[[0.5f32; 3], [0.5; 3], [0.5, f32::NAN, 0.5], [0.5; 3]].concat());
    let run = folder.run("eval logits.npy --soft-targets soft.npy --rows-out rows.npy --grad-out grad.npy");
    let line = "xent: soft.npy: targets[2, 1] = NaN is not a finite number";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![line]), "{run:?}");
    assert_eq!(folder.names(), ["logits.npy", "soft.npy", "targets.npy"]);
    // In a row that is left out it is not looked at.
    folder.array("mask.npy", &[4], &[1u8, 1, 0, 1]);
    let run = folder.run("eval logits.npy --soft-targets soft.npy --row-mask mask.npy");
    assert_eq!(run.status, Some(0), "{run:?}");
}

#[test]
fn an_output_replaces_the_file_that_was_there() {
    let folder = folder();
    folder.write("rows.npy", "old").eval("--rows-out rows.npy");
    assert_eq!(folder.values("rows.npy").1, [3f32.ln(); 4]);
    assert_eq!(folder.names(), ["logits.npy", "rows.npy", "targets.npy"]);
}

#[cfg(unix)]
#[test]
fn outputs_have_the_usual_permissions_and_follow_links() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    folder.write("usual", "");
    folder.write("linked.npy", "old");
    std::os::unix::fs::symlink("linked.npy", folder.path("link.npy")).unwrap();
    folder.eval("--rows-out rows.npy --grad-out link.npy");
    let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("rows.npy"), mode("usual"));
    assert!(folder.path("link.npy").is_symlink());
    assert_eq!(folder.values("linked.npy").0, "(4, 3)");
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_no_outputs() {
    let folder = folder();
    for (link, to) in [("dangling.npy", "rows.npy"), ("loop.npy", "loop.npy")] {
        std::os::unix::fs::symlink(to, folder.path(link)).unwrap();
        let before = folder.names();
        let eval = "eval logits.npy --targets targets.npy --rows-out rows.npy --grad-out";
        let run = folder.run(&format!("{eval} {link}"));
        assert_eq!(run.status, Some(2), "{link}: {run:?}");
        assert!(run.stderr.starts_with(&format!("xent: {link}: cannot be written: ")), "{link}: {run:?}");
        assert_eq!(folder.names(), before, "{link}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_nobody_got_leaves_what_resume_needs() {
    let folder = folder();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args = "eval logits.npy --targets targets.npy --rows-out rows.npy";
    let output = folder.command(args).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!folder.path("rows.npy").exists());
    let resumed = folder.run(&format!("{args} --resume"));
    assert_eq!((resumed.status, resumed.complaints()), (Some(0), vec!["xent: continuing after 4 of 4 rows"]));
    assert_eq!(folder.values("rows.npy").1, [3f32.ln(); 4]);
    assert_eq!(folder.names(), ["logits.npy", "rows.npy", "targets.npy"]);
}

/// Ctrl-C while an output grows: the run stops at its next window, and what it has written goes.
#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_file() {
    let folder = Folder::new();
    let (rows, cols) = (6_000, 50_000);
    folder.write("wide.npy", npy("<f4", &format!("({rows}, {cols})"), &[]));
    let file = std::fs::OpenOptions::new().append(true).open(folder.path("wide.npy")).unwrap();
    // Zeros that take no room on the disk.
    file.set_len(file.metadata().unwrap().len() + rows * cols * 4).unwrap();
    let mut command = folder.command("softmax wide.npy -o out.npy");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let has_begun =
        || folder.path("out.npy.softmax.xent-partial").metadata().is_ok_and(|file| file.len() > 1 << 20);
    while !has_begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(folder.names(), ["wide.npy"]);
}

#[cfg(unix)]
#[test]
fn a_device_is_not_replaced() {
    let folder = folder();
    let run = folder.run("softmax logits.npy -o /dev/null");
    assert_eq!(run.status, Some(2), "{run:?}");
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}
