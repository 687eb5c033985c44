//! Runs that are stopped, and go on: `--resume`.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::support::{Folder, Run, logits};

const COLS: usize = 37;
const ROWS: usize = 211;

/// Logits, targets of which some are ignored, and every output there is.
const ALL: &str = "eval logits.npy --targets targets.npy --json --verify 9 --label-smoothing 0.1 --z-loss 1e-4 \
    --rows-out rows.csv --grad-out grad.npy --lse-out lse.safetensors --argmax-out argmax.npy";
const OUTPUTS: [&str; 4] = ["rows.csv", "grad.npy", "lse.safetensors", "argmax.npy"];
/// So much that a window has few rows.
const WINDOWS: &str = "--windows 12KB";

fn folder() -> Folder {
    let folder = Folder::new();
    let targets: Vec<i64> =
        (0..ROWS).map(|row| if row % 7 == 3 { -100 } else { (row * row % COLS) as i64 }).collect();
    folder.logits(&logits(ROWS * COLS), COLS).targets(&targets);
    folder
}

/// What a run said, but for the time it took.
fn said(run: &Run) -> serde_json::Value {
    let mut said: serde_json::Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    for name in ["seconds", "logits_per_second", "peak_memory_bytes", "command", "date"] {
        said[name] = serde_json::Value::Null;
    }
    // Each run has files of its own.
    said["inputs"]["modified"] = serde_json::Value::Null;
    said
}

fn outputs(folder: &Folder) -> Vec<Vec<u8>> {
    OUTPUTS.iter().map(|name| folder.read(name)).collect()
}

#[test]
fn stopped_at_twenty_points_and_resumed_a_run_has_the_digits_of_an_unbroken_one() {
    let whole = folder();
    let unbroken = whole.run(ALL);
    assert_eq!(unbroken.status, Some(0), "{unbroken:?}");
    let mut rng = SmallRng::seed_from_u64(20);
    let mut resumed_at = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let folder = folder();
        let mut row = rng.random_range(20..ROWS - 20);
        let stopped = folder.run(&format!("{ALL} {WINDOWS} --stop-after {row}"));
        assert_eq!(stopped.status, Some(130), "{stopped:?}");
        let rows = said(&stopped)["rows"].as_u64().unwrap() as usize;
        assert!(rows > 0 && rows <= row, "{rows} of {row}");
        resumed_at.insert(rows);
        let checkpoint = ending(&folder, ".xent-checkpoint");
        assert!(checkpoint.starts_with("logits.npy."), "{checkpoint}");
        let complaint = format!(
            "xent: after {rows} of {ROWS} rows; the same command with --resume continues from {checkpoint}"
        );
        assert_eq!(stopped.complaints(), [&*complaint, "xent: stopped"]);
        assert!(OUTPUTS.iter().all(|name| !folder.path(name).exists()), "{:?}", folder.names());

        // Once more on the way, with windows of another size.
        row = rng.random_range(rows..ROWS);
        let again = folder.run(&format!("{ALL} --windows 20KB --resume --stop-after {row}"));
        assert_eq!(again.complaints()[0], format!("xent: continuing after {rows} of {ROWS} rows"));
        let last = if again.status == Some(130) { folder.run(&format!("{ALL} --resume")) } else { again };
        assert_eq!(last.status, Some(0), "{last:?}");
        assert!(said(&last) == said(&unbroken), "stopped after {rows} rows");
        assert!(outputs(&folder) == outputs(&whole), "stopped after {rows} rows");
        let mut left = folder.names();
        left.retain(|name| !OUTPUTS.contains(&name.as_str()));
        assert_eq!(left, ["logits.npy", "targets.npy"], "nothing else is left");
    }
    assert!(resumed_at.len() > 5, "many places: {resumed_at:?}");
}

#[test]
fn no_window_changes_a_bit() {
    let whole = folder();
    let unbroken = whole.run(ALL);
    for windows in ["2KB", "3KB", "17KB", "100KB"] {
        let folder = folder();
        let run = folder.run(&format!("{ALL} --windows {windows}"));
        assert!(said(&run) == said(&unbroken), "{windows}");
        assert!(outputs(&folder) == outputs(&whole), "{windows}");
    }
}

