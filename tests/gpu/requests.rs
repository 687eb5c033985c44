//! Requests: waited for, awaited, dropped.

use std::future::IntoFuture;
use std::task::{Poll, Waker};
use std::thread;

use xent::{AdapterChoice, Context, Error, Shape, Targets};

use crate::batch::{Ops, noise};
use crate::compare::check_works;
use crate::harness::{device_with, gpu};

/// A context that polls for awaited requests: one that opened its own device, or one that was asked to.
fn polling() -> [Context; 2] {
    let choice = AdapterChoice::named(gpu().device.adapter_info().name);
    [Context::open(&choice).wait().expect("a second device"), device_with(|_| {}).with_poller()]
}

#[test]
fn awaited_requests_need_nobody_else_to_poll() {
    for gpu in polling() {
        let ops = Ops::<f32>::new(&gpu, Default::default());
        let batch = noise("awaited", 1, 40, 65);
        let (logits, classes, shape) = (&batch.logits, batch.classes(), batch.shape);
        let waited_for = ops.loss.loss_and_dlogits(logits, classes, shape).wait().unwrap();
        // The thread sleeps between the two, and takes requests of several threads.
        for _ in 0..2 {
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let request = ops.loss.loss_and_dlogits(logits, classes, shape);
                        let awaited = pollster::block_on(request.into_future()).unwrap();
                        assert_eq!(format!("{awaited:?}"), format!("{waited_for:?}"));
                    });
                }
            });
        }
        let mut stream = ops.loss.stream(shape, xent::TargetKind::Classes).unwrap();
        let pushed = pollster::block_on(stream.push(logits, 40, classes).into_future()).unwrap().len();
        assert_eq!((pushed, stream.loss()), (40, waited_for.0));
    }
}

#[test]
fn a_request_does_nothing_by_itself() {
    let gpu = device_with(|_| {});
    let ops = Ops::<f32>::new(&gpu, Default::default());
    let (logits, targets, shape) = ([1.0, 0.0], Targets::Classes(&[0]), Shape::new(1, 2));
    drop(ops.loss.loss(&logits, targets, shape));
    drop(ops.softmax.softmax(&logits, shape).into_future());
    assert_eq!((gpu.pipelines(), ops.loss.idle_buffer_bytes()), (0, 0));
    assert!(ops.loss.loss(&logits, targets, shape).wait().is_ok());
    assert!(gpu.pipelines() > 0);
}

/// Before its first poll, after it, and on its way.
#[test]
fn a_dropped_request_leaves_the_next_call_right() {
    for gpu in polling() {
        let ops = Ops::<f32>::new(&gpu, Default::default());
        let batch = noise("dropped", 2, 60, 65);
        for polls in [0, 1, 2, 3] {
            let mut future = ops.softmax.softmax(&batch.logits, batch.shape).into_future();
            for _ in 0..polls {
                match future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
                    Poll::Pending => {}
                    Poll::Ready(probs) => {
                        probs.expect("probabilities");
                        break;
                    }
                }
            }
            drop(future);
            check_works(&ops, &batch);
        }
    }
}

#[test]
fn errors_reach_an_awaited_request() {
    for gpu in polling() {
        let ops = Ops::<f32>::new(&gpu, Default::default());
        let (logits, shape) = ([0.0; 6], Shape::new(2, 3));
        let awaited = |logits| pollster::block_on(ops.softmax.softmax(logits, shape).into_future());
        assert!(awaited(&logits).is_ok());
        let short = Error::Length { what: "logits", found: 5, needed: 6 };
        assert_eq!(awaited(&logits[1..]), Err(short));
        gpu.device.destroy();
        let lost = awaited(&logits);
        assert!(matches!(lost, Err(Error::DeviceLost { .. })), "{lost:?}");
    }
}
