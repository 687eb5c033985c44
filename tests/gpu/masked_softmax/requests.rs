//! Worked answers, and calls: other options, parts of a bound batch, verification, awaited requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xent::half::f16;
use xent::{Causal, MaskRows, MaskedSoftmax, MaskedSoftmaxOptions, Masks, Shape, wgpu};

use crate::harness::gpu;
use crate::maps::{Map, Tested, fewer_rows_than_bound};
use crate::masked_softmax::{Batch, attention};
use crate::typed::{check, same_bits};

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

#[test]
fn other_options_and_fewer_rows() {
    let gpu = gpu();
    let batch = attention::<f32>(9, 9, 4, (Some(MaskRows::each(4)), None), None);
    let warm = MaskedSoftmaxOptions { scale: 3.0, causal: Some(Causal::upper_left(4)), ..batch.options };
    let op = batch.op(gpu).with_options(&warm).expect("other options");
    let batch = Batch { options: warm, ..batch };
    let expected = &Tested::new("other options", &batch).expected;
    check("other options", &[], batch.shape, &batch.host(&op), expected, true);

    fewer_rows_than_bound(&batch, 7);
}

#[test]
fn verification_and_the_async_twin() {
    let kinds = (Some(MaskRows::each(4)), Some(MaskRows::each(1)));
    let batch = attention::<f16>(37, 37, 4, kinds, Some(Causal::lower_right(4)));
    let (gpu, op) = (gpu(), batch.op(gpu()));
    let verified = op.verify(&batch.logits, batch.masks(), batch.shape, 10).wait().expect("verified");
    assert!(verified.passed && verified.rows_checked == 10, "{verified:?}");
    let done = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                gpu.device.poll(wgpu::PollType::Poll).expect("polled");
                thread::yield_now();
            }
        });
        let found = pollster::block_on(op.softmax(&batch.logits, batch.masks(), batch.shape));
        done.store(true, Ordering::SeqCst);
        found.expect("probabilities")
    });
    assert!(same_bits(&found, &batch.host(&op)));
    assert_eq!(op.softmax(&[], Masks::NONE, Shape::new(0, 3)).wait(), Ok(vec![]));
}
