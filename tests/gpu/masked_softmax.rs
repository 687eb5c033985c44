//! Masked softmax against its reference: masks of each kind and together, causality, special values everywhere.

use half::{bf16, f16};
use xent::bounds::masked_prob_bounds;
use xent::{
    Causal, Context, Element, Error, MaskRows, MaskedRow, MaskedSoftmax, MaskedSoftmaxBuffers,
    MaskedSoftmaxOptions, Masks, OutputBuffer, Shape, Tuning, half, reference, wgpu,
};

use crate::harness::{Region, aligned_offset, device_of_bindings, gpu, in_pass, is_mine};
use crate::typed::{Expected, check, narrowed, noise, read, region, same_bits, unwritten};

const INF: f32 = f32::INFINITY;
const LANES: [Option<u32>; 6] = [None, Some(1), Some(2), Some(8), Some(64), Some(256)];

/// Logits with their masks.
struct Batch<E> {
    labels: Vec<String>,
    shape: Shape,
    logits: Vec<E>,
    additive: Option<(Vec<f32>, MaskRows)>,
    boolean: Option<(Vec<bool>, MaskRows)>,
    options: MaskedSoftmaxOptions,
}

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Element,
    F32,
    InPlace,
}

fn base<E: Element>(gpu: &Context) -> MaskedSoftmax<E> {
    MaskedSoftmax::new(gpu, &Default::default()).expect("an operation")
}

impl<E: Element> Batch<E> {
    fn masks(&self) -> Masks<'_> {
        Masks {
            additive: self.additive.as_ref().map(|(mask, rows)| (&mask[..], *rows)),
            boolean: self.boolean.as_ref().map(|(mask, rows)| (&mask[..], *rows)),
        }
    }

    fn expected(&self) -> Expected {
        let of = |row| {
            let logits: Vec<E> = self.shape.row(&self.logits, row).copied().collect();
            let probs = reference::masked_softmax_row(&logits, row, self.masks(), &self.options);
            let bounds = masked_prob_bounds(&logits, row, self.masks(), &self.options);
            probs.into_iter().zip(bounds).collect()
        };
        (0..self.shape.rows).map(of).collect()
    }

    /// With the pipelines that `base` has made already.
    fn op(&self, base: &MaskedSoftmax<E>, lanes: Option<u32>) -> MaskedSoftmax<E> {
        let op = base.with_options(&self.options).expect("an operation");
        match lanes {
            Some(lanes) => op.with_tuning(Tuning::fixed(lanes, 1)).expect("a tuning"),
            None => op,
        }
    }

    fn host(&self, op: &MaskedSoftmax<E>) -> Vec<E> {
        op.softmax(&self.logits, self.masks(), self.shape).wait().expect("probabilities")
    }

    /// Through buffers of the caller's, twice; f32 output is given as f32.
    fn bound<O: Element>(&self, gpu: &Context, op: &MaskedSoftmax<E>, to: To, offsets: (u64, u64)) -> Vec<O> {
        let len = self.logits.len();
        let logits = region(gpu, offsets.0, &self.logits);
        let probs = unwritten::<O>(gpu, offsets.1, len);
        let at = aligned_offset(gpu);
        let additive = self.additive.as_ref().map(|(mask, rows)| (Region::of_f32(gpu, at, mask), *rows));
        let boolean = self.boolean.as_ref().map(|(mask, rows)| {
            let word = |(at, &attended): (usize, &bool)| if attended { 1 << (at % 32) } else { 0 };
            let words: Vec<u32> = mask.iter().enumerate().map(word).collect();
            (Region::new(gpu, at, &words), *rows)
        });
        let buffers = MaskedSoftmaxBuffers {
            logits: logits.binding(),
            additive: additive.as_ref().map(|(region, rows)| (region.binding(), *rows)),
            boolean: boolean.as_ref().map(|(region, rows)| (region.binding(), *rows)),
            probs: match to {
                To::Element => OutputBuffer::To(probs.binding()),
                To::F32 => OutputBuffer::F32(probs.binding()),
                To::InPlace => OutputBuffer::InPlace,
            },
        };
        let bound = op.bind(self.shape, &buffers).expect("bound");
        in_pass(gpu, |pass| bound.encode(pass));
        if to != To::InPlace {
            in_pass(gpu, |pass| bound.encode(pass));
        }
        read(gpu, if to == To::InPlace { &logits } else { &probs }, len)
    }

    /// Both ways, and into every kind of output.
    fn check(&self, base: &MaskedSoftmax<E>, name: &str) {
        let (gpu, expected) = (gpu(), self.expected());
        let op = self.op(base, None);
        let (shape, labels) = (self.shape, &self.labels[..]);
        let context = |way: &str| format!("{name}, {way}, {:?}", self.options);
        let host = self.host(&op);
        check(&context("host"), labels, shape, &host, &expected, true);
        let wide = self.bound::<f32>(gpu, &op, To::F32, (260, 264));
        check(&context("f32"), labels, shape, &wide, &expected, false);
        if size_of::<E>() == 2 && !shape.row_stride.is_multiple_of(2) {
            return;
        }
        let bound = self.bound::<E>(gpu, &op, To::Element, (260, 264));
        check(&context("bound"), labels, shape, &bound, &expected, false);
        let over = self.bound::<E>(gpu, &op, To::InPlace, (260, 256));
        for row in 0..shape.rows {
            let of = |values: &[E]| shape.row(values, row).copied().collect::<Vec<E>>();
            assert!(same_bits(&of(&over), &of(&bound)), "{}: row {row}", context("in place"));
        }
        // What lies between rows is as it was.
        let padding = |at: &usize| at % shape.row_stride >= shape.cols;
        for at in (0..over.len()).filter(padding) {
            assert!(same_bits(&over[at..=at], &self.logits[at..=at]), "padding");
        }
    }
}

