//! What `xent eval` says: to programs, to people, and by its exit status.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Folder, logits, run};

const DOCUMENTED: &str = include_str!("../../docs/eval-json.md");

/// The keys of the table, and the types it says they have.
fn documented() -> BTreeMap<String, String> {
    let rows = DOCUMENTED.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (key, rest) = row.split_once("` | ").unwrap();
        (key.to_owned(), rest.split(" | ").next().unwrap().to_owned())
    })
    .collect()
}

/// All values, by their keys with dots between.
fn printed(object: &Value, before: &str, into: &mut BTreeMap<String, Value>) {
    for (key, value) in object.as_object().unwrap() {
        let key = format!("{before}{key}");
        if value.is_object() {
            printed(value, &format!("{key}."), into);
        }
        into.insert(key, value.clone());
    }
}

/// Whether only a loss with classes has this key.
fn is_of_classes(key: &str) -> bool {
    const KEYS: [&str; 9] = [
        "perplexity",
        "accuracy",
        "judged",
        "uniform_loss",
        "top_k",
        "mean_rank",
        "mean_reciprocal_rank",
        "calibration",
        "classes",
    ];
    let start = key.split('.').next().unwrap_or(key);
    KEYS.contains(&start) || ["perplexity_interval", "mean_entropy", "mean_brier"].contains(&start)
}

fn is_of(value: &Value, kind: &str) -> bool {
    let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|values| values.iter().all(is));
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        "array of strings" => all(Value::is_string),
        "array of integers" => all(Value::is_u64),
        "array of numbers" => all(Value::is_number),
        "array of arrays of strings" => {
            value.as_array().is_some_and(|values| values.iter().all(|value| is_of(value, "array of strings")))
        }
        "array of arrays or nulls" => all(|value| value.is_array() || value.is_null()),
        "array of strings or nulls" => all(|value| value.is_string() || value.is_null()),
        "array of integers or nulls" => all(|value| value.is_u64() || value.is_null()),
        "array of numbers or nulls" => all(|value| value.is_number() || value.is_null()),
        _ => kind.split_once(" or ").is_some_and(|(one, other)| is_of(value, one) || is_of(value, other)),
    }
}

