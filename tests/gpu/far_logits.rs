//! Logits at both ends of f32 at every temperature, scale and cap: differences of 6.8e38, which f32 does not hold, must not
//! be lost on the way to an answer that it does.

use xent::bounds::{masked_prob_bounds, prob_bound, softmax_backward_bounds};
use xent::half::bf16;
use xent::reference::kl_divergence;
use xent::{
    CrossEntropy, CrossEntropyOptions, Element, KlDivergence, KlDivergenceInputs, KlDivergenceOptions,
    MaskRows, MaskedSoftmax, MaskedSoftmaxOptions, Masks, Reduction, Shape, Softmax, SoftmaxBackward,
    SoftmaxBackwardOptions, SoftmaxOptions, TargetKind, Targets, reference,
};

use crate::batch::{Batch, Ops};
use crate::compare::{check, check_both, check_loss};
use crate::expected::Expected;
use crate::harness::{gpu, is_mine, tunings};
use crate::outputs::{Gradient, run_bound, run_loss};
use crate::special::Target::{At, Beside};
use crate::special::{Fill, Target, batch};
use crate::typed;

const MAX: f32 = f32::MAX;
const MIN: f32 = f32::MIN;
const INF: f32 = f32::INFINITY;

/// From the least to the most that is taken. At 1e36 and below it, classes 3.4e38 apart have no probability.
const TEMPERATURES: [f32; 13] =
    [7.888_609e-31, 1e-30, 1e-10, 0.5, 1.0, 2.0, 100.0, 1e20, 1.3e30, 1e36, 5e36, 8e37, 8.507_059e37];

const ENDS: &[(&str, Target, Fill)] = &[
    ("noise", At, |_, _| {}),
    ("a top among bottoms", At, |row, at| {
        row.fill(MIN);
        row[at] = MAX;
    }),
    ("a bottom beside a top", Beside, |row, at| {
        row.fill(MIN);
        row[at] = MAX;
    }),
    ("a bottom among tops", At, |row, at| {
        row.fill(MAX);
        row[at] = MIN;
    }),
    ("tops and bottoms in turn", At, |row, _| {
        row.iter_mut().enumerate().for_each(|(col, x)| *x = [2e38, -2e38][col % 2]);
    }),
    ("noise over all of f32", At, |row, _| row.iter_mut().for_each(|x| *x = (*x * 1e38).clamp(MIN, MAX))),
    ("a ramp from end to end", At, |row, _| {
        let step = 2.0 / row.len() as f32;
        row.iter_mut().enumerate().for_each(|(col, x)| *x = (col as f32 * step - 1.0) * 3e38);
    }),
    ("all at the top", At, |row, _| row.fill(MAX)),
    ("all at the bottom", At, |row, _| row.fill(MIN)),
    ("both ends and −∞", Beside, |row, at| {
        row.fill(MIN);
        row[0] = MAX;
        row[at] = -INF;
    }),
];

/// Rows of noise and of both ends. The gradient comes from one as large as the temperature, so that it is neither lost nor
/// infinite.
fn ends<E: Element>(cols: usize, temperature: f32) -> Batch<E> {
    let mut ends = batch("both ends", ENDS, cols).cast::<E>();
    ends.given.upstream = Some(temperature);
    ends
}

fn options(temperature: f32) -> CrossEntropyOptions {
    CrossEntropyOptions { temperature, reduction: Reduction::Sum, ..Default::default() }
}

#[test]
fn worked_answers() {
    let softmax = |temperature| {
        let options = SoftmaxOptions { temperature, ..Default::default() };
        Softmax::<f32>::new(gpu(), &options).expect("options")
    };
    let log_probs =
        softmax(2.0).log_softmax(&[2e38, -2e38], Shape::new(1, 2)).wait().expect("log-probabilities");
    assert_eq!(log_probs, [0.0, -2e38]);
    let probs = softmax(8e37).softmax(&[3.4e38, -3.4e38], Shape::new(1, 2)).wait().expect("probabilities");
    assert!((probs[1] / 2.0343e-4 - 1.0).abs() < 1e-4, "{probs:?}: 1 / (1 + exp 8.5)");

    let mut logits = vec![-3.4e38; 1001];
    logits[500] = 3.4e38;
    let op = CrossEntropy::<f32>::new(gpu(), &options(8e37)).expect("options");
    let loss = op.loss(&logits, Targets::Classes(&[500]), Shape::new(1, 1001)).wait().expect("a loss");
    assert!((loss.value - 0.1852).abs() < 5e-5, "{}: ln (1 + 1000·exp −8.5)", loss.value);
}