/// A row's logits, its additive and its boolean mask, and where in them the special value is.
type Fill = fn(&mut [f32], &mut [f32], &mut [bool], usize);

const CASES: &[(&str, Fill)] = &[
    ("noise", |_, _, _, _| {}),
    ("a NaN", |x, _, _, at| x[at] = f32::NAN),
    ("a signalling −NaN", |x, _, _, at| x[at] = f32::from_bits(0xff80_0001)),
    ("a +∞", |x, _, _, at| x[at] = INF),
    ("a −∞", |x, _, _, at| x[at] = -INF),
    ("all −∞", |x, _, _, _| x.fill(-INF)),
    ("all but one −∞", |x, _, _, at| {
        x.fill(-INF);
        x[at] = 2.0;
    }),
    ("a forbidden NaN", |x, _, b, at| (x[at], b[at]) = (f32::NAN, false)),
    ("a forbidden NaN of all ones", |x, _, b, at| (x[at], b[at]) = (f32::from_bits(u32::MAX), false)),
    ("a forbidden +∞", |x, _, b, at| (x[at], b[at]) = (INF, false)),
    ("a forbidden maximum", |x, _, b, at| (x[at], b[at]) = (3e38, false)),
    ("a forbidden NaN of the mask", |_, m, b, at| (m[at], b[at]) = (f32::NAN, false)),
    ("all forbidden", |_, _, b, _| b.fill(false)),
    ("all forbidden, a NaN", |x, _, b, at| {
        b.fill(false);
        x[at] = f32::NAN;
    }),
    ("all but one forbidden", |x, _, b, at| {
        x.fill(f32::NAN);
        b.fill(false);
        (x[at], b[at]) = (7.0, true);
    }),
    ("a NaN, the others forbidden", |x, _, b, at| {
        b.fill(false);
        (x[at], b[at]) = (f32::NAN, true);
    }),
    ("a mask of −∞", |_, m, _, at| m[at] = -INF),
    ("a NaN under −∞", |x, m, _, at| (x[at], m[at]) = (f32::NAN, -INF)),
    ("a +∞ under −∞", |x, m, _, at| (x[at], m[at]) = (INF, -INF)),
    ("a −∞ under −∞", |x, m, _, at| (x[at], m[at]) = (-INF, -INF)),
    ("a −∞ under +∞", |x, m, _, at| (x[at], m[at]) = (-INF, INF)),
    ("a mask of +∞", |_, m, _, at| m[at] = INF),
    ("a mask of NaN", |_, m, _, at| m[at] = f32::from_bits(0xffc0_1234)),
    ("a mask of NaN over −∞", |x, m, _, at| (x[at], m[at]) = (-INF, f32::NAN)),
    ("all masks −∞", |_, m, _, _| m.fill(-INF)),
    ("all masks but one −∞", |_, m, _, at| {
        m.fill(-INF);
        m[at] = -1.0;
    }),
    ("all masks but one −3.4e38", |_, m, _, at| {
        m.fill(f32::MIN);
        m[at] = 0.0;
    }),
    ("−∞ by mask, logit and flag", |x, m, b, at| {
        x.fill(-INF);
        if at > 0 {
            (x[0], b[0]) = (1.0, false);
        }
        (x[at], m[at]) = (1.0, -INF);
    }),
    ("a logit of 3e38", |x, _, _, at| x[at] = 3e38),
    ("a logit of −3e38", |x, _, _, at| x[at] = -3e38),
    ("3e38 and −3e38", |x, m, _, at| (x[at], m[at]) = (3e38, -3.4e38)),
    ("a sum beyond f32", |x, m, _, at| (x[at], m[at]) = (2.4e38, 3e38)),
    ("a shift of 1e4", |x, _, _, _| x.iter_mut().for_each(|x| *x += 1e4)),
    ("masks of 1e5", |_, m, _, _| m.fill(1e5)),
    ("a peak", |x, _, _, at| x[at] = 60.0),
    ("a peak of the mask", |_, m, _, at| m[at] = 60.0),
];

