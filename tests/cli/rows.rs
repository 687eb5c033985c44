//! Rows as positions of sequences.

use xent::{CrossEntropyInputs, CrossEntropyOptions, Sequences, Targets};

use crate::expected::Batch;
use crate::support::{Folder, logits};

const COLS: usize = 11;

fn targets() -> Vec<i32> {
    (0..12).map(|row| row * 5 % COLS as i32).collect()
}

#[test]
fn shifts_and_positions() {
    let (logits, targets) = (logits(12 * COLS), targets());
    let sequences = |length, shift, from, to| Sequences { length, shift, from, to };
    let all = usize::MAX;
    for (args, dims, expected) in [
        ("--shift 1", &[3, 4, COLS][..], sequences(4, 1, 0, all)),
        ("--shift 1", &[12, COLS], sequences(12, 1, 0, all)),
        ("--shift 2 --sequence 6", &[3, 4, COLS], sequences(6, 2, 0, all)),
        ("--shift 1 --sequence 5", &[12, COLS], sequences(5, 1, 0, all)),
        ("--shift 0 --score-from 1 --score-to 3", &[3, 4, COLS], sequences(4, 0, 1, 3)),
        ("--shift 1 --score-from 2", &[2, 6, COLS], sequences(6, 1, 2, all)),
        ("--score-to 2", &[2, 3, 2, COLS], sequences(2, 0, 0, 2)),
        ("--sequence 4", &[12, COLS], sequences(4, 0, 0, all)),
    ] {
        let folder = Folder::new();
        let row_dims = &dims[..dims.len() - 1];
        folder.array("logits.npy", dims, &logits).array("targets.npy", row_dims, &targets);
        let options = CrossEntropyOptions { sequences: Some(expected), ..Default::default() };
        let batch = Batch {
            dims: (dims, row_dims),
            ..Batch::new(&logits, Targets::Classes(&targets), &[12, COLS]).options(options)
        };
        batch.check(&folder, &format!("--targets targets.npy {args}"));
    }
}

#[test]
fn with_a_mask_and_weights() {
    let (logits, targets) = (logits(12 * COLS), targets());
    let mask: Vec<bool> = (0..12).map(|row| row % 3 != 1).collect();
    let weights: Vec<f32> = (0..12).map(|row| (row % 4) as f32).collect();
    let folder = Folder::new();
    let ints: Vec<i64> = mask.iter().map(|&scored| if scored { -7 } else { 0 }).collect();
    folder.array("logits.npy", &[3, 4, COLS], &logits).array("targets.npy", &[12], &targets);
    folder.array("mask.npy", &[3, 4], &ints).array("weights.npy", &[12], &weights);
    let inputs = CrossEntropyInputs::new(Targets::Classes(&targets)).row_mask(&mask).row_weights(&weights);
    let sequences = Some(Sequences { from: 1, ..Sequences::shifted(4, 1) });
    let batch = Batch {
        inputs,
        dims: (&[3, 4, COLS], &[3, 4]),
        ..Batch::new(&logits, inputs.targets, &[12, COLS])
            .options(CrossEntropyOptions { sequences, ..Default::default() })
    };
    let args = "--targets targets.npy --shift 1 --score-from 1 --row-mask mask.npy --row-weights weights.npy";
    batch.check(&folder, args);
}

#[test]
fn targets_that_no_row_is_scored_against_may_be_anything() {
    let folder = Folder::new();
    folder.array("logits.npy", &[2, 3, 2], &[0.0f32; 12]);
    // Shifted by one, the first target of each sequence is nobody's.
    folder.array("targets.npy", &[2, 3], &[i64::MAX, 0, 1, -7, 1, 0]);
    assert_eq!(folder.eval("--shift 1")["counted"], 4);
    folder.array("targets.npy", &[2, 3], &[1i64, 0, 99, 1, -7, 0]);
    folder.array("mask.npy", &[2, 3], &[1u8, 1, 0, 1, 0, 1]);
    assert_eq!(folder.eval("--row-mask mask.npy")["counted"], 4);
    folder.array("weights.npy", &[6], &[1.0f32, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(folder.eval("--row-weights weights.npy")["counted"], 4);
    let run = folder.run("eval logits.npy --targets targets.npy --row-weights weights.npy --shift 1");
    let line = "xent: targets.npy: targets[0, 2] = 99 is outside 0..2 and is not ignore_index (-100)";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![line]));
}

#[test]
fn a_sequence_has_a_length() {
    let folder = Folder::new();
    folder.logits(&[0.0; 4], 2).targets(&[0, 1]);
    let run = folder.run("eval logits.npy --targets targets.npy --shift 1 --sequence 0");
    let line = "xent: option sequences: length = 0: must be at least 1";
    assert_eq!((run.status, run.complaints()), (Some(2), vec![line]));
    for args in ["--shift 2", "--shift 18446744073709551615", "--score-from 2", "--score-from 1 --score-to 1"]
    {
        let report = folder.eval(args);
        assert_eq!((&report["counted"], &report["ignored"]), (&0.into(), &2.into()), "{args}");
    }
}
