//! Known traps, each by its name: what other implementations got wrong, and what a kernel like these gets wrong first.

use xent::{
    CrossEntropyInputs, CrossEntropyOptions, EmptyBatch, Error, Flags, Input, MaskedRow, Reduction, Shape,
    TargetKind, Targets, Tuning,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::{check, check_loss};
use crate::expected::Expected;
use crate::harness::{device_with, gpu, is_mine, tunings};
use crate::outputs::{Gradient, run_host_loss, run_loss};

const INF: f32 = f32::INFINITY;
const KINDS: [TargetKind; 3] = [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 4 }];

fn smoothed() -> CrossEntropyOptions {
    CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() }
}

/// `actual` is near `expected`, worked here by hand.
#[track_caller]
fn assert_near(what: &str, actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() <= 2e-6 * expected.abs().max(1.0),
        "{what}: {actual}, expected {expected}"
    );
}

/// A lane without a value must not bring in a capped 0, nor a capped −∞, which is finite.
#[test]
fn softcap_with_tail_lanes() {
    let base = Ops::new(gpu(), CrossEntropyOptions { softcap: Some(30.0), ..Default::default() });
    // Each tuning takes three of the row lengths. Two adapters share the tunings.
    let lengths = [1, 2, 3, 5, 9, 19, 33];
    for (i, tuning) in tunings().enumerate().filter(|&(i, _)| is_mine(i)) {
        let ops = base.tuned(tuning);
        for cols in [0, 1, 3].map(|j| lengths[(i + j) % lengths.len()]) {
            let mut logits = vec![-1e4; 2 * cols];
            logits[cols..].iter_mut().skip(1).for_each(|x| *x = -INF);
            let batch = Batch::dense("all at −κ", cols, logits, vec![0, 0]);
            check_loss(gpu(), &ops, &batch, Gradient::To);
            let losses = ops.loss.row_losses(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
            assert_near("ln cols", f64::from(losses[0]), (cols as f64).ln());
            assert_eq!(losses[1], 0.0, "{cols} cols, {tuning:?}");
        }
    }
}

/// PyTorch's formula written out: the ignored row counts in neither sum, the mean divides by Σ w_y.
#[test]
fn label_smoothing_with_class_weights_and_ignored_rows() {
    let (logits, weights, epsilon) =
        ([0.5f64, -1.0, 2.0, 0.0, 1.5, -0.5, 3.0, 3.0, 3.0], [0.5f64, 2.0, 0.0], 0.2);
    let targets = [1, 0, -100];
    let (mut sum, mut weight) = (0.0, 0.0);
    for (row, &target) in logits.chunks(3).zip(&targets).filter(|(_, target)| **target >= 0) {
        let lse = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let nll = |class: usize| lse - row[class];
        let spread: f64 = (0..3).map(|class| weights[class] * nll(class)).sum();
        sum += (1.0 - epsilon) * weights[target as usize] * nll(target as usize) + epsilon / 3.0 * spread;
        weight += weights[target as usize];
    }
    let options = CrossEntropyOptions { label_smoothing: epsilon as f32, ..Default::default() };
    let mut batch = Batch::dense("by hand", 3, logits.map(|x| x as f32).to_vec(), targets.to_vec());
    batch.given.class_weights = Some(weights.map(|w| w as f32).to_vec());
    let ops = Ops::new(gpu(), options);
    let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    assert_near("sum", loss.sum, sum);
    assert_near("weight", loss.weight, weight);
    assert_near("mean", loss.value, sum / weight);
    check_loss(gpu(), &ops, &batch, Gradient::To);
}

#[test]
fn ignored_rows_that_carry_weight() {
    let mut batch = noise("weighty", 2, 6, 5);
    batch.targets = vec![0, -100, 3, -100, 4, 1];
    batch.given.row_weights = Some(vec![1.0, 1e6, 2.0, 50.0, 0.5, 1.0]);
    let loss = ops().loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    assert_eq!((loss.weight, loss.counted), (4.5, 4));
    check_loss(gpu(), ops(), &batch, Gradient::To);
}

#[test]
fn losses_above_a_hundred() {
    for loss in [88.0f32, 104.0, 500.0, 1e5, 1e30] {
        let batch = Batch::dense("far", 3, vec![0.0, -loss, -2.0 * loss], vec![1]);
        let row = ops().loss.row_losses(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
        assert_near("loss", f64::from(row[0] / loss), 1.0);
        check_loss(gpu(), ops(), &batch, Gradient::To);
    }
}

/// The maximum so far stays −∞ through whole steps and chunks.
#[test]
fn a_first_block_of_nothing_but_neg_infinity() {
    let cols = 9001;
    for options in [CrossEntropyOptions::default(), smoothed()] {
        let base = Ops::new(gpu(), options);
        for lanes in [1, 8, 256] {
            let ops = base.tuned(Some(Tuning::fixed(lanes, 1)));
            for first in [1, 16, 4096, 8192, 9000] {
                let mut batch = noise("late", first as u64, 2, cols);
                for row in 0..2 {
                    batch.logits[row * cols..][..first].fill(-INF);
                }
                batch.targets = vec![9000, 9000];
                check(
                    &batch,
                    &Expected::of(&batch, &options),
                    &run_loss(gpu(), &ops, &batch, (4, 0), Gradient::To),
                    &ops,
                );
            }
        }
    }
}

#[test]
fn offsets_of_up_to_1e8() {
    let temperature = CrossEntropyOptions { temperature: 0.5, ..smoothed() };
    for options in [CrossEntropyOptions::default(), smoothed(), temperature] {
        let ops = Ops::new(gpu(), options);
        for kind in KINDS {
            for offset in [1e4f32, -1e5, 1e6, -1e7, 1e8] {
                let mut batch = noise("offset", 7, 9, 130).with_targets(kind, 8);
                batch.logits.iter_mut().for_each(|x| *x += offset);
                check_loss(gpu(), &ops, &batch, Gradient::To);
            }
        }
    }
}

/// A row of weight 0 is left out, whatever it holds; a class of weight 0 has no part, but a NaN row stays NaN.
#[test]
fn weights_of_zero() {
    let nan = f32::NAN;
    let mut batch = Batch::dense("row weights", 2, vec![nan, nan, 1.0, 2.0, INF, 0.0], vec![0, 1, 9]);
    batch.given.row_weights = Some(vec![0.0, 2.0, -0.0]);
    let expected = Expected::of(&batch, &ops().options);
    check(&batch, &expected, &run_loss(gpu(), ops(), &batch, (0, 0), Gradient::To), ops());
    let loss = ops().loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    assert_eq!((loss.counted, loss.weight, loss.flags), (1, 2.0, Flags::empty()));

    let mut batch = Batch::dense("class weights", 2, vec![3.0, -INF, 1.0, 2.0, nan, 0.0], vec![1, 0, 1]);
    batch.given.class_weights = Some(vec![1.0, 0.0]);
    check_loss(gpu(), ops(), &batch, Gradient::To);
    let losses = ops().loss.row_losses(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    assert!(losses[0] == 0.0 && losses[2].is_nan(), "{losses:?}: 0 · ∞ is 0, 0 · NaN is NaN");
}

#[test]
fn an_ignored_target_outside_the_weights() {
    for ignore_index in [-100, 5, 1000, i32::MAX] {
        let ops = ops().with(CrossEntropyOptions { ignore_index, ..smoothed() });
        let mut batch = noise("outside", 3, 4, 5).with_weights(1);
        batch.targets = vec![ignore_index, 0, ignore_index, 4];
        check_loss(gpu(), &ops, &batch, Gradient::To);
    }
}

#[test]
fn vocabularies_of_every_remainder() {
    let options = CrossEntropyOptions { z_loss: 1e-3, ..smoothed() };
    let ops = Ops::new(gpu(), options);
    for cols in [1, 2, 3, 4, 5, 6, 7, 1021, 1022, 1023, 50_257] {
        for (_, kind) in KINDS.into_iter().enumerate().filter(|&(i, _)| is_mine(i + cols)) {
            let batch = noise("remainders", cols as u64, 5, cols).with_targets(kind, 2).with_weights(3);
            check_loss(gpu(), &ops, &batch, Gradient::To);
        }
    }
}

/// Smoothing meets −∞: an infinite loss where the class has weight, none of it where it has not.
#[test]
fn smoothing_at_neg_infinity() {
    for (epsilon, weight, target, expected) in [
        (0.1, 0.0, 0, f64::NAN),
        (0.1, 1.0, 0, f64::INFINITY),
        (1.0, 1.0, 1, f64::INFINITY),
        (1.0, 0.0, 1, f64::NAN),
        (0.0, 1.0, 0, f64::NAN),
    ] {
        let options =
            CrossEntropyOptions { label_smoothing: epsilon, reduction: Reduction::Sum, ..Default::default() };
        let ops = Ops::new(gpu(), options);
        let mut batch = Batch::dense("masked class", 3, vec![1.0, -INF, 2.0], vec![target]);
        batch.given.class_weights = Some(vec![1.0, weight, 1.0]);
        check_loss(gpu(), &ops, &batch, Gradient::To);
        let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap().value;
        let right = if expected.is_nan() { loss.is_finite() } else { loss == expected };
        assert!(right, "ε {epsilon}, weight {weight}, target {target}: {loss}");
    }
}

/// As Liger-Kernel: the mean of the z-loss knows nothing of class weights.
#[test]
fn the_mean_of_the_z_loss() {
    let (row_weights, class_weights) = ([1.0f32, 3.0], [5.0f32, 0.25]);
    let mut batch = Batch::dense("z-loss", 2, vec![1.0, 2.0, -1.0, 4.0], vec![0, 1]);
    batch.given.row_weights = Some(row_weights.to_vec());
    batch.given.class_weights = Some(class_weights.to_vec());
    let ops = Ops::new(gpu(), CrossEntropyOptions { z_loss: 0.5, ..Default::default() });
    let lse = |a: f64, b: f64| (a.exp() + b.exp()).ln();
    let [a, b] = [lse(1.0, 2.0), lse(-1.0, 4.0)];
    let z_loss = (0.5 * a * a + 3.0 * 0.5 * b * b) / 4.0;
    let data = (5.0 * (a - 1.0) + 3.0 * 0.25 * (b - 4.0)) / (5.0 + 0.75);
    let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    assert_near("z-loss", loss.z_loss, z_loss);
    assert_near("value", loss.value, data + z_loss);
    assert_near("row weight", loss.row_weight, 4.0);
    check_loss(gpu(), &ops, &batch, Gradient::To);
}

#[test]
fn empty_batches() {
    for empty_batch in [EmptyBatch::Nan, EmptyBatch::Zero, EmptyBatch::Error] {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(3.0)] {
            let ops = ops().with(CrossEntropyOptions { empty_batch, reduction, ..Default::default() });
            let of_weight_zero = |weight: f32| {
                let mut batch = noise("weight 0", 2, 3, 4);
                batch.given.class_weights = Some(vec![weight; 4]);
                batch
            };
            for batch in [
                Batch::dense("no row", 4, vec![], vec![]),
                Batch::dense("ignored", 4, vec![f32::NAN; 8], vec![-100; 2]),
                of_weight_zero(0.0),
            ] {
                let expected = Expected::of(&batch, &ops.options);
                check(&batch, &expected, &run_loss(gpu(), &ops, &batch, (0, 0), Gradient::To), &ops);
                if empty_batch == EmptyBatch::Error && reduction == Reduction::Mean {
                    let refused = Err(Error::NoRowCounts { rows: batch.shape.rows });
                    let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait();
                    assert_eq!(loss, refused, "{}", batch.name);
                } else {
                    check(&batch, &expected, &run_host_loss(&ops, &batch), &ops);
                }
            }
            check_loss(gpu(), &ops, &of_weight_zero(0.5), Gradient::To);
        }
    }
}

/// −100 with all its bits, as a framework without signed indices has it.
#[test]
fn u32_targets() {
    let batch = noise("u32", 4, 40, 9);
    let classes: Vec<u32> = batch.targets.iter().map(|&target| target as u32).collect();
    assert!(classes.contains(&(-100i32 as u32)));
    let of = |targets| ops().loss.loss_and_dlogits(&batch.logits, targets, batch.shape).wait().unwrap();
    assert_eq!(of(Targets::ClassesU32(&classes)), of(Targets::Classes(&batch.targets)));
    let error = ops().loss.loss(&[0.0; 3], Targets::ClassesU32(&[u32::MAX]), Shape::new(1, 3)).wait();
    assert_eq!(error, Err(Error::TargetOutOfRange { row: 0, target: 4_294_967_295, cols: 3 }));
}

/// Log-probabilities are taken as given: not normalised, and −∞ is a class that was not possible.
#[test]
fn log_probabilities_are_not_normalised() {
    let ops = ops().with(CrossEntropyOptions { input: Input::LogProbs, ..Default::default() });
    let batch = Batch::dense("nll", 3, vec![-0.5, -7.0, 0.25, -INF, -1.0, -200.0], vec![2, 2]);
    let losses = ops.loss.row_losses(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
    assert_eq!(losses, [-0.25, 200.0]);
    let (_, dlogits) = ops.loss.loss_and_dlogits(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
    assert_eq!(dlogits, [0.0, 0.0, -0.5, 0.0, 0.0, -0.5]);
    check_loss(gpu(), &ops, &batch, Gradient::To);
}

/// A masked row that gives zeros still counts, with its weights.
#[test]
fn masked_rows_of_zero_still_count() {
    let options = CrossEntropyOptions { masked_row: MaskedRow::Zero, z_loss: 0.1, ..smoothed() };
    let ops = Ops::new(gpu(), options);
    for kind in KINDS {
        let mut batch = noise("masked", 5, 8, 6).with_targets(kind, 6).with_weights(7);
        batch.logits[12..24].fill(-INF);
        check_loss(gpu(), &ops, &batch, Gradient::InPlace);
    }
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 1]));
    let loss = ops.loss.loss(&[-INF, -INF, 0.0, 0.0], inputs, Shape::new(2, 2)).wait().unwrap();
    assert_eq!((loss.counted, loss.flags), (2, Flags::MASKED_ROW));
}

/// Other values make nothing anew, other switches what they need.
#[test]
fn values_make_no_pipeline() {
    let options = CrossEntropyOptions { temperature: 2.0, ..smoothed() };
    // Of a context that no other test has.
    let gpu = &device_with(|_| {});
    let base = Ops::new(gpu, options);
    let batch = noise("pipelines", 8, 5, 12);
    check_loss(gpu, &base, &batch, Gradient::To);
    let made = gpu.pipelines();
    assert!(made > 0);
    for (temperature, label_smoothing, ignore_index) in [(0.5, 0.3, -100), (1.0, 1.0, 3), (7.0, 1e-3, 0)] {
        let reduction = Reduction::MeanOver(temperature);
        let options =
            CrossEntropyOptions { temperature, label_smoothing, ignore_index, reduction, ..options };
        check_loss(gpu, &base.with(options), &batch, Gradient::To);
        assert_eq!(gpu.pipelines(), made, "{options:?}");
    }
    check_loss(gpu, &base.with(CrossEntropyOptions { softcap: Some(9.0), ..options }), &batch, Gradient::To);
    assert!(gpu.pipelines() > made, "a switch");
}
