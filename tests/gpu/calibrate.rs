//! Temperature calibration, against the reference.

use std::ops::Range;

use xent::bounds::loss_bound;
use xent::eval::calibrate::{Calibration, Calibrator, TemperatureLimit, TemperaturePoint};
use xent::eval::{Reliability, SliceSource, Source};
use xent::half::{bf16, f16};
use xent::reference::calibration::{row_moments, temperature};
use xent::reference::{argmax_row, softmax_row};
use xent::{
    CalibratorOptions, CrossEntropyInputs, Element, Error, Sequences, Shape, SoftmaxOptions, Targets, Tuning,
};

use crate::batch::{Batch, noise};
use crate::harness::{gpu, is_mine};
use crate::special;

const PLAIN: CalibratorOptions =
    CalibratorOptions { ignore_index: -100, softcap: None, sequences: None, bins: 15 };
const TEMPERATURES: [f64; 9] = [1.0, 4.6e-5, 0.02, 0.3, 0.9, 1.7, 8.0, 400.0, 2.2e4];

fn calibrator<E: Element>(options: CalibratorOptions, tuning: Option<Tuning>) -> Calibrator<E> {
    let made = Calibrator::<E>::new(gpu(), &options).expect("a calibrator");
    tuning.map_or(Ok(made.clone()), |tuning| made.clone().with_tuning(tuning)).expect("a tuning")
}

/// The mean loss of some rows and its derivatives, by the reference, with what the sums' rounding may add to each.
fn expected<E: Element>(rows: &[(Vec<E>, usize)], softcap: Option<f32>, temperature: f64) -> [(f64, f64); 3] {
    let mut all = [(0.0, 0.0); 3];
    for (row, target) in rows {
        let beta = 1.0 / temperature;
        let moments = row_moments(row, softcap, &[beta]);
        let cap = |x: f64| softcap.map(f64::from).map_or(x, |cap| cap * (x / cap).tanh());
        let distance = cap(moments.row_max) - cap(row[*target].to_f64());
        let [zeroth, first, second] = moments.sums[0];
        let (mean, square) = (first / zeroth, second / zeroth);
        let loss = zeroth.ln() + beta * distance;
        // A capped score has an error of its own, which changes its exponential, too.
        let of_cap = softcap.map_or(0.0, |cap| 1e-6 * f64::from(cap));
        let of_row = [
            (loss, loss_bound(loss) + beta * of_cap),
            (distance - mean, 1e-5 * mean + 1e-6 * distance + of_cap * (1.0 + beta * mean)),
            (square - mean * mean, 3e-5 * square + of_cap * (2.0 * mean + beta * square)),
        ];
        for (sum, (value, bound)) in all.iter_mut().zip(of_row) {
            *sum = (sum.0 + value / rows.len() as f64, sum.1 + bound / rows.len() as f64);
        }
    }
    all
}

pub fn check_points<E: Element>(
    context: &str,
    points: &[TemperaturePoint],
    rows: &[(Vec<E>, usize)],
    softcap: Option<f32>,
) {
    for point in points {
        let TemperaturePoint { temperature, loss, slope, curvature, .. } = *point;
        let expected = expected(rows, softcap, temperature);
        for ((found, (value, bound)), what) in
            [loss, slope, curvature].into_iter().zip(expected).zip(["loss", "slope", "curvature"])
        {
            assert!(
                (found - value).abs() <= bound + 1e-30,
                "{context}: T {temperature}: {what} {found:e}, expected {value:e}"
            );
        }
        assert_eq!(point.reliability.rows(), rows.len() as u64, "{context}");
    }
}

/// The rows of a batch that count, each with its target.
fn counted<E: Element>(batch: &Batch<E>) -> Vec<(Vec<E>, usize)> {
    let all = (0..batch.shape.rows).filter(|&row| batch.targets[row] != -100);
    all.map(|row| (batch.row(row), batch.targets[row] as usize)).collect()
}

/// Each special row by itself: either its sums are the reference's, or it does not count.
#[test]
fn rows_of_special_values() {
    for (case, cols) in [1, 5, 70, 1500].into_iter().enumerate() {
        let op = calibrator(PLAIN, [None, Some(Tuning::fixed(4, 2)), None, Some(Tuning::fixed(64, 1))][case]);
        let mut batch = noise("special", 2, special::CASES.len(), cols);
        for (row, (label, _, fill)) in special::CASES.iter().enumerate() {
            let at = (3 * row + 1) % cols;
            let values = &mut batch.logits[row * cols..][..cols];
            fill(values, at);
            for target in [at, (at + 1) % cols] {
                let context = format!("{label}, {cols} classes, target {target}");
                let mut source = SliceSource::new(values, Shape::new(1, cols)).unwrap();
                let points = op.curve(&mut source, &[target as i32], &TEMPERATURES, None, |_, _| Ok(()));
                let log_prob = xent::reference::log_softmax_row(values, &SoftmaxOptions::default())[target];
                if log_prob.is_finite() {
                    let points = points.unwrap_or_else(|error| panic!("{context}: {error}")).points;
                    assert_eq!(points.len(), TEMPERATURES.len());
                    check_points(&context, &points, &[(values.to_vec(), target)], None);
                } else {
                    let found = op.fit(&mut source, &[target as i32], None, |_, _| Ok(())).map(drop);
                    assert_eq!(found, Err(Error::NoRowCounts { rows: 1 }), "{context}");
                }
            }
        }
    }
}

