//! Losses with a second array, evaluated by the reference: no device is needed.

use std::ops::Range;

use super::*;
use crate::error::Error;
use crate::eval::memory::{Asked, Footprint};
use crate::eval::{
    EvaluateInputs, EvaluateOptions, Evaluation, EvaluationState, LabelSource, Report, RowSource,
    SliceSource, Tally, TallyOptions, TeacherSource,
};
use crate::flags::Flags;
use crate::inputs::{KlDivergenceInputs, SigmoidBceInputs};
use crate::options::{KlDivergenceOptions, SigmoidBceOptions};
use crate::reference;

const ROWS: usize = 12;
const COLS: usize = 3;
const SHAPE: Shape = Shape::new(ROWS, COLS);

fn values(seed: usize) -> Vec<f32> {
    (0..SHAPE.len()).map(|at| ((at * at * 7 + 5 * at + seed) % 23) as f32 / 4.0 - 2.5).collect()
}

fn labels() -> Vec<f32> {
    (0..SHAPE.len()).map(|at| if at % 5 < 2 { 1.0 } else { 0.25 * (at % 3) as f32 }).collect()
}

static WEIGHTS: [f32; ROWS] = [1.0, 0.5, 0.0, 2.0, 1.0, 1.5, 0.25, 1.0, 0.0, 3.0, 1.0, 0.5];
static MASK: [bool; ROWS] = [true, true, true, false, true, true, true, true, true, true, true, false];

/// Values that are read, not taken from where they lie.
struct Read<'v>(SliceSource<'v, f32>);

impl Source<f32> for Read<'_> {
    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [f32]) -> Result<()> {
        self.0.read_rows(rows, into)
    }
}

fn read(values: &[f32]) -> Read<'_> {
    Read(SliceSource::new(values, SHAPE).unwrap())
}

/// A value for each row, read window by window.
struct OfRows<'v, T>(&'v [T]);

impl<T: Copy + Send + Sync> RowSource<T> for OfRows<'_, T> {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn read_rows(&mut self, rows: Range<usize>, _: &[bool], into: &mut [T]) -> Result<()> {
        into.copy_from_slice(&self.0[rows]);
        Ok(())
    }
}

/// The room for windows of this many rows, in which both arrays are read.
fn memory_of(rows: u64) -> Option<u64> {
    let asked = Asked {
        second_bytes: 4,
        entries: 0,
        dlogits: true,
        reads_logits: false,
        reads_second: true,
        device: None,
        operations: 1,
    };
    Some(Footprint::of::<f32>(SHAPE, asked).bytes(rows * 4 * COLS as u64))
}

/// What came of a batch, without the times.
#[derive(Debug, PartialEq)]
struct Found {
    losses: Vec<u32>,
    left_out: Vec<usize>,
    dlogits: Vec<u32>,
    report: Report,
    tally: Tally,
    windows: usize,
}

/// Runs an evaluation, stopped behind some rows and continued by another one that `evaluation` makes.
macro_rules! found {
    ($stops:expr, $logits:expr, $evaluation:expr) => {{
        let mut found = (
            Vec::new(),
            Vec::new(),
            Vec::new(),
            Tally::new(&TallyOptions { sequence_length: 4, ..Default::default() }),
            0,
        );
        let mut state = EvaluationState::default();
        let mut report = None;
        for stop in $stops.into_iter().chain([usize::MAX]) {
            let mut evaluation = $evaluation;
            evaluation.resume(&state).unwrap();
            let mut source = SliceSource::new($logits, SHAPE).unwrap();
            let run = evaluation.run_on_cpu(&mut source, |window| {
                if window.rows.end > stop {
                    return Err(Error::Stopped);
                }
                found.0.extend(window.results.iter().map(|result| result.loss.to_bits()));
                let is_left_out = |row: &usize| window.results[row - window.rows.start].is_left_out();
                found.1.extend(window.rows.clone().filter(is_left_out));
                found.2.extend(window.dlogits.unwrap().iter().map(|value| value.to_bits()));
                found.3.add(window);
                found.4 += 1;
                assert!(window.classes.is_none());
                Ok(())
            });
            assert_eq!(run, if evaluation.is_done() { Ok(()) } else { Err(Error::Stopped) });
            state = evaluation.state().clone();
            report = Some(evaluation.report());
        }
        let mut report = report.unwrap();
        for time in [&mut report.reading, &mut report.computing, &mut report.elapsed] {
            *time = Default::default();
        }
        let (losses, left_out, dlogits, tally, windows) = found;
        Found { losses, left_out, dlogits, report, tally, windows }
    }};
}