#[test]
fn both_ends_at_every_temperature() {
    let base = Ops::<f32>::new(gpu(), options(1.0));
    for temperature in TEMPERATURES {
        let ops = base.with(options(temperature));
        check_both(gpu(), &ops, &ends(33, temperature));
        // Two adapters share the others.
        for (_, cols) in [1, 5, 130].into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
            check_loss(gpu(), &ops, &ends(cols, temperature), Gradient::To);
        }
        let sparse = TargetKind::Sparse { entries: 3 };
        check_loss(gpu(), &ops, &ends(33, temperature).with_targets(sparse, 1), Gradient::To);
    }
}

#[test]
fn both_ends_in_bf16() {
    let base = Ops::<bf16>::new(gpu(), options(1.0));
    for temperature in TEMPERATURES {
        check_both(gpu(), &base.with(options(temperature)), &ends(66, temperature));
    }
}

#[test]
fn both_ends_with_every_tuning() {
    for (at, (temperature, cols)) in [(2.0, 67), (8e37, 1025)].into_iter().enumerate() {
        let base = Ops::<f32>::new(gpu(), options(temperature));
        let batch = ends(cols, temperature);
        let expected = Expected::of(&batch, &base.options);
        check(&batch, &expected, &run_bound(gpu(), &base, &batch, (260, 256)), &base);
        // The gradient needs all of a row's stats: softmax has the same sweep.
        // Each tuning takes one of the batches; two adapters share them.
        for (_, tuning) in tunings().enumerate().skip(1).filter(|&(i, _)| i / 2 % 2 == at && is_mine(i)) {
            let ops = base.tuned(tuning);
            check(&batch, &expected, &run_loss(gpu(), &ops, &batch, (260, 256), Gradient::To), &ops);
        }
    }
}

/// A focal loss leaves the target's exponential out of the sum, and adds it behind.
#[test]
fn both_ends_of_a_focal_loss() {
    let of = |temperature| CrossEntropyOptions { focal_gamma: 2.0, ..options(temperature) };
    let base = Ops::<f32>::new(gpu(), of(1.0));
    for temperature in TEMPERATURES {
        // Two adapters share the row lengths.
        for (_, cols) in [2, 130].into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
            check_loss(gpu(), &base.with(of(temperature)), &ends(cols, temperature), Gradient::To);
        }
    }
}

#[test]
fn both_ends_under_a_cap() {
    let of = |softcap, temperature| CrossEntropyOptions { softcap: Some(softcap), ..options(temperature) };
    let base = Ops::<f32>::new(gpu(), of(30.0, 1.0));
    for (softcap, temperature) in
        [(2e-38, 1.0), (30.0, 1.0), (30.0, 8e37), (1e10, 1e10), (1e30, 1e30), (8e37, 1e37), (8.5e37, 8.5e37)]
    {
        check_both(gpu(), &base.with(of(softcap, temperature)), &ends(2, temperature));
        check_loss(gpu(), &base.with(of(softcap, temperature)), &ends(130, temperature), Gradient::To);
    }
}

/// Weight, distance and temperature: the product may be a number where that of two of them is none.
#[test]
fn heavy_and_light_classes() {
    let base = Ops::<f32>::new(gpu(), options(1.0));
    for (temperature, weight) in [
        (1e30, 1e30f32),
        (8e37, 1e36),
        (2.0, 1.5),
        (100.0, 30.0),
        (1e-20, 1e-20),
        (1e-30, 1e-30),
        (1e20, 1e-20),
    ] {
        let mut batch = ends(33, temperature);
        batch.name = format!("weight {weight:e}");
        batch.given.class_weights = Some(vec![weight; 33]);
        batch.given.upstream = Some(temperature.min(1.0));
        check_both(gpu(), &base.with(options(temperature)), &batch);
    }
}

