//! The backward of softmax and of log-softmax against its reference.

use half::{bf16, f16};
use xent::bounds::softmax_backward_bounds;
use xent::{
    Context, Element, Error, MaskedRow, OutputBuffer, Shape, Softmax, SoftmaxBackward,
    SoftmaxBackwardBuffers, SoftmaxBackwardOptions, SoftmaxOptions, Tuning, half, reference,
};

use crate::harness::{Region, aligned_offset, device_of_bindings, gpu, in_pass, is_mine};
use crate::typed::{Expected, check, narrowed, noise, read, region, same_bits, unwritten};

const INF: f32 = f32::INFINITY;
const LANES: [Option<u32>; 6] = [None, Some(1), Some(2), Some(8), Some(64), Some(256)];

/// Probabilities, or their logarithms, and the gradient by them.
struct Batch<E> {
    labels: Vec<String>,
    shape: Shape,
    probs: Vec<E>,
    dprobs: Vec<E>,
    options: SoftmaxBackwardOptions,
}

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Element,
    F32,
    InPlace,
}

fn base<E: Element>(gpu: &Context) -> SoftmaxBackward<E> {
    SoftmaxBackward::new(gpu, &Default::default()).expect("an operation")
}

impl<E: Element> Batch<E> {
    fn expected(&self) -> Expected {
        let of = |row| {
            let wide = |values: &[E]| self.shape.row(values, row).map(|x| x.to_f64()).collect::<Vec<f64>>();
            let (probs, dprobs) = (wide(&self.probs), wide(&self.dprobs));
            let dlogits = if self.options.log {
                reference::log_softmax_backward_row(&probs, &dprobs)
            } else {
                reference::softmax_backward_row(&probs, &dprobs)
            };
            let bounds = softmax_backward_bounds(&probs, &dprobs, &self.options);
            let scaled = dlogits.into_iter().map(|dx| dx * f64::from(self.options.scale));
            scaled.zip(bounds).collect()
        };
        (0..self.shape.rows).map(of).collect()
    }

    /// With the pipelines that `base` has made already.
    fn op(&self, base: &SoftmaxBackward<E>, lanes: Option<u32>) -> SoftmaxBackward<E> {
        let op = base.with_options(&self.options).expect("an operation");
        match lanes {
            Some(lanes) => op.with_tuning(Tuning::fixed(lanes, 1)).expect("a tuning"),
            None => op,
        }
    }

    fn host(&self, op: &SoftmaxBackward<E>) -> Vec<E> {
        op.backward(&self.probs, &self.dprobs, self.shape).wait().expect("a gradient")
    }

    /// Through buffers of the caller's, twice, at offsets of probabilities, their gradient and the output.
    fn bound<O: Element>(&self, gpu: &Context, op: &SoftmaxBackward<E>, to: To, offsets: [u64; 3]) -> Vec<O> {
        let len = self.probs.len();
        let (probs, dprobs) = (region(gpu, offsets[0], &self.probs), region(gpu, offsets[1], &self.dprobs));
        let dlogits = unwritten::<O>(gpu, offsets[2], len);
        let buffers = SoftmaxBackwardBuffers {
            probs: probs.binding(),
            dprobs: dprobs.binding(),
            dlogits: match to {
                To::Element => OutputBuffer::To(dlogits.binding()),
                To::F32 => OutputBuffer::F32(dlogits.binding()),
                To::InPlace => OutputBuffer::InPlace,
            },
        };
        let bound = op.bind(self.shape, &buffers).expect("bound");
        in_pass(gpu, |pass| bound.encode(pass));
        if to != To::InPlace {
            in_pass(gpu, |pass| bound.encode(pass));
        }
        read(gpu, if to == To::InPlace { &dprobs } else { &dlogits }, len)
    }

    fn context(&self, way: &str) -> String {
        format!("{way}, {:?}", self.options)
    }
}

/// A row's probabilities, the gradient by them, and where the special value is.
type Fill = fn(&mut [f32], &mut [f32], usize);

