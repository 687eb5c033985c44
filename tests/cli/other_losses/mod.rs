//! `xent eval --loss kl`, `--loss bce`, `--loss entmax` and `--loss sparsemax`, against the reference.

mod misuse;

use serde_json::{Value, json};
use xent::reference::{entmax_loss, kl_divergence, sigmoid_bce};
use xent::{
    CrossEntropyInputs, EntmaxLossOptions, KlDivergenceInputs, KlDivergenceOptions, Reduction, Sequences,
    Shape, SigmoidBceInputs, SigmoidBceOptions, Targets,
};

use crate::support::{Folder, Run, logits, npy};

const DIMS: [usize; 2] = [24, 7];
const SHAPE: Shape = Shape::new(DIMS[0], DIMS[1]);

fn row_weights() -> Vec<f32> {
    (0..DIMS[0]).map(|row| (row % 3) as f32 / 2.0).collect()
}

fn row_mask() -> Vec<bool> {
    (0..DIMS[0]).map(|row| row % 4 != 1).collect()
}

/// Another batch of logits. The first row is that of the student, so its divergence is exactly 0.
fn teacher(student: &[f32]) -> Vec<f32> {
    let (rest, first) = (student.iter().rev().map(|logit| 0.5 * logit), &student[..DIMS[1]]);
    first.iter().copied().chain(rest.skip(DIMS[1])).collect()
}

/// For each class of each row whether it applies; some are numbers between.
fn labels() -> Vec<f32> {
    (0..SHAPE.len()).map(|at| if at % 11 == 4 { 0.25 } else { (at % 3 / 2) as f32 }).collect()
}

fn class_weights() -> (Vec<f32>, Vec<f32>) {
    (0..DIMS[1]).map(|class| (0.5 + class as f32, (class % 4) as f32)).unzip()
}

/// A folder of both batches and all weights.
fn folder() -> (Folder, Vec<f32>) {
    let (folder, student) = (Folder::new(), logits(SHAPE.len()));
    let (pos_weight, class_weights) = class_weights();
    let mask: Vec<u8> = row_mask().iter().map(|&scored| scored.into()).collect();
    folder.logits(&student, DIMS[1]).array("teacher.npy", &DIMS, &teacher(&student));
    folder.array("labels.npy", &DIMS, &labels()).array("row.npy", &DIMS[..1], &row_weights());
    folder.array("pos.npy", &DIMS[1..], &pos_weight).array("class.npy", &DIMS[1..], &class_weights);
    folder.write("mask.npy", npy("|b1", "(24,)", &mask)).targets(&[0; DIMS[0]]);
    (folder, student)
}

const ROWS: &str = "--row-weights row.npy --row-mask mask.npy";
const OUTPUTS: &str = "--json --verify 7 --rows-out rows.npy --grad-out grad.npy";

fn said(run: &Run) -> Value {
    assert_eq!(run.status, Some(0), "{run:?}");
    let mut said: Value = serde_json::from_str(&run.stdout).unwrap();
    for name in ["seconds", "logits_per_second", "peak_memory_bytes", "command", "date"] {
        said[name] = Value::Null;
    }
    // Each run has files of its own.
    said["inputs"]["modified"] = Value::Null;
    said
}

/// Holds a report and the row losses and gradients in files to the reference.
fn check(folder: &Folder, report: &Value, loss: f64, row_losses: &[f64], dlogits: &[f64]) {
    let near = |value: f64, expected: f64| (value - expected).abs() <= 1e-5 * (1.0 + expected.abs());
    assert!(report["loss"].as_f64().is_some_and(|value| near(value, loss)), "{loss}: {report:#}");
    assert_eq!(report["verification"]["passed"], true, "{report:#}");
    assert!(report.get("perplexity").is_none() && report.get("accuracy").is_none(), "{report:#}");
    let counted =
        row_weights().into_iter().zip(row_mask()).filter(|&(weight, scored)| weight > 0.0 && scored);
    let counted = counted.count();
    assert_eq!((&report["counted"], &report["row_losses"]["finite"]), (&json!(counted), &json!(counted)));
    let (rows, grad) = (folder.values("rows.npy").1, folder.values("grad.npy").1);
    assert_eq!((rows.len(), grad.len()), (row_losses.len(), dlogits.len()));
    for (found, expected) in rows.iter().zip(row_losses).chain(grad.iter().zip(dlogits)) {
        assert!(near((*found).into(), *expected), "{found}, not {expected}");
    }
}

