//! llama.cpp's codes, which kernels widen: every command gives what it gives of the values.

use crate::llama_cpp::{CHUNKS, ROWS, folder, json_of};

/// Kernels widen the codes. Neither shards nor a vocabulary that is cut change that, and where they take no codes, they get the
/// values.
#[test]
fn every_command_takes_the_codes() {
    let folder = folder();
    let close = |args: [&str; 2], keys: &[&str]| {
        let [found, expected] = args.map(|args| json_of(&folder, args));
        for &key in keys {
            let [found, expected] = [&found, &expected].map(|of| of[key].as_f64().unwrap());
            assert!(
                (found - expected).abs() <= 5e-6 + 1e-5 * expected.abs(),
                "{args:?} {key}: {found}, {expected}"
            );
        }
    };
    let any = std::env::var("XENT_ADAPTER").unwrap_or_default();
    let any = if any.is_empty() { String::new() } else { format!("--adapter {any}") };
    for options in [
        "",
        "--vocab 40 --ignore-index 40,41,42",
        "--readouts --label-smoothing 0.1 --verify 9",
        "--loss sparsemax",
    ] {
        let input = if options.contains("sparsemax") { "" } else { "--input log-probs" };
        let args = [
            format!("eval base.kld {any} {options} --grad-out a.npy"),
            format!("eval base.npy --targets targets.npy {any} {options} {input} --grad-out b.npy"),
        ];
        close(args.each_ref().map(String::as_str), &["mean", "counted", "bad_rows"]);
        let [found, expected] = ["a.npy", "b.npy"].map(|name| folder.values(name).1);
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-8 + 4e-5 * b.abs();
        assert!(found.iter().zip(&expected).all(is_close), "{options}");
    }
    for (command, keys) in [("calibrate", &["temperature"][..]), ("eval --temperature 1,2", &["counted"])] {
        let args =
            [format!("{command} base.kld {any}"), format!("{command} base.npy --targets targets.npy {any}")];
        close(args.each_ref().map(String::as_str), keys);
    }
    for log in ["", "--log"] {
        for (input, output) in [("base.kld", "a.npy"), ("base.npy", "b.npy")] {
            let run = folder.run(&format!("softmax {input} {any} -o {output} {log}"));
            assert_eq!(run.status, Some(0), "{run:?}");
        }
        let [(dims, found), (of_values, expected)] = ["a.npy", "b.npy"].map(|name| folder.values(name));
        assert_eq!(dims, of_values);
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-6 + 4e-5 * b.abs();
        assert!(found.iter().zip(&expected).all(is_close), "{log}");
    }
    let both = json_of(&folder, &format!("eval base.kld other.kld {any}"));
    assert_eq!(both["rows"], 2 * CHUNKS * ROWS);
    let run = folder.run("eval base.kld base.npy");
    let says = "xent: base.npy: not of llama.cpp's saved logits, as base.kld is: they cannot be shards";
    assert!(run.status == Some(2) && run.complaints()[0].starts_with(says), "{run:?}");
}
