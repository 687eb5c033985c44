//! The loss of an entmax against its reference: losses, gradients, special rows, and what its rows may have.

use xent::bounds::{entmax_bounds, entmax_loss_bound};
use xent::half::{bf16, f16};
use xent::{
    CrossEntropyInputs, Element, EntmaxLoss, EntmaxLossBuffers, EntmaxLossOptions, EntmaxOptions, Error,
    Flags, MaskedRow, Reduction, Sequences, Shape, TargetKind, Targets, Tuning, reference,
};

use crate::class_losses::{ExpectedLoss, OfRows, Outputs, classes};
use crate::entmax::INF;
use crate::harness::{Region, gpu, in_pass, is_mine};
use crate::typed::{Expected, To, check, narrowed, noise, region};

fn of(alpha: f32) -> EntmaxLossOptions {
    EntmaxLossOptions { alpha, ..Default::default() }
}

fn expected_losses<E: Element>(
    logits: &[E],
    inputs: CrossEntropyInputs<'_>,
    shape: Shape,
    options: &EntmaxLossOptions,
) -> Expected {
    let losses = reference::entmax_loss::row_losses(logits, inputs, shape, options).expect("losses");
    vec![losses.iter().map(|&loss| (loss, 4.0 * entmax_loss_bound(loss / 4.0))).collect()]
}

fn expected_dlogits<E: Element>(
    logits: &[E],
    inputs: CrossEntropyInputs<'_>,
    shape: Shape,
    options: &EntmaxLossOptions,
) -> Expected {
    let batch = inputs.check(shape, &Default::default()).expect("inputs");
    let entmax = EntmaxOptions { alpha: options.alpha, masked_row: options.masked_row };
    let scale = match options.reduction {
        Reduction::Mean => 4.0 / batch.weight.max(1.0),
        _ => 4.0,
    };
    let of_row = |row| {
        let values: Vec<E> = shape.row(logits, row).copied().collect();
        let dlogits = reference::entmax_loss::row_dlogits_at(logits, inputs, shape, options, &batch, row);
        let bounds = entmax_bounds(&values, &entmax);
        dlogits.into_iter().zip(bounds).map(|(dx, bound)| (dx, scale * (bound + 1e-6))).collect()
    };
    (0..shape.rows).map(of_row).collect()
}

/// Bound, with everything that a row may have.
fn check_bound<E: Element>(shape: Shape, options: &EntmaxLossOptions, lanes: Option<u32>, to: To) {
    let gpu = gpu();
    let context = format!("{options:?}, {shape:?}, {lanes:?}, {to:?}");
    let logits: Vec<E> = narrowed(&noise(1, shape.len(), 1.0));
    let classes = classes(shape.rows, shape.cols);
    let of_rows = OfRows::new(shape.rows);
    let inputs = CrossEntropyInputs::new(Targets::Classes(&classes)).rows(of_rows.inputs());
    let mut op = EntmaxLoss::<E>::new(gpu, options).expect("an operation");
    if let Some(lanes) = lanes {
        op = op.with_tuning(Tuning::fixed(lanes, 1)).expect("a tuning");
    }
    let (to_logits, to_classes) = (region(gpu, 264, &logits), Region::of_i32(gpu, &classes));
    let outputs = Outputs::new::<E>(shape, to);
    let buffers = EntmaxLossBuffers {
        rows: of_rows.buffers(),
        outputs: outputs.buffers(),
        ..EntmaxLossBuffers::new(to_logits.binding(), to_classes.binding())
    };
    let bound = op.bind(shape, &buffers).expect("bound");
    in_pass(gpu, |pass| bound.encode(pass));
    let expected = ExpectedLoss {
        row_losses: expected_losses(&logits, inputs, shape, options),
        value: reference::entmax_loss::loss(&logits, inputs, shape, options).expect("a loss"),
        dlogits: expected_dlogits(&logits, inputs, shape, options),
    };
    outputs.check::<E>(&context, &to_logits, &expected);
}

