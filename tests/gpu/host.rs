//! The way of host slices: into the kernels' own buffers or through staging, in buffers that one call leaves to the next.

use std::future::IntoFuture;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use xent::half::{bf16, f16};
use xent::{
    Causal, Context, CrossEntropyOptions, Element, Error, KlDivergence, KlDivergenceInputs, MaskRows,
    MaskedSoftmax, MaskedSoftmaxOptions, Masks, RowResult, Shape, SigmoidBce, SigmoidBceInputs,
    SoftmaxBackward, TargetKind, Targets, wgpu,
};

use crate::batch::{Batch, Ops, noise};
use crate::harness::{SENTINEL, adapter, device_of_bindings, device_with, gpu};
use crate::outputs::{Outputs, run_host, run_host_loss};

/// Devices whose windows hold a few rows: one that writes into the kernels' own buffers, if the adapter has such, and one
/// that goes through staging.
fn both_ways() -> Vec<Context> {
    let mappable = wgpu::Features::MAPPABLE_PRIMARY_BUFFERS;
    let small = |features| device_of_bindings(features, 32 << 10);
    let staged = small(wgpu::Features::empty());
    assert!(!staged.profile().unwrap().unified_memory, "a device without the feature");
    let kind = staged.profile().unwrap().kind;
    let is_shared = matches!(kind, xent::AdapterKind::Software | xent::AdapterKind::Integrated);
    if !is_shared || !adapter().features().contains(mappable) {
        eprintln!("one way only: the adapter's memory is not the host's, or cannot be mapped");
        return vec![staged];
    }
    let unified = small(mappable);
    assert!(unified.profile().unwrap().unified_memory, "a device with the feature");
    assert!(gpu().profile().unwrap().unified_memory, "a Context asks for the feature");
    vec![unified, staged]
}

/// The results of each device are those of the first; debug text of f32 tells all bits but a NaN's.
fn assert_same(name: &str, of: impl Fn(&Context) -> String) {
    let results: Vec<String> = both_ways().iter().map(&of).collect();
    assert!(results.iter().all(|result| *result == results[0]), "{name}: the two ways differ");
}

/// Every bit; of a loss, a NaN equals a NaN.
fn same(a: &Outputs, b: &Outputs) -> bool {
    let loss = |of: &Outputs| format!("{:?}", of.host_loss);
    a.bits() == b.bits() && a.row_flags == b.row_flags && loss(a) == loss(b)
}

fn all<E: Element>(gpu: &Context, batch: &Batch<E>) -> Outputs {
    run_host(&Ops::new(gpu, Default::default()), batch)
}

#[test]
fn both_ways_agree() {
    let wide = noise("both ways", 1, 300, 257).with_stride(259);
    let weighted = |batch: &Batch| {
        let rows = batch.shape.rows;
        let mut batch = batch.clone();
        batch.given.class_weights = Some((0..257).map(|class| (class % 5) as f32).collect());
        batch.given.row_weights = Some((0..rows).map(|row| 0.5 + (row % 3) as f32).collect());
        batch.given.row_mask = Some((0..rows).map(|row| row % 7 != 0).collect());
        batch.given.row_upstream = Some((0..rows).map(|row| row as f32).collect());
        batch
    };
    let side_by_side = noise("side by side", 2, 120, 33).laid_out(Shape::nchw(30, 33, 4));
    let mut batches = vec![wide.clone(), weighted(&wide), side_by_side];
    batches.push(weighted(&wide.with_targets(TargetKind::Soft, 3)));
    batches.push(weighted(&wide.with_targets(TargetKind::Sparse { entries: 3 }, 4)));
    // All operations, or the loss alone.
    fn agree<E: Element>(batch: &Batch<E>, run: impl Fn(&Context, &Batch<E>) -> Outputs) {
        let results: Vec<Outputs> = both_ways().iter().map(|gpu| run(gpu, batch)).collect();
        assert!(results.iter().all(|result| same(result, &results[0])), "{}", batch.name);
    }
    fn loss<E: Element>(gpu: &Context, batch: &Batch<E>) -> Outputs {
        run_host_loss(&Ops::new(gpu, Default::default()), batch)
    }
    agree(&batches[0], all);
    batches[1..].iter().for_each(|batch| agree(batch, loss));
    // Of 16 bits, side by side in one type and soft targets, which are wider than their logits, in the other.
    agree(&batches[2].cast::<f16>(), loss);
    agree(&batches[3].cast::<bf16>(), loss);
}

