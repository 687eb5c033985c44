//! InfoNCE against its f64 twin. The kernels are those of cross-entropy, whose tests take every shape and tuning.

use half::{bf16, f16};
use xent::bounds::{loss_bound, prob_bound};
use xent::{
    CrossEntropyOptions, Element, Error, Flags, InfoNce, InfoNceGradients, InfoNceLoss, InfoNceOptions,
    Reduction, Shape, SoftmaxOptions, Verification, reference,
};

use crate::harness::{gpu, is_mine};

const INF: f32 = f32::INFINITY;

/// Similarities like cosines, with pairs that are more alike than others.
fn similarities<E: Element>(pairs: usize) -> Vec<E> {
    let of = |at: usize| {
        let alike = if at.is_multiple_of(pairs + 1) { 0.4 } else { 0.0 };
        E::from_f32(((at * 7919 + 13) % 101) as f32 * 0.01 - 0.5 + alike)
    };
    (0..pairs * pairs).map(of).collect()
}

/// The error bounds of the gradient: those of the rows' and of the columns' cross-entropy, and the rounding of their sum.
/// `unit` is the relative rounding of the gradient's type, `least` what may be lost of its smallest numbers.
fn bounds<E: Element>(
    similarities: &[E],
    pairs: usize,
    temperature: f32,
    expected: &[f64],
    [unit, least]: [f64; 2],
) -> Vec<f64> {
    let options = SoftmaxOptions { temperature, ..Default::default() };
    let probs = |shape| reference::softmax(similarities, shape, &options).expect("probabilities");
    let (of_rows, of_columns) = (probs(Shape::new(pairs, pairs)), probs(Shape::nchw(1, pairs, pairs)));
    let scale = 0.5 / (pairs as f64 * f64::from(temperature));
    let bound = |at: usize| {
        let of_target = if at.is_multiple_of(pairs + 1) { 2e-6 } else { 0.0 };
        let of_terms = of_target + prob_bound(of_rows[at]) + prob_bound(of_columns[at]);
        scale * of_terms + unit * expected[at].abs() + least
    };
    (0..expected.len()).map(bound).collect()
}

/// Compares losses and gradients with the reference.
fn check<E: Element>(op: &InfoNce<E>, pairs: usize, unit: [f64; 2]) {
    let (similarities, shape, options) = (similarities::<E>(pairs), Shape::new(pairs, pairs), op.options());
    let context = format!("{} pairs of {}, {options:?}", pairs, E::NAME);
    let losses = reference::info_nce::row_and_column_losses(&similarities, shape, options).expect("losses");
    let expected = reference::info_nce::gradients(&similarities, shape, options).expect("gradients");

    let (loss, found) = op.loss_and_gradients(&similarities, shape).wait().expect("gradients");
    let mut verification = Verification::new();
    verification.compare(0, loss.rows.value, losses[0], loss_bound(losses[0]));
    verification.compare(0, loss.columns.value, losses[1], loss_bound(losses[1]));
    assert_eq!(loss.value, 0.5 * (loss.rows.value + loss.columns.value), "{context}");
    assert_eq!(loss.flags(), Flags::empty(), "{context}");
    let alone = op.loss(&similarities, shape).wait().expect("a loss");
    verification.compare(0, alone.value, 0.5 * (losses[0] + losses[1]), loss_bound(losses[0].max(losses[1])));

    let of = |unit| bounds(&similarities, pairs, options.temperature, &expected.dsimilarities, unit);
    assert_eq!(found.dsimilarities.len(), pairs * pairs, "{context}");
    let rounded = of(unit);
    for (at, ds) in found.dsimilarities.iter().enumerate() {
        verification.compare(at / pairs, ds.to_f64(), expected.dsimilarities[at], rounded[at]);
    }
    // The gradient of s is made of that in f32.
    let errors = of([6e-8, 1e-37]).into_iter().zip(&similarities).map(|(bound, s)| bound * s.to_f64().abs());
    verification.compare(0, found.dlog_scale, expected.dlog_scale, errors.sum::<f64>() + 1e-37);
    assert!(verification.passed, "{context}: {verification:?}");
}

const F32: [f64; 2] = [6e-8, 1e-37];

#[test]
fn sizes_and_types() {
    let op = InfoNce::<f32>::new(gpu(), &Default::default()).expect("an operation");
    for temperature in [0.07, 1.0] {
        let op = op.with_options(&InfoNceOptions { temperature }).expect("another temperature");
        for pairs in [1, 2, 37] {
            check(&op, pairs, F32);
        }
    }
    // One unit in the last place.
    if is_mine(0) {
        check(&InfoNce::<f16>::new(gpu(), &Default::default()).expect("f16"), 37, [1e-3, 6e-8]);
    }
    if is_mine(1) {
        check(&InfoNce::<bf16>::new(gpu(), &Default::default()).expect("bf16"), 37, [8e-3, 1e-37]);
    }
}

#[test]
fn worked_answers_waited_for_and_awaited() {
    let (similarities, shape) = ([0.9f32, 0.1, 0.2, 0.8], Shape::new(2, 2));
    let op = InfoNce::<f32>::new(gpu(), &InfoNceOptions::of_log_scale(0.0)).expect("an operation");
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}, {expected}");
    let check = |(loss, gradients): &(InfoNceLoss, InfoNceGradients<f32>)| {
        near(loss.rows.value, 0.404294308);
        near(loss.columns.value, 0.403186049);
        near(loss.value, 0.403740179);
        near(gradients.dlog_scale, -0.231290938);
    };
    let waited_for = op.loss_and_gradients(&similarities, shape).wait().expect("gradients");
    check(&waited_for);
    let awaited = pollster::block_on(op.loss_and_gradients(&similarities, shape).into_future());
    assert_eq!(awaited.expect("gradients"), waited_for);
    // The slope by which s moves the loss.
    let loss_at = |s: f32| {
        let op = op.with_options(&InfoNceOptions::of_log_scale(s)).expect("another scale");
        op.loss(&similarities, shape).wait().expect("a loss").value
    };
    let slope = (loss_at(0.25) - loss_at(-0.25)) / 0.5;
    assert!((slope - waited_for.1.dlog_scale).abs() < 2e-3, "{slope}");
}

