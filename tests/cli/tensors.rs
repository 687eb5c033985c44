//! Every format and type of element, in and out: the answers are the same bits whatever the format, and what the same
//! values give as f32 in a `.npy` file.

use xent::Element;
use xent::half::{bf16, f16};

use crate::support::{Folder, Value, logits, npy, run_with_stdin, safetensors, tensor};

const DIMS: [usize; 2] = [9, 13];
const TARGETS: [i64; 9] = [3, 12, 0, -100, 7, 1, 5, 11, 2];

/// Values that this type and f32 have alike.
fn values<E: Element>() -> (Vec<E>, Vec<f32>) {
    let of_type: Vec<E> = logits(DIMS[0] * DIMS[1]).into_iter().map(E::from_f32).collect();
    let wide = of_type.iter().map(|value| value.to_f64() as f32).collect();
    (of_type, wide)
}

const OUTPUTS: &str =
    "--rows-out rows.npy --lse-out lse.npy --argmax-out argmax.npy --grad-out grad.npy --out-dtype f32";

/// What a run says and writes, but for how long it took.
#[derive(Debug, PartialEq)]
struct Answer {
    report: Vec<(String, serde_json::Value)>,
    rows: Vec<u32>,
    lse: Vec<u32>,
    argmax: Vec<u32>,
    grad: Vec<u32>,
}

impl Answer {
    /// Holds it to what the kernels of another type give for the same values: they add in another order.
    fn check(&self, expected: &Self, name: &str) {
        assert_eq!(self.argmax, expected.argmax, "{name}");
        for ((key, value), (_, expected)) in self.report.iter().zip(&expected.report) {
            let off =
                value.as_f64().zip(expected.as_f64()).map(|(value, expected)| (value / expected - 1.0).abs());
            assert!(
                value == expected || off.is_some_and(|off| off < 1e-6),
                "{name}: {key}: {value} {expected}"
            );
        }
        for (what, values, expected) in [
            ("rows", &self.rows, &expected.rows),
            ("lse", &self.lse, &expected.lse),
            ("grad", &self.grad, &expected.grad),
        ] {
            assert_eq!(values.len(), expected.len(), "{name}: {what}");
            for (&value, &expected) in values.iter().zip(expected) {
                let (value, expected) = (f32::from_bits(value), f32::from_bits(expected));
                assert!(
                    (value - expected).abs() <= 2e-6 * expected.abs(),
                    "{name}: {what}: {value} {expected}"
                );
            }
        }
    }
}

fn answer(folder: &Folder, args: &str, stdin: &[u8]) -> Answer {
    let run = run_with_stdin(folder.command(&format!("eval {args} --json {OUTPUTS}")), stdin);
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    let report: serde_json::Map<_, _> = serde_json::from_str(&run.stdout).unwrap();
    let report = report.into_iter().filter(|(key, _)| {
        ["loss", "sum", "accuracy", "rows", "cols", "counted", "ignored", "weight", "flags"]
            .contains(&key.as_str())
    });
    let bits = |name| folder.values(name).1.iter().map(|value: &f32| value.to_bits()).collect();
    Answer {
        report: report.collect(),
        rows: bits("rows.npy"),
        lse: bits("lse.npy"),
        argmax: folder.values_of("argmax.npy").1,
        grad: bits("grad.npy"),
    }
}

