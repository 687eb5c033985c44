//! `xent tune`, and `--tuning`.

use serde_json::Value;
use xent::{SavedTuning, Tuning};

use crate::support::{Folder, Run, gpu, logits, run};

fn saved(folder: &Folder, name: &str) -> Tuning {
    match Tuning::load(folder.path(name), &gpu().profile().unwrap()).unwrap() {
        SavedTuning::Fitting(tuning) => tuning,
        ignored => panic!("{ignored:?}"),
    }
}

fn ok(run: Run) -> Run {
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.complaints().is_empty(), "{run:?}");
    run
}

#[test]
fn what_is_tuned_is_loaded_and_used() {
    let folder = Folder::new();
    folder.write("tuning.json", "what was there before");
    let tuned = ok(folder.run(
        "tune --quick --time 4 --shape 500x10 --shape 20x1000 --shape 1x20000 --shape 1x5000 -o tuning.json",
    ));
    for what in [
        "reading, rows up to",
        "writing, rows up to",
        "passes over rows",
        "workgroups per row",
        "minimum values",
    ] {
        assert!(tuned.stdout.lines().any(|line| line.starts_with(what)), "{what}: {}", tuned.stdout);
    }
    assert!(
        tuned.stdout.ends_with("tuning.json written: for `--tuning` and `Tuning::load`\n"),
        "{}",
        tuned.stdout
    );
    let tuning = saved(&folder, "tuning.json");
    let default = Tuning::of(&gpu().profile().unwrap());
    // Bands are not moved, and what no batch was given for is as it was.
    for (now, before) in
        tuning.read.iter().chain(&tuning.write).zip(default.read.iter().chain(&default.write))
    {
        assert_eq!(now.up_to_cols, before.up_to_cols);
    }
    assert_eq!((tuning.read[3], tuning.side_by_side), (default.read[3], default.side_by_side));

    folder.logits(&logits(40 * 300), 300).targets(&[7; 40]);
    let report = folder.eval("--verify 40 --tuning tuning.json");
    assert_eq!(report["verification"]["passed"], true, "{report:#}");
    assert_eq!(folder.names(), ["logits.npy", "targets.npy", "tuning.json"]);
}

#[test]
fn no_time_changes_nothing() {
    let folder = Folder::new();
    let tuned = ok(folder.run("tune --time 0 --shape 64x10 -o tuning.json"));
    assert!(tuned.stdout.contains("* time ran out"), "{}", tuned.stdout);
    assert_eq!(saved(&folder, "tuning.json"), Tuning::of(&gpu().profile().unwrap()));
}

/// How a row is shared shows in the last bits of some of its sums: so one sees which tuning was in force.
#[test]
fn eval_and_softmax_take_the_tuning_that_they_are_given() {
    let folder = Folder::new();
    // A loss near 0 shows what the rounding of its sum is: near 16 its own would hide it.
    let mut values = logits(16 * 40_000);
    values.iter_mut().skip(1).step_by(40_000).for_each(|target| *target = 18.0);
    folder.logits(&values, 40_000).targets(&[1; 16]);
    // In one seat, and in two hundred and fifty-six that are merged in the end.
    for (name, lanes) in [("few.json", 1), ("many.json", 256)] {
        Tuning::fixed(lanes, 1).save(folder.path(name), &gpu().profile().unwrap()).unwrap();
    }
    let losses = |tuning: &str| {
        folder.eval(&format!("--tuning {tuning} --rows-out rows.npy --verify 16"));
        folder.values("rows.npy").1
    };
    assert_ne!(losses("few.json"), losses("many.json"));
    let probs = |tuning: &str| {
        ok(folder.run(&format!("softmax logits.npy -o probs.npy --tuning {tuning}")));
        folder.values("probs.npy").1
    };
    assert_ne!(probs("few.json"), probs("many.json"));
}

#[test]
fn a_tuning_for_something_else_is_ignored_with_a_notice() {
    let folder = Folder::new();
    folder.logits(&logits(20), 5).targets(&[0; 4]);
    let here = gpu().profile().unwrap();
    Tuning::of(&here).save(folder.path("tuning.json"), &here).unwrap();
    let text = String::from_utf8(folder.read("tuning.json")).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["adapter"]["name"] = "Voodoo 2".into();
    folder.write("other.json", other.to_string());
    let mut old: Value = serde_json::from_str(&text).unwrap();
    old["xent"] = "0.0.1".into();
    folder.write("old.json", old.to_string());

    let plain = folder.eval("");
    for (file, says) in [
        ("other.json", "xent: other.json: ignored: made for Voodoo 2 ("),
        ("old.json", "xent: old.json: ignored: made by xent 0.0.1, not "),
    ] {
        for command in [
            "eval logits.npy --targets targets.npy --json",
            "softmax logits.npy -o out.npy",
            "demo --rows 2 --cols 10",
            "bench --shape 2x10 --op loss",
        ] {
            let run = folder.run(&format!("{command} --tuning {file}"));
            let [line] = run.complaints()[..] else { panic!("{command}: {run:?}") };
            assert!(run.status == Some(0) && line.starts_with(says), "{command}: {run:?}");
            if command.starts_with("eval") {
                let report: Value = serde_json::from_str(&run.stdout).unwrap();
                assert_eq!(report["loss"], plain["loss"]);
            }
        }
    }
}

#[test]
fn a_file_that_is_no_tuning_has_status_2_and_leaves_nothing() {
    let folder = Folder::new();
    folder.logits(&logits(20), 5).targets(&[0; 4]).write("empty.json", "").write("list.json", "[1]");
    let here = gpu().profile().unwrap();
    Tuning::of(&here).save(folder.path("tuning.json"), &here).unwrap();
    let mut odd: Value = serde_json::from_slice(&folder.read("tuning.json")).unwrap();
    odd["tuning"]["read"][0]["lanes"] = 3.into();
    folder.write("odd.json", odd.to_string());
    let names = folder.names();
    for (file, says) in [
        ("none.json", "xent: none.json: No such file"),
        ("empty.json", "xent: empty.json: not a tuning: EOF while parsing"),
        ("list.json", "xent: list.json: not a tuning: "),
        ("logits.npy", "xent: logits.npy: "),
        ("odd.json", "xent: odd.json: option tuning.lanes = 3: must be a power of two"),
    ] {
        for command in [
            "eval logits.npy --targets targets.npy --rows-out out.npy",
            "softmax logits.npy -o out.npy",
            "bench --shape 2x10",
        ] {
            let run = folder.run(&format!("{command} --tuning {file}"));
            assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{command} {file}: {run:?}");
            let [line] = run.complaints()[..] else { panic!("{command} {file}: {run:?}") };
            assert!(line.starts_with(says), "{command}: {line}");
        }
    }
    assert_eq!(folder.names(), names);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_there_is_nothing_to_tune() {
    let folder = Folder::new();
    for args in ["tune --quick -o tuning.json", "bench --shape 4x4"] {
        let mut command = folder.command(args);
        command.env_remove("XENT_ADAPTER").env_remove("VK_ADD_DRIVER_FILES");
        for variable in
            ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES", "LIBGL_DRIVERS_PATH"]
        {
            command.env(variable, "/nonexistent");
        }
        let run = run(command);
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
        assert!(run.complaints()[0].starts_with("xent: no adapter"), "{args}: {run:?}");
    }
    assert!(folder.names().is_empty());
}