/// What the docs say of buffers: two cross-entropies of a mean over 2·N.
#[test]
fn the_sum_of_two_cross_entropies() {
    let (pairs, shape) = (5, Shape::new(5, 5));
    let (similarities, targets) = (similarities::<f32>(pairs), [0, 1, 2, 3, 4]);
    let nce = InfoNceOptions::default();
    let reduction = Reduction::MeanOver(2.0 * pairs as f32);
    let options = CrossEntropyOptions { temperature: nce.temperature, reduction, ..Default::default() };
    let (mut loss, mut dlogits) = (0.0, vec![0.0; pairs * pairs]);
    for way in [shape, Shape::nchw(1, pairs, pairs)] {
        loss += reference::cross_entropy::loss(&similarities, &targets, way, &options).expect("a loss");
        let of_way = reference::cross_entropy::dlogits(&similarities, &targets, way, &options);
        dlogits.iter_mut().zip(of_way.expect("a gradient")).for_each(|(sum, dx)| *sum += dx);
    }
    let expected = reference::info_nce::loss(&similarities, shape, &nce).expect("a loss");
    assert!((loss - expected).abs() < 1e-12, "{loss}, {expected}");
    let expected = reference::info_nce::gradients(&similarities, shape, &nce).expect("gradients");
    for (sum, ds) in dlogits.iter().zip(&expected.dsimilarities) {
        assert!((sum - ds).abs() < 1e-12, "{dlogits:?}, {expected:?}");
    }
}

#[test]
fn special_values() {
    let op = InfoNce::<f32>::new(gpu(), &InfoNceOptions { temperature: 1.0 }).expect("an operation");
    for (name, similarities, flags) in [
        ("one pair", vec![-7.0], Flags::empty()),
        ("one pair of −∞", vec![-INF], Flags::MASKED_ROW),
        ("no negative", vec![1.0, -INF, 0.0, 2.0], Flags::empty()),
        ("−∞ on the diagonal", vec![-INF, 0.0, 0.0, 0.0], Flags::INFINITE_LOSS),
        ("a row of −∞", vec![-INF, -INF, 0.0, 0.0], Flags::MASKED_ROW),
        ("a NaN", vec![0.0, f32::NAN, 0.0, 0.0], Flags::NAN_LOGIT),
        ("a +∞", vec![0.0, INF, 0.0, 0.0], Flags::INFINITE_LOGIT),
    ] {
        let pairs = similarities.len().isqrt();
        let shape = Shape::new(pairs, pairs);
        let same = |found: f64, expected: f64| {
            (found.is_nan() && expected.is_nan()) || found == expected || (found - expected).abs() < 1e-6
        };
        let expected = reference::info_nce::gradients(&similarities, shape, op.options()).expect("gradients");
        let loss = reference::info_nce::loss(&similarities, shape, op.options()).expect("a loss");
        let (found, gradients) = op.loss_and_gradients(&similarities, shape).wait().expect("gradients");
        assert!(same(found.value, loss), "{name}: {found:?}, expected {loss}");
        assert!(same(gradients.dlog_scale, expected.dlog_scale), "{name}: {gradients:?}, {expected:?}");
        for (&ds, &expected) in gradients.dsimilarities.iter().zip(&expected.dsimilarities) {
            assert!(same(ds.into(), expected), "{name}: {gradients:?}, {expected}");
        }
        assert!(found.flags().contains(flags), "{name}: {:?}", found.flags());
        assert!(!flags.is_empty() || found.flags().is_empty(), "{name}: {:?}", found.flags());
    }
    // Losses of 6.8e38 are beyond f32; the gradient is not.
    let far = [f32::MIN, f32::MAX, 0.0, f32::MIN];
    let (loss, gradients) = op.loss_and_gradients(&far, Shape::new(2, 2)).wait().expect("gradients");
    assert!(loss.value == f64::INFINITY && loss.flags().contains(Flags::INFINITE_LOSS), "{loss:?}");
    assert_eq!(gradients.dsimilarities, [-0.5, 0.5, 0.5, -0.5]);
}

#[test]
fn what_is_not_square_is_refused() {
    let op = InfoNce::<f32>::new(gpu(), &Default::default()).expect("an operation");
    let error = |shape: Shape| op.loss(&[0.0; 6], shape).wait().expect_err("an error");
    assert_eq!(error(Shape::new(2, 3)), Error::NotSquare { rows: 2, cols: 3, row_stride: 3 });
    let of_gradients = op.loss_and_gradients(&[0.0; 6], Shape::new(2, 3)).wait().expect_err("an error");
    assert_eq!(of_gradients, error(Shape::new(2, 3)));
    assert_eq!(error(Shape::new(3, 3)), Error::Length { what: "similarities", found: 6, needed: 9 });
    let none = InfoNceOptions { temperature: 0.0 };
    assert!(matches!(op.with_options(&none), Err(Error::InvalidOption { option: "temperature", .. })));
    assert!(matches!(InfoNce::<f32>::new(gpu(), &none), Err(Error::InvalidOption { .. })));
}
