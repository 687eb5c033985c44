//! `xent softmax`.

use xent::cpu::Processor;
use xent::half::{bf16, f16};
use xent::{MaskedRow, Shape, Softmax, SoftmaxOptions, reference};

use crate::support::{Folder, gpu, logits, npy};

#[test]
fn a_row_worked_by_hand() {
    let folder = Folder::new();
    folder.logits(&[0.0, 2f32.ln(), 5f32.ln(), 7.0, 7.0, f32::NEG_INFINITY], 3);
    for (args, expected) in [
        ("-o out.npy", [0.125, 0.25, 0.625, 0.5, 0.5, 0.0].map(f64::from)),
        ("-o out.npy --log", [0.125f64, 0.25, 0.625, 0.5, 0.5, 0.0].map(f64::ln)),
        ("--output out.npy", [0.125, 0.25, 0.625, 0.5, 0.5, 0.0].map(f64::from)),
    ] {
        let run = folder.run(&format!("softmax logits.npy {args}"));
        assert_eq!(run.status, Some(0), "{run:?}");
        assert!(run.stdout.starts_with("rows        2\nclasses     3\nadapter     "), "{run:?}");
        let (shape, values) = folder.values("out.npy");
        assert_eq!(shape, "(2, 3)");
        for (value, expected) in values.iter().zip(expected) {
            let value = f64::from(*value);
            assert!(value == expected || (value - expected).abs() < 2e-6, "{args}: {value} {expected}");
        }
    }
    assert_eq!(folder.names(), ["logits.npy", "out.npy"]);
}

#[test]
fn outputs_are_the_librarys_bit_for_bit() {
    // Two windows of 64 MiB.
    let shape = Shape::new(400, 50_257);
    let logits = logits(shape.len());
    let folder = Folder::new();
    folder.logits(&logits, shape.cols);
    let gpu = gpu();
    let op = Softmax::<f32>::new(&gpu, &Default::default()).unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let (cpu, options) = (Processor::new(), SoftmaxOptions { temperature: 0.7, ..Default::default() });
    let [mut probs, mut log_probs] = [(); 2].map(|()| vec![0.0; shape.len()]);
    cpu.softmax_into(&logits, shape, &options, &mut probs).unwrap();
    cpu.log_softmax_into(&logits, shape, &options, &mut log_probs).unwrap();
    for (args, expected) in [
        ("", op.softmax(&logits, shape).wait().unwrap()),
        ("--log", op.log_softmax(&logits, shape).wait().unwrap()),
        ("--adapter cpu --temperature 0.7", probs),
        ("--adapter cpu --temperature 0.7 --log --memory 64MiB", log_probs),
    ] {
        assert_eq!(folder.run(&format!("softmax logits.npy -o out.npy {args}")).status, Some(0));
        let (out_shape, values) = folder.values("out.npy");
        assert_eq!((out_shape.as_str(), bits(&values) == bits(&expected)), ("(400, 50257)", true), "{args}");
    }
}

