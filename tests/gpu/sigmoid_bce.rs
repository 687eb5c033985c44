//! Multi-label binary cross-entropy against the f64 reference.

use half::{bf16, f16};
use xent::bounds::loss_bound;
use xent::reference::sigmoid_bce as reference;
use xent::{
    Context, Element, EmptyBatch, Error, Flags, LossOutputs, LossRecord, OutputBuffer, Reduction,
    RowInputBuffers, RowInputs, Shape, SigmoidBce, SigmoidBceBuffers, SigmoidBceInputs, SigmoidBceOptions,
    Tuning, Verification, wgpu,
};

use crate::harness::{Region, aligned_offset, device_with, gpu, in_pass, is_mine, tunings};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const MEAN: SigmoidBceOptions =
    SigmoidBceOptions { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan };
const SUM: SigmoidBceOptions = SigmoidBceOptions { reduction: Reduction::Sum, ..MEAN };

/// Numbers in 0..1, the same ones for a seed.
fn uniform(seed: u64, len: usize) -> Vec<f32> {
    let mut state: u64 = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Logits in ±scale, in a type.
fn logits<E: Element>(seed: u64, len: usize, scale: f32) -> Vec<E> {
    uniform(seed, len).iter().map(|u| E::from_f32((2.0 * u - 1.0) * scale)).collect()
}

/// Targets: 0, 1, and a third of them between.
fn labels(seed: u64, len: usize) -> Vec<f32> {
    let kinds = uniform(seed + 1_000, len);
    let soft = uniform(seed + 2_000, len);
    kinds
        .iter()
        .zip(soft)
        .map(|(kind, soft)| {
            if *kind < 0.3 {
                0.0
            } else if *kind < 0.7 {
                1.0
            } else {
                soft
            }
        })
        .collect()
}

/// A batch, owned.
#[derive(Clone, Default)]
struct Batch<E> {
    logits: Vec<E>,
    targets: Vec<f32>,
    pos_weight: Option<Vec<f32>>,
    class_weights: Option<Vec<f32>>,
    row_weights: Option<Vec<f32>>,
    row_mask: Option<Vec<bool>>,
    upstream: f32,
    row_upstream: Option<Vec<f32>>,
}

impl<E: Element> Batch<E> {
    fn new(logits: Vec<E>, targets: Vec<f32>) -> Self {
        Self { logits, targets, upstream: 1.0, ..Default::default() }
    }

    fn random(seed: u64, shape: Shape, scale: f32) -> Self {
        Self::new(logits(seed, shape.len(), scale), labels(seed, shape.len()))
    }

    /// With everything that there is.
    fn full(seed: u64, shape: Shape, scale: f32) -> Self {
        let Shape { rows, cols, .. } = shape;
        let weights = |seed, len| -> Vec<f32> {
            let all = uniform(seed, len);
            all.iter().map(|u| if *u < 0.2 { 0.0 } else { 3.0 * u }).collect()
        };
        Self {
            pos_weight: Some(weights(seed + 1, cols)),
            class_weights: Some(weights(seed + 2, cols)),
            row_weights: Some(weights(seed + 3, rows)),
            row_mask: Some(uniform(seed + 4, rows).iter().map(|u| *u > 0.2).collect()),
            upstream: -2.5,
            row_upstream: Some(uniform(seed + 5, rows)),
            ..Self::random(seed, shape, scale)
        }
    }

    fn inputs(&self) -> SigmoidBceInputs<'_> {
        SigmoidBceInputs {
            targets: &self.targets,
            pos_weight: self.pos_weight.as_deref(),
            class_weights: self.class_weights.as_deref(),
            rows: RowInputs {
                row_weights: self.row_weights.as_deref(),
                row_mask: self.row_mask.as_deref(),
                upstream: self.upstream,
                row_upstream: self.row_upstream.as_deref(),
            },
        }
    }

    fn row_weight(&self, row: usize) -> f32 {
        let masked = self.row_mask.as_ref().is_some_and(|mask| !mask[row]);
        if masked { 0.0 } else { self.row_weights.as_ref().map_or(1.0, |weights| weights[row]) }
    }
}

/// What a batch gave, on whatever way.
struct Found<E> {
    losses: Vec<f32>,
    dlogits: Vec<E>,
    value: f64,
    sum: f64,
    weight: f64,
    counted: usize,
    flags: Flags,
}

/// What a batch should give: row losses, Σ r·cols, and for each logit the gradient and by how much it may be missed.
struct Expected {
    losses: Vec<f64>,
    sum: f64,
    weight: f64,
    counted: usize,
    denominator: f64,
    gradients: Vec<Vec<(f64, f64)>>,
}

