//! Each option of the loss, against the reference.

use serde_json::{Value, json};
use xent::{CrossEntropyInputs, CrossEntropyOptions, Input, Reduction, Targets};

use crate::expected::Batch;
use crate::support::{Folder, logits, run};

const DIMS: [usize; 2] = [24, 37];
const PLAIN: CrossEntropyOptions = CrossEntropyOptions {
    ignore_index: -100,
    reduction: Reduction::Mean,
    masked_row: xent::MaskedRow::Nan,
    empty_batch: xent::EmptyBatch::Nan,
    input: Input::Logits,
    label_smoothing: 0.0,
    temperature: 1.0,
    softcap: None,
    z_loss: 0.0,
    focal_gamma: 0.0,
    shard: None,
    sequences: None,
    row_fields: xent::RowFields::empty(),
};

/// Every fifth row is ignored; one target is the most probable class.
fn classes(logits: &[f32]) -> Vec<i32> {
    let best = |row: usize| xent::reference::argmax_row(&logits[row * DIMS[1]..][..DIMS[1]]) as i32;
    let of_row = |row: usize| match row % 5 {
        3 => -100,
        1 => best(row),
        _ => (row * 7 % DIMS[1]) as i32,
    };
    (0..DIMS[0]).map(of_row).collect()
}

fn folder_of(logits: &[f32], classes: &[i32]) -> Folder {
    let folder = Folder::new();
    folder.logits(logits, DIMS[1]).array("targets.npy", &DIMS[..1], classes);
    folder
}

#[test]
fn options_of_the_loss() {
    let logits = logits(DIMS[0] * DIMS[1]);
    let classes = classes(&logits);
    let folder = folder_of(&logits, &classes);
    for (args, options) in [
        ("", PLAIN),
        ("--reduction sum", CrossEntropyOptions { reduction: Reduction::Sum, ..PLAIN }),
        ("--label-smoothing 0.1", CrossEntropyOptions { label_smoothing: 0.1, ..PLAIN }),
        ("--label-smoothing 1", CrossEntropyOptions { label_smoothing: 1.0, ..PLAIN }),
        ("--temperature 2.5", CrossEntropyOptions { temperature: 2.5, ..PLAIN }),
        ("--softcap 4", CrossEntropyOptions { softcap: Some(4.0), ..PLAIN }),
        ("--z-loss 1e-2", CrossEntropyOptions { z_loss: 1e-2, ..PLAIN }),
        ("--focal-gamma 2", CrossEntropyOptions { focal_gamma: 2.0, ..PLAIN }),
        ("--input log-probs", CrossEntropyOptions { input: Input::LogProbs, ..PLAIN }),
        (
            "--input log-probs --label-smoothing 0.2",
            CrossEntropyOptions { input: Input::LogProbs, label_smoothing: 0.2, ..PLAIN },
        ),
        ("--ignore-index 7", CrossEntropyOptions { ignore_index: 7, ..PLAIN }),
        (
            "--reduction sum --label-smoothing 0.1 --temperature 0.5 --softcap 6 --z-loss 1e-3 --focal-gamma 1.5",
            CrossEntropyOptions {
                reduction: Reduction::Sum,
                label_smoothing: 0.1,
                temperature: 0.5,
                softcap: Some(6.0),
                z_loss: 1e-3,
                focal_gamma: 1.5,
                ..PLAIN
            },
        ),
    ] {
        let classes: Vec<i32> =
            classes.iter().map(|&class| if class == -100 { options.ignore_index } else { class }).collect();
        folder.array("targets.npy", &DIMS[..1], &classes);
        let batch = Batch::new(&logits, Targets::Classes(&classes), &DIMS).options(options);
        batch.check(&folder, &format!("--targets targets.npy {args}"));
    }
}

#[test]
fn weights_and_masks() {
    let logits = logits(DIMS[0] * DIMS[1]);
    let classes = classes(&logits);
    let class_weights: Vec<f32> = (0..DIMS[1]).map(|class| (class % 4) as f32).collect();
    let row_weights: Vec<f32> = (0..DIMS[0]).map(|row| (row % 3) as f32 / 2.0).collect();
    let row_mask: Vec<bool> = (0..DIMS[0]).map(|row| row % 4 != 1).collect();
    let folder = folder_of(&logits, &classes);
    let wide: Vec<f64> = row_weights.iter().map(|&weight| weight.into()).collect();
    let bytes: Vec<u8> = row_mask.iter().map(|&scored| scored.into()).collect();
    folder.array("class.npy", &DIMS[1..], &class_weights).array("row.npy", &DIMS[..1], &wide);
    folder.write("mask.npy", crate::support::npy("|b1", "(24,)", &bytes));
    let plain = CrossEntropyInputs::new(Targets::Classes(&classes));
    let all = plain.class_weights(&class_weights).row_weights(&row_weights).row_mask(&row_mask);
    let smooth = CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-2, ..PLAIN };
    for (args, inputs, options) in [
        ("--class-weights class.npy", plain.class_weights(&class_weights), PLAIN),
        ("--row-weights row.npy", plain.row_weights(&row_weights), PLAIN),
        ("--row-mask mask.npy", plain.row_mask(&row_mask), PLAIN),
        ("--class-weights class.npy --row-weights row.npy --row-mask mask.npy", all, PLAIN),
        (
            "--class-weights class.npy --row-weights row.npy --row-mask mask.npy --label-smoothing 0.1 --z-loss 1e-2",
            all,
            smooth,
        ),
    ] {
        let batch = Batch { inputs, ..Batch::new(&logits, plain.targets, &DIMS).options(options) };
        batch.check(&folder, &format!("--targets targets.npy {args}"));
    }
}