/// Holds what was found to the reference's losses of the rows, and to its loss of the batch.
fn check(found: &Found, losses: &[f64], loss: f64) {
    for (row, (&bits, &expected)) in found.losses.iter().zip(losses).enumerate() {
        assert_eq!(bits, (expected as f32).to_bits(), "row {row}");
    }
    let Report { loss: of_batch, verification, .. } = &found.report;
    assert!((of_batch.value - loss).abs() <= 1e-6 * loss.abs(), "{of_batch:?}, not {loss}");
    let verification = verification.unwrap();
    assert_eq!((verification.passed, verification.rows_checked), (true, 5));
    assert_eq!((found.report.accuracy(), found.report.correct), (None, 0));
    assert_eq!(found.left_out, [2, 3, 8, 11]);
    assert_eq!((of_batch.counted, found.tally.left_out()), (8, 4));
}

#[test]
fn a_teacher_is_read_window_by_window_and_changes_no_bit() {
    let op = KlDivergenceOptions { temperature: 2.0, scale_by_t_squared: true, ..Default::default() };
    let (student, mut teacher) = (values(1), values(8));
    // Equal rows have a divergence of exactly 0, and count all the same.
    teacher[..COLS].copy_from_slice(&student[..COLS]);
    let inputs = KlDivergenceInputs::new(&teacher).row_weights(&WEIGHTS).row_mask(&MASK);
    let losses = reference::kl_divergence::row_losses(&student, inputs, SHAPE, &op).unwrap();
    let loss = reference::kl_divergence::loss(&student, inputs, SHAPE, &op).unwrap();
    let of = |windows, stops: &[usize], reads: bool| {
        let options = EvaluateOptions {
            dlogits: true,
            verify_rows: 5,
            memory: memory_of(windows),
            ..Default::default()
        };
        if !reads {
            let stops = stops.iter().copied();
            return found!(stops, &student, Evaluation::new(&op, SHAPE, inputs, &options).unwrap());
        }
        let (mut source, mut weights, mut mask) = (read(&teacher), OfRows(&WEIGHTS), OfRows(&MASK));
        found!(stops.iter().copied(), &student, {
            let mut inputs = EvaluateInputs::from(TeacherSource(&mut source));
            inputs.row_weights = Some(&mut weights);
            inputs.row_mask = Some(&mut mask);
            Evaluation::new(&op, SHAPE, inputs, &options).unwrap()
        })
    };
    let whole = of(100, &[], false);
    check(&whole, &losses, loss);
    assert_eq!((whole.losses[0], whole.windows), (0, 1));
    for (windows, stops, reads) in
        [(1, &[][..], true), (2, &[], true), (5, &[3, 9], true), (1, &[7], false), (100, &[], true)]
    {
        let cut = of(windows, stops, reads);
        assert!(cut.windows > 1 || windows == 100, "{} windows", cut.windows);
        assert_eq!(Found { windows: 1, ..cut }, whole, "{windows} rows, {stops:?}, {reads}");
    }
}

#[test]
fn binary_targets_are_read_window_by_window_and_change_no_bit() {
    let op = SigmoidBceOptions::default();
    let (logits, labels) = (values(3), labels());
    let (pos_weight, class_weights) = ([2.0, 0.5, 1.0], [1.0, 0.0, 3.0]);
    let inputs = SigmoidBceInputs::new(&labels)
        .pos_weight(&pos_weight)
        .class_weights(&class_weights)
        .row_weights(&WEIGHTS)
        .row_mask(&MASK);
    let losses = reference::sigmoid_bce::row_losses(&logits, inputs, SHAPE, &op).unwrap();
    let loss = reference::sigmoid_bce::loss(&logits, inputs, SHAPE, &op).unwrap();
    let of = |windows, stops: &[usize], reads: bool| {
        let options = EvaluateOptions {
            dlogits: true,
            verify_rows: 5,
            memory: memory_of(windows),
            ..Default::default()
        };
        let (mut source, mut weights) = (read(&labels), OfRows(&WEIGHTS));
        found!(stops.iter().copied(), &logits, {
            let mut given = EvaluateInputs::from(inputs);
            if reads {
                given.targets = Some(LabelSource(&mut source));
                given.row_weights = Some(&mut weights);
            }
            Evaluation::new(&op, SHAPE, given, &options).unwrap()
        })
    };
    let whole = of(100, &[], false);
    check(&whole, &losses, loss);
    for (windows, stops, reads) in [(1, &[][..], true), (2, &[4], true), (100, &[], true), (3, &[9], false)] {
        let cut = of(windows, stops, reads);
        assert_eq!(Found { windows: 1, ..cut }, whole, "{windows} rows, {stops:?}, {reads}");
    }
}

