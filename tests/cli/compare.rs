//! `xent compare`.

use half::f16;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::support::{Folder, Run, logits, run, tensor, without_adapters};

const COLS: usize = 37;
const ROWS: usize = 120;

/// Two models: the other is the base with noise, in f16.
fn models() -> (Vec<f32>, Vec<f16>) {
    let base: Vec<f32> = logits(ROWS * COLS).iter().map(|x| x / 2.0).collect();
    let mut rng = SmallRng::seed_from_u64(5);
    let other = base.iter().map(|x| f16::from_f32(x + rng.random_range(-0.4..0.4))).collect();
    (base, other)
}

fn targets() -> Vec<i64> {
    (0..ROWS).map(|row| if row % 7 == 3 { -100 } else { (row * row % COLS) as i64 }).collect()
}

/// In memory, as `base.npy` and `other.npy`, of four sequences.
fn folder() -> Folder {
    let folder = Folder::new();
    let (base, other) = models();
    let dims = [4, ROWS / 4, COLS];
    folder.array("base.npy", &dims, &base).array("other.npy", &dims, &other).targets(&targets());
    folder
}

/// A row's figures in f64, from their definitions.
struct Row {
    kl: f64,
    losses: Option<[f64; 2]>,
    tops: [usize; 2],
    overlap: usize,
    difference: f64,
}

fn rows() -> Vec<Row> {
    let (base, other) = models();
    let log_probs = |row: &[f64]| -> Vec<f64> {
        let max = row.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
        row.iter().map(|x| x - max - sum.ln()).collect()
    };
    let top = |row: &[f64]| -> Vec<usize> {
        let mut classes: Vec<usize> = (0..COLS).collect();
        classes.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        classes
    };
    let of_row = |row: usize| {
        let all = row * COLS..(row + 1) * COLS;
        let x: Vec<f64> = base[all.clone()].iter().map(|&x| x.into()).collect();
        let y: Vec<f64> = other[all].iter().map(|&y| y.into()).collect();
        let (p, q) = (log_probs(&x), log_probs(&y));
        let (a, b) = (top(&x), top(&y));
        let target = usize::try_from(targets()[row]).ok();
        Row {
            kl: p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum(),
            losses: target.map(|target| [-p[target], -q[target]]),
            tops: [a[0], b[0]],
            overlap: a[..5].iter().filter(|class| b[..5].contains(class)).count(),
            difference: x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max),
        }
    };
    (0..ROWS).map(of_row).collect()
}

/// The mean and its standard error.
fn mean(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    [mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()]
}

