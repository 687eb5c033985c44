//! KL(teacher ‖ student) against the reference: special rows, element types, layouts, temperatures, windows, misuse.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xent::bounds::{kl_divergence_bound, prob_bound};
use xent::half::{bf16, f16};
use xent::reference::{kl_divergence as reference, softmax_row};
use xent::{
    Context, Element, EmptyBatch, Error, Flags, KlDivergence, KlDivergenceBuffers, KlDivergenceInputs,
    KlDivergenceOptions, LossOutputs, LossRecord, MaskedRow, OutputBuffer, Reduction, RowInputBuffers,
    RowInputs, Shape, SoftmaxOptions, Tuning, Verification, wgpu,
};

use crate::harness::{Region, SENTINEL, aligned_offset, device_with, gpu, in_pass, is_mine};

type Options = KlDivergenceOptions;
type Inputs<'a> = RowInputs<'a>;
const INF: f32 = f32::INFINITY;

/// Rows of both batches, by name.
type Rows = Vec<(String, Vec<f32>, Vec<f32>)>;

/// Two batches, and what the reference makes of them.
struct Case<'a, E> {
    name: String,
    shape: Shape,
    labels: Vec<String>,
    student: Vec<E>,
    teacher: Vec<E>,
    inputs: Inputs<'a>,
    options: Options,
}

impl<'a, E: Element> Case<'a, E> {
    /// Rows laid out by a shape; what lies between them is NaN.
    fn new(name: &str, shape: Shape, rows: &Rows, options: Options) -> Self {
        let laid = |of: &dyn Fn(usize) -> Vec<f32>| {
            let mut values = vec![E::from_f32(f32::NAN); shape.len()];
            for row in 0..shape.rows {
                for (col, &x) in of(row).iter().enumerate() {
                    values[shape.row_start(row) + col * shape.inner] = E::from_f32(x);
                }
            }
            values
        };
        Self {
            name: format!("{name}, {}, {options:?}", E::NAME),
            shape,
            labels: rows.iter().map(|(label, ..)| label.clone()).collect(),
            student: laid(&|row| rows[row].1.clone()),
            teacher: laid(&|row| rows[row].2.clone()),
            inputs: Inputs::default(),
            options,
        }
    }

    fn dense(name: &str, rows: &Rows, options: Options) -> Self {
        Self::new(name, Shape::new(rows.len(), rows[0].1.len()), rows, options)
    }

    /// What an operation takes beside the student's logits.
    fn given(&self) -> KlDivergenceInputs<'_, E> {
        KlDivergenceInputs::new(&self.teacher).rows(self.inputs)
    }

    fn with_inputs(self, inputs: Inputs<'a>) -> Self {
        Self { inputs, ..self }
    }

    fn row(&self, values: &[E], row: usize) -> Vec<E> {
        self.shape.row(values, row).copied().collect()
    }

    fn weight(&self, row: usize) -> f64 {
        let masked = self.inputs.row_mask.is_some_and(|mask| !mask[row]);
        if masked { 0.0 } else { self.inputs.row_weights.map_or(1.0, |weights| f64::from(weights[row])) }
    }

    /// What a row's flags must be.
    fn flags(&self, row: usize) -> Flags {
        if self.weight(row) == 0.0 {
            return Flags::empty();
        }
        let (x, b) = (self.row(&self.student, row), self.row(&self.teacher, row));
        let both = || x.iter().chain(&b).map(|value| value.to_f64());
        let is_masked = |row: &[E]| row.iter().all(|value| value.to_f64() == f64::NEG_INFINITY);
        if both().any(f64::is_nan) {
            Flags::NAN_LOGIT | Flags::NAN_LOSS
        } else if both().any(|value| value == f64::INFINITY) {
            Flags::INFINITE_LOGIT | Flags::NAN_LOSS
        } else if is_masked(&x) || is_masked(&b) {
            let is_nan = self.options.masked_row == MaskedRow::Nan;
            Flags::MASKED_ROW | if is_nan { Flags::NAN_LOSS } else { Flags::empty() }
        } else {
            let loss = reference::row_loss(&x, &b, &self.options) * self.weight(row);
            if (loss as f32).is_infinite() { Flags::INFINITE_LOSS } else { Flags::empty() }
        }
    }
}

/// What comes out, as f64; padding left out.
#[derive(Default)]
struct Found {
    path: String,
    row_losses: Vec<f64>,
    dlogits: Vec<f64>,
    /// Whether the gradient was rounded to the logits' type.
    rounded: bool,
    value: Option<f64>,
    sum: Option<f64>,
    counted: Option<usize>,
    flags: Option<Flags>,
}

/// What the reference gives for a case: made once, compared with many runs.
struct Expected {
    losses: Vec<(f64, f64)>,
    gradient: Vec<(f64, f64)>,
    value: f64,
    denominator: f64,
    counted: usize,
    flags: Flags,
}

impl Expected {
    fn of<E: Element>(case: &Case<'_, E>) -> Self {
        let Case { shape, student, teacher, options, .. } = case;
        let shape = *shape;
        let given = case.given();
        let batch = given.check(shape).unwrap();
        let t_squared = if options.scale_by_t_squared { f64::from(options.temperature).powi(2) } else { 1.0 };
        let softmax = SoftmaxOptions { temperature: options.temperature, ..Default::default() };
        let (mut losses, mut gradient, mut flags) = (Vec::new(), Vec::new(), Flags::empty());
        let mut weight_sum = 0.0;
        let mut counted = 0;
        for row in 0..shape.rows {
            let (x, b, weight) = (case.row(student, row), case.row(teacher, row), case.weight(row));
            if weight == 0.0 {
                losses.push((0.0, 0.0));
                gradient.extend(vec![(0.0, 0.0); shape.cols]);
                continue;
            }
            counted += 1;
            weight_sum += weight;
            flags |= case.flags(row);
            let kl = reference::row_loss(&x, &b, options);
            let bound = kl_divergence_bound(&x, &b, options.temperature, kl / t_squared) * t_squared;
            losses.push((weight * kl, weight * bound));
            let expected = reference::row_dlogits_at(student, given, shape, options, &batch, row);
            let scale = reference::row_scale(given, options, &batch, row).abs() * t_squared
                / f64::from(options.temperature);
            let (p, q) = (softmax_row(&x, &softmax), softmax_row(&b, &softmax));
            for (class, value) in expected.into_iter().enumerate() {
                let bound = scale * (prob_bound(p[class]) + prob_bound(q[class])) + 1e-37;
                gradient.push((value, if scale == 0.0 { 0.0 } else { bound }));
            }
        }
        let strict = Options { empty_batch: EmptyBatch::Nan, ..*options };
        let value = reference::loss(student, given, shape, &strict).unwrap();
        let value = if counted == 0 && options.empty_batch == EmptyBatch::Zero { 0.0 } else { value };
        let denominator = match options.reduction {
            Reduction::Mean => weight_sum,
            Reduction::Sum => 1.0,
            Reduction::MeanOver(denominator) => f64::from(denominator),
        };
        flags.set(Flags::NO_ROW_COUNTS, counted == 0);
        Self { losses, gradient, value, denominator, counted, flags }
    }