#[test]
fn bound_to_buffers() {
    let sum = EntmaxLossOptions { reduction: Reduction::Sum, ..of(2.0) };
    let over = EntmaxLossOptions { reduction: Reduction::MeanOver(8.0), ..of(1.25) };
    check_bound::<f32>(Shape::new(30, 33), &of(1.5), None, To::Element);
    check_bound::<f32>(Shape::new(9, 1000), &sum, Some(8), To::InPlace);
    if is_mine(0) {
        check_bound::<f32>(Shape::nchw(3, 21, 4), &over, None, To::Element);
        check_bound::<f16>(Shape::new(9, 300), &of(1.5), None, To::Element);
    }
    if is_mine(1) {
        check_bound::<bf16>(Shape::new(9, 301), &of(2.0), None, To::F32);
    }
}

type Fill = fn(&mut [f32], usize);

/// What a row is, with its target at a column.
const CASES: &[(&str, Fill)] = &[
    ("noise", |_, _| {}),
    ("a NaN", |x, at| x[at] = f32::NAN),
    ("a +∞", |x, at| x[at] = INF),
    ("the target at −∞", |x, at| x[at] = -INF),
    ("others at −∞", |x, at| {
        let own = x[at];
        x.fill(-INF);
        x[at] = own;
    }),
    ("all −∞", |x, _| x.fill(-INF)),
    ("certain", |x, at| x[at] = 40.0),
    ("equal", |x, _| x.fill(2.0)),
    ("the target at −3.4e38", |x, at| x[at] = f32::MIN),
    ("±3.4e38", |x, at| {
        x.fill(f32::MAX);
        x[at] = f32::MIN;
    }),
    ("shifted by 1e6", |x, _| x.iter_mut().for_each(|x| *x += 1e6)),
];

/// By host slices, which say in the flags what a row has. Two adapters share the α of each row length.
#[test]
fn special_rows() {
    let alphas = [(1.5, MaskedRow::Nan), (2.0, MaskedRow::Zero), (1.0625, MaskedRow::Nan)];
    for (i, cols) in [1, 5, 64, 1001].into_iter().enumerate() {
        for (_, (alpha, masked_row)) in alphas.into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
            let options = EntmaxLossOptions { masked_row, reduction: Reduction::Sum, ..of(alpha) };
            let (mut logits, mut classes, mut labels) = (vec![], vec![], vec![]);
            for (case, &(label, fill)) in CASES.iter().enumerate() {
                for at in [0, cols / 2, cols - 1] {
                    let mut x = noise((case + at) as u64, cols, 1.5);
                    fill(&mut x, at);
                    logits.extend(x);
                    classes.push(at as i32);
                    labels.push(format!("{label} at {at}"));
                }
            }
            let shape = Shape::new(labels.len(), cols);
            let inputs = CrossEntropyInputs::new(Targets::Classes(&classes));
            let mut op = EntmaxLoss::<f32>::new(gpu(), &options).expect("an operation");
            if i % 2 == 1 {
                op = op.with_tuning(Tuning::fixed(8, 1)).expect("a tuning");
            }
            let context = format!("{options:?}, {cols}");
            let results = op.row_results(&logits, inputs, shape).wait().expect("results");
            let losses: Vec<f32> = results.iter().map(|result| result.loss).collect();
            let mut expected = expected_losses(&logits, inputs, shape, &options);
            // Beyond f32, a loss is +∞.
            expected[0]
                .iter_mut()
                .filter(|(loss, _)| *loss > f32::MAX.into())
                .for_each(|pair| pair.0 = INF.into());
            check(&context, &[], Shape::new(1, shape.rows), &losses, &expected, true);
            for (label, result) in labels.iter().zip(&results) {
                let flags = result.flags();
                assert_eq!(
                    flags.contains(Flags::NAN_LOGIT),
                    label.starts_with("a NaN"),
                    "{context}: {label}"
                );
                assert_eq!(
                    flags.contains(Flags::INFINITE_LOGIT),
                    label.starts_with("a +∞"),
                    "{context}: {label}"
                );
                assert_eq!(flags.contains(Flags::INFINITE_LOSS), result.loss == INF, "{context}: {label}");
            }
            let (_, dlogits) = op.loss_and_dlogits(&logits, inputs, shape).wait().expect("a gradient");
            let expected = expected_dlogits(&logits, inputs, shape, &options);
            check(&context, &labels, shape, &dlogits, &expected, true);
        }
    }
}

