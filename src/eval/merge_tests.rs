//! Parts of a batch against the whole: whatever the split, the order and the grouping, the bytes are the same.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::RowFields;
use crate::error::Error;
use crate::eval::losses::Evaluable;
use crate::eval::{
    EvaluateInputs, EvaluateOptions, Evaluation, SliceSource, Tally, TallyOptions, TargetSource,
};
use crate::inputs::{CrossEntropyInputs, KlDivergenceInputs, SigmoidBceInputs};
use crate::options::{CrossEntropyOptions, KlDivergenceOptions, Reduction, Sequences, SigmoidBceOptions};
use crate::shape::Shape;
use crate::targets::Targets;

const ROWS: usize = 61;
const COLS: usize = 9;
const SHAPE: Shape = Shape::new(ROWS, COLS);

/// A state and its tally, as they are kept.
#[derive(Clone)]
struct Part(EvaluationState, Tally);

impl Part {
    /// All but the times, byte by byte.
    fn bytes(&self) -> Vec<u8> {
        let zero = Duration::ZERO;
        let state = EvaluationState { reading: zero, computing: zero, elapsed: zero, ..self.0.clone() };
        let mut bytes = Vec::new();
        ciborium::into_writer(&(state, &self.1), &mut bytes).unwrap();
        bytes
    }

    fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0).unwrap();
        self.1.merge(&other.1);
    }
}

/// Evaluates these rows of a batch, in windows of so many rows.
fn part<'a, L: Evaluable>(
    op: &L,
    logits: &[f32],
    inputs: impl Into<EvaluateInputs<'a, L::Inputs<'a, f32>, L::Source<'a, f32>>>,
    (rows, window_rows, length): (Range<usize>, u64, usize),
) -> Part {
    let memory = Some(window_rows * 2_000);
    let options = EvaluateOptions { verify_rows: 7, check_shift: true, memory, ..Default::default() };
    let mut evaluation = Evaluation::new(op, SHAPE, inputs, &options).unwrap();
    evaluation.restrict(rows.clone()).unwrap();
    let tallied = TallyOptions { sequence_length: length, rows: ROWS, classes: COLS, ..Default::default() };
    let mut tally = Tally::new(&tallied);
    let mut source = SliceSource::new(logits, SHAPE).unwrap();
    evaluation
        .run_on_cpu(&mut source, |window| {
            assert!(window.rows.start >= rows.start && window.rows.end <= rows.end);
            tally.add(window);
            Ok(())
        })
        .unwrap();
    assert!(evaluation.is_done() && tally.is_sound(rows.len(), &tallied));
    Part(evaluation.state().clone(), tally)
}

/// Merges these parts in some order and grouping.
fn merged(rng: &mut SmallRng, mut parts: Vec<Part>) -> Part {
    parts.shuffle(rng);
    while parts.len() > 1 {
        let other = parts.swap_remove(rng.random_range(0..parts.len()));
        let at = rng.random_range(0..parts.len());
        parts[at].merge(&other);
    }
    parts.remove(0)
}

/// Cuts the rows anywhere, also twice in one place.
fn cuts(rng: &mut SmallRng) -> Vec<Range<usize>> {
    let mut at: Vec<usize> = (0..rng.random_range(1..9)).map(|_| rng.random_range(0..=ROWS)).collect();
    at.extend([0, ROWS]);
    at.sort_unstable();
    at.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

fn check(name: &str, length: usize, make: impl Fn(Range<usize>, u64) -> Part) {
    let whole = make(0..ROWS, 100);
    assert!(
        whole.0.is_whole() && whole.0.row_ranges().eq(std::iter::once(0..ROWS)),
        "{name}, {length} rows a sequence"
    );
    let mut rng = SmallRng::seed_from_u64(19);
    for _ in 0..25 {
        let cuts = cuts(&mut rng);
        let parts: Vec<Part> = cuts.iter().map(|rows| make(rows.clone(), rng.random_range(1..9))).collect();
        // Some of them, in two ways.
        let some: Vec<Part> = parts.iter().filter(|_| rng.random_bool(0.7)).cloned().collect();
        if !some.is_empty() {
            let [one, other] = [merged(&mut rng, some.clone()), merged(&mut rng, some)];
            assert!(one.bytes() == other.bytes(), "{name}: some of {cuts:?}");
        }
        let all = merged(&mut rng, parts);
        assert_eq!(format!("{:?}", all.0.report().loss), format!("{:?}", whole.0.report().loss), "{name}");
        assert!(all.bytes() == whole.bytes(), "{name}: {cuts:?}: {:#?}, not {:#?}", all.0, whole.0);
    }
}

/// Logits with rows of NaN, +∞, and −∞, that know a little of the targets one row behind.
fn logits(seed: u64) -> Vec<f32> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut logits: Vec<f32> = (0..ROWS * COLS).map(|_| rng.random_range(-4.0..4.0)).collect();
    for (row, value) in [(7, f32::NAN), (23, f32::INFINITY), (24, f32::NEG_INFINITY), (50, f32::NAN)] {
        logits[row * COLS..][..3].fill(value);
    }
    logits
}

fn classes() -> Vec<i32> {
    (0..ROWS).map(|row| if row % 10 == 6 { -100 } else { (row * row % COLS) as i32 }).collect()
}

/// Weights whose sum is rounded.
fn weights() -> Vec<f32> {
    (0..ROWS).map(|row| (row % 7) as f32 * 0.1).collect()
}