    fn check<E: Element>(&self, case: &Case<'_, E>, found: &Found) {
        let mut failures = Vec::new();
        let mut compare = |what: String, actual: f64, (expected, bound): (f64, f64)| {
            let mut verification = Verification::new();
            verification.compare(0, actual, expected, bound);
            if !verification.passed {
                failures.push(format!("{what}: {actual:e}, expected {expected:e} ± {bound:e}"));
            }
        };
        assert_eq!(found.row_losses.len(), case.shape.rows, "{}: rows", case.name);
        for (row, (&loss, &expected)) in found.row_losses.iter().zip(&self.losses).enumerate() {
            compare(format!("row loss {row} ({})", case.labels[row]), loss, expected);
        }
        for (at, &actual) in found.dlogits.iter().enumerate() {
            let (row, col) = (at / case.shape.cols, at % case.shape.cols);
            let (expected, bound) = self.gradient[at];
            let rounding = if found.rounded && bound > 0.0 { E::rounding(expected) } else { 0.0 };
            let what = || format!("dlogits of row {row} ({}) col {col}", case.labels[row]);
            compare(what(), actual, (expected, bound + rounding));
        }
        let sum_bound: f64 = self.losses.iter().map(|(_, bound)| bound).sum();
        let sum: f64 = self.losses.iter().map(|(loss, _)| loss).sum();
        let total = self.losses.iter().map(|(loss, _)| loss.abs()).sum::<f64>();
        if let Some(value) = found.value {
            compare("value".into(), value, (self.value, (sum_bound + 1e-6 * total) / self.denominator));
        }
        if let Some(found) = found.sum {
            compare("sum".into(), found, (sum, sum_bound + 1e-6 * total));
        }
        if found.counted.is_some_and(|counted| counted != self.counted) {
            failures.push(format!("counted: {:?}, expected {}", found.counted, self.counted));
        }
        if found.flags.is_some_and(|flags| flags != self.flags) {
            failures.push(format!("flags: {:?}, expected {:?}", found.flags, self.flags));
        }
        let count = failures.len();
        failures.truncate(6);
        assert!(
            count == 0,
            "{} {:?}, {}: {count} wrong\n  {}",
            case.name,
            case.shape,
            found.path,
            failures.join("\n  ")
        );
    }
}

/// The values of a laid out array, row by row; what lies between the rows is `padding`.
fn unpadded<T: Copy + PartialEq + std::fmt::Debug>(shape: Shape, values: &[T], padding: &[T]) -> Vec<T> {
    let mut seen = vec![false; values.len()];
    let mut all = Vec::new();
    for row in 0..shape.rows {
        for col in 0..shape.cols {
            let at = shape.row_start(row) + col * shape.inner;
            seen[at] = true;
            all.push(values[at]);
        }
    }
    for at in (0..values.len()).filter(|&at| !seen[at]) {
        assert!(padding.contains(&values[at]), "padding at {at}: {:?}", values[at]);
    }
    all
}

fn run_host<E: Element>(op: &KlDivergence<E>, case: &Case<'_, E>) -> Found {
    let Case { shape, student, .. } = case;
    let (loss, dlogits) = op.loss_and_dlogits(student, case.given(), *shape).wait().unwrap();
    let alone = op.loss(student, case.given(), *shape).wait().unwrap();
    assert_eq!(format!("{loss:?}"), format!("{alone:?}"), "{}: the loss alone is the same", case.name);
    let row_losses = op.row_losses(student, case.given(), *shape).wait().unwrap();
    assert_eq!(loss.rows, shape.rows);
    let bits: Vec<u64> = dlogits.iter().map(|value| value.to_f64().to_bits()).collect();
    let values = unpadded(*shape, &bits, &[0]);
    Found {
        path: "host".into(),
        row_losses: row_losses.into_iter().map(f64::from).collect(),
        dlogits: values.into_iter().map(f64::from_bits).collect(),
        rounded: true,
        value: Some(loss.value),
        sum: Some(loss.sum),
        counted: Some(loss.counted),
        flags: Some(loss.flags),
    }
}

/// Where the arrays of a bound operation begin: words before, and values after those.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    student: (u64, usize),
    teacher: (u64, usize),
    output: u64,
}

const ALIGNED: Offsets = Offsets { student: (64, 0), teacher: (64, 0), output: 64 };

#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Element,
    F32,
    InPlace,
}

/// Values of any type, `words` words and `skip` values into a buffer.
fn region<E: Element>(gpu: &Context, (words, skip): (u64, usize), values: &[E]) -> Region {
    let mut bytes = vec![0u8; skip * size_of::<E>()];
    bytes.extend_from_slice(bytemuck::cast_slice(values));
    bytes.resize(bytes.len().next_multiple_of(4), 0xaa);
    Region::new(gpu, words * 4, &bytemuck::pod_collect_to_vec::<u8, u32>(&bytes))
}

fn at<E: Element>(region: &Region, skip: usize) -> wgpu::BufferBinding<'_> {
    let offset = region.offset + (skip * size_of::<E>()) as u64;
    wgpu::BufferBinding { buffer: &region.buffer, offset, size: None }
}

