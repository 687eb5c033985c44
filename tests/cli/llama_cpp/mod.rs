//! llama.cpp's saved logits: files as `llama-perplexity --save-all-logits` writes them, made here from its description.

mod streams;

use serde_json::{Value, json};
use xent::half::bf16;

use crate::support::{Folder, logits, run_with_stdin};

const N_CTX: usize = 11;
const COLS: usize = 43;
pub const CHUNKS: usize = 20;
/// The rows of a chunk: positions 5 … 9.
pub const ROWS: usize = 5;

fn tokens() -> Vec<i32> {
    (0..CHUNKS * N_CTX).map(|at| ((at * at + 3 * at) % COLS) as i32).collect()
}

/// The targets of the rows: the tokens at 6 … 10 of each chunk.
fn targets() -> Vec<i64> {
    tokens().chunks(N_CTX).flat_map(|chunk| chunk[N_CTX - ROWS..].iter().map(|&token| token.into())).collect()
}

/// Logits of two models, with classes far below the maximum.
fn models() -> [Vec<f32>; 2] {
    let base: Vec<f32> = logits(CHUNKS * ROWS * COLS).iter().map(|x| 1.5 * x).collect();
    let other = base.iter().zip(logits(base.len() + 7).iter().skip(7)).map(|(x, y)| x + 0.05 * y).collect();
    [base, other]
}

/// A row of codes: an f32 scale, an f32 minimum, and a u16 for each class and the pad.
fn coded(logits: &[f32]) -> Vec<u8> {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let min = logits.iter().copied().fold(f32::MAX, f32::min).max(max - 16.0);
    let sum: f32 = logits.iter().map(|x| (x - max).exp()).sum();
    let scale = (max - min) / 65_535.0;
    let mut bytes = [scale.to_le_bytes(), (min - max - sum.ln()).to_le_bytes()].concat();
    let code = |x: &f32| if *x > min { ((x - min) / scale).round() as u16 } else { 0 };
    logits.iter().for_each(|x| bytes.extend(code(x).to_le_bytes()));
    bytes.resize(8 + 2 * logits.len().next_multiple_of(2), 0xee);
    bytes
}

