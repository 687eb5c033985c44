//! What leaves f32, or would on its way: sums of far logits, products of a large and a small factor, a z-loss beyond f32,
//! targets below zero at −∞. The finite answer where there is one, else ±∞ with its flag; the gradient stays finite.

use std::sync::OnceLock;

use xent::half::{bf16, f16};
use xent::{CrossEntropyOptions, Element, Flags, Input, MaskedRow, Reduction, Targets, Tuning};

use crate::batch::{Batch, Ops, Sparse, ops};
use crate::compare::check_loss;
use crate::harness::{gpu, is_mine, tunings};
use crate::outputs::Gradient;
use crate::special_options::PLAIN;

const INF: f32 = f32::INFINITY;
const SUM: CrossEntropyOptions = CrossEntropyOptions { reduction: Reduction::Sum, ..PLAIN };

/// A row for each slice.
fn rows(name: &str, rows: &[&[f32]], targets: &[i32]) -> Batch {
    Batch::dense(name, rows[0].len(), rows.concat(), targets.to_vec())
}

fn soft(batch: &Batch, soft: &[f32]) -> Batch {
    let mut batch = batch.clone();
    batch.given.soft = Some(soft.to_vec());
    batch
}

fn sparse(batch: &Batch, indices: &[i32], probs: &[f32]) -> Batch {
    let entries = indices.len() / batch.shape.rows;
    let mut batch = batch.clone();
    batch.given.sparse = Some(Sparse { indices: indices.to_vec(), probs: probs.to_vec(), entries });
    batch
}

/// With the plan's lanes and with rows that are split; in 16 bits with classes: the other kinds of target differ from them
/// behind the widening. Where two adapters share the work, one splits rows and the other takes 16 bits. The pipelines are
/// made once for all tests.
fn check_all(options: CrossEntropyOptions, batch: &Batch) {
    static BF16: OnceLock<Ops<bf16>> = OnceLock::new();
    let base = ops().with(options);
    check_loss(gpu(), &base, batch, Gradient::To);
    if is_mine(0) {
        check_loss(gpu(), &base.tuned(Some(Tuning::fixed(8, 1).split(64, 40))), batch, Gradient::To);
    }
    if batch.given.soft.is_some() || batch.given.sparse.is_some() || !is_mine(1) {
        return;
    }
    let half = BF16.get_or_init(|| Ops::new(gpu(), SUM)).with(options);
    let gradient = if batch.shape.cols.is_multiple_of(2) { Gradient::InPlace } else { Gradient::F32 };
    check_loss(gpu(), &half, &batch.cast(), gradient);
}

/// The loss is +∞ and told; the gradient is the true one while f32 holds it, then the target's part alone.
#[test]
fn a_z_loss_beyond_f32() {
    let far: [&[f32]; 5] = [
        &[3e38, 1e38, -3e38, 3e38],
        &[-3e38, -3e38, -3.2e38, -3e38],
        &[3e38, -INF, 1.0, 2.0],
        &[1e20, 1e20, 1e20, 0.0],
        &[1.0, 2.0, 3.0, -INF],
    ];
    for (temperature, z_loss) in
        [(0.1, 1e-4), (0.1, 1.0), (1e-3, 1e-4), (1e-30, 1e-4), (1.0, 2.0), (10.0, 1e-30)]
    {
        let options = CrossEntropyOptions { temperature, z_loss, ..SUM };
        check_all(options, &rows("z-loss", &far, &[0, 1, 0, 1, 2]));
        let reduction = Reduction::Mean;
        let options = CrossEntropyOptions { temperature, z_loss, reduction, label_smoothing: 0.1, ..SUM };
        check_all(options, &rows("z-loss", &far[..2], &[0, 1]));
    }
    let ops = ops().with(CrossEntropyOptions { temperature: 0.1, z_loss: 1e-4, ..SUM });
    let batch = rows("told", &[&[3e38, 3e38]], &[0]);
    let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    assert_eq!((loss.value, loss.z_loss), (f64::INFINITY, f64::INFINITY));
    assert_eq!(loss.flags, Flags::INFINITE_LOSS);
}

/// A row of nothing but −∞ that gives zeros has no z-loss, though its lse is −∞ too.
#[test]
fn a_masked_row_has_no_z_loss() {
    let options = CrossEntropyOptions { z_loss: 1.0, masked_row: MaskedRow::Zero, temperature: 0.1, ..SUM };
    check_all(options, &rows("masked", &[&[-INF, -INF], &[1.0, 2.0]], &[0, 1]));
}

