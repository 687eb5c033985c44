//! What comes with logits of shape (2, 2, 3), and is not what it should be: one clear line, status 2.

use crate::files::{Case, refuses};
use crate::support::{Folder, Run, Value, logits, npy, run_with_stdin};

const NOT_NPY: &str = "not a .npy file: it does not begin with \\x93NUMPY, version and header length";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.array("logits.npy", &[2, 2, 3], &[0.5f32; 12]).array("targets.npy", &[2, 2], &[0i32, 1, 2, -100]);
    folder.array("indices.npy", &[2, 2, 2], &[0i32, 1, 1, 2, 2, -100, 0, 2]);
    folder.array("probs.npy", &[4, 2], &[0.5f32; 8]);
    folder
}

/// Runs a table of files that take the place of a good one.
fn check(file: &str, args: &str, cases: Vec<Case>) {
    let folder = folder();
    for (name, bytes, says) in cases {
        folder.write(file, bytes);
        refuses(
            &folder,
            name,
            &format!("eval logits.npy {args} --rows-out rows.npy --grad-out out.npy"),
            &format!("xent: {file}: {says}"),
        );
    }
}

fn array<T: Value>(shape: &str, values: &[T]) -> Vec<u8> {
    npy(T::DESCR, shape, bytemuck::cast_slice(values))
}

#[test]
fn soft_targets() {
    let good = array("(2, 2, 3)", &[0.25f32; 12]);
    check(
        "soft.npy",
        "--soft-targets soft.npy",
        vec![
            ("text", b"0.5,0.5".to_vec(), NOT_NPY),
            ("integers", array("(2, 2, 3)", &[2i32; 12]), "targets[0, 0, 0] = an integer other than 0 and 1"),
            (
                "complex",
                npy("<c8", "(2, 2, 3)", &[0; 96]),
                "type '<c8': targets must be f16, bf16, f32, f64, booleans",
            ),
            (
                "flat",
                array("(4, 3)", &[0.25f32; 12]),
                "shape (4, 3): soft targets need the shape of the logits, (2, 2, 3)",
            ),
            (
                "a class less",
                array("(2, 2, 2)", &[0.25f32; 8]),
                "shape (2, 2, 2): soft targets need the shape of the logits, (2, 2, 3)",
            ),
            (
                "cut",
                good[..good.len() - 1].to_vec(),
                "truncated: shape (2, 2, 3) of '<f4' needs 48 bytes of data; there are 47",
            ),
            (
                "NaN",
                array("(2, 2, 3)", &[[0.25f32; 11].as_slice(), &[f32::NAN]].concat()),
                "targets[3, 2] = NaN is not a finite number",
            ),
            (
                "infinite",
                array("(2, 2, 3)", &[[0.25f64; 5].as_slice(), &[f64::INFINITY], &[0.0; 6]].concat()),
                "targets[1, 2] = inf is not a finite number",
            ),
            (
                "beyond f32",
                array("(2, 2, 3)", &[[0.25f64; 5].as_slice(), &[1e39], &[0.0; 6]].concat()),
                "targets[0, 1, 2] = 1e39 is beyond f32's range",
            ),
        ],
    );
}

#[test]
fn sparse_targets() {
    let args = "--sparse-targets indices.npy --sparse-probs probs.npy";
    check(
        "indices.npy",
        args,
        vec![
            ("empty", vec![], NOT_NPY),
            ("floats", array("(4, 2)", &[0.0f32; 8]), "type '<f4': targets must be integers"),
            ("one axis", array("(4,)", &[0i32; 4]), "shape (4,): 4 rows of logits need (2, 2, k) or (4, k)"),
            (
                "too few",
                array("(3, 2)", &[0i32; 6]),
                "shape (3, 2): 4 rows of logits need (2, 2, k) or (4, k)",
            ),
            (
                "no entries",
                array::<i32>("(4, 0)", &[]),
                "option sparse targets: entries = 0: must be in 1..=512",
            ),
            (
                "many entries",
                array("(4, 513)", &[0u8; 4 * 513]),
                "option sparse targets: entries = 513: must be in 1..=512",
            ),
            (
                "a class too many",
                array("(2, 2, 2)", &[0i64, 1, 2, 3, 0, 0, 0, 0]),
                "targets[0, 1, 1] = 3 is outside 0..3 and is not ignore_index (-100)",
            ),
            (
                "negative",
                array("(4, 2)", &[0i64, 1, 2, 0, 0, 0, -1, 0]),
                "targets[3, 0] = -1 is outside 0..3 and is not ignore_index (-100)",
            ),
        ],
    );
    check(
        "probs.npy",
        args,
        vec![
            (
                "complex",
                npy("<c8", "(4, 2)", &[0; 64]),
                "type '<c8': probs must be floats, integers or booleans",
            ),
            (
                "other entries",
                array("(4, 3)", &[0.0f32; 12]),
                "shape (4, 3): 4 rows of logits need (2, 2, 2) or (4, 2)",
            ),
            (
                "NaN",
                array("(4, 2)", &[[0.5f32; 7].as_slice(), &[f32::NAN]].concat()),
                "targets[3, 1] = NaN is not a finite number",
            ),
        ],
    );
    // Where there is no entry, its probability is not looked at.
    let folder = folder();
    folder.array("probs.npy", &[2, 2, 2], &[0.5f32, 0.5, 0.5, 0.5, 0.5, f32::NAN, 0.5, 0.5]);
    assert_eq!(folder.run(&format!("eval logits.npy {args}")).status, Some(0));
}

