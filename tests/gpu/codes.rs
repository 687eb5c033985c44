//! Rows of codes with a scale and a minimum each, which the kernels widen, against the reference of the values.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xent::bounds::{kl_divergence_bound, loss_bound};
use xent::eval::calibrate::Calibrator;
use xent::eval::compare::{Comparator, Comparison};
use xent::eval::{EvaluateOptions, Source, evaluate, softmax};
use xent::reference::compare_row;
use xent::{
    CalibratorOptions, ComparatorOptions, CrossEntropyOptions, Result, RowFields, Shape, Targets, Tuning,
};

use crate::batch::{Batch, Ops};
use crate::calibrate::check_points;
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{gpu, is_mine, tunings};
use crate::outputs::{Outputs, widened_bits};

/// Codes that are read window by window. Nobody may ask for the values.
#[derive(Clone)]
struct Coded {
    shape: Shape,
    words: Vec<u16>,
}

impl Source<f32> for Coded {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn read_rows(&mut self, rows: Range<usize>, _: &mut [f32]) -> Result<()> {
        panic!("the values of rows {rows:?} are asked for");
    }

    fn has_codes(&self) -> bool {
        true
    }

    fn read_codes(&mut self, rows: Range<usize>, into: &mut [u16]) -> Result<()> {
        let words = self.words.len() / self.shape.rows;
        into.copy_from_slice(&self.words[rows.start * words..rows.end * words]);
        Ok(())
    }
}

/// Scales and minima: as of log-probabilities; of a row of equal values; falling; far apart; shifted; and three that are no
/// numbers, or reach beyond f32.
const ROWS: [(f32, f32); 10] = [
    (16.0 / 65_535.0, -20.25),
    (3.1e-4, -17.9),
    (1.0 / 65_535.0, -1.5),
    (0.0, 2.5),
    (-2.7e-4, 11.0),
    (7.3, -4e5),
    (2e-4, 1e6),
    (1e-4, f32::NAN),
    (f32::INFINITY, -3.0),
    (1e34, 0.0),
];

/// Rows of random codes, and the batch of their values: the product rounded, then the sum.
fn batch(seed: u64, rows: usize, cols: usize) -> (Coded, Batch) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut words, mut values) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let (scale, minimum) = ROWS[row % ROWS.len()];
        for number in [scale, minimum] {
            words.extend([number.to_bits() as u16, (number.to_bits() >> 16) as u16]);
        }
        let codes: Vec<u16> = (0..cols).map(|at| if at % 9 == 4 { 0 } else { rng.random() }).collect();
        let is_finite = row % ROWS.len() < 7;
        let value = |&code: &u16| if is_finite { scale * f32::from(code) + minimum } else { f32::NAN };
        values.extend(codes.iter().map(value));
        words.extend(codes);
        // What pads a row is none of its classes.
        words.resize(words.len().next_multiple_of(2), 0xffff);
    }
    let target = |row: usize| if row % 11 == 3 { -100 } else { (7 * row % cols) as i32 };
    let batch =
        Batch::dense(&format!("codes {rows} × {cols}"), cols, values, (0..rows).map(target).collect());
    (Coded { shape: batch.shape, words }, batch)
}

/// What an evaluation and the two softmaxes give, in windows of a few rows.
fn outputs(ops: &Ops, coded: &Coded, batch: &Batch, dlogits: bool) -> Outputs {
    let shape = batch.shape;
    let memory = Some(5 * (shape.cols * 40 + 700) as u64);
    let options = EvaluateOptions { dlogits, verify_rows: shape.rows, memory, ..Default::default() };
    let (mut rows, mut gradient) = (Vec::new(), Vec::new());
    let report = evaluate(&ops.loss, &mut coded.clone(), batch.inputs(), &options, |window| {
        rows.extend_from_slice(window.results);
        gradient.extend_from_slice(window.dlogits.unwrap_or_default());
        Ok(())
    });
    let report = report.expect("an evaluation");
    assert!(report.verification.expect("verified").passed, "{}", batch.name);
    let of_rows = |of: fn(&xent::RowResult) -> u32| Some(rows.iter().map(of).collect());
    let probs = |log| {
        let mut values = Vec::new();
        softmax(&ops.softmax, log, &mut coded.clone(), memory, |_, window| {
            values.extend_from_slice(window);
            Ok(())
        })
        .expect("a softmax");
        widened_bits(&values)
    };
    Outputs {
        path: "codes",
        host_loss: Some(report.loss),
        row_losses: of_rows(|row| row.loss.to_bits()),
        row_lse: of_rows(|row| row.lse.to_bits()),
        row_argmax: of_rows(|row| row.argmax),
        row_flags: Some(rows.iter().map(|row| row.flags()).collect()),
        dlogits: dlogits.then(|| widened_bits(&gradient)),
        probs: dlogits.then(|| probs(false)),
        log_probs: dlogits.then(|| probs(true)),
        rounded: ["f32"; 2],
        ..Default::default()
    }
}