/// Files of these values in every format, beside the same as f32, and arguments for each.
fn check<E: Element + Value>() {
    let (of_type, wide) = values::<E>();
    let folder = Folder::new();
    folder.targets(&TARGETS).logits(&wide, DIMS[1]);
    let expected = answer(&folder, "logits.npy --targets targets.npy", &[]);
    let bytes: &[u8] = bytemuck::cast_slice(&of_type);
    let classes = tensor("labels", &DIMS[..1], &TARGETS);
    let file = safetensors(&[tensor("logits", &DIMS, &of_type), classes]);
    folder.write("batch.safetensors", &file).write("batch.raw", bytes).write("misnamed.npy", &file);
    let name = E::NAME;
    let raw = format!("--dtype {name} --cols 13");
    let targets = "--targets targets.npy";
    let of_f32 = expected;
    let expected = answer(&folder, "batch.safetensors --targets targets.npy", &[]);
    match name {
        "f32" => assert_eq!(expected, of_f32),
        _ => expected.check(&of_f32, name),
    }
    for (args, stdin) in [
        ("batch.safetensors --targets batch.safetensors".to_owned(), &[][..]),
        ("batch.safetensors --targets-key labels".to_owned(), &[]),
        ("batch.safetensors --key logits --targets-key labels".to_owned(), &[]),
        ("misnamed.npy --targets-key labels".to_owned(), &[]),
        (format!("batch.raw {raw} {targets}"), &[]),
        (format!("batch.raw {raw} --rows 9 {targets}"), &[]),
        (format!("- {raw} --rows 9 {targets}"), bytes),
        (format!("- {targets}"), &file),
    ] {
        assert_eq!(answer(&folder, &args, stdin), expected, "{name}: {args}");
    }
    if E::DESCR != "none" {
        let file = npy(E::DESCR, "(9, 13)", bytes);
        folder.write("same.npy", &file);
        assert_eq!(answer(&folder, &format!("same.npy {targets}"), &[]), expected, "{name}");
        assert_eq!(answer(&folder, &format!("- {targets}"), &file), expected, "{name} from stdin");
    }
}

#[test]
fn f32_of_every_format() {
    check::<f32>();
}

#[test]
fn f16_of_every_format() {
    check::<f16>();
}

#[test]
fn bf16_of_every_format() {
    check::<bf16>();
}

#[test]
fn f64_of_every_format_is_narrowed() {
    let (_, narrow) = values::<f32>();
    let wide: Vec<f64> = narrow.iter().map(|&value| f64::from(value) * (1.0 + 1e-9)).collect();
    let folder = Folder::new();
    folder.targets(&TARGETS).logits(&narrow, DIMS[1]);
    let expected = answer(&folder, "logits.npy --targets targets.npy", &[]);
    folder.array("wide.npy", &DIMS, &wide).tensors("wide.safetensors", &[tensor("x", &DIMS, &wide)]);
    folder.write("wide.raw", bytemuck::cast_slice(&wide));
    for file in ["wide.npy", "wide.safetensors", "wide.raw --dtype f64 --cols 13"] {
        assert_eq!(answer(&folder, &format!("{file} --targets targets.npy"), &[]), expected, "{file}");
    }
    let run = folder.run("eval wide.safetensors --targets targets.npy");
    assert_eq!(run.complaints(), ["xent: wide.safetensors: f64 logits, narrowed to f32"]);
}

