//! The edge cases of the contract again, with options on: 50 kinds of rows at five places of rows of many lengths, for
//! each option that has its own way with what is special.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xent::{CrossEntropyOptions, Input, MaskedRow, Reduction, RowFields, TargetKind, Tuning};

use crate::batch::{Batch, Ops, Sparse};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{gpu, is_mine};
use crate::outputs::{Gradient, run_host_loss, run_loss};
use crate::special::{CASES, batch};

/// About every edge of a quad, of a vector of lanes, of a step and of a workgroup.
const COLS: [usize; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 257, 1025];

/// No option on: for constants, to which `default` is not open.
pub const PLAIN: CrossEntropyOptions = CrossEntropyOptions {
    ignore_index: -100,
    reduction: Reduction::Mean,
    masked_row: MaskedRow::Nan,
    empty_batch: xent::EmptyBatch::Nan,
    input: Input::Logits,
    label_smoothing: 0.0,
    temperature: 1.0,
    softcap: None,
    z_loss: 0.0,
    focal_gamma: 0.0,
    shard: None,
    sequences: None,
    row_fields: RowFields::LOSS.union(RowFields::FLAGS).union(RowFields::LSE).union(RowFields::ARGMAX),
};

/// Targets of another kind that keep what the case is about: the class it names has mass, its neighbour has none.
fn with_mass(batch: &Batch, kind: TargetKind) -> Batch {
    let mut rng = StdRng::seed_from_u64(batch.shape.cols as u64);
    let (cols, mut batch) = (batch.shape.cols, batch.clone());
    let rows = batch.targets.iter();
    match kind {
        TargetKind::Classes => {}
        TargetKind::Soft => {
            let of_row = |&target: &i32| {
                let mut row: Vec<f32> = (0..cols)
                    .map(|col| if col % 3 == 0 { 0.0 } else { rng.random_range(0.0..0.2) })
                    .collect();
                if let Ok(target) = usize::try_from(target) {
                    row[target] = 0.7;
                    row[(target + 1) % cols] = if cols == 1 { 0.7 } else { 0.0 };
                }
                row
            };
            batch.given.soft = Some(rows.flat_map(of_row).collect());
        }
        TargetKind::Sparse { entries } => {
            let of_row = |&target: &i32| {
                let mut row = vec![-100; entries];
                // A row whose class is ignored has no entry.
                if target >= 0 {
                    row[entries - 1] = target;
                    row[0] = (target + 2) % cols as i32;
                }
                row
            };
            let indices: Vec<i32> = rows.flat_map(of_row).collect();
            let probs = indices.iter().map(|_| rng.random_range(0.1..1.0)).collect();
            batch.given.sparse = Some(Sparse { indices, probs, entries });
        }
    }
    batch
}

/// Class weights, those of the first, of every fifth and of the last class 0: also where such a class is −∞.
fn with_zero_weights(mut batch: Batch) -> Batch {
    let cols = batch.shape.cols;
    let weight =
        |col: usize| if col.is_multiple_of(5) || col + 1 == cols { 0.0 } else { 0.5 + (col % 3) as f32 };
    batch.given.class_weights = Some((0..cols).map(weight).collect());
    batch
}

fn check_with(options: CrossEntropyOptions, kind: TargetKind, weighs: bool, lanes: u32) {
    let ops = Ops::new(gpu(), options).tuned(Some(Tuning::fixed(lanes, 1)));
    // Two adapters share the row lengths.
    for (_, cols) in COLS.into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
        let mut cases = with_mass(&batch("cases", CASES, cols), kind);
        if options.input == Input::LogProbs {
            // Not shifted and not positive, but for what is special.
            cases.logits.iter_mut().filter(|x| x.is_finite()).for_each(|x| *x = -x.abs());
        }
        if weighs {
            cases = with_zero_weights(cases);
        }
        if weighs || options.label_smoothing > 0.0 || kind != TargetKind::Classes {
            // A weighted sum of losses may be within f32 where its terms are not.
            let within = |x: &mut f32| *x = x.clamp(-1e34, 1e34);
            cases.logits.iter_mut().filter(|x| x.is_finite()).for_each(within);
        }
        let expected = Expected::of(&cases, &ops.options);
        let offset = 256 + 4 * (cols as u64 % 4);
        check(&cases, &expected, &run_loss(gpu(), &ops, &cases, (offset, 260), Gradient::To), &ops);
        check(&cases, &expected, &run_host_loss(&ops, &cases), &ops);
    }
}

const SPARSE: TargetKind = TargetKind::Sparse { entries: 3 };

#[test]
fn label_smoothing() {
    check_with(CrossEntropyOptions { label_smoothing: 0.1, ..PLAIN }, TargetKind::Classes, false, 8);
}

#[test]
fn all_of_it_smoothed() {
    check_with(CrossEntropyOptions { label_smoothing: 1.0, ..PLAIN }, TargetKind::Classes, false, 4);
}

#[test]
fn label_smoothing_and_class_weights_of_zero() {
    let masked_row = MaskedRow::Zero;
    let options = CrossEntropyOptions { label_smoothing: 0.3, masked_row, ..PLAIN };
    check_with(options, TargetKind::Classes, true, 16);
}

#[test]
fn class_weights_of_zero() {
    check_with(PLAIN, TargetKind::Classes, true, 8);
}

#[test]
fn softcap() {
    check_with(CrossEntropyOptions { softcap: Some(30.0), ..PLAIN }, TargetKind::Classes, false, 32);
}

#[test]
fn softcap_and_label_smoothing() {
    let options = CrossEntropyOptions { softcap: Some(5.0), label_smoothing: 0.2, ..PLAIN };
    check_with(options, TargetKind::Classes, true, 8);
}

#[test]
fn z_loss() {
    let options = CrossEntropyOptions { z_loss: 1e-4, masked_row: MaskedRow::Zero, ..PLAIN };
    check_with(options, TargetKind::Classes, false, 8);
}

#[test]
fn temperature() {
    check_with(CrossEntropyOptions { temperature: 2.0, ..PLAIN }, TargetKind::Classes, false, 1);
}

#[test]
fn focal_loss() {
    let options = CrossEntropyOptions { focal_gamma: 2.0, ..PLAIN };
    check_with(options, TargetKind::Classes, false, 8);
    check_with(options, TargetKind::Classes, true, 8);
}

#[test]
fn soft_targets() {
    check_with(PLAIN, TargetKind::Soft, false, 8);
}

#[test]
fn soft_targets_smoothed_and_weighted() {
    let options = CrossEntropyOptions { label_smoothing: 0.1, masked_row: MaskedRow::Zero, ..PLAIN };
    check_with(options, TargetKind::Soft, true, 64);
}

#[test]
fn sparse_targets() {
    check_with(PLAIN, SPARSE, true, 8);
}

#[test]
fn sparse_targets_smoothed() {
    let options = CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-3, ..PLAIN };
    check_with(options, SPARSE, false, 2);
}

#[test]
fn log_probabilities() {
    let options = CrossEntropyOptions { input: Input::LogProbs, ..PLAIN };
    check_with(options, TargetKind::Classes, false, 8);
    check_with(CrossEntropyOptions { label_smoothing: 0.1, ..options }, TargetKind::Classes, true, 4);
    check_with(options, TargetKind::Soft, false, 8);
    check_with(options, SPARSE, true, 8);
}