#[test]
fn parts_of_a_cross_entropy_are_the_whole() {
    let (logits, classes, weights) = (logits(1), classes(), weights());
    let class_weights: Vec<f32> = (0..COLS).map(|class| 0.3 + class as f32).collect();
    for length in [1, 5, ROWS] {
        let op = CrossEntropyOptions {
            label_smoothing: 0.1,
            z_loss: 1e-3,
            sequences: (length > 1).then_some(Sequences::shifted(length, 1)),
            row_fields: RowFields::all(),
            ..Default::default()
        };
        for is_weighted in [false, true] {
            let mut inputs = CrossEntropyInputs::new(Targets::Classes(&classes));
            if is_weighted {
                inputs.class_weights = Some(&class_weights);
                inputs.rows.row_weights = Some(&weights);
            }
            check("cross-entropy", length, |rows, windows| {
                part(&op, &logits, inputs, (rows, windows, length))
            });
        }
    }
}

#[test]
fn parts_of_packed_sequences_are_the_whole() {
    let (logits, classes) = (logits(2), classes());
    let op = CrossEntropyOptions { sequences: Some(Sequences::shifted(20, 1)), ..Default::default() };
    let ends = [3, 3, 23, 40, ROWS];
    let inputs = CrossEntropyInputs { sequence_ends: Some(&ends), ..Targets::Classes(&classes).into() };
    check("packed", 20, |rows, windows| part(&op, &logits, inputs, (rows, windows, 20)));
}

#[test]
fn parts_of_soft_targets_from_a_source_are_the_whole() {
    let soft: Vec<f32> = (0..ROWS * COLS).map(|at| (at % 4) as f32 / 12.0).collect();
    let logits = logits(3);
    check("soft", 1, |rows, windows| {
        let mut source = SliceSource::new(&soft, SHAPE).unwrap();
        let inputs = TargetSource::Soft(&mut source);
        part(&CrossEntropyOptions::default(), &logits, inputs, (rows, windows, 1))
    });
}

#[test]
fn parts_of_other_losses_are_the_whole() {
    let (student, teacher, weights) = (logits(4), logits(5), weights());
    let op = KlDivergenceOptions { temperature: 2.0, reduction: Reduction::Sum, ..Default::default() };
    let inputs = KlDivergenceInputs::new(&teacher).row_weights(&weights);
    check("KL", 1, |rows, windows| part(&op, &student, inputs, (rows, windows, 1)));
    let labels: Vec<f32> = (0..ROWS * COLS).map(|at| (at % 3 == 0) as u8 as f32).collect();
    let inputs = SigmoidBceInputs::new(&labels).row_weights(&weights);
    check("BCE", 1, |rows, windows| {
        part(&SigmoidBceOptions::default(), &student, inputs, (rows, windows, 1))
    });
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (logits, classes) = (logits(1), classes());
    let of = |op: &CrossEntropyOptions, classes: &[i32], rows| {
        part(op, &logits, Targets::Classes(classes), (rows, 9, 1)).0
    };
    let plain = CrossEntropyOptions::default();
    let mut state = of(&plain, &classes, 10..30);
    let before = state.clone();
    let mut refused = |other: &EvaluationState| {
        let error = state.merge(other).unwrap_err();
        assert_eq!(format!("{state:?}"), format!("{before:?}"), "it is as it was");
        error
    };
    for (rows, both) in [(29..30, 29..30), (0..11, 10..11), (5..40, 10..30), (12..20, 12..20)] {
        assert_eq!(refused(&of(&plain, &classes, rows)), MergeError::Overlap { rows: both });
    }
    let overlap = refused(&of(&plain, &classes, 29..40)).to_string();
    assert_eq!(overlap, "both have rows 29 to 29");
    let sum = CrossEntropyOptions { reduction: Reduction::Sum, ..plain };
    let error = refused(&of(&sum, &classes, 0..10));
    assert!(matches!(error, MergeError::OtherBatch { what: "the reduction", .. }), "{error}");
    let mut ignored = classes.clone();
    ignored[60] = -100;
    let error = refused(&of(&plain, &ignored, 0..10)).to_string();
    let says =
        "they are of different batches: the number of rows that count is 55.0 in one and 54.0 in the other";
    assert_eq!(error, says);
    // Two that have nothing beside them.
    let mut gap = of(&plain, &classes, 0..5);
    gap.merge(&of(&plain, &classes, 50..ROWS)).unwrap();
    assert!(gap.row_ranges().eq([0..5, 50..ROWS]) && !gap.is_whole());
    assert_eq!(gap.merge(&of(&plain, &classes, 4..6)), Err(MergeError::Overlap { rows: 4..5 }));

    let inputs = Targets::Classes(&classes);
    let mut evaluation: Evaluation<'_> = Evaluation::new(&plain, SHAPE, inputs, &Default::default()).unwrap();
    assert_eq!(evaluation.restrict(3..ROWS + 1), Err(Error::RowsExceedBound { rows: ROWS + 1, bound: ROWS }));
    evaluation.restrict(10..50).unwrap();
    evaluation.resume(&of(&plain, &classes, 10..20)).unwrap();
    assert_eq!((evaluation.rows(), evaluation.state().rows(), evaluation.is_done()), (10..50, 10, false));
    let other = evaluation.resume(&of(&plain, &classes, 11..20));
    assert_eq!(other, Err(Error::OtherRows { found: 11, needed: 10 }));
    assert_eq!(evaluation.resume(&gap), Err(Error::OtherRows { found: 0, needed: 10 }));
    let grouped = Shape::nchw(2, 2, 3);
    let mut evaluation: Evaluation<'_> =
        Evaluation::new(&plain, grouped, Targets::Classes(&[0; 6]), &Default::default()).unwrap();
    assert_eq!(evaluation.restrict(0..2), Err(Error::Layout { rows: 2, inner: 3 }));
    assert_eq!(evaluation.restrict(3..6), Ok(()));
}