/// From the rows' formulas, not from the batch's checks: weights and targets may be invalid.
fn expected<E: Element>(batch: &Batch<E>, shape: Shape, options: &SigmoidBceOptions) -> Expected {
    let is_weight = |weight: f32| weight >= 0.0 && weight.is_finite();
    let counts = |row: usize| batch.row_weight(row) != 0.0 && is_weight(batch.row_weight(row));
    let counting: Vec<usize> = (0..shape.rows).filter(|&row| counts(row)).collect();
    let weight =
        counting.iter().map(|&row| f64::from(batch.row_weight(row))).sum::<f64>() * shape.cols as f64;
    let denominator = match options.reduction {
        Reduction::Mean => weight,
        Reduction::Sum => 1.0,
        Reduction::MeanOver(denominator) => denominator.into(),
    };
    let (pos_weight, class_weights) = (batch.pos_weight.as_deref(), batch.class_weights.as_deref());
    let (mut losses, mut gradients) = (Vec::new(), Vec::new());
    for row in 0..shape.rows {
        if !counts(row) {
            losses.push(if batch.row_weight(row) == 0.0 { 0.0 } else { f64::NAN });
            gradients.push(vec![(0.0, 0.0); shape.cols]);
            continue;
        }
        let x: Vec<E> = shape.row(&batch.logits, row).copied().collect();
        let t: Vec<f32> = shape.row(&batch.targets, row).copied().collect();
        let r = f64::from(batch.row_weight(row));
        losses.push(r * reference::row_loss(&x, &t, pos_weight, class_weights));
        let upstream = batch.row_upstream.as_ref().map_or(1.0, |upstream| f64::from(upstream[row]));
        let u = f64::from(batch.upstream) * upstream * r / denominator;
        let values = reference::row_dlogits(&x, &t, pos_weight, class_weights, u);
        let bounded = values.into_iter().enumerate().map(|(class, value)| {
            let at = |weights: Option<&[f32]>| weights.map_or(1.0, |weights| f64::from(weights[class]));
            let (x, t) = (x[class].to_f64(), f64::from(t[class]));
            let positive = (at(pos_weight) * t).abs() * reference::sigmoid(-x);
            let negative = (1.0 - t).abs() * reference::sigmoid(x);
            let scale = u.abs() * at(class_weights);
            (value, scale * 2e-5 * (positive + negative) + 1e-37 * (1.0 + scale) + E::rounding(value))
        });
        gradients.push(bounded.collect());
    }
    // A row's loss beyond f32 is infinite wherever it goes.
    let sum = losses
        .iter()
        .map(|&loss| if (loss as f32).is_infinite() { loss * f64::INFINITY } else { loss })
        .sum();
    Expected { losses, sum, weight, counted: counting.len(), denominator, gradients }
}

fn check<E: Element>(
    name: &str,
    found: &Found<E>,
    batch: &Batch<E>,
    shape: Shape,
    options: &SigmoidBceOptions,
) {
    let expected = expected(batch, shape, options);
    let mut of_losses = Verification::new();
    for (row, (&loss, &wanted)) in found.losses.iter().zip(&expected.losses).enumerate() {
        of_losses.compare(row, loss.into(), wanted, loss_bound(wanted));
    }
    assert_eq!(found.losses.len(), shape.rows, "{name}");
    assert!(
        of_losses.passed,
        "{name}: {of_losses:?} {:?} {:?}",
        of_losses.worst_row.map(|row| found.losses[row]),
        of_losses.worst_row.map(|row| expected.losses[row])
    );
    let mut of_gradients = Verification::new();
    for (row, wanted) in expected.gradients.iter().enumerate() {
        for (&value, &(wanted, bound)) in shape.row(&found.dlogits, row).zip(wanted) {
            let wanted = if expected.counted == 0 { 0.0 } else { wanted };
            // Infinite where the type ends.
            let rounded = E::from_f32(wanted as f32).to_f64();
            let wanted = if rounded.is_infinite() { rounded } else { wanted };
            of_gradients.compare(row, value.to_f64(), wanted, bound);
        }
    }
    assert!(of_gradients.passed, "{name}: gradient {of_gradients:?}");
    let mut of_whole = Verification::new();
    let mean = expected.sum / expected.denominator;
    of_whole.compare(
        0,
        found.sum,
        expected.sum,
        5e-6 * (1.0 + shape.rows as f64) + 2e-6 * expected.sum.abs(),
    );
    of_whole.compare(0, found.value, mean, 5e-6 + 2e-6 * mean.abs());
    of_whole.compare(0, found.weight, expected.weight, 2e-6 * expected.weight);
    assert!(
        of_whole.passed,
        "{name}: {of_whole:?} {} {mean} {} {}",
        found.value, found.weight, expected.weight
    );
    assert_eq!(found.counted, expected.counted, "{name}");
}

/// The host's way; the loss alone must be the same.
fn on_host<E: Element>(op: &SigmoidBce<E>, batch: &Batch<E>, shape: Shape) -> Found<E> {
    let losses = op.row_losses(&batch.logits, batch.inputs(), shape).wait().expect("row losses");
    let (loss, dlogits) = op.loss_and_dlogits(&batch.logits, batch.inputs(), shape).wait().expect("a loss");
    let alone = op.loss(&batch.logits, batch.inputs(), shape).wait().expect("a loss");
    let same = (alone.value - loss.value).abs() <= 1e-6 * (1.0 + loss.value.abs())
        || alone.value == loss.value
        || (alone.value.is_nan() && loss.value.is_nan());
    assert!(same, "{alone:?} {loss:?}");
    assert_eq!(alone.flags, loss.flags);
    Found {
        losses,
        dlogits,
        value: loss.value,
        sum: loss.sum,
        weight: loss.weight,
        counted: loss.counted,
        flags: loss.flags,
    }
}