/// Every case at the first, the last and columns between.
fn special(cols: usize, options: MaskedSoftmaxOptions) -> Batch<f32> {
    let mut places = vec![0, 1, cols / 2, cols.saturating_sub(2), cols - 1];
    places.retain(|&at| at < cols);
    places.dedup();
    let (values, biases) = (noise(cols as u64, cols + 997, 3.0), noise(1, cols + 997, 1.0));
    let (mut labels, mut logits, mut additive, mut boolean) = (vec![], vec![], vec![], vec![]);
    for (i, &(label, fill)) in CASES.iter().enumerate() {
        for &at in &places {
            let from = (i * 31 + at) % 997;
            let (mut x, mut m) = (values[from..][..cols].to_vec(), biases[from..][..cols].to_vec());
            let mut b = vec![true; cols];
            fill(&mut x, &mut m, &mut b, at);
            labels.push(format!("{label} at {at}"));
            logits.extend(x);
            additive.extend(m);
            boolean.extend(b);
        }
    }
    let rows = MaskRows::each(labels.len());
    Batch {
        shape: Shape::new(labels.len(), cols),
        labels,
        logits,
        additive: Some((additive, rows)),
        boolean: Some((boolean, rows)),
        options,
    }
}

fn check_special(cols: &[usize]) {
    let (gpu, base) = (gpu(), base(gpu()));
    for (at, &cols) in cols.iter().enumerate() {
        let scale = [0.125, 1.0, -0.5, 10.0][at % 4];
        let masked_row = [MaskedRow::Nan, MaskedRow::Zero][at % 2];
        let batch = special(cols, MaskedSoftmaxOptions { scale, masked_row, causal: None });
        let expected = batch.expected();
        // The plan's lanes into both places, and a third of the others into one: all of them in turn.
        for (i, lanes) in LANES.into_iter().enumerate().filter(|(i, _)| *i == 0 || (i + at) % 3 == 0) {
            let op = batch.op(&base, lanes);
            let offsets = (256 + 4 * (cols as u64 % 4), 256 + 4 * (at as u64 % 3));
            for to in [To::Element, To::InPlace] {
                if lanes.is_some() && (to == To::Element) != ((i + at) % 2 == 0) {
                    continue;
                }
                let probs = batch.bound::<f32>(gpu, &op, to, offsets);
                let context = format!("{to:?}, {lanes:?}, {:?}", batch.options);
                check(&context, &batch.labels, batch.shape, &probs, &expected, false);
            }
        }
        let host = batch.host(&batch.op(&base, None));
        check("host", &batch.labels, batch.shape, &host, &expected, true);
    }
}

#[test]
fn special_values_in_short_rows() {
    check_special(&[1, 2, 3, 5, 8, 31, 64, 65]);
}

#[test]
fn special_values_in_long_rows() {
    check_special(&[257, 1000, 4097, 1001]);
}