#[test]
fn class_weights() {
    check(
        "weights.npy",
        "--targets targets.npy --class-weights weights.npy",
        vec![
            ("text", b"1 2 3".to_vec(), NOT_NPY),
            (
                "complex",
                npy("<c8", "(3,)", &[0; 24]),
                "type '<c8': class_weights must be floats, integers or booleans",
            ),
            ("a negative integer", array("(3,)", &[1i64, -1, 1]), "class_weights[1] = -1.0: must be finite"),
            ("too few", array("(2,)", &[1.0f32; 2]), "shape (2,): 3 classes need (3,)"),
            ("of the rows", array("(2, 2)", &[1.0f32; 4]), "shape (2, 2): 3 classes need (3,)"),
            (
                "negative",
                array("(3,)", &[1.0f32, -0.5, 1.0]),
                "class_weights[1] = -0.5: must be finite in f32 and at least 0",
            ),
            (
                "NaN",
                array("(3,)", &[1.0f64, 1.0, f64::NAN]),
                "class_weights[2] = NaN: must be finite in f32 and at least 0",
            ),
        ],
    );
}

#[test]
fn row_weights_and_masks() {
    check(
        "weights.npy",
        "--targets targets.npy --row-weights weights.npy",
        vec![
            (
                "complex",
                npy("<c8", "(4,)", &[0; 32]),
                "type '<c8': row_weights must be floats, integers or booleans",
            ),
            ("too few", array("(3,)", &[1.0f32; 3]), "shape (3,): 4 rows of logits need (2, 2) or (4,)"),
            (
                "of another order",
                array("(2, 1, 3)", &[1.0f32; 6]),
                "shape (2, 1, 3): 4 rows of logits need (2, 2) or (4,)",
            ),
            (
                "negative",
                array("(2, 2)", &[1.0f32, 1.0, -1.0, 1.0]),
                "row_weights[1, 0] = -1.0: must be finite in f32 and at least 0",
            ),
            (
                "infinite in f32",
                array("(4,)", &[1.0f64, 1.0, 1.0, 1e39]),
                "row_weights[3] = 1e39: must be finite in f32",
            ),
        ],
    );
    check(
        "mask.npy",
        "--targets targets.npy --row-mask mask.npy",
        vec![
            ("floats", array("(4,)", &[1.0f32; 4]), "type '<f4': a row mask must be booleans or integers"),
            ("text", npy("|S4", "(4,)", &[0; 16]), "type '|S4': a row mask must be booleans or integers"),
            ("too many", array("(5,)", &[1u8; 5]), "shape (5,): 4 rows of logits need (2, 2) or (4,)"),
            (
                "cut",
                npy("|b1", "(2, 2)", &[1; 3]),
                "truncated: shape (2, 2) of '|b1' needs 4 bytes of data; there are 3",
            ),
        ],
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = folder();
    for args in [
        "--soft-targets none.npy",
        "--sparse-targets none.npy --sparse-probs probs.npy",
        "--sparse-targets indices.npy --sparse-probs none.npy",
        "--targets targets.npy --class-weights none.npy",
        "--targets targets.npy --row-weights none.npy",
        "--targets targets.npy --row-mask none.npy",
    ] {
        let args = format!("eval logits.npy {args} --lse-out out.npy");
        refuses(&folder, "missing", &args, "xent: none.npy: No such file");
    }
}

/// Targets through stdin, and any input through a pipe, as a shell's `<(command)` gives it.
#[test]
fn inputs_that_are_streams() {
    let folder = Folder::new();
    folder.logits(&logits(12 * 5), 5).targets(&[1, 2, 3, 4, 0, 1, 2, 3, 4, 0, -100, 1]);
    let whole = folder.eval("");
    let mean = |run: &Run| -> serde_json::Value {
        assert_eq!(run.status, Some(0), "{run:?}");
        serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap()["loss"].clone()
    };
    let targets = folder.read("targets.npy");
    let run = run_with_stdin(folder.command("eval logits.npy --targets - --json"), &targets);
    assert_eq!(mean(&run), whole["loss"]);
    for (args, says) in [
        ("eval - --targets - --json", "-: stdin can be one input only"),
        ("eval logits.npy --targets - --resume", "--resume: input from stdin or a pipe cannot be read again"),
    ] {
        let run = run_with_stdin(folder.command(args), &targets);
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
    let short = run_with_stdin(folder.command("eval logits.npy --targets -"), &targets[..targets.len() - 1]);
    assert!(short.status == Some(2) && short.stderr.contains("xent: stdin: truncated"), "{short:?}");
    #[cfg(unix)]
    for (name, file) in [("targets", "targets.npy"), ("logits", "logits.npy")] {
        let pipe = folder.path("pipe");
        let _ = std::fs::remove_file(&pipe);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let bytes = folder.read(file);
        let writer = std::thread::spawn(move || std::fs::write(pipe, bytes));
        let args = if name == "targets" {
            "eval logits.npy --targets pipe"
        } else {
            "eval pipe --targets targets.npy"
        };
        let run = folder.run(&format!("{args} --json"));
        assert_eq!(mean(&run), whole["loss"], "{name}");
        writer.join().unwrap().unwrap();
    }
}