#[test]
fn both_ways_agree_of_the_other_operations() {
    let (a, b) = (noise("a", 5, 200, 301), noise("b", 6, 200, 301));
    let shape = a.shape;
    let weights: Vec<f32> = (0..200).map(|row| (row % 4) as f32).collect();
    assert_same("divergence", |gpu| {
        let op = KlDivergence::<f32>::new(gpu, &Default::default()).unwrap();
        let inputs = KlDivergenceInputs::new(&b.logits).row_weights(&weights);
        format!("{:?}", op.loss_and_dlogits(&a.logits, inputs, shape).wait().unwrap())
    });
    let labels: Vec<f32> = b.logits.iter().map(|x| if *x > 0.0 { 1.0 } else { 0.0 }).collect();
    let of_classes = vec![0.5; 301];
    assert_same("multi-label loss", |gpu| {
        let op = SigmoidBce::<f32>::new(gpu, &Default::default()).unwrap();
        let inputs = SigmoidBceInputs::new(&labels).pos_weight(&of_classes).row_weights(&weights);
        format!("{:?}", op.loss_and_dlogits(&a.logits, inputs, shape).wait().unwrap())
    });
    assert_same("softmax backward", |gpu| {
        let op = SoftmaxBackward::<f32>::new(gpu, &Default::default()).unwrap();
        let probs: Vec<f32> = a.logits.iter().map(|x| x.abs()).collect();
        format!("{:?}", op.backward(&probs, &b.logits, shape).wait().unwrap())
    });
    let additive: Vec<f32> = b.logits[..20 * 301].to_vec();
    let boolean: Vec<bool> = b.logits[..4 * 301].iter().map(|x| *x > -1.0).collect();
    assert_same("masked softmax", |gpu| {
        let options = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(50)), ..Default::default() };
        let op = MaskedSoftmax::<f32>::new(gpu, &options).unwrap();
        let masks =
            Masks::NONE.boolean(&boolean, MaskRows::repeated(4, 50)).additive(&additive, MaskRows::each(20));
        // The buffers of the masks are used again, and by fewer rows.
        let first = op.softmax(&a.logits, masks, shape).wait().unwrap();
        let fewer = op.softmax(&a.logits[..100 * 301], Masks::NONE, Shape::new(100, 301)).wait().unwrap();
        let again = op.softmax(&a.logits, masks, shape).wait().unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&first), bits(&again), "in used buffers");
        format!("{:?}", (bits(&first), bits(&fewer)))
    });
}

/// What an earlier batch left in the buffers reaches no result: all of it is NaN.
#[test]
fn smaller_and_other_batches_after_a_larger() {
    for gpu in both_ways() {
        let used = Ops::new(&gpu, Default::default());
        let mut poison = noise("poison", 7, 400, 301);
        poison.logits.fill(f32::NAN);
        poison.given.class_weights = Some(vec![7.0; 301]);
        poison.given.row_weights = Some(vec![3.0; 400]);
        poison.given.row_mask = Some(vec![true; 400]);
        for batch in [
            noise("one window", 8, 9, 301),
            noise("three windows", 9, 70, 301).with_stride(303),
            noise("short rows", 10, 50, 3),
            noise("longer rows", 11, 12, 1999),
            noise("no row", 12, 0, 5),
        ] {
            run_host(&used, &poison);
            let kept = used.loss.idle_buffer_bytes();
            assert!(kept > 0, "buffers are kept");
            let fresh = all(&gpu, &batch);
            assert!(same(&run_host(&used, &batch), &fresh), "{}: other bits in used buffers", batch.name);
            assert!(same(&run_host(&used, &batch), &fresh), "{}: other bits the third time", batch.name);
        }
        let halves = noise("halves", 13, 70, 301);
        let used = Ops::<f16>::new(&gpu, Default::default());
        run_host(&used, &poison.cast());
        assert!(same(&run_host(&used, &halves.cast()), &all(&gpu, &halves.cast::<f16>())), "f16");
    }
}

/// Of each row's result a loss alone needs little, and no more is written: what an earlier batch left in the buffers must
/// not be taken for it.
#[test]
fn a_loss_needs_no_more_of_its_rows() {
    let (batch, other) = (noise("alone", 15, 300, 257), noise("other", 16, 300, 257));
    for gpu in both_ways() {
        for z_loss in [0.0, 1e-3] {
            let op = || {
                let options = CrossEntropyOptions { z_loss, ..Default::default() };
                Ops::<f32>::new(&gpu, options).loss
            };
            let (rows, used) =
                (op().row_results(&batch.logits, batch.inputs(), batch.shape).wait().unwrap(), op());
            let sum = |of: fn(&RowResult) -> f32| rows.iter().map(|row| f64::from(of(row))).sum::<f64>();
            let losses = [
                op().loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap(),
                op().loss_and_dlogits(&batch.logits, batch.inputs(), batch.shape).wait().unwrap().0,
                {
                    used.row_results(&other.logits, other.inputs(), other.shape).wait().unwrap();
                    used.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap()
                },
            ];
            for loss in losses {
                assert_eq!(loss.sum, sum(|row| row.loss), "z-loss {z_loss}");
                assert_eq!(loss.z_loss, sum(|row| row.z_loss) / loss.row_weight, "z-loss {z_loss}");
            }
        }
    }
}

