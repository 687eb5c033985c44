//! Answers worked by hand in the course texts.

use xent::{Shape, Targets};

use crate::batch::{Batch, ops};
use crate::compare::check_both;
use crate::harness::{gpu, tunings};

/// `actual` rounds to `expected`, which has so many digits behind the point.
#[track_caller]
fn assert_rounds(name: &str, actual: &[f32], expected: &[f64], digits: i32) {
    let bound = 0.5 * 10f64.powi(-digits) + 1e-6;
    let right = actual.iter().zip(expected).all(|(&a, e)| (f64::from(a) - e).abs() <= bound);
    assert!(actual.len() == expected.len() && right, "{name}: {actual:?}, expected {expected:?} ± {bound:e}");
}

#[test]
fn probabilities() {
    let cases: &[(&[f32], &[f64], i32)] = &[
        (&[3.0, 1.0, 0.2], &[0.8360, 0.1131, 0.0508], 4),
        (&[2.0, 1.0, 0.5, -1.0], &[0.609, 0.224, 0.136, 0.030], 3),
        (&[1000.0, 999.0, 998.0], &[0.6652, 0.2447, 0.0900], 4),
        (&[4.5, -1.2, 0.8], &[0.9727, 0.0033, 0.0240], 4),
        (&[11.0, 10.0], &[0.7311, 0.2689], 4),
        (&[1.0, 0.0], &[0.7311, 0.2689], 4),
    ];
    for tuning in tunings() {
        let ops = ops().tuned(tuning);
        for &(logits, expected, digits) in cases {
            let probs = ops.softmax.softmax(logits, Shape::new(1, logits.len())).wait().unwrap();
            assert_rounds(&format!("softmax of {logits:?}, {tuning:?}"), &probs, expected, digits);
        }
        let loss = ops.loss.loss(&[2.0, 1.0, 0.5, -1.0], Targets::Classes(&[0]), Shape::new(1, 4)).wait();
        assert_rounds("loss of class 0", &[loss.unwrap().value as f32], &[0.4952], 4);
    }
}

#[test]
fn a_batch_of_four_by_three() {
    let logits = vec![2.0f32, 1.0, 0.5, 0.1, 3.0, 0.2, 0.5, 0.5, 4.0, 1.0, 1.5, 1.2];
    let batch = Batch::dense("4×3", 3, logits, vec![0, 1, 2, 1]);
    for tuning in tunings() {
        let ops = ops().tuned(tuning);
        let loss = ops.loss.loss(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
        assert_rounds("mean", &[loss.value as f32], &[0.3715], 4);
        let rows = ops.loss.row_losses(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
        assert_rounds("rows", &rows, &[0.4644, 0.1096, 0.0586, 0.8533], 4);
        check_both(gpu(), &ops, &batch);
    }
}

#[test]
fn verification_passes_on_the_device() {
    let (shape, targets) = (Shape::new(9, 33), [0i32, 1, 2, 3, 4, 5, 6, 7, 32]);
    let logits: Vec<f32> = (0..shape.len()).map(|i| ((i * 7919) % 101) as f32 * 0.1 - 5.0).collect();
    let targets = Targets::Classes(&targets);
    for (rows, checked) in [(0, 0), (1, 1), (4, 4), (9, 9), (100, 9)] {
        for verification in [
            ops().softmax.verify(&logits, shape, rows).wait().unwrap(),
            ops().loss.verify(&logits, targets, shape, rows).wait().unwrap(),
            ops().loss.verify_dlogits(&logits, targets, shape, rows).wait().unwrap(),
        ] {
            assert!(verification.passed && verification.rows_checked == checked, "{verification:?}");
        }
    }
}
