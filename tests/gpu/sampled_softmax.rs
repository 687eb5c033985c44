//! Sampled softmax against its reference: losses, gradients, special rows, and what its rows may have.

use xent::bounds::{sampled_dlogits_bounds, sampled_loss_bound};
use xent::half::{bf16, f16};
use xent::reference::sampled_softmax as reference;
use xent::wgpu::Features;
use xent::{
    Context, Element, Error, Flags, MaskedRow, Negative, NegativeBuffers, NegativeSampler, Negatives,
    NegativesKind, Reduction, SampledSoftmax, SampledSoftmaxBuffers, SampledSoftmaxInputs,
    SampledSoftmaxOptions, Shape, Targets, Tuning,
};

use crate::class_losses::{ExpectedLoss, OfRows, Outputs, classes};
use crate::harness::{Region, device_of_bindings, gpu, in_pass, is_mine, tunings};
use crate::typed::{To, check, narrowed, noise, region, same_bits};

const INF: f32 = f32::INFINITY;
const CLASSES: usize = 50;

/// Logits, classes, their counts, and negatives with many hits.
struct Batch<E> {
    shape: Shape,
    logits: Vec<E>,
    classes: Vec<i32>,
    log_counts: Vec<f32>,
    negatives: Vec<Negative>,
    kind: NegativesKind,
}

impl<E: Element> Batch<E> {
    fn new(shape: Shape, kind: NegativesKind) -> Self {
        let sets = if kind == NegativesKind::Shared { 1 } else { shape.rows };
        let sampler = NegativeSampler::log_uniform(CLASSES).expect("a sampler");
        let drawn = sampler.draw(sets, shape.cols - 1, 5, 0).expect("negatives");
        let classes = classes(shape.rows, CLASSES);
        let log_counts = drawn.log_counts(&classes);
        let logits = narrowed(&noise(1, shape.len(), 1.5));
        Self { shape, logits, classes, log_counts, negatives: drawn.values().to_vec(), kind }
    }

    fn inputs(&self) -> SampledSoftmaxInputs<'_> {
        let negatives = match self.kind {
            NegativesKind::Shared => Negatives::Shared(&self.negatives),
            _ => Negatives::PerRow(&self.negatives),
        };
        SampledSoftmaxInputs::new(Targets::Classes(&self.classes), &self.log_counts, negatives)
    }
}

fn of_temperature(temperature: f32) -> SampledSoftmaxOptions {
    SampledSoftmaxOptions { temperature, ..SampledSoftmaxOptions::new(CLASSES) }
}

fn expected<E: Element>(
    logits: &[E],
    inputs: &SampledSoftmaxInputs<'_>,
    shape: Shape,
    options: &SampledSoftmaxOptions,
) -> ExpectedLoss {
    let losses = reference::row_losses(logits, inputs, shape, options).expect("losses");
    let weight = |row: usize| inputs.rows.row_weights.map_or(1.0, |weights| f64::from(weights[row]));
    let of_loss = |(row, &loss): (usize, &f64)| {
        // Beyond f32, a loss is +∞.
        let told = if loss > f64::from(f32::MAX) { f64::INFINITY } else { loss };
        (told, weight(row) * sampled_loss_bound(logits, inputs, shape, options, row) + 6e-8 * loss.abs())
    };
    let batch = inputs.check(shape, options).expect("inputs");
    let denominator = match options.reduction {
        Reduction::Mean => batch.weight.max(1.0),
        Reduction::MeanOver(denominator) => denominator.into(),
        _ => 1.0,
    };
    let of_row = |row| {
        let dlogits = reference::row_dlogits_at(logits, inputs, shape, options, &batch, row);
        let bounds = sampled_dlogits_bounds(logits, inputs, shape, options, row);
        let scale = weight(row) / denominator;
        dlogits.into_iter().zip(bounds).map(|(dx, bound)| (dx, scale * bound + 2e-7 * dx.abs())).collect()
    };
    ExpectedLoss {
        row_losses: vec![losses.iter().enumerate().map(of_loss).collect()],
        value: reference::loss(logits, inputs, shape, options).expect("a loss"),
        dlogits: (0..shape.rows).map(of_row).collect(),
    }
}