/// The log-probabilities that such a row stands for.
fn decoded(bytes: &[u8]) -> Vec<f32> {
    let [scale, min] = [0, 4].map(|at| f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let codes = bytes[8..].chunks_exact(2).take(COLS);
    codes.map(|code| scale * f32::from(u16::from_le_bytes(code.try_into().unwrap())) + min).collect()
}

fn saved(logits: &[f32], cols: usize, tokens: &[i32]) -> Vec<u8> {
    let mut bytes = b"_logits_".to_vec();
    for number in [N_CTX, cols, CHUNKS] {
        bytes.extend((number as i32).to_le_bytes());
    }
    tokens.iter().for_each(|token| bytes.extend(token.to_le_bytes()));
    logits.chunks(cols).for_each(|row| bytes.extend(coded(row)));
    bytes
}

/// `base.kld` and `other.kld`; what they stand for as `base.npy` and `other.npy`, and the targets.
pub fn folder() -> Folder {
    let folder = Folder::new();
    let dims = [CHUNKS, ROWS, COLS];
    for (name, logits) in ["base", "other"].into_iter().zip(models()) {
        let log_probs: Vec<f32> = logits.chunks(COLS).flat_map(|row| decoded(&coded(row))).collect();
        folder.write(&format!("{name}.kld"), saved(&logits, COLS, &tokens()));
        folder.array(&format!("{name}.npy"), &dims, &log_probs).array(
            &format!("{name}-logits.npy"),
            &dims,
            &logits,
        );
    }
    folder.targets(&targets());
    folder
}

pub fn json_of(folder: &Folder, args: &str) -> Value {
    let run = folder.run(&format!("{args} --json"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

/// The figures alone.
fn figures(mut of: Value) -> Value {
    for key in ["inputs", "options", "command", "date", "seconds", "logits_per_second", "bytes_read"] {
        of[key] = Value::Null;
    }
    of["peak_memory_bytes"] = Value::Null;
    of
}

#[test]
fn a_loss_is_that_of_the_values_and_targets_in_the_file() {
    let folder = folder();
    let own = json_of(&folder, "eval base.kld");
    let expected = "eval base.npy --targets targets.npy --input log-probs";
    assert_eq!(figures(own.clone()), figures(json_of(&folder, expected)));
    let log_probs: Vec<f32> = folder.values("base.npy").1;
    let rows = || log_probs.chunks(COLS).zip(targets());
    let mean = rows().map(|(row, target)| -f64::from(row[target as usize])).sum::<f64>() / 100.0;
    assert!((own["mean"].as_f64().unwrap() - mean).abs() < 1e-6, "{own:#}");
    // Those whose target is 16 below the maximum: nothing is less probable there.
    let floored = rows().filter(|(row, target)| {
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        row[*target as usize] < max - 15.999
    });
    let floored = floored.count();
    assert!(floored > 0);
    assert_eq!(own["inputs"]["floored_targets"], json!([floored]));
    assert_eq!(own["inputs"]["shapes"], json!([[CHUNKS, ROWS, COLS]]));
    let text = folder.run("eval base.kld").stdout;
    let says = format!(
        "(20 × 5 × 43 llama.cpp); {floored} targets stored at the floor, whose losses are lower bounds;"
    );
    assert!(text.contains(&says), "{text}");

    // Options of all losses apply; those of logits take the values as logits.
    for options in ["--label-smoothing 0.1 --score-from 2", "--temperature 1.5 --vocab 42 --ignore-index 42"]
    {
        let input = if options.contains("temperature") { "" } else { "--input log-probs" };
        let [found, expected] = [
            format!("eval base.kld --adapter cpu {options}"),
            format!("eval base.npy --adapter cpu --targets targets.npy {options} {input}"),
        ]
        .map(|args| figures(json_of(&folder, &args)));
        assert_eq!(found, expected, "{options}");
    }
    let [found, expected] = ["base.kld", "base.npy --targets targets.npy"]
        .map(|args| figures(json_of(&folder, &format!("eval {args} --adapter cpu --loss entmax"))));
    assert_eq!(found, expected);
    let found = json_of(&folder, "calibrate base.kld --adapter cpu");
    let expected = json_of(&folder, "calibrate base.npy --targets targets.npy --adapter cpu");
    assert_eq!((&found["temperature"], &found["after"]), (&expected["temperature"], &expected["after"]));
    for from in ["base.kld", "base.npy"] {
        assert_eq!(folder.run(&format!("softmax {from} -o {from}.probs.npy --adapter cpu")).status, Some(0));
    }
    assert!(folder.read("base.kld.probs.npy") == folder.read("base.npy.probs.npy"));
    // A stopped run continues.
    let stopped = folder.run("eval base.kld --windows 4KB --stop-after 60");
    assert_eq!(stopped.status, Some(130), "{stopped:?}");
    assert_eq!(figures(json_of(&folder, "eval base.kld --resume")), figures(own));
}

/// The figures of llama.cpp by their definitions, in f64: KL counts classes above `floor`. `normalised` is whether the other
/// has logits.
struct Expected {
    kl: Vec<f64>,
    losses: [Vec<f64>; 2],
    same: f64,
}

fn expected(base: &[f32], other: &[f32], floor: f64, normalised: bool) -> Expected {
    let mut all = Expected { kl: Vec::new(), losses: [Vec::new(), Vec::new()], same: 0.0 };
    let argmax = |row: &[f64]| (0..COLS).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
    for ((base, other), target) in base.chunks(COLS).zip(other.chunks(COLS)).zip(targets()) {
        let wide = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (base, mut other) = (wide(base), wide(other));
        if normalised {
            let max = other.iter().copied().fold(f64::MIN, f64::max);
            let lse = max + other.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
            other.iter_mut().for_each(|x| *x -= lse);
        }
        let term = |(b, o): (&f64, &f64)| if *b > floor { b.exp() * (b - o) } else { 0.0 };
        all.kl.push(base.iter().zip(&other).map(term).sum());
        all.losses[0].push(-base[target as usize]);
        all.losses[1].push(-other[target as usize]);
        all.same += f64::from(u8::from(argmax(&base) == argmax(&other))) / (CHUNKS * ROWS) as f64;
    }
    all
}

fn mean(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    [mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()]
}

#[test]
fn a_comparison_has_the_figures_of_llama_cpp() {
    let folder = folder();
    let close = |found: &Value, [value, error]: [f64; 2]| {
        let is = |found: &Value, expected: f64| {
            (found.as_f64().unwrap() - expected).abs() < 1e-5 + 2e-5 * expected.abs()
        };
        assert!(is(&found["value"], value) && is(&found["error"], error), "{found}: {value} ± {error}");
    };
    let values = |name: &str| folder.values(name).1;
    for (other, options) in [
        ("other.kld", ""),
        ("other.kld", "--llama-cpp"),
        ("other-logits.npy", ""),
        ("other-logits.npy", "--llama-cpp"),
    ] {
        let found = json_of(&folder, &format!("compare base.kld {other} --sequence 100 {options}"));
        let floor = if options.is_empty() { f64::NEG_INFINITY } else { -16.0 };
        let is_logits = other.ends_with("npy");
        let of_other = if is_logits { values("other-logits.npy") } else { values("other.npy") };
        let all = expected(&values("base.npy"), &of_other, floor, is_logits);
        close(&found["kl"]["mean"], mean(&all.kl));
        close(&found["losses"]["base"], mean(&all.losses[0]));
        close(&found["losses"]["other"], mean(&all.losses[1]));
        let changes: Vec<f64> = all.losses[1]
            .iter()
            .zip(&all.losses[0])
            .map(|(other, base)| (-other).exp() - (-base).exp())
            .collect();
        close(&found["prob_change"]["mean"], mean(&changes));
        let least = all.kl.iter().copied().fold(f64::MAX, f64::min);
        assert!((found["kl"]["min"].as_f64().unwrap() - least).abs() < 1e-5, "{options}: {found:#}");
        assert!((found["same_top"]["value"].as_f64().unwrap() - all.same).abs() < 1e-9);
        let counts = found["inputs"]["floored_targets"].as_array().unwrap();
        assert!(counts[0].as_u64() > Some(0) && counts[1].is_null() == is_logits, "{counts:?}");
    }
    let differs = |options: &str| json_of(&folder, &format!("compare base.kld other.kld {options}"));
    assert_ne!(differs("")["kl"]["mean"], differs("--llama-cpp")["kl"]["mean"]);

    // The lines, by their names and their order.
    let run = folder.run("compare base.kld other.kld --llama-cpp");
    assert_eq!(run.status, Some(0), "{run:?}");
    let all = expected(&values("base.npy"), &values("other.npy"), -16.0, false);
    let [base, other] = [0, 1].map(|at| mean(&all.losses[at])[0].exp());
    let [kl, error] = mean(&all.kl);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let names: Vec<String> = lines
        .iter()
        .map(|line| line.split(':').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let quantiles = |shares: &str, of: &str| -> Vec<String> {
        shares.split(' ').map(|share| format!("{share} {of}")).collect()
    };
    let mut needed: Vec<String> = [
        "====== Perplexity statistics ======",
        "Mean PPL(Q)",
        "Mean PPL(base)",
        "Cor(ln(PPL(Q)), ln(PPL(base)))",
        "Mean ln(PPL(Q)/PPL(base))",
        "Mean PPL(Q)/PPL(base)",
        "Mean PPL(Q)-PPL(base)",
        "",
        "====== KL divergence statistics ======",
    ]
    .map(str::to_owned)
    .to_vec();
    needed
        .extend(quantiles("Mean Maximum 99.9% 99.0% 95.0% 90.0% Median 10.0% 5.0% 1.0% 0.1% Minimum", "KLD"));
    needed.extend(["".to_owned(), "====== Token probability statistics ======".to_owned()]);
    let of_probs = "Mean Maximum 99.9% 99.0% 95.0% 90.0% 75.0% Median 25.0% 10.0% 5.0% 1.0% 0.1% Minimum RMS";
    needed.extend(quantiles(of_probs, "Δp"));
    needed.push("Same top p".to_owned());
    assert_eq!(names, needed);
    let number = |line: &str, at: usize| -> f64 {
        let figures = line.rsplit(": ").next().unwrap().replace(['±', '%'], " ");
        figures.split_whitespace().nth(at).unwrap().parse().unwrap()
    };
    for (line, at, expected) in
        [(1, 0, other), (2, 0, base), (5, 0, other / base), (6, 0, other - base), (9, 0, kl), (9, 1, error)]
    {
        let found = number(lines[line], at);
        assert!((found - expected).abs() < 1e-5 + 2e-5 * expected.abs(), "{}: {expected}", lines[line]);
    }
    assert!((number(lines[lines.len() - 1], 0) - 100.0 * all.same).abs() < 1e-3);
}

#[test]
fn what_does_not_fit_is_one_clear_line() {
    let folder = folder();
    let [base, _] = models();
    let wide = vec![0.5f32; CHUNKS * ROWS * (COLS + 1)];
    folder.write("wide.kld", saved(&wide, COLS + 1, &tokens()));
    let mut others = tokens();
    others[2 * N_CTX + 4] = 1;
    folder.write("tokens.kld", saved(&base, COLS, &others));
    let whole = folder.read("base.kld");
    folder.write("early.kld", &whole[..whole.len() / 2]);
    folder.array("half.npy", &[2, 4], &[bf16::ONE; 8].map(|x| x.to_f32()));
    for (args, says) in [
        ("compare base.kld wide.kld", "wide.kld: it has 44 classes, but base.kld has 43"),
        (
            "compare base.kld tokens.kld",
            "tokens.kld: its tokens are others than those of base.kld: in chunk 2, token 4 is 1 and not 23",
        ),
        ("compare base.kld early.kld", "early.kld: it ends early, with 9 of 20 chunks of 5 rows of 43"),
        ("compare base.kld other.kld --shift 1", "--shift: the targets in the file of the logits"),
        ("compare base.npy other.kld --llama-cpp", "--llama-cpp: needs a base that"),
        ("eval early.kld", "early.kld: it ends early"),
        ("eval base.kld --shift 1", "--shift: the targets in the file of the logits"),
        ("eval base.npy", "--targets: is needed by --loss cross-entropy"),
        ("eval base.kld --class-axis 0", "shape"),
        ("eval base.kld --key x", "base.kld: no array \"x\""),
        ("calibrate base.kld --shift 1", "--shift: the targets in the file of the logits"),
        ("calibrate base.npy", "--targets: is needed, or --targets-key"),
    ] {
        let run = folder.run(args);
        let complaints = run.complaints();
        assert!(
            run.status == Some(2) && complaints.len() == 1 && complaints[0].contains(says),
            "{args}: {run:?}"
        );
    }
    assert!(!folder.names().iter().any(|name| name.contains("xent-")), "{:?}", folder.names());
}

#[test]
fn bad_rows_are_told_in_the_lines_of_llama_cpp() {
    let folder = folder();
    let mut bytes = folder.read("base.kld");
    let row_bytes = 8 + 2 * COLS.next_multiple_of(2);
    let at = bytes.len() - 3 * row_bytes + 4;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("nan.kld", bytes);
    let fine = folder.run("compare base.kld other.kld --llama-cpp").stdout;
    assert!(!fine.contains("Bad rows"), "{fine}");
    for args in ["nan.kld base.kld", "base.kld nan.kld"] {
        let run = folder.run(&format!("compare {args} --llama-cpp"));
        let last = run.stdout.lines().last().unwrap_or_default();
        let says = format!("Bad rows  : 1, 0 of them infinite; the first is row {}", CHUNKS * ROWS - 3);
        assert!(run.status == Some(0) && last.starts_with(&says), "{args}: {run:?}");
    }
}

#[test]
fn other_rows_bring_their_targets() {
    let folder = folder();
    let calibrated =
        |args: &str| json_of(&folder, &format!("calibrate {args}"))["conformal"]["others"].clone();
    let expected = calibrated("base.kld --coverage 0.9 --others other.npy --others-targets targets.npy");
    assert_eq!(expected["rows"], CHUNKS * ROWS);
    for args in [
        "base.kld --coverage 0.9 --others other.kld",
        "base.npy --targets targets.npy --coverage 0.9 --others other.kld",
    ] {
        assert_eq!(calibrated(args), expected, "{args}");
    }
    for (args, says) in [
        ("--others other.npy", "--others-targets: is needed"),
        ("--others other.kld --shift 1", "--shift: the targets in the file of the logits"),
    ] {
        let run = folder.run(&format!("calibrate base.npy --targets targets.npy --coverage 0.9 {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
}