/// batch · heads · queries of noise, with masks of every kind.
fn attention<E: Element>(
    cols: usize,
    row_stride: usize,
    q_len: usize,
    kinds: (Option<MaskRows>, Option<MaskRows>),
    causal: Option<Causal>,
) -> Batch<E> {
    let rows = 2 * 3 * q_len;
    let shape = Shape::new(rows, cols).row_stride(row_stride);
    let mut logits: Vec<E> = narrowed(&noise(7, shape.len(), 8.0));
    // Padding is the sentinel: it must stay.
    for at in (0..logits.len()).filter(|at| at % row_stride >= cols) {
        logits[at] = bytemuck::cast_slice::<u32, E>(&[crate::harness::SENTINEL])[0];
    }
    let entries = |rows: MaskRows, seed| noise(seed, rows.rows * cols, 2.0);
    Batch {
        labels: Vec::new(),
        shape,
        logits,
        additive: kinds.0.map(|rows| {
            let hide = |x: f32| if x > 2.5 { -INF } else { x };
            (entries(rows, 8).into_iter().map(hide).collect(), rows)
        }),
        boolean: kinds.1.map(|rows| (entries(rows, 9).into_iter().map(|x| x < 1.0).collect(), rows)),
        options: MaskedSoftmaxOptions { scale: 0.125, causal, masked_row: MaskedRow::Zero },
    }
}

fn check_kinds<E: Element>(layouts: &[(usize, usize)]) {
    let (q_len, base) = (4, base(gpu()));
    let each = |rows| Some(MaskRows::each(rows));
    let per_sequence = Some(MaskRows::repeated(2, 3 * q_len));
    let per_head = Some(MaskRows::repeated(3, q_len));
    let causals = |cols: usize| {
        [
            Causal::lower_right(q_len),
            Causal::upper_left(q_len),
            Causal::at(q_len, -1),
            Causal::at(q_len, -4),
            Causal::at(q_len, i64::MIN),
            Causal::at(q_len, i64::MAX),
            Causal::at(1, cols as i64 / 2),
            Causal::at(6 * q_len, 0),
        ]
    };
    for (i, &(cols, row_stride)) in layouts.iter().enumerate() {
        let mut kinds = vec![
            ("no mask", (None, None), None),
            ("additive, of all heads", (each(q_len), None), None),
            ("additive, of each row", (each(6 * q_len), None), None),
            ("additive, of each head", (per_head, None), None),
            ("boolean, of all rows", (None, each(1)), None),
            ("boolean, of each sequence", (None, per_sequence), None),
            ("both", (each(q_len), per_sequence), None),
            ("all three", (each(q_len), per_sequence), Some(Causal::lower_right(q_len))),
            ("all three, otherwise", (each(1), each(2 * q_len)), Some(Causal::at(q_len, 1))),
        ];
        kinds.extend(causals(cols).map(|causal| ("causal", (None, None), Some(causal))));
        // Two adapters share them.
        for (j, (name, masks, causal)) in kinds.into_iter().enumerate() {
            if is_mine(i + j) {
                attention::<E>(cols, row_stride, q_len, masks, causal).check(&base, name);
            }
        }
    }
}

#[test]
fn masks_of_each_kind_f32() {
    check_kinds::<f32>(&[(6, 6), (13, 13), (70, 75)]);
}

#[test]
fn masks_of_each_kind_f16() {
    check_kinds::<f16>(&[(6, 6), (13, 13), (70, 76)]);
}

#[test]
fn masks_of_each_kind_bf16() {
    check_kinds::<bf16>(&[(6, 6), (13, 14), (71, 71)]);
}

#[test]
fn worked_answers() {
    let options = MaskedSoftmaxOptions { scale: 0.5, ..Default::default() };
    let softmax = MaskedSoftmax::<f32>::new(gpu(), &options).expect("an operation");
    let of = |masks: Masks<'_>| {
        softmax.softmax(&[6.0, 2.0, 0.4], masks, Shape::new(1, 3)).wait().expect("probabilities")
    };
    let near = |probs: Vec<f32>, expected: [f32; 3]| {
        assert!(probs.iter().zip(expected).all(|(p, expected)| (p - expected).abs() < 5e-5), "{probs:?}");
    };
    near(of(Masks::NONE), [0.8360, 0.1131, 0.0508]);
    let bias = [0.0, -std::f32::consts::LN_2, 0.0];
    near(of(Masks::NONE.additive(&bias, MaskRows::each(1))), [0.8861, 0.0600, 0.0539]);
    near(of(Masks::NONE.boolean(&[true, false, true], MaskRows::each(1))), [0.9427, 0.0, 0.0573]);
    // Beside −3.4e38 a logit is lost, so that all are alike: the bound has room for anything there, f32 does not.
    let lowest = [f32::MIN; 3];
    near(of(Masks::NONE.additive(&lowest, MaskRows::each(1))), [0.33333; 3]);
}

