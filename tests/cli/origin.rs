//! What a report says it is of, and two saved reports side by side.

use serde_json::{Value, json};

use crate::support::{Folder, logits};

const COLS: usize = 11;
const ROWS: usize = 24;

fn folder() -> Folder {
    let folder = Folder::new();
    let values = logits(ROWS * COLS);
    let other: Vec<f32> = values.iter().map(|x| 0.9 * x).collect();
    folder.array("a.npy", &[2, ROWS / 2, COLS], &values).array("b.npy", &[2, ROWS / 2, COLS], &other);
    folder.targets(&(0..ROWS as i64).map(|row| row % 11).collect::<Vec<_>>());
    folder
}

fn report(folder: &Folder, args: &str) -> Value {
    let run = folder.run(&format!("{args} --json"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn a_report_says_what_it_is_of() {
    let folder = folder();
    folder.array("mask.npy", &[ROWS], &[1i64; ROWS]);
    let args =
        "eval a.npy --targets targets.npy --shift 1 --ignore-index 3,4 --positions --row-mask mask.npy";
    let of = report(&folder, &format!("{args} --html page.html --worst 3"));
    let inputs = &of["inputs"];
    assert_eq!(inputs["names"], json!(["the logits", "the targets", "the row mask"]));
    assert_eq!(inputs["paths"], json!(["a.npy", "targets.npy", "mask.npy"]));
    assert_eq!(inputs["shapes"], json!([[2, 12, 11], [24], [24]]));
    assert_eq!(inputs["dtypes"], json!(["f32", "i64", "i64"]));
    let bytes: Vec<usize> = ["a.npy", "targets.npy", "mask.npy"].map(|name| folder.read(name).len()).to_vec();
    assert_eq!(inputs["bytes"], json!(bytes));
    assert!(
        inputs["crc32"][0].is_null() && inputs["crc32"][1].is_u64() && inputs["crc32"][2].is_u64(),
        "{inputs:#}"
    );
    assert_eq!(of["options"], json!(["--ignore-index 3,4", "--positions", "--shift 1"]));
    assert_eq!(of["command"], format!("xent {args} --html page.html --worst 3 --json"));
    let date = of["date"].as_str().unwrap();
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    let page = String::from_utf8(folder.read("page.html")).unwrap();
    let foot = page.lines().find(|line| line.starts_with("<footer>")).unwrap();
    assert!(foot.contains(&format!("<code>xent {args} --html page.html")), "{foot}");

    let run = folder.run(args);
    let line = run.stdout.lines().find(|line| line.starts_with("of ")).unwrap();
    let says = "a.npy (2 × 12 × 11 f32), targets.npy (24 i64), mask.npy (24 i64); --ignore-index 3,4 --positions --shift 1; 20";
    assert!(line.contains(says), "{line}");

    let of = report(&folder, "compare a.npy b.npy --targets targets.npy");
    assert_eq!(of["inputs"]["names"], json!(["the base", "the other", "the targets"]));
    assert_eq!((&of["inputs"]["dtypes"][1], &of["options"]), (&json!("f32"), &json!([])));
    let of = report(&folder, "calibrate a.npy --targets targets.npy --shift 1");
    assert_eq!(
        (&of["inputs"]["paths"], &of["options"]),
        (&json!(["a.npy", "targets.npy"]), &json!(["--shift 1"]))
    );
}

#[test]
fn saved_reports_side_by_side() {
    let folder = folder();
    let save = |name: &str, args: &str| {
        let run = folder.run(&format!("eval {args} --json"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        folder.write(name, run.stdout);
    };
    save("a.json", "a.npy --targets targets.npy --shift 1");
    save("b.json", "b.npy --targets targets.npy --shift 1 --temperature 1.5");
    let found = report(&folder, "compare a.json b.json");
    let of = |name: &str| -> Value { serde_json::from_slice(&folder.read(name)).unwrap() };
    let (a, b) = (of("a.json"), of("b.json"));
    assert_eq!(found["mean"]["base"], json!({ "value": a["mean"], "error": a["sequence_standard_error"] }));
    let change = b["mean"].as_f64().unwrap() - a["mean"].as_f64().unwrap();
    assert!((found["mean"]["change"]["value"].as_f64().unwrap() - change).abs() < 1e-12, "{found:#}");
    let errors = [&a, &b].map(|report| report["sequence_standard_error"].as_f64().unwrap());
    let both = errors[0].hypot(errors[1]);
    assert!((found["mean"]["change"]["error"].as_f64().unwrap() - both).abs() < 1e-12, "{found:#}");
    assert_eq!(found["options"], json!({ "base": [], "other": ["--temperature 1.5"] }));
    let text = folder.run("compare a.json b.json");
    assert!(text.status == Some(0) && text.stdout.contains("--temperature 1.5"), "{text:?}");

    folder.array("other.npy", &[ROWS], &(0..ROWS as i64).map(|row| 10 - row % 11).collect::<Vec<_>>());
    save("targets.json", "b.npy --targets other.npy --shift 1");
    save("shift.json", "b.npy --targets targets.npy --shift 1 --score-from 0");
    save("rows.json", "b.npy --targets targets.npy");
    let mut old = a.clone();
    old.as_object_mut().unwrap().remove("inputs");
    folder.write("old.json", old.to_string()).write("no.json", "no").write("array.json", "[1]");
    folder.write("compare.json", folder.run("compare a.npy b.npy --json").stdout);
    for (args, says) in [
        ("a.json targets.json", "targets.json: it is of other data than a.json: the targets: another file"),
        ("a.json shift.json", "it was with --shift 1, and is with --score-from 0 --shift 1"),
        ("a.json rows.json", "counted was 22, and is 24"),
        ("a.json old.json", "old.json: another version of xent wrote it"),
        ("a.json no.json", "no.json: this is not a report: "),
        ("array.json a.json", "array.json: this is not a report of 'xent eval --json'"),
        (
            "a.json compare.json",
            "compare.json: it is of 'xent compare', but reports of 'xent eval --json' are needed",
        ),
        ("a.json none.json", "none.json: "),
        ("a.json b.json --targets targets.npy", "--targets: does not apply to saved reports"),
    ] {
        let run = folder.run(&format!("compare {args}"));
        assert!(
            run.status == Some(2) && run.complaints().iter().any(|line| line.contains(says)),
            "{args}: {run:?}"
        );
    }
}