/// However many windows a batch has, an operation keeps the buffers of two.
#[test]
fn what_is_kept_is_bounded() {
    for gpu in both_ways() {
        let ops = Ops::new(&gpu, Default::default());
        let kept = |rows| {
            let batch = noise("kept", 14, rows, 301);
            ops.softmax.free_idle_buffers();
            assert_eq!(ops.softmax.idle_buffer_bytes(), 0);
            ops.softmax.softmax(&batch.logits, batch.shape).wait().unwrap();
            let once = ops.softmax.idle_buffer_bytes();
            ops.softmax.softmax(&batch.logits, batch.shape).wait().unwrap();
            assert_eq!(ops.softmax.idle_buffer_bytes(), once, "the second call makes nothing anew");
            once
        };
        let window_rows = ops.softmax.stream(Shape::new(1000, 301), false).unwrap().window_rows();
        assert!((2..100).contains(&window_rows), "{window_rows}");
        let (one, two, many) = (kept(window_rows), kept(window_rows + 1), kept(20 * window_rows));
        assert!(one > 0 && two == 2 * one && many == two, "{one}, {two}, {many} bytes");
        // Copies have the same buffers; a stream that the caller pushes has its own.
        let warmer = ops.softmax.with_options(&Default::default()).unwrap();
        assert_eq!(warmer.idle_buffer_bytes(), many);
        drop(ops.softmax.stream(Shape::new(1000, 301), false).unwrap());
        warmer.free_idle_buffers();
        assert_eq!(ops.softmax.idle_buffer_bytes(), 0);
    }
}

#[test]
fn two_threads_on_one_operation() {
    for gpu in both_ways() {
        let ops = Ops::new(&gpu, Default::default());
        let batches: Vec<Batch> = (0..2).map(|seed| noise("two", 20 + seed, 150, 301)).collect();
        let alone: Vec<Outputs> = batches.iter().map(|batch| all(&gpu, batch)).collect();
        run_host(&ops, &batches[0]);
        let kept = ops.loss.idle_buffer_bytes();
        thread::scope(|scope| {
            for (batch, alone) in batches.iter().zip(&alone) {
                let ops = &ops;
                scope.spawn(move || {
                    for _ in 0..5 {
                        assert!(same(&run_host(ops, batch), alone), "{}", batch.name);
                    }
                });
            }
        });
        let after = ops.loss.idle_buffer_bytes();
        assert!(after > 0 && after <= kept, "one set is kept, not two: {after} of {kept} bytes");
    }
}

#[test]
fn a_call_after_a_failed_call() {
    for gpu in both_ways() {
        let ops = Ops::new(&gpu, Default::default());
        let batch = noise("after a failure", 30, 90, 301);
        let whole = run_host(&ops, &batch);
        let kept = ops.loss.idle_buffer_bytes();
        // Refused before any work: nothing is lost.
        let refused = ops.loss.loss(&batch.logits, Targets::Classes(&[301; 90]), batch.shape).wait();
        assert_eq!(refused, Err(Error::TargetOutOfRange { row: 0, target: 301, cols: 301 }));
        assert_eq!(ops.loss.idle_buffer_bytes(), kept);
        // Given up while the device has the buffers: they are gone.
        let hasty = Ops::new(&gpu.clone().with_timeout(Duration::from_nanos(1)), Default::default());
        let mut failed = 0;
        for _ in 0..20 {
            if hasty.loss.loss(&batch.logits, batch.classes(), batch.shape).wait().is_err() {
                failed += 1;
                assert_eq!(hasty.loss.idle_buffer_bytes(), 0, "a failed call keeps nothing");
            }
        }
        eprintln!("{failed} of 20 calls of a nanosecond failed");
        assert!(same(&run_host(&ops, &batch), &whole), "other bits after a failure");
        assert_eq!(ops.loss.idle_buffer_bytes(), kept);
    }
}

