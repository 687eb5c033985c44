//! Per-row inputs from sources and from slices.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::eval::evaluation::Evaluation;
use crate::eval::{EvaluateOptions, TargetSource};
use crate::inputs::CrossEntropyInputs;
use crate::options::{CrossEntropyOptions, Reduction, Sequences};
use crate::targets::Targets;

/// Values by a rule. Unused values are `other`.
struct Rule<T, F> {
    rows: usize,
    entries: usize,
    value: F,
    other: T,
    /// The maximum number of rows asked for at once.
    most: Arc<AtomicUsize>,
}

impl<T: Copy + Send, F: Fn(usize) -> T + Send> RowSource<T> for Rule<T, F> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn read_rows(&mut self, rows: Range<usize>, used: &[bool], into: &mut [T]) -> Result<()> {
        assert!(rows.end <= self.rows && used.len() == rows.len());
        assert_eq!(into.len(), rows.len() * self.entries);
        self.most.fetch_max(rows.len(), Ordering::Relaxed);
        for (at, into) in into.iter_mut().enumerate() {
            let is_used = used[at / self.entries];
            *into = if is_used { (self.value)(rows.start * self.entries + at) } else { self.other };
        }
        Ok(())
    }
}

fn rule<T, F: Fn(usize) -> T>(rows: usize, entries: usize, other: T, value: F) -> Rule<T, F> {
    Rule { rows, entries, value, other, most: Arc::default() }
}

const ROWS: usize = 200_003;
const COLS: usize = 7;

fn class(row: usize) -> i32 {
    if row % 11 == 3 { -100 } else { (row * 5 % COLS) as i32 }
}

fn index(at: usize) -> i32 {
    (at * 3 % COLS) as i32
}

fn prob(at: usize) -> f32 {
    (at % 5) as f32 / 8.0
}

fn weight(row: usize) -> f32 {
    (row % 13) as f32 * 0.1
}

fn is_scored(row: usize) -> bool {
    row % 17 != 4
}

fn options(sequences: Option<Sequences>) -> CrossEntropyOptions {
    CrossEntropyOptions { sequences, ..Default::default() }
}

fn all_options() -> [CrossEntropyOptions; 4] {
    let cut_short = Sequences { from: 5, to: 990, ..Sequences::shifted(1000, 3) };
    let sequences =
        [None, Some(Sequences::shifted(ROWS, 1)), Some(cut_short), Some(Sequences::shifted(7, 9))];
    sequences.map(options)
}

/// The total weight of the rows, and a few of their windows.
fn told(inputs: EvaluateInputs<'_>, op: &CrossEntropyOptions) -> (BatchWeight, Vec<Vec<String>>) {
    let shape = Shape::new(ROWS, COLS);
    let (mut rows, _, weight) = BatchRows::<f32, _>::checked(inputs, shape, op).unwrap();
    let plain = CrossEntropyOptions { sequences: None, ..*op };
    let mut of_rows = |rows_of: Range<usize>| {
        let part = rows.window(rows_of.clone()).unwrap();
        let shape = shape.with_rows(rows_of.len());
        let of_row = |row| {
            let inputs = part.inputs();
            inputs
                .row_target(shape, &plain, row)
                .map(|target| format!("{target:?} {}", inputs.rows.weight(row)))
        };
        (0..rows_of.len()).map(|row| format!("{:?}", of_row(row))).collect()
    };
    let windows = [0..9, 996..1003, 65_530..65_540, ROWS - 12..ROWS - 1, ROWS - 1..ROWS];
    (weight, windows.into_iter().map(&mut of_rows).collect())
}