fn check_layout<E: Element>(batch: &Batch, shape: Shape, tuning: Option<Tuning>, softcap: Option<f32>) {
    let batch = batch.cast::<E>().laid_out(shape);
    let op = calibrator::<E>(CalibratorOptions { softcap, ..PLAIN }, tuning);
    let mut source = SliceSource::new(&batch.logits, shape).unwrap();
    let points = op.curve(&mut source, &batch.targets, &TEMPERATURES, None, |_, _| Ok(())).unwrap().points;
    check_points(&format!("{} {shape:?} {tuning:?}", batch.name), &points, &counted(&batch), softcap);
}

#[test]
fn types_layouts_and_tunings() {
    let batch = noise("noise", 4, 6, 1301);
    let dense = batch.shape;
    check_layout::<f16>(&batch, dense, None, None);
    check_layout::<bf16>(&batch, dense.row_stride(1311), Some(Tuning::fixed(8, 2)), None);
    check_layout::<f32>(&batch, dense.row_stride(1303), Some(Tuning::fixed(16, 1)), Some(3.0));
    let side_by_side = Shape { rows: 6, cols: 1301, row_stride: 1301 * 3, inner: 3 };
    check_layout::<f32>(&batch, side_by_side, None, None);
    check_layout::<f16>(&noise("narrow", 5, 70, 10), Shape::nchw(7, 10, 10), None, None);
    for (case, tuning) in [(1, 4), (2, 1), (32, 1), (128, 1)].into_iter().enumerate() {
        if is_mine(case) {
            check_layout::<f32>(&batch, dense, Some(Tuning::fixed(tuning.0, tuning.1)), None);
        }
    }
    check_layout::<f32>(&noise("a vocabulary", 6, 2, 128_256), Shape::new(2, 128_256), None, None);
}

fn fitted(options: CalibratorOptions, batch: &Batch, memory: Option<u64>) -> Calibration {
    let mut source = SliceSource::new(&batch.logits, batch.shape).unwrap();
    let mut done = Vec::new();
    let each = |read: usize, rows: Range<usize>| {
        done.push((read, rows.end));
        Ok(())
    };
    let found = calibrator(options, None).fit(&mut source, batch.inputs(), memory, each).unwrap();
    assert!(done.is_sorted() && done.last() == Some(&(found.reads - 1, batch.shape.rows)), "{done:?}");
    assert!((1..=4).contains(&found.reads), "{found:?}");
    found
}

/// Logits like those of a classifier that is right in part of the rows, too confident or not confident enough.
fn classifier(seed: u64, rows: usize, cols: usize, scale: f32) -> Batch {
    let mut batch = noise("a classifier", seed, rows, cols);
    for (row, logits) in batch.logits.chunks_mut(cols).enumerate() {
        // Of five rows, three are clear, one is wrong, and one is anything.
        if row % 5 < 4 {
            let at = (batch.targets[row] as usize + usize::from(row % 5 == 3)) % cols;
            logits[at] += 3.0 + (row % 7) as f32;
        }
        logits.iter_mut().for_each(|x| *x *= scale);
    }
    batch
}

#[test]
fn temperatures_are_the_optimum() {
    for (case, (cols, scale)) in
        [(2, 1.0), (10, 0.01), (10, 30.0), (300, 1.0), (300, 0.3), (1301, 6.0)].into_iter().enumerate()
    {
        let batch = classifier(case as u64, 211, cols, scale);
        let options = CalibratorOptions { softcap: (case == 3).then_some(5.0), ..PLAIN };
        let found = fitted(options, &batch, None);
        let best = temperature(&batch.logits, &batch.targets, batch.shape, &options).unwrap();
        let off = (found.temperature / best - 1.0).abs();
        assert!(
            off < 1e-5,
            "{cols} {scale}: {} and {best}: off by {off:e}, {} reads",
            found.temperature,
            found.reads
        );
        assert!(found.uncertainty < 1e-5 && found.limit.is_none(), "{found:?}");
        assert_eq!((found.rows, found.counted, found.bad), (211, counted(&batch).len(), 0));
        check_points(
            "before and after",
            &[found.before.clone(), found.after.clone()],
            &counted(&batch),
            options.softcap,
        );
        assert!(found.after.loss <= found.before.loss + 1e-9, "{found:?}");
    }
}

#[test]
fn reliability_is_that_of_the_probabilities() {
    let batch = classifier(9, 211, 10, 1.0);
    let found = fitted(CalibratorOptions { bins: 10, ..PLAIN }, &batch, None);
    for point in [&found.before, &found.after] {
        let softmax = SoftmaxOptions { temperature: point.temperature as f32, ..Default::default() };
        let mut expected = Reliability::new(10);
        for (row, target) in counted(&batch) {
            let probs = softmax_row(&row, &softmax);
            let top = argmax_row(&row) as usize;
            expected.add(probs[top] as f32, top == target);
        }
        let ([found, expected], close) =
            ([&point.reliability, &expected].map(|of| of.ece().unwrap()), |a: f64, b: f64| {
                (a - b).abs() < 1e-6
            });
        assert!(close(found, expected), "{found} {expected}");
    }
}

