//! Buffers that one call leaves to the next: what was in them reaches no result, and how much is kept.

use std::future::IntoFuture;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use xent::half::f16;
use xent::{Error, Shape, Targets, wgpu};

use crate::batch::{Batch, Ops, noise};
use crate::host::{all, both_ways, same};
use crate::outputs::{Outputs, run_host};

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