#[test]
fn everything_beside_the_logits_from_tensors() {
    let (_, values) = values::<f32>();
    let folder = Folder::new();
    folder.logits(&values, DIMS[1]).targets(&TARGETS);
    let (weights, classes) = ([0.5f32, 1.0, 2.0].repeat(3), [0.25f32; 13]);
    folder.array("w.npy", &[9], &weights).array("c.npy", &[13], &classes).array("m.npy", &[9], &[1u8; 9]);
    let args = "logits.npy --targets targets.npy --row-weights w.npy --class-weights c.npy --row-mask m.npy";
    let expected = answer(&folder, args, &[]);
    let half = |values: &[f32]| values.iter().map(|&value| bf16::from_f32(value)).collect::<Vec<_>>();
    folder.tensors("w.safetensors", &[tensor("w", &[9], &half(&weights))]);
    folder.tensors("c.safetensors", &[tensor("c", &[13], &half(&classes)), tensor("other", &[1], &[1i32])]);
    folder.tensors("m.safetensors", &[tensor("m", &[9], &[1i16; 9])]);
    let args = args.replace("w.npy", "w.safetensors").replace("c.npy", "c.safetensors");
    assert_eq!(answer(&folder, &args.replace("m.npy", "m.safetensors"), &[]), expected);

    let soft: Vec<f32> = (0..117).map(|at| (at % 8) as f32 / 32.0).collect();
    let (indices, probs) = ([[1i32, 5], [3, -100]].concat().repeat(5)[..18].to_vec(), [0.5f32; 18]);
    folder.array("soft.npy", &DIMS, &soft).array("i.npy", &[9, 2], &indices).array("p.npy", &[9, 2], &probs);
    let both = [tensor("ids", &[9, 2], &indices), tensor("p", &[9, 2], &half(&probs))];
    folder.tensors("both.safetensors", &both);
    folder
        .tensors("soft.safetensors", &[tensor("a", &DIMS, &half(&values)), tensor("b", &DIMS, &half(&soft))]);
    for (of_npy, of_tensors) in [
        ("--soft-targets soft.npy", "--soft-targets soft.safetensors --targets-key b"),
        (
            "--sparse-targets i.npy --sparse-probs p.npy",
            "--sparse-targets both.safetensors --sparse-probs both.safetensors",
        ),
    ] {
        let expected = answer(&folder, &format!("logits.npy {of_npy}"), &[]);
        assert_eq!(answer(&folder, &format!("logits.npy {of_tensors}"), &[]), expected, "{of_tensors}");
    }
}

#[test]
fn targets_of_any_integer() {
    fn check<T: Value + TryFrom<i64>>(folder: &Folder, expected: &Answer) {
        let targets: Vec<T> =
            TARGETS.iter().map(|&target| T::try_from(target.max(0)).ok().unwrap()).collect();
        folder.tensors("t.safetensors", &[tensor("t", &[9], &targets)]).array("t.npy", &[9], &targets);
        for file in ["t.safetensors", "t.npy"] {
            assert_eq!(
                &answer(folder, &format!("logits.npy --targets {file}"), &[]),
                expected,
                "{}",
                T::TENSOR
            );
        }
    }
    let folder = Folder::new();
    folder.logits(&values::<f32>().1, DIMS[1]).targets(&TARGETS.map(|target| target.max(0)));
    let expected = answer(&folder, "logits.npy --targets targets.npy", &[]);
    check::<i8>(&folder, &expected);
    check::<u8>(&folder, &expected);
    check::<i16>(&folder, &expected);
    check::<u16>(&folder, &expected);
    check::<i32>(&folder, &expected);
    check::<u32>(&folder, &expected);
    check::<i64>(&folder, &expected);
    check::<u64>(&folder, &expected);
}

/// The probabilities that `xent softmax` writes with these arguments, in a file of this name.
fn softmax<T: Value>(folder: &Folder, args: &str, name: &str) -> Vec<T> {
    let run = folder.run(&format!("softmax {args} -o {name}"));
    assert_eq!(run.status, Some(0), "{args}: {run:?}");
    if name.ends_with(".npy") {
        let (shape, values) = folder.values_of(name);
        assert_eq!(shape, "(9, 13)", "{args}");
        return values;
    }
    let (key, dims, values) = folder.tensor_of(name);
    assert_eq!((key.as_str(), &dims[..]), ("probs", &DIMS[..]), "{args}");
    values
}