fn run_bound<E: Element>(
    gpu: &Context,
    op: &KlDivergence<E>,
    case: &Case<'_, E>,
    offsets: Offsets,
    to: To,
) -> Found {
    let Case { shape, student, teacher, inputs, .. } = case;
    let x = region(gpu, offsets.student, student);
    let b = region(gpu, offsets.teacher, teacher);
    let aligned = aligned_offset(gpu);
    let weights = inputs.row_weights.map(|weights| Region::of_f32(gpu, aligned, weights));
    let mask = inputs.row_mask.map(|mask| {
        Region::new(gpu, aligned, &mask.iter().map(|&scored| u32::from(scored) * 7).collect::<Vec<_>>())
    });
    let upstream = Region::of_f32(gpu, aligned, &[inputs.upstream]);
    let row_upstream = inputs.row_upstream.map(|upstream| Region::of_f32(gpu, aligned, upstream));
    let loss = Region::unwritten(gpu, LossRecord::BYTES as usize / 4);
    let row_losses = Region::unwritten(gpu, shape.rows);
    let bytes = if to == To::F32 { 4 } else { size_of::<E>() };
    let words = (shape.len() * bytes).div_ceil(4);
    let output = Region::unwritten_at(gpu, offsets.output * 4, words);
    let buffers = KlDivergenceBuffers {
        outputs: LossOutputs {
            loss: Some(loss.binding()),
            row_losses: Some(row_losses.binding()),
            dlogits: Some(match to {
                To::Element => OutputBuffer::To(output.binding()),
                To::F32 => OutputBuffer::F32(output.binding()),
                To::InPlace => OutputBuffer::InPlace,
            }),
        },
        rows: RowInputBuffers {
            row_weights: weights.as_ref().map(Region::binding),
            row_mask: mask.as_ref().map(Region::binding),
            upstream: Some(upstream.binding()),
            row_upstream: row_upstream.as_ref().map(Region::binding),
        },
        ..KlDivergenceBuffers::new(at::<E>(&x, offsets.student.1), at::<E>(&b, offsets.teacher.1))
    };
    let alone = Region::unwritten(gpu, shape.rows);
    let without = KlDivergenceBuffers {
        outputs: LossOutputs { row_losses: Some(alone.binding()), dlogits: None, loss: None },
        ..buffers.clone()
    };
    let (bound, without) = (op.bind(*shape, &buffers).unwrap(), op.bind(*shape, &without).unwrap());
    in_pass(gpu, |pass| {
        without.encode(pass);
        bound.encode(pass);
    });
    let losses = row_losses.read(gpu);
    assert_eq!(losses, alone.read(gpu), "{}: row losses alone are the same", case.name);
    assert!(!losses.contains(&SENTINEL));
    let record: LossRecord = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&loss.read(gpu)));
    let words = if to == To::InPlace { x.read(gpu) } else { output.read(gpu) };
    let dlogits = if to == To::F32 || size_of::<E>() == 4 {
        // Over the logits, padding is the NaN that it was.
        let padding = [SENTINEL, f32::NAN.to_bits()];
        let skip = if to == To::InPlace { offsets.student.1 } else { 0 };
        let values = unpadded(*shape, &words[skip..skip + shape.len()], &padding);
        values.into_iter().map(|bits| f64::from(f32::from_bits(bits))).collect()
    } else {
        let values: Vec<u16> = bytemuck::cast_slice(&words).to_vec();
        let nan = bytemuck::cast::<_, u16>(half_of::<E>(f32::NAN));
        let skip = if to == To::InPlace { offsets.student.1 } else { 0 };
        let padding = [SENTINEL as u16, (SENTINEL >> 16) as u16, nan];
        let values = unpadded(*shape, &values[skip..skip + shape.len()], &padding);
        values.into_iter().map(|bits| bytemuck::cast_slice::<u16, E>(&[bits])[0].to_f64()).collect()
    };
    Found {
        path: format!("bound, {offsets:?}, {to:?}"),
        row_losses: losses.into_iter().map(|bits| f64::from(f32::from_bits(bits))).collect(),
        dlogits,
        rounded: to != To::F32,
        value: Some(f64::from(record.value)),
        sum: Some(f64::from(record.sum)),
        counted: Some(record.counted as usize),
        flags: Some(record.flags()),
    }
}

fn half_of<E: Element>(value: f32) -> u16 {
    bytemuck::cast_slice::<E, u16>(&[E::from_f32(value)])[0]
}

/// An operation of a device. Those of the shared device share their pipelines.
fn op<E: Element>(on: &Context, options: &Options) -> KlDivergence<E> {
    static MADE: Mutex<BTreeMap<&str, Box<dyn Any + Send>>> = Mutex::new(BTreeMap::new());
    if !std::ptr::eq(on, gpu()) {
        return KlDivergence::new(on, options).unwrap();
    }
    let mut made = MADE.lock().unwrap();
    let first = || Box::new(KlDivergence::<E>::new(on, &Options::default()).unwrap()) as _;
    let op = made.entry(E::NAME).or_insert_with(first);
    op.downcast_ref::<KlDivergence<E>>().unwrap().with_options(options).unwrap()
}

fn tuned(lanes: &[u32]) -> Vec<Option<Tuning>> {
    let most = gpu().device.limits().max_compute_invocations_per_workgroup;
    let fits = lanes.iter().filter(|&&lanes| lanes <= most);
    std::iter::once(None).chain(fits.map(|&lanes| Some(Tuning::fixed(lanes, 1)))).collect()
}

/// How a bound operation can write the gradient of a type in a layout.
fn ways<E: Element>(shape: Shape) -> Vec<To> {
    let packs = size_of::<E>() == 4 || (shape.inner == 1 && shape.row_stride.is_multiple_of(2));
    if packs { vec![To::Element, To::F32, To::InPlace] } else { vec![To::F32] }
}

/// A case by the host path, and bound with every tuning.
fn check<E: Element>(case: &Case<'_, E>, tunings: &[Option<Tuning>], offsets: &[Offsets]) {
    let expected = Expected::of(case);
    let plain = op::<E>(gpu(), &case.options);
    expected.check(case, &run_host(&plain, case));
    let ways = ways::<E>(case.shape);
    for (i, tuning) in tunings.iter().enumerate() {
        let op = tuning.map_or(plain.clone(), |tuning| plain.clone().with_tuning(tuning).expect("a tuning"));
        for (k, &offsets) in offsets.iter().enumerate() {
            let to = ways[(i + k) % ways.len()];
            // In place, 16-bit logits begin on a word.
            let in_place = to == To::InPlace;
            let skip = if in_place { 0 } else { offsets.student.1 };
            let offsets = Offsets { student: (offsets.student.0, skip), ..offsets };
            let mut found = run_bound(gpu(), &op, case, offsets, to);
            found.path += &format!(", {tuning:?}");
            expected.check(case, &found);
        }
    }
}

fn noise(seed: u64, len: usize, spread: f32) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| (0..4).map(|_| rng.random_range(-spread..spread)).sum()).collect()
}

fn noise_rows(seed: u64, rows: usize, cols: usize) -> Rows {
    let row = |row: usize| {
        let seed = seed * 1000 + 2 * row as u64;
        (format!("noise {row}"), noise(seed, cols, 3.0), noise(seed + 1, cols, 3.0))
    };
    (0..rows).map(row).collect()
}

type Fill = fn(&mut [f32], &mut [f32], usize);