#[test]
fn smoothing_over_far_logits() {
    let far = rows("far", &[&[2.2e38, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], &[0]);
    let smoothed = ops().with(CrossEntropyOptions { label_smoothing: 1.0, ..SUM });
    let loss = smoothed.loss.loss(&far.logits, far.inputs(), far.shape).wait().unwrap();
    assert!((loss.value / 1.925e38 - 1.0).abs() < 1e-5 && loss.flags.is_empty(), "{loss:?}");

    let many: Vec<f32> = (0..4096).map(|col| if col == 7 { 3.4e38 } else { -3.4e38 }).collect();
    let near: Vec<f32> = (0..4096).map(|col| (col % 13) as f32 * 1e-3).collect();
    let many = rows("many", &[&many, &near], &[7, 0]);
    for (_, tuning) in tunings().enumerate().filter(|&(i, _)| is_mine(i)) {
        check_loss(gpu(), &smoothed.tuned(tuning), &many, Gradient::To);
    }
    for (temperature, label_smoothing) in
        [(1.0, 0.3), (3.0, 0.9), (100.0, 1.0), (1e20, 0.5), (1e30, 1.0), (1e-5, 0.1), (1e-20, 0.1)]
    {
        let options = CrossEntropyOptions { temperature, label_smoothing, ..SUM };
        check_all(options, &far);
        check_loss(gpu(), &ops().with(options), &many, Gradient::To);
        let mut weighty = far.clone();
        weighty.given.class_weights = Some(vec![10.0; 8]);
        check_all(options, &weighty);
        if temperature < 1e-10 {
            continue;
        }
        weighty.given.class_weights = Some(vec![1e-25; 8]);
        check_all(CrossEntropyOptions { reduction: Reduction::Mean, ..options }, &weighty);
    }
}

/// Distances, weights and 1/T that only together are within f32.
#[test]
fn products_of_a_large_and_a_small_factor() {
    let far = rows("far", &[&[3.4e38, -3.4e38], &[-1e20, 1e20], &[1.0, 1.5]], &[1, 0, 1]);
    for (temperature, class_weight, row_weight) in [
        (100.0, 10.0, 1.0),
        (1e10, 1e9, 1.0),
        (0.01, 1.0, 1e-3),
        (1e-3, 1e-10, 1.0),
        (1.0, 1e20, 1e-21),
        (100.0, 1e-20, 1e20),
    ] {
        let mut batch = far.clone();
        batch.given.class_weights = Some(vec![class_weight; 2]);
        batch.given.row_weights = Some(vec![row_weight; 3]);
        for focal_gamma in [0.0, 2.0] {
            if focal_gamma > 0.0 && (temperature < 1.0 || class_weight > 10.0) {
                continue;
            }
            check_all(CrossEntropyOptions { temperature, focal_gamma, ..SUM }, &batch);
        }
        let probs = [0.25, 0.5, 0.125, 0.5, 0.75, 0.25];
        if class_weight <= 1e9 {
            let options = CrossEntropyOptions { temperature, label_smoothing: 0.25, ..SUM };
            check_all(options, &batch);
            check_all(CrossEntropyOptions { temperature, ..SUM }, &soft(&batch, &probs));
        }
        check_all(CrossEntropyOptions { temperature, ..SUM }, &sparse(&batch, &[0, 1, 1, 0, 1, 1], &probs));
    }
    // λ·lse², where lse² alone is beyond f32.
    let options = CrossEntropyOptions { z_loss: 1e-10, ..SUM };
    check_all(options, &rows("lse", &[&[1e22, 1e22], &[-2e23, -2e23]], &[0, 1]));
}

/// A target below zero at a logit of −∞ makes −∞, one of each sign NaN; the gradient is finite.
#[test]
fn targets_below_zero_at_neg_infinity() {
    let row: &[f32] = &[1.0, -INF, 0.5, -INF];
    for (name, targets) in [
        ("below zero", [0.5, -0.5, 0.0, 0.0]),
        ("above zero", [0.5, 0.5, -0.25, 0.0]),
        ("both below", [0.5, -0.5, 0.0, -0.25]),
        ("of each sign", [0.5, -0.5, 0.0, 0.5]),
        ("none", [0.5, 0.0, -0.5, -0.0]),
    ] {
        let batch = rows(name, &[row, row], &[0, 0]);
        let twice = [targets, targets].concat();
        for label_smoothing in [0.0, 0.1] {
            let options = CrossEntropyOptions { label_smoothing, ..SUM };
            check_all(options, &soft(&batch, &twice));
            check_all(options, &sparse(&batch, &[0, 1, 2, 3, 0, 1, 2, 3], &twice));
        }
        let logs = rows(name, &[&[-1.0, -INF, -0.5, -INF]], &[0]);
        let options = CrossEntropyOptions { input: Input::LogProbs, ..SUM };
        check_all(options, &soft(&logs, &targets));
    }
    let ops = ops().with(SUM);
    let loss = |targets: &[f32]| {
        let shape = xent::Shape::new(1, 4);
        let loss = ops.loss.loss(row, Targets::Soft(targets), shape).wait().unwrap();
        (loss.value, loss.flags)
    };
    assert_eq!(loss(&[1.0, -1.0, 0.0, 0.0]), (f64::NEG_INFINITY, Flags::INFINITE_LOSS));
    let (value, flags) = loss(&[1.0, -1.0, 0.0, 1.0]);
    assert!(value.is_nan() && flags == Flags::NAN_LOSS, "{flags:?}");
}

/// Rows of +∞ and rows of −∞ have no sum.
#[test]
fn rows_of_both_infinities() {
    let row: &[f32] = &[1.0, -INF];
    for (first, second) in [(0.5, -0.5), (-0.5, -0.5), (0.5, 0.5)] {
        let batch = soft(&rows("both", &[row, row], &[0, 0]), &[0.5, first, 0.5, second]);
        check_all(SUM, &batch);
        check_all(CrossEntropyOptions { reduction: Reduction::Mean, z_loss: 0.1, ..SUM }, &batch);
    }
}

/// Targets at the end of f32 make a loss beyond it, of their own sign.
#[test]
fn targets_at_the_ends_of_f32() {
    let batch = rows("ends", &[&[2.0, 1.0, 0.5], &[0.1, 3.0, 0.2]], &[0, 1]);
    for (target, infinite) in [(3e38, f64::INFINITY), (-3e38, f64::NEG_INFINITY)] {
        let ops = ops().with(CrossEntropyOptions { reduction: Reduction::Mean, ..SUM });
        let found = ops.loss.loss(&batch.logits, Targets::Soft(&[target; 6]), batch.shape).wait().unwrap();
        assert_eq!((found.value, found.flags), (infinite, Flags::INFINITE_LOSS));
    }
    for target in [1e38, -1e38] {
        check_all(CrossEntropyOptions { reduction: Reduction::Mean, ..SUM }, &soft(&batch, &[target; 6]));
        check_all(SUM, &sparse(&batch, &[0, 1, 2, 2, 1, 0], &[target; 6]));
    }
}

/// Under loss scaling an exponential that an adapter flushes is far above the least f32.
#[test]
fn gradients_under_loss_scaling_are_verified() {
    fn of_type<E: Element>() {
        let cols = 64;
        let logits: Vec<E> = (0..16 * cols)
            .map(|at| E::from_f32(if at % cols == 0 { 0.0 } else { -80.0 - (at % 31) as f32 * 0.75 }))
            .collect();
        let classes: Vec<i32> = (0..16).map(|row| row % 3).collect();
        let shape = xent::Shape::new(16, cols);
        let base = Ops::<E>::new(gpu(), SUM);
        for options in [
            SUM,
            CrossEntropyOptions { reduction: Reduction::Mean, ..SUM },
            CrossEntropyOptions { z_loss: 1e-2, label_smoothing: 0.1, ..SUM },
            CrossEntropyOptions { focal_gamma: 2.0, ..SUM },
        ] {
            let ops = base.with(options);
            for upstream in [1.0, 65_536.0, 65_519.0, 16_777_216.0, -1e20] {
                let inputs = xent::CrossEntropyInputs::new(Targets::Classes(&classes)).upstream(upstream);
                let check = ops.loss.verify_dlogits(&logits, inputs, shape, 16).wait().unwrap();
                assert!(check.passed, "{}, upstream {upstream}, {options:?}: {check:?}", E::NAME);
            }
        }
    }
    of_type::<f32>();
    of_type::<f16>();
    of_type::<bf16>();
}
