//! InfoNCE against its f64 twin. The kernels are those of cross-entropy, whose tests take every shape and tuning.

use half::{bf16, f16};
use xent::bounds::{loss_bound, prob_bound};
use xent::{
    CrossEntropyOptions, Element, Error, Flags, InfoNce, InfoNceBuffers, InfoNceGradients, InfoNceLoss,
    InfoNceOptions, InfoNceRecord, OutputBuffer, Reduction, Shape, SoftmaxOptions, Tuning, Verification,
    reference, wgpu,
};

use crate::harness::{Region, gpu, in_pass, is_mine};

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

/// The bound form is made of this: two cross-entropies of a mean over 2·N.
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

type Special = (&'static str, &'static [f32], Flags);
const SPECIAL: [Special; 7] = [
    ("one pair", &[-7.0], Flags::empty()),
    ("one pair of −∞", &[-INF], Flags::MASKED_ROW),
    ("no negative", &[1.0, -INF, 0.0, 2.0], Flags::empty()),
    ("−∞ on the diagonal", &[-INF, 0.0, 0.0, 0.0], Flags::INFINITE_LOSS),
    ("a row of −∞", &[-INF, -INF, 0.0, 0.0], Flags::MASKED_ROW),
    ("a NaN", &[0.0, f32::NAN, 0.0, 0.0], Flags::NAN_LOGIT),
    ("a +∞", &[0.0, INF, 0.0, 0.0], Flags::INFINITE_LOGIT),
];

fn same(found: f64, expected: f64) -> bool {
    (found.is_nan() && expected.is_nan()) || found == expected || (found - expected).abs() < 1e-6
}

