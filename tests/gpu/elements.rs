//! Logits of f32, f16 and bf16: exact widening, rounding of 16-bit results, words that two values share.

use xent::half::{bf16, f16};
use xent::{
    CrossEntropyOptions, Element, Error, Shape, SoftmaxBuffers, TargetKind, Targets, Tuning, reference,
};

use crate::batch::{Ops, noise};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{Region, gpu, is_mine};
use crate::outputs::{Gradient, LossRegions, run_bound, run_host, run_host_loss, run_loss, widened_bits};

const KINDS: [TargetKind; 3] = [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 5 }];

/// Something of everything that a row of logits goes through.
fn all_options() -> CrossEntropyOptions {
    CrossEntropyOptions {
        label_smoothing: 0.1,
        temperature: 0.75,
        softcap: Some(20.0),
        z_loss: 1e-3,
        ..Default::default()
    }
}

fn every_value<E: Element>() -> Vec<E> {
    let values: Vec<u16> = (0..=u16::MAX).collect();
    bytemuck::cast_slice(&values).to_vec()
}

/// Denormals of f32, which bf16 has, may be flushed where there is arithmetic; nothing else may change a bit.
fn widens_exactly<E: Element>() {
    let (values, shape) = (every_value::<E>(), Shape::new(1 << 16, 1));
    let ops = Ops::<E>::new(gpu(), Default::default());
    let lse = ops.logsumexp.logsumexp(&values, shape).wait().unwrap();
    for (value, lse) in values.iter().zip(lse) {
        let (expected, lse) = (value.to_f64(), f64::from(lse));
        let flushed = expected.abs() < f64::from(f32::MIN_POSITIVE) && lse == 0.0;
        assert!(
            lse == expected || flushed || (lse.is_nan() && expected.is_nan()),
            "lse of {} {expected:e}: {lse:e}",
            E::NAME
        );
    }
    // Every value beside some other one: the order is that of integers, denormals included.
    let beside = |step: usize| (0..1usize << 16).map(move |i| [i, (i * 31 + step) % (1 << 16)]);
    for step in [1, 7, 256, 32_768, 32_769] {
        let pairs: Vec<E> = beside(step).flatten().map(|i| values[i]).collect();
        let argmax = ops.argmax.argmax(&pairs, Shape::new(1 << 16, 2)).wait().unwrap();
        for (pair, found) in pairs.chunks(2).zip(argmax) {
            let [a, b] = [pair[0].to_f64(), pair[1].to_f64()];
            assert_eq!(found, reference::argmax_row(pair), "argmax of {} {a:e}, {b:e}", E::NAME);
        }
    }
}

#[test]
fn every_f16_widens_exactly() {
    widens_exactly::<f16>();
}

#[test]
fn every_bf16_widens_exactly() {
    widens_exactly::<bf16>();
}

/// A gradient of 16 bits is that of f32, rounded once to nearest, ties to even: from what underflows to what overflows.
fn rounds_once<E: Element>() {
    let mut batch = noise("rounding", 3, 400, 33).cast::<E>();
    batch.shape = Shape::new(400, 33);
    batch = batch.with_stride(34);
    batch.given.row_upstream = Some((0..400).map(|row| 10f32.powf(row as f32 * 0.125 - 41.0)).collect());
    let reduction = xent::Reduction::Sum;
    let ops = Ops::<E>::new(gpu(), CrossEntropyOptions { reduction, ..Default::default() });
    let wide = run_loss(gpu(), &ops, &batch, (256, 256), Gradient::F32).dlogits.unwrap();
    let narrow = run_loss(gpu(), &ops, &batch, (256, 256), Gradient::To).dlogits.unwrap();
    let (mut zeros, mut infinities, mut denormals) = (0, 0, 0);
    for row in 0..400 {
        for (col, (wide, narrow)) in
            batch.shape.row(&wide, row).zip(batch.shape.row(&narrow, row)).enumerate()
        {
            let value = f32::from_bits(*wide);
            let expected = E::from_f32(value).to_f64() as f32;
            assert_eq!(
                *narrow,
                expected.to_bits(),
                "{}, row {row}, col {col}: {value:e} became {:e}, expected {expected:e}",
                E::NAME,
                f32::from_bits(*narrow)
            );
            zeros += usize::from(value != 0.0 && expected == 0.0);
            infinities += usize::from(expected.is_infinite());
            denormals += usize::from(E::NAME == "f16" && expected != 0.0 && expected.abs() < 6.1e-5);
        }
    }
    let seen = E::NAME == "bf16" || (zeros > 100 && infinities > 10 && denormals > 100);
    assert!(seen, "{zeros} zeros, {infinities} infinities, {denormals} denormals: the test tests nothing");
}

#[test]
fn f16_gradients_round_once() {
    rounds_once::<f16>();
}