/// Why these inputs of a KL divergence are refused, if they are.
fn kl<'a>(
    inputs: impl Into<EvaluateInputs<'a, KlDivergenceInputs<'a, f32>, TeacherSource<'a, f32>>>,
) -> Option<Error> {
    Evaluation::new(&KlDivergenceOptions::default(), SHAPE, inputs, &Default::default()).err()
}

#[test]
fn wrong_inputs_are_told_with_their_numbers() {
    let (logits, options) = (values(1), EvaluateOptions::default());
    for (shape, what, found, needed) in [
        (Shape::new(11, 3), "the teacher", 33, 36),
        (Shape::new(9, 4), "a row of the teacher", 4, 3),
        (Shape::nchw(4, 3, 3), "a group of the teacher", 3, 1),
        (Shape::new(7, 3).row_stride(5), "a padded row of the teacher", 5, 3),
    ] {
        let mut teacher = SliceSource::new(&logits[..shape.len()], shape).unwrap();
        let refused = kl(TeacherSource(&mut teacher));
        assert_eq!(refused, Some(Error::Length { what, found, needed }), "{shape:?}");
    }
    let short = kl(&logits[..33]);
    assert_eq!(short, Some(Error::Length { what: "teacher", found: 33, needed: 36 }));
    let mut weights = OfRows(&WEIGHTS[..5]);
    let mut inputs = EvaluateInputs::from(KlDivergenceInputs::new(&logits));
    inputs.row_weights = Some(&mut weights);
    assert_eq!(kl(inputs), Some(Error::Length { what: "row_weights", found: 5, needed: 12 }));
    let cold = KlDivergenceOptions { temperature: 0.0, ..Default::default() };
    let refused = Evaluation::<f32, _>::new(&cold, SHAPE, &logits, &options).err();
    assert!(matches!(refused, Some(Error::InvalidOption { option: "temperature", .. })), "{refused:?}");

    // A target that is not finite, in memory and read: its row counts from the start of the batch.
    let mut labels = labels();
    labels[7 * COLS + 1] = f32::INFINITY;
    let error = Error::InvalidTarget { row: 7, at: 1, value: f32::INFINITY };
    let op = SigmoidBceOptions::default();
    let refused = Evaluation::<f32, _>::new(&op, SHAPE, &labels, &options).err();
    assert_eq!(refused, Some(error.clone()));
    let mut source = read(&labels);
    let options = EvaluateOptions { memory: memory_of(2), ..options };
    let mut evaluation = Evaluation::new(&op, SHAPE, LabelSource(&mut source), &options).unwrap();
    let mut logits = read(&logits);
    assert_eq!(evaluation.run_on_cpu(&mut logits, |_| Ok(())), Err(error));
    assert!(!evaluation.is_done());
    let mut wrong = SliceSource::new(&labels[..33], Shape::new(11, 3)).unwrap();
    let refused = Evaluation::<f32, _>::new(&op, SHAPE, LabelSource(&mut wrong), &options).err();
    assert_eq!(refused, Some(Error::Length { what: "the targets", found: 33, needed: 36 }));
}

#[test]
fn flags_of_special_rows() {
    const INF: f32 = f32::INFINITY;
    let nan = f32::NAN;
    let flags = |result: RowResult| (result.loss, result.flags());
    let kl = |student: [f32; 2], teacher: [f32; 2]| {
        let op = KlDivergenceOptions { masked_row: crate::MaskedRow::Zero, ..Default::default() };
        let inputs = KlDivergenceInputs::new(&teacher);
        flags(op.row_result(&student, &inputs, Shape::new(1, 2), 0))
    };
    assert_eq!(kl([-INF; 2], [0.0; 2]), (0.0, Flags::MASKED_ROW));
    assert_eq!(kl([-INF, 0.0], [0.0; 2]), (INF, Flags::INFINITE_LOSS));
    assert_eq!(kl([0.0; 2], [nan, INF]).1, Flags::NAN_LOGIT | Flags::NAN_LOSS);
    assert_eq!(kl([-INF; 2], [0.0, INF]).1, Flags::INFINITE_LOGIT | Flags::NAN_LOSS);
    let bce = |logits: [f32; 2], weights: &[f32]| {
        let inputs = SigmoidBceInputs::new(&[1.0, 0.0]).row_weights(weights);
        flags(SigmoidBceOptions::default().row_result(&logits, &inputs, Shape::new(1, 2), 0))
    };
    assert_eq!(bce([nan, 0.0], &[1.0]).1, Flags::NAN_LOGIT | Flags::NAN_LOSS);
    assert_eq!(bce([0.0, INF], &[1.0]), (INF, Flags::INFINITE_LOSS));
    assert_eq!(bce([nan, 0.0], &[0.0]), (0.0, Flags::empty()));
}