#[test]
fn what_is_not_the_same_run_is_not_resumed() {
    let folder = folder();
    let eval = "eval logits.npy --targets targets.npy";
    let refused = |args: &str| {
        let run = folder.run(args);
        assert_eq!(run.status, Some(2), "{args}: {run:?}");
        run.complaints().last().unwrap().trim_start_matches("xent: ").to_owned()
    };
    let resume = format!("{eval} --resume");
    let nothing = folder.run(&resume);
    let says = ".xent-checkpoint: there is nothing to resume: the run starts from the beginning";
    assert_eq!(nothing.status, Some(0), "{nothing:?}");
    assert!(nothing.stderr.contains("xent: logits.npy.") && nothing.stderr.contains(says), "{nothing:?}");

    let stopped = folder.run(&format!("{eval} {WINDOWS} --stop-after 100"));
    assert_eq!(stopped.status, Some(130), "{stopped:?}");
    let checkpoint = ending(&folder, ".xent-checkpoint");
    let of_another = format!("{checkpoint}: it is of another run: ");
    for (args, says) in [
        ("--label-smoothing 0.25", "--label-smoothing was not given, and is now 0.25"),
        ("--score-from 3", "--score-from was not given, and is now 3"),
        ("--verify 3", "--verify was not given, and is now 3"),
        ("--lse-out lse.npy", "--lse-out was not given, and is now lse.npy"),
        ("--readouts", "--readouts was not given, and is now given"),
        // This needs another computer, which the user has not asked for.
        ("--softcap 30", "--softcap was not given, and is now 30"),
        ("--targets-key a", "--targets-key was not given, and is now a"),
    ] {
        let said = refused(&format!("{resume} {args}"));
        assert!(said.starts_with(&format!("{of_another}{says}")) || args.contains("key"), "{args}: {said}");
    }
    folder.targets(&vec![1; ROWS]);
    let said = refused(&resume);
    assert!(said.starts_with(&format!("{of_another}the targets was ")), "{said}");

    assert_eq!(ending(&folder, ".xent-checkpoint"), checkpoint, "it is there still, and nothing else");

    let resume = format!("{eval} --checkpoint mine --resume");
    folder.write("mine", b"not one");
    assert_eq!(refused(&resume), "mine: this file is not a checkpoint, and is left as it is");
}

/// The one file whose name ends like this.
fn ending(folder: &Folder, end: &str) -> String {
    let names = folder.names().into_iter().filter(|name| name.ends_with(end));
    let names: Vec<String> = names.collect();
    assert_eq!(names.len(), 1, "{end}: {names:?}");
    names.concat()
}

#[test]
fn an_output_that_was_kept_and_is_gone_or_short_is_refused() {
    let folder = folder();
    let args = format!("eval logits.npy --targets targets.npy --rows-out rows.npy {WINDOWS}");
    assert_eq!(folder.run(&format!("{args} --stop-after 100")).status, Some(130));
    let partial = ending(&folder, ".xent-partial");
    assert!(partial.starts_with("rows.npy."), "{partial}");
    let kept = folder.read(&partial);
    let mut changed = kept.clone();
    changed[200] ^= 1;
    let resume = format!("{args} --resume");
    for (name, bytes, says) in [
        ("short", &kept[..200], "bytes were recorded as written; it has 200"),
        ("of another shape", &kept[1..], "started for another type, shape or name"),
        ("a digit changed", &changed, "it was changed: its first "),
    ] {
        folder.write(&partial, bytes);
        let run = folder.run(&resume);
        assert!(run.status == Some(2) && run.stderr.contains(says), "{name}: {run:?}");
    }
    std::fs::remove_file(folder.path(&partial)).unwrap();
    let run = folder.run(&resume);
    assert!(
        run.status == Some(2) && run.stderr.contains(&format!("{partial}: cannot be resumed")),
        "{run:?}"
    );
}

#[test]
fn no_run_takes_what_another_one_has_kept() {
    let folder = folder();
    let other: Vec<f32> = logits(ROWS * COLS).iter().map(|logit| 0.5 * logit).collect();
    folder.array("other.npy", &[ROWS, COLS], &other);
    let run = |logits: &str, more: &str| {
        folder
            .run(&format!("eval {logits} --targets targets.npy --json --rows-out rows.npy {WINDOWS} {more}"))
    };
    assert_eq!(run("other.npy", "").status, Some(0));
    let of_other = folder.read("rows.npy");
    assert_eq!(run("logits.npy", "").status, Some(0));
    let of_logits = folder.read("rows.npy");
    assert_eq!(run("logits.npy", "--stop-after 60").status, Some(130));
    assert_eq!(run("other.npy", "--stop-after 150").status, Some(130));
    assert_eq!(run("logits.npy", "--resume").status, Some(0));
    assert!(folder.read("rows.npy") == of_logits);
    assert_eq!(run("other.npy", "--resume").status, Some(0));
    assert!(folder.read("rows.npy") == of_other);
}

