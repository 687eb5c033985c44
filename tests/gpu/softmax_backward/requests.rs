//! Worked answers, and calls: behind a softmax, verification, other options, parts of a bound batch.

use xent::{MaskedRow, Shape, Softmax, SoftmaxBackward, SoftmaxBackwardOptions, SoftmaxOptions};

use crate::harness::gpu;
use crate::maps::{Map, Tested, fewer_rows_than_bound};
use crate::softmax_backward::{Batch, INF};
use crate::typed::noise;

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
        let found = Tested::new("behind a softmax", &batch).host(gpu, None);
        assert!(found[50..100].iter().all(|&dx| dx == 0.0), "a masked row");
        for row in [0, 2, 3] {
            let sum: f32 = found[row * 50..][..50].iter().sum();
            assert!(sum.abs() < 2e-5, "shifting the logits changes nothing: {sum:e}");
        }
        let verified = batch.op(gpu).verify(&batch.probs, &batch.dprobs, shape, 3).wait().expect("verified");
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

    let (probs, dprobs) = (probs.to_vec(), dprobs.to_vec());
    let batch = Batch { labels: vec![], shape, probs, dprobs, options: Default::default() };
    let found = fewer_rows_than_bound(&batch, 1);
    assert_eq!(found, [0.0, 0.25, -0.25]);
}
