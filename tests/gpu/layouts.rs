//! Where rows lie: padded strides, offsets of every multiple of 4 bytes, odd lengths, so that rows begin on every place
//! of a quad; classes along any axis. What lies around a row is NaN and takes no part; what lies around an output stays
//! as it was.

use xent::half::{bf16, f16};
use xent::{
    Context, CrossEntropyOptions, Element, Error, Shape, TargetKind, Targets, Tuning, reference, wgpu,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{
    SENTINEL, adapter, bound_exactly, device_of_bindings, device_with, gpu, in_pass, is_mine,
};
use crate::outputs::{Gradient, LossRegions, Outputs, PLAIN, run_bound, run_host, run_host_loss, run_loss};

/// From none to past any alignment, in bytes.
fn offsets() -> impl Iterator<Item = u64> {
    (0..=64).step_by(4).chain([124, 128, 132, 252, 256, 260, 1_028, 65_540])
}

#[test]
fn every_offset_of_a_binding() {
    // Each row length with one number of lanes, as `elements::every_offset_of_16_bits`. Two adapters share them.
    let lengths = [(1, 4), (2, 1), (3, 4), (4, 4), (5, 1), (7, 1), (8, 4), (13, 4), (34, 1), (35, 4)];
    for (_, (cols, lanes)) in lengths.into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
        let dense = noise("offsets", cols as u64, 9, cols);
        let ops = ops().tuned(Some(Tuning::fixed(lanes, 1)));
        for (i, offset) in offsets().enumerate() {
            let batch = dense.with_stride(cols + i % 5);
            let expected = Expected::of(&batch, &ops.options);
            // The output's place in its quad differs from the logits'.
            let output_offset = offset / 4 % 7 * 4 + 64 * (i as u64 % 2);
            check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (offset, output_offset)), &ops);
        }
    }
}

/// Arrays in buffers with nothing behind the last value: no pack reaches behind it. In the other tests it may, and what is there
/// stays as it was.
#[test]
fn arrays_that_end_with_their_buffer() {
    fn of_type<E: Element>(from: usize) {
        let ops = Ops::<E>::new(gpu(), Default::default()).tuned(Some(Tuning::fixed(4, 1)));
        let places = [Gradient::To, Gradient::InPlace, Gradient::F32];
        // Two adapters share the row lengths.
        for (i, cols) in [1, 3, 4, 5, 7, 13, 34, 131].into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
            let dense = noise("to the end", cols as u64, 5, cols);
            let batch = dense.with_stride(cols.next_multiple_of(2) + i % 3 / 2 * 2).cast::<E>();
            let expected = Expected::of(&batch, &ops.options);
            let offset = 4 * (i as u64 % 4);
            if i / 2 == from {
                let outputs = bound_exactly(|| run_bound(gpu(), &ops, &batch, (offset, 256)));
                check(&batch, &expected, &outputs, &ops);
            }
            let run = || run_loss(gpu(), &ops, &batch, (offset, offset), places[(i + from) % 3]);
            check(&batch, &expected, &bound_exactly(run), &ops);
        }
    }
    of_type::<f32>(1);
    of_type::<f16>(2);
    of_type::<bf16>(3);
}

#[test]
fn every_stride() {
    for (i, cols) in [1, 2, 3, 5, 17, 31, 250, 257].into_iter().enumerate() {
        let dense = noise("strides", cols as u64, 23, cols);
        // Two adapters share them.
        let paddings = [0, 1, 2, 3, 4, 7, 13, 64, 300].into_iter().enumerate();
        for (_, padding) in paddings.filter(|(j, _)| is_mine(i + j)) {
            let batch = dense.with_stride(cols + padding);
            let expected = Expected::of(&batch, &ops().options);
            check(&batch, &expected, &run_host(ops(), &batch), ops());
            check(&batch, &expected, &run_bound(gpu(), ops(), &batch, (256, 260)), ops());
        }
    }
}

/// The host path takes the padding behind the last row, or leaves it.
#[test]
fn a_slice_may_hold_the_last_rows_padding() {
    let dense = noise("last padding", 1, 6, 11);
    for shape in [Shape::new(6, 11).row_stride(14), Shape::nchw(2, 11, 3).row_stride(40)] {
        let batch = dense.laid_out(shape);
        let mut longer = batch.clone();
        longer.logits.resize(shape.rows / shape.inner * shape.row_stride, f32::NAN);
        let run = |logits: &[f32]| {
            let (loss, dlogits) =
                ops().loss.loss_and_dlogits(logits, batch.classes(), batch.shape).wait().unwrap();
            let probs = ops().softmax.softmax(logits, batch.shape).wait().unwrap();
            let lse = ops().logsumexp.logsumexp(logits, batch.shape).wait().unwrap();
            assert_eq!((dlogits.len(), probs.len()), (batch.shape.len(), batch.shape.len()));
            (loss, dlogits, probs, lse)
        };
        assert_eq!(run(&batch.logits), run(&longer.logits));
    }
}