/// What scores are: the scale, two logits, and what is added to each.
const SCORES: &[(&str, f32, [f32; 2], [f32; 2])] = &[
    ("the mask brings it back", 2.0, [3e38, 2e38], [-3.4e38, -1.4e38]),
    ("beyond f32 upwards", 10.0, [1e38, 0.0], [0.0, 0.0]),
    ("beyond f32, both", 10.0, [1e38, 1e38], [0.0, 0.0]),
    ("beyond f32 downwards, both", 10.0, [-1e38, -1e38], [0.0, 0.0]),
    ("beyond f32, of both signs", -10.0, [1e38, -1e38], [0.0, 0.0]),
    ("a sum beyond f32", 1.0, [3e38, 2e38], [3e38, 0.0]),
    ("sums beyond f32", 1.0, [3e38, 3e38], [3e38, 3e38]),
    ("sums beyond f32 downwards", 1.0, [-3e38, -3e38], [-3e38, MIN]),
    ("the scale's end", 1.2e30, [3.4e38, 3.3e38], [3e38, 3e38]),
    ("the scale's end, numbers", 1.2e30, [1e-30, 2e-30], [1.0, 0.0]),
    ("the scale's end, the mask alone", -1.2e30, [0.0, 0.0], [1.0, 0.0]),
    ("scaled down, of both signs", 5e-39 * 2.5, [3.4e38, -3.4e38], [0.0, 0.5]),
    ("scaled down, the mask alone", 1.2e-38, [1.0, -1.0], [0.0, 0.5]),
    ("scaled down to a few", 8e-39 * 2.0, [MIN, MIN], [1.0, 0.0]),
    ("the lowest masks", 0.125, [3.0, 4.0], [MIN, MIN]),
    ("a large mask of both", 1.0, [1.0, 2.0], [MAX, MAX]),
];

#[test]
fn scores_beyond_f32() {
    let base = MaskedSoftmax::<f32>::new(gpu(), &Default::default()).expect("options");
    for &(name, scale, x, mask) in SCORES {
        let options = MaskedSoftmaxOptions { scale, ..Default::default() };
        let op = base.with_options(&options).expect("options");
        for cols in [2, 7, 130] {
            // Between the two, what is impossible whatever the scale's sign.
            let (mut logits, mut additive) = (vec![-INF * scale.signum(); cols], vec![0.0; cols]);
            for (to, at) in [0, cols - 1].into_iter().enumerate() {
                (logits[at], additive[at]) = (x[to], mask[to]);
            }
            let masks = Masks::NONE.additive(&additive, MaskRows::each(1));
            let probs = op.softmax(&logits, masks, Shape::new(1, cols)).wait().expect("probabilities");
            let expected = reference::masked_softmax_row(&logits, 0, masks, &options);
            let bounds = masked_prob_bounds(&logits, 0, masks, &options);
            let expected = vec![expected.into_iter().zip(bounds).collect()];
            typed::check(name, &[], Shape::new(1, cols), &probs, &expected, true);
            // A shift of scores around 1e38 may be of anything, so that the bound holds any number.
            assert!(probs.iter().all(|p| (0.0..=1.0).contains(p)), "{name}: {probs:?}");
            let sum: f32 = probs.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{name}: {probs:?}");
        }
    }
}

