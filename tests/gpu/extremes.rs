//! Where numbers leave f32: weights, upstream gradients and probabilities at its ends, and rows of one class.

use xent::half::f16;
use xent::{
    CrossEntropy, CrossEntropyInputs, CrossEntropyOptions, EmptyBatch, Error, Flags, Reduction, Shape,
    Targets, reference,
};

use crate::harness::gpu;

const LOGITS: [f32; 6] = [2.0, 1.0, 0.5, 0.1, 3.0, 0.2];
const CLASSES: Targets<'_> = Targets::Classes(&[0, 1]);

fn op(options: CrossEntropyOptions) -> CrossEntropy<f32> {
    CrossEntropy::new(gpu(), &options).expect("options")
}

#[test]
fn weights_whose_sum_is_no_normal_f32_are_refused() {
    let (op, shape) = (op(Default::default()), Shape::new(2, 3));
    let heavy = CrossEntropyInputs::new(CLASSES).row_weights(&[3e38; 2]);
    let light = CrossEntropyInputs::new(CLASSES).row_weights(&[1e-30; 2]).class_weights(&[1e-30; 3]);
    for inputs in [heavy, light] {
        let refused = op.loss_and_dlogits(&LOGITS, inputs, shape).wait();
        assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
    }
}

#[test]
fn a_sum_of_heavy_classes_is_finite() {
    let op = op(CrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() });
    let inputs = CrossEntropyInputs::new(CLASSES).class_weights(&[3e38; 3]);
    let (loss, _) = op.loss_and_dlogits(&LOGITS, inputs, Shape::new(2, 3)).wait().expect("loss");
    let expected = reference::cross_entropy::loss(&LOGITS, inputs, Shape::new(2, 3), op.options()).unwrap();
    assert!((loss.value / expected - 1.0).abs() < 1e-5, "{} expected {expected}", loss.value);
}

#[test]
fn probabilities_beyond_f32_make_an_infinite_loss() {
    let op = op(Default::default());
    let loss = op.loss(&LOGITS, Targets::Soft(&[3e38; 6]), Shape::new(2, 3)).wait().expect("loss");
    assert_eq!((loss.value, loss.flags), (f64::INFINITY, Flags::INFINITE_LOSS));
}

#[test]
fn one_class_has_no_gradient() {
    let shape = Shape::new(4, 1);
    let logits = [-7.0, 0.3, 1e6, 88.0];
    let (indices, probs) = ([0; 8], [0.3, 0.4, 0.1, 0.7, 1.0, 0.0, 0.6, 0.3]);
    for temperature in [0.01, 1.0, 7.3] {
        let options = CrossEntropyOptions { temperature, reduction: Reduction::Sum, ..Default::default() };
        for targets in [
            Targets::Classes(&[0; 4]),
            Targets::Soft(&[0.3, 0.7, 1.0, 0.1]),
            Targets::Sparse { indices: &indices, probs: &probs, entries: 2 },
        ] {
            let inputs = CrossEntropyInputs::new(targets).class_weights(&[0.7]).row_weights(&[0.3; 4]);
            let (loss, dlogits) = op(options).loss_and_dlogits(&logits, inputs, shape).wait().expect("loss");
            assert_eq!((loss.value, dlogits), (0.0, vec![0.0; 4]), "{targets:?}, T = {temperature}");
        }
    }
}

#[test]
fn a_nan_row_makes_the_z_loss_nan() {
    let op = op(CrossEntropyOptions { z_loss: 0.1, ..Default::default() });
    let logits = [f32::NAN, 1.0, 2.0, 1.0, 2.0, 3.0];
    let loss = op.loss(&logits, CLASSES, Shape::new(2, 3)).wait().expect("loss");
    assert!(loss.value.is_nan() && loss.z_loss.is_nan(), "{loss:?}");
    // The target's logit at −∞ leaves lse, and with it the z-loss, as it is.
    let logits = [f32::NEG_INFINITY, 1.0, 2.0, 1.0, 2.0, 3.0];
    let loss = op.loss(&logits, CLASSES, Shape::new(2, 3)).wait().expect("loss");
    let expected =
        reference::cross_entropy::z_loss(&logits, CLASSES, Shape::new(2, 3), op.options()).unwrap();
    assert!(loss.value == f64::INFINITY && (loss.z_loss - expected).abs() < 1e-5, "{loss:?}");
}

#[test]
fn weights_that_sum_to_0_are_told() {
    let inputs = CrossEntropyInputs::new(CLASSES).class_weights(&[0.0; 3]);
    for (empty_batch, is_nan) in [(EmptyBatch::Nan, true), (EmptyBatch::Zero, false)] {
        let op = op(CrossEntropyOptions { empty_batch, ..Default::default() });
        let loss = op.loss(&LOGITS, inputs, Shape::new(2, 3)).wait().expect("loss");
        assert_eq!((loss.value.is_nan(), loss.counted, loss.flags), (is_nan, 2, Flags::NO_ROW_COUNTS));
    }
}

#[test]
fn a_16_bit_gradient_beyond_its_range_is_infinite_and_verified() {
    let op = CrossEntropy::<f16>::new(gpu(), &Default::default()).expect("options");
    let logits = [1.0, 2.0].map(f16::from_f32);
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[0])).upstream(1e6);
    let (_, dlogits) = op.loss_and_dlogits(&logits, inputs, Shape::new(1, 2)).wait().expect("gradient");
    assert_eq!(dlogits, [f16::NEG_INFINITY, f16::INFINITY]);
    let check = op.verify_dlogits(&logits, inputs, Shape::new(1, 2), 1).wait().expect("verified");
    assert!(check.passed, "{check:?}");
}

#[test]
fn a_large_cap_is_verified_within_its_rounding() {
    let logits: Vec<f32> = (0..640).map(|i| 900.0 + (i * 37 % 41) as f32 * 0.01).collect();
    let classes: Vec<i32> = (0..64).map(|row| row % 10).collect();
    for (softcap, temperature) in [(1000.0, 1.0), (50.0, 0.1), (30.0, 1.0)] {
        let op = op(CrossEntropyOptions { softcap: Some(softcap), temperature, ..Default::default() });
        let (targets, shape) = (Targets::Classes(&classes), Shape::new(64, 10));
        for check in [
            op.verify(&logits, targets, shape, 64).wait(),
            op.verify_dlogits(&logits, targets, shape, 64).wait(),
        ] {
            let check = check.expect("verified");
            assert!(check.passed, "κ = {softcap}, T = {temperature}: {check:?}");
        }
    }
}