#[test]
fn sources_tell_what_slices_tell_and_none_is_held_whole() {
    let classes: Vec<i32> = (0..ROWS).map(class).collect();
    let as_i64: Vec<i64> = (0..ROWS).map(|row| class(row).into()).collect();
    let as_usize: Vec<usize> = (0..ROWS).map(|row| class(row) as usize).collect();
    let (indices, probs): (Vec<i32>, Vec<f32>) = (0..2 * ROWS).map(|at| (index(at), prob(at))).unzip();
    let weights: Vec<f32> = (0..ROWS).map(weight).collect();
    let mask: Vec<bool> = (0..ROWS).map(is_scored).collect();
    let sparse = Targets::Sparse { indices: &indices, probs: &probs, entries: 2 };
    for op in all_options() {
        for (targets, is_sparse) in [
            (Targets::Classes(&classes), false),
            (Targets::ClassesI64(&as_i64), false),
            (Targets::ClassesUsize(&as_usize), false),
            (sparse, true),
        ] {
            for (weighted, masked) in [(false, false), (true, false), (false, true), (true, true)] {
                let name = format!("{:?}, sparse {is_sparse}, {weighted} {masked}", op.sequences);
                let mut slices = CrossEntropyInputs::new(targets);
                slices.rows.row_weights = weighted.then_some(&weights[..]);
                slices.rows.row_mask = masked.then_some(&mask[..]);
                let expected = told(slices.into(), &op);
                assert_eq!(expected.0, slices.check(Shape::new(ROWS, COLS), &op).unwrap(), "{name}");

                // Unused values are out of range.
                let (mut of, mut with) = (rule(ROWS, 2, 99, index), rule(ROWS, 2, f32::NAN, prob));
                let mut classes = rule(ROWS, 1, 99, class);
                let mut of_rows = (rule(ROWS, 1, 0.0, weight), rule(ROWS, 1, true, is_scored));
                let most =
                    [&of.most, &with.most, &classes.most, &of_rows.0.most, &of_rows.1.most].map(Arc::clone);
                let source = if is_sparse {
                    TargetSource::Sparse { indices: &mut of, probs: &mut with, entries: 2 }
                } else {
                    TargetSource::Classes(&mut classes)
                };
                let mut inputs = EvaluateInputs::from(source);
                inputs.row_weights = weighted.then_some(&mut of_rows.0 as _);
                inputs.row_mask = masked.then_some(&mut of_rows.1 as _);
                assert_eq!(told(inputs, &op), expected, "{name}");
                let most = most.map(|most| most.load(Ordering::Relaxed));
                assert!(most.iter().all(|&most| most <= FIRST_PASS_VALUES), "{name}: {most:?} rows at once");

                // Targets in memory, the other inputs from sources.
                let mut of_rows = (rule(ROWS, 1, 0.0, weight), rule(ROWS, 1, true, is_scored));
                let mut inputs = EvaluateInputs::from(targets);
                inputs.row_weights = weighted.then_some(&mut of_rows.0 as _);
                inputs.row_mask = masked.then_some(&mut of_rows.1 as _);
                assert_eq!(told(inputs, &op), expected, "{name}: targets in memory");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_row_before_any_work() {
    let refused = |inputs: EvaluateInputs<'_>, op: &CrossEntropyOptions| {
        let shape = Shape::new(ROWS, COLS);
        Evaluation::<f32, _>::new(op, shape, inputs, &EvaluateOptions::default()).err()
    };
    let shifted = options(Some(Sequences::shifted(ROWS, 1)));
    for op in [options(None), shifted] {
        let mut classes = rule(ROWS, 1, 0, |row| if row == 150_000 { 7 } else { class(row) });
        let error = Error::TargetOutOfRange { row: 150_000, target: 7, cols: COLS };
        assert_eq!(refused(TargetSource::Classes(&mut classes).into(), &op), Some(error));
        let (mut of, mut with) = (
            rule(ROWS, 2, 0, index),
            rule(ROWS, 2, 0.0, |at| if at == 140_001 { f32::INFINITY } else { prob(at) }),
        );
        let sparse = TargetSource::Sparse { indices: &mut of, probs: &mut with, entries: 2 };
        let error = Error::InvalidTarget { row: 70_000, at: 1, value: f32::INFINITY };
        assert_eq!(refused(sparse.into(), &op), Some(error));
    }
    // Targets in memory beside weights from a source, in the last window, which a shift leaves one target short.
    let mut wide = vec![0; ROWS];
    wide[ROWS - 1] = usize::MAX;
    for op in [options(None), shifted] {
        let mut weights = rule(ROWS, 1, 0.0, |_| 1.0);
        let mut inputs = EvaluateInputs::from(&wide);
        inputs.row_weights = Some(&mut weights);
        let error = Error::TargetOutOfRange { row: ROWS - 1, target: usize::MAX as i128, cols: COLS };
        assert_eq!(refused(inputs, &op), Some(error));
    }
    let mut weights = rule(ROWS, 1, 0.0, |row| if row == 123_456 { -1.0 } else { weight(row) });
    let classes = vec![0; ROWS];
    let mut inputs = EvaluateInputs::from(Targets::Classes(&classes));
    inputs.row_weights = Some(&mut weights);
    let error = refused(inputs, &options(None));
    assert!(
        matches!(error, Some(Error::InvalidOption { option: "row_weights", at: Some(123_456), .. })),
        "{error:?}"
    );

    let mut short = rule(ROWS - 1, 1, 0, class);
    let error = Error::Length { what: "targets", found: ROWS - 1, needed: ROWS };
    assert_eq!(refused(TargetSource::Classes(&mut short).into(), &options(None)), Some(error));
    let (mut of, mut with) = (rule(ROWS, 1, 0, index), rule(ROWS, 1, 0.0, prob));
    let none = TargetSource::Sparse { indices: &mut of, probs: &mut with, entries: 0 };
    assert!(matches!(refused(none.into(), &options(None)), Some(Error::InvalidOption { .. })));
    let mut all_ignored = rule(ROWS, 1, 0, |_| -100);
    let op = CrossEntropyOptions {
        empty_batch: crate::options::EmptyBatch::Error,
        reduction: Reduction::Mean,
        ..Default::default()
    };
    let error = refused(TargetSource::Classes(&mut all_ignored).into(), &op);
    assert_eq!(error, Some(Error::NoRowCounts { rows: ROWS }));
}

#[test]
fn a_source_takes_the_place_of_a_slice() {
    let shape = Shape::new(3, COLS);
    let mut weights = rule(3, 1, 0.0, |_| 2.0);
    let mut mask = rule(3, 1, true, |row| row != 1);
    let mut classes = rule(3, 1, 0, |_| 1);
    let mut inputs = EvaluateInputs::from(TargetSource::Classes(&mut classes));
    inputs.beside.rows.row_weights = Some(&[0.0; 3]);
    inputs.beside.rows.row_mask = Some(&[false; 3]);
    inputs.row_weights = Some(&mut weights);
    inputs.row_mask = Some(&mut mask);
    let (.., weight) = BatchRows::<f32, _>::checked(inputs, shape, &options(None)).unwrap();
    assert_eq!(weight, BatchWeight { weight: 4.0, row_weight: 4.0, counted: 2 });
}