/// Dense rows through a device whose bindings hold a few: the row of the mask is told from the batch's first row.
#[test]
fn windows_change_no_bit() {
    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    fn windowed<E: Element>(small: &Context, cols: usize) {
        let q_len = 35;
        let kinds = (Some(MaskRows::each(q_len)), Some(MaskRows::repeated(2, 3 * q_len)));
        let batch = attention::<E>(cols, cols, q_len, kinds, Some(Causal::lower_right(q_len)));
        let expected = batch.expected();
        let (few, whole) = (batch.op(&base(small), None), batch.op(&base(gpu()), None));
        let host = batch.host(&few);
        check("windows, host", &[], batch.shape, &host, &expected, true);
        assert!(same_bits(&host, &batch.host(&whole)), "host");
        let bound = batch.bound::<f32>(small, &few, To::F32, (256, 256));
        check("windows, bound", &[], batch.shape, &bound, &expected, false);
        assert!(same_bits(&bound, &batch.bound::<f32>(gpu(), &whole, To::F32, (256, 256))), "bound");
    }
    windowed::<f32>(&small, 101);
    windowed::<f16>(&small, 99);
    windowed::<bf16>(&small, 102);
}

#[test]
fn other_options_and_fewer_rows() {
    let gpu = gpu();
    let batch = attention::<f32>(9, 9, 4, (Some(MaskRows::each(4)), None), None);
    let warm = MaskedSoftmaxOptions { scale: 3.0, causal: Some(Causal::upper_left(4)), ..batch.options };
    let op = batch.op(&base(gpu), None).with_options(&warm).expect("other options");
    let batch = Batch { options: warm, ..batch };
    check("other options", &[], batch.shape, &batch.host(&op), &batch.expected(), true);

    let (logits, probs) = (region(gpu, 256, &batch.logits), unwritten::<f32>(gpu, 256, batch.logits.len()));
    let mask = Region::of_f32(gpu, aligned_offset(gpu), &batch.additive.as_ref().expect("a mask").0);
    let buffers = MaskedSoftmaxBuffers {
        logits: logits.binding(),
        additive: Some((mask.binding(), MaskRows::each(4))),
        boolean: None,
        probs: OutputBuffer::To(probs.binding()),
    };
    let bound = op.bind(batch.shape, &buffers).expect("bound");
    in_pass(gpu, |pass| bound.encode_rows(pass, 7).expect("fewer rows"));
    let found = read::<f32>(gpu, &probs, batch.logits.len());
    let fewer = batch.shape.with_rows(7);
    check("fewer rows", &[], fewer, &found[..fewer.len()], &batch.expected()[..7].to_vec(), false);
    assert!(found[fewer.len()..].iter().all(|p| p.to_bits() == crate::harness::SENTINEL), "the rest");
}

#[test]
fn verification_and_the_async_twin() {
    let kinds = (Some(MaskRows::each(4)), Some(MaskRows::each(1)));
    let batch = attention::<f16>(37, 37, 4, kinds, Some(Causal::lower_right(4)));
    let (gpu, op) = (gpu(), batch.op(&base(gpu()), None));
    let verified = op.verify(&batch.logits, batch.masks(), batch.shape, 10).wait().expect("verified");
    assert!(verified.passed && verified.rows_checked == 10, "{verified:?}");
    let done = std::sync::atomic::AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                gpu.device.poll(wgpu::PollType::Poll).expect("polled");
                std::thread::yield_now();
            }
        });
        let found = pollster::block_on(op.softmax(&batch.logits, batch.masks(), batch.shape));
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        found.expect("probabilities")
    });
    assert!(same_bits(&found, &batch.host(&op)));
    assert_eq!(op.softmax(&[], Masks::NONE, Shape::new(0, 3)).wait(), Ok(vec![]));
}