fn only(row: &mut [f32], at: usize) {
    let kept = row[at];
    row.fill(-INF);
    row[at] = kept;
}

fn highest(row: &[f32]) -> f32 {
    row.iter().copied().fold(-INF, f32::max)
}

/// Student, teacher, and a place in the row.
const CASES: &[(&str, Fill)] = &[
    ("plain", |_, _, _| {}),
    ("equal", |x, b, _| x.copy_from_slice(b)),
    ("equal but for an offset", |x, b, _| x.iter_mut().zip(b).for_each(|(x, b)| *x = (*b).round() + 64.0)),
    ("NaN student", |x, _, at| x[at] = f32::NAN),
    ("NaN teacher", |_, b, at| b[at] = -f32::NAN),
    ("a signalling NaN", |x, _, at| x[at] = f32::from_bits(0x7f80_2001)),
    ("+inf student", |x, _, at| x[at] = INF),
    ("+inf teacher", |_, b, at| b[at] = INF),
    ("+inf student, NaN teacher", |x, b, at| (x[at], b[at]) = (INF, f32::NAN)),
    ("+inf both", |x, b, at| (x[at], b[at]) = (INF, INF)),
    ("-inf student", |x, _, at| x[at] = -INF),
    ("-inf teacher", |_, b, at| b[at] = -INF),
    ("-inf both", |x, b, at| (x[at], b[at]) = (-INF, -INF)),
    ("masked student", |x, _, _| x.fill(-INF)),
    ("masked teacher", |_, b, _| b.fill(-INF)),
    ("masked both", |x, b, _| (x.fill(-INF), b.fill(-INF)).0),
    ("masked teacher, NaN student", |x, b, at| (b.fill(-INF), x[at] = f32::NAN).1),
    ("masked student, +inf teacher", |x, b, at| (x.fill(-INF), b[at] = INF).1),
    ("one class of the student", |x, _, at| only(x, at)),
    ("one class of the teacher", |_, b, at| only(b, at)),
    ("one class, the same", |x, b, at| (only(x, at), only(b, at)).0),
    ("student at the lowest", |x, _, at| x[at] = f32::MIN),
    ("teacher at the lowest", |_, b, at| b[at] = f32::MIN),
    ("both at the lowest", |x, b, at| (x[at], b[at]) = (f32::MIN, f32::MIN)),
    ("student at the highest", |x, _, at| x[at] = f32::MAX),
    ("teacher at the highest", |_, b, at| b[at] = f32::MAX),
    ("both at the highest", |x, b, at| (x[at], b[at]) = (f32::MAX, f32::MAX)),
    ("all at the lowest", |x, b, _| (x.fill(f32::MIN), b.fill(f32::MIN)).0),
    ("student at the lowest but one", |x, _, at| {
        x.fill(f32::MIN);
        x[at] = 0.0;
    }),
    ("next to impossible for the teacher, at the lowest for the student", |x, b, at| {
        b[at] = highest(b) - 88.5;
        x[at] = f32::MIN;
    }),
    ("as that, below the least f32", |x, b, at| {
        b[at] = highest(b) - 95.0;
        x[at] = f32::MIN;
    }),
    ("as that, unlikely", |x, b, at| {
        b[at] = highest(b) - 40.0;
        x[at] = -1e20;
    }),
    ("a far maximum of the student", |x, _, at| x[at] = 300.0),
    ("a far maximum of the teacher", |_, b, at| b[at] = 300.0),
    ("denormals", |x, b, _| (x.fill(1e-40), b.fill(-1e-42)).0),
    ("plain again", |_, _, _| {}),
];

fn special_rows(cols: usize) -> Rows {
    let mut places = vec![0, cols / 2, cols - 1];
    places.dedup();
    if cols > 10_000 {
        places = vec![cols / 3];
    }
    let mut rows = Rows::new();
    for (i, &(label, fill)) in CASES.iter().enumerate() {
        for &at in &places {
            let seed = (i * 7 + at) as u64;
            let (mut x, mut b) = (noise(seed, cols, 2.0), noise(seed + 500, cols, 2.0));
            fill(&mut x, &mut b, at);
            rows.push((format!("{label} at {at}"), x, b));
        }
    }
    rows
}

fn check_special<E: Element>(cols: usize, options: Options, lanes: &[u32]) {
    let case = Case::<E>::dense("special", &special_rows(cols), options);
    let offsets = Offsets { teacher: (64 + cols as u64 % 4, 0), ..ALIGNED };
    check(&case, &tuned(lanes), &[offsets]);
}

#[test]
fn special_rows_of_every_length() {
    for cols in [1, 2, 3, 5, 8, 31, 64, 65, 257, 1000] {
        let lanes: &[u32] = if cols < 100 { &[1, 2, 8, 64] } else { &[1, 2, 8, 64, 256] };
        check_special::<f32>(cols, Options::default(), lanes);
    }
}

#[test]
fn special_rows_of_a_vocabulary() {
    check_special::<f32>(50_257, Options::default(), &[64]);
}

#[test]
fn special_rows_of_16_bits() {
    // Each row length takes one number of lanes beside the plan's in each type: all of them in turn.
    for (i, cols) in [1, 2, 3, 8, 65, 258].into_iter().enumerate() {
        check_special::<f16>(cols, Options::default(), &[[1, 8, 64][i % 3]]);
        check_special::<bf16>(cols, Options::default(), &[[1, 8, 64][(i + 1) % 3]]);
    }
}

#[test]
fn masked_rows_that_give_zeros() {
    let options = Options { masked_row: MaskedRow::Zero, ..Options::default() };
    for cols in [1, 2, 5, 65] {
        check_special::<f32>(cols, options, &[1, 8]);
        check_special::<bf16>(cols, options, &[8]);
    }
}