/// A vocabulary padded to a multiple of 64, as language models have.
#[test]
fn a_padded_vocabulary() {
    let batch = noise("vocabulary", 2, 7, 50_257).with_stride(50_304);
    let expected = Expected::of(&batch, &ops().options);
    check(&batch, &expected, &run_host(ops(), &batch), ops());
    check(&batch, &expected, &run_bound(gpu(), ops(), &batch, (12, 4)), ops());
}

/// A device whose bindings begin at multiples of 1,024 bytes only: the remainder travels as a base.
#[test]
fn a_coarse_alignment() {
    let gpu = device_with(|limits| {
        limits.min_storage_buffer_offset_alignment = limits.min_storage_buffer_offset_alignment.max(1024);
        limits.max_storage_buffer_binding_size = 8 << 10;
    });
    assert!(gpu.device.limits().min_storage_buffer_offset_alignment >= 1024, "{:?}", adapter().get_info());
    let ops = Ops::new(&gpu, Default::default());
    // Two adapters share the row lengths.
    let lengths = [(3, 4), (129, 1028), (7, 1020), (500, 508), (1001, 8)];
    for (_, (cols, offset)) in lengths.into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
        let dense = noise("coarse", 3, 40, cols);
        for batch in [dense.with_stride(cols + 2), dense.laid_out(Shape::nchw(20, cols, 2))] {
            if batch.shape.inner * cols * 4 > 6 << 10 {
                continue;
            }
            let expected = Expected::of(&batch, &ops.options);
            // All operations for one row length, the loss for the others.
            let outputs = match cols {
                129 | 1001 => run_bound(&gpu, &ops, &batch, (offset, 12)),
                _ => run_loss(&gpu, &ops, &batch, (offset, 12), Gradient::To),
            };
            check(&batch, &expected, &outputs, &ops);
        }
    }
}

/// (outer, inner): rows side by side fill a workgroup, or not, or more than one.
const GROUPS: [(usize, usize); 9] =
    [(1, 2), (2, 3), (3, 4), (1, 7), (2, 8), (1, 65), (5, 2), (1, 300), (0, 5)];

#[test]
fn classes_along_any_axis() {
    for (i, cols) in [1, 2, 3, 4, 5, 17, 64, 130, 1000].into_iter().enumerate() {
        // Two adapters share the groups.
        for (_, (outer, inner)) in GROUPS.into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
            let dense = noise("any axis", (cols + inner) as u64, outer * inner, cols);
            let shape = Shape::nchw(outer, cols, inner);
            // Dense by one path and strided by the other, and in the next length the other way round.
            for (k, shape) in [shape, shape.row_stride(cols * inner + 1 + i)].into_iter().enumerate() {
                let batch = dense.laid_out(shape);
                let expected = Expected::of(&batch, &ops().options);
                let offsets = if i % 4 < 2 { PLAIN } else { (256 + 4 * (i as u64 % 4), 264) };
                let outputs = match (i + k) % 2 {
                    0 => run_bound(gpu(), ops(), &batch, offsets),
                    _ => run_host(ops(), &batch),
                };
                check(&batch, &expected, &outputs, ops());
            }
        }
    }
}

#[test]
fn classes_along_any_axis_with_any_tuning() {
    for lanes in [1, 4, 32, 256] {
        let ops = ops().tuned(Some(Tuning::fixed(lanes, 1)));
        // From one row of a workgroup to as many as it has invocations.
        for (outer, cols, inner) in [(2, 5, 3), (2, 300, 3), (1, 33, 600)] {
            let dense = noise("any tuning", cols as u64, outer * inner, cols);
            let batch = dense.laid_out(Shape::nchw(outer, cols, inner));
            let expected = Expected::of(&batch, &ops.options);
            check(&batch, &expected, &run_loss(gpu(), &ops, &batch, (260, 256), Gradient::To), &ops);
        }
    }
}

