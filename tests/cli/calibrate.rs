//! `xent calibrate`.

use serde_json::Value;

use crate::support::{Folder, logits};

fn calibrate(folder: &Folder, args: &str) -> Value {
    let run = folder.run(&format!("calibrate logits.npy --targets targets.npy --json {args}"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

fn is_close(value: &Value, expected: f64, within: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() <= within)
}

#[test]
fn a_temperature_worked_by_hand() {
    let folder = Folder::new();
    folder.logits(&[2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0], 2).targets(&[0; 4]);
    let found = calibrate(&folder, "--bins 10");
    assert!(is_close(&found["temperature"], 1.820_478_5, 2e-5), "{found:#}");
    assert!(is_close(&found["before"]["loss"], (1.0 + (-2f64).exp()).ln() + 0.5, 1e-6), "{found:#}");
    assert!(is_close(&found["after"]["loss"], 0.562_335_1, 1e-6), "{found:#}");
    // Confidence sigmoid(2) and 3/4, accuracy 3/4.
    assert!(is_close(&found["before"]["ece"], 1.0 / (1.0 + (-2f64).exp()) - 0.75, 1e-6), "{found:#}");
    assert!(is_close(&found["after"]["ece"], 0.0, 1e-5), "{found:#}");
    assert_eq!((&found["rows"], &found["counted"], &found["limit"]), (&4.into(), &4.into(), &Value::Null));
    assert_eq!(found["before"]["bins"].as_array().unwrap().len(), 10);
    assert!(found["reads"].as_u64().unwrap() <= 4);

    let run = folder.run("calibrate logits.npy --targets targets.npy");
    assert_eq!(run.status, Some(0), "{run:?}");
    let lines: Vec<String> =
        run.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines[0].starts_with("temperature 1.8204"), "{run:?}");
    for line in [
        "loss 0.626928 before, 0.562335 after nats (mean)",
        "accuracy 75.00 %",
        "rows 4: 4 counted, 0 ignored",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
    }
    assert_eq!(folder.names(), ["logits.npy", "targets.npy"]);
}

#[test]
fn without_an_optimum_there_is_a_notice() {
    let folder = Folder::new();
    folder.logits(&[2.0, 0.0, 0.0, 1.0], 2);
    for (targets, limit, says) in
        [([0, 1], "cold", "largest logit"), ([1, 0], "hot", "no better than chance")]
    {
        folder.targets(&targets);
        let found = calibrate(&folder, "");
        assert_eq!((&found["limit"], &found["uncertainty"]), (&limit.into(), &Value::Null), "{found:#}");
        let run = folder.run("calibrate logits.npy --targets targets.npy");
        assert!(run.complaints().iter().any(|line| line.contains(says)), "{run:?}");
    }
}

/// Logits from which the targets are drawn, at another temperature.
fn drawn(folder: &Folder, rows: usize, skip: usize, (logits_name, targets_name): (&str, &str)) {
    let cols = 12;
    let values: Vec<f32> = logits((rows + skip) * cols)[skip * cols..].iter().map(|x| x / 3.0).collect();
    let mut state = 12_345u32 + skip as u32;
    let targets: Vec<i64> = values
        .chunks(cols)
        .map(|row| {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let mut at = f64::from(state >> 8) / f64::from(1 << 24) * sum;
            let class = row.iter().position(|&x| {
                at -= f64::from(x).exp();
                at < 0.0
            });
            class.unwrap_or(cols - 1) as i64
        })
        .collect();
    let hot: Vec<f32> = values.iter().map(|x| 2.0 * x).collect();
    folder.array(logits_name, &[rows, cols], &hot).array(targets_name, &[rows], &targets);
}

#[test]
fn sets_cover_other_rows() {
    let folder = Folder::new();
    drawn(&folder, 1000, 0, ("logits.npy", "targets.npy"));
    drawn(&folder, 2000, 1000, ("others.npy", "other_targets.npy"));
    for score in ["lac", "aps"] {
        let args =
            format!("--coverage 0.8 --score {score} --others others.npy --others-targets other_targets.npy");
        let found = calibrate(&folder, &args);
        assert!(is_close(&found["temperature"], 2.0, 0.2), "{found:#}");
        assert!(found["after"]["ece"].as_f64() < found["before"]["ece"].as_f64(), "{found:#}");
        let sets = &found["conformal"];
        assert_eq!(
            (&sets["score"], &sets["rank"], &sets["rows"]),
            (&score.into(), &801.into(), &1000.into())
        );
        let others = &sets["others"];
        // Five deviations of the share of 2,000 rows, and of the threshold.
        assert!(
            is_close(&others["coverage"], 0.8, 5.0 * (0.16f64 * (1.0 / 2000.0 + 1.0 / 1001.0)).sqrt()),
            "{found:#}"
        );
        let size = others["mean_size"].as_f64().unwrap();
        assert!((1.0..12.0).contains(&size) && others["sets"] == 2000 && others["cut"] == 0, "{found:#}");
    }
    let kept = calibrate(
        &folder,
        "--coverage 0.3 --keep-top --others others.npy --others-targets other_targets.npy",
    );
    assert_eq!(kept["conformal"]["others"]["empty"], 0);
    // Two rows are too few for 90 %: every class is in the set.
    folder.logits(&[2.0, 0.0, 0.0, 1.0], 2).targets(&[0, 0]);
    let few = calibrate(&folder, "--coverage 0.9");
    assert_eq!((&few["conformal"]["threshold"], &few["conformal"]["rank"]), (&Value::Null, &3.into()));
}

/// Sets of more classes than a top-k has. Of equal logits, a target's score is its place among them.
#[test]
fn large_sets_are_counted_whole() {
    let folder = Folder::new();
    let (rows, cols) = (9, 3000);
    let targets: Vec<i64> = (1..=rows as i64).map(|row| 300 * row - 1).collect();
    folder.array("logits.npy", &[rows, cols], &vec![0.5f32; rows * cols]);
    folder.array("targets.npy", &[rows], &targets);
    let args = "--coverage 0.5 --score aps --others logits.npy --others-targets targets.npy";
    let others = &calibrate(&folder, args)["conformal"]["others"];
    // The fifth of nine scores is 1500/3000. The adapter's sum of so many may be a few classes off.
    let (mean, largest) = (others["mean_size"].as_f64().unwrap(), others["largest"].as_u64().unwrap());
    assert!((1495.0..=1505.0).contains(&mean) && (1495..=1505).contains(&largest), "{others:#}");
    assert_eq!((&others["sets"], &others["cut"]), (&9.into(), &0.into()));
}

#[test]
fn next_tokens_and_the_targets_of_the_same_file() {
    let folder = Folder::new();
    drawn(&folder, 60, 0, ("logits.npy", "targets.npy"));
    let plain = calibrate(&folder, "");
    let (_, targets) = folder.values_of::<i64>("targets.npy");
    let (_, values) = folder.values("logits.npy");
    // Each token is in the row after the logits that predict it; the first row's is anything.
    let shifted: Vec<i64> = std::iter::once(3).chain(targets[..59].iter().copied()).collect();
    folder.array("targets.npy", &[60], &shifted);
    let found = calibrate(&folder, "--shift 1");
    assert_eq!((&plain["counted"], &found["counted"]), (&60.into(), &59.into()));
    folder.array("logits.npy", &[59, 12], &values[..59 * 12]).array("targets.npy", &[59], &targets[..59]);
    assert_eq!(calibrate(&folder, "")["temperature"], found["temperature"]);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_reference_answers() {
    use crate::support::{run, without_adapters};

    let folder = Folder::new();
    drawn(&folder, 200, 0, ("logits.npy", "targets.npy"));
    let on_gpu = calibrate(&folder, "--coverage 0.8");
    let args = "calibrate logits.npy --targets targets.npy --json --coverage 0.8 --others logits.npy --others-targets targets.npy";
    let run = run(without_adapters(folder.command(args)));
    assert_eq!(run.status, Some(0), "{run:?}");
    let on_cpu: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(on_cpu["adapter"], "CPU reference (f64)");
    for (value, within) in [("temperature", 2e-5), ("uncertainty", 1e-5)] {
        assert!(is_close(&on_cpu[value], on_gpu[value].as_f64().unwrap(), within), "{value}: {on_cpu:#}");
    }
    assert!(is_close(&on_cpu["after"]["ece"], on_gpu["after"]["ece"].as_f64().unwrap(), 1e-4));
    assert!(is_close(
        &on_cpu["conformal"]["threshold"],
        on_gpu["conformal"]["threshold"].as_f64().unwrap(),
        1e-5
    ));
    assert!(on_cpu["conformal"]["others"]["coverage"].as_f64().unwrap() >= 0.8);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let folder = Folder::new();
    folder.logits(&[0.5, 0.0, 2.0, 0.0, 2.0, 1.0], 3).targets(&[0, 1]);
    folder.array("wide.npy", &[2, 4], &[0.0f32; 8]).array("bad.npy", &[2], &[0i64, 3]).array(
        "none.npy",
        &[2],
        &[-100i64; 2],
    );
    for (args, says) in [
        ("logits.npy", "--targets: is needed, or --targets-key"),
        ("- --targets targets.npy", "stdin cannot be read more than once"),
        ("logits.npy --targets bad.npy", "bad.npy: targets[1]"),
        ("logits.npy --targets none.npy", "none of 2 rows counts"),
        ("logits.npy --targets targets.npy --bins 0", "xent: --bins 0: must be in 1..=1000"),
        ("logits.npy --targets targets.npy --coverage 1", "must be above 0 and below 1, such as 0.9"),
        ("logits.npy --targets targets.npy --score aps", "--coverage"),
        ("logits.npy --targets targets.npy --coverage 0.5 --others wide.npy", "--others-targets"),
        (
            "logits.npy --targets targets.npy --coverage 0.5 --others wide.npy --others-targets targets.npy",
            "a row of --others holds 4 values; the shape needs 3",
        ),
    ] {
        let run = folder.run(&format!("calibrate {args}"));
        assert_eq!(run.status, Some(2), "{args}: {run:?}");
        assert!(run.stderr.contains(says), "{args}: {run:?}");
    }
}