fn compared(folder: &Folder, args: &str) -> Value {
    let run = folder.run(&format!("compare {args} --json"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

fn assert_figure(name: &str, found: &Value, [value, error]: [f64; 2]) {
    let close = |found: &Value, expected: f64| {
        (found.as_f64().unwrap() - expected).abs() <= 1e-6 + 2e-5 * expected.abs()
    };
    assert!(
        close(&found["value"], value) && close(&found["error"], error),
        "{name}: {found}: {value} ± {error}"
    );
}

#[test]
fn figures_are_those_of_their_definitions() {
    let folder = folder();
    let found =
        compared(&folder, "base.npy other.npy --targets targets.npy --sequence 120 --rows-out rows.csv");
    let of_sequences = compared(&folder, "base.npy other.npy --targets targets.npy");
    let kl = &of_sequences["kl"]["mean"];
    assert_eq!(
        (&of_sequences["independent_sequences"], &kl["value"]),
        (&4.into(), &found["kl"]["mean"]["value"])
    );
    // Σ over sequences of the deviations of their sums from what the mean says.
    let all: Vec<Vec<f64>> = rows()
        .chunks(ROWS / 4)
        .map(|rows| rows.iter().filter(|row| row.losses.is_some()).map(|row| row.kl).collect())
        .collect();
    let (n, sum) =
        all.iter().fold((0.0, 0.0), |(n, sum), of| (n + of.len() as f64, sum + of.iter().sum::<f64>()));
    let squares =
        all.iter().map(|of| (of.iter().sum::<f64>() - sum / n * of.len() as f64).powi(2)).sum::<f64>();
    assert_figure("KL of sequences", kl, [sum / n, (4.0 / 3.0 * squares).sqrt() / n]);
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.losses.is_some()).collect();
    let of = |value: &dyn Fn(&Row) -> f64| rows.iter().map(value).collect::<Vec<f64>>();
    let [base, other] = [0, 1].map(|model| of(&|row| row.losses.unwrap()[model]));
    let change = of(&|row| row.losses.unwrap()[1] - row.losses.unwrap()[0]);
    let losses = &found["losses"];
    assert_figure("base", &losses["base"], mean(&base));
    assert_figure("other", &losses["other"], mean(&other));
    assert_figure("change", &losses["change"], mean(&change));
    let [ln, error] = mean(&change);
    assert_figure("ratio", &losses["perplexity_ratio"], [ln.exp(), ln.exp() * error]);
    assert_figure("kl", &found["kl"]["mean"], mean(&of(&|row| row.kl)));
    let probs = of(&|row| (-row.losses.unwrap()[1]).exp() - (-row.losses.unwrap()[0]).exp());
    assert_figure("Δp", &found["prob_change"]["mean"], mean(&probs));
    let same = of(&|row| f64::from(u8::from(row.tops[0] == row.tops[1])));
    assert_figure("same top", &found["same_top"], mean(&same));
    let close = |found: &Value, expected: f64| (found.as_f64().unwrap() - expected).abs() < 1e-4;
    assert!(close(&found["overlap"], mean(&of(&|row| row.overlap as f64 / 5.0))[0]), "{found:#}");
    let most = rows.iter().map(|row| row.difference).fold(0.0, f64::max);
    assert!(close(&found["logit_difference"]["largest"], most), "{found:#}");
    let mut kls = of(&|row| row.kl);
    kls.sort_by(f64::total_cmp);
    let within = found["kl"]["within"].as_f64().unwrap() + 1e-5;
    for (name, share) in [("p0.1", 0.001), ("p10", 0.1), ("p50", 0.5), ("p99.9", 0.999)] {
        let expected = kls[(share * kls.len() as f64).ceil() as usize - 1];
        let quantile = found["kl"]["quantiles"][name].as_f64().unwrap();
        assert!((quantile - expected).abs() <= within, "{name}: {quantile}, {expected}");
    }
    assert!(close(&found["kl"]["max"], kls[kls.len() - 1]) && close(&found["kl"]["min"], kls[0]));
    assert_eq!(
        (&found["counted"], &found["left_out"], &found["equal"]),
        (&103.into(), &17.into(), &false.into())
    );

    let table = String::from_utf8(folder.read("rows.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), ROWS + 1);
    assert!(lines.iter().all(|cells| cells.len() == 12), "{table}");
    assert_eq!(lines[4][..5], ["3", "0", "3", "", ""], "its target is ignored");
    let worst = found["changed_rows"]["rows"][0].as_u64().unwrap() as usize;
    assert_eq!(lines[worst + 1][1], "0", "one sequence");
    let kl: f64 = lines[worst + 1][4].parse().unwrap();
    assert!(close(&found["kl"]["max"], kl) && close(&found["changed_rows"]["kl"][0], kl));
}

/// Figures that PyTorch 2.15 gives in float64 for the rows made here: `cross_entropy`, `kl_div` of two `log_softmax`, `std` over
/// the square root of the rows, `cov`, `corrcoef` and `topk`.
#[test]
fn figures_are_those_of_pytorch() {
    let (rows, cols) = (24, 13);
    let base = |at: usize| ((at / cols * 31 + at % cols * 17) % 101) as f32 / 8.0 - 6.25;
    let change = |at: usize| ((at / cols * 7 + at % cols * 13) % 11) as f32 / 16.0 - 0.3125;
    let all = |of: &dyn Fn(usize) -> f32| (0..rows * cols).map(of).collect::<Vec<f32>>();
    let targets: Vec<i64> = (0..rows).map(|row| (row * 5 % cols) as i64).collect();
    let folder = Folder::new();
    folder.array("base.npy", &[rows, cols], &all(&base)).targets(&targets);
    folder.array("other.npy", &[rows, cols], &all(&|at| base(at) + change(at)));
    let found = compared(&folder, "base.npy other.npy --targets targets.npy --sequence 24");
    let losses = &found["losses"];
    for (name, found, expected) in [
        ("base", &losses["base"], [6.102889257754271, 0.7453041846205386]),
        ("other", &losses["other"], [6.16205329657076, 0.7577708319459808]),
        ("change", &losses["change"], [0.059164038816489274, 0.0465539522865201]),
        ("ratio", &losses["perplexity_ratio"], [1.0609492633280506, 0.04939138138339272]),
        ("KL", &found["kl"]["mean"], [0.01191869913053041, 0.0036923739313245757]),
        ("Δp", &found["prob_change"]["mean"], [0.0016917099243332972, 0.001320219484516523]),
    ] {
        assert_figure(name, found, expected);
    }
    for (name, found, expected) in [
        ("correlation", &losses["correlation"], 0.99821887317843),
        ("covariance", &losses["covariance"], 13.530332290649925 / 24.0),
        ("RMS Δp", &found["prob_change"]["rms"]["value"], 0.006553656283016409),
        ("largest KL", &found["kl"]["max"], 0.044598275822225975),
        ("smallest KL", &found["kl"]["min"], 0.0007828786790418985),
        ("same top", &found["same_top"]["value"], 0.75),
        ("overlap", &found["overlap"], 0.9833333333333333),
        ("accuracy", &found["accuracy"]["base"]["value"], 0.125),
        ("largest difference", &found["logit_difference"]["largest"], 0.3125),
    ] {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() <= 5e-6 + 2e-5 * expected.abs(), "{name}: {found}, {expected}");
    }
}

#[test]
fn what_people_read() {
    let folder = folder();
    let text = |args: &str| -> Vec<String> {
        let run = folder.run(&format!("compare {args}"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        run.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let has = |lines: &[String], start: &str| lines.iter().any(|line| line.starts_with(start));
    let lines = text("base.npy other.npy --targets targets.npy --shift 1");
    for start in [
        "perplexity ",
        "ratio ",
        "change ",
        "correlation 9",
        "KL 0.0",
        "low 0.1 %:",
        "target prob ",
        "same top ",
        "top-5 ",
        "accuracy ",
        "logits differ by 0.4",
        "changed most in rows ",
        "classes 37",
    ] {
        assert!(has(&lines, start), "{start}: {lines:#?}");
    }
    assert!(!has(&lines, "equal"), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("changed ") && line.contains(':')),
        "places: {lines:#?}"
    );

    let lines = text("base.npy base.npy --top-k 0");
    assert!(has(&lines, "equal every logit") && has(&lines, "logits differ nowhere"), "{lines:#?}");
    assert!(has(&lines, "same top 100") && !has(&lines, "perplexity") && !has(&lines, "top-"), "{lines:#?}");
    let found = compared(&folder, "base.npy base.npy");
    assert_eq!(
        (&found["equal"], &found["losses"], &found["prob_change"]),
        (&true.into(), &Value::Null, &Value::Null)
    );
    assert_eq!(found["equal_rows"], ROWS);

    let (base, _) = models();
    let mut holes = base.clone();
    (holes[2 * COLS], holes[9 * COLS + 1]) = (f32::NAN, f32::NEG_INFINITY);
    folder.array("holes.npy", &[4, ROWS / 4, COLS], &holes);
    let lines = text("base.npy holes.npy --targets targets.npy");
    assert!(
        has(&lines, "bad rows 2, 1 of them infinite; the first is row 2 (nan_logit, nan_loss)"),
        "{lines:#?}"
    );

    text("base.npy other.npy --targets targets.npy --html page.html --plot plot.svg");
    let page = String::from_utf8(folder.read("page.html")).unwrap();
    for part in [
        "<h1>other.npy against base.npy</h1>",
        "Histogram of KL",
        "change of the target&#39;s",
        "<dt>KL</dt>",
    ] {
        assert!(page.contains(part) || page.contains(&part.replace("&#39;", "'")), "{part}: {page}");
    }
    assert!(String::from_utf8(folder.read("plot.svg")).unwrap().matches("KL").count() > 1);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = folder();
    folder.array("wide.npy", &[4, ROWS / 4, COLS + 1], &vec![0f32; ROWS * (COLS + 1)]);
    folder.array("flat.npy", &[ROWS, COLS], &models().0);
    let refused = |args: &str, says: &str| {
        let run = folder.run(&format!("compare {args}"));
        assert!(
            run.status == Some(2) && run.complaints().iter().any(|line| line.contains(says)),
            "{args}: {run:?}"
        );
    };
    refused(
        "base.npy wide.npy",
        "wide.npy: it has 38 classes, but base.npy has 37: models with other vocabularies",
    );
    refused("base.npy flat.npy", "flat.npy: its shape is [120, 37], but that of base.npy is [4, 30, 37]");
    refused("- -", "-: stdin can be one input only");
    refused("- base.npy --targets-key a", "--targets-key: the base comes through a pipe");
    refused("- base.npy --resume", "--resume: input from stdin or a pipe cannot be read again");
    refused("base.npy other.npy --shift 1", "--shift: needs targets");
    refused("base.npy other.npy --row-mask targets.npy", "--row-mask: needs targets");
    refused(
        "base.npy other.npy --rows-out rows.npy",
        "rows.npy: cannot be written: its name must end with .csv",
    );
    refused("base.npy other.npy --plot base.npy", "it is also the base");
    refused("base.npy other.npy --top-k 1025", "--top-k 1025: must be in 0..=1024");
    refused("base.npy other.npy --temperature 0", "--temperature 0: must");
    refused("base.npy other.npy --targets base.npy", "one-hot targets");
    let one = folder.run("compare base.npy");
    assert!(one.status == Some(2) && one.stderr.contains("<OTHER>"), "{one:?}");
    assert_eq!(folder.names(), ["base.npy", "flat.npy", "other.npy", "targets.npy", "wide.npy"]);
}

#[test]
fn tensors_of_one_file() {
    let folder = Folder::new();
    let (base, other) = models();
    let dims = [ROWS, COLS];
    let tensors = [tensor("a", &dims, &base), tensor("b", &dims, &other), tensor("t", &[ROWS], &targets())];
    folder.tensors("all.safetensors", &tensors);
    let args = "all.safetensors all.safetensors --key a --other-key b --targets-key t";
    let found = compared(&folder, args);
    folder.array("base.npy", &dims, &base).array("other.npy", &dims, &other).targets(&targets());
    let expected = compared(&folder, "base.npy other.npy --targets targets.npy");
    assert_eq!((&found["kl"], &found["losses"]), (&expected["kl"], &expected["losses"]));
}

#[cfg(unix)]
#[test]
fn pipes_are_read_once() {
    let folder = folder();
    let expected = compared(&folder, "base.npy other.npy --targets targets.npy");
    let check = |mut command: std::process::Command, from: &str| {
        command.arg("--json");
        let run = crate::support::run_with_stdin(command, &folder.read(from));
        assert_eq!(run.status, Some(0), "{from}: {run:?}");
        let found: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!((&found["kl"], &found["losses"]), (&expected["kl"], &expected["losses"]), "{from}");
        found
    };
    check(folder.command("compare - other.npy --targets targets.npy"), "base.npy");
    let found = check(folder.command("compare base.npy - --targets targets.npy"), "other.npy");
    assert_eq!(found["inputs"]["paths"], serde_json::json!(["base.npy", "-", "targets.npy"]));
    check(folder.command("compare base.npy other.npy --targets -"), "targets.npy");
    let names = folder.names();
    assert_eq!(names, ["base.npy", "other.npy", "targets.npy"], "no checkpoint is left");
}

/// What a run said, but for the time it took.
fn said(run: &Run) -> Value {
    let mut said: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    for name in ["seconds", "peak_memory_bytes", "command", "date"] {
        said[name] = Value::Null;
    }
    // Each run has files of its own.
    said["inputs"]["modified"] = Value::Null;
    said
}

const ALL: &str = "compare base.npy other.npy --targets targets.npy --json --rows-out rows.csv";

/// On the reference, which compiles nothing.
#[cfg(target_os = "linux")]
#[test]
fn stopped_at_twenty_points_and_resumed_a_run_has_the_digits_of_an_unbroken_one() {
    let cpu = |folder: &Folder, args: &str| run(without_adapters(folder.command(args)));
    let whole = folder();
    let unbroken = cpu(&whole, ALL);
    assert_eq!(unbroken.status, Some(0), "{unbroken:?}");
    let mut rng = SmallRng::seed_from_u64(21);
    for _ in 0..20 {
        let folder = folder();
        let row = rng.random_range(12..ROWS - 10);
        let stopped = cpu(&folder, &format!("{ALL} --windows 10KB --stop-after {row}"));
        assert_eq!(stopped.status, Some(130), "{stopped:?}");
        let rows = said(&stopped)["rows"].as_u64().unwrap();
        assert!(rows > 0 && !folder.path("rows.csv").exists(), "{stopped:?}");
        let other = cpu(&folder, &format!("{ALL} --resume --top-k 4"));
        let differs = other
            .complaints()
            .last()
            .unwrap()
            .contains("it is of another run: --top-k was not given, and is now 4");
        assert!(other.status == Some(2) && differs, "{other:?}");
        let last = cpu(&folder, &format!("{ALL} --resume"));
        assert!(
            last.complaints().contains(&&*format!("xent: continuing after {rows} of {ROWS} rows")),
            "{last:?}"
        );
        assert!(said(&last) == said(&unbroken), "stopped after {rows} rows");
        assert!(folder.read("rows.csv") == whole.read("rows.csv"), "stopped after {rows} rows");
        assert_eq!(folder.names(), ["base.npy", "other.npy", "rows.csv", "targets.npy"]);
    }
}

#[test]
fn windows_and_stops_on_the_device() {
    let whole = folder();
    let unbroken = whole.run(ALL);
    assert_eq!(unbroken.status, Some(0), "{unbroken:?}");
    let folder = folder();
    let stopped = folder.run(&format!("{ALL} --windows 30KB --stop-after 70"));
    assert_eq!(stopped.status, Some(130), "{stopped:?}");
    let last = folder.run(&format!("{ALL} --windows 20KB --resume"));
    assert!(last.status == Some(0) && said(&last) == said(&unbroken), "{last:?}");
    assert!(folder.read("rows.csv") == whole.read("rows.csv"));
}
