//! `xent bench`, on batches so small that it takes no time. No test judges a time.

use serde_json::{Value, json};
use xent::Tuning;

use crate::support::{Folder, gpu};

fn bench(folder: &Folder, args: &str) -> Value {
    let run = folder.run(&format!("bench --json {args}"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn every_operation_is_checked_then_timed() {
    let report = bench(
        &Folder::new(),
        "--shape 64x1000 --shape 33x51 --dtype f32 --dtype f16 --dtype bf16 --op copy --op loss --op loss+gradient \
         --op softmax --op log-softmax --op logsumexp --op argmax",
    );
    assert_eq!(
        (&report["format"], &report["version"], &report["xent"]),
        (&json!("xent bench"), &json!(1), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(report["adapter"].as_str(), Some(&*gpu().profile().unwrap().to_string()));
    assert!(["gpu", "wall"].contains(&report["clock"].as_str().unwrap()), "{report:#}");
    assert_eq!((&report["tuned"], report["runs"].as_u64() >= Some(7)), (&json!(false), true));
    let results = report["results"].as_array().unwrap();
    let ops = ["copy", "loss", "loss+gradient", "softmax", "log-softmax", "logsumexp", "argmax"];
    let mut expected = Vec::new();
    for (dtype, value_bytes) in [("f32", 4), ("f16", 2), ("bf16", 2)] {
        for (rows, cols) in [(64, 1000), (33, 51)] {
            expected.extend(ops.map(|op| (dtype, value_bytes, rows, cols, op)));
        }
    }
    assert_eq!(results.len(), expected.len(), "{report:#}");
    for (result, (dtype, value_bytes, rows, cols, op)) in results.iter().zip(expected) {
        assert_eq!(
            (&result["dtype"], &result["rows"], &result["cols"], &result["op"]),
            (&json!(dtype), &json!(rows), &json!(cols), &json!(op)),
            "{result:#}"
        );
        assert_eq!((&result["checked"], &result["rows_checked"]), (&json!(true), &json!(16)), "{result:#}");
        // A copy moves the padding of odd 16-bit rows too, and whole packs.
        let (logits, bytes) = (rows * cols * value_bytes, result["bytes"].as_u64().unwrap());
        match op {
            "copy" => assert!((2 * logits..2 * (logits + rows * 2 + 64)).contains(&bytes), "{result:#}"),
            "loss" | "logsumexp" | "argmax" => assert_eq!(bytes, logits, "{result:#}"),
            _ => assert_eq!(bytes, 2 * logits, "{result:#}"),
        }
        assert_eq!(result["by"].is_string(), op == "copy", "{result:#}");
        let number = |key: &str| result[key].as_f64().unwrap_or_else(|| panic!("{key}: {result:#}"));
        assert!(number("ms") > 0.0 && number("share_of_copy") > 0.0, "{result:#}");
        // Three keys that say the same in different words.
        let seconds = number("ms") / 1e3;
        let same = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(same(number("gb_per_second") * 1e9 * seconds, bytes as f64), "{result:#}");
        assert!(same(number("logits_per_second") * seconds, (rows * cols) as f64), "{result:#}");
    }
}

#[test]
fn the_largest_classes_are_checked_too() {
    let report = bench(&Folder::new(), "--shape 40x300 --op topk --op top-64");
    let results = report["results"].as_array().unwrap();
    let ops: Vec<_> = results.iter().map(|result| (&result["op"], &result["checked"])).collect();
    let (copy, five, most) = (json!("copy"), json!("top-5"), json!("top-64"));
    assert_eq!(ops, [&copy, &five, &most].map(|op| (op, &json!(true))));
}

#[test]
fn tokens_are_checked_too() {
    let report = bench(&Folder::new(), "--shape 20x300 --op sample --op sample-top-k --op sample-top-p");
    let results = report["results"].as_array().unwrap();
    let ops: Vec<_> = results.iter().map(|result| (&result["op"], &result["checked"])).collect();
    let names = ["copy", "sample", "sample-top-k", "sample-top-p"].map(|name| json!(name));
    assert_eq!(ops, names.each_ref().map(|op| (op, &json!(true))));
}

#[test]
fn the_relatives_of_softmax_are_checked_too() {
    let report = bench(&Folder::new(), "--shape 20x300 --op sparsemax --op entmax --op sampled-softmax");
    let results = report["results"].as_array().unwrap();
    let ops: Vec<_> = results.iter().map(|result| (&result["op"], &result["checked"])).collect();
    let names = ["copy", "sparsemax", "entmax-1.5", "sampled-softmax"].map(|name| json!(name));
    assert_eq!(ops, names.each_ref().map(|op| (op, &json!(true))));
    // Probabilities are written, and losses are not.
    let bytes: Vec<_> = results[1..].iter().map(|result| result["bytes"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [48_000, 48_000, 24_000]);
}

#[test]
fn text_and_picture_have_every_operation() {
    let folder = Folder::new();
    let run =
        folder.run("bench --shape 16x100 --shape 20x3 --op loss --op softmax --op loss --plot roof.svg");
    assert_eq!(run.status, Some(0), "{run:?}");
    let name = gpu().profile().unwrap().name;
    assert!(run.stdout.starts_with(&name), "{}", run.stdout);
    for (line, times) in
        [("16 x 100 f32 ", 1), ("20 x 3 f32 ", 1), ("  copy (by the ", 2), ("  loss ", 2), ("  softmax ", 2)]
    {
        let found = run.stdout.lines().filter(|text| text.starts_with(line)).count();
        assert_eq!(found, times, "{line}: {}", run.stdout);
    }
    let svg = String::from_utf8(folder.read("roof.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    for text in ["16x100 f32", "20x3 f32", "copy", "loss", "softmax", "GB/s (bytes that must move)"] {
        assert!(svg.lines().any(|line| line.trim() == text), "{text}: {svg}");
    }
    assert_eq!(folder.names(), ["roof.svg"]);
}

#[test]
fn rows_of_one_class_and_one_long_row_are_batches_too() {
    let report = bench(
        &Folder::new(),
        "--shape 5x1 --shape 1x70000 --shape 1x1 --op argmax --op loss+gradient --dtype f16",
    );
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 9);
    assert!(results.iter().all(|result| result["checked"] == true), "{report:#}");
}

#[test]
fn a_tuning_is_taken_and_makes_nothing_wrong() {
    let folder = Folder::new();
    let tuning = Tuning::fixed(4, 2).split(8, 1024);
    tuning.save(folder.path("tuning.json"), &gpu().profile().unwrap()).unwrap();
    let report = bench(&folder, "--shape 3x9000 --tuning tuning.json");
    assert_eq!(report["tuned"], true);
    assert!(
        report["results"].as_array().unwrap().iter().all(|result| result["checked"] == true),
        "{report:#}"
    );
}

#[test]
fn what_cannot_be_measured_is_one_clear_line() {
    let folder = Folder::new();
    let limit = gpu().profile().unwrap().max_buffer_bytes;
    // Cut short of `Shape`'s own limit: no buffer of a device of today holds it.
    assert!(limit < 4 * 4_000_000 * 1_000_000_000, "{limit}");
    for (args, says) in [
        ("bench --shape 0x5", "nothing to measure in 0 rows"),
        ("bench --shape 5x0", "a row needs at least one class"),
        ("bench --shape 9999999999x9999999999", "overflows the address space"),
        ("bench --shape 99999999999999999999x1", "number too large"),
        ("bench --shape 512", "rows x cols, such as 256x50304"),
        ("bench --shape 4x4 --op topk", "xent: option k = 5: a row has only 4 classes"),
        ("bench --shape 4x4 --dtype f64", "f32, f16, bf16"),
        ("bench --shape 4x4 --op kl", "loss+gradient"),
        ("bench --shape 4x4 --plot no/roof.svg", "xent: no/roof.svg: cannot be written: No such file"),
        ("bench --shape 4x4 --plot .", "xent: .: cannot be written: it exists and is not a regular file"),
        ("bench --shape 1000000000x4000000", "xent: --shape 1000000000x4000000: f32 logits take"),
        ("tune -o t.json --shape 1000000000x4000000", "xent: --shape 1000000000x4000000: f32 logits take"),
        ("tune", "--output <FILE>"),
        ("tune -o no/t.json", "xent: no/t.json: cannot be written: No such file"),
        ("tune -o t.json --time=-1", "--time"),
    ] {
        let run = folder.run(args);
        assert_eq!((run.status, run.stdout.as_str()), (Some(2), ""), "{args}: {run:?}");
        assert!(run.stderr.contains(says), "{args}: {}", run.stderr);
    }
    assert!(folder.names().is_empty());
}
