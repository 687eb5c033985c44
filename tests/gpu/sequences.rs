//! Rows as positions of sequences: shifted targets, prompts that are not scored; masks of rows.

use xent::{CrossEntropyOptions, Error, SequenceUnit, Sequences, TargetKind};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check_loss;
use crate::harness::gpu;
use crate::outputs::{Gradient, Outputs, run_loss};

fn of(sequences: Sequences) -> Ops {
    ops().with(CrossEntropyOptions { sequences: Some(sequences), ..Default::default() })
}

fn run(ops: &Ops, batch: &Batch) -> Outputs {
    run_loss(gpu(), ops, batch, (256, 256), Gradient::To)
}

/// As many sequences, and as long: whole ones, a last one cut short, longer than the batch.
#[test]
fn every_shift_and_length() {
    for kind in [TargetKind::Classes, TargetKind::Sparse { entries: 3 }] {
        for rows in [1, 6, 24, 26, 1030] {
            let batch = noise("shifted", rows as u64, rows, 7).with_targets(kind, 2).with_weights(3);
            for (length, shift) in [
                (1, 0),
                (6, 1),
                (6, 0),
                (6, 5),
                (6, 6),
                (6, 100),
                (7, 2),
                (5000, 1),
                (8, usize::MAX),
                (usize::MAX, 1),
            ] {
                check_loss(gpu(), &of(Sequences::shifted(length, shift)), &batch, Gradient::To);
            }
            // A prompt, and weights, of tokens and of positions.
            for unit in [SequenceUnit::Tokens, SequenceUnit::Positions] {
                let prompt = Sequences { from: 2, to: 5, unit, ..Sequences::shifted(6, 1) };
                check_loss(gpu(), &of(prompt), &batch, Gradient::To);
            }
        }
    }
}

#[test]
fn prompts_and_responses() {
    for kind in [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 2 }] {
        let batch = noise("prompts", 4, 40, 9).with_targets(kind, 5);
        for (from, to) in [(0, 10), (3, 10), (0, 4), (3, 4), (4, 4), (7, 3), (3, usize::MAX), (usize::MAX, 4)]
        {
            check_loss(gpu(), &of(Sequences { from, to, ..Sequences::new(10) }), &batch, Gradient::To);
        }
    }
}

/// Next-token targets, moved by hand.
#[test]
fn a_shift_moves_targets() {
    let batch = noise("next token", 6, 24, 11);
    let mut moved = batch.clone();
    for row in 0..24 {
        moved.targets[row] = if row % 8 == 7 { -100 } else { batch.targets[row + 1] };
    }
    let shifted = run(&of(Sequences::shifted(8, 1)), &batch);
    let by_hand = run(ops(), &moved);
    assert!(shifted == by_hand, "bits differ");
}

/// A mask leaves rows out as an ignored target does, bit for bit; their logits and targets may be anything.
#[test]
fn a_mask_of_rows() {
    let mut batch = noise("masked", 7, 30, 13);
    batch.targets.iter_mut().for_each(|target| *target = (*target).max(0));
    let mask: Vec<bool> = (0..30).map(|row| row % 3 != 1).collect();
    let mut ignored = batch.clone();
    for row in (0..30).filter(|&row| !mask[row]) {
        ignored.targets[row] = -100;
        batch.logits[13 * row] = f32::NAN;
        batch.targets[row] = 99;
    }
    batch.given.row_mask = Some(mask);
    assert!(run(ops(), &batch) == run(ops(), &ignored), "bits differ");
    check_loss(gpu(), ops(), &batch, Gradient::InPlace);
}

#[test]
fn refusals() {
    let options = |sequences| CrossEntropyOptions { sequences: Some(sequences), ..Default::default() };
    let error = ops().loss.with_options(&options(Sequences::new(0))).err();
    assert!(matches!(error, Some(Error::InvalidOption { option: "sequences: length", .. })), "{error:?}");
    let batch = noise("soft", 8, 4, 3).with_targets(TargetKind::Soft, 9);
    let error =
        of(Sequences::shifted(4, 1)).loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().err();
    assert!(matches!(error, Some(Error::InvalidOption { option: "sequences: shift", .. })), "{error:?}");
    let error = of(Sequences::new(4)).loss.stream(batch.shape, TargetKind::Classes).err();
    assert!(matches!(error, Some(Error::InvalidOption { option: "sequences: length", .. })), "{error:?}");
    // The row that the target stands in is told.
    let batch = Batch::dense("outside", 3, vec![0.0; 12], vec![9, 1, 2, 7]);
    let error =
        of(Sequences::shifted(4, 1)).loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().err();
    assert_eq!(error, Some(Error::TargetOutOfRange { row: 3, target: 7, cols: 3 }));
}