#[test]
fn the_divergence_from_a_teacher() {
    let (folder, student) = folder();
    let (teacher, weights, mask) = (teacher(&student), row_weights(), row_mask());
    let inputs = KlDivergenceInputs::new(&teacher).row_weights(&weights).row_mask(&mask);
    for (args, reduction, scale_by_t_squared) in
        [("", Reduction::Mean, false), ("--reduction sum --scale-by-t-squared", Reduction::Sum, true)]
    {
        let options =
            KlDivergenceOptions { temperature: 2.0, reduction, scale_by_t_squared, ..Default::default() };
        let eval = format!("eval logits.npy --loss kl --teacher teacher.npy --temperature 2 {ROWS} {args}");
        let report = said(&folder.run(&format!("{eval} {OUTPUTS}")));
        assert_eq!(report["loss_name"], "kl");
        let loss = kl_divergence::loss(&student, inputs, SHAPE, &options).unwrap();
        let rows = kl_divergence::row_losses(&student, inputs, SHAPE, &options).unwrap();
        let dlogits = kl_divergence::dlogits(&student, inputs, SHAPE, &options).unwrap();
        check(&folder, &report, loss, &rows, &dlogits);
        let files = ["logits.npy", "teacher.npy"].map(|name| folder.read(name).len());
        assert_eq!(report["bytes_read"], files.iter().sum::<usize>());
    }
}

/// Also with next-token targets.
#[test]
fn the_losses_of_entmax() {
    let (folder, student) = folder();
    let (weights, mask) = (row_weights(), row_mask());
    let classes: Vec<i64> = (0..DIMS[0] as i64).map(|row| row % 7).collect();
    folder.targets(&classes);
    let inputs = CrossEntropyInputs::new(Targets::ClassesI64(&classes)).row_weights(&weights).row_mask(&mask);
    for (args, alpha, name) in [
        ("--loss entmax", 1.5, "entmax"),
        ("--loss entmax --alpha 1.25", 1.25, "entmax"),
        ("--loss sparsemax --reduction sum", 2.0, "sparsemax"),
    ] {
        let reduction = if args.ends_with("sum") { Reduction::Sum } else { Reduction::Mean };
        let options = EntmaxLossOptions { alpha, reduction, ..Default::default() };
        let eval = format!("eval logits.npy --targets targets.npy {args} {ROWS}");
        let report = said(&folder.run(&format!("{eval} {OUTPUTS}")));
        assert_eq!(report["loss_name"], name);
        let loss = entmax_loss::loss(&student, inputs, SHAPE, &options).unwrap();
        let rows = entmax_loss::row_losses(&student, inputs, SHAPE, &options).unwrap();
        let dlogits = entmax_loss::dlogits(&student, inputs, SHAPE, &options).unwrap();
        check(&folder, &report, loss, &rows, &dlogits);
    }
    let report = said(
        &folder.run("eval logits.npy --targets targets.npy --loss sparsemax --shift 1 --sequence 6 --json"),
    );
    let options =
        EntmaxLossOptions { sequences: Some(Sequences::shifted(6, 1)), ..EntmaxLossOptions::sparsemax() };
    let loss = entmax_loss::loss(&student, Targets::ClassesI64(&classes), SHAPE, &options).unwrap();
    assert!((report["loss"].as_f64().unwrap() - loss).abs() < 1e-5, "{loss}: {report:#}");
    assert_eq!(report["counted"], 20);
}