/// A divergence within f32 at a temperature that its distance is not within.
#[test]
fn far_logits_at_high_temperatures() {
    let (student, teacher) = ([3e38, -3e38, 2.9e38, 0.0], [-3e38, 3e38, 2.9e38, 0.0f32]);
    let kl = op::<f32>(gpu(), &Options { temperature: 100.0, ..Options::default() });
    let (loss, _) = kl.loss_and_dlogits(&student, &teacher, Shape::new(1, 4)).wait().expect("a loss");
    assert!((loss.value / 6.0e36 - 1.0).abs() < 1e-5 && loss.flags.is_empty(), "{loss:?}");

    let mut rows: Rows = vec![("four".into(), student.to_vec(), teacher.to_vec())];
    rows.push(("swapped".into(), teacher.to_vec(), student.to_vec()));
    rows.push((
        "ends".into(),
        vec![f32::MIN, f32::MAX, f32::MAX, 0.0],
        vec![f32::MAX, f32::MIN, f32::MAX, 1.0],
    ));
    let wide = |x: &[f32]| x.iter().copied().cycle().take(300).collect::<Vec<_>>();
    let long = rows.iter().map(|(label, x, b)| (label.clone(), wide(x), wide(b))).collect();
    for rows in [rows, long] {
        for temperature in [1e-10, 100.0, 1e15] {
            for scale_by_t_squared in [false, true] {
                let options = Options { temperature, scale_by_t_squared, ..Options::default() };
                let weights = [1.0, 1e-10, 0.5];
                let inputs = Inputs { row_weights: Some(&weights), ..Inputs::default() };
                let case = Case::<f32>::dense("far", &rows, options);
                check(&case, &tuned(&[1, 8]), &[ALIGNED]);
                check(&case.with_inputs(inputs), &[None], &[ALIGNED]);
                check(&Case::<bf16>::dense("far", &rows, options), &[None], &[ALIGNED]);
            }
        }
    }
}

/// A base stays below a maximum that is less than T above it. Behind it, what one batch's logit is above its base and what
/// the other's is below are together more than f32 holds, halved too.
#[test]
fn bases_that_stay_below_the_maximum() {
    let row = |first: f32, later: f32| {
        let mut row = vec![0.0; 130];
        (row[0], row[100]) = (first, later);
        row
    };
    for temperature in [1e37, 8e37] {
        let below = f32::MAX - 0.9 * temperature;
        let rows = vec![
            ("teacher".into(), row(f32::MAX, f32::MIN), row(below, f32::MAX)),
            ("student".into(), row(below, f32::MAX), row(f32::MAX, f32::MIN)),
        ];
        let options = Options { temperature, ..Options::default() };
        check(&Case::<f32>::dense("far bases", &rows, options), &tuned(&[1, 8]), &[ALIGNED]);
    }
}

#[test]
fn temperatures() {
    for temperature in [0.1, 1.0, 2.0, 100.0] {
        for scale_by_t_squared in [false, true] {
            let options = Options { temperature, scale_by_t_squared, ..Options::default() };
            for cols in [2, 31, 257, 1000] {
                check(
                    &Case::<f32>::dense("temperature", &special_rows(cols), options),
                    &tuned(&[8]),
                    &[ALIGNED],
                );
            }
            let rows = noise_rows(3, 20, 66);
            check(&Case::<f16>::dense("temperature", &rows, options), &tuned(&[8]), &[ALIGNED]);
        }
    }
}

#[test]
fn every_tuning_and_reduction() {
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(3.5)];
    for (i, reduction) in reductions.into_iter().enumerate() {
        let options = Options { reduction, ..Options::default() };
        for cols in [3, 130, 1025, 5000] {
            let case = Case::<f32>::dense("tunings", &noise_rows(i as u64, 9, cols), options);
            check(&case, &tuned(&[1, 2, 8, 64, 256]), &[ALIGNED]);
        }
    }
}

/// Rows of both batches begin on every place of a quad, the two on different ones.
#[test]
fn layouts_and_types() {
    fn of_type<E: Element>() {
        let options = Options { temperature: 2.0, scale_by_t_squared: true, ..Options::default() };
        let unit = 4 / size_of::<E>();
        let offsets: Vec<Offsets> = (0..5)
            .map(|i| Offsets {
                student: (64 + i as u64, i % unit),
                teacher: (71 + 2 * i as u64, 1 % unit),
                output: 61 + i as u64,
            })
            .chain([ALIGNED])
            .collect();
        // Two adapters share the layouts.
        for (i, cols) in [1, 3, 4, 5, 13, 34, 129].into_iter().enumerate() {
            for (_, padding) in [0, 1 + cols % 6].into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
                let shape = Shape::new(7, cols).row_stride(cols + padding);
                let case = Case::<E>::new("layout", shape, &noise_rows(cols as u64, 7, cols), options);
                // Three offsets with the plan's lanes, or one with those and with eight.
                let (from, lanes) = (cols % 3, if cols % 2 == 0 { &[][..] } else { &[8] });
                check(&case, &tuned(lanes), &offsets[from..][..3 - 2 * lanes.len()]);
            }
        }
        // Each shape takes the plan's lanes and one other number.
        let shapes = [(1, 3, 2), (2, 5, 3), (3, 21, 7), (2, 34, 16), (1, 130, 33)];
        for (i, (outer, cols, inner)) in shapes.into_iter().enumerate() {
            let shape = Shape::nchw(outer, cols, inner);
            let both = [shape, shape.row_stride(shape.row_stride + 3)];
            for (_, shape) in both.into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
                let rows = noise_rows(cols as u64, outer * inner, cols);
                let case = Case::<E>::new("side by side", shape, &rows, options);
                check(&case, &tuned(&[[1, 8, 64][i % 3]]), &offsets[i % 4..][..1]);
            }
        }
    }
    of_type::<f32>();
    of_type::<f16>();
    of_type::<bf16>();
}

/// Offsets of 1e4 … 1e8 in one batch or both, each on the grid that its offset leaves: the other's digits all count.
#[test]
fn offsets_do_no_harm() {
    for (offset, step) in [(1e4f32, 1.0 / 512.0), (1e6, 0.0625), (1e7, 1.0), (1e8, 8.0)] {
        for cols in [7, 300, 4099] {
            let mut rows = Rows::new();
            for (row, (label, x, b)) in noise_rows(9, 6, cols).into_iter().enumerate() {
                let on_grid =
                    |row: Vec<f32>| row.into_iter().map(|v| (v / step).round() * step).collect::<Vec<_>>();
                let moved = |row: Vec<f32>, by: f32| row.into_iter().map(|v| v + by).collect::<Vec<_>>();
                rows.push(match row % 3 {
                    0 => (format!("{label}: student + {offset}"), moved(on_grid(x), offset), b),
                    1 => (format!("{label}: teacher - {offset}"), x, moved(on_grid(b), -offset)),
                    _ => (
                        format!("{label}: both apart"),
                        moved(on_grid(x), -offset),
                        moved(on_grid(b), offset),
                    ),
                });
            }
            check(&Case::<f32>::dense("offsets", &rows, Options::default()), &tuned(&[1, 64]), &[ALIGNED]);
        }
    }
}

