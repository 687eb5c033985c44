//! Numbers that are hard on the sums, and a worked answer.

use xent::reference::sigmoid_bce as reference;
use xent::{Flags, Shape, Tuning};

use crate::harness::gpu;
use crate::losses::{Calls, Run, check_runs};
use crate::sigmoid_bce::{MEAN, NAN, SUM, plain, random};

/// Worked by hand: see the reference's tests.
#[test]
fn worked() {
    let op = MEAN.op::<f32>(gpu());
    let loss = op.loss(&[2.0, -1.0, 0.0], &[1.0, 0.0, 1.0], Shape::new(1, 3)).wait().expect("a loss");
    assert!((loss.value - 0.377_778_96).abs() < 1e-6, "{loss:?}");
    assert_eq!((loss.weight, loss.row_weight, loss.counted, loss.flags), (3.0, 1.0, 1, Flags::empty()));
}

/// Rows of one and the same logit: every rounding goes one way, and the smallest losses must not be lost.
#[test]
fn rows_of_equal_logits() {
    for cols in [1, 1_000, 50_257] {
        for tuning in [None, Some(Tuning::fixed(1, 1)), Some(Tuning::fixed(64, 1))] {
            let values = [
                0.0, -0.0, 1e-38, 0.1, -0.3, 0.7, 1.0, -2.0, -3.3, 5.0, -5.0, -7.7, 10.0, -14.0, -20.0, 40.0,
                80.0, -86.0, -88.0, -90.0, -103.0, -104.0, -200.0, 1e4, -1e4, 1e30, 3e33,
            ];
            for x in values {
                let shape = Shape::new(2, cols);
                let mut targets = vec![0.0; 2 * cols];
                targets[cols..].fill(1.0);
                let case = plain(&format!("{x} × {cols}"), shape, vec![x; 2 * cols], targets, SUM);
                check_runs(&case, tuning, &[Run::Host]);
            }
        }
    }
}

/// A single class's loss keeps its digits however small it is, down to where f32 ends (an adapter may flush what comes
/// near it).
#[test]
fn small_losses_are_relatively_right() {
    let xs: Vec<f32> = (0..850).map(|i| i as f32 / 10.0).collect();
    let shape = Shape::new(xs.len(), 1);
    let op = SUM.op::<f32>(gpu());
    let losses = op.row_losses(&xs, &vec![1.0; xs.len()], shape).wait().expect("losses");
    for (&x, &loss) in xs.iter().zip(&losses) {
        let expected = -reference::ln_sigmoid(x.into());
        let error = (f64::from(loss) / expected - 1.0).abs();
        assert!(error <= 1e-6 + 1e-7 * f64::from(x), "{x}: {loss}, expected {expected}: {error}");
    }
}

/// The longest row of one lane takes almost all the loop iterations there are, refilling it the rest.
#[test]
fn long_rows_of_one_lane() {
    let (shape, one_lane) = (Shape::new(2, 180_003), Tuning::fixed(1, 1));
    let mut case = random::<f32>(1, shape, 4.0, MEAN);
    case.logits[shape.cols] = NAN;
    check_runs(&case, Some(one_lane), &[Run::Host]);
    // One beyond gets more lanes.
    let op = case.op().with_tuning(one_lane).expect("a tuning");
    let loss = op.loss(&[0.0; 250_000], &vec![0.0; 250_000], Shape::new(1, 250_000)).wait().unwrap();
    assert!((loss.value - std::f64::consts::LN_2).abs() < 1e-6, "{loss:?}");
}