#[test]
fn text_tells_of_weights_and_z_loss() {
    let folder = Folder::new();
    folder.logits(&[0.0; 4], 2).targets(&[0, 1]).array("row.npy", &[2], &[0.5f32, 1.0]);
    let run = folder.run("eval logits.npy --targets targets.npy --row-weights row.npy --z-loss 0.5");
    assert_eq!(run.status, Some(0), "{run:?}");
    // ln 2 + 0.5 · (ln 2)².
    for line in [
        "loss        0.933374 nats (mean)",
        "z-loss      0.240227 nats of the loss",
        "weight      1.500000",
        "perplexity  2.5431",
    ] {
        assert!(run.stdout.lines().any(|of_run| of_run.starts_with(line)), "{line}: {}", run.stdout);
    }
    let plain = folder.run("eval logits.npy --targets targets.npy");
    assert!(!plain.stdout.contains("weight") && !plain.stdout.contains("z-loss"), "{plain:?}");
}

#[test]
fn no_row_counts() {
    let folder = Folder::new();
    folder.logits(&[0.0; 4], 2).targets(&[-100, -100]).array("zero.npy", &[2], &[0.0f32; 2]);
    assert_eq!(folder.eval("--empty nan")["loss"], Value::Null);
    assert_eq!(folder.eval("--empty zero")["loss"], 0.0);
    assert_eq!(folder.eval("--empty error --reduction sum")["loss"], 0.0, "a sum has no denominator");
    for args in ["--targets targets.npy", "--targets targets.npy --row-weights zero.npy"] {
        let run = folder.run(&format!("eval logits.npy --empty error {args} --rows-out rows.npy"));
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        assert_eq!(
            run.complaints(),
            [
                "xent: none of 2 rows counts: each is ignored, masked, or has a row weight or class weight of 0"
            ]
        );
    }
    assert_eq!(folder.names(), ["logits.npy", "targets.npy", "zero.npy"]);
}

#[test]
fn a_row_without_a_class() {
    let folder = Folder::new();
    folder.logits(&[[0.0; 3], [f32::NEG_INFINITY; 3]].concat(), 3).targets(&[0, 1]);
    assert_eq!(folder.eval("")["flags"], json!(["masked_row", "nan_loss", "loss", "sum", "perplexity"]));
    let report = folder.eval("--masked-row zero --rows-out rows.npy --grad-out grad.npy");
    assert_eq!((&report["flags"], &report["counted"]), (&json!(["masked_row"]), &json!(2)));
    assert_eq!(folder.values("rows.npy").1, [3f32.ln(), 0.0]);
    assert_eq!(folder.values("grad.npy").1[3..], [0.0; 3]);
}

