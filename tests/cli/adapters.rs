//! `xent adapters`, and `--adapter`.

use serde_json::Value;

use crate::support::{Folder, gpu, logits, run};

#[test]
fn one_is_taken_and_it_is_the_one_that_computes() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let listed = folder.run("adapters --json");
    assert_eq!(listed.status, Some(0), "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let taken: Vec<_> =
        listed.as_array().unwrap().iter().filter(|adapter| adapter["taken"] == true).collect();
    assert_eq!(taken.len(), 1, "{listed:#}");
    let profile = gpu().profile().unwrap();
    assert_eq!(
        (taken[0]["name"].as_str(), taken[0]["driver"].as_str()),
        (Some(&*profile.name), Some(&*profile.driver))
    );
    assert_eq!(taken[0]["max_binding_bytes"].as_u64(), Some(profile.max_binding_bytes));
    assert_eq!(folder.eval("")["adapter"].as_str(), Some(&*profile.to_string()));

    let text = folder.run("adapters").stdout;
    let marked: Vec<_> = text.lines().filter(|line| line.ends_with("  <- taken")).collect();
    assert_eq!(marked, [format!("{}  <- taken", profile.name)]);
}

#[test]
fn an_adapter_is_named_by_a_part_in_any_case() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let name = gpu().profile().unwrap().name;
    let part = name.split_whitespace().next().unwrap().to_uppercase();
    assert!(folder.eval(&format!("--adapter {part}"))["adapter"].as_str().unwrap().starts_with(&name[..3]));
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_lists_those_that_are() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let name = gpu().profile().unwrap().name;
    for command in [
        "eval logits.npy --targets targets.npy",
        "softmax logits.npy -o out.npy",
        "demo --rows 1",
        "adapters",
    ] {
        let by_option = folder.run(&format!("{command} --adapter nonesuch"));
        let mut by_variable = folder.command(command);
        by_variable.env("XENT_ADAPTER", "nonesuch");
        for run in [by_option, run(by_variable)] {
            assert_eq!(run.status, Some(2), "{command}: {run:?}");
            let [line] = run.complaints()[..] else { panic!("{command}: {run:?}") };
            assert!(line.contains("named 'nonesuch'") && line.contains(&name), "{command}: {line}");
        }
    }
    assert_eq!(folder.names(), ["logits.npy", "targets.npy"]);
}

#[test]
fn the_processor_is_named_everywhere() {
    let folder = Folder::new();
    folder.logits(&logits(24), 3).targets(&[0, 1, 2, 0, 1, 2, 0, 1]);
    for (command, adapter) in [
        ("eval logits.npy --targets targets.npy", "adapter     processor ("),
        ("softmax logits.npy -o out.npy", "adapter     processor ("),
        (
            "softmax logits.npy -o out.npy --sparsemax",
            "CPU reference (f64) (named, and the processor path has no entmax)",
        ),
        ("topk logits.npy -k 1 -o top.csv", "CPU reference (f64)"),
        ("calibrate logits.npy --targets targets.npy", "CPU reference (f64)"),
        ("compare logits.npy logits.npy", "CPU reference (f64)"),
        ("adapters", ""),
    ] {
        let run = folder.run(&format!("{command} --adapter cpu"));
        assert!(run.status == Some(0) && run.stdout.contains(adapter), "{command}: {run:?}");
    }
    for command in ["bench --shape 2x2", "tune --quick -o tuning.json"] {
        let run = folder.run(&format!("{command} --adapter cpu"));
        let says = "xent: --adapter cpu: runs no kernels: name an adapter (`xent adapters` lists them)";
        assert_eq!((run.status, run.complaints()), (Some(2), vec![says]), "{command}: {run:?}");
    }
}

#[test]
fn an_option_comes_before_the_variable_and_an_empty_variable_is_none() {
    let folder = Folder::new();
    folder.logits(&[0.0; 2], 2).targets(&[0]);
    let name = gpu().profile().unwrap().name;
    let part = name.split_whitespace().next().unwrap();
    let mut both = folder.command(&format!("eval logits.npy --targets targets.npy --adapter {part}"));
    both.env("XENT_ADAPTER", "nonesuch");
    assert_eq!(run(both).status, Some(0));
    let mut empty = folder.command("eval logits.npy --targets targets.npy");
    empty.env("XENT_ADAPTER", "");
    assert_eq!(run(empty).status, Some(0));
}

#[test]
fn only_commands_that_take_the_processor_offer_it() {
    let folder = Folder::new();
    for command in ["eval", "softmax", "adapters", "demo", "bench", "tune"] {
        let help = folder.run(&format!("{command} -h")).stdout;
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("whose name contains NAME"), "{command}: {help}");
        let is_offered = !["bench", "tune"].contains(&command);
        assert_eq!(words.contains("NAME, or `cpu`"), is_offered, "{command}: {help}");
    }
}