#[test]
fn special_values() {
    let op = InfoNce::<f32>::new(gpu(), &InfoNceOptions { temperature: 1.0 }).expect("an operation");
    for (name, similarities, flags) in SPECIAL {
        let pairs = similarities.len().isqrt();
        let shape = Shape::new(pairs, pairs);
        let expected = reference::info_nce::gradients(similarities, shape, op.options()).expect("gradients");
        let loss = reference::info_nce::loss(similarities, shape, op.options()).expect("a loss");
        let (found, gradients) = op.loss_and_gradients(similarities, shape).wait().expect("gradients");
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

/// The outputs of a bound operation.
struct Outputs<E> {
    record: InfoNceRecord,
    row_losses: Vec<f32>,
    column_losses: Vec<f32>,
    dsimilarities: Vec<E>,
    dlog_scale: f32,
}

/// Where the gradient of a bound operation goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Own,
    F32,
    InPlace,
}

/// Runs the operation in buffers of its own, with similarities from an odd place, and twice in one pass.
fn bound<E: Element, D: Element>(op: &InfoNce<E>, similarities: &[E], to: To, upstream: f32) -> Outputs<D> {
    let (pairs, gpu) = (similarities.len().isqrt(), gpu());
    let offset = if to == To::InPlace { 12 } else { 5 * size_of::<E>() as u64 };
    let given = Region::new(gpu, offset, similarities);
    let gradient = Region::new(gpu, 20, &vec![D::from_f32(77.0); pairs * pairs]);
    let [row_losses, column_losses] = [(); 2].map(|()| Region::unwritten(gpu, pairs));
    let (loss, dlog_scale) = (Region::unwritten(gpu, 4), Region::unwritten(gpu, 1));
    let upstream = Region::new(gpu, 256, &[upstream]);
    let bound = op
        .bind(
            Shape::new(pairs, pairs),
            &InfoNceBuffers {
                upstream: Some(upstream.binding()),
                loss: Some(loss.binding()),
                row_losses: Some(row_losses.binding()),
                column_losses: Some(column_losses.binding()),
                dsimilarities: Some(match to {
                    To::Own => OutputBuffer::To(gradient.binding()),
                    To::F32 => OutputBuffer::F32(gradient.binding()),
                    To::InPlace => OutputBuffer::InPlace,
                }),
                dlog_scale: Some(dlog_scale.binding()),
                ..InfoNceBuffers::new(given.binding())
            },
        )
        .expect("a bound operation");
    // Two cross-entropies with gradients in f32, then a read of both, and of the similarities, and a write.
    let (read, written) = (size_of::<E>(), size_of::<D>());
    let of_pair = 2 * (2 * read + 4) + read + 8 + written;
    assert_eq!(bound.bytes(), (pairs * pairs * of_pair) as u64);
    in_pass(gpu, |pass| {
        bound.encode(pass);
        if to != To::InPlace {
            bound.encode(pass);
        }
    });
    Outputs {
        record: bytemuck::pod_read_unaligned(bytemuck::cast_slice(&loss.read(gpu))),
        row_losses: row_losses.read_as(gpu),
        column_losses: column_losses.read_as(gpu),
        dsimilarities: if to == To::InPlace { given.read_as(gpu) } else { gradient.read_as(gpu) },
        dlog_scale: dlog_scale.read_as::<f32>(gpu)[0],
    }
}

/// Compares the outputs of a bound operation with the reference.
fn check_bound<E: Element, D: Element>(op: &InfoNce<E>, pairs: usize, to: To, unit: [f64; 2]) {
    let (similarities, shape, options) = (similarities::<E>(pairs), Shape::new(pairs, pairs), op.options());
    let context = format!("{pairs} pairs of {}, {to:?}, {options:?}", E::NAME);
    let losses = reference::info_nce::row_and_column_losses(&similarities, shape, options).expect("losses");
    let expected = reference::info_nce::gradients(&similarities, shape, options).expect("gradients");
    let upstream = 4.0;
    let found = bound::<E, D>(op, &similarities, to, upstream as f32);

    let mut verification = Verification::new();
    let mean = 0.5 * (losses[0] + losses[1]);
    verification.compare(0, found.record.value.into(), mean, loss_bound(losses[0].max(losses[1])));
    for (found, expected) in [(found.record.rows, losses[0]), (found.record.columns, losses[1])] {
        verification.compare(0, found.into(), expected, loss_bound(expected));
    }
    assert_eq!(found.record.flags(), Flags::empty(), "{context}");
    for (lines, expected) in [(&found.row_losses, losses[0]), (&found.column_losses, losses[1])] {
        let sum: f64 = lines.iter().copied().map(f64::from).sum();
        verification.compare(0, sum / pairs as f64, expected, loss_bound(expected));
    }
    let of = |unit| bounds(&similarities, pairs, options.temperature, &expected.dsimilarities, unit);
    for (at, (ds, bound)) in found.dsimilarities.iter().zip(of(unit)).enumerate() {
        let expected = upstream * expected.dsimilarities[at];
        verification.compare(at / pairs, ds.to_f64(), expected, upstream * bound);
    }
    // The terms are rounded, and their sum.
    let terms = of([1e-6, 1e-37]).into_iter().zip(&similarities).map(|(bound, s)| bound * s.to_f64().abs());
    let bound = upstream * (terms.sum::<f64>() + 1e-37);
    verification.compare(0, found.dlog_scale.into(), upstream * expected.dlog_scale, bound);
    assert!(verification.passed, "{context}: {verification:?}");
}

#[test]
fn bound_to_buffers() {
    let op = InfoNce::<f32>::new(gpu(), &Default::default()).expect("an operation");
    for pairs in [1, 2, 37, 130] {
        check_bound::<f32, f32>(&op, pairs, To::Own, F32);
    }
    let warm = op.with_options(&InfoNceOptions { temperature: 1.0 }).expect("another temperature");
    check_bound::<f32, f32>(&warm, 37, To::InPlace, F32);
    let tuned = op.with_tuning(Tuning::fixed(4, 2)).expect("a tuning");
    check_bound::<f32, f32>(&tuned, 37, To::Own, F32);
    if is_mine(0) {
        let op = InfoNce::<f16>::new(gpu(), &Default::default()).expect("f16");
        check_bound::<f16, f16>(&op, 38, To::Own, [1e-3, 6e-8]);
        check_bound::<f16, f32>(&op, 37, To::F32, F32);
    } else {
        let op = InfoNce::<bf16>::new(gpu(), &Default::default()).expect("bf16");
        check_bound::<bf16, bf16>(&op, 38, To::InPlace, [8e-3, 1e-37]);
    }
}

/// Special values, similarities whose products are beyond f32, and each output alone.
#[test]
fn bound_special_values_and_parts() {
    let op = InfoNce::<f32>::new(gpu(), &InfoNceOptions { temperature: 1.0 }).expect("an operation");
    for (name, similarities, flags) in SPECIAL {
        let pairs = similarities.len().isqrt();
        let shape = Shape::new(pairs, pairs);
        let expected = reference::info_nce::gradients(similarities, shape, op.options()).expect("gradients");
        let loss = reference::info_nce::loss(similarities, shape, op.options()).expect("a loss");
        let found = bound::<f32, f32>(&op, similarities, To::Own, 1.0);
        assert!(same(found.record.value.into(), loss), "{name}: {:?}, expected {loss}", found.record);
        assert!(
            same(found.dlog_scale.into(), expected.dlog_scale),
            "{name}: {}, {expected:?}",
            found.dlog_scale
        );
        for (&ds, &expected) in found.dsimilarities.iter().zip(&expected.dsimilarities) {
            assert!(same(ds.into(), expected), "{name}: {:?}, {expected}", found.dsimilarities);
        }
        assert!(found.record.flags().contains(flags), "{name}: {:?}", found.record);
        assert!(!flags.is_empty() || found.record.flags().is_empty(), "{name}: {:?}", found.record);
    }
    // The terms are ±1.7e38 and ±1e20 / 2; far ones cancel, near ones are left.
    for (far, expected) in [
        ([1.0f32, 3e38, 3e38, 1.0], 3e38f64),
        ([2e19, 2e19, 2e19, 2e19], 0.0),
        ([2e19, 2e19, 2e19, 2e19 + 4e12], 0.0),
    ] {
        let reference =
            reference::info_nce::gradients(&far, Shape::new(2, 2), op.options()).expect("gradients");
        let found = bound::<f32, f32>(&op, &far, To::Own, 1.0).dlog_scale;
        let error = (f64::from(found) - reference.dlog_scale).abs();
        assert!(error <= 1e-6 * expected.max(2e19), "{far:?}: {found}, expected {}", reference.dlog_scale);
    }
    // Small temperatures, at which products with the gradient are beyond f32: ds is ±2^100 / 2, and dL/ds 2^108.
    let cold = op.with_options(&InfoNceOptions { temperature: 2f32.powi(-100) }).expect("a temperature");
    let near = [2f32.powi(31), 2f32.powi(31) + 256.0, 2f32.powi(31) + 256.0, 2f32.powi(31)];
    let found = bound::<f32, f32>(&cold, &near, To::Own, 1.0).dlog_scale;
    assert!((found / 2f32.powi(108) - 1.0).abs() < 1e-5, "{found:e}");

    // Each output alone.
    let (similarities, shape) = ([0.9f32, 0.1, 0.2, 0.8], Shape::new(2, 2));
    let all = bound::<f32, f32>(&op, &similarities, To::Own, 1.0);
    let given = Region::new(gpu(), 256, &similarities);
    type OutputOf = for<'a> fn(&mut InfoNceBuffers<'a>, wgpu::BufferBinding<'a>);
    let cases: [(OutputOf, Vec<u32>); 5] = [
        (|to, output| to.loss = Some(output), bytemuck::cast_slice(&[all.record]).to_vec()),
        (|to, output| to.row_losses = Some(output), bytemuck::cast_slice(&all.row_losses).to_vec()),
        (|to, output| to.column_losses = Some(output), bytemuck::cast_slice(&all.column_losses).to_vec()),
        (
            |to, output| to.dsimilarities = Some(OutputBuffer::To(output)),
            bytemuck::cast_slice(&all.dsimilarities).to_vec(),
        ),
        (|to, output| to.dlog_scale = Some(output), vec![all.dlog_scale.to_bits()]),
    ];
    for (set, expected) in cases {
        let output = Region::unwritten(gpu(), expected.len());
        let mut to = InfoNceBuffers::new(given.binding());
        set(&mut to, output.binding());
        let bound = op.bind(shape, &to).expect("a bound operation");
        in_pass(gpu(), |pass| bound.encode(pass));
        assert_eq!(output.read(gpu()), expected);
    }
}

#[test]
fn what_cannot_be_bound() {
    let op = InfoNce::<f16>::new(gpu(), &Default::default()).expect("an operation");
    let (given, other) = (Region::unwritten(gpu(), 5), Region::unwritten(gpu(), 5));
    let plain = || InfoNceBuffers::new(given.binding());
    let error =
        |rows, cols, to: InfoNceBuffers<'_>| op.bind(Shape::new(rows, cols), &to).expect_err("an error");
    assert!(matches!(error(3, 3, plain()), Error::NoOutput { .. }));
    let to = InfoNceBuffers { dlog_scale: Some(other.binding()), ..plain() };
    assert_eq!(error(2, 3, to.clone()), Error::NotSquare { rows: 2, cols: 3, row_stride: 3 });
    let small = error(20, 20, to);
    assert!(matches!(small, Error::BufferTooSmall { what: "similarities", needed: 800, .. }), "{small}");
    let to = InfoNceBuffers { dsimilarities: Some(OutputBuffer::To(other.binding())), ..plain() };
    assert_eq!(error(3, 3, to), Error::OddStride { what: "dsimilarities", row_stride: 3, needed: 4 });
    let to = InfoNceBuffers { loss: Some(given.binding()), ..plain() };
    assert_eq!(error(3, 3, to), Error::BufferAlias { first: "similarities", second: "loss" });
    let to = InfoNceBuffers { loss: Some(other.binding()), ..plain() };
    let bound = op.bind(Shape::new(3, 3), &to).expect("a bound operation");
    in_pass(gpu(), |pass| {
        let fewer = bound.encode_rows(pass, 2);
        assert_eq!(fewer, Err(Error::NotSquare { rows: 2, cols: 3, row_stride: 3 }));
    });
}