#[test]
fn a_future_dropped_while_the_device_works() {
    for gpu in both_ways() {
        let ops = Ops::new(&gpu, Default::default());
        let batch = noise("dropped", 31, 90, 301);
        let whole = run_host(&ops, &batch);
        let kept = ops.loss.idle_buffer_bytes();
        for polls in 1..4 {
            let mut future = ops.loss.loss(&batch.logits, batch.classes(), batch.shape).into_future();
            let mut context = std::task::Context::from_waker(Waker::noop());
            let is_pending = (0..polls).all(|_| {
                // Some windows end between the polls.
                gpu.device.poll(wgpu::PollType::Poll).unwrap();
                matches!(future.as_mut().poll(&mut context), Poll::Pending)
            });
            if is_pending {
                assert_eq!(ops.loss.idle_buffer_bytes(), 0, "the call has the buffers");
            }
        }
        // The last future is dropped here, with its buffers on the device or mapped.
        assert!(same(&run_host(&ops, &batch), &whole), "other bits after a dropped future");
        assert_eq!(ops.loss.idle_buffer_bytes(), kept);
    }
}

fn filled<E: Element>(len: usize) -> Vec<E> {
    vec![E::from_f32(f32::from_bits(SENTINEL)); len]
}

fn bytes<E: Element>(values: &[E]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// The methods that write into the caller's slice give what the others give, padding included.
fn into_slices<E: Element>(gpu: &Context, batch: &Batch<E>) {
    let ops = Ops::<E>::new(gpu, Default::default());
    let (shape, logits, name) = (batch.shape, &batch.logits, &batch.name);
    let mut values = filled::<E>(shape.len());
    let softmax = &ops.softmax;
    softmax.softmax_into(logits, shape, &mut values).wait().unwrap();
    assert!(bytes(&values) == bytes(&softmax.softmax(logits, shape).wait().unwrap()), "{name}: probs");
    let mut values = filled::<E>(shape.len());
    softmax.log_softmax_into(logits, shape, &mut values).wait().unwrap();
    assert!(
        bytes(&values) == bytes(&softmax.log_softmax(logits, shape).wait().unwrap()),
        "{name}: log_probs"
    );
    let mut values = filled::<E>(shape.len());
    let into = ops.loss.loss_into(logits, batch.inputs(), shape, &mut values).wait().unwrap();
    let (loss, dlogits) = ops.loss.loss_and_dlogits(logits, batch.inputs(), shape).wait().unwrap();
    assert!(into == loss && bytes(&values) == bytes(&dlogits), "{name}: dlogits");
    let mut values = filled::<f32>(shape.len());
    let into = ops.loss.loss_into(logits, batch.inputs(), shape, &mut values).wait().unwrap();
    assert!(into == loss, "{name}: the loss beside a gradient in f32");
    let rounded: Vec<E> = values.iter().map(|&value| E::from_f32(value)).collect();
    let (zeros, own) = (dlogits.iter().map(|x| x.to_f64()), rounded.iter().map(|x| x.to_f64()));
    assert!(zeros.eq(own), "{name}: dlogits in f32");
}

#[test]
fn into_slices_of_the_caller() {
    for gpu in both_ways() {
        let batch = noise("into", 40, 120, 300);
        // Windows of a few rows: there is padding between two of them, too.
        for batch in [
            batch.clone(),
            batch.with_stride(303),
            batch.laid_out(Shape::nchw(60, 300, 2)),
            batch.laid_out(Shape::nchw(60, 300, 2).row_stride(610)),
        ] {
            // `==` of a loss is that of its numbers, of which none is NaN; what lies between the rows is not read.
            into_slices(&gpu, &batch);
            // Each layout in one of the types of 16 bits.
            if batch.shape.row_stride.is_multiple_of(2) == (batch.shape.inner == 1) {
                into_slices(&gpu, &batch.cast::<f16>());
            } else {
                into_slices(&gpu, &batch.cast::<bf16>());
            }
        }
    }
}

#[test]
fn into_slices_of_the_other_operations() {
    let gpu = &both_ways()[0];
    let (a, b) = (noise("a", 41, 100, 301).with_stride(303), noise("b", 42, 100, 301).with_stride(303));
    let (shape, x, y) = (a.shape, &a.logits, &b.logits);
    let (mut values, mut wide) = (filled::<f32>(shape.len()), filled::<f32>(shape.len()));

    let op = KlDivergence::<f32>::new(gpu, &Default::default()).unwrap();
    let into = op.loss_into(x, y, shape, &mut values).wait().unwrap();
    let (loss, dlogits) = op.loss_and_dlogits(x, y, shape).wait().unwrap();
    assert!(into == loss && bytes(&values) == bytes(&dlogits), "divergence");
    op.loss_into(x, y, shape, &mut wide).wait().unwrap();
    assert!(bytes(&wide) == bytes(&dlogits), "divergence, in f32");

    let labels: Vec<f32> = y.iter().map(|y| if *y > 0.0 { 1.0 } else { 0.0 }).collect();
    let op = SigmoidBce::<f32>::new(gpu, &Default::default()).unwrap();
    values.fill(f32::NAN);
    wide.fill(f32::NAN);
    let into = op.loss_into(x, &labels[..], shape, &mut values).wait().unwrap();
    let (loss, dlogits) = op.loss_and_dlogits(x, &labels[..], shape).wait().unwrap();
    assert!(into == loss && bytes(&values) == bytes(&dlogits), "multi-label loss");
    op.loss_into(x, &labels[..], shape, &mut wide).wait().unwrap();
    assert!(bytes(&wide) == bytes(&dlogits), "multi-label loss, in f32");

    let op = SoftmaxBackward::<f32>::new(gpu, &Default::default()).unwrap();
    values.fill(f32::NAN);
    op.backward_into(&labels, y, shape, &mut values).wait().unwrap();
    assert!(bytes(&values) == bytes(&op.backward(&labels, y, shape).wait().unwrap()), "backward");

    let op = MaskedSoftmax::<f32>::new(gpu, &Default::default()).unwrap();
    values.fill(f32::NAN);
    op.softmax_into(x, Masks::NONE, shape, &mut values).wait().unwrap();
    assert!(bytes(&values) == bytes(&op.softmax(x, Masks::NONE, shape).wait().unwrap()), "masked softmax");
}

/// A slice of another length is refused before any work, and stays as it was.
#[test]
fn slices_of_another_length() {
    let gpu = gpu();
    let ops = Ops::new(gpu, CrossEntropyOptions::default());
    let shape = Shape::new(3, 4);
    let x = [1.0f32; 12];
    let targets = Targets::Classes(&[0, 1, 2]);
    let divergence = KlDivergence::<f32>::new(gpu, &Default::default()).unwrap();
    let multi_label = SigmoidBce::<f32>::new(gpu, &Default::default()).unwrap();
    let backward = SoftmaxBackward::<f32>::new(gpu, &Default::default()).unwrap();
    let masked = MaskedSoftmax::<f32>::new(gpu, &Default::default()).unwrap();
    for found in [0, 11, 13] {
        let mut out = vec![7.0f32; found];
        let error = |what| Some(Error::Length { what, found, needed: 12 });
        let (softmax, loss) = (&ops.softmax, &ops.loss);
        assert_eq!(softmax.softmax_into(&x, shape, &mut out).wait().err(), error("probs"));
        assert_eq!(softmax.log_softmax_into(&x, shape, &mut out).wait().err(), error("log_probs"));
        assert_eq!(masked.softmax_into(&x, Masks::NONE, shape, &mut out).wait().err(), error("probs"));
        assert_eq!(backward.backward_into(&x, &x, shape, &mut out).wait().err(), error("dlogits"));
        for error_of in [
            loss.loss_into(&x, targets, shape, &mut out).wait().err(),
            loss.loss_into(&x, targets, shape, &mut out).wait().err(),
            divergence.loss_into(&x, &x, shape, &mut out).wait().err(),
            divergence.loss_into(&x, &x, shape, &mut out).wait().err(),
            multi_label.loss_into(&x, &x[..], shape, &mut out).wait().err(),
            multi_label.loss_into(&x, &x[..], shape, &mut out).wait().err(),
        ] {
            assert_eq!(error_of, error("dlogits"));
        }
        assert!(out.iter().all(|value| *value == 7.0), "nothing is written");
        assert_eq!(loss.idle_buffer_bytes(), 0, "before any work");
    }
    // Awaited, where nobody need poll for that.
    let mut short = [0.0f32; 11];
    let error = |what| Err(Error::Length { what, found: 11, needed: 12 });
    let probs = pollster::block_on(ops.softmax.softmax_into(&x, shape, &mut short).into_future());
    assert_eq!(probs, error("probs"));
    let dlogits = pollster::block_on(ops.loss.loss_into(&x, targets, shape, &mut short).into_future());
    assert_eq!(dlogits.map(drop), error("dlogits"));
}

/// A device made without the feature is taken as it is, and so is one whose adapter has memory of its own.
#[test]
fn a_device_of_ones_own() {
    let own = device_with(|_| {});
    assert!(!own.profile().unwrap().unified_memory);
    let batch = noise("one's own", 50, 40, 129);
    assert!(same(&all(&own, &batch), &all(gpu(), &batch)));
}