#[test]
fn probabilities_and_several_temperatures() {
    let folder = Folder::new();
    let (rows, cols) = (30, 7);
    let values: Vec<f32> = logits(rows * cols).iter().map(|x| x / 3.0).collect();
    let classes: Vec<i64> =
        (0..rows as i64).map(|row| if row % 9 == 4 { -100 } else { row * row % 7 }).collect();
    folder.logits(&values, cols).targets(&classes);
    // They need not sum to 1.
    let probs: Vec<f32> = values.iter().map(|x| 0.3 * x.exp()).collect();
    folder.array("probs.npy", &[rows, cols], &probs);
    let json = |args: &str| -> Value {
        let run = folder.run(&format!("eval {args} --targets targets.npy --json"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        serde_json::from_str(&run.stdout).unwrap()
    };
    let of = |value: &Value| value.as_f64().unwrap();
    let expected = json("logits.npy");
    let found = json("probs.npy --input probs");
    assert!((of(&found["mean"]) - of(&expected["mean"])).abs() < 1e-5, "{found:#}");
    assert_eq!((&found["accuracy"], &found["counted"]), (&expected["accuracy"], &expected["counted"]));

    let table = json("logits.npy --temperature 0.5,1,2.5");
    assert_eq!(table["temperatures"], serde_json::json!([0.5, 1.0, 2.5]));
    for (at, temperature) in ["0.5", "1", "2.5"].into_iter().enumerate() {
        let one = json(&format!("logits.npy --temperature {temperature}"));
        for (key, expected) in [
            ("loss", &one["mean"]),
            ("perplexity", &one["perplexity"]),
            ("accuracy", &one["accuracy"]),
            ("ece", &one["calibration"]["ece"]),
            ("confidence", &one["calibration"]["mean_confidence"]),
        ] {
            let (found, expected) = (of(&table[key][at]), of(expected));
            assert!(
                (found - expected).abs() < 1e-5 * (1.0 + expected),
                "{temperature} {key}: {found}, {expected}"
            );
        }
        assert_eq!(table["counted"], one["counted"]);
    }
    let text = folder.run("eval logits.npy --targets targets.npy --temperature 0.5,1,2.5").stdout;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert!(
        lines[0].starts_with("T ") && lines[0].ends_with("perplexity   confidence          ECE"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("0.5 ") && lines[2].starts_with("1 ") && lines[3].starts_with("2.5 "),
        "{text}"
    );
    let of_probs = json("probs.npy --input probs --temperature 1,2.5,0.7");
    assert_eq!(of_probs["temperatures"], serde_json::json!([1.0, 2.5, 0.7]));
    assert!((of(&of_probs["loss"][1]) - of(&table["loss"][2])).abs() < 1e-5);
    for (args, says) in [
        (
            "--temperature 1,2 --label-smoothing 0.1",
            "--label-smoothing: does not apply to several temperatures",
        ),
        ("--temperature 1,2 --rows-out rows.npy", "--rows-out: does not apply to several temperatures"),
        (
            "--temperature 1,2,3,4,5,6,7,8,9",
            "--temperature: 9 values; one read of the logits gives 8 at most",
        ),
        ("--temperature 1,0", "--temperature 0: must"),
        ("--temperature 1,2 --input log-probs", "--temperature: does not apply to log-probabilities"),
        ("--input probs --grad-out grad.npy", "--grad-out: does not apply to probabilities"),
    ] {
        let run = folder.run(&format!("eval logits.npy --targets targets.npy {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
}

/// A table of temperatures says of bad rows what a run at one temperature says.
#[test]
fn several_temperatures_hide_no_bad_row() {
    let (rows, cols, inf) = (20, 5, f32::INFINITY);
    let values: Vec<f32> = logits(rows * cols).iter().map(|x| x / 3.0).collect();
    let targets: Vec<i64> = (0..rows as i64).map(|row| if row == 4 { -100 } else { row * row % 5 }).collect();
    let of_names =
        ["nan_logit", "infinite_logit", "masked_row", "infinite_loss", "nan_loss", "no_row_counts"];
    for (name, changed) in [
        ("sound rows", vec![]),
        // Classes that are the targets of their rows.
        ("an impossible target", vec![(7, 4, -inf), (8, 4, -inf)]),
        ("NaN", vec![(2, 1, f32::NAN)]),
        ("+inf", vec![(3, 0, inf)]),
        ("all are -inf", (0..5).map(|class| (6, class, -inf)).collect()),
        ("two kinds", vec![(7, 4, -inf), (9, 2, f32::NAN)]),
    ] {
        let (folder, mut values) = (Folder::new(), values.clone());
        changed.iter().for_each(|&(row, class, value)| values[row * cols + class] = value);
        folder.logits(&values, cols).targets(&targets);
        let flags = |of: &Value| -> Vec<String> {
            let flags = of["flags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap().to_owned());
            flags.filter(|flag| of_names.contains(&flag.as_str())).collect()
        };
        let [one, table] = ["1", "1,2"].map(|at| folder.eval(&format!("--adapter cpu --temperature {at}")));
        assert_eq!(flags(&table), flags(&one), "{name}");
        let strict = ["1", "1,2"].map(|at| {
            folder.run(&format!(
                "eval logits.npy --targets targets.npy --adapter cpu --strict --temperature {at}"
            ))
        });
        let [of_one, of_table] = strict.each_ref().map(|run| (run.status, run.complaints()));
        assert_eq!(of_table, of_one, "{name}");
        assert_eq!(of_table.0, Some(i32::from(name != "sound rows")), "{name}");
        for key in ["counted", "ignored", "bad_rows", "first_bad_row", "notices", "rows"] {
            assert_eq!(table[key], one[key], "{name}: {key}");
        }
        for (of_table, of_one) in [("loss", "mean"), ("finite_mean", "finite_mean"), ("accuracy", "accuracy")]
        {
            let (found, expected) = (table[of_table][0].as_f64(), one[of_one].as_f64());
            let is_near = found.zip(expected).is_none_or(|(found, expected)| (found - expected).abs() < 1e-5);
            assert!(
                found.is_some() == expected.is_some() && is_near,
                "{name}: {of_table}: {found:?}, {expected:?}"
            );
        }
        let [one, table] = ["1", "1,2"].map(|at| {
            let args = format!("eval logits.npy --targets targets.npy --adapter cpu --temperature {at}");
            folder.run(&args).stdout
        });
        let said: Vec<&str> = one
            .lines()
            .filter(|line| {
                ["flags ", "bad rows ", "notice ", "rows "].iter().any(|name| line.starts_with(name))
            })
            .collect();
        assert!(
            said.iter().all(|line| table.lines().any(|found| &found == line)),
            "{name}: {said:?} {table}"
        );
        assert_eq!(said.len() > 1, !changed.is_empty(), "{name}: {one}");
        if name == "two kinds" {
            assert_eq!(folder.eval("--temperature 1,2")["bad_rows"], 2, "on an adapter");
            assert!(table.contains("NaN") && table.contains("finite"), "{table}");
        }
    }
}

#[test]
fn several_temperatures_of_few_rows() {
    let folder = Folder::new();
    // Probabilities, which are no logits.
    folder.logits(&[0.5, 0.25, 0.25, 0.125, 0.5, 0.375].repeat(4), 3).targets(&[0; 8]);
    let mut small = folder.command("eval logits.npy --targets targets.npy --temperature 1,2 --json");
    small.env_remove("XENT_ADAPTER");
    let small: Value = serde_json::from_str(&run(small).stdout).unwrap();
    assert_eq!(small["notices"], serde_json::json!(["probabilities_as_logits"]));
    assert_eq!(small["adapter_reason"], "a small input", "no driver is started for it");
    folder.array::<f32>("logits.npy", &[0, 3], &[]).targets(&[]);
    let none = folder.eval("--adapter cpu --temperature 1,2");
    assert_eq!((&none["counted"], &none["loss"]), (&0.into(), &serde_json::json!([null, null])));
    assert_eq!(none["flags"][0], "no_row_counts");
}

#[test]
fn what_are_no_probabilities() {
    let folder = Folder::new();
    let cols = 5;
    let probs: Vec<f32> =
        (0..20 * cols).map(|at| [0.5, 0.25, 0.125, 0.0625, 0.0625][at * 7 % 11 % cols]).collect();
    let with = |change: &dyn Fn(usize, f32) -> f32| -> Vec<f32> {
        probs.iter().enumerate().map(|(at, &x)| change(at, x)).collect()
    };
    folder.targets(&(0..20).map(|row| row % cols as i64).collect::<Vec<_>>());
    let eval = "eval x.npy --targets targets.npy --input probs";
    for (values, says) in [
        (
            with(&|_, x| x.ln()),
            "row 0 has -0.6931472 for class 0, and probabilities are not below 0; 20 of the 20 rows",
        ),
        (
            with(&|at, x| if at == 42 || at == 44 || at == 91 { -0.5 } else { x }),
            "row 8 has -0.5 for class 2, and probabilities are not below 0; 2 of the 20 rows",
        ),
    ] {
        folder.array("x.npy", &[20, cols], &values);
        for more in ["", "--temperature 1,2"] {
            let run = folder.run(&format!("{eval} {more}"));
            let [line] = run.complaints()[..] else { panic!("{run:?}") };
            assert!(run.status == Some(2) && line.starts_with(&format!("xent: x.npy: {says}")), "{run:?}");
        }
    }
    // The same rows, with the classes in front.
    let turned: Vec<f32> = (0..20 * cols).map(|at| if at == 2 * 20 + 8 { -0.5 } else { probs[at] }).collect();
    folder.array("x.npy", &[cols, 20], &turned);
    let run = folder.run(&format!("{eval} --class-axis 0"));
    assert!(
        run.stderr.contains("row 8 has -0.5 for class 2,") && run.stderr.contains("; 1 of the 20 "),
        "{run:?}"
    );

    // A probability may be 0; rows of NaN are not the same.
    let line_of = |values: &[f32], name: &str| {
        folder.array("x.npy", &[20, cols], values);
        let run = folder.run(eval);
        assert_eq!(run.status, Some(0), "{run:?}");
        let lines = run.stdout.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line[12..].to_owned()).collect::<Vec<_>>()
    };
    let zero = with(&|at, x| if at == 0 { 0.0 } else { x });
    let [notice] = &line_of(&zero, "notice")[..] else { panic!("one notice") };
    assert!(notice.starts_with("the target's logit is -inf, its probability 0, in 1 of 20 rows"), "{notice}");
    let nan = vec![f32::NAN; 20 * cols];
    assert_eq!(line_of(&nan, "notice"), Vec::<String>::new());
    assert_eq!(line_of(&nan, "accuracy"), ["none: no row that counts has a prediction"]);
}
