//! Soft and sparse targets.

use xent::half::f16;
use xent::{CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, Sequences, Shape, Targets};

use crate::expected::Batch;
use crate::support::{Folder, gpu, logits};

const DIMS: [usize; 2] = [10, 13];

/// Probabilities of which each row's are no sum of 1; f16 holds them.
fn soft(len: usize) -> Vec<f32> {
    (0..len).map(|at| (at * 7 % 16) as f32 / 64.0).collect()
}

fn all_options() -> CrossEntropyOptions {
    CrossEntropyOptions { label_smoothing: 0.1, temperature: 2.0, z_loss: 1e-2, ..Default::default() }
}

#[test]
fn soft_targets() {
    let (logits, soft) = (logits(DIMS[0] * DIMS[1]), soft(DIMS[0] * DIMS[1]));
    let class_weights: Vec<f32> = (0..DIMS[1]).map(|class| (class % 3) as f32).collect();
    let row_weights: Vec<f32> = (0..DIMS[0]).map(|row| (row % 4) as f32 / 2.0).collect();
    let folder = Folder::new();
    folder.array("logits.npy", &DIMS, &logits);
    folder.array("class.npy", &DIMS[1..], &class_weights).array("row.npy", &DIMS[..1], &row_weights);
    folder.array("soft.npy", &DIMS, &soft);
    folder.array("half.npy", &DIMS, &soft.iter().map(|&value| f16::from_f32(value)).collect::<Vec<_>>());
    folder.array("wide.npy", &DIMS, &soft.iter().map(|&value| f64::from(value)).collect::<Vec<_>>());
    let plain = CrossEntropyInputs::new(Targets::Soft(&soft));
    let from = Sequences { from: 1, to: 4, ..Sequences::new(5) };
    let positions = CrossEntropyOptions { sequences: Some(from), ..Default::default() };
    for (args, inputs, options) in [
        ("", plain, Default::default()),
        ("--class-weights class.npy", plain.class_weights(&class_weights), Default::default()),
        ("--row-weights row.npy", plain.row_weights(&row_weights), Default::default()),
        ("--label-smoothing 0.1 --temperature 2 --z-loss 1e-2", plain, all_options()),
        ("--score-from 1 --score-to 4 --sequence 5", plain, positions),
    ] {
        let batch = Batch { inputs, ..Batch::new(&logits, plain.targets, &DIMS).options(options) };
        for file in ["soft.npy", "half.npy", "wide.npy"] {
            batch.check(&folder, &format!("--soft-targets {file} {args}"));
        }
    }
    // No class is ignored, so that there is nothing to name, be it the default.
    for index in [0, -100] {
        let run = folder.run(&format!("eval logits.npy --soft-targets soft.npy --ignore-index {index}"));
        let line = "xent: --ignore-index: does not apply to targets that are probabilities";
        assert_eq!((run.status, run.complaints()), (Some(2), vec![line]));
    }
    let run = folder.run("eval logits.npy --soft-targets wide.npy");
    assert_eq!(run.complaints(), ["xent: wide.npy: f64 soft targets, narrowed to f32"]);
}

#[test]
fn soft_targets_of_classes_in_the_middle() {
    let dims = [2, 5, 3, 2];
    let (logits, soft) = (logits(60), soft(60));
    let folder = Folder::new();
    folder.array("logits.npy", &dims, &logits).array("soft.npy", &dims, &soft);
    let batch = Batch {
        shape: Shape::nchw(2, 5, 6),
        dims: (&dims, &[2, 3, 2]),
        ..Batch::new(&logits, Targets::Soft(&soft), &[12, 5])
    };
    batch.check(&folder, "--soft-targets soft.npy --class-axis 1");
}

#[test]
fn soft_targets_pass_in_windows_bit_for_bit() {
    // Two windows of 64 MiB.
    let shape = Shape::new(400, 50_257);
    let (logits, soft) = (logits(shape.len()), soft(shape.len()));
    let folder = Folder::new();
    folder.logits(&logits, shape.cols).array("soft.npy", &[shape.rows, shape.cols], &soft);
    let gpu = gpu();
    let op = CrossEntropy::<f32>::new(&gpu, &Default::default()).unwrap();
    let (_, dlogits) = op.loss_and_dlogits(&logits, Targets::Soft(&soft), shape).wait().unwrap();
    let rows = op.row_losses(&logits, Targets::Soft(&soft), shape).wait().unwrap();
    let run = folder.run("eval logits.npy --soft-targets soft.npy --rows-out rows.npy --grad-out grad.npy");
    assert_eq!(run.status, Some(0), "{run:?}");
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(bits(&folder.values("rows.npy").1) == bits(&rows));
    assert!(bits(&folder.values("grad.npy").1) == bits(&dlogits));
}

/// Entries of 10 rows, 3 each: one class twice, one entry left out, and a row of none.
fn sparse() -> (Vec<i32>, Vec<f32>) {
    let mut indices: Vec<i32> = (0..30).map(|at| at * 5 % DIMS[1] as i32).collect();
    (indices[4], indices[7]) = (indices[3], -100);
    indices[15..18].fill(-100);
    let probs = (0..30).map(|at| (at * 3 % 8) as f32 / 8.0).collect();
    (indices, probs)
}

#[test]
fn sparse_targets() {
    let (logits, (indices, probs)) = (logits(DIMS[0] * DIMS[1]), sparse());
    let folder = Folder::new();
    let targets = Targets::Sparse { indices: &indices, probs: &probs, entries: 3 };
    let shifted = CrossEntropyOptions { sequences: Some(Sequences::shifted(5, 1)), ..Default::default() };
    for (args, dims, flat, options) in [
        ("", &[10, 13][..], true, Default::default()),
        ("--label-smoothing 0.1 --temperature 2 --z-loss 1e-2", &[10, 13], true, all_options()),
        ("", &[2, 5, 13], false, Default::default()),
        ("", &[2, 5, 13], true, Default::default()),
        ("--shift 1", &[2, 5, 13], false, shifted),
    ] {
        let row_dims = &dims[..dims.len() - 1];
        let entries = [if flat { &[10] } else { row_dims }, &[3]].concat();
        folder.array("logits.npy", dims, &logits).array("indices.npy", &entries, &indices);
        folder.array("probs.npy", &entries, &probs);
        let batch = Batch { dims: (dims, row_dims), ..Batch::new(&logits, targets, &DIMS).options(options) };
        batch.check(&folder, &format!("--sparse-targets indices.npy --sparse-probs probs.npy {args}"));
    }
}