/// Windows change no bit, nor does it matter how the rows that count are named.
#[test]
fn windows_and_inputs() {
    let mut batch = classifier(3, 120, 33, 2.0);
    batch.targets.iter_mut().step_by(11).for_each(|target| *target = -100);
    batch.logits[33 * 4 + 5] = f32::NAN;
    batch.logits[33 * 5] = f32::INFINITY;
    batch.logits[33 * 6..33 * 7].fill(f32::NEG_INFINITY);
    batch.logits[33 * 7 + batch.targets[7] as usize] = f32::NEG_INFINITY;
    let whole = fitted(PLAIN, &batch, None);
    let ignored = batch.targets.iter().filter(|&&target| target == -100).count();
    assert_eq!((whole.counted, whole.bad), (120 - ignored - 4, 4));
    assert_eq!(fitted(PLAIN, &batch, Some(20_000)), whole, "in windows");
    let masked = {
        let mut masked = batch.clone();
        masked.given.row_mask = Some(batch.targets.iter().map(|&target| target != -100).collect());
        masked.targets.iter_mut().filter(|target| **target == -100).for_each(|target| *target = 0);
        masked
    };
    assert_eq!(fitted(PLAIN, &masked, None), whole, "with a mask");
    let shifted = {
        let mut shifted = batch.clone();
        shifted.targets.rotate_right(1);
        shifted
    };
    let sequences = Some(Sequences::shifted(40, 1));
    let found = fitted(CalibratorOptions { sequences, ..PLAIN }, &shifted, None);
    // The last row of each sequence has no target.
    assert!(found.counted < whole.counted && found.counted + found.bad >= 120 - ignored - 3, "{found:?}");
    let weighted = {
        let mut weighted = batch.clone();
        weighted.given.row_weights = Some(vec![0.5; 120]);
        weighted
    };
    let found = fitted(PLAIN, &weighted, None);
    assert!((found.temperature / whole.temperature - 1.0).abs() < 1e-6);
}

#[test]
fn what_has_no_optimum_and_what_is_refused() {
    // Worked by hand: p = sigmoid(2β) must be 3/4.
    let logits = [2.0f32, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0];
    let shape = Shape::new(4, 2);
    let fit = |targets: &[i32]| {
        let mut source = SliceSource::new(&logits, shape).unwrap();
        calibrator(PLAIN, None).fit(&mut source, targets, None, |_, _| Ok(()))
    };
    let found = fit(&[0; 4]).unwrap();
    assert!((found.temperature / 1.820_478_453 - 1.0).abs() < 1e-5, "{found:?}");
    assert!((found.after.loss - 0.562_335_1).abs() < 1e-6, "{found:?}");
    let cold = fit(&[0, 0, 0, 1]).unwrap();
    assert_eq!((cold.limit, cold.reads), (Some(TemperatureLimit::Cold), 1));
    assert!(cold.temperature < 5e-5 && cold.after.loss < 1e-6, "{cold:?}");
    let hot = fit(&[0, 1, 0, 0]).unwrap();
    assert_eq!((hot.limit, hot.temperature > 2e4), (Some(TemperatureLimit::Hot), true));
    assert!((hot.after.loss - 2f64.ln()).abs() < 1e-3, "{hot:?}");

    assert_eq!(fit(&[-100; 4]).map(drop), Err(Error::NoRowCounts { rows: 4 }));
    assert!(matches!(fit(&[0, 2, 0, 0]), Err(Error::TargetOutOfRange { row: 1, .. })));
    assert!(matches!(fit(&[0; 3]), Err(Error::Length { .. })));
    let mut source = SliceSource::new(&logits, shape).unwrap();
    let soft = CrossEntropyInputs::new(Targets::Soft(&[0.5; 8]));
    let op = calibrator::<f32>(PLAIN, None);
    let refused = op.fit(&mut source, soft, None, |_, _| Ok(())).map(drop);
    assert!(matches!(refused, Err(Error::TargetKind { .. })), "{refused:?}");
    let stopped = op.fit(&mut source, &[0; 4], None, |_, _| Err(Error::Stopped)).map(drop);
    assert_eq!(stopped, Err(Error::Stopped));
    for value in [0.0, -1.0, 1e-9, 1e9, f64::NAN] {
        let refused = op.curve(&mut source, &[0; 4], &[1.0, value], None, |_, _| Ok(())).map(drop);
        assert!(matches!(refused, Err(Error::InvalidOption { option: "temperatures", at: Some(1), .. })));
    }
    let bins = Calibrator::<f32>::new(gpu(), &CalibratorOptions { bins: 0, ..PLAIN }).map(drop);
    assert!(matches!(bins, Err(Error::InvalidOption { option: "bins", .. })));
    assert_eq!(source.shape(), shape);
}