/// Equal batches give exactly 0, loss and gradient; almost equal ones almost 0, and never much below.
#[test]
fn near_equal_batches() {
    for temperature in [0.1, 1.0, 100.0] {
        let options = Options { temperature, ..Options::default() };
        for cols in [1, 2, 31, 1000, 50_257] {
            let mut rows = Rows::new();
            for (label, x, _) in noise_rows(4, 4, cols) {
                rows.push((format!("{label}, equal"), x.clone(), x.clone()));
                rows.push((
                    format!("{label}, + 8192"),
                    x.iter().map(|x| (x * 64.0).round() / 64.0 + 8192.0).collect(),
                    x.iter().map(|x| (x * 64.0).round() / 64.0).collect(),
                ));
                for nudge in [1e-6, 1e-4, 1e-2] {
                    let by = noise(5, cols, 1.0);
                    let near = x.iter().zip(by).map(|(x, by)| x + nudge * by).collect();
                    rows.push((format!("{label}, {nudge} off"), near, x.clone()));
                }
            }
            let case = Case::<f32>::dense("near", &rows, options);
            check(&case, &tuned(&[2, 64]), &[ALIGNED]);
            let op = op::<f32>(gpu(), &options);
            let found = run_host(&op, &case);
            for (row, &loss) in found.row_losses.iter().enumerate() {
                assert!(loss >= -5e-6, "{}: {loss:e}", case.labels[row]);
                if row % 5 == 0 {
                    assert_eq!(loss, 0.0, "{}", case.labels[row]);
                    assert!(found.dlogits[row * cols..][..cols].iter().all(|&g| g == 0.0));
                }
            }
        }
    }
}

/// Sums over long rows, in which maxima rise at every step.
#[test]
fn ramps() {
    let cols = 60_001;
    let row_of = |of: &dyn Fn(usize) -> f32| (0..cols).map(of).collect::<Vec<f32>>();
    let up = row_of(&|col| col as f32 * 1e-3);
    let down = row_of(&|col| col as f32 * -1e-3);
    let slow = row_of(&|col| col as f32 * 1e-5);
    let flat = row_of(&|_| 0.25);
    let last = row_of(&|col| if col == cols - 1 { 12.0 } else { 0.0 });
    let names = [("up", up), ("down", down), ("slow", slow), ("flat", flat), ("last", last)];
    let mut rows = Rows::new();
    for (x_name, x) in &names {
        for (b_name, b) in &names {
            rows.push((format!("{x_name} against {b_name}"), x.clone(), b.clone()));
        }
    }
    check(&Case::<f32>::dense("ramps", &rows, Options::default()), &tuned(&[2, 64]), &[ALIGNED]);
}

#[test]
fn weights_masks_and_upstream_gradients() {
    let rows = 2100; // three blocks of totals
    let weights: Vec<f32> = (0..rows).map(|row| [1.0, 0.0, 0.25, 3.0][row % 4]).collect();
    let mask: Vec<bool> = (0..rows).map(|row| row % 5 != 2).collect();
    let upstream: Vec<f32> = (0..rows).map(|row| [1.0, -2.0, 0.0][row % 3]).collect();
    let mut noise = noise_rows(1, rows, 5);
    for (row, (_, x, b)) in noise.iter_mut().enumerate() {
        if weights[row] == 0.0 {
            x.fill(f32::NAN); // not read
        } else if !mask[row] {
            b[1] = INF;
        }
    }
    let inputs = Inputs {
        row_weights: Some(&weights),
        row_mask: Some(&mask),
        upstream: 512.0,
        row_upstream: Some(&upstream),
    };
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let options = Options { reduction, temperature: 2.0, scale_by_t_squared: true, ..Options::default() };
        let case = Case::<f32>::dense("inputs", &noise, options).with_inputs(inputs);
        check(&case, &tuned(&[8]), &[ALIGNED]);
    }
    // A NaN upstream gradient makes the rows' gradients NaN that count, and no loss.
    let inputs = Inputs { upstream: f32::NAN, ..inputs };
    let case = Case::<f32>::dense("NaN upstream", &noise, Options::default()).with_inputs(inputs);
    let found = run_bound(gpu(), &op(gpu(), &case.options), &case, ALIGNED, To::Element);
    for (at, value) in found.dlogits.iter().enumerate() {
        let counts = case.weight(at / 5) > 0.0;
        assert!(if counts { value.is_nan() } else { *value == 0.0 }, "{at}: {value}");
    }
    assert!(found.row_losses.iter().all(|loss| loss.is_finite()));
}

#[test]
fn batches_in_which_nothing_counts() {
    let mask = [false; 4];
    for empty_batch in [EmptyBatch::Nan, EmptyBatch::Zero] {
        let options = Options { empty_batch, ..Options::default() };
        let case = Case::<f32>::dense("nothing", &noise_rows(1, 4, 9), options);
        check(
            &case.with_inputs(Inputs { row_mask: Some(&mask), ..Inputs::default() }),
            &tuned(&[8]),
            &[ALIGNED],
        );
    }
    let strict = op::<f32>(gpu(), &Options { empty_batch: EmptyBatch::Error, ..Options::default() });
    let found =
        strict.loss(&[0.0; 8], KlDivergenceInputs::new(&[0.0; 8]).row_mask(&mask), Shape::new(4, 2)).wait();
    assert_eq!(found, Err(Error::NoRowCounts { rows: 4 }));
    let none = op::<f32>(gpu(), &Options::default());
    let (loss, dlogits) = none.loss_and_dlogits(&[], &[], Shape::new(0, 3)).wait().unwrap();
    assert!(loss.value.is_nan() && loss.sum == 0.0 && dlogits.is_empty());
}

/// A row weight that is none, in a buffer: NaN loss, no gradient, and the others are right.
#[test]
fn invalid_weights_in_buffers() {
    for bad in [-1.0, f32::NAN, INF] {
        let weights = [1.0, bad, 2.0];
        let case = Case::<f32>::dense("bad weight", &noise_rows(6, 3, 40), Options::default());
        let good = Case {
            inputs: Inputs { row_weights: Some(&[1.0, 0.0, 2.0]), ..Inputs::default() },
            ..Case::dense("good", &noise_rows(6, 3, 40), Options::default())
        };
        let case = case.with_inputs(Inputs { row_weights: Some(&weights), ..Inputs::default() });
        let op = op(gpu(), &case.options);
        let found = run_bound(gpu(), &op, &case, ALIGNED, To::Element);
        let right = run_bound(gpu(), &op, &good, ALIGNED, To::Element);
        assert!(found.row_losses[1].is_nan() && found.value.unwrap().is_nan());
        assert_eq!(found.flags, Some(Flags::INVALID_WEIGHT | Flags::NAN_LOSS));
        assert_eq!((found.row_losses[0], found.row_losses[2]), (right.row_losses[0], right.row_losses[2]));
        assert_eq!(found.dlogits, right.dlogits);
    }
}