fn check_batch(ops: &Ops, (coded, batch): &(Coded, Batch), dlogits: bool) {
    check(batch, &Expected::of(batch, &ops.options), &outputs(ops, coded, batch, dlogits), ops);
}

#[test]
fn every_tuning() {
    let ops = Ops::new(gpu(), CrossEntropyOptions::default());
    for (case, tuning) in tunings().enumerate().filter(|&(case, _)| is_mine(case)) {
        let batch = batch(case as u64, 21, [16, 43, 1030, 5003][case / 2 % 4]);
        check_batch(&ops.tuned(tuning), &batch, case < 3);
    }
}

#[test]
fn options_and_targets() {
    let readouts = RowFields::all();
    let options = CrossEntropyOptions {
        row_fields: readouts,
        label_smoothing: 0.1,
        temperature: 1.7,
        ..Default::default()
    };
    let (coded, plain) = batch(20, 30, 257);
    check_batch(&Ops::new(gpu(), options), &(coded.clone(), plain.clone()), false);
    let options = CrossEntropyOptions { softcap: Some(30.0), z_loss: 1e-3, ..Default::default() };
    let sparse = plain.with_targets(xent::TargetKind::Sparse { entries: 3 }, 5);
    check_batch(&Ops::new(gpu(), options), &(coded, sparse), true);
}

#[test]
fn two_models() {
    let options = ComparatorOptions::default();
    let comparator = Comparator::<f32>::new(gpu(), &options).unwrap();
    for (seed, cols) in [(30, 39), (31, 1030)].into_iter().filter(|&(seed, _)| is_mine(seed as usize)) {
        let ((mut base, of_base), (mut other, of_other)) =
            (batch(seed, 43, cols), batch(seed + 10, 43, cols));
        // A row that no model changes, and rows that are bad in one of them.
        let words = base.words.len() / 43;
        other.words.copy_within(7 * words..8 * words, 0);
        let mut of_other = of_other;
        of_other.logits.copy_within(7 * cols..8 * cols, 0);
        other.words[2 * words..3 * words].copy_from_slice(&base.words[2 * words..3 * words]);
        of_other.logits[2 * cols..3 * cols].copy_from_slice(&of_base.logits[2 * cols..3 * cols]);
        let mut rows = Vec::new();
        let mut comparison =
            Comparison::new(&options, base.shape, Targets::Classes(&of_base.targets)).unwrap();
        let memory = Some(6 * (cols * 80 + 1500) as u64);
        comparison
            .run(&comparator, &mut base, &mut other, memory, |window| {
                rows.extend_from_slice(window.results);
                Ok(())
            })
            .unwrap();
        for (row, found) in rows.iter().enumerate() {
            let context = format!("{cols} classes, row {row}: {found:?}");
            if of_base.targets[row] == -100 {
                assert!(found.is_left_out(), "{context}");
                continue;
            }
            let (x, b) = (of_other.row(row), of_base.row(row));
            let expected = compare_row(&b, &x, Some(of_base.targets[row] as usize), &options);
            assert_eq!(found.logit_difference, expected.logit_difference as f32, "{context}");
            let tops = (found.base_argmax, found.other_argmax, found.overlap);
            assert_eq!(tops, (expected.base_argmax, expected.other_argmax, expected.overlap), "{context}");
            let close = |found: f32, expected: f64, bound: f64| {
                let is_same = found.is_nan() && expected.is_nan() || found == expected as f32;
                assert!(is_same || (f64::from(found) - expected).abs() <= bound, "{context}: {expected}");
            };
            close(found.kl, expected.kl, kl_divergence_bound(&x, &b, 1.0, expected.kl));
            close(found.base_loss, expected.base_loss, loss_bound(expected.base_loss));
            close(found.other_loss, expected.other_loss, loss_bound(expected.other_loss));
        }
    }
}

#[test]
fn temperatures() {
    let op = Calibrator::<f32>::new(gpu(), &CalibratorOptions::default()).unwrap();
    let op = op.with_tuning(Tuning::fixed(8, 1)).unwrap();
    let (mut coded, mut batch) = batch(40, 21, 1030);
    // A row without numbers would make the loss NaN.
    let is_finite = |row: usize| row % ROWS.len() < 7;
    (0..21).filter(|&row| !is_finite(row)).for_each(|row| batch.targets[row] = -100);
    let temperatures = [1.0, 0.3, 8.0];
    let points = op.curve(&mut coded, &batch.targets, &temperatures, None, |_, _| Ok(())).unwrap().points;
    let counts = |row: &usize| batch.targets[*row] != -100;
    let rows: Vec<_> =
        (0..21).filter(counts).map(|row| (batch.row(row), batch.targets[row] as usize)).collect();
    check_points("codes", &points, &rows, None);
}
