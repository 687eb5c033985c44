//! Evaluations of the losses with a second array: in windows, read ahead and stopped, they are the host path, bit for bit,
//! and what the reference says.

use std::ops::Range;

use half::bf16;
use xent::eval::{
    EvaluateInputs, EvaluateOptions, Evaluated, Evaluation, EvaluationState, LabelSource, RowSource,
    SliceSource, Source, Tally, TeacherSource, evaluate,
};
use xent::{
    Element, Error, KlDivergence, KlDivergenceInputs, KlDivergenceOptions, Loss, Result, Shape, SigmoidBce,
    SigmoidBceInputs, SigmoidBceOptions, reference,
};

use crate::batch::noise;
use crate::harness::gpu;

/// Values that are read, not taken from where they lie.
struct Read<'a, E>(SliceSource<'a, E>);

impl<E: Element> Source<E> for Read<'_, E> {
    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        self.0.read_rows(rows, into)
    }
}

/// A value for each row, read window by window.
struct OfRows<'a, T>(&'a [T]);

impl<T: Copy + Send + Sync> RowSource<T> for OfRows<'_, T> {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn read_rows(&mut self, rows: Range<usize>, _: &[bool], into: &mut [T]) -> Result<()> {
        into.copy_from_slice(&self.0[rows]);
        Ok(())
    }
}

/// What came of a batch, as bits.
#[derive(Debug, PartialEq)]
struct Found {
    loss: Loss,
    rows: Vec<u32>,
    dlogits: Vec<u32>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// What the windows of a run have left, and what their rows counted for.
struct Seen {
    shape: Shape,
    rows: Vec<u32>,
    dlogits: Vec<u32>,
    tally: Tally,
    windows: usize,
}

impl Seen {
    fn new(shape: Shape) -> Self {
        let dlogits = vec![0; shape.len()];
        Self { shape, rows: Vec::new(), dlogits, tally: Tally::new(&Default::default()), windows: 0 }
    }

