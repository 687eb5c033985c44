//! `xent demo`, small.

use serde_json::{Value, json};

use crate::support::{Folder, run};

#[test]
fn the_demo_is_verified_and_realistic() {
    let run = Folder::new().run("demo --rows 400 --cols 50000 --json");
    assert_eq!(run.status, Some(0), "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&report["rows"], &report["cols"], &report["counted"]),
        (&json!(400), &json!(50_000), &json!(400))
    );
    assert_eq!(report["verification"]["rows_checked"], 64);
    assert_eq!(report["verification"]["passed"], true);
    let within = |key: &str, range: std::ops::Range<f64>| {
        assert!(report[key].as_f64().is_some_and(|value| range.contains(&value)), "{key}: {report:#}");
    };
    within("perplexity", 10.0..30.0);
    within("accuracy", 0.3..0.6);
}

#[test]
fn neither_threads_nor_runs_change_a_bit_but_seeds_do() {
    let folder = Folder::new();
    let sum = |args: &str, threads: &str| {
        let mut command = folder.command(&format!("demo --rows 50 --cols 3001 --json {args}"));
        command.env("RAYON_NUM_THREADS", threads);
        let report: Value = serde_json::from_str(&run(command).stdout).unwrap();
        report["sum"].as_f64().unwrap()
    };
    let first = sum("", "1");
    assert_eq!(first, sum("", "3"));
    assert_eq!(first, sum("--seed 0", "2"));
    assert_ne!(first, sum("--seed 1", "1"));
}

#[test]
fn text_tells_making_from_computing() {
    let run = Folder::new().run("demo --rows 10 --cols 1000");
    assert_eq!(run.status, Some(0), "{run:?}");
    for begins in [
        "The loss of 10 tokens over a vocabulary of 1,000: 40.0 kB of logits",
        "perplexity ",
        "verified    10 rows against f64: within bounds",
        "  making    ",
        "  computing ",
    ] {
        assert!(run.stdout.lines().any(|line| line.starts_with(begins)), "{begins}: {}", run.stdout);
    }
}