#[test]
fn worked_scores_beyond_f32() {
    let of = |scale, logits: [f32; 2], mask: [f32; 2]| {
        let options = MaskedSoftmaxOptions { scale, ..Default::default() };
        let op = MaskedSoftmax::<f32>::new(gpu(), &options).expect("options");
        let masks = Masks::NONE.additive(&mask, MaskRows::each(1));
        op.softmax(&logits, masks, Shape::new(1, 2)).wait().expect("probabilities")
    };
    assert_eq!(of(2.0, [3e38, 2e38], [-3e38, -3e38]), [1.0, 0.0]);
    assert_eq!(of(10.0, [1e38, 0.0], [0.0, 0.0]), [1.0, 0.0]);
    assert_eq!(of(10.0, [-1e38, -1e38], [0.0, 0.0]), [0.5, 0.5]);
    assert_eq!(of(-1e30, [1e38, 2e38], [0.0, 0.0]), [1.0, 0.0]);
    assert_eq!(of(1.0, [3e38, 3e38], [3e38, 3e38]), [0.5, 0.5]);
    let probs = of(2e-38, [1e38, 0.0], [0.0, 0.0]);
    assert!((probs[1] - 0.119_203).abs() < 1e-6, "{probs:?}: 1 / (1 + exp 2)");
}

#[test]
fn gradients_of_both_ends_come_back_through_a_softmax() {
    let (cols, shape) = (33, Shape::new(1, 33));
    let noise = typed::noise(3, cols, 2.0);
    let mut gradients: Vec<Vec<f32>> = [[MAX, MIN], [2e38, -2e38], [MAX, MAX]]
        .iter()
        .map(|ends| (0..cols).map(|col| ends[col % 2]).collect())
        .collect();
    gradients.push((0..cols).map(|col| if col == 7 { MAX } else { MIN }).collect());
    for scale in [1.2e-38f32, 1e-30, -1e-3, 0.5, 1.0, 1e30] {
        for log in [false, true] {
            let options = SoftmaxBackwardOptions { log, scale };
            let op = SoftmaxBackward::<f32>::new(gpu(), &options).expect("options");
            let of = if log { reference::log_softmax_row } else { reference::softmax_row };
            let probs: Vec<f32> = of(&noise, &SoftmaxOptions::default()).iter().map(|&p| p as f32).collect();
            for (at, dprobs) in gradients.iter().enumerate() {
                let sum: f64 = dprobs.iter().map(|&d| f64::from(d)).sum();
                if log && sum.abs() > 6e38 {
                    continue; // their sum is none of f32's
                }
                let found = op.backward(&probs, dprobs, shape).wait().expect("a gradient");
                let expected = if log {
                    reference::log_softmax_backward_row(&probs, dprobs)
                } else {
                    reference::softmax_backward_row(&probs, dprobs)
                };
                let bounds = softmax_backward_bounds(&probs, dprobs, &options);
                let expected = expected.into_iter().map(|dx| dx * f64::from(scale)).zip(bounds).collect();
                typed::check(&format!("{options:?}, case {at}"), &[], shape, &found, &vec![expected], true);
            }
        }
    }
}

/// The divergence's exponentials, of which its gradient is made.
#[test]
fn both_ends_of_a_divergence() {
    let shape = Shape::new(1, 130);
    let rows = batch("both ends", ENDS, 130);
    for temperature in TEMPERATURES {
        let options =
            KlDivergenceOptions { temperature, reduction: Reduction::Sum, ..KlDivergenceOptions::default() };
        let op = KlDivergence::<f32>::new(gpu(), &options).expect("options");
        let softmax = SoftmaxOptions { temperature, ..Default::default() };

        for row in (0..rows.shape.rows).filter(|&row| !rows.label(row).contains('∞')) {
            let student = rows.row(row);
            let teacher: Vec<f32> =
                student.iter().rev().map(|&x| if row % 2 == 0 { -x } else { x }).collect();
            let (_, found) = op
                .loss_and_dlogits(&student, KlDivergenceInputs::new(&teacher).upstream(temperature), shape)
                .wait()
                .expect("a gradient");
            let scale = f64::from(temperature);
            let expected = kl_divergence::row_dlogits(&student, &teacher, &options, scale);
            let (p, q) =
                (reference::softmax_row(&student, &softmax), reference::softmax_row(&teacher, &softmax));
            let bounds = p.iter().zip(&q).map(|(&p, &q)| prob_bound(p) + prob_bound(q) + 1e-37);
            let expected = vec![expected.into_iter().zip(bounds).collect()];
            let name = format!("{}, T = {temperature:e}", rows.label(row));
            typed::check(&name, &[], shape, &found, &expected, true);
        }
    }
}
