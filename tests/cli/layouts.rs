//! Logits of any number of axes, classes along any of them, of every type.

use xent::bounds::prob_bound;
use xent::half::f16;
use xent::{CrossEntropyInputs, Element, Shape, SoftmaxOptions, Targets, reference};

use crate::expected::Batch;
use crate::support::{Folder, Value, logits, shape_of};

/// The axes, the class axis as it is asked for, and the axes of the rows.
const LAYOUTS: [(&[usize], isize, &[usize]); 9] = [
    (&[7], -1, &[]),
    (&[7], 0, &[]),
    (&[5, 7], -1, &[5]),
    (&[5, 7], 0, &[7]),
    (&[2, 3, 7], -1, &[2, 3]),
    (&[2, 7, 3], 1, &[2, 3]),
    (&[7, 2, 3], 0, &[2, 3]),
    (&[2, 7, 3, 2], -3, &[2, 3, 2]),
    (&[2, 3, 2, 7], 3, &[2, 3, 2]),
];

fn of_type<E: Element>(len: usize) -> Vec<E> {
    logits(len).into_iter().map(E::from_f32).collect()
}

fn check_layouts<E: Element + Value>() {
    for (i, (dims, axis, row_dims)) in LAYOUTS.into_iter().enumerate() {
        let shape = Shape::nd(dims, axis).unwrap();
        let logits: Vec<E> = of_type(shape.len());
        let rows = shape.rows;
        let classes: Vec<i32> =
            (0..rows).map(|row| if row % 4 == 3 { -100 } else { (row * 3 % shape.cols) as i32 }).collect();
        let weights: Vec<f32> = (0..rows).map(|row| 0.5 + (row % 3) as f32).collect();
        let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 1).collect();
        let ints: Vec<i32> = mask.iter().map(|&scored| scored.into()).collect();
        let inputs =
            CrossEntropyInputs::new(Targets::Classes(&classes)).row_weights(&weights).row_mask(&mask);
        let batch =
            Batch { logits: &logits[..], inputs, shape, options: Default::default(), dims: (dims, row_dims) };
        let folder = Folder::new();
        folder.array("logits.npy", dims, &logits);
        // In f16, each layout takes one of the two.
        let of_rows = [row_dims, &[rows]];
        for (_, of_rows) in
            of_rows.into_iter().enumerate().filter(|(j, _)| size_of::<E>() == 4 || i % 2 == *j)
        {
            folder.array("targets.npy", of_rows, &classes).array("weights.npy", of_rows, &weights);
            folder.array("mask.npy", of_rows, &ints);
            let args = "--targets targets.npy --row-weights weights.npy --row-mask mask.npy";
            batch.check(&folder, &format!("{args} --class-axis {axis}"));
        }
    }
}

#[test]
fn class_axis_anywhere() {
    check_layouts::<f32>();
}

#[test]
fn class_axis_anywhere_in_f16() {
    check_layouts::<f16>();
}

#[test]
fn gradients_in_f16() {
    let dims = [6, 33];
    let classes: Vec<i32> = (0..6).map(|row| row * 5).collect();
    let half: Vec<f16> = of_type(dims[0] * dims[1]);
    let folder = Folder::new();
    folder.array("logits.npy", &dims, &half).array("targets.npy", &dims[..1], &classes);
    // Summed, so that few of them are below f16's normal numbers.
    folder.eval("--reduction sum --grad-out grad.npy");
    let (shape, grad) = folder.values_of::<f16>("grad.npy");
    assert_eq!(shape, "(6, 33)");
    let sum = xent::CrossEntropyOptions { reduction: xent::Reduction::Sum, ..Default::default() };
    Batch::new(&half, Targets::Classes(&classes), &dims).options(sum).check_dlogits(&grad, 1e-3, "f16");
    let wide: Vec<f32> = half.iter().map(|&value| value.into()).collect();
    folder.array("logits.npy", &dims, &wide).eval("--reduction sum --grad-out grad.npy --out-dtype f16");
    assert!(folder.values_of::<f16>("grad.npy").1 == grad, "f16 logits are what they are in f32");
}

/// Softmax in and out of these types, in every `step`th layout.
fn check_softmax<E: Element + Value, O: Element + Value>(
    (first, step): (usize, usize),
    args: &str,
    options: &SoftmaxOptions,
) {
    for (dims, axis, _) in LAYOUTS.into_iter().skip(first).step_by(step) {
        let shape = Shape::nd(dims, axis).unwrap();
        let logits: Vec<E> = of_type(shape.len());
        let folder = Folder::new();
        folder.array("logits.npy", dims, &logits);
        let run = folder.run(&format!("softmax logits.npy -o out.npy --class-axis {axis} {args}"));
        assert_eq!(run.status, Some(0), "{dims:?} {axis} {args}: {run:?}");
        let (out_shape, probs) = folder.values_of::<O>("out.npy");
        assert_eq!(out_shape, shape_of(dims));
        for (at, expected) in reference::softmax(&logits, shape, options).unwrap().into_iter().enumerate() {
            let off = (probs[at].to_f64() - expected).abs();
            let bound = prob_bound(expected) + O::rounding(expected);
            assert!(off <= bound, "{dims:?} {axis} {args}: {at}: {expected} {}", probs[at].to_f64());
        }
    }
}