/// Values of a type as words, `lead` values behind the region's start.
fn words<E: Element>(values: &[E], lead: usize) -> Vec<u32> {
    let mut bytes: Vec<u8> = vec![0; lead * size_of::<E>()];
    bytes.extend_from_slice(bytemuck::cast_slice(values));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// Where a bound gradient goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Own,
    F32,
    InPlace,
}

/// A region from some bytes on.
fn behind(region: &Region, bytes: usize) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer: &region.buffer, offset: region.offset + bytes as u64, size: None }
}

/// The bound way, encoded twice, each array `lead` values behind its region's start.
fn on_device<E: Element>(
    gpu: &Context,
    op: &SigmoidBce<E>,
    batch: &Batch<E>,
    shape: Shape,
    to: To,
    lead: usize,
) -> Found<E> {
    let at = aligned_offset(gpu);
    let region = |words: &[u32]| Region::new(gpu, at, words);
    let f32s = |values: &Option<Vec<f32>>| values.as_ref().map(|values| Region::of_f32(gpu, at, values));
    let logits = region(&words(&batch.logits, lead));
    let targets = region(&words(&batch.targets, lead));
    let pos_weight = f32s(&batch.pos_weight);
    let class_weights = f32s(&batch.class_weights);
    let row_weights = f32s(&batch.row_weights);
    let mask: Option<Vec<u32>> =
        batch.row_mask.as_ref().map(|mask| mask.iter().map(|&on| on.into()).collect());
    let row_mask = mask.map(|mask| region(&mask));
    let upstream = Region::of_f32(gpu, at, &[batch.upstream]);
    let row_upstream = f32s(&batch.row_upstream);
    let (loss, losses) = (Region::unwritten(gpu, 8), Region::unwritten(gpu, shape.rows.max(1)));
    let value_bytes = if to == To::F32 { 4 } else { size_of::<E>() };
    let dlogits = Region::unwritten(gpu, ((lead + shape.len()) * value_bytes).div_ceil(4));
    let buffers = SigmoidBceBuffers {
        pos_weight: pos_weight.as_ref().map(Region::binding),
        class_weights: class_weights.as_ref().map(Region::binding),
        outputs: LossOutputs {
            loss: Some(loss.binding()),
            row_losses: Some(losses.binding()),
            dlogits: Some(match to {
                To::Own => OutputBuffer::To(behind(&dlogits, lead * value_bytes)),
                To::F32 => OutputBuffer::F32(behind(&dlogits, lead * value_bytes)),
                To::InPlace => OutputBuffer::InPlace,
            }),
        },
        rows: RowInputBuffers {
            row_weights: row_weights.as_ref().map(Region::binding),
            row_mask: row_mask.as_ref().map(Region::binding),
            upstream: Some(upstream.binding()),
            row_upstream: row_upstream.as_ref().map(Region::binding),
        },
        ..SigmoidBceBuffers::new(behind(&logits, lead * size_of::<E>()), behind(&targets, lead * 4))
    };
    let bound = op.bind(shape, &buffers).expect("bound");
    in_pass(gpu, |pass| {
        bound.encode(pass);
        if to != To::InPlace {
            bound.encode(pass);
        }
    });
    let record: LossRecord = *bytemuck::from_bytes(bytemuck::cast_slice(&loss.read(gpu)));
    let words = if to == To::InPlace { logits.read(gpu) } else { dlogits.read(gpu) };
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    let bytes = &bytes[lead * value_bytes..][..shape.len() * value_bytes];
    let dlogits = if to == To::F32 {
        bytemuck::pod_collect_to_vec::<u8, f32>(bytes).into_iter().map(E::from_f32).collect()
    } else {
        bytemuck::pod_collect_to_vec(bytes)
    };
    Found {
        losses: losses.read(gpu).into_iter().take(shape.rows).map(f32::from_bits).collect(),
        dlogits,
        value: record.value.into(),
        sum: record.sum.into(),
        weight: record.weight.into(),
        counted: record.counted as usize,
        flags: record.flags(),
    }
}

fn op<E: Element>(options: &SigmoidBceOptions) -> SigmoidBce<E> {
    SigmoidBce::new(gpu(), options).expect("an operation")
}