#[test]
fn gradients_of_a_row_sum_to_zero() {
    for temperature in [0.5, 1.0, 4.0] {
        let options = Options { temperature, reduction: Reduction::Sum, ..Options::default() };
        let case = Case::<f32>::dense("sum", &noise_rows(2, 6, 3000), options);
        let found = run_host(&op(gpu(), &options), &case);
        for row in found.dlogits.chunks(3000) {
            let sum: f64 = row.iter().sum();
            let size: f64 = row.iter().map(|g| g.abs()).sum();
            assert!(size > 0.1 && sum.abs() <= 4e-6 * size, "{sum:e} of {size}");
        }
    }
}

/// Devices of small bindings and buffers cut a batch into many windows, and change no bit.
#[test]
fn windows_change_no_bit() {
    let devices = [
        device_with(|limits| limits.max_storage_buffer_binding_size = 16_388 as _),
        device_with(|limits| limits.max_buffer_size = 96 << 10),
    ];
    fn of_type<E: Element>(devices: &[Context], batches: &[(usize, usize, usize)]) {
        for &(rows, cols, padding) in batches {
            let shape = Shape::new(rows, cols).row_stride(cols + padding);
            let case = Case::<E>::new("windows", shape, &noise_rows(8, rows, cols), Options::default());
            let whole = op::<E>(gpu(), &case.options);
            let weights: Vec<f32> = (0..rows).map(|row| (row % 3) as f32).collect();
            let case = case.with_inputs(Inputs { row_weights: Some(&weights), ..Inputs::default() });
            let expected = Expected::of(&case);
            let (host, to) = (run_host(&whole, &case), ways::<E>(shape)[0]);
            let bound = run_bound(gpu(), &whole, &case, ALIGNED, to);
            expected.check(&case, &host);
            expected.check(&case, &bound);
            for gpu in devices {
                let op = op::<E>(gpu, &case.options);
                let mut pairs = vec![(&host, run_host(&op, &case))];
                if (shape.len() * 4 + 4096) as u64 <= gpu.device.limits().max_buffer_size {
                    pairs.push((&bound, run_bound(gpu, &op, &case, ALIGNED, to)));
                }
                for (a, b) in pairs {
                    assert_eq!(a.row_losses, b.row_losses, "{}", case.name);
                    assert_eq!(a.dlogits, b.dlogits, "{}", case.name);
                    assert_eq!((a.value, a.sum, a.flags), (b.value, b.sum, b.flags), "{}", case.name);
                }
            }
        }
    }
    of_type::<f32>(&devices, &[(700, 7, 0), (200, 129, 2), (150, 130, 0), (40, 1001, 0)]);
    of_type::<f16>(&devices[..1], &[(700, 7, 0), (200, 129, 2)]);
}

#[test]
fn fewer_rows_than_bound_and_encoding_twice() {
    let case = Case::<f32>::dense("part", &noise_rows(5, 10, 33), Options::default());
    let op = op::<f32>(gpu(), &case.options);
    let (x, b) = (region(gpu(), (64, 0), &case.student), region(gpu(), (64, 0), &case.teacher));
    let losses = Region::unwritten(gpu(), 10);
    let buffers = KlDivergenceBuffers {
        outputs: LossOutputs { row_losses: Some(losses.binding()), ..Default::default() },
        ..KlDivergenceBuffers::new(x.binding(), b.binding())
    };
    let bound = op.bind(case.shape, &buffers).unwrap();
    in_pass(gpu(), |pass| bound.encode_rows(pass, 4).unwrap());
    let part = losses.read(gpu());
    assert!(part[4..].iter().all(|&word| word == SENTINEL));
    in_pass(gpu(), |pass| {
        bound.encode(pass);
        bound.encode(pass);
    });
    assert_eq!(losses.read(gpu())[..4], part[..4]);
    let host = op.row_losses(&case.student, case.given(), case.shape).wait().unwrap();
    assert_eq!(bytemuck::cast_slice::<f32, u32>(&host), losses.read(gpu()));
}

#[test]
fn verification_and_awaited_requests() {
    let options = Options { temperature: 2.0, scale_by_t_squared: true, ..Options::default() };
    fn of_type<E: Element>(options: Options) {
        let case = Case::<E>::dense("verify", &special_rows(65), options);
        let op = op::<E>(gpu(), &options);
        let Case { student, shape, .. } = &case;
        let losses = op.verify(student, case.given(), *shape, 1000).wait().unwrap();
        let dlogits = op.verify_dlogits(student, case.given(), *shape, 1000).wait().unwrap();
        assert!(losses.passed && dlogits.passed, "{losses:?} {dlogits:?}");
        assert_eq!((losses.rows_checked, dlogits.rows_checked), (shape.rows, shape.rows));
    }
    of_type::<f32>(options);
    of_type::<bf16>(options);
    let case = Case::<f32>::dense("async", &noise_rows(1, 5, 20), options);
    let op = op::<f32>(gpu(), &options);
    let Case { student, shape, .. } = &case;
    let (loss, dlogits) = op.loss_and_dlogits(student, case.given(), *shape).wait().unwrap();
    let mut wide = vec![0f32; shape.len()];
    let wide_loss = op.loss_into(student, case.given(), *shape, &mut wide).wait().unwrap();
    assert_eq!((wide_loss, &wide), (loss, &dlogits));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                gpu().device.poll(wgpu::PollType::Poll).unwrap();
                std::thread::yield_now();
            }
        });
        let found = pollster::block_on(async {
            let alone = op.loss(student, case.given(), *shape).await?;
            let rows = op.row_losses(student, case.given(), *shape).await?;
            let both = op.loss_and_dlogits(student, case.given(), *shape).await?;
            Ok::<_, Error>((alone, rows, both))
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let (alone, rows, both) = found.unwrap();
        assert_eq!((alone, &both.0, &both.1), (loss, &loss, &dlogits));
        assert_eq!(rows, op.row_losses(student, case.given(), *shape).wait().unwrap());
    });
}

#[test]
fn options_are_values_and_switches() {
    let gpu = &device_with(|_| {});
    let op = KlDivergence::<f32>::new(gpu, &Options::default()).unwrap();
    let run =
        |op: &KlDivergence<f32>| op.loss(&[0.0, 1.0], &[1.0, 0.0], Shape::new(1, 2)).wait().unwrap().value;
    let plain = run(&op);
    let made = gpu.pipelines();
    let hot = op.with_options(&Options { temperature: 2.0, ..Options::default() }).unwrap();
    assert!(run(&hot) < plain);
    assert_eq!(gpu.pipelines(), made, "another temperature makes nothing anew");
    let scaled = op.with_options(&Options { scale_by_t_squared: true, ..*hot.options() }).unwrap();
    assert!((run(&scaled) - 4.0 * run(&hot)).abs() < 1e-5);
    assert!(gpu.pipelines() > made);
    assert!(matches!(
        op.with_options(&Options { temperature: 0.0, ..Options::default() }),
        Err(Error::InvalidOption { option: "temperature", .. })
    ));
}

