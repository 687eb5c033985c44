//! Async methods, polled by somebody else; operations shared by threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xent::{
    Argmax, Bound, Context, CrossEntropy, CrossEntropyBuffers, CrossEntropyStream, LogSumExp, LossOutputs,
    Softmax, SoftmaxStream, wgpu,
};

use crate::batch::{Ops, noise, ops};
use crate::compare::{check, check_both};
use crate::expected::Expected;
use crate::harness::{Region, device_of_bindings, gpu, in_pass};
use crate::outputs::{run_bound, run_host};

#[test]
fn operations_are_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Context>();
    shared::<Softmax<f32>>();
    shared::<LogSumExp<f32>>();
    shared::<Argmax<f32>>();
    shared::<CrossEntropy<f32>>();
    shared::<Bound>();
    sent::<CrossEntropyStream<f32>>();
    sent::<SoftmaxStream<f32>>();
    fn future<T: Send>(_: T) {}
    let batch = noise("send", 1, 1, 1);
    future(ops().softmax.softmax(&batch.logits, batch.shape));
    future(ops().loss.loss_and_dlogits(&batch.logits, batch.classes(), batch.shape));
}

/// Runs `wait` while another thread polls the device.
fn polled_elsewhere<T>(gpu: &Context, wait: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                gpu.device.poll(wgpu::PollType::Poll).expect("a device that works");
                thread::yield_now();
            }
        });
        let result = wait();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// On a device that nobody else polls, whose bindings are so small that there are many windows.
#[test]
fn async_methods_give_the_bits_of_blocking_ones() {
    let gpu = device_of_bindings(wgpu::Features::empty(), 32 << 10);
    let ops = Ops::new(&gpu, Default::default());
    let batch = noise("async", 2, 90, 501).with_stride(503);
    let (logits, classes, shape) = (&batch.logits, batch.classes(), batch.shape);
    let text = |debug: &dyn std::fmt::Debug| format!("{debug:?}");
    let blocking = (
        ops.softmax.softmax(logits, shape).wait().unwrap(),
        ops.softmax.log_softmax(logits, shape).wait().unwrap(),
        ops.logsumexp.logsumexp(logits, shape).wait().unwrap(),
        ops.argmax.argmax(logits, shape).wait().unwrap(),
        ops.loss.loss(logits, classes, shape).wait().unwrap(),
        ops.loss.loss_and_dlogits(logits, classes, shape).wait().unwrap(),
        ops.loss.row_results(logits, classes, shape).wait().unwrap(),
    );
    let awaited = polled_elsewhere(&gpu, || {
        pollster::block_on(async {
            (
                ops.softmax.softmax(logits, shape).await.unwrap(),
                ops.softmax.log_softmax(logits, shape).await.unwrap(),
                ops.logsumexp.logsumexp(logits, shape).await.unwrap(),
                ops.argmax.argmax(logits, shape).await.unwrap(),
                ops.loss.loss(logits, classes, shape).await.unwrap(),
                ops.loss.loss_and_dlogits(logits, classes, shape).await.unwrap(),
                ops.loss.row_results(logits, classes, shape).await.unwrap(),
            )
        })
    });
    // As text: f32 prints all its digits, and −0 is not 0.
    assert_eq!(text(&blocking), text(&awaited));
}

/// A future dropped half-way leaves the operation and the device whole.
#[test]
fn a_dropped_future() {
    use std::future::IntoFuture;
    use std::task::{Poll, Waker};
    let batch = noise("dropped", 3, 200, 501);
    for polls in [0, 1, 2] {
        let mut future = ops().softmax.softmax(&batch.logits, batch.shape).into_future();
        for _ in 0..polls {
            let polled = future.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()));
            if let Poll::Ready(probs) = polled {
                assert!(probs.is_ok());
                break;
            }
        }
    }
    check_both(gpu(), ops(), &batch);
}

#[test]
fn threads_share_one_operation() {
    let op = Ops::new(gpu(), Default::default());
    thread::scope(|scope| {
        for seed in 0..4 {
            let op = &op;
            scope.spawn(move || {
                for i in 0..4 {
                    let batch = noise("threads", seed * 100 + i, 30 + seed as usize, 257 + 100 * i as usize);
                    let expected = Expected::of(&batch, &op.options);
                    check(&batch, &expected, &run_host(op, &batch), op);
                    check(&batch, &expected, &run_bound(gpu(), op, &batch, (4 * seed, 8)), op);
                }
            });
        }
    });
}

/// Bound here, encoded there.
#[test]
fn a_bound_operation_moves_to_another_thread() {
    let batch = noise("moved", 4, 33, 65);
    let logits = Region::of_f32(gpu(), 0, &batch.logits);
    let (targets, losses) = (Region::of_i32(gpu(), &batch.targets), Region::unwritten(gpu(), 33));
    let to = CrossEntropyBuffers {
        outputs: LossOutputs { row_losses: Some(losses.binding()), ..Default::default() },
        ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
    };
    let bound = ops().loss.bind(batch.shape, &to).unwrap();
    thread::spawn(move || in_pass(gpu(), |pass| bound.encode(pass))).join().unwrap();
    assert_eq!(Some(losses.read(gpu())), run_bound(gpu(), ops(), &batch, (0, 0)).row_losses);
}