#[test]
fn outputs_of_every_format_and_type() {
    fn round<E: Element>(values: &[f32]) -> Vec<E> {
        values.iter().map(|&value| E::from_f32(value)).collect()
    }
    let folder = Folder::new();
    folder.logits(&values::<f32>().1, DIMS[1]).targets(&TARGETS);
    let probs: Vec<f32> = softmax(&folder, "logits.npy", "out.npy");
    assert_eq!(softmax::<f32>(&folder, "logits.npy", "out.safetensors"), probs);
    assert_eq!(softmax::<f16>(&folder, "logits.npy --out-dtype f16", "out.npy"), round::<f16>(&probs));
    assert_eq!(
        softmax::<f16>(&folder, "logits.npy --out-dtype f16", "out.safetensors"),
        round::<f16>(&probs)
    );
    assert_eq!(
        softmax::<bf16>(&folder, "logits.npy --out-dtype bf16", "out.safetensors"),
        round::<bf16>(&probs)
    );

    folder.eval("--grad-out grad.npy --rows-out rows.npy --lse-out lse.npy --argmax-out argmax.npy");
    folder.eval(
        "--grad-out grad.safetensors --out-dtype bf16 --rows-out rows.safetensors --lse-out lse.safetensors \
         --argmax-out argmax.safetensors",
    );
    let grad = round::<bf16>(&folder.values("grad.npy").1);
    assert_eq!(folder.tensor_of("grad.safetensors"), ("dlogits".to_owned(), DIMS.to_vec(), grad));
    for (file, name) in [("rows", "row_losses"), ("lse", "lse")] {
        let expected = (name.to_owned(), vec![9], folder.values(&format!("{file}.npy")).1);
        assert_eq!(folder.tensor_of::<f32>(&format!("{file}.safetensors")), expected);
    }
    let argmax = folder.values_of::<u32>("argmax.npy").1;
    assert_eq!(folder.tensor_of("argmax.safetensors"), ("argmax".to_owned(), vec![9], argmax));
}

/// Nothing asked for, an output has the logits' type.
#[test]
fn outputs_have_the_logits_type() {
    let folder = Folder::new();
    let (half, wide) = values::<bf16>();
    folder.targets(&TARGETS).tensors("logits.safetensors", &[tensor("logits", &DIMS, &half)]);
    folder.array("wide.npy", &DIMS, &wide.iter().map(|&value| f64::from(value)).collect::<Vec<_>>());
    let probs: Vec<f32> = softmax(&folder, "wide.npy", "out.npy");
    let of_half: Vec<bf16> = softmax(&folder, "logits.safetensors", "out.safetensors");
    for (value, expected) in of_half.iter().zip(&probs) {
        let off = (value.to_f64() - f64::from(*expected)).abs();
        assert!(off <= bf16::rounding(f64::from(*expected)) + 1e-6, "{value} {expected}");
    }
    let widened: Vec<f32> = softmax(&folder, "logits.safetensors --out-dtype f32", "out.npy");
    assert!(widened.iter().zip(&probs).all(|(value, expected)| (value - expected).abs() < 1e-6));
    let run = folder.run("eval logits.safetensors --targets targets.npy --grad-out grad.safetensors");
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(folder.tensor_of::<bf16>("grad.safetensors").1, DIMS);

    let before = folder.names();
    let refused =
        "cannot be written: .npy has no type for bf16; name it .safetensors, or give --out-dtype f32";
    for args in [
        "softmax logits.safetensors -o new.npy",
        "softmax wide.npy -o new.npy --out-dtype bf16",
        "eval logits.safetensors --targets targets.npy --grad-out new.npy",
    ] {
        let run = folder.run(args);
        let complaints: Vec<_> = run
            .complaints()
            .into_iter()
            .filter(|line| !line.ends_with("f32") || line.contains("bf16"))
            .collect();
        assert_eq!(
            (run.status, complaints),
            (Some(2), vec![format!("xent: new.npy: {refused}").as_str()]),
            "{args}"
        );
    }
    let neither = "cannot be written: its name must end with .npy or .safetensors";
    for name in ["new.bin", "new", "new.npz"] {
        let run = folder.run(&format!("softmax wide.npy -o {name}"));
        assert_eq!((run.status, run.complaints()[1]), (Some(2), format!("xent: {name}: {neither}").as_str()));
    }
    assert_eq!(folder.names(), before);
}