#[test]
fn misuse() {
    let gpu = gpu();
    let of = |options: MaskedSoftmaxOptions| MaskedSoftmax::<f16>::new(gpu, &options);
    for scale in [0.0, f32::NAN, INF, f32::MIN_POSITIVE / 2.0, 2e38] {
        let error = of(MaskedSoftmaxOptions { scale, ..Default::default() }).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "scale", .. })), "{error:?}");
    }
    let none = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(0)), ..Default::default() };
    assert!(matches!(of(none).err(), Some(Error::InvalidOption { option: "causal: q_len", .. })));

    let op = of(Default::default()).expect("an operation");
    let shape = Shape::new(4, 6);
    let logits = vec![f16::ONE; 24];
    let host = |masks: Masks<'_>, shape: Shape| op.softmax(&logits, masks, shape).wait().err();
    let mask = [0.0; 18];
    let three = MaskRows::each(3);
    let error = Error::MaskRows { what: "masks: additive", rows: 4, mask_rows: 3, repeat: 1 };
    assert_eq!(host(Masks::NONE.additive(&mask, three), shape), Some(error));
    let error = Error::Length { what: "masks: additive", found: 18, needed: 12 };
    assert_eq!(host(Masks::NONE.additive(&mask, MaskRows::each(2)), shape), Some(error));
    let inner = Error::ClassAxisNotLast { inner: 2 };
    assert_eq!(host(Masks::NONE, Shape::nchw(2, 6, 2)), Some(inner.clone()));
    let error = Error::Length { what: "logits", found: 24, needed: 30 };
    assert_eq!(host(Masks::NONE, Shape::new(5, 6)), Some(error));
    let causal = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(3)), ..Default::default() };
    let error = Error::MaskRows { what: "causal: q_len", rows: 4, mask_rows: 3, repeat: 1 };
    let causal = op.with_options(&causal).expect("an operation");
    assert_eq!(causal.softmax(&logits, Masks::NONE, shape).wait().err(), Some(error.clone()));

    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    let on_small = MaskedSoftmax::<f16>::new(&small, &Default::default()).expect("an operation");
    let (wide, rows) = (Shape::new(50, 100), MaskRows::each(50));
    let too_large = Error::MaskTooLarge { what: "masks: boolean", bytes: 20_000, limit: 16 << 10 };
    let flags = [true; 5000];
    let found = on_small.softmax(&[f16::ONE; 5000], Masks::NONE.boolean(&flags, rows), wide).wait();
    assert_eq!(found.err(), Some(too_large));

    let at = aligned_offset(gpu);
    let values = Region::unwritten_at(gpu, at, 64);
    let (other, mask) = (Region::unwritten_at(gpu, at, 64), Region::unwritten_at(gpu, at, 18));
    let buffers = MaskedSoftmaxBuffers {
        logits: values.binding(),
        additive: None,
        boolean: None,
        probs: OutputBuffer::To(other.binding()),
    };
    let refused = |shape: Shape, to: &MaskedSoftmaxBuffers<'_>| op.bind(shape, to).err();
    assert_eq!(refused(shape, &buffers), None);
    assert_eq!(refused(Shape::nchw(2, 6, 2), &buffers), Some(inner));
    assert_eq!(causal.bind(shape, &buffers).err(), Some(error));
    let odd = Error::OddStride { what: "probs", row_stride: 7, needed: 8 };
    assert_eq!(refused(shape.row_stride(7), &buffers), Some(odd.clone()));
    let over = MaskedSoftmaxBuffers { probs: OutputBuffer::InPlace, ..buffers.clone() };
    assert_eq!(refused(shape.row_stride(7), &over), Some(odd));
    let wide = MaskedSoftmaxBuffers { probs: OutputBuffer::F32(other.binding()), ..buffers.clone() };
    assert_eq!(refused(shape.row_stride(7), &wide), None);
    let alias = MaskedSoftmaxBuffers { probs: OutputBuffer::To(values.binding()), ..buffers.clone() };
    let error = Error::BufferAlias { first: "logits", second: "probs" };
    assert_eq!(refused(shape, &alias), Some(error));
    let boolean = Some((values.binding(), MaskRows::each(4)));
    let alias = MaskedSoftmaxBuffers { boolean, ..over.clone() };
    let error = Error::BufferAlias { first: "logits", second: "boolean" };
    assert_eq!(refused(shape, &alias), Some(error));
    let additive = |rows| Some((mask.binding(), rows));
    let to = MaskedSoftmaxBuffers { additive: additive(MaskRows::each(4)), ..buffers.clone() };
    let error = Error::BufferTooSmall { what: "additive", found: 72, needed: 96 };
    assert_eq!(refused(shape, &to), Some(error));
    let to = MaskedSoftmaxBuffers { additive: additive(MaskRows::repeated(2, 4)), ..buffers };
    let error = Error::MaskRows { what: "additive", rows: 4, mask_rows: 2, repeat: 4 };
    assert_eq!(refused(shape, &to), Some(error));
}