#[test]
fn bf16_gradients_round_once() {
    rounds_once::<bf16>();
}

/// The shapes in which rows of 16 bits meet words, quads and their neighbours in different ways.
fn shapes(rows: usize, cols: usize) -> [Shape; 6] {
    let last = Shape::new(rows, cols);
    let middle = Shape::nchw(rows / 3, cols, 3);
    [
        last,
        last.row_stride(cols.next_multiple_of(2) + 2),
        last.row_stride(cols + 3),
        middle,
        middle.row_stride(cols * 3 + 5),
        Shape::nchw(1, cols, rows),
    ]
}

/// Kinds of target, shapes and places that a gradient can go to: an array. Each row length takes one kind in each shape, and
/// the next length the next kind; each of these takes one place, and the next length in that shape with that kind the next
/// place. Where two adapters share the work, each takes every other of these. Options are on for the last row length: they see
/// what has been widened, whatever it was, and have the plan's own tuning; the other lengths have four lanes.
fn every_shape<E: Element>(lengths: &[usize]) {
    // One number of lanes for most lengths, which then share pipelines: how values lie in words is what differs here.
    let few_lanes = Ops::<E>::new(gpu(), Default::default()).tuned(Some(Tuning::fixed(4, 1)));
    let optional = Ops::<E>::new(gpu(), all_options());
    for (at, &cols) in lengths.iter().enumerate() {
        let seed = cols as u64;
        let ops = if at + 1 == lengths.len() { &optional } else { &few_lanes };
        for (j, shape) in shapes(6, cols).into_iter().enumerate() {
            let (i, kind) = (at + j, KINDS[(at + j) % KINDS.len()]);
            if !is_mine(at + j) {
                continue;
            }
            let dense = noise("elements", seed, 6, cols).with_targets(kind, seed).with_weights(seed + 1);
            let batch = dense.laid_out(shape).cast::<E>();
            let expected = Expected::of(&batch, &ops.options);
            let shares_words = size_of::<E>() == 2 && (shape.inner > 1 || shape.row_stride % 2 == 1);
            let gradients: &[Gradient] = match size_of::<E>() {
                4 => &[Gradient::To, Gradient::InPlace],
                _ if shares_words => &[Gradient::F32],
                _ => &[Gradient::F32, Gradient::To, Gradient::InPlace],
            };
            let gradient = gradients[(at / KINDS.len() + j) % gradients.len()];
            // Logits begin in the middle of a word, unless they are written.
            let middle = if gradient == Gradient::InPlace { 4 } else { size_of::<E>() as u64 };
            let offsets = (256 + middle * (1 + i as u64 % 3), 256 + 4 * (i as u64 % 4));
            // By one path, and the next length by the other; with classes, the other operations too.
            let outputs = match (kind, (at / 2 + j) % 2) {
                (_, 0) => run_loss(gpu(), ops, &batch, offsets, gradient),
                (TargetKind::Classes, _) if shares_words || j % 2 == 0 => run_host(ops, &batch),
                (TargetKind::Classes, _) => run_bound(gpu(), ops, &batch, (256, 260)),
                _ => run_host_loss(ops, &batch),
            };
            check(&batch, &expected, &outputs, ops);
        }
    }
}

#[test]
fn f16_in_every_shape() {
    every_shape::<f16>(&[1, 2, 3, 5, 8, 31, 64, 257, 1001]);
}

#[test]
fn bf16_in_every_shape() {
    every_shape::<bf16>(&[1, 2, 7, 65, 1000]);
}

#[test]
fn f32_in_every_shape() {
    every_shape::<f32>(&[1, 3, 8, 65, 1000]);
}

#[test]
fn a_vocabulary_of_16_bits() {
    let kinds = [TargetKind::Classes, TargetKind::Sparse { entries: 64 }];
    for (i, cols) in [50_257, 50_304].into_iter().enumerate() {
        let batch = noise("vocabulary", 5, 4, cols);
        let batch = batch.with_stride(50_304);
        // Two adapters share the kinds of target.
        for (_, kind) in kinds.into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
            let batch = batch.with_targets(kind, 6).cast::<bf16>();
            let ops = Ops::<bf16>::new(gpu(), Default::default());
            let expected = Expected::of(&batch, &ops.options);
            check(&batch, &expected, &run_host(&ops, &batch), &ops);
            let outputs = run_loss(gpu(), &ops, &batch, (2, 4), Gradient::To);
            check(&batch, &expected, &outputs, &ops);
        }
    }
}