/// Bound, with everything that a row may have.
fn check_bound<E: Element>(
    batch: &Batch<E>,
    options: &SampledSoftmaxOptions,
    tuning: Option<Tuning>,
    to: To,
) {
    let (gpu, shape) = (gpu(), batch.shape);
    let context = format!("{options:?}, {shape:?}, {:?}, {tuning:?}, {to:?}", batch.kind);
    let of_rows = OfRows::new(shape.rows);
    let inputs = batch.inputs().rows(of_rows.inputs());
    let mut op = SampledSoftmax::<E>::new(gpu, options).expect("an operation");
    if let Some(tuning) = tuning {
        op = op.with_tuning(tuning).expect("a tuning");
    }
    let to_logits = region(gpu, 264, &batch.logits);
    let to_classes = Region::of_i32(gpu, &batch.classes);
    let to_counts = Region::of_f32(gpu, 256, &batch.log_counts);
    let to_negatives = Region::new(gpu, 256, &batch.negatives);
    let negatives = match batch.kind {
        NegativesKind::Shared => NegativeBuffers::Shared(to_negatives.binding()),
        _ => NegativeBuffers::PerRow(to_negatives.binding()),
    };
    let outputs = Outputs::new::<E>(shape, to);
    let required = (to_logits.binding(), to_classes.binding(), to_counts.binding());
    let buffers = SampledSoftmaxBuffers {
        rows: of_rows.buffers(),
        outputs: outputs.buffers(),
        ..SampledSoftmaxBuffers::new(required.0, required.1, required.2, negatives)
    };
    let bound = op.bind(shape, &buffers).expect("bound");
    in_pass(gpu, |pass| bound.encode(pass));
    outputs.check::<E>(&context, &to_logits, &expected(&batch.logits, &inputs, shape, options));
}

#[test]
fn bound_to_buffers() {
    use NegativesKind::{PerRow, Shared};
    let sum = SampledSoftmaxOptions { reduction: Reduction::Sum, ..of_temperature(0.25) };
    let over = SampledSoftmaxOptions { reduction: Reduction::MeanOver(8.0), ..of_temperature(1.0) };
    let plain = of_temperature(1.0);
    check_bound(&Batch::<f32>::new(Shape::new(30, 33), Shared), &plain, None, To::Element);
    check_bound(&Batch::<f32>::new(Shape::new(9, 1000), PerRow), &sum, None, To::InPlace);
    if is_mine(0) {
        check_bound(&Batch::<f32>::new(Shape::nchw(3, 21, 4), PerRow), &over, None, To::Element);
        check_bound(&Batch::<f16>::new(Shape::new(9, 300), Shared), &plain, None, To::Element);
    }
    if is_mine(1) {
        check_bound(&Batch::<bf16>::new(Shape::new(9, 301), PerRow), &plain, None, To::F32);
    }
}

/// Rows that begin and end within packs, and are long enough for whole steps of most lanes.
#[test]
fn every_tuning() {
    let batch = Batch::<f32>::new(Shape::new(7, 1101), NegativesKind::Shared);
    for tuning in tunings().flatten() {
        check_bound(&batch, &of_temperature(2.0), Some(tuning), To::Element);
    }
}

type Fill = fn(&mut [f32]);

/// What a row is. Its class is 3, and its negatives begin with 3, 4, 3.
const CASES: &[(&str, Fill, Flags)] = &[
    ("noise", |_| {}, Flags::empty()),
    ("a NaN", |x| x[2] = f32::NAN, Flags::NAN_LOGIT),
    ("a NaN in a hit", |x| x[1] = f32::NAN, Flags::empty()),
    ("a +∞ in a hit", |x| x[3] = INF, Flags::empty()),
    ("a +∞", |x| x[2] = INF, Flags::INFINITE_LOGIT),
    ("the own class at −∞", |x| x[0] = -INF, Flags::INFINITE_LOSS),
    ("others at −∞", |x| x[1..].fill(-INF), Flags::empty()),
    ("all −∞", |x| x.fill(-INF), Flags::MASKED_ROW),
    ("certain", |x| x[0] = 40.0, Flags::empty()),
    ("equal", |x| x.fill(2.0), Flags::empty()),
    ("the own class at −3.4e38", |x| x[0] = f32::MIN, Flags::empty()),
    (
        "±3.4e38",
        |x| {
            x.fill(f32::MAX);
            x[0] = f32::MIN;
        },
        Flags::INFINITE_LOSS,
    ),
    ("3.4e38", |x| x.fill(f32::MAX), Flags::empty()),
    ("shifted by 1e6", |x| x.iter_mut().for_each(|x| *x += 1e6), Flags::empty()),
];