/// Every element type, on both ways, for every place a gradient can go.
fn on_every_way<E: Element>(op: &SigmoidBce<E>, shape: Shape, seed: u64) {
    let options = op.options();
    for batch in [Batch::<E>::random(seed, shape, 6.0), Batch::full(seed, shape, 12.0)] {
        let name = format!("{} {shape:?}", E::NAME);
        check(&format!("{name} host"), &on_host(op, &batch, shape), &batch, shape, options);
        let packed = size_of::<E>() == 2 && (shape.inner > 1 || shape.row_stride % 2 == 1);
        for to in [To::Own, To::F32, To::InPlace] {
            if packed && to != To::F32 {
                continue;
            }
            // With all that comes with a batch, values begin behind their region's start.
            let behind = if size_of::<E>() == 2 { 2 } else { 3 };
            let lead = if batch.row_mask.is_some() { behind } else { 0 };
            let found = on_device(gpu(), op, &batch, shape, to, lead);
            check(&format!("{name} {to:?} {lead} behind"), &found, &batch, shape, options);
        }
    }
}

#[test]
fn types_and_layouts() {
    let shapes = [
        Shape::new(5, 8),
        Shape::new(5, 7),
        Shape::new(3, 65).row_stride(70),
        Shape::new(3, 6).row_stride(9),
        Shape::nchw(2, 5, 3),
        Shape::nchw(1, 33, 20),
        Shape::nchw(2, 3, 4).row_stride(15),
        Shape::new(1, 1),
        Shape::new(1_030, 3),
    ];
    let (singles, halves, brains) = (op::<f32>(&MEAN), op::<f16>(&MEAN), op::<bf16>(&SUM));
    for (seed, shape) in (0..).zip(shapes) {
        on_every_way(&singles, shape, seed);
        // Each shape in one of the types of 16 bits.
        if seed % 2 == 0 {
            on_every_way(&halves, shape, seed);
        } else {
            on_every_way(&brains, shape, seed);
        }
    }
}

#[test]
fn every_tuning() {
    // Each shape by one path, and with the next tuning by the other. Two adapters share them.
    for (i, tuning) in tunings().flatten().enumerate() {
        let op = op::<f32>(&MEAN).with_tuning(tuning).expect("a tuning");
        // Rows side by side have but one number of the tuning.
        let beside = Shape::nchw(1, 70, 5);
        let shapes = [Shape::new(3, 1_000), Shape::new(2, 31), beside];
        for (j, shape) in shapes.into_iter().enumerate().take(if tuning.side_by_side < 64 { 3 } else { 2 }) {
            if !is_mine(i / 2 + j) {
                continue;
            }
            let batch = Batch::full(u64::from(tuning.read[0].lanes), shape, 9.0);
            let name = format!("{tuning:?} {shape:?}");
            let found = if (i + j) % 2 == 0 {
                on_device(gpu(), &op, &batch, shape, To::InPlace, 0)
            } else {
                on_host(&op, &batch, shape)
            };
            check(&name, &found, &batch, shape, &MEAN);
        }
    }
}

#[test]
fn reductions() {
    let shape = Shape::new(7, 9);
    let batch = Batch::full(4, shape, 5.0);
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(17.5)] {
        let options = SigmoidBceOptions { reduction, ..MEAN };
        let op = op::<f32>(&options);
        let name = format!("{reduction:?}");
        check(&name, &on_host(&op, &batch, shape), &batch, shape, &options);
        check(&name, &on_device(gpu(), &op, &batch, shape, To::Own, 0), &batch, shape, &options);
    }
}

/// Worked by hand: see the reference's tests.
#[test]
fn worked() {
    let op = op::<f32>(&MEAN);
    let loss = op.loss(&[2.0, -1.0, 0.0], &[1.0, 0.0, 1.0], Shape::new(1, 3)).wait().expect("a loss");
    assert!((loss.value - 0.377_778_96).abs() < 1e-6, "{loss:?}");
    assert_eq!((loss.weight, loss.row_weight, loss.counted, loss.flags), (3.0, 1.0, 1, Flags::empty()));
}

