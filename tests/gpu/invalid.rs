//! What only buffers can hold: targets and weights that are none. The row is marked, all others are right.

use xent::{CrossEntropyOptions, Flags, MaskedRow, Reduction, TargetKind};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::{Expected, Row};
use crate::harness::gpu;
use crate::outputs::{Gradient, Outputs, run_loss};

const BAD_WEIGHTS: [f32; 4] = [f32::NAN, f32::INFINITY, -1.0, f32::NEG_INFINITY];
const GRADIENTS: [Gradient; 2] = [Gradient::To, Gradient::InPlace];

fn run(ops: &Ops, batch: &Batch, gradient: Gradient) -> Outputs {
    let outputs = run_loss(gpu(), ops, batch, (4, 8), gradient);
    check(batch, &Expected::of(batch, &ops.options), &outputs, ops);
    outputs
}

#[test]
fn row_weights() {
    for weight in BAD_WEIGHTS {
        for reduction in [Reduction::Mean, Reduction::Sum] {
            let ops = ops().with(CrossEntropyOptions { reduction, ..Default::default() });
            let mut batch = noise("row weights", 1, 9, 7).with_weights(2);
            let weights = batch.given.row_weights.as_mut().unwrap();
            (weights[0], weights[4]) = (weight, weight);
            batch.targets[0] = 3;
            batch.targets[4] = -100;
            for gradient in GRADIENTS {
                let record = run(&ops, &batch, gradient).loss.unwrap();
                assert!(
                    record.value.is_nan() && record.flags().contains(Flags::INVALID_WEIGHT),
                    "{record:?}"
                );
                assert_eq!(record.first_bad_row(), None, "of targets only");
            }
        }
    }
}

/// Of class targets only those rows are bad whose own class has no weight.
#[test]
fn class_weights() {
    for weight in BAD_WEIGHTS {
        let mut batch = noise("class weights", 2, 9, 7);
        batch.targets = vec![0, 3, 1, 2, 3, -100, 4, 6, 5];
        batch.given.class_weights = Some(vec![1.0, 2.0, 0.5, weight, 0.0, 1.0, 3.0]);
        let expected = Expected::of(&batch, &ops().options);
        let bad = expected.rows.iter().filter(|row| matches!(row, Row::Bad(Flags::INVALID_WEIGHT))).count();
        assert_eq!(bad, 2);
        for gradient in GRADIENTS {
            run(ops(), &batch, gradient);
        }
    }
}

/// Label smoothing and soft targets use every class: all rows are NaN, and have no gradient.
#[test]
fn class_weights_that_every_row_uses() {
    for (label_smoothing, kind) in [
        (0.1, TargetKind::Classes),
        (0.0, TargetKind::Soft),
        (0.2, TargetKind::Soft),
        (0.1, TargetKind::Sparse { entries: 2 }),
    ] {
        let ops = Ops::new(gpu(), CrossEntropyOptions { label_smoothing, ..Default::default() });
        for weight in BAD_WEIGHTS {
            for cols in [3, 8, 131] {
                let mut batch = noise("used by all", 3, 5, cols).with_targets(kind, 4);
                let mut weights = vec![1.0; cols];
                weights[cols - 1] = weight;
                batch.given.class_weights = Some(weights);
                batch.targets = vec![0, 1, -100, 1, 0];
                let losses = run(&ops, &batch, Gradient::To).row_losses.unwrap();
                let nans = losses.iter().filter(|&&loss| f32::from_bits(loss).is_nan()).count();
                assert!(nans >= 4, "{nans} NaN losses");
            }
        }
    }
}

/// Of sparse targets only the rows that name the class.
#[test]
fn class_weights_of_sparse_targets() {
    for weight in BAD_WEIGHTS {
        let ops = ops().with(CrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() });
        let kind = TargetKind::Sparse { entries: 2 };
        let mut batch = noise("sparse weights", 5, 4, 9).with_targets(kind, 6);
        let sparse = batch.given.sparse.as_mut().unwrap();
        sparse.indices = vec![0, 3, 5, 1, -100, 5, 8, 8];
        sparse.probs = vec![0.5, 0.25, 0.5, 0.5, f32::NAN, 1.0, 0.5, 0.0];
        let mut weights = vec![1.0; 9];
        weights[5] = weight;
        batch.given.class_weights = Some(weights);
        let losses = run(&ops, &batch, Gradient::To).row_losses.unwrap();
        let nan = losses.iter().map(|&loss| f32::from_bits(loss).is_nan()).collect::<Vec<_>>();
        assert_eq!(nan, [false, true, true, false], "weight {weight}");
    }
}

/// A probability that is no number makes its row NaN, gradient and all.
#[test]
fn soft_targets() {
    for masked_row in [MaskedRow::Nan, MaskedRow::Zero] {
        let ops = ops().with(CrossEntropyOptions { masked_row, ..Default::default() });
        for prob in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (kind, entries) in [(TargetKind::Soft, 13), (TargetKind::Sparse { entries: 3 }, 3)] {
                let mut batch = noise("soft", 7, 6, 13).with_targets(kind, 8);
                let given = &mut batch.given;
                let probs = match (&mut given.soft, &mut given.sparse) {
                    (Some(soft), _) => soft,
                    (_, Some(sparse)) => {
                        sparse.indices[3 * 2 + 1] = 4;
                        &mut sparse.probs
                    }
                    _ => unreachable!(),
                };
                probs[entries * 2 + 1] = prob;
                // A masked row is no excuse.
                batch.logits[13 * 3..13 * 4].fill(f32::NEG_INFINITY);
                for gradient in GRADIENTS {
                    let outputs = run(&ops, &batch, gradient);
                    assert!(outputs.loss.unwrap().flags().contains(Flags::INVALID_TARGET));
                    let of_row = &outputs.dlogits.unwrap()[13 * 2..13 * 3];
                    assert!(of_row.iter().all(|&bits| f32::from_bits(bits).is_nan()), "{kind:?}: {prob}");
                }
            }
        }
    }
}

/// Sparse indices out of range, and entries that are ignored among them.
#[test]
fn sparse_indices() {
    for index in [9, -1, i32::MAX, i32::MIN] {
        let kind = TargetKind::Sparse { entries: 3 };
        let mut batch = noise("indices", 9, 5, 9).with_targets(kind, 10);
        let sparse = batch.given.sparse.as_mut().unwrap();
        sparse.indices[..6].copy_from_slice(&[1, 2, 8, 0, index, -100]);
        sparse.probs.iter_mut().for_each(|prob| *prob = if prob.is_nan() { 0.0 } else { *prob });
        let record = run(ops(), &batch, Gradient::To).loss.unwrap();
        assert_eq!(record.first_bad_row(), Some(1), "{index}");
    }
}

/// A NaN row beside an invalid weight, and an invalid target of a row that is masked: never a number.
#[test]
fn two_things_at_once() {
    let mut batch = noise("both", 11, 4, 5);
    batch.targets = vec![1, 9, 2, 3];
    batch.logits[0] = f32::NAN;
    batch.logits[5..10].fill(f32::NAN);
    batch.given.row_weights = Some(vec![f32::NAN, -2.0, 1.0, 1.0]);
    let record = run(ops(), &batch, Gradient::To).loss.unwrap();
    assert!(record.flags().contains(Flags::INVALID_WEIGHT | Flags::TARGET_OUT_OF_RANGE), "{record:?}");
}