/// By host slices, which say in the flags what a row has.
#[test]
fn special_rows() {
    let masked = [MaskedRow::Nan, MaskedRow::Zero];
    for (cols, masked_row) in [4, 5, 64, 1001].into_iter().zip(masked.into_iter().cycle()) {
        let options = SampledSoftmaxOptions { masked_row, reduction: Reduction::Sum, ..of_temperature(1.0) };
        let (mut logits, mut labels) = (vec![], vec![]);
        for (case, &(label, fill, _)) in CASES.iter().enumerate() {
            let mut x = noise(case as u64, cols, 1.5);
            fill(&mut x);
            logits.extend(x);
            labels.push(label.to_owned());
        }
        let shape = Shape::new(labels.len(), cols);
        let class = |at: usize| if at < 3 { [3, 4, 3][at] } else { (at * 7 % CLASSES) as u32 };
        let negatives: Vec<Negative> =
            (0..cols - 1).map(|at| Negative::new(class(at), (at % 9) as f32 - 6.0)).collect();
        let (classes, log_counts) = (vec![3; shape.rows], vec![0.5; shape.rows]);
        let inputs =
            SampledSoftmaxInputs::new(Targets::Classes(&classes), &log_counts, Negatives::Shared(&negatives));
        let op = SampledSoftmax::<f32>::new(gpu(), &options).expect("an operation");
        let context = format!("{options:?}, {cols}");
        let results = op.row_results(&logits, inputs, shape).wait().expect("results");
        let losses: Vec<f32> = results.iter().map(|result| result.loss).collect();
        let expected = expected(&logits, &inputs, shape, &options);
        check(&context, &labels, Shape::new(1, shape.rows), &losses, &expected.row_losses, true);
        for (&(label, _, flags), result) in CASES.iter().zip(&results) {
            let told = result.flags() - Flags::NAN_LOSS;
            assert_eq!(told, flags, "{context}: {label}");
            assert_eq!(result.flags().contains(Flags::NAN_LOSS), result.loss.is_nan(), "{label}");
        }
        let (_, dlogits) = op.loss_and_dlogits(&logits, inputs, shape).wait().expect("a gradient");
        check(&context, &labels, shape, &dlogits, &expected.dlogits, true);
    }
}

/// The loss, its gradient, and a verification of both.
fn run(gpu: &Context, batch: &Batch<f32>) -> (f64, Vec<f32>) {
    let op = SampledSoftmax::<f32>::new(gpu, &of_temperature(1.0)).expect("an operation");
    let found = op.loss_and_dlogits(&batch.logits, batch.inputs(), batch.shape).wait().expect("a gradient");
    (found.0.value, found.1)
}

/// Devices of small bindings cut a batch into many windows, and so does a stream. No bit changes.
#[test]
fn windows_change_no_bit() {
    for kind in [NegativesKind::Shared, NegativesKind::PerRow] {
        let batch = Batch::<f32>::new(Shape::new(40, 129), kind);
        let (value, dlogits) = run(gpu(), &batch);
        let small = run(&device_of_bindings(Features::empty(), 4096), &batch);
        assert!(small.0 == value && same_bits(&small.1, &dlogits), "{kind:?}");

        let (op, all) = (SampledSoftmax::<f32>::new(gpu(), &of_temperature(1.0)), batch.inputs());
        let mut stream = op.expect("an operation").stream(batch.shape, kind).expect("a stream");
        for rows in [0..15, 15..40] {
            let negatives = match all.negatives {
                Negatives::PerRow(each) => Negatives::PerRow(&each[rows.start * 128..rows.end * 128]),
                shared => shared,
            };
            let targets = Targets::Classes(&batch.classes[rows.clone()]);
            let part = SampledSoftmaxInputs::new(targets, &batch.log_counts[rows.clone()], negatives);
            let logits = &batch.logits[rows.start * 129..rows.end * 129];
            stream.push(logits, rows.len(), part).wait().expect("pushed");
        }
        assert_eq!(stream.loss().value, value, "{kind:?}");
    }
}