/// The targets of an entmax are classes, and are told as such.
#[test]
fn rows_of_an_entmax_have_targets() {
    let (folder, _) = folder();
    let classes: Vec<i64> = (0..DIMS[0] as i64).map(|row| if row == 5 { -100 } else { row % 7 }).collect();
    folder.targets(&classes);
    for loss in ["entmax", "sparsemax"] {
        let eval = format!("--adapter cpu --loss {loss} --rows-out rows.csv --html page.html --worst 3");
        let report = folder.eval(&eval);
        let table = String::from_utf8(folder.read("rows.csv")).unwrap();
        let in_table: Vec<i64> =
            table.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().parse().unwrap()).collect();
        assert_eq!(in_table, classes, "{loss}");
        let worst = &report["worst_rows"];
        let rows = worst["rows"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap() as usize);
        let expected: Vec<i64> = rows.map(|row| classes[row]).collect();
        assert_eq!((expected.len(), &worst["targets"]), (3, &json!(expected)), "{loss}");
        let page = String::from_utf8(folder.read("page.html")).unwrap();
        assert!(page.contains("Rows with the largest losses"), "{page}");
        assert!(report.get("accuracy").is_none(), "{report:#}");
    }
}

#[test]
fn a_yes_or_no_for_each_class() {
    let (folder, student) = folder();
    let (labels, weights, mask) = (labels(), row_weights(), row_mask());
    let (pos_weight, class_weights) = class_weights();
    let inputs = SigmoidBceInputs::new(&labels)
        .pos_weight(&pos_weight)
        .class_weights(&class_weights)
        .row_weights(&weights)
        .row_mask(&mask);
    let options = SigmoidBceOptions::default();
    let eval = format!(
        "eval logits.npy --loss bce --targets labels.npy --pos-weight pos.npy --class-weights class.npy {ROWS}"
    );
    let report = said(&folder.run(&format!("{eval} {OUTPUTS}")));
    assert_eq!((&report["loss_name"], &report["accuracy"]), (&json!("bce"), &Value::Null));
    let loss = sigmoid_bce::loss(&student, inputs, SHAPE, &options).unwrap();
    let rows = sigmoid_bce::row_losses(&student, inputs, SHAPE, &options).unwrap();
    let dlogits = sigmoid_bce::dlogits(&student, inputs, SHAPE, &options).unwrap();
    check(&folder, &report, loss, &rows, &dlogits);

    // 0 and 1 in any type are the same targets.
    let binary: Vec<f32> = labels.iter().map(|label| label.ceil()).collect();
    folder.array("f32.npy", &DIMS, &binary);
    let bytes: Vec<u8> = binary.iter().map(|&label| label as u8).collect();
    folder.write("bool.npy", npy("|b1", "(24, 7)", &bytes)).array("u8.npy", &DIMS, &bytes);
    let wide: Vec<i64> = bytes.iter().map(|&label| label.into()).collect();
    folder.array("i64.npy", &DIMS, &wide);
    let of = |file: &str| said(&folder.run(&format!("eval logits.npy --loss bce --json --targets {file}")));
    let expected = of("f32.npy");
    for file in ["bool.npy", "u8.npy", "i64.npy"] {
        let report = of(file);
        assert_eq!((&report["loss"], &report["row_losses"]), (&expected["loss"], &expected["row_losses"]));
    }
    folder.array("classes.npy", &DIMS, &[2i64; 168]);
    let run = folder.run("eval logits.npy --loss bce --targets classes.npy");
    let says = "xent: classes.npy: targets[0, 0] = an integer other than 0 and 1";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![says]));
}