/// Cases of both kinds.
const CASES: &[(&str, Fill)] = &[
    ("noise", |_, _, _| {}),
    ("a NaN", |p, _, at| p[at] = f32::NAN),
    ("a signalling −NaN", |p, _, at| p[at] = f32::from_bits(0xff80_0001)),
    ("a +∞", |p, _, at| p[at] = INF),
    ("all NaN", |p, _, _| p.fill(f32::NAN)),
    ("a NaN gradient", |_, d, at| d[at] = f32::NAN),
    ("a NaN gradient of all ones", |_, d, at| d[at] = f32::from_bits(u32::MAX)),
    ("a +∞ gradient", |_, d, at| d[at] = INF),
    ("a −∞ gradient", |_, d, at| d[at] = -INF),
    ("gradients of +∞ and −∞", |_, d, at| (d[0], d[at]) = (INF, -INF)),
    ("no gradient", |_, d, _| d.fill(0.0)),
    ("one gradient", |_, d, at| {
        d.fill(0.0);
        d[at] = 1.0;
    }),
    ("equal gradients", |_, d, _| d.fill(2.5)),
    ("a gradient of 3e38", |_, d, at| d[at] = 3e38),
    ("gradients of ±1e30", |_, d, _| {
        d.iter_mut().enumerate().for_each(|(col, d)| *d = [1e30, -1e30][col % 2])
    }),
    ("small gradients", |_, d, _| d.iter_mut().for_each(|d| *d *= 1e-30)),
];

const OF_PROBS: &[(&str, Fill)] = &[
    ("a −∞", |p, _, at| p[at] = -INF),
    ("a zero", |p, _, at| p[at] = 0.0),
    ("a zero with a NaN gradient", |p, d, at| (p[at], d[at]) = (0.0, f32::NAN)),
    ("all zero", |p, _, _| p.fill(0.0)),
    ("all zero, a NaN gradient", |p, d, at| {
        p.fill(0.0);
        d[at] = f32::NAN;
    }),
    ("certain", |p, _, at| {
        p.fill(0.0);
        p[at] = 1.0;
    }),
    ("gradients of ±3.4e38", |_, d, at| {
        d.fill(f32::MIN);
        d[at] = f32::MAX;
    }),
];

const OF_LOG_PROBS: &[(&str, Fill)] = &[
    ("a −∞", |p, _, at| p[at] = -INF),
    ("a −∞ with a NaN gradient", |p, d, at| (p[at], d[at]) = (-INF, f32::NAN)),
    ("all −∞", |p, _, _| p.fill(-INF)),
    ("all −∞, a NaN gradient", |p, d, at| {
        p.fill(-INF);
        d[at] = f32::NAN;
    }),
    ("all −∞, a +∞", |p, _, at| {
        p.fill(-INF);
        p[at] = INF;
    }),
    ("certain", |p, _, at| {
        p.fill(-INF);
        p[at] = 0.0;
    }),
    ("all but one −100", |p, _, at| {
        p.fill(-100.0);
        p[at] = 0.0;
    }),
    ("all but one −87", |p, _, at| {
        p.fill(-87.0);
        p[at] = 0.0;
    }),
    ("the lowest", |p, _, at| p[at] = f32::MIN),
];

/// Probabilities of normal logits, in f32.
fn probs_of(logits: &[f32], log: bool) -> Vec<f32> {
    let options = SoftmaxOptions::default();
    let of = if log { reference::log_softmax_row } else { reference::softmax_row };
    of(logits, &options).into_iter().map(|p| p as f32).collect()
}

/// Every case at the first, the last and columns between.
fn special(cols: usize, options: SoftmaxBackwardOptions) -> Batch<f32> {
    let mut places = vec![0, 1, cols / 2, cols.saturating_sub(2), cols - 1];
    places.retain(|&at| at < cols);
    places.dedup();
    let (values, gradients) = (noise(cols as u64, cols + 997, 3.0), noise(2, cols + 997, 1.0));
    let (mut labels, mut probs, mut dprobs) = (vec![], vec![], vec![]);
    let own = if options.log { OF_LOG_PROBS } else { OF_PROBS };
    for (i, &(label, fill)) in CASES.iter().chain(own).enumerate() {
        for &at in &places {
            let from = (i * 31 + at) % 997;
            let mut p = probs_of(&values[from..][..cols], options.log);
            let mut d = gradients[from..][..cols].to_vec();
            fill(&mut p, &mut d, at);
            labels.push(format!("{label} at {at}"));
            probs.extend(p);
            dprobs.extend(d);
        }
    }
    Batch { shape: Shape::new(labels.len(), cols), labels, probs, dprobs, options }
}