#[test]
fn pictures_have_names_of_pictures() {
    let folder = Folder::new();
    folder.logits(&[1.0, 2.0, 3.0, 4.0], 2).targets(&[0, 1]).write("x.npy", "whole");
    for (option, file, needed) in
        [("--plot", "x.png", "svg"), ("--html", "x.npy", "html"), ("--html", "x", "html")]
    {
        let run = folder.run(&format!("eval logits.npy --targets targets.npy {option} {file}"));
        let says = format!("xent: {file}: cannot be written: its name must end with .{needed}");
        assert_eq!((run.status, run.complaints()), (Some(2), vec![&*says]), "{option} {file}");
    }
    assert_eq!(folder.read("x.npy"), b"whole");
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_printed() {
    let documented = documented();
    let folder = Folder::new();
    folder.logits(&logits(20 * 7), 7).targets(&[3; 20]);
    folder.array("nan.npy", &[1, 7], &[f32::NAN; 7]).array("one.npy", &[1], &[0i64]);
    folder.array("none.npy", &[1], &[-100i64]);
    let of = |args: &str| {
        let run = folder.run(&format!("{args} --json"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        let mut keys = BTreeMap::new();
        printed(&serde_json::from_str(&run.stdout).unwrap(), "", &mut keys);
        keys
    };
    for (name, args) in [
        ("usual", "eval logits.npy --targets targets.npy --verify 2 --readouts --top-k 2 --bytes 60"),
        ("a NaN", "eval nan.npy --targets one.npy --verify 1"),
        ("no row counts", "eval nan.npy --targets none.npy --verify 1"),
        ("the demo", "demo --rows 8 --cols 50"),
        ("a loss without classes", "eval logits.npy --loss kl --teacher logits.npy --verify 2"),
    ] {
        let mut printed = of(args);
        if name == "a loss without classes" {
            let of_classes = documented.keys().filter(|key| is_of_classes(key));
            for key in of_classes {
                assert!(printed.insert(key.clone(), Value::Null).is_none(), "{key}");
            }
        }
        let keys = |map: &mut dyn Iterator<Item = &String>| map.cloned().collect::<Vec<_>>();
        assert_eq!(keys(&mut printed.keys()), keys(&mut documented.keys()), "{name}");
        for (key, value) in printed.iter().filter(|(key, _)| name == "usual" || !is_of_classes(key)) {
            assert!(is_of(value, &documented[key]), "{name}: {key} is {value}, not {}", documented[key]);
        }
    }
    assert_eq!(of("eval logits.npy --targets targets.npy")["verification"], Value::Null);
}

#[test]
fn every_flag_is_documented() {
    let names = xent::Flags::all().names();
    let list = DOCUMENTED.split("\nFlags: ").nth(1).unwrap();
    names.for_each(|name| assert!(list.contains(&format!("`{name}`")), "{name}"));
}

#[test]
fn losses_by_size_and_by_position() {
    // Two classes at distance d: the loss of the first is ln(1 + e^d). Three positions, two sequences.
    let rows = [0.0f32, 1.0, 2.0, 0.0, 3.0, f32::INFINITY];
    let loss = |d: f32| f64::from(d).exp().ln_1p();
    let folder = Folder::new();
    folder.array("logits.npy", &[2, 3, 2], &rows.map(|d| [0.0, d]).concat());
    folder.array("targets.npy", &[2, 3], &[0i64, 0, 0, -100, 0, 0]);
    let report = folder.eval("");
    let near =
        |value: &Value, expected: f64| value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-5);
    let losses = &report["row_losses"];
    assert_eq!(
        (&losses["finite"], &losses["nan"], &losses["infinite"]),
        (&json!(4), &json!(1), &json!(0)),
        "{report:#}"
    );
    assert!(near(&losses["min"], loss(0.0)) && near(&losses["max"], loss(3.0)), "{report:#}");
    let width = losses["histogram"]["width"].as_f64().unwrap();
    let quantiles = &losses["quantiles"];
    let (median, within) = (quantiles["p50"].as_f64().unwrap(), quantiles["within"].as_f64().unwrap());
    assert!((median - loss(1.0)).abs() <= within + 1e-6 && within <= width, "{report:#}");
    let counts = losses["histogram"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().filter_map(Value::as_u64).sum::<u64>(), 4, "{report:#}");
    let start = losses["histogram"]["start"].as_f64().unwrap();
    assert!(start <= loss(0.0) && start + width > loss(0.0), "{report:#}");
    let positions = &report["positions"];
    assert_eq!(
        (&positions["length"], &positions["width"], &positions["counts"]),
        (&json!(3), &json!(1), &json!([1, 2, 1])),
        "{report:#}"
    );
    for (at, mean) in [(0, loss(0.0)), (1, (loss(1.0) + loss(3.0)) / 2.0), (2, loss(2.0))] {
        assert!(near(&positions["means"][at], mean), "{at}: {report:#}");
    }
    assert_eq!((&report["bad_rows"], &report["first_bad_row"]), (&json!(1), &json!(5)), "{report:#}");
    assert_eq!(report["listed_bad_rows"]["rows"], json!([5]), "{report:#}");
    assert_eq!(folder.eval("--sequence 2")["positions"]["counts"], json!([3, 1]));
    assert_eq!(report["bytes_read"].as_u64(), Some(folder.read("logits.npy").len() as u64));
}

#[test]
fn strict_is_an_exit_status_and_no_more() {
    const INF: f32 = f32::INFINITY;
    let fine = [0.0f32, 1.0, 2.0];
    for (name, row, args, bad) in [
        ("fine", [1.0, 2.0, 3.0], "", None),
        ("a NaN", [0.0, f32::NAN, 0.0], "", Some("nan_logit, nan_loss")),
        ("+inf", [0.0, INF, 0.0], "", Some("infinite_logit, nan_loss")),
        ("an impossible target", [-INF, 0.0, 0.0], "", Some("infinite_loss")),
        ("a masked logit", [0.0, -INF, 0.0], "", None),
        ("a masked row", [-INF; 3], "", Some("masked_row, nan_loss")),
        ("a masked row that is to be zero", [-INF; 3], "--masked-row zero", None),
        ("a NaN in a row that is left out", [f32::NAN; 3], "--ignore-index 0", None),
    ] {
        let folder = Folder::new();
        folder.logits(&[fine, row].concat(), 3).targets(&[1, 0]);
        let eval =
            format!("eval logits.npy --targets targets.npy --rows-out rows.npy --plot rows.svg {args}");
        let plain = folder.run(&eval);
        assert_eq!((plain.status, plain.complaints().len()), (Some(0), 0), "{name}: {plain:?}");
        let line = plain.stdout.lines().find(|line| line.starts_with("bad rows"));
        let expected = bad.map(|flags| format!("1: the first is row 1 ({flags})"));
        assert_eq!(line.map(|line| &line[12..]), expected.as_deref(), "{name}: {plain:?}");
        for file in ["rows.npy", "rows.svg"] {
            std::fs::remove_file(folder.path(file)).unwrap();
        }
        let strict = folder.run(&format!("{eval} --strict"));
        assert_eq!(strict.status, Some(i32::from(bad.is_some())), "{name}: {strict:?}");
        let complaint = expected.map(|expected| format!("xent: bad rows: {expected}"));
        // A target that cannot be is told once more, with what to do.
        let (bad, notices): (Vec<_>, Vec<_>) =
            strict.complaints().into_iter().partition(|line| !line.starts_with("xent: notice: "));
        assert_eq!(bad, complaint.iter().collect::<Vec<_>>(), "{name}");
        assert_eq!(notices.len(), usize::from(name == "an impossible target"), "{name}: {strict:?}");
        // What was asked for is there: it tells which rows are bad.
        assert_eq!(folder.names(), ["logits.npy", "rows.npy", "rows.svg", "targets.npy"], "{name}");
    }
}

/// The readouts of each row, from the same read.
#[test]
fn a_table_with_readouts() {
    let folder = Folder::new();
    // Probabilities 0.6, 0.3, 0.1 and 0.5, 0.4, 0.1; the third row is left out, and the last has a NaN.
    let probs = [[0.6f32, 0.3, 0.1], [0.5, 0.4, 0.1], [0.4, 0.3, 0.3], [f32::NAN, 1.0, 1.0]];
    folder.array("logits.npy", &[4, 3], &probs.concat().iter().map(|p| p.ln()).collect::<Vec<_>>());
    folder.array("targets.npy", &[4], &[0i64, 1, -100, 0]);
    folder.eval("--rows-out rows.csv --readouts");
    let table = String::from_utf8(folder.read("rows.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let names = ["prob", "confidence", "rank", "mass_ahead", "entropy", "brier", "margin"];
    assert_eq!(lines[0][8..], names, "{table}");
    let entropy = |probs: [f64; 3]| -probs.iter().map(|p| p * p.ln()).sum::<f64>();
    let expected = [
        [0.6, 0.6, 1.0, 0.0, entropy([0.6, 0.3, 0.1]), 0.16 + 0.09 + 0.01, 2f64.ln()],
        [0.4, 0.5, 2.0, 0.5, entropy([0.5, 0.4, 0.1]), 0.25 + 0.36 + 0.01, 1.25f64.ln()],
    ];
    for (line, expected) in lines[1..].iter().zip(expected) {
        for ((cell, expected), name) in line[8..].iter().zip(expected).zip(names) {
            assert!((cell.parse::<f64>().unwrap() - expected).abs() < 1e-5, "{name}: {cell}, {expected}");
        }
    }
    assert_eq!(lines[3][8..], [""; 7]);
    assert_eq!(lines[4][8..], [""; 7], "{table}");

    let soft = "eval logits.npy --soft-targets soft.npy --rows-out rows.csv --readouts";
    folder.array("soft.npy", &[4, 3], &[1f32 / 3.0; 12]);
    assert_eq!(folder.run(soft).status, Some(0));
    let table = String::from_utf8(folder.read("rows.csv")).unwrap();
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    assert_eq!([cells[8], cells[10], cells[11], cells[13]], [""; 4], "{table}");
    assert!((cells[9].parse::<f64>().unwrap() - 0.6).abs() < 1e-5, "{table}");
    for (args, said) in [
        ("--loss kl --teacher logits.npy --readouts", "--readouts: does not apply to --loss kl"),
        ("--soft-targets soft.npy --top-k 2", "--top-k: does not apply to targets that are probabilities"),
        (
            "--loss kl --teacher logits.npy --temperature 1 --ignore-index -100",
            "--ignore-index: does not apply to --loss kl",
        ),
    ] {
        let run = folder.run(&format!("eval logits.npy {args}"));
        assert_eq!((run.status, run.complaints()), (Some(2), vec![&*format!("xent: {said}")]), "{args}");
    }
    // The figures of the report: two of the rows have a rank, the other is bad.
    let report = folder.eval("--readouts --top-k 1");
    assert_eq!((&report["judged"], &report["top_k"]["accuracy"]), (&json!(2), &json!(0.5)), "{report:#}");
    assert_eq!((&report["accuracy"], &report["mean_rank"]), (&json!(0.5), &json!(1.5)), "{report:#}");
    assert!((report["mean_brier"].as_f64().unwrap() - (0.26 + 0.62) / 2.0).abs() < 1e-6, "{report:#}");
    assert_eq!(report["classes"]["confusion"], json!([1, 0, 0, 1, 0, 0, 0, 0, 0]));
    assert!(report["finite_mean"].as_f64().is_some_and(|mean| mean > 0.0) && report["mean"].is_null());
}

#[test]
fn a_table_of_rows() {
    let folder = Folder::new();
    let rows = [[0.0f32, 0.0], [0.0, f32::NAN], [3.0, 3.0], [0.0, 0.0], [9.0, 9.0], [f32::NEG_INFINITY, 1.0]];
    folder.array("logits.npy", &[2, 3, 2], &rows.concat());
    folder.array("targets.npy", &[2, 3], &[7i64, 1, -100, 7, 0, 0]);
    let report = folder.eval("--shift 1 --rows-out rows.CSV");
    assert_eq!(report["counted"], 3, "{report:#}");
    let table = String::from_utf8(folder.read("rows.CSV")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let ln_2 = std::f32::consts::LN_2;
    let cell = |line: usize, column: usize| lines[line].split(',').nth(column).unwrap();
    assert_eq!(lines[0], "row,sequence,position,target,loss,lse,argmax,flags");
    assert!(lines[1].starts_with("0,0,0,1,0.693147") && lines[1].ends_with(",0,"), "{table}");
    assert!((cell(1, 5).parse::<f32>().unwrap() - ln_2).abs() < 1e-6, "{table}");
    assert_eq!(lines[2], "1,0,1,-100,,,,");
    assert_eq!(lines[3], "2,0,2,,,,,", "the last of a sequence has no target");
    assert!(lines[4].starts_with("3,1,0,0,0.693147"), "{table}");
    assert!(lines[5].starts_with("4,1,1,0,0.693147"), "{table}");
    assert_eq!((lines[6], lines.len()), ("5,1,2,,,,,", 7));

    // The losses are those of the array, digit for digit; soft targets are no class.
    folder.array("soft.npy", &[2, 3, 2], &[0.5f32; 12]);
    let soft = "eval logits.npy --soft-targets soft.npy --rows-out";
    for file in ["rows.csv", "rows.npy"] {
        assert_eq!(folder.run(&format!("{soft} {file}")).status, Some(0));
    }
    let table = String::from_utf8(folder.read("rows.csv")).unwrap();
    let (_, losses) = folder.values("rows.npy");
    for (row, line) in table.lines().skip(1).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        let loss: f32 = cells[4].parse().unwrap();
        assert!(loss == losses[row] || loss.is_nan() && losses[row].is_nan(), "{line}");
        assert_eq!((cells.len(), cells[3]), (8, ""), "{line}");
    }
    assert!(table.lines().nth(2).unwrap().ends_with("nan_logit|nan_loss"), "{table}");
}

#[test]
fn pictures_are_whole_files_of_their_kind() {
    let folder = Folder::new();
    let name = "<b>&'\"logits.npy";
    folder.array(name, &[4, 5, 7], &logits(140)).array("targets.npy", &[20], &[1i64; 20]);
    folder.write("page.html", "old");
    let mut command = folder.command("eval --targets targets.npy --plot plot.svg --html page.html");
    command.arg(name);
    let answer = run(command);
    assert_eq!(answer.status, Some(0), "{answer:?}");
    let read = |name: &str| String::from_utf8(folder.read(name)).unwrap();
    let svg = read("plot.svg");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    for text in ["Row losses: median ", "loss of a row, nats", "Loss by position", "mean loss, nats"] {
        assert!(svg.contains(text), "{text}");
    }
    let page = read("page.html");
    assert!(page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg role=\"img\"").count(), 3);
    assert!(page.contains("<h1>&lt;b&gt;&amp;&#39;&quot;logits.npy</h1>") && !page.contains("<b>"), "{page}");
    // What the terminal says, the page says.
    let loss = answer.stdout.lines().find_map(|line| line.strip_prefix("loss        ")).unwrap();
    assert!(page.contains(&format!("<dd>{loss}</dd>")), "{loss}: {page}");
    // Self-contained: the one address is that of SVG's namespace, which nobody fetches.
    let addresses =
        page.matches("://").count() + page.matches("url(").count() + page.matches("@import").count();
    assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    assert!(!page.contains("<script") && !page.contains(" src=") && !page.contains("<link"));
}

#[test]
fn there_is_a_picture_of_anything() {
    for (name, rows, targets) in [
        ("one row", vec![[0.0f32, 1.0]], vec![0]),
        ("no row counts", vec![[0.0, 1.0]], vec![-100]),
        ("only NaN", vec![[f32::NAN, 1.0]; 3], vec![0; 3]),
        ("one loss", vec![[0.0, 1.0]; 50], vec![0; 50]),
        ("huge and tiny", vec![[-3e38, 3e38], [0.0, 1e-30], [30.0, 0.0]], vec![0; 3]),
        ("thousands", (0..3000).map(|at| [0.0, at as f32 * 0.01]).collect(), vec![0; 3000]),
    ] {
        let folder = Folder::new();
        folder.logits(&rows.concat(), 2).targets(&targets);
        let run = folder.run("eval logits.npy --targets targets.npy --plot plot.svg --html page.html");
        assert_eq!(run.status, Some(0), "{name}: {run:?}");
        let svg = String::from_utf8(folder.read("plot.svg")).unwrap();
        assert!(
            svg.trim_end().ends_with("</svg>") && !svg.contains("NaN") && !svg.contains("inf"),
            "{name}: {svg}"
        );
    }
}

#[test]
fn pictures_that_cannot_be_written_are_refused_before_the_work() {
    let folder = Folder::new();
    folder.logits(&[0.0; 4], 2).targets(&[0, 1]);
    for (args, line) in [
        ("--plot none/p.svg", "none/p.svg: cannot be written: No such file"),
        ("--html targets.npy", "targets.npy: cannot be written: it is also the targets"),
        ("--html p --plot p", "p: cannot be written: it is also another output"),
    ] {
        let run = folder.run(&format!("eval logits.npy --targets targets.npy {args}"));
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
        assert!(run.complaints()[0].starts_with(&format!("xent: {line}")), "{args}: {run:?}");
        assert_eq!(folder.names(), ["logits.npy", "targets.npy"], "{args}");
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let folder = Folder::new();
    folder.logits(&[0.0, f32::NAN], 2).targets(&[0]);
    let stdout = |variables: &[(&str, &str)]| {
        let mut command = folder.command("eval logits.npy --targets targets.npy");
        ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"].iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(variables.iter().copied());
        run(command).stdout
    };
    assert!(!stdout(&[]).contains('\u{1b}'), "no terminal");
    assert!(!stdout(&[("NO_COLOR", "1")]).contains('\u{1b}'));
    // The way to see that there are styles at all, where there is no terminal.
    let forced = stdout(&[("CLICOLOR_FORCE", "1")]);
    assert!(forced.contains("\u{1b}[1m") && forced.contains("NaN nats (mean)"), "{forced:?}");
    assert!(!stdout(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
}
