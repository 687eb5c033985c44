//! A batch on its way from a source through the device to a report.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::device::Context;
use crate::element::Element;
use crate::error::Result;
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::op::{CrossEntropy, CrossEntropyStream, Loss, RowResult, Verification};
use crate::options::CrossEntropyOptions;
use crate::targets::Targets;

/// What [`evaluate`] does besides the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Rows, evenly spread, whose losses are compared with the f64 [`reference`](mod@crate::reference) in the same
    /// pass. Default: none.
    pub verify_rows: usize,
    /// Whether each window comes with its gradient, which costs a second sweep and its readback. Default: no.
    pub dlogits: bool,
}

/// A window of a batch that has been through the device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluated<'a, E> {
    /// Which rows of the batch these are.
    pub rows: Range<usize>,
    /// All that one read of their logits tells (rows,).
    pub results: &'a [RowResult],
    /// The gradient of the reduced loss (rows, cols), laid out by the source's shape, if asked for.
    pub dlogits: Option<&'a [E]>,
}

/// The loss of a batch, however many rows it has: each window is read, computed and handed to `each`, which may write
/// it somewhere, show progress, or stop the run with an error. `targets` (rows,) are each in 0..cols or `ignore_index`.
/// Blocks.
///
/// # Errors
/// What [`Shape::check`](crate::Shape::check) refuses; [`Error::Length`](crate::Error::Length) and
/// [`Error::TargetOutOfRange`](crate::Error::TargetOutOfRange), before any logit is read;
/// [`Error::RowTooLarge`](crate::Error::RowTooLarge); whatever the source, the device or `each` reports.
pub fn evaluate<E: Element>(
    gpu: &Context,
    op: &CrossEntropy<E>,
    source: &mut impl Source<E>,
    targets: &[i32],
    options: &EvaluateOptions,
    each: impl FnMut(&Evaluated<'_, E>) -> Result<()>,
) -> Result<Report> {
    let shape = source.shape();
    let stream = |counted| match options.dlogits {
        true => op.stream_with_dlogits(gpu, shape, counted),
        false => op.stream(gpu, shape),
    };
    run(stream, op.options(), source, targets, options, each)
}

/// What takes windows of logits: the device, or the reference.
pub(super) trait Evaluator<E> {
    /// The most rows of a window.
    fn window_rows(&self) -> usize;

    /// The next rows, as many as there are targets; the gradient goes to `dlogits`, if there is one.
    fn push(&mut self, logits: &[E], targets: &[i32], dlogits: Option<&mut [E]>) -> Result<&[RowResult]>;
}

impl<E: Element> Evaluator<E> for CrossEntropyStream<E> {
    fn window_rows(&self) -> usize {
        CrossEntropyStream::window_rows(self)
    }

    fn push(&mut self, logits: &[E], targets: &[i32], dlogits: Option<&mut [E]>) -> Result<&[RowResult]> {
        let targets = Targets::Classes(targets);
        match dlogits {
            Some(dlogits) => self.push_with_dlogits(logits, targets, dlogits),
            None => CrossEntropyStream::push(self, logits, targets),
        }
    }
}

/// Takes a batch through the evaluator that `open` makes, once it is known how many rows count.
pub(super) fn run<E: Element, V: Evaluator<E>>(
    open: impl FnOnce(usize) -> Result<V>,
    op: &CrossEntropyOptions,
    source: &mut impl Source<E>,
    targets: &[i32],
    options: &EvaluateOptions,
    mut each: impl FnMut(&Evaluated<'_, E>) -> Result<()>,
) -> Result<Report> {
    let start = Instant::now();
    let shape = source.shape();
    shape.check()?;
    let counted = Targets::Classes(targets).check(&shape, op.ignore_index)?;
    let mut evaluator = open(counted)?;
    let window_rows = evaluator.window_rows().max(1);
    let window_len = shape.with_rows(window_rows.min(shape.rows)).len();
    let mut dlogits = vec![E::default(); if options.dlogits { window_len } else { 0 }];
    let mut verified = Verification::sample(shape.rows, options.verify_rows).peekable();
    let mut verification = Verification::new();
    let (mut loss, mut correct) = (Loss::empty(), 0);
    let (mut reading, mut computing) = (Duration::ZERO, Duration::ZERO);

    for first in (0..shape.rows).step_by(window_rows) {
        let rows = first..shape.rows.min(first + window_rows);
        let logits = timed(&mut reading, || source.read_rows(rows.clone()))?;
        shape.with_rows(rows.len()).check_slice("a window of the source", logits)?;
        let targets = &targets[rows.clone()];
        let mut dlogits = options.dlogits.then(|| &mut dlogits[..shape.with_rows(rows.len()).len()]);
        let results = timed(&mut computing, || evaluator.push(logits, targets, dlogits.as_deref_mut()))?;

        let counts = |target: &i32| *target != op.ignore_index;
        loss.add(results, targets.iter().filter(|target| counts(target)).count());
        let is_correct =
            |(target, result): &(&i32, &RowResult)| counts(target) && result.argmax == **target as u32;
        correct += targets.iter().zip(results).filter(is_correct).count();
        while let Some(row) = verified.next_if(|row| rows.contains(row)) {
            let at = row - first;
            verification.compare_loss(row, shape.row(logits, at), targets[at], results[at].loss, op);
        }
        each(&Evaluated { rows, results, dlogits: dlogits.as_deref() })?;
    }
    Ok(Report {
        loss: loss.reduced(op.reduction),
        cols: shape.cols,
        correct,
        verification: (options.verify_rows > 0).then_some(verification),
        reading,
        computing,
        elapsed: start.elapsed(),
    })
}

fn timed<T>(total: &mut Duration, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = run();
    *total += start.elapsed();
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::eval::SliceSource;
    use crate::shape::Shape;

    /// Takes three rows at a time, gives every row this loss, and says class 1 is the most probable.
    struct Constant(f32, Vec<RowResult>);

    impl Evaluator<f32> for Constant {
        fn window_rows(&self) -> usize {
            3
        }

        fn push(&mut self, _: &[f32], targets: &[i32], _: Option<&mut [f32]>) -> Result<&[RowResult]> {
            let result = RowResult { loss: self.0, argmax: 1, ..Default::default() };
            self.1 = targets.iter().map(|_| result).collect();
            Ok(&self.1)
        }
    }

    const LN_2: f32 = std::f32::consts::LN_2;

    fn report(loss: f32, targets: &[i32], verify_rows: usize) -> Result<Report> {
        let shape = Shape::new(targets.len(), 2);
        let logits = vec![0.0; shape.len()];
        let mut source = SliceSource::new(&logits, shape)?;
        let options = EvaluateOptions { verify_rows, ..Default::default() };
        let open = |_| Ok(Constant(loss, Vec::new()));
        run(open, &Default::default(), &mut source, targets, &options, |_| Ok(()))
    }

    #[test]
    fn a_wrong_loss_fails_verification_and_a_right_one_passes() {
        let targets = [0, 1, 0, 1, 0, 1, 1];
        let right = report(LN_2, &targets, 4).unwrap().verification.unwrap();
        assert_eq!((right.rows_checked, right.passed), (4, true));
        let wrong = report(LN_2 + 1e-4, &targets, 4).unwrap().verification.unwrap();
        assert_eq!((wrong.rows_checked, wrong.passed), (4, false));
        assert_eq!(report(0.0, &targets, 0).unwrap().verification, None);
    }

    #[test]
    fn ignored_rows_are_neither_counted_nor_correct() {
        let report = report(1.0, &[1, -100, 0, 1, 1], 0).unwrap();
        assert_eq!((report.loss.counted, report.ignored(), report.correct), (4, 1, 3));
        assert_eq!(report.accuracy(), Some(0.75));
    }

    #[test]
    fn no_row_has_no_accuracy() {
        let report = report(1.0, &[], 8).unwrap();
        assert!(report.accuracy().is_none() && report.mean().is_nan());
        assert_eq!(report.verification.map(|verification| verification.rows_checked), Some(0));
    }

    #[test]
    fn targets_are_refused_before_the_first_window() {
        let error = report(1.0, &[0, 0, 0, 0, 2], 0).unwrap_err();
        assert_eq!(error, Error::TargetOutOfRange { row: 4, target: 2, cols: 2 });
    }

    /// Says it has more than it gives.
    struct Short;

    impl Source<f32> for Short {
        fn shape(&self) -> Shape {
            Shape::new(2, 2)
        }

        fn read_rows(&mut self, _: Range<usize>) -> Result<&[f32]> {
            Ok(&[0.0; 3])
        }
    }

    #[test]
    fn a_source_that_gives_too_little_is_an_error() {
        let open = |_| Ok(Constant(1.0, Vec::new()));
        let result = run(open, &Default::default(), &mut Short, &[0, 0], &Default::default(), |_| Ok(()));
        assert_eq!(result, Err(Error::Length { what: "a window of the source", found: 3, needed: 4 }));
        let mut slice = SliceSource::new(&[0.0; 4], Shape::new(2, 2)).unwrap();
        assert_eq!(slice.read_rows(1..5), Err(Error::RowsExceedBound { rows: 5, bound: 2 }));
    }

    #[test]
    fn windows_come_in_order_and_an_error_stops_them() {
        let mut source = SliceSource::new(&[0.0; 14], Shape::new(7, 2)).unwrap();
        let mut seen = Vec::new();
        let stop = Error::NoOutput { options: "stop" };
        let result = run(
            |_| Ok(Constant(1.0, Vec::new())),
            &Default::default(),
            &mut source,
            &[0; 7],
            &Default::default(),
            |window| {
                seen.push(window.rows.clone());
                if window.rows.start == 3 { Err(stop.clone()) } else { Ok(()) }
            },
        );
        assert_eq!((result, seen), (Err(stop), vec![0..3, 3..6]));
    }
}