#[test]
fn softmax_of_every_type() {
    let plain = SoftmaxOptions::default();
    check_softmax::<f32, f32>((0, 1), "", &plain);
    check_softmax::<f32, f16>((0, 3), "--out-dtype f16", &plain);
    check_softmax::<f16, f32>((1, 3), "--out-dtype f32", &plain);
    check_softmax::<f16, f16>((2, 3), "", &plain);
    let options = SoftmaxOptions { temperature: 2.5, softcap: Some(6.0), ..plain };
    check_softmax::<f32, f32>((0, 3), "--temperature 2.5 --softcap 6", &options);
}

#[test]
fn an_axis_of_no_length() {
    for (dims, axis, rows) in
        [(&[0, 3, 5][..], -1, &[0, 3][..]), (&[2, 5, 0], 1, &[2, 0]), (&[5, 0], 0, &[0])]
    {
        let folder = Folder::new();
        folder.array::<f32>("logits.npy", dims, &[]).array::<i64>("targets.npy", rows, &[]);
        let report = folder.eval(&format!("--class-axis {axis} --rows-out rows.npy --grad-out grad.npy"));
        assert_eq!((&report["rows"], &report["cols"]), (&0.into(), &5.into()), "{dims:?}");
        assert_eq!(folder.values("rows.npy"), (shape_of(rows), vec![]), "{dims:?}");
        assert_eq!(folder.values("grad.npy"), (shape_of(dims), vec![]), "{dims:?}");
        let run = folder.run(&format!("softmax logits.npy -o out.npy --class-axis {axis}"));
        assert_eq!((run.status, folder.values("out.npy").0), (Some(0), shape_of(dims)), "{dims:?}");
    }
}

/// With `--vocab N`, what pads the vocabulary has no part in anything: not its values, not the axes of an output.
#[test]
fn a_padded_vocabulary() {
    for (dims, axis) in [([4, 6, 11], -1), ([4, 11, 6], 1)] {
        let folder = Folder::new();
        let (stored, kept) = (11, 9);
        let rows = 24;
        let values = logits(rows * stored);
        let inner = if axis == 1 { 6 } else { 1 };
        // What pads is far above the rest.
        let padded: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(at, &x)| if at / inner % stored < kept { x } else { 100.0 })
            .collect();
        let all = values.iter().enumerate().filter(|(at, _)| at / inner % stored < kept);
        let trimmed: Vec<f32> = all.map(|(_, &x)| x).collect();
        let mut small = dims;
        small.iter_mut().filter(|len| **len == stored).for_each(|len| *len = kept);
        folder.array("padded.npy", &dims, &padded).array("trimmed.npy", &small, &trimmed);
        folder.targets(&(0..rows as i64).map(|row| row % kept as i64).collect::<Vec<_>>());
        let vocab = format!("--vocab {kept} --class-axis {axis}");
        let run = |command: &str| {
            let run = folder.run(command);
            assert_eq!(run.status, Some(0), "{command}: {run:?}");
            run.stdout
        };
        let report = |file: &str, more: &str| -> serde_json::Value {
            let args =
                format!("{file} --targets targets.npy --class-axis {axis} --grad-out {file}.grad.npy {more}");
            serde_json::from_str(&run(&format!("eval {args} --json"))).unwrap()
        };
        let (found, expected) = (report("padded.npy", &format!("--vocab {kept}")), report("trimmed.npy", ""));
        for key in ["loss", "accuracy", "cols", "positions", "row_losses", "standard_error"] {
            assert_eq!(found[key], expected[key], "{key}");
        }
        assert_eq!(folder.read("padded.npy.grad.npy"), folder.read("trimmed.npy.grad.npy"));
        run(&format!("softmax padded.npy {vocab} -o p.npy"));
        run(&format!("softmax trimmed.npy --class-axis {axis} -o t.npy"));
        assert_eq!(folder.read("p.npy"), folder.read("t.npy"));
        let compared = run(&format!("compare padded.npy trimmed.npy {vocab}"));
        assert!(compared.contains("equal "), "{compared}");
        for (cols, says) in [(12, "11 classes: the first 12 cannot be taken"), (0, "11 classes: the first 0")]
        {
            let run = folder.run(&format!("softmax padded.npy -o x.npy --class-axis {axis} --vocab {cols}"));
            assert!(run.status == Some(2) && run.stderr.contains(says), "{run:?}");
        }
    }
}