/// What a special value makes of its class; NaN: of the whole row.
const SPECIALS: [(&str, f32, f32, f32, f32, Flags); 32] = [
    ("NaN", NAN, 1.0, 1.0, 1.0, Flags::NAN_LOGIT),
    ("−NaN", -NAN, 0.0, 1.0, 1.0, Flags::NAN_LOGIT),
    ("NaN of weight 0", NAN, 0.0, 1.0, 0.0, Flags::NAN_LOGIT),
    ("+∞, applies", INF, 1.0, 1.0, 1.0, Flags::empty()),
    ("+∞, does not apply", INF, 0.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("+∞, almost applies", INF, 0.999_999_94, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("+∞ of weight 0", INF, 0.0, 1.0, 0.0, Flags::empty()),
    ("−∞, applies", -INF, 1.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("−∞, hardly applies", -INF, 1e-40, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("−∞, does not apply", -INF, 0.0, 1.0, 1.0, Flags::empty()),
    ("−∞, does not apply, −0", -INF, -0.0, 1.0, 1.0, Flags::empty()),
    ("−∞, pos_weight 0", -INF, 1.0, 0.0, 1.0, Flags::empty()),
    ("−∞ of weight 0", -INF, 1.0, 1.0, 0.0, Flags::empty()),
    ("1e4, wrong", 1e4, 0.0, 1.0, 1.0, Flags::empty()),
    ("the end of f32, wrong", f32::MIN, 1.0, 1.0, 1.0, Flags::empty()),
    ("beyond f32", f32::MIN, 1.0, 3.0, 1.0, Flags::INFINITE_LOSS),
    ("a target at the end of f32", 2.0, 3.4e38, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("the same of the other sign", 2.0, -3.4e38, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("the same below 0", -2.0, 3.4e38, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target of a small weight", -2.0, 1e38, 1.0, 1e-30, Flags::empty()),
    ("a far target of weights", 5.0, 3.4e38, 2.0, 0.1, Flags::empty()),
    ("a far target of weights, below 0", -0.5, 3.4e38, 2.0, 0.1, Flags::empty()),
    ("a far target twice applied, below 0", -0.5, 3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target twice applied", 5.0, 3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a target far below 0, twice applied", 5.0, -3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target, far", 1000.0, 3.4e38, 2.0, 1.0, Flags::INFINITE_LOSS),
    ("a far target of a weight, far", 1000.0, 3.4e38, 1.0, 2.0, Flags::INFINITE_LOSS),
    ("a far target of weights, far below", -1000.0, 3.4e38, 2.0, 0.1, Flags::INFINITE_LOSS),
    ("a far target that applies nowhere", -9.17e19, 3.4e38, 0.0, 2.54, Flags::empty()),
    ("+∞, more than applies", INF, 2.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("−∞, less than does not", -INF, -1.0, 1.0, 1.0, Flags::INFINITE_LOSS),
    ("+∞, less than does not", INF, -1.0, 1.0, 1.0, Flags::INFINITE_LOSS),
];

#[test]
fn special_values_at_several_places() {
    let op = op::<f32>(&MEAN);
    for cols in [1usize, 2, 3, 5, 8, 31, 64, 65, 257, 1_000, 50_257] {
        let mut places = vec![0, 1, cols / 2, cols.saturating_sub(2), cols - 1];
        places.retain(|&place| place < cols);
        places.dedup();
        if cols > 1_000 {
            places = vec![cols / 2 + 1];
        }
        for at in places {
            // Of three rows the middle one is special.
            let shape = Shape::new(3, cols);
            for (name, x, t, pos_weight, weight, flags) in SPECIALS {
                let mut batch = Batch::<f32>::random(cols as u64, shape, 4.0);
                batch.logits[cols + at] = x;
                batch.targets[cols + at] = t;
                let mut weights = vec![1.0; cols];
                weights[at] = pos_weight;
                batch.pos_weight = Some(weights.clone());
                weights[at] = weight;
                batch.class_weights = Some(weights);
                let name = format!("{name} at {at} of {cols}");
                let found = on_host(&op, &batch, shape);
                check(&name, &found, &batch, shape, &MEAN);
                let told = if flags == Flags::NAN_LOGIT { flags | Flags::NAN_LOSS } else { flags };
                assert_eq!(found.flags, told, "{name}");
                if cols <= 65 {
                    let found = on_device(gpu(), &op, &batch, shape, To::InPlace, 0);
                    check(&name, &found, &batch, shape, &MEAN);
                    assert_eq!(found.flags, told, "{name}");
                }
            }
        }
    }
}

/// Infinite losses of both signs have no sum, in a row and in a batch.
#[test]
fn infinities_of_both_signs() {
    let op = op::<f32>(&MEAN);
    let (logits, targets) = ([INF, INF, 1.0, 2.0], [2.0, 0.5, 0.5, 0.5]);
    for shape in [Shape::new(2, 2), Shape::new(4, 1)] {
        let batch = Batch::new(logits.to_vec(), targets.to_vec());
        for found in [on_host(&op, &batch, shape), on_device(gpu(), &op, &batch, shape, To::Own, 0)] {
            check("both", &found, &batch, shape, &MEAN);
            assert!(found.flags.contains(Flags::NAN_LOSS), "{shape:?}: {:?}", found.flags);
        }
    }
}

#[test]
fn special_values_of_16_bits_and_of_rows_side_by_side() {
    fn with<E: Element>(shape: Shape) {
        let op = op::<E>(&MEAN);
        for (name, x, t, ..) in SPECIALS {
            let mut batch = Batch::<E>::random(3, shape, 4.0);
            let at = shape.row_start(2) + 3 * shape.inner;
            batch.logits[at] = E::from_f32(x);
            batch.targets[at] = t;
            let name = format!("{name} {} {shape:?}", E::NAME);
            check(&name, &on_host(&op, &batch, shape), &batch, shape, &MEAN);
        }
    }
    with::<f16>(Shape::new(4, 5));
    with::<bf16>(Shape::new(4, 64));
    with::<f32>(Shape::nchw(1, 5, 4));
    with::<f16>(Shape::nchw(1, 5, 4));
}

/// Rows of one and the same logit: every rounding goes one way, and the smallest losses must not be lost.
#[test]
fn rows_of_equal_logits() {
    for cols in [1, 1_000, 50_257] {
        for tuning in [None, Some(Tuning::fixed(1, 1)), Some(Tuning::fixed(64, 1))] {
            let op = op::<f32>(&SUM);
            let op = tuning.map_or(op.clone(), |tuning| op.with_tuning(tuning).expect("a tuning"));
            let values = [
                0.0, -0.0, 1e-38, 0.1, -0.3, 0.7, 1.0, -2.0, -3.3, 5.0, -5.0, -7.7, 10.0, -14.0, -20.0, 40.0,
                80.0, -86.0, -88.0, -90.0, -103.0, -104.0, -200.0, 1e4, -1e4, 1e30, 3e33,
            ];
            for x in values {
                let shape = Shape::new(2, cols);
                let mut targets = vec![0.0; 2 * cols];
                targets[cols..].fill(1.0);
                let batch = Batch::new(vec![x; 2 * cols], targets);
                let name = format!("{x} × {cols} {tuning:?}");
                check(&name, &on_host(&op, &batch, shape), &batch, shape, &SUM);
            }
        }
    }
}

/// A single class's loss keeps its digits however small it is, down to where f32 ends (an adapter may flush what comes
/// near it).
#[test]
fn small_losses_are_relatively_right() {
    let xs: Vec<f32> = (0..850).map(|i| i as f32 / 10.0).collect();
    let shape = Shape::new(xs.len(), 1);
    let losses = op::<f32>(&SUM).row_losses(&xs, &vec![1.0; xs.len()], shape).wait().expect("losses");
    for (&x, &loss) in xs.iter().zip(&losses) {
        let expected = -reference::ln_sigmoid(x.into());
        let error = (f64::from(loss) / expected - 1.0).abs();
        assert!(error <= 1e-6 + 1e-7 * f64::from(x), "{x}: {loss}, expected {expected}: {error}");
    }
}

#[test]
fn rows_left_out_are_not_read() {
    let shape = Shape::new(4, 9);
    for to in [To::Own, To::InPlace] {
        let mut batch = Batch::<f32>::random(9, shape, 3.0);
        batch.logits[9..27].fill(NAN);
        batch.row_weights = Some(vec![2.0, 0.0, 1.0, -0.0]);
        batch.row_mask = Some(vec![true, true, false, true]);
        let found = on_device(gpu(), &op(&MEAN), &batch, shape, to, 0);
        check("left out", &found, &batch, shape, &MEAN);
        assert_eq!(found.flags, Flags::empty());
        for row in 1..4 {
            assert!(shape.row(&found.dlogits, row).all(|value| value.to_bits() == 0), "{to:?} {row}");
        }
    }
}

#[test]
fn batches_in_which_no_row_counts() {
    let shape = Shape::new(2, 3);
    let batch = Batch { row_mask: Some(vec![false; 2]), ..Batch::new(vec![NAN; 6], vec![NAN; 6]) };
    for (empty_batch, value) in [(EmptyBatch::Nan, NAN), (EmptyBatch::Zero, 0.0), (EmptyBatch::Error, NAN)] {
        let options = SigmoidBceOptions { empty_batch, ..MEAN };
        let op = op::<f32>(&options);
        let found = on_device(gpu(), &op, &batch, shape, To::Own, 0);
        assert!(found.value == f64::from(value) || (found.value.is_nan() && value.is_nan()));
        assert_eq!((found.sum, found.counted, found.flags), (0.0, 0, Flags::NO_ROW_COUNTS));
        assert_eq!(found.dlogits, [0.0; 6]);
        match op.loss_and_dlogits(&batch.logits, batch.inputs(), shape).wait() {
            Err(Error::NoRowCounts { rows: 2 }) => assert_eq!(empty_batch, EmptyBatch::Error),
            Ok((loss, dlogits)) => {
                assert!(loss.value == f64::from(value) || (loss.value.is_nan() && value.is_nan()));
                assert_eq!((loss.flags, dlogits), (Flags::NO_ROW_COUNTS, vec![0.0; 6]));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let empty = op::<f32>(&MEAN).loss_and_dlogits(&[], &[], Shape::new(0, 3)).wait().expect("no rows");
    assert!(empty.0.value.is_nan() && empty.1.is_empty());
}

/// What the host refuses is told by flags where it comes in buffers.
#[test]
fn invalid_values_in_buffers() {
    let shape = Shape::new(3, 5);
    let plain = Batch::<f32>::random(2, shape, 3.0);
    let op = op::<f32>(&MEAN);
    for bad in [NAN, INF, -INF] {
        let mut batch = plain.clone();
        batch.targets[7] = bad;
        batch.class_weights = Some(vec![1.0, 1.0, 0.0, 1.0, 1.0]);
        let found = on_device(gpu(), &op, &batch, shape, To::Own, 0);
        check("target", &found, &batch, shape, &MEAN);
        assert_eq!(found.flags, Flags::INVALID_TARGET | Flags::NAN_LOSS, "{bad}");
    }
    for bad in [NAN, INF, -1.0] {
        let mut weights = vec![1.0; 5];
        weights[4] = bad;
        for batch in [
            Batch { pos_weight: Some(weights.clone()), ..plain.clone() },
            Batch { class_weights: Some(weights.clone()), ..plain.clone() },
            Batch { row_weights: Some(vec![2.0, bad, 1.0]), ..plain.clone() },
        ] {
            let found = on_device(gpu(), &op, &batch, shape, To::Own, 0);
            check("weight", &found, &batch, shape, &MEAN);
            assert_eq!(found.flags, Flags::INVALID_WEIGHT | Flags::NAN_LOSS, "{bad}");
        }
    }
    // An upstream gradient that is none does not go unseen.
    for upstream in [NAN, INF] {
        let batch = Batch { upstream, ..plain.clone() };
        let found = on_device(gpu(), &op, &batch, shape, To::Own, 0);
        assert!(found.dlogits.iter().all(|value| value.is_nan()) && found.value.is_finite());
    }
}

/// The longest row of one lane takes almost all the loop iterations there are, refilling it the rest.
#[test]
fn long_rows_of_one_lane() {
    let op = op::<f32>(&MEAN).with_tuning(Tuning::fixed(1, 1)).expect("a tuning");
    let shape = Shape::new(2, 180_003);
    let mut batch = Batch::<f32>::random(1, shape, 4.0);
    batch.logits[shape.cols] = NAN;
    check("long", &on_host(&op, &batch, shape), &batch, shape, &MEAN);
    // One beyond gets more lanes.
    let loss = op.loss(&[0.0; 250_000], &vec![0.0; 250_000], Shape::new(1, 250_000)).wait().unwrap();
    assert!((loss.value - std::f64::consts::LN_2).abs() < 1e-6, "{loss:?}");
}

#[test]
fn windows_change_no_bit() {
    // Rows of 1,001: no two windows begin at the same place in a quad.
    let shape = Shape::new(70, 1_001);
    let batch = Batch::<f32>::full(8, shape, 6.0);
    let whole = on_host(&op(&MEAN), &batch, shape);
    let bound = on_device(gpu(), &op(&MEAN), &batch, shape, To::Own, 0);
    let small = device_with(|limits| limits.max_storage_buffer_binding_size = 64 << 10);
    let op = SigmoidBce::<f32>::new(&small, &MEAN).expect("an operation");
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let cut = on_host(&op, &batch, shape);
    assert_eq!((bits(&cut.losses), bits(&cut.dlogits)), (bits(&whole.losses), bits(&whole.dlogits)));
    assert_eq!(cut.value.to_bits(), whole.value.to_bits());
    let cut = on_device(&small, &op, &batch, shape, To::Own, 0);
    assert_eq!((bits(&cut.losses), bits(&cut.dlogits)), (bits(&bound.losses), bits(&bound.dlogits)));
    assert_eq!(cut.value.to_bits(), bound.value.to_bits());
}

#[test]
fn fewer_rows_than_bound() {
    let shape = Shape::new(9, 6);
    let batch = Batch::<f32>::random(6, shape, 4.0);
    let (logits, targets) =
        (Region::of_f32(gpu(), 256, &batch.logits), Region::of_f32(gpu(), 256, &batch.targets));
    let (loss, dlogits) = (Region::unwritten(gpu(), 8), Region::unwritten(gpu(), 54));
    let op = op::<f32>(&MEAN);
    let buffers = SigmoidBceBuffers {
        outputs: LossOutputs {
            loss: Some(loss.binding()),
            dlogits: Some(OutputBuffer::To(dlogits.binding())),
            ..Default::default()
        },
        ..SigmoidBceBuffers::new(logits.binding(), targets.binding())
    };
    let bound = op.bind(shape, &buffers).expect("bound");
    in_pass(gpu(), |pass| bound.encode_rows(pass, 4).expect("four rows"));
    let record: LossRecord = *bytemuck::from_bytes(bytemuck::cast_slice(&loss.read(gpu())));
    let expected = reference::loss(&batch.logits[..24], &batch.targets[..24], shape.with_rows(4), &MEAN);
    assert!((f64::from(record.value) - expected.expect("a loss")).abs() < 1e-5);
    assert_eq!((record.weight, record.counted), (24.0, 4));
    assert!(dlogits.read(gpu())[24..].iter().all(|&word| word == crate::harness::SENTINEL));
}

#[test]
fn verification() {
    let shape = Shape::new(40, 33);
    for batch in [Batch::<f16>::random(1, shape, 5.0), Batch::full(2, shape, 20.0)] {
        let op = op::<f16>(&MEAN);
        for check in [
            op.verify(&batch.logits, batch.inputs(), shape, 16).wait(),
            op.verify_dlogits(&batch.logits, batch.inputs(), shape, 16).wait(),
        ] {
            let check = check.expect("a verification");
            assert!(check.passed && check.rows_checked == 16, "{check:?}");
        }
    }
}

#[test]
fn async_twins_give_the_same() {
    let shape = Shape::new(4, 10);
    let batch = Batch::<f32>::random(3, shape, 5.0);
    let op = op::<f32>(&MEAN);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = gpu().device.poll(wgpu::PollType::Poll);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let (loss, dlogits) = pollster::block_on(async {
            let loss = op.loss(&batch.logits, &batch.targets, shape).await.expect("a loss");
            let both = op.loss_and_dlogits(&batch.logits, &batch.targets, shape).await;
            let mut wide = vec![0f32; shape.len()];
            op.loss_into(&batch.logits, &batch.targets, shape, &mut wide).await.expect("a gradient");
            let rows = op.row_losses(&batch.logits, &batch.targets, shape).await.expect("rows");
            let dlogits = both.expect("a gradient").1;
            assert_eq!(dlogits, wide);
            assert_eq!(rows.len(), 4);
            (loss, dlogits)
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let (same, gradient) =
            op.loss_and_dlogits(&batch.logits, &batch.targets, shape).wait().expect("a loss");
        assert!((loss.value - same.value).abs() < 1e-6);
        assert_eq!(dlogits, gradient);
    });
}

#[test]
fn misuse() {
    let gpu = gpu();
    let op = op::<f32>(&MEAN);
    let shape = Shape::new(2, 3);
    let (x, t) = ([0.0; 6], [0.5; 6]);
    let inputs = SigmoidBceInputs::new(&t);
    let short = Error::Length { what: "logits", found: 5, needed: 6 };
    assert_eq!(op.loss(&x[..5], inputs, shape).wait(), Err(short));
    let short = Error::Length { what: "targets", found: 5, needed: 6 };
    assert_eq!(op.loss(&x, &t[..5], shape).wait(), Err(short));
    let bad = op.loss(&x, inputs.pos_weight(&[1.0, -2.0, 1.0]), shape).wait();
    assert!(matches!(bad, Err(Error::InvalidOption { option: "pos_weight", at: Some(1), .. })), "{bad:?}");
    let bad = op.loss(&x, &[0.5, 0.5, 0.5, 0.5, INF, 0.5], shape).wait();
    assert!(matches!(bad, Err(Error::InvalidTarget { row: 1, at: 1, .. })), "{bad:?}");
    assert_eq!(op.loss(&[], &[], Shape::new(2, 0)).wait(), Err(Error::NoCols { rows: 2 }));
    let options = SigmoidBceOptions { reduction: Reduction::MeanOver(-1.0), ..MEAN };
    assert!(matches!(SigmoidBce::<f32>::new(gpu, &options), Err(Error::InvalidOption { .. })));
    assert!(op.with_options(&options).is_err());
    let tuned = op.clone().with_tuning(Tuning::fixed(3, 1)).map(drop);
    assert!(matches!(tuned, Err(Error::InvalidOption { option: "tuning.lanes", .. })));

    let (logits, targets) = (Region::of_f32(gpu, 256, &x), Region::of_f32(gpu, 256, &t));
    let output = Region::unwritten(gpu, 6);
    let bind = |buffers: &SigmoidBceBuffers<'_>| op.bind(shape, buffers).map(|_| ());
    let plain = SigmoidBceBuffers::new(logits.binding(), targets.binding());
    assert_eq!(bind(&plain), Err(Error::NoOutput { options: "loss, row_losses, dlogits" }));
    let with = |dlogits| SigmoidBceBuffers {
        outputs: LossOutputs { dlogits: Some(dlogits), ..Default::default() },
        ..plain.clone()
    };
    assert_eq!(bind(&with(OutputBuffer::To(output.binding()))), Ok(()));
    assert_eq!(bind(&with(OutputBuffer::InPlace)), Ok(()));
    let alias = Error::BufferAlias { first: "targets", second: "dlogits" };
    assert_eq!(bind(&with(OutputBuffer::To(targets.binding()))), Err(alias));
    let small = SigmoidBceBuffers {
        outputs: LossOutputs { loss: Some(output.binding()), ..Default::default() },
        ..plain.clone()
    };
    assert_eq!(bind(&small), Err(Error::BufferTooSmall { what: "loss", found: 24, needed: 32 }));
    let one = Region::of_f32(gpu, 256, &[1.0]);
    let small = SigmoidBceBuffers { pos_weight: Some(one.binding()), ..with(OutputBuffer::InPlace) };
    assert_eq!(bind(&small), Err(Error::BufferTooSmall { what: "pos_weight", found: 4, needed: 12 }));
    let halves = SigmoidBce::<f16>::new(gpu, &MEAN).expect("an operation");
    let odd = halves.bind(shape, &with(OutputBuffer::InPlace)).map(|_| ());
    assert_eq!(odd, Err(Error::OddStride { what: "dlogits", row_stride: 3, needed: 4 }));
    let side = halves.bind(Shape::nchw(1, 3, 2), &with(OutputBuffer::InPlace)).map(|_| ());
    assert_eq!(side, Err(Error::PackedLayout { what: "dlogits", inner: 2 }));
}