/// Rows of a vocabulary: noise, ties of every other class near the maximum, and ties of all.
#[test]
fn vocabularies_with_ties() {
    let cols = 50_257;
    let alpha = if is_mine(0) { 1.5 } else { 2.0 };
    let options = EntmaxLossOptions { reduction: Reduction::Sum, ..of(alpha) };
    let mut logits = noise(5, 3 * cols, 1.5);
    let ties = logits[cols..2 * cols].iter_mut().enumerate();
    ties.for_each(|(col, x)| *x = [1.0, 0.875][col % 2]);
    logits[2 * cols..].fill(2.0);
    let (classes, shape) = ([77, 1, 50_256], Shape::new(3, cols));
    let inputs = CrossEntropyInputs::new(Targets::Classes(&classes));
    let op = EntmaxLoss::<f32>::new(gpu(), &options).expect("an operation");
    let losses = op.row_losses(&logits, inputs, shape).wait().expect("losses");
    let expected = expected_losses(&logits, inputs, shape, &options);
    check("a vocabulary's losses", &[], Shape::new(1, 3), &losses, &expected, true);
    let (_, dlogits) = op.loss_and_dlogits(&logits, inputs, shape).wait().expect("a gradient");
    let labels = ["noise", "ties", "equal"].map(String::from);
    let expected = expected_dlogits(&logits, inputs, shape, &options);
    check("a vocabulary's gradient", &labels, shape, &dlogits, &expected, true);
}

#[test]
fn worked_answers_windows_and_misuse() {
    let op = EntmaxLoss::<f32>::new(gpu(), &EntmaxLossOptions::sparsemax()).expect("an operation");
    let (row, shape) = ([1.0, 0.5, -1.0], Shape::new(3, 3));
    let logits = [row; 3].concat();
    for (alpha, expected) in [(2.0, [0.0625, 0.5625, 2.0625]), (1.5, [0.184371379, 0.684371379, 2.184371379])]
    {
        let op = op.with_options(&of(alpha)).expect("other options");
        let losses = op.row_losses(&logits, &[0, 1, 2], shape).wait().expect("losses");
        for (loss, expected) in losses.iter().zip(expected) {
            assert!((f64::from(*loss) - expected).abs() < 1e-6, "{alpha}: {losses:?}");
        }
        let verified = op.verify(&logits, &[0, 1, 2], shape, 3).wait().expect("verified");
        assert!(verified.passed && verified.rows_checked == 3, "{verified:?}");
        let verified = op.verify_dlogits(&logits, &[0, 1, 2], shape, 3).wait().expect("verified");
        assert!(verified.passed && verified.rows_checked == 3, "{verified:?}");
    }

    let (shape, classes) = (Shape::new(40, 50), classes(40, 50));
    let logits = noise(9, shape.len(), 1.0);
    let whole = op.loss(&logits, &classes, shape).wait().expect("a loss");
    let mut stream = op.stream(shape, TargetKind::Classes).expect("a stream");
    for rows in [0..15, 15..40] {
        let values = &logits[rows.start * 50..rows.end * 50];
        stream.push(values, rows.len(), &classes[rows]).wait().expect("pushed");
    }
    assert_eq!(stream.loss().value, whole.value);

    // The target of a position is the next token.
    let sequences = Some(Sequences::shifted(8, 1));
    let shifted = op.with_options(&EntmaxLossOptions { sequences, ..of(2.0) }).expect("other options");
    let losses = shifted.row_losses(&logits, &classes, shape).wait().expect("losses");
    let options = shifted.options();
    let expected = expected_losses(&logits, CrossEntropyInputs::from(&classes), shape, options);
    check("shifted", &[], Shape::new(1, 40), &losses, &expected, true);
    assert!(losses.chunks(8).all(|sequence| sequence[7] == 0.0));

    let out = op.loss(&logits, &[50; 40], shape).wait().err();
    assert_eq!(out, Some(Error::TargetOutOfRange { row: 0, target: 50, cols: 50 }));
    let soft = op.loss(&logits, Targets::Soft(&logits), shape).wait().err();
    let kinds = Error::TargetKind { given: TargetKind::Soft, made_for: TargetKind::Classes };
    assert_eq!(soft, Some(kinds.clone()));
    assert_eq!(op.stream(shape, TargetKind::Soft).err(), Some(kinds));
    let weighted = CrossEntropyInputs::from(&classes).class_weights(&[1.0; 50]);
    let error = op.loss(&logits, weighted, shape).wait().err();
    assert!(matches!(error, Some(Error::InvalidOption { option: "class_weights", .. })), "{error:?}");
}