#[test]
fn worked_answers_and_misuse() {
    let log_count = |class| reference::expected_count(reference::log_uniform_prob(class, 10), 2).ln() as f32;
    let negatives = [0, 7].map(|class| Negative::new(class, log_count(class as usize)));
    let counts = [log_count(3)];
    let inputs = SampledSoftmaxInputs::new(Targets::Classes(&[3]), &counts, Negatives::Shared(&negatives));
    let (logits, shape) = ([2.0, 1.0, 0.5], Shape::new(1, 3));
    let op = SampledSoftmax::<f32>::new(gpu(), &SampledSoftmaxOptions::new(10)).expect("an operation");
    let loss = op.loss(&logits, inputs, shape).wait().expect("a loss");
    assert!((loss.value - 0.432533837).abs() < 1e-6, "{loss:?}");
    for verified in [op.verify(&logits, inputs, shape, 1), op.verify_dlogits(&logits, inputs, shape, 1)] {
        let verified = verified.wait().expect("verified");
        assert!(verified.passed && verified.rows_checked == 1, "{verified:?}");
    }
    // No negatives at all.
    let alone = SampledSoftmaxInputs { negatives: Negatives::Shared(&[]), ..inputs };
    let (loss, dlogits) = op.loss_and_dlogits(&[5.0], alone, Shape::new(1, 1)).wait().expect("a loss");
    assert_eq!((loss.value, dlogits), (0.0, vec![0.0]));

    let few = SampledSoftmaxInputs { negatives: Negatives::Shared(&negatives[..1]), ..inputs };
    let error = op.loss(&logits, few, shape).wait().err();
    assert_eq!(error, Some(Error::Length { what: "negatives", found: 1, needed: 2 }));
    let mut stream = op.stream(shape, NegativesKind::PerRow).expect("a stream");
    let kinds = Error::NegativesKind { given: NegativesKind::Shared, made_for: NegativesKind::PerRow };
    assert_eq!(stream.push(&logits, 1, inputs).wait().err(), Some(kinds));

    // What buffers hold is told in the flags: a class out of range, and a count that is no number.
    let options = SampledSoftmaxOptions { reduction: Reduction::Sum, ..SampledSoftmaxOptions::new(10) };
    let op = op.with_options(&options).expect("other options");
    for (class, count, flags) in [
        (9, 0.0, Flags::empty()),
        (10, 0.0, Flags::TARGET_OUT_OF_RANGE | Flags::NAN_LOSS | Flags::NO_ROW_COUNTS),
        (9, f32::NEG_INFINITY, Flags::NAN_LOGIT | Flags::NAN_LOSS),
    ] {
        let to_logits = Region::of_f32(gpu(), 256, &logits);
        let (to_class, to_count) = (Region::of_i32(gpu(), &[class]), Region::of_f32(gpu(), 256, &[count]));
        let to_negatives = Region::new(gpu(), 256, &negatives);
        let outputs = Outputs::new::<f32>(shape, To::Element);
        let negatives = NegativeBuffers::Shared(to_negatives.binding());
        let required = (to_logits.binding(), to_class.binding(), to_count.binding());
        let buffers = SampledSoftmaxBuffers {
            outputs: outputs.buffers(),
            ..SampledSoftmaxBuffers::new(required.0, required.1, required.2, negatives)
        };
        let bound = op.bind(shape, &buffers).expect("bound");
        in_pass(gpu(), |pass| bound.encode(pass));
        assert_eq!(outputs.record().flags(), flags, "{class}, {count}");
    }
}