#[test]
fn misuse() {
    let gpu = gpu();
    let op = op::<f32>(gpu, &Options::default());
    let shape = Shape::new(2, 3);
    let (good, bad) = ([0.0; 6], [0.0; 5]);
    let run = |x: &[f32], b: &[f32], rows: Inputs<'_>| {
        op.loss(x, KlDivergenceInputs::new(b).rows(rows), shape).wait().map(drop)
    };
    let length = |what, found, needed| Err(Error::Length { what, found, needed });
    let none = Inputs::default();
    assert_eq!(run(&bad, &good, none), length("student", 5, 6));
    assert_eq!(run(&good, &bad, none), length("teacher", 5, 6));
    assert_eq!(run(&good, &good, Inputs { row_weights: Some(&[1.0]), ..none }), length("row_weights", 1, 2));
    assert_eq!(run(&good, &good, Inputs { row_mask: Some(&[true; 3]), ..none }), length("row_mask", 3, 2));
    assert_eq!(
        run(&good, &good, Inputs { row_upstream: Some(&[1.0; 3]), ..none }),
        length("row_upstream", 3, 2)
    );
    for weight in [-1.0, f32::NAN, INF] {
        let found = run(&good, &good, Inputs { row_weights: Some(&[1.0, weight]), ..none });
        assert!(matches!(found, Err(Error::InvalidOption { option: "row_weights", at: Some(1), .. })));
    }
    assert_eq!(run(&good, &good, none), Ok(()));
    assert_eq!(op.loss(&[], &[], Shape::new(2, 0)).wait().map(|_| ()), Err(Error::NoCols { rows: 2 }));

    let of = |words: usize| Region::unwritten(gpu, words);
    let (x, b, small, output, losses) = (of(6), of(6), of(5), of(6), of(2));
    let bind = |buffers: &KlDivergenceBuffers<'_>| op.bind(shape, buffers).map(|_| ());
    let plain = || KlDivergenceBuffers::new(x.binding(), b.binding());
    assert!(matches!(bind(&plain()), Err(Error::NoOutput { .. })));
    let with = |dlogits| KlDivergenceBuffers {
        outputs: LossOutputs { dlogits: Some(dlogits), ..Default::default() },
        ..plain()
    };
    assert_eq!(bind(&with(OutputBuffer::To(output.binding()))), Ok(()));
    assert_eq!(bind(&with(OutputBuffer::InPlace)), Ok(()));
    let alias = |first, second| Err(Error::BufferAlias { first, second });
    assert_eq!(bind(&with(OutputBuffer::To(x.binding()))), alias("student", "dlogits"));
    assert_eq!(bind(&with(OutputBuffer::To(b.binding()))), alias("teacher", "dlogits"));
    // A batch against itself is no error, unless one of the two is written.
    let itself = KlDivergenceBuffers {
        outputs: LossOutputs { row_losses: Some(losses.binding()), ..Default::default() },
        ..KlDivergenceBuffers::new(x.binding(), x.binding())
    };
    assert_eq!(bind(&itself), Ok(()));
    let over = KlDivergenceBuffers {
        outputs: LossOutputs { dlogits: Some(OutputBuffer::InPlace), ..Default::default() },
        ..itself
    };
    assert_eq!(bind(&over), alias("student", "teacher"));
    let too_small = |what| Err(Error::BufferTooSmall { what, found: 20, needed: 24 });
    let output = || Some(OutputBuffer::To(output.binding()));
    let of_two = |x: &Region, b: &Region| {
        bind(&KlDivergenceBuffers {
            outputs: LossOutputs { dlogits: output(), ..Default::default() },
            ..KlDivergenceBuffers::new(x.binding(), b.binding())
        })
    };
    assert_eq!(of_two(&small, &b), too_small("student"));
    assert_eq!(of_two(&x, &small), too_small("teacher"));
    assert_eq!(bind(&with(OutputBuffer::To(small.binding()))), too_small("dlogits"));

    let half = KlDivergence::<f16>::new(gpu, &Options::default()).unwrap();
    let bind = |shape, dlogits| {
        half.bind(
            shape,
            &KlDivergenceBuffers {
                outputs: LossOutputs { dlogits: Some(dlogits), ..Default::default() },
                ..plain()
            },
        )
        .map(|_| ())
    };
    let odd = Err(Error::OddStride { what: "dlogits", row_stride: 3, needed: 4 });
    assert_eq!(bind(shape, OutputBuffer::InPlace), odd);
    let packed = Err(Error::PackedLayout { what: "dlogits", inner: 2 });
    assert_eq!(bind(Shape::nchw(1, 3, 2), OutputBuffer::InPlace), packed);
    let invalid = KlDivergence::<f32>::new(gpu, &Options { temperature: f32::NAN, ..Options::default() });
    assert!(matches!(invalid, Err(Error::InvalidOption { option: "temperature", .. })));
    let found = op.clone().with_tuning(Tuning::fixed(3, 1)).map(drop);
    assert!(matches!(found, Err(Error::InvalidOption { option: "tuning.lanes", .. })));
}

/// The comparator fails on what is wrong.
#[test]
fn a_comparator_that_can_fail() {
    let case = Case::<f32>::dense("comparator", &noise_rows(1, 3, 8), Options::default());
    let expected = Expected::of(&case);
    let right = || run_host(&op(gpu(), &case.options), &case);
    expected.check(&case, &right());
    type Break = fn(&mut Found);
    let breaks: [Break; 7] = [
        |found| found.row_losses[1] += 1e-4,
        |found| found.row_losses[2] = f64::NAN,
        |found| found.row_losses.swap(0, 1),
        |found| found.dlogits[9] = 0.0,
        |found| found.dlogits[9] *= 1.001,
        |found| found.value = found.value.map(|value| value + 1e-4),
        |found| found.flags = Some(Flags::NAN_LOSS),
    ];
    for (i, spoil) in breaks.into_iter().enumerate() {
        let mut found = right();
        spoil(&mut found);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| expected.check(&case, &found)));
        assert!(caught.is_err(), "break {i} passed");
    }
}