    fn add(&mut self, window: &Evaluated<'_>, stop: usize) -> Result<()> {
        if window.rows.end > stop {
            return Err(Error::Stopped);
        }
        assert_eq!(window.rows.start, self.rows.len(), "every row once");
        self.rows.extend(window.results.iter().map(|result| result.loss.to_bits()));
        let start = self.shape.row_stride * (window.rows.start / self.shape.inner);
        let dlogits = bits(window.dlogits.expect("asked for"));
        self.dlogits[start..][..dlogits.len()].copy_from_slice(&dlogits);
        self.tally.add(window);
        self.windows += 1;
        Ok(())
    }
}

/// The host path's answer. The reference's loss of the batch is `expected`.
macro_rules! whole {
    ($op:expr, $logits:expr, $inputs:expr, $shape:expr, $expected:expr) => {{
        let mut dlogits = vec![0f32; $shape.len()];
        let loss = $op.loss_into($logits, $inputs, $shape, &mut dlogits).wait().unwrap();
        let results = $op.row_results($logits, $inputs, $shape).wait().unwrap();
        let rows = results.iter().map(|result| result.loss.to_bits()).collect();
        let (found, expected) = (loss.value, $expected);
        assert!((found - expected).abs() <= 1e-5 * (1.0 + expected), "{found}, not {expected}");
        Found { loss, rows, dlogits: bits(&dlogits) }
    }};
}

/// An evaluation in windows of about so many rows, stopped behind some of them. What comes after a stop is another
/// process, for all that it knows.
macro_rules! in_windows {
    ($op:expr, $shape:expr, $window_rows:expr, $stops:expr, $source:expr, $inputs:expr) => {{
        let (shape, stops): (Shape, &[usize]) = ($shape, $stops);
        let row_bytes = shape.row_stride / shape.inner * 72 + 300;
        let memory = Some(($window_rows * row_bytes) as u64);
        let options = EvaluateOptions { dlogits: true, verify_rows: 5, memory, ..Default::default() };
        let (mut seen, mut state, mut report) = (Seen::new(shape), EvaluationState::default(), None);
        for &stop in stops.iter().chain([&usize::MAX]) {
            let mut evaluation = Evaluation::new($op.options(), shape, $inputs, &options).unwrap();
            evaluation.resume(&state).unwrap();
            let run = evaluation.run($op, $source, |window| seen.add(window, stop));
            assert_eq!(run, if evaluation.is_done() { Ok(()) } else { Err(Error::Stopped) });
            state = evaluation.state().clone();
            report = Some(evaluation.report());
        }
        let report = report.unwrap();
        assert!(report.verification.unwrap().passed, "{report:?}");
        assert_eq!((report.accuracy(), report.correct), (None, 0));
        assert_eq!(seen.tally.left_out() as usize, report.ignored());
        (Found { loss: report.loss, rows: seen.rows, dlogits: seen.dlogits }, seen.windows)
    }};
}

/// Rows of a window, whether the arrays are read, and where the run stops, in groups of rows.
const WAYS: [(usize, bool, &[usize]); 4] =
    [(1 << 20, false, &[]), (7, true, &[]), (1, false, &[]), (2, true, &[1, 9, 20])];

fn of_rows(rows: usize) -> (Vec<f32>, Vec<bool>) {
    let weights = (0..rows).map(|row| (row % 5) as f32 * 0.5).collect();
    (weights, (0..rows).map(|row| row % 7 != 3).collect())
}

fn divergence<E: Element + PartialEq>(shape: Shape) {
    let (rows, cols) = (shape.rows, shape.cols);
    let of = |seed| noise("teacher", seed, rows, cols).laid_out(shape).cast::<E>().logits;
    let (student, mut teacher) = (of(21), of(22));
    // Equal groups of rows have a divergence of exactly 0, and count all the same.
    teacher[..shape.row_stride].copy_from_slice(&student[..shape.row_stride]);
    let (weights, mask) = of_rows(rows);
    let inputs = KlDivergenceInputs::new(&teacher).row_weights(&weights).row_mask(&mask);
    let options = KlDivergenceOptions { temperature: 1.5, ..Default::default() };
    let op = &KlDivergence::<E>::new(gpu(), &options).unwrap();
    let expected = reference::kl_divergence::loss(&student, inputs, shape, &options).unwrap();
    let expected = whole!(op, &student, inputs, shape, expected);
    let mut there = SliceSource::new(&student, shape).unwrap();
    for (groups, reads, stops) in WAYS {
        let stops: Vec<usize> = stops.iter().map(|group| group * shape.inner).collect();
        let (found, windows) = if reads {
            let (mut source, mut teacher) = (Read(there), Read(SliceSource::new(&teacher, shape).unwrap()));
            let (mut weights, mut mask) = (OfRows(&weights), OfRows(&mask));
            in_windows!(op, shape, groups * shape.inner, &stops, &mut source, {
                let mut inputs = EvaluateInputs::from(TeacherSource(&mut teacher));
                inputs.row_weights = Some(&mut weights);
                inputs.row_mask = Some(&mut mask);
                inputs
            })
        } else {
            in_windows!(op, shape, groups * shape.inner, &stops, &mut there, inputs)
        };
        assert!(found == expected, "{shape:?}: {groups} groups, {reads}, {stops:?}");
        assert_eq!(windows > 1, groups < 100, "{windows} windows");
    }
}

#[test]
fn a_divergence_in_windows_changes_no_bit() {
    divergence::<f32>(Shape::new(33, 19).row_stride(21));
    divergence::<bf16>(Shape::new(33, 19).row_stride(21));
}

#[test]
fn a_binary_loss_in_windows_changes_no_bit() {
    let shape = Shape::nchw(23, 9, 2);
    let logits = noise("labels", 23, shape.rows, shape.cols).laid_out(shape).logits;
    let labels: Vec<f32> = (0..shape.len()).map(|at| (at * 5 % 4) as f32 / 3.0).collect();
    let pos_weight: Vec<f32> = (0..shape.cols).map(|class| 0.5 + class as f32).collect();
    let (weights, mask) = of_rows(shape.rows);
    let inputs = SigmoidBceInputs::new(&labels).pos_weight(&pos_weight).row_weights(&weights).row_mask(&mask);
    let options = SigmoidBceOptions::default();
    let op = &SigmoidBce::<f32>::new(gpu(), &options).unwrap();
    let expected = reference::sigmoid_bce::loss(&logits, inputs, shape, &options).unwrap();
    let expected = whole!(op, &logits, inputs, shape, expected);
    let mut there = SliceSource::new(&logits, shape).unwrap();
    for (groups, reads, stops) in WAYS {
        let stops: Vec<usize> = stops.iter().map(|group| group * shape.inner).collect();
        let mut source = Read(SliceSource::new(&labels, shape).unwrap());
        let (mut of_weights, mut of_mask) = (OfRows(&weights), OfRows(&mask));
        let (found, _) = in_windows!(op, shape, groups * shape.inner, &stops, &mut there, {
            let mut inputs = EvaluateInputs::from(inputs);
            if reads {
                inputs.targets = Some(LabelSource(&mut source));
                inputs.row_weights = Some(&mut of_weights);
                inputs.row_mask = Some(&mut of_mask);
            }
            inputs
        });
        assert!(found == expected, "{groups} groups, {reads}, {stops:?}");
    }
}

#[test]
fn a_teacher_of_another_shape_is_an_error() {
    let shape = Shape::new(6, 4);
    let (student, teacher) = ([0.5f32; 24], [0.25f32; 24]);
    let op = KlDivergence::<f32>::new(gpu(), &Default::default()).unwrap();
    let mut source = SliceSource::new(&student, shape).unwrap();
    let mut wrong = SliceSource::new(&teacher, Shape::new(4, 6)).unwrap();
    let options = EvaluateOptions::default();
    let refused = evaluate(&op, &mut source, TeacherSource(&mut wrong), &options, |_| Ok(()));
    let error = Error::Length { what: "a row of the teacher", found: 6, needed: 4 };
    assert_eq!(refused.map(|report| report.loss), Err(error));
    let refused = evaluate(&op, &mut source, &teacher[..20], &options, |_| Ok(()));
    let error = Error::Length { what: "teacher", found: 20, needed: 24 };
    assert_eq!(refused.map(|report| report.loss), Err(error));
    let report = evaluate(&op, &mut source, &teacher, &options, |_| Ok(())).unwrap();
    assert_eq!((report.loss.value, report.loss.counted), (0.0, 6), "both are uniform");
}