#[test]
fn people_are_told_the_loss() {
    let (folder, _) = folder();
    for (args, says, each) in [
        ("--loss kl --teacher teacher.npy", "(mean KL divergence)", "a row"),
        ("--loss bce --targets labels.npy --reduction sum", "(sum binary cross-entropy)", "a class"),
    ] {
        let run = folder
            .run(&format!("eval logits.npy {args} --html page.html --plot plot.svg --rows-out rows.csv"));
        assert_eq!(run.status, Some(0), "{run:?}");
        let line = |name: &str| run.stdout.lines().find(|line| line.starts_with(name));
        assert!(line("loss ").is_some_and(|line| line.ends_with(says)), "{run:?}");
        assert!(line("bits ").is_some_and(|line| line.ends_with(each)), "{run:?}");
        for absent in ["perplexity", "accuracy", "weight", "z-loss"] {
            assert!(line(absent).is_none(), "{absent}: {run:?}");
        }
        let page = String::from_utf8(folder.read("page.html")).unwrap();
        let title = says.trim_matches(['(', ')']).split_once(' ').unwrap().1;
        assert!(page.contains(&format!("<title>logits.npy: {title}</title>")), "{page}");
        assert!(!page.contains("perplexity") && !page.contains("accuracy"), "{page}");
        // No target, no lse and no most probable class, but a loss in every row: also where it is 0.
        let table = String::from_utf8(folder.read("rows.csv")).unwrap();
        for (row, line) in table.lines().skip(1).enumerate() {
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!((cells.len(), cells[3], cells[5], cells[6], cells[7]), (8, "", "", "", ""), "{line}");
            let loss: f32 = cells[4].parse().unwrap();
            assert!(loss > 0.0 || (row == 0 && args.contains("kl") && loss == 0.0), "{line}");
        }
        assert_eq!(table.lines().count(), 25);
    }
}

#[test]
fn a_stopped_run_continues_with_the_same_digits() {
    for (loss, args) in [
        ("kl", "--teacher teacher.npy --temperature 3"),
        ("bce", "--targets labels.npy --pos-weight pos.npy"),
    ] {
        let (folder, _) = folder();
        let eval = format!("eval logits.npy --loss {loss} {args} {ROWS} {OUTPUTS}");
        let unbroken = said(&folder.run(&eval));
        let expected = ["rows.npy", "grad.npy"].map(|name| folder.read(name));
        for name in ["rows.npy", "grad.npy"] {
            std::fs::remove_file(folder.path(name)).unwrap();
        }
        let before = folder.names();
        let stopped = folder.run(&format!("{eval} --windows 1500B --stop-after 13"));
        assert_eq!(stopped.status, Some(130), "{stopped:?}");
        let rows = serde_json::from_str::<Value>(&stopped.stdout).unwrap()["rows"].as_u64();
        assert!(rows.is_some_and(|rows| (1..=13).contains(&rows)), "{stopped:?}");
        let other = folder.run(&format!("{eval} --resume --verify 3").replace("--verify 7", ""));
        assert!(other.status == Some(2) && other.stderr.contains("it is of another run"), "{other:?}");
        let resumed = folder.run(&format!("{eval} --windows 900B --resume"));
        assert!(resumed.stderr.contains("continuing after"), "{resumed:?}");
        assert_eq!(said(&resumed), unbroken);
        assert!(["rows.npy", "grad.npy"].map(|name| folder.read(name)) == expected, "{loss}");
        let left: Vec<String> =
            folder.names().into_iter().filter(|name| !["rows.npy", "grad.npy"].contains(&&**name)).collect();
        assert_eq!(left, before, "nothing else is left");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_reference_computes() {
    use crate::support::{run, without_adapters};

    let (folder, student) = folder();
    let teacher = teacher(&student);
    let args =
        "eval logits.npy --loss kl --teacher teacher.npy --json --rows-out rows.npy --grad-out grad.npy";
    let report = said(&run(without_adapters(folder.command(args))));
    let options = KlDivergenceOptions::default();
    let loss = kl_divergence::loss(&student, KlDivergenceInputs::new(&teacher), SHAPE, &options).unwrap();
    assert!(report["loss"].as_f64().is_some_and(|value| (value - loss).abs() < 1e-6), "{loss}: {report:#}");
    assert_eq!((&report["counted"], &report["row_losses"]["finite"]), (&json!(24), &json!(24)));
    let args = "eval logits.npy --loss bce --targets labels.npy --json";
    let report = said(&run(without_adapters(folder.command(args))));
    let labels = labels();
    let loss = sigmoid_bce::loss(&student, &labels, SHAPE, &SigmoidBceOptions::default()).unwrap();
    assert!(report["loss"].as_f64().is_some_and(|value| (value - loss).abs() < 1e-6), "{loss}: {report:#}");
}
