//! `xent eval`: the numbers.

use serde_json::{Value, json};
use xent::{CrossEntropy, CrossEntropyOptions, Reduction, Shape, Targets, reference};

use crate::support::{Folder, gpu, logits, npy};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

fn close(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() <= 5e-6 * (1.0 + expected.abs()))
}

#[test]
fn a_batch_worked_by_hand() {
    // Equal logits: ln 3. Logits ln 1, ln 2, ln 5: the classes have 1/8, 2/8 and 5/8.
    let row = [0.0, 2f32.ln(), 5f32.ln()];
    let folder = Folder::new();
    folder.logits(&[[1.0; 3], row, row, row].concat(), 3).targets(&[0, 0, 2, -100]);
    let report = folder.eval("");
    let sum = 3f64.ln() + 8f64.ln() + 1.6f64.ln();
    assert!(close(&report["sum"], sum), "{report:#}");
    assert!(close(&report["loss"], sum / 3.0), "{report:#}");
    assert!(close(&report["perplexity"], (sum / 3.0).exp()), "{report:#}");
    assert!(close(&report["accuracy"], 2.0 / 3.0), "the tie goes to class 0: {report:#}");
    for (key, expected) in [("rows", 4), ("cols", 3), ("counted", 3), ("ignored", 1)] {
        assert_eq!(report[key], expected, "{key}");
    }
    assert_eq!((&report["flags"], &report["verification"]), (&json!([]), &Value::Null));
    for key in ["seconds", "logits_per_second"] {
        assert!(report[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {report:#}");
    }
    assert!(report["adapter"].as_str().is_some_and(|name| !name.is_empty()), "{report:#}");
}

#[test]
fn json_has_these_keys_in_this_order() {
    let folder = Folder::new();
    folder.logits(&[1.0, 2.0], 2).targets(&[0]);
    let report = folder.eval("--verify 1");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&report),
        "format version xent loss_name loss sum z_loss perplexity accuracy complete rows cols counted ignored weight row_weight flags \
         bad_rows first_bad_row listed_bad_rows row_losses positions adapter adapter_reason seconds logits_per_second bytes_read \
         peak_memory_bytes verification mean finite_mean standard_error sequence_standard_error bits_per_byte \
         uniform_loss perplexity_interval judged top_k mean_rank mean_reciprocal_rank mean_entropy mean_brier \
         calibration classes worst_rows notices inputs options command date"
    );
    assert_eq!(
        (&report["format"], &report["version"], &report["xent"]),
        (&json!("xent eval"), &json!(1), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(keys(&report["verification"]), "rows_checked worst_row worst_abs worst_rel passed");
}

#[test]
fn text_says_what_json_says() {
    let folder = Folder::new();
    folder.logits(&[[0.0; 4], [0.0; 4]].concat(), 4).targets(&[0, 1]);
    let run = folder.run("eval logits.npy --targets targets.npy --verify 9");
    assert_eq!((run.status, run.complaints().len()), (Some(0), 0), "{run:?}");
    let value = |name: &str| {
        let line = run.stdout.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}: {run:?}"))[12..].to_owned()
    };
    assert_eq!(value("loss"), "1.386294 nats (mean)");
    assert_eq!(value("bits"), "2.000000 a row");
    assert_eq!(value("perplexity"), "4.0000");
    assert_eq!(value("accuracy"), "50.00 %");
    assert_eq!(value("rows"), "2: 2 counted, 0 ignored");
    assert_eq!(value("classes"), "4");
    assert!(value("verified").starts_with("2 rows against f64: within bounds; worst is row "));
    assert!(value("time").ends_with(" logits/s"));
}

#[test]
fn agrees_with_the_reference() {
    let (shape, targets) = (Shape::new(37, 1001), [3, 1000, 0, 500, -100, 7].repeat(7)[..37].to_vec());
    let logits = logits(shape.len());
    let folder = Folder::new();
    folder.logits(&logits, shape.cols).targets(&targets);
    let classes: Vec<i32> = targets.iter().map(|&target| target as i32).collect();
    for (args, reduction) in
        [("", Reduction::Mean), ("--reduction mean", Reduction::Mean), ("--reduction sum", Reduction::Sum)]
    {
        let options = CrossEntropyOptions { reduction, ..Default::default() };
        let classes = Targets::Classes(&classes);
        let expected = reference::cross_entropy::loss(&logits, classes, shape, &options).unwrap();
        let report = folder.eval(args);
        assert!(close(&report["loss"], expected), "{args}: {expected} {report:#}");
        // These two do not depend on the reduction.
        assert!(close(
            &report["sum"],
            report["counted"].as_f64().unwrap() * {
                let mean = CrossEntropyOptions::default();
                reference::cross_entropy::loss(&logits, classes, shape, &mean).unwrap()
            }
        ));
        let mean = report["sum"].as_f64().unwrap() / report["counted"].as_f64().unwrap();
        assert!(close(&report["perplexity"], mean.exp()), "{args}: {report:#}");
    }
}

#[test]
fn what_is_not_finite_is_null_and_named() {
    let (nan, inf, masked) = ([0.0, NAN, 0.0], [0.0, INF, 0.0], [-INF; 3]);
    let (impossible, far, fine) = ([-INF, 0.0, 0.0], [0.0, 800.0, 0.0], [0.0; 3]);
    for (name, row, targets, null, flags) in [
        ("nan", nan, [0, 0], "loss sum perplexity", "nan_logit nan_loss"),
        ("inf", inf, [0, 0], "loss sum perplexity", "infinite_logit nan_loss"),
        ("masked", masked, [0, 0], "loss sum perplexity", "masked_row nan_loss"),
        ("impossible target", impossible, [0, 0], "loss sum perplexity", "infinite_loss"),
        ("perplexity alone", far, [0, -100], "perplexity", ""),
        ("a NaN in an ignored row", nan, [-100, 0], "", ""),
        ("no row counts", fine, [-100, -100], "loss z_loss perplexity accuracy", "no_row_counts"),
    ] {
        let folder = Folder::new();
        folder.logits(&[row, fine].concat(), 3).targets(&targets);
        let report = folder.eval("");
        let expected: Vec<_> = flags.split_whitespace().chain(null.split_whitespace()).collect();
        assert_eq!(report["flags"], json!(expected), "{name}: {report:#}");
        for key in ["loss", "sum", "z_loss", "perplexity", "accuracy", "weight", "row_weight"] {
            assert_eq!(
                report[key].is_null(),
                null.split(' ').any(|null| null == key),
                "{name}, {key}: {report:#}"
            );
        }
    }
}

#[test]
fn no_rows_are_no_error() {
    let folder = Folder::new();
    folder.write("logits.npy", npy("<f4", "(0, 7)", &[])).targets(&[]);
    let report = folder.eval("--verify 5 --rows-out rows.npy --grad-out grad.npy");
    assert_eq!(
        (&report["loss"], &report["sum"], &report["accuracy"]),
        (&Value::Null, &json!(0.0), &Value::Null)
    );
    assert_eq!((&report["rows"], &report["cols"], &report["counted"]), (&json!(0), &json!(7), &json!(0)));
    assert_eq!(report["verification"]["rows_checked"], 0);
    assert_eq!(folder.values("rows.npy"), ("(0)".to_owned(), vec![]));
    assert_eq!(folder.values("grad.npy"), ("(0, 7)".to_owned(), vec![]));
}

#[test]
fn one_class_is_certain() {
    let folder = Folder::new();
    folder.logits(&[5.0, -3.0], 1).targets(&[0, 0]);
    let report = folder.eval("--grad-out grad.npy");
    assert_eq!((&report["loss"], &report["accuracy"]), (&json!(0.0), &json!(1.0)));
    assert_eq!(folder.values("grad.npy"), ("(2, 1)".to_owned(), vec![0.0, 0.0]));
}

#[test]
fn verification_counts_rows_and_passes() {
    let folder = Folder::new();
    folder.logits(&logits(20 * 333), 333).targets(&(0..20).collect::<Vec<_>>());
    for (asked, checked) in [(1, 1), (7, 7), (20, 20), (1000, 20)] {
        let verification = &folder.eval(&format!("--verify {asked}"))["verification"];
        assert_eq!((&verification["rows_checked"], &verification["passed"]), (&json!(checked), &json!(true)));
        assert!(verification["worst_row"].as_u64().is_some_and(|row| row < 20), "{verification}");
        assert!(verification["worst_abs"].as_f64().is_some_and(|off| off < 2e-5), "{verification}");
        assert!(verification["worst_rel"].as_f64().is_some_and(|off| off < 1e-5), "{verification}");
    }
    assert_eq!(folder.eval("--verify 0")["verification"], Value::Null);
}

#[test]
fn f64_is_narrowed_and_says_so() {
    let narrow = [0.5f32, -1.25, 3.0, 0.1, 7.0, -2.0];
    // Rounding to f32 must not be truncation.
    let wide = narrow.map(|logit| f64::from(logit) * (1.0 + 1e-9));
    let folder = Folder::new();
    folder.logits(&narrow, 3).targets(&[2, 0]);
    let expected = folder.eval("--rows-out rows.npy");
    let rows = folder.values("rows.npy");
    folder.write("logits.npy", npy("<f8", "(2, 3)", bytemuck::cast_slice(&wide)));
    let run = folder.run("eval logits.npy --targets targets.npy --json --rows-out rows.npy");
    assert_eq!(run.complaints(), ["xent: logits.npy: f64 logits, narrowed to f32"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&report["loss"], folder.values("rows.npy")), (&expected["loss"], rows));
}

#[test]
fn f64_of_many_windows_of_narrowing() {
    let shape = Shape::new(70, 2003);
    let narrow = logits(shape.len());
    let wide: Vec<f64> = narrow.iter().map(|&logit| f64::from(logit)).collect();
    let folder = Folder::new();
    folder.logits(&narrow, shape.cols).targets(&[1; 70]);
    let expected = folder.eval("");
    folder.write("logits.npy", npy("<f8", "(70, 2003)", bytemuck::cast_slice(&wide)));
    assert_eq!(folder.eval("")["sum"], expected["sum"]);
}

#[test]
fn outputs_are_the_librarys_bit_for_bit() {
    // Two windows of 64 MiB, and rows that begin in the middle of a quad.
    let shape = Shape::new(400, 50_257);
    let logits = logits(shape.len());
    let targets: Vec<i32> = (0..400).map(|row| if row % 7 == 3 { -100 } else { row * 125 }).collect();
    let folder = Folder::new();
    folder.logits(&logits, shape.cols);
    folder.targets(&targets.iter().map(|&target| target.into()).collect::<Vec<_>>());
    let gpu = gpu();
    for (args, reduction) in [("--reduction mean", Reduction::Mean), ("--reduction sum", Reduction::Sum)] {
        let options = CrossEntropyOptions { reduction, ..Default::default() };
        let op = CrossEntropy::<f32>::new(&gpu, &options).unwrap();
        let targets = Targets::Classes(&targets);
        let (loss, dlogits) = op.loss_and_dlogits(&logits, targets, shape).wait().unwrap();
        let row_losses = op.row_losses(&logits, targets, shape).wait().unwrap();
        let report = folder.eval(&format!("{args} --rows-out rows.npy --grad-out grad.npy"));
        // serde_json may be off by the last bit in what it parses.
        let off = report["loss"].as_f64().unwrap() / loss.value - 1.0;
        assert!(off.abs() < 1e-15, "{args}: {off}");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let (rows_shape, rows) = folder.values("rows.npy");
        assert_eq!((rows_shape.as_str(), bits(&rows) == bits(&row_losses)), ("(400)", true), "{args}");
        let (grad_shape, grad) = folder.values("grad.npy");
        assert_eq!((grad_shape.as_str(), bits(&grad) == bits(&dlogits)), ("(400, 50257)", true), "{args}");
    }
}