/// Logits at every even byte, of each row length with one number of lanes.
#[test]
fn every_offset_of_16_bits() {
    let base = Ops::<f16>::new(gpu(), Default::default());
    for (cols, lanes) in [(1, 4), (2, 1), (3, 4), (4, 4), (5, 1), (8, 1), (13, 4), (34, 4)] {
        let ops = base.tuned(Some(Tuning::fixed(lanes, 1)));
        let dense = noise("offsets", cols as u64, 5, cols);
        for (i, offset) in (0..=34).step_by(2).chain([126, 254, 258, 65_538]).enumerate() {
            // Logits that stand anywhere, read only: a gradient of f32 beside them.
            let batch = dense.with_stride(cols + i % 5).cast::<f16>();
            let expected = Expected::of(&batch, &ops.options);
            let outputs = run_loss(gpu(), &ops, &batch, (offset, 4 * (offset % 5)), Gradient::F32);
            check(&batch, &expected, &outputs, &ops);
            // All operations for one row length, the loss for the others.
            let batch = dense.with_stride((cols + i % 4).next_multiple_of(2)).cast::<f16>();
            let expected = Expected::of(&batch, &ops.options);
            let offsets = (offset, 4 * (offset % 3));
            let outputs = match cols {
                13 => run_bound(gpu(), &ops, &batch, offsets),
                _ => run_loss(gpu(), &ops, &batch, offsets, Gradient::To),
            };
            check(&batch, &expected, &outputs, &ops);
        }
    }
}

/// One row writes the first half of its last word, and leaves the second: `Region` compares it byte by byte.
#[test]
fn the_neighbours_half_of_a_word() {
    let ops = Ops::<bf16>::new(gpu(), Default::default());
    for cols in [1, 3, 5, 7, 9, 63] {
        let batch = noise("one row", cols as u64, 1, cols).cast::<bf16>();
        let expected = Expected::of(&batch, &ops.options);
        for gradient in [Gradient::To, Gradient::InPlace] {
            check(&batch, &expected, &run_loss(gpu(), &ops, &batch, (8, 4), gradient), &ops);
        }
        check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (6, 12)), &ops);
    }
}

#[test]
fn rows_that_share_words_are_refused() {
    let ops = Ops::<f16>::new(gpu(), Default::default());
    let refusal = |shape: Shape, gradient: Gradient| {
        let dense = noise("refused", 1, shape.rows, shape.cols);
        let batch = dense.laid_out(shape).cast::<f16>();
        let regions = LossRegions::new(gpu(), &batch, (0, 0), gradient);
        let loss = ops.loss.bind(shape, &regions.buffers(&batch)).err();
        let output = Region::unwritten(gpu(), shape.len());
        let to = SoftmaxBuffers {
            logits: regions.logits.binding(),
            probs: None,
            log_probs: Some(output.binding()),
        };
        [loss, ops.softmax.bind(shape, &to).err()]
    };
    let odd = |what| Some(Error::OddStride { what, row_stride: 5, needed: 6 });
    let packed = |what| Some(Error::PackedLayout { what, inner: 4 });
    for gradient in [Gradient::To, Gradient::InPlace] {
        let found = refusal(Shape::new(2, 5), gradient);
        assert_eq!(found, [odd("dlogits"), odd("log_probs")], "{gradient:?}");
        let found = refusal(Shape::new(3, 4).row_stride(5), gradient);
        assert_eq!(found, [odd("dlogits"), odd("log_probs")], "{gradient:?}");
        let found = refusal(Shape::nchw(1, 3, 4), gradient);
        assert_eq!(found, [packed("dlogits"), packed("log_probs")], "{gradient:?}");
        assert_eq!(refusal(Shape::new(1, 5), gradient), [None, None], "one row has no neighbour");
        assert_eq!(refusal(Shape::new(2, 5).row_stride(6), gradient), [None, None]);
    }
    assert_eq!(refusal(Shape::new(2, 5), Gradient::F32)[0], None);
    assert_eq!(refusal(Shape::nchw(1, 3, 4), Gradient::F32)[0], None);
}

/// The host path lays such rows out by itself, and gives the gradient in either type.
#[test]
fn the_host_path_gives_either_type() {
    fn check_types<E: Element>() {
        let ops = Ops::<E>::new(gpu(), Default::default());
        for shape in [Shape::new(6, 5), Shape::new(6, 6).row_stride(9), Shape::nchw(2, 7, 3)] {
            let batch = noise("either", 4, shape.rows, shape.cols).laid_out(shape).cast::<E>();
            let targets = Targets::Classes(&batch.targets);
            let (loss, own) = ops.loss.loss_and_dlogits(&batch.logits, targets, shape).wait().unwrap();
            let mut wide = vec![0f32; shape.len()];
            let again = ops.loss.loss_into(&batch.logits, targets, shape, &mut wide).wait().unwrap();
            assert_eq!(loss, again);
            let rounded: Vec<E> = wide.iter().map(|&value| E::from_f32(value)).collect();
            assert_eq!(widened_bits(&own), widened_bits(&rounded), "{}, {shape:?}", E::NAME);
        }
    }
    check_types::<f32>();
    check_types::<f16>();
    check_types::<bf16>();
}