/// Rows in the order of the array without its class axis, counted out here.
#[test]
fn arrays_of_any_number_of_axes() {
    let dims = [2usize, 3, 4, 5];
    let logits: Vec<f32> = (0..120).map(|i| ((i * 7919) % 101) as f32 * 0.1 - 5.0).collect();
    for axis in -4..4 {
        let shape = Shape::nd(&dims, axis).unwrap();
        let class_axis = axis.rem_euclid(4) as usize;
        let strides = [60usize, 20, 5, 1];
        let others: Vec<usize> = (0..4).filter(|&at| at != class_axis).collect();
        let mut rows = Vec::new();
        for a in 0..dims[others[0]] {
            for b in 0..dims[others[1]] {
                for c in 0..dims[others[2]] {
                    let start = a * strides[others[0]] + b * strides[others[1]] + c * strides[others[2]];
                    let at = |class: usize| logits[start + class * strides[class_axis]];
                    rows.push((0..dims[class_axis]).map(at).collect::<Vec<f32>>());
                }
            }
        }
        assert_eq!((shape.rows, shape.cols), (rows.len(), dims[class_axis]));
        let argmax = ops().argmax.argmax(&logits, shape).wait().unwrap();
        let lse = ops().logsumexp.logsumexp(&logits, shape).wait().unwrap();
        for (row, values) in rows.iter().enumerate() {
            let expected = reference::logsumexp_row(values);
            assert_eq!(argmax[row], reference::argmax_row(values), "axis {axis}, row {row}");
            assert!((f64::from(lse[row]) - expected).abs() <= 1e-5, "axis {axis}, row {row}: {}", lse[row]);
        }
    }
    let empty = Shape::nd(&[2, 3, 0], 1).unwrap();
    assert_eq!(ops().argmax.argmax(&[], empty).wait(), Ok(vec![]));
}

/// Every kind of target, with options, where the class axis is not last.
#[test]
fn options_along_any_axis() {
    let options = CrossEntropyOptions {
        label_smoothing: 0.2,
        temperature: 1.5,
        softcap: Some(8.0),
        z_loss: 1e-2,
        ..Default::default()
    };
    let op = Ops::new(gpu(), options);
    let kinds = [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 7 }];
    for (i, kind) in kinds.into_iter().enumerate() {
        // Two adapters share the kinds of target.
        let shapes = [(2, 1, 3), (1, 3, 5), (2, 40, 9), (1, 257, 70)];
        for (_, (outer, cols, inner)) in shapes.into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
            let dense =
                noise("options", inner as u64, outer * inner, cols).with_targets(kind, 3).with_weights(4);
            for padding in [0, 3] {
                let shape = Shape::nchw(outer, cols, inner).row_stride(cols * inner + padding);
                let batch = dense.laid_out(shape);
                let expected = Expected::of(&batch, &op.options);
                check(&batch, &expected, &run_host_loss(&op, &batch), &op);
                let gradient = if (padding == 0) == (cols == 40) { Gradient::To } else { Gradient::InPlace };
                check(&batch, &expected, &run_loss(gpu(), &op, &batch, (8, 4), gradient), &op);
            }
        }
    }
}

/// Windows are of whole groups, and change no bit.
#[test]
fn windows_of_whole_groups() {
    let small = device_of_bindings(wgpu::Features::empty(), 32 << 10);
    let small_ops = Ops::new(&small, Default::default());
    // Two adapters share them.
    let shapes = [(40, 30, 6), (9, 100, 31), (300, 3, 4)];
    for (_, (outer, cols, inner)) in shapes.into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
        let dense = noise("groups", inner as u64, outer * inner, cols);
        let batch = dense.laid_out(Shape::nchw(outer, cols, inner).row_stride(cols * inner + 2));
        let run = |gpu: &Context, ops: &Ops| [run_host(ops, &batch), run_bound(gpu, ops, &batch, (256, 256))];
        let (whole, parts) = (run(gpu(), ops()), run(&small, &small_ops));
        check(&batch, &Expected::of(&batch, &ops().options), &parts[0], ops());
        let bits = |outputs: &[Outputs; 2]| {
            outputs.each_ref().map(|outputs| outputs.bits().map(Option::<&Vec<u32>>::cloned))
        };
        assert!(bits(&whole) == bits(&parts), "{:?}: bits differ", batch.shape);
    }
    let shape = Shape::nchw(2, 1000, 9);
    let error = small_ops.loss.loss(&vec![0.0; 18_000], Targets::Classes(&[0; 18]), shape).wait();
    assert!(
        matches!(error, Err(Error::GroupTooLarge { cols: 1000, inner: 9, bytes: 36_000, .. })),
        "{error:?}"
    );
}

/// A part of rows that lie side by side is refused, whole groups are taken.
#[test]
fn encoded_rows_are_whole_groups() {
    let batch: Batch = noise("whole groups", 2, 12, 7).laid_out(Shape::nchw(3, 7, 4));
    let regions = LossRegions::new(gpu(), &batch, (256, 256), Gradient::To);
    let bound = regions.bind(ops(), &batch);
    in_pass(gpu(), |pass| {
        for rows in [1, 5, 11] {
            assert_eq!(bound.encode_rows(pass, rows), Err(Error::Layout { rows, inner: 4 }));
        }
        assert_eq!(bound.encode_rows(pass, 8), Ok(()));
    });
    let losses = regions.row_losses.read(gpu());
    let whole = run_bound(gpu(), ops(), &batch, (256, 256)).row_losses.unwrap();
    assert_eq!(losses[..8], whole[..8]);
    assert_eq!(losses[8..], [SENTINEL; 4]);
}