#[test]
fn a_checkpoint_replaces_nothing_but_a_checkpoint() {
    let folder = folder();
    folder.write("precious", "whole");
    let args =
        format!("eval logits.npy --targets targets.npy --rows-out rows.npy {WINDOWS} --stop-after 100");
    let before = folder.names();
    for (checkpoint, says) in [
        ("--checkpoint logits.npy", "logits.npy: cannot be written: it is also the logits"),
        ("--checkpoint targets.npy", "targets.npy: cannot be written: it is also the targets"),
        ("--checkpoint rows.npy", "rows.npy: cannot be written: it is also another output"),
        ("--checkpoint precious", "precious: this file is not a checkpoint, and is left as it is"),
        ("--checkpoint no/such", "no/such: cannot be written: No such file or directory"),
    ] {
        let run = folder.run(&format!("{args} {checkpoint}"));
        assert!(run.status == Some(2) && run.complaints().concat().contains(says), "{checkpoint}: {run:?}");
        assert_eq!(folder.names(), before, "{checkpoint}");
    }
    assert_eq!(folder.read("precious"), b"whole");
}

#[test]
fn a_new_run_says_that_one_was_stopped() {
    let folder = folder();
    let args = format!("eval logits.npy --targets targets.npy {WINDOWS}");
    assert_eq!(folder.run(&format!("{args} --stop-after 100")).status, Some(130));
    let checkpoint = ending(&folder, ".xent-checkpoint");
    let run = folder.run(&args);
    let says = format!(
        "xent: {checkpoint}: checkpoint of a stopped run; without --resume, this run starts from the beginning"
    );
    assert_eq!((run.status, run.complaints()), (Some(0), vec![&*says]));
    assert_eq!(folder.names(), ["logits.npy", "targets.npy"], "a run that ended leaves nothing");
}

#[test]
fn a_checkpoint_has_the_name_that_it_is_given() {
    let folder = folder();
    let args = format!("eval logits.npy --targets targets.npy --checkpoint here.cbor {WINDOWS}");
    assert_eq!(folder.run(&format!("{args} --stop-after 100")).status, Some(130));
    assert_eq!(folder.names(), ["here.cbor", "logits.npy", "targets.npy"]);
    let another = folder.run(&format!("{args} --label-smoothing 0.5"));
    let says = "here.cbor: it is of another run, and is left as it is: --label-smoothing was not given, and is now 0.5";
    assert!(another.status == Some(2) && another.complaints()[0].contains(says), "{another:?}");
    assert_eq!(folder.run(&format!("{args} --resume")).status, Some(0));
    assert_eq!(folder.names(), ["logits.npy", "targets.npy"]);
}

/// Logits of zeros that take no room on the disk, and an output of them that is there already.
#[cfg(unix)]
fn wide(rows: usize) -> (Folder, String) {
    let folder = Folder::new();
    let cols = 50_000;
    let file = std::fs::File::create(folder.path("wide.raw")).unwrap();
    file.set_len((rows * cols * 4) as u64).unwrap();
    folder.targets(&vec![7; rows]).write("grad.npy", "whole");
    (
        folder,
        format!("eval wide.raw --dtype f32 --cols {cols} --targets targets.npy --grad-out grad.npy --json"),
    )
}

/// Starts a run, and waits until its gradient has begun to be written.
#[cfg(unix)]
fn begun(folder: &Folder, args: &str) -> std::process::Child {
    use std::process::Stdio;
    let mut child = folder.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let has_begun = || {
        let names = folder.names();
        let partial = names.iter().find(|name| name.starts_with("grad.npy."));
        partial.is_some_and(|name| folder.path(name).metadata().is_ok_and(|file| file.len() > 1 << 20))
    };
    while !has_begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child
}

#[cfg(unix)]
#[test]
fn killed_half_way_a_run_leaves_the_old_file_whole() {
    let (folder, args) = wide(3_000);
    let mut child = begun(&folder, &args);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it was killed before its end");
    assert_eq!(folder.read("grad.npy"), b"whole");
}

#[cfg(unix)]
#[test]
fn logits_that_change_while_they_are_read_are_an_error() {
    let (folder, args) = wide(3_000);
    let mut child = begun(&folder, &args);
    let file = std::fs::OpenOptions::new().write(true).open(folder.path("wide.raw")).unwrap();
    std::io::Write::write_all(&mut &file, &1f32.to_le_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(folder.read("grad.npy"), b"whole");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_resume_needs() {
    let (folder, args) = wide(3_000);
    let mut child = begun(&folder, &args);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(folder.read("grad.npy"), b"whole");
    let partial = ending(&folder, ".xent-partial");
    let checkpoint = ending(&folder, ".xent-checkpoint");
    let left = ["grad.npy", &partial, "targets.npy", "wide.raw", &checkpoint];
    assert_eq!(folder.names(), left);

    let resumed = folder.run(&format!("{args} --resume"));
    assert_eq!(resumed.status, Some(0), "{resumed:?}");
    let gradient = folder.read("grad.npy");
    assert_eq!(folder.names(), ["grad.npy", "targets.npy", "wide.raw"]);
    let unbroken = folder.run(&args);
    assert!(said(&resumed) == said(&unbroken) && folder.read("grad.npy") == gradient);
}