fn check_special(cols: &[usize]) {
    let (gpu, base) = (gpu(), base(gpu()));
    for (at, &cols) in cols.iter().enumerate() {
        let scale = [1.0, 0.125, -0.5, 3.0][at % 4];
        for log in [false, true] {
            let batch = special(cols, SoftmaxBackwardOptions { log, scale });
            let expected = batch.expected();
            // The plan's lanes, and a third of the others: all of them in turn.
            for (i, lanes) in LANES.into_iter().enumerate().filter(|(i, _)| *i == 0 || (i + at) % 3 == 0) {
                let op = batch.op(&base, lanes);
                let shift = |by: usize| 256 + 4 * ((cols + by) as u64 % 4);
                // All three aligned alike, or each in its own way.
                let offsets = if i % 2 == 0 { [shift(i); 3] } else { [shift(i), shift(2 * i + 1), 256] };
                let found = batch.bound::<f32>(gpu, &op, To::Element, offsets);
                let context = batch.context(&format!("bound, {lanes:?}, {offsets:?}"));
                check(&context, &batch.labels, batch.shape, &found, &expected, false);
                let over = batch.bound::<f32>(gpu, &op, To::InPlace, offsets);
                check(&format!("in place, {context}"), &batch.labels, batch.shape, &over, &expected, false);
            }
            let host = batch.host(&batch.op(&base, None));
            check(&batch.context("host"), &batch.labels, batch.shape, &host, &expected, true);
        }
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

/// Noise in any layout; what lies between the rows is the sentinel.
fn layout<E: Element>(shape: Shape, options: SoftmaxBackwardOptions) -> Batch<E> {
    let sentinel = bytemuck::cast_slice::<u32, E>(&[crate::harness::SENTINEL])[0];
    let (mut probs, mut dprobs) = (vec![sentinel; shape.len()], vec![sentinel; shape.len()]);
    let (values, gradients) =
        (noise(4, shape.rows * shape.cols, 2.0), noise(5, shape.rows * shape.cols, 1.0));
    for row in 0..shape.rows {
        let of_row = row * shape.cols..(row + 1) * shape.cols;
        let p: Vec<E> = narrowed(&probs_of(&values[of_row.clone()], options.log));
        let d: Vec<E> = narrowed(&gradients[of_row]);
        for col in 0..shape.cols {
            let at = shape.row_start(row) + col * shape.inner;
            (probs[at], dprobs[at]) = (p[col], d[col]);
        }
    }
    Batch { labels: Vec::new(), shape, probs, dprobs, options }
}

fn check_layouts<E: Element>() {
    let (gpu, base) = (gpu(), base(gpu()));
    let shapes = [
        Shape::new(5, 12),
        Shape::new(5, 13),
        Shape::new(3, 70).row_stride(76),
        Shape::new(3, 70).row_stride(75),
        Shape::nchw(2, 7, 5),
        Shape::nchw(3, 21, 1).row_stride(24),
        Shape::nchw(2, 33, 6).row_stride(33 * 6 + 3),
        Shape::new(0, 4),
        Shape::new(1, 1),
    ];
    // Each shape takes the plan's lanes for one of the two, and for the other one number of lanes: all of them in turn. Two
    // adapters share them.
    for (i, shape) in shapes.into_iter().enumerate() {
        for log in [false, true] {
            if !is_mine(i / 2 + usize::from(log)) {
                continue;
            }
            let batch = layout::<E>(shape, SoftmaxBackwardOptions { log, scale: 0.25 });
            let expected = batch.expected();
            for lanes in [if log == (i % 2 == 0) { None } else { Some([1, 8, 64][i % 3]) }] {
                let op = batch.op(&base, lanes);
                let context = |way: &str| batch.context(&format!("{way}, {lanes:?}"));
                check(&context("host"), &[], shape, &batch.host(&op), &expected, true);
                if shape.rows == 0 {
                    continue;
                }
                let wide = batch.bound::<f32>(gpu, &op, To::F32, [256, 260, 264]);
                check(&context("f32"), &[], shape, &wide, &expected, false);
                let shares_words = shape.inner > 1 || (shape.rows > 1 && !shape.row_stride.is_multiple_of(2));
                if size_of::<E>() == 2 && shares_words {
                    continue;
                }
                let found = batch.bound::<E>(gpu, &op, To::Element, [260, 260, 256]);
                check(&context("bound"), &[], shape, &found, &expected, false);
                let over = batch.bound::<E>(gpu, &op, To::InPlace, [264, 260, 256]);
                check(&context("in place"), &[], shape, &over, &expected, false);
            }
        }
    }
}

#[test]
fn layouts_f32() {
    check_layouts::<f32>();
}

#[test]
fn layouts_f16() {
    check_layouts::<f16>();
}

#[test]
fn layouts_bf16() {
    check_layouts::<bf16>();
}

/// Rows longer than a chunk of every lane's.
#[test]
fn long_sums() {
    for log in [false, true] {
        let mut batch = layout::<f32>(Shape::new(3, 100_003), SoftmaxBackwardOptions { log, scale: 1.0 });
        // All of one sign: nothing cancels in the sum.
        batch.dprobs[..100_003].iter_mut().for_each(|d| *d = d.abs());
        let expected = batch.expected();
        for lanes in [2, 8, 256] {
            let op = batch.op(&base(gpu()), Some(lanes));
            let found = batch.bound::<f32>(gpu(), &op, To::Element, [256; 3]);
            check(&batch.context("long"), &[], batch.shape, &found, &expected, false);
        }
    }
}

#[test]
fn windows_change_no_bit() {
    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    fn windowed<E: Element>(small: &Context, shape: Shape) {
        for log in [false, true] {
            let batch = layout::<E>(shape, SoftmaxBackwardOptions { log, scale: 1.0 });
            let expected = batch.expected();
            let (few, whole) = (batch.op(&base(small), None), batch.op(&base(gpu()), None));
            let host = batch.host(&few);
            check("windows, host", &[], shape, &host, &expected, true);
            assert!(same_bits(&host, &batch.host(&whole)), "host");
            let bound = batch.bound::<f32>(small, &few, To::F32, [256; 3]);
            check("windows, bound", &[], shape, &bound, &expected, false);
            assert!(same_bits(&bound, &batch.bound::<f32>(gpu(), &whole, To::F32, [256; 3])), "bound");
        }
    }
    windowed::<f32>(&small, Shape::new(200, 101));
    windowed::<f16>(&small, Shape::new(200, 99));
    windowed::<bf16>(&small, Shape::new(100, 102).row_stride(103));
    windowed::<f32>(&small, Shape::nchw(40, 21, 12));
}

/// Over rows of nothing but −∞, and through what softmax itself gives.
#[test]
fn behind_a_softmax() {
    let (gpu, shape) = (gpu(), Shape::new(4, 50));
    let mut logits = noise(6, shape.len(), 3.0);
    logits[50..100].fill(-INF);
    logits[120] = -INF;
    let dy = noise(7, shape.len(), 1.0);
    let options = SoftmaxOptions { masked_row: MaskedRow::Zero, temperature: 4.0, ..Default::default() };
    let softmax = Softmax::<f32>::new(gpu, &options).expect("an operation");
    for log in [false, true] {
        let probs = if log {
            softmax.log_softmax(&logits, shape).wait().expect("log-probabilities")
        } else {
            softmax.softmax(&logits, shape).wait().expect("probabilities")
        };
        let options = SoftmaxBackwardOptions { log, scale: 0.25 };
        let batch = Batch { labels: vec![], shape, probs, dprobs: dy.clone(), options };
        let op = batch.op(&base(gpu), None);
        let found = batch.host(&op);
        check("behind a softmax", &[], shape, &found, &batch.expected(), true);
        assert!(found[50..100].iter().all(|&dx| dx == 0.0), "a masked row");
        for row in [0, 2, 3] {
            let sum: f32 = found[row * 50..][..50].iter().sum();
            assert!(sum.abs() < 2e-5, "shifting the logits changes nothing: {sum:e}");
        }
        let verified = op.verify(&batch.probs, &batch.dprobs, shape, 3).wait().expect("verified");
        assert!(verified.passed && verified.rows_checked == 3, "{verified:?}");
    }
}

#[test]
fn worked_answers_other_options_and_fewer_rows() {
    let (gpu, shape) = (gpu(), Shape::new(2, 3));
    let op = SoftmaxBackward::<f32>::new(gpu, &Default::default()).expect("an operation");
    let (probs, dprobs) = ([0.5, 0.25, 0.25, 0.0, 1.0, 0.0], [1.0, 2.0, 0.0, 5.0, 6.0, 7.0]);
    let expected = vec![0.0, 0.25, -0.25, 0.0, 0.0, 0.0];
    assert_eq!(op.backward(&probs, &dprobs, shape).wait(), Ok(expected));
    let doubled = op.with_options(&SoftmaxBackwardOptions { log: false, scale: 2.0 }).expect("other options");
    assert_eq!(doubled.backward(&probs, &dprobs, shape).wait(), Ok(vec![0.0, 0.5, -0.5, 0.0, 0.0, 0.0]));

    let at = aligned_offset(gpu);
    let (of_probs, of_dprobs) = (region(gpu, at, &probs), region(gpu, at, &dprobs));
    let dlogits = Region::unwritten(gpu, 6);
    let buffers = SoftmaxBackwardBuffers {
        probs: of_probs.binding(),
        dprobs: of_dprobs.binding(),
        dlogits: OutputBuffer::To(dlogits.binding()),
    };
    let bound = op.bind(shape, &buffers).expect("bound");
    in_pass(gpu, |pass| bound.encode_rows(pass, 1).expect("fewer rows"));
    let found = dlogits.read(gpu);
    assert_eq!(found[..3], [0.0f32, 0.25, -0.25].map(f32::to_bits));
    assert_eq!(found[3..], [crate::harness::SENTINEL; 3], "the rest");
}

#[test]
fn misuse() {
    let gpu = gpu();
    for scale in [0.0, f32::NAN, INF, f32::MIN_POSITIVE / 2.0, 2e38] {
        let options = SoftmaxBackwardOptions { scale, ..Default::default() };
        let error = SoftmaxBackward::<f32>::new(gpu, &options).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "scale", .. })), "{error:?}");
    }
    let op = SoftmaxBackward::<f16>::new(gpu, &Default::default()).expect("an operation");
    let shape = Shape::new(4, 6);
    let (full, short) = (vec![f16::ONE; 24], vec![f16::ONE; 23]);
    let length = |what| Some(Error::Length { what, found: 23, needed: 24 });
    assert_eq!(op.backward(&short, &full, shape).wait().err(), length("probs"));
    assert_eq!(op.backward(&full, &short, shape).wait().err(), length("dprobs"));

    let at = aligned_offset(gpu);
    let [probs, dprobs, dlogits] = [(); 3].map(|()| Region::unwritten_at(gpu, at, 64));
    let small = Region::unwritten_at(gpu, at, 11);
    let buffers = SoftmaxBackwardBuffers {
        probs: probs.binding(),
        dprobs: dprobs.binding(),
        dlogits: OutputBuffer::To(dlogits.binding()),
    };
    let refused = |shape: Shape, to: &SoftmaxBackwardBuffers<'_>| op.bind(shape, to).err();
    assert_eq!(refused(shape, &buffers), None);
    let odd = Error::OddStride { what: "dlogits", row_stride: 7, needed: 8 };
    assert_eq!(refused(shape.row_stride(7), &buffers), Some(odd.clone()));
    let over = SoftmaxBackwardBuffers { dlogits: OutputBuffer::InPlace, ..buffers.clone() };
    assert_eq!(refused(shape, &over), None);
    assert_eq!(refused(shape.row_stride(7), &over), Some(odd));
    let packed = Error::PackedLayout { what: "dlogits", inner: 2 };
    assert_eq!(refused(Shape::nchw(2, 6, 2), &buffers), Some(packed));
    let alias = |first, second| Some(Error::BufferAlias { first, second });
    let onto_probs = SoftmaxBackwardBuffers { dlogits: OutputBuffer::To(probs.binding()), ..buffers.clone() };
    assert_eq!(refused(shape, &onto_probs), alias("probs", "dlogits"));
    let onto_itself = SoftmaxBackwardBuffers { probs: dprobs.binding(), ..over };
    assert_eq!(refused(shape, &onto_itself), alias("probs", "dprobs"));
    let too_small = |what| Some(Error::BufferTooSmall { what, found: 44, needed: 48 });
    let to = SoftmaxBackwardBuffers { probs: small.binding(), ..buffers.clone() };
    assert_eq!(refused(shape, &to), too_small("probs"));
    let to = SoftmaxBackwardBuffers { dprobs: small.binding(), ..buffers.clone() };
    assert_eq!(refused(shape, &to), too_small("dprobs"));
    let to = SoftmaxBackwardBuffers { dlogits: OutputBuffer::To(small.binding()), ..buffers };
    assert_eq!(refused(shape, &to), too_small("dlogits"));
}