/// Rows with every special value, in each type of the output, by the path for processors.
#[test]
fn the_processor_keeps_the_contract() {
    let (minus, plus) = (f32::NEG_INFINITY, f32::INFINITY);
    let values = [1.0, minus, 2.5, minus, minus, minus, f32::NAN, 0.0, 1.0, plus, 0.0, 1.0, 7.0, 7.0, -80.0];
    let logits = values.map(bf16::from_f32);
    let folder = Folder::new();
    folder.write("logits.bin", bytemuck::cast_slice(&logits));
    for (masked_row, flag) in [(MaskedRow::Nan, ""), (MaskedRow::Zero, "--masked-row zero")] {
        for log in ["", "--log"] {
            let options = SoftmaxOptions { masked_row, ..Default::default() };
            let row = if log.is_empty() { reference::softmax_row } else { reference::log_softmax_row };
            let expected: Vec<f64> = logits.chunks(3).flat_map(|logits| row(logits, &options)).collect();
            for (out, relative, least) in [("f32", 2e-5, 1e-37), ("f16", 1e-3, 6e-8)] {
                let run = folder.run(&format!(
                    "softmax logits.bin --dtype bf16 --cols 3 -o out.npy --adapter cpu --out-dtype {out} {flag} {log}"
                ));
                assert_eq!(run.status, Some(0), "{run:?}");
                assert!(run.stdout.contains("adapter     processor ("), "{run:?}");
                let values: Vec<f64> = match out {
                    "f32" => folder.values("out.npy").1.into_iter().map(f64::from).collect(),
                    _ => folder.values_of::<f16>("out.npy").1.into_iter().map(f64::from).collect(),
                };
                for (at, (&a, &b)) in values.iter().zip(&expected).enumerate() {
                    let same =
                        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= relative * b.abs() + least;
                    assert!(same, "{flag} {log} {out}: {at}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn entmax_and_sparsemax() {
    let folder = Folder::new();
    folder.logits(&[1.0, 0.5, -1.0, 2.0, f32::NEG_INFINITY, 2.0], 3);
    for (args, expected) in [
        ("--sparsemax", [0.75, 0.25, 0.0, 0.5, 0.0, 0.5]),
        ("--entmax 2", [0.75, 0.25, 0.0, 0.5, 0.0, 0.5]),
        ("--entmax 1.5", [0.673992636, 0.326007364, 0.0, 0.5, 0.0, 0.5]),
        ("--entmax 1.25", [0.631466617, 0.345057624, 0.023475759, 0.5, 0.0, 0.5]),
    ] {
        let run = folder.run(&format!("softmax logits.npy -o out.npy {args}"));
        assert_eq!(run.status, Some(0), "{run:?}");
        let (_, values) = folder.values("out.npy");
        for (&value, expected) in values.iter().zip(expected) {
            assert!((f64::from(value) - expected).abs() <= 2e-6 * expected, "{args}: {value} {expected}");
        }
    }
    let printed = folder.run("softmax 1 0.5 -1 --entmax 1.5");
    assert_eq!(printed.stdout, "0.673993\n0.326007\n0.000000\n");
    for (args, complaint) in
        [("--entmax 1", "--entmax 1: must be from"), ("--sparsemax --temperature 2", "cannot be used with")]
    {
        let run = folder.run(&format!("softmax 1 2 {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(complaint), "{run:?}");
    }
}

#[test]
fn no_rows_and_f64() {
    let folder = Folder::new();
    folder.write("logits.npy", npy("<f4", "(0, 5)", &[]));
    assert_eq!(folder.run("softmax logits.npy -o out.npy").status, Some(0));
    assert_eq!(folder.values("out.npy"), ("(0, 5)".to_owned(), vec![]));
    folder.write("logits.npy", npy("<f8", "(1, 2)", bytemuck::bytes_of(&[3.0f64, 3.0])));
    let run = folder.run("softmax logits.npy -o out.npy");
    assert_eq!(run.complaints(), ["xent: logits.npy: f64 logits, narrowed to f32"]);
    assert_eq!(folder.values("out.npy"), ("(1, 2)".to_owned(), vec![0.5, 0.5]));
}

#[test]
fn numbers_on_the_command_line() {
    let folder = Folder::new();
    let lines = |args: &str| {
        let run = folder.run(args);
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        run.stdout
    };
    assert_eq!(lines("softmax 2 1 0.5"), "0.628532\n0.231224\n0.140244\n");
    assert_eq!(lines("softmax 0 -1000 --log"), "0.000000\n-1000.000000\n");
    // A small value keeps its digits: only an exact zero has none.
    assert_eq!(lines("softmax 0 -20 --log"), "-2.06e-9\n-20.000000\n");
    assert_eq!(lines("softmax 0 -20"), "1.000000\n2.06e-9\n");
    assert_eq!(lines("softmax 0 -20 --sparsemax"), "1.000000\n0.000000\n");
    assert_eq!(lines("softmax 4 2 1 --temperature 2"), lines("softmax 2 1 0.5"));
    for (args, says) in [
        ("softmax 2 1 x", "--output <FILE>: is needed for the probabilities of files"),
        ("softmax 2 1 --class-axis 0", "--class-axis: does not apply to numbers"),
        ("softmax 2 1 --memory 1GB", "--memory: does not apply to numbers"),
        ("softmax 2 1 --temperature 1,2", "--temperature: takes one value here"),
        (
            "softmax 1,2 3",
            "1,2: neither a file nor a number: logits of one row are written apart, as 2 1 0.5",
        ),
        ("softmax 2 1 --temperature 0", "--temperature 0: must"),
        ("softmax 2 1 --entmax 3.1", "--entmax 3.1: must be from"),
    ] {
        let run = folder.run(args);
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
}

#[test]
fn sigmoids_and_masks() {
    let folder = Folder::new();
    let values = [2.0f32, -1.0, f32::NAN, 0.5, f32::NEG_INFINITY, 3.0];
    folder.logits(&values, 3);
    let run = |args: &str| {
        let run = folder.run(&format!("softmax logits.npy -o out.npy {args}"));
        assert_eq!(run.status, Some(0), "{args}: {run:?}");
        folder.values("out.npy").1
    };
    let check = |args: &str, expected: [f64; 6]| {
        for (value, expected) in run(args).into_iter().zip(expected) {
            let value = f64::from(value);
            let is =
                (value - expected).abs() < 2e-6 || value == expected || (value.is_nan() && expected.is_nan());
            assert!(is, "{args}: {value}, {expected}");
        }
    };
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let each = |of: &dyn Fn(f64) -> f64| values.map(|x| of(x.into()));
    check("--sigmoid", each(&sigmoid));
    check("--sigmoid --log --temperature 2", each(&|x| sigmoid(x / 2.0).ln()));
    let alone = folder.run("softmax 2 -1 --sigmoid");
    assert_eq!(alone.stdout, "0.880797\n0.268941\n");

    // A forbidden class may have any logit, NaN too; a mask of floats is added.
    let of_two = |a: f64, b: f64| a.exp() / (a.exp() + b.exp());
    folder.array("mask.npy", &[2, 3], &[1u8, 1, 0, 1, 1, 0]);
    let two = [of_two(2.0, -1.0), of_two(-1.0, 2.0), 0.0, 1.0, 0.0, 0.0];
    check("--mask mask.npy", two);
    folder.array("mask.npy", &[3], &[1i64, 1, 0]);
    check("--mask mask.npy", two);
    folder.array("mask.npy", &[3], &[0.0f32, 3.0, f32::NEG_INFINITY]);
    let nan = f64::NAN;
    check("--mask mask.npy", [nan, nan, nan, 1.0, 0.0, 0.0]);
    folder.array("mask.npy", &[2, 3], &[0u8, 0, 0, 1, 0, 0]);
    check("--mask mask.npy --masked-row zero", [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    // Classes along another axis.
    folder.array("mask.npy", &[2], &[1u8, 0]);
    check("--mask mask.npy --class-axis 0", [1.0, 1.0, nan, 0.0, 0.0, nan]);
    // Any integer but 0 allows.
    folder.array("mask.npy", &[3], &[255u8, 1, 0]);
    check("--mask mask.npy", two);
    folder.array("mask.npy", &[2, 3], &[-1i64, 1 << 40, 0, 256, 1, 0]);
    check("--mask mask.npy", two);
    folder.array("mask.npy", &[2], &[1u8, 2]);
    for (args, says) in [
        (
            "--mask mask.npy",
            "shape (2,): the mask needs the shape of the logits, (2, 3), or (3,), one mask for",
        ),
        ("--mask none.npy", "none.npy: "),
        ("--mask out.npy", "out.npy: cannot be written: it is also the mask"),
        ("--mask mask.npy --sigmoid", "cannot be used with"),
        ("--sigmoid --softcap 3", "cannot be used with"),
    ] {
        let run = folder.run(&format!("softmax logits.npy -o out.npy {args}"));
        assert!(run.status == Some(2) && run.stderr.contains(says), "{args}: {run:?}");
    }
}
