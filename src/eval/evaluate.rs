//! A batch on its way from a source through the device to a report.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::device::Context;
use crate::element::Element;
use crate::error::Result;
use crate::eval::inputs::{EvaluateInputs, check_before_soft};
use crate::eval::report::Report;
use crate::eval::source::Source;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::op::{CrossEntropy, CrossEntropyStream, LossSum, RowResult, Verification};
use crate::options::{CrossEntropyOptions, EmptyBatch, Reduction};
use crate::reference;
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
pub struct Evaluated<'a> {
    /// Which rows of the batch these are.
    pub rows: Range<usize>,
    /// All that one read of their logits tells (rows,).
    pub results: &'a [RowResult],
    /// The gradient of the reduced loss (rows, cols), laid out by the source's shape, if asked for. In f32, whatever
    /// the logits' type.
    pub dlogits: Option<&'a [f32]>,
}

/// The loss of a batch, however many rows it has: each window is read, computed and handed to `each`, which may write
/// it somewhere, show progress, or stop the run with an error. `inputs` are [`Targets`], or [`CrossEntropyInputs`] where
/// more is given than those, or [`EvaluateInputs`] where soft targets come from a source too. Blocks.
///
/// # Errors
/// What [`CrossEntropyInputs::check`] refuses, before any logit is read (of soft targets from a source: a value that is
/// no number, when its window comes); [`Error::Length`](crate::Error::Length);
/// [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::GroupTooLarge`](crate::Error::GroupTooLarge);
/// [`Error::NoRowCounts`](crate::Error::NoRowCounts); whatever the sources, the device or `each` report.
pub fn evaluate<'a, E: Element>(
    gpu: &Context,
    op: &CrossEntropy<E>,
    source: &mut impl Source<E>,
    inputs: impl Into<EvaluateInputs<'a>>,
    options: &EvaluateOptions,
    each: impl FnMut(&Evaluated<'_>) -> Result<()>,
) -> Result<Report> {
    let (shape, inputs) = (source.shape(), inputs.into());
    let kind = inputs.kind();
    let in_windows = op.with_options(&CrossEntropyOptions { sequences: None, ..*op.options() })?;
    let open = |weight| match options.dlogits {
        true => in_windows.stream_with_dlogits_f32(gpu, shape, kind, weight),
        false => in_windows.stream(gpu, shape, kind),
    };
    run(open, op.options(), source, inputs, options, each)
}

/// What takes windows of logits: the device, or the reference.
pub(super) trait Evaluator<E> {
    /// The most rows of a window: whole groups of rows that lie side by side.
    fn window_rows(&self) -> usize;

    /// The next rows; the gradient goes to `dlogits`, if there is one. Refuses soft targets that are no numbers, the row
    /// counted from the batch's first.
    fn push(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]>;
}

impl<E: Element> Evaluator<E> for CrossEntropyStream<E> {
    fn window_rows(&self) -> usize {
        CrossEntropyStream::window_rows(self)
    }

    fn push(
        &mut self,
        logits: &[E],
        rows: usize,
        inputs: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        match dlogits {
            Some(dlogits) => self.push_with_dlogits(logits, rows, inputs, dlogits),
            None => CrossEntropyStream::push(self, logits, rows, inputs),
        }
    }
}

/// Takes a batch through the evaluator that `open` makes, once it is known what its rows weigh.
pub(super) fn run<E: Element, V: Evaluator<E>>(
    open: impl FnOnce(BatchWeight) -> Result<V>,
    op: &CrossEntropyOptions,
    source: &mut impl Source<E>,
    inputs: EvaluateInputs<'_>,
    options: &EvaluateOptions,
    mut each: impl FnMut(&Evaluated<'_>) -> Result<()>,
) -> Result<Report> {
    let start = Instant::now();
    let shape = source.shape();
    let EvaluateInputs { mut beside, mut soft_targets } = inputs;
    // Until their windows come, a class stands in the place of soft targets.
    let stand_in = vec![0; if soft_targets.is_some() { shape.rows } else { 0 }];
    let weight = match &soft_targets {
        Some(soft) => {
            beside.targets = Targets::Classes(&stand_in);
            check_before_soft(soft.shape(), beside, shape, op)?
        }
        None => beside.check(shape, op)?,
    };
    weight.check(shape.rows, op)?;
    let resolved = beside.resolved(shape, op);
    let inputs = resolved.inputs();
    let op = &CrossEntropyOptions { sequences: None, ..*op };
    let mut evaluator = open(weight)?;
    let window_rows = evaluator.window_rows().max(1);
    let window_len = shape.with_rows(window_rows.min(shape.rows)).len();
    let mut dlogits = vec![0.0; if options.dlogits { window_len } else { 0 }];
    let mut verified = Verification::sample(shape.rows, options.verify_rows).peekable();
    let mut verification = Verification::new();
    let (mut loss, mut correct) = (LossSum::default(), 0);
    let (mut reading, mut computing) = (Duration::ZERO, Duration::ZERO);
    let mut weight = Some(weight);

    for first in (0..shape.rows).step_by(window_rows) {
        let rows = first..shape.rows.min(first + window_rows);
        let window = shape.with_rows(rows.len());
        let logits = timed(&mut reading, || source.read_rows(rows.clone()))?;
        window.check_slice("a window of the source", logits)?;
        let mut inputs = inputs.part(shape, rows.clone());
        if let Some(soft) = &mut soft_targets {
            let soft = timed(&mut reading, || soft.read_rows(rows.clone()))?;
            window.check_slice("a window of the soft targets", soft)?;
            inputs.targets = Targets::Soft(soft);
        }
        let mut dlogits = options.dlogits.then(|| &mut dlogits[..window.len()]);
        let results =
            timed(&mut computing, || evaluator.push(logits, rows.len(), &inputs, dlogits.as_deref_mut()))?;

        loss.add(results, weight.take().unwrap_or_default());
        let is_correct = |&(row, result): &(usize, &RowResult)| {
            let target = inputs.row_target(window, op, row);
            target.and_then(|target| target.top_class(op.ignore_index)) == Some(result.argmax)
        };
        correct += results.iter().enumerate().filter(is_correct).count();
        while let Some(row) = verified.next_if(|row| rows.contains(row)) {
            let at = row - first;
            let expected = reference::cross_entropy::row_loss_at(logits, inputs, window, op, at).total();
            verification.compare_loss(row, results[at].loss, expected, inputs.weights(at), op);
        }
        each(&Evaluated { rows, results, dlogits: dlogits.as_deref() })?;
    }
    let mean = CrossEntropyOptions { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan, ..*op };
    Ok(Report {
        loss: loss.reduced(op),
        mean: loss.reduced(&mean).value,
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

        fn push(
            &mut self,
            _: &[f32],
            rows: usize,
            _: &CrossEntropyInputs<'_>,
            _: Option<&mut [f32]>,
        ) -> Result<&[RowResult]> {
            self.1 = vec![RowResult { loss: self.0, argmax: 1, ..Default::default() }; rows];
            Ok(&self.1)
        }
    }

    const LN_2: f32 = std::f32::consts::LN_2;

    fn report<'a>(
        loss: f32,
        rows: usize,
        inputs: impl Into<EvaluateInputs<'a>>,
        verify_rows: usize,
    ) -> Result<Report> {
        let shape = Shape::new(rows, 2);
        let logits = vec![0.0; shape.len()];
        let mut source = SliceSource::new(&logits, shape)?;
        let options = EvaluateOptions { verify_rows, ..Default::default() };
        let open = |_| Ok(Constant(loss, Vec::new()));
        run(open, &Default::default(), &mut source, inputs.into(), &options, |_| Ok(()))
    }

    fn of_classes(loss: f32, classes: &[i32], verify_rows: usize) -> Result<Report> {
        report(loss, classes.len(), Targets::Classes(classes), verify_rows)
    }

    #[test]
    fn a_wrong_loss_fails_verification_and_a_right_one_passes() {
        let targets = [0, 1, 0, 1, 0, 1, 1];
        let right = of_classes(LN_2, &targets, 4).unwrap().verification.unwrap();
        assert_eq!((right.rows_checked, right.passed), (4, true));
        let wrong = of_classes(LN_2 + 1e-4, &targets, 4).unwrap().verification.unwrap();
        assert_eq!((wrong.rows_checked, wrong.passed), (4, false));
        assert_eq!(of_classes(0.0, &targets, 0).unwrap().verification, None);
    }

    #[test]
    fn ignored_rows_are_neither_counted_nor_correct() {
        let report = of_classes(1.0, &[1, -100, 0, 1, 1], 0).unwrap();
        assert_eq!((report.loss.counted, report.ignored(), report.correct), (4, 1, 3));
        assert_eq!(report.accuracy(), Some(0.75));
    }

    #[test]
    fn no_row_has_no_accuracy() {
        let report = of_classes(1.0, &[], 8).unwrap();
        assert!(report.accuracy().is_none() && report.mean().is_nan());
        assert_eq!(report.verification.map(|verification| verification.rows_checked), Some(0));
    }

    #[test]
    fn targets_are_refused_before_the_first_window() {
        let error = of_classes(1.0, &[0, 0, 0, 0, 2], 0).unwrap_err();
        assert_eq!(error, Error::TargetOutOfRange { row: 4, target: 2, cols: 2 });
    }

    #[test]
    fn soft_targets_come_window_by_window() {
        // Class 1 has most in rows 1, 3 and 4; class weights have no part in a mean of soft targets.
        let soft = [0.9f32, 0.1, 0.2, 0.8, 0.5, 0.5, 0.0, 1.0, 0.3, 0.7];
        let mut source = SliceSource::new(&soft, Shape::new(5, 2)).unwrap();
        let mut inputs = EvaluateInputs::soft(&mut source);
        inputs.beside.class_weights = Some(&[0.0, 2.0]);
        inputs.beside.row_weights = Some(&[1.0, 0.5, 1.0, 0.0, 2.0]);
        let report = report(1.0, 5, inputs, 0).unwrap();
        assert_eq!((report.correct, report.loss.counted), (2, 4));
        assert_eq!((report.loss.weight, report.loss.row_weight), (4.5, 4.5));
        assert_eq!(report.mean(), 5.0 / 4.5);
    }

    #[test]
    fn soft_targets_of_another_shape_are_refused() {
        let soft = [0.5f32; 12];
        for (shape, what, found, needed) in [
            (Shape::new(5, 2), "the soft targets", 10, 12),
            (Shape::new(4, 3), "a row of the soft targets", 3, 2),
            (Shape::nchw(2, 2, 3), "a group of the soft targets", 3, 1),
            (Shape::new(4, 2).row_stride(3), "a padded row of the soft targets", 3, 2),
        ] {
            let mut source = SliceSource::new(&soft[..shape.len()], shape).unwrap();
            let error = report(1.0, 6, EvaluateInputs::soft(&mut source), 0).unwrap_err();
            assert_eq!(error, Error::Length { what, found, needed });
        }
        let mut source = SliceSource::new(&soft, Shape::new(6, 2)).unwrap();
        let focal = CrossEntropyOptions { focal_gamma: 1.0, ..Default::default() };
        let mut logits = SliceSource::new(&[0.0; 12], Shape::new(6, 2)).unwrap();
        let inputs = EvaluateInputs::soft(&mut source);
        let open = |_| Ok(Constant(1.0, Vec::new()));
        let result = run(open, &focal, &mut logits, inputs, &Default::default(), |_| Ok(()));
        assert!(matches!(result, Err(Error::InvalidOption { option: "focal_gamma", .. })), "{result:?}");
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
        fn evaluate(source: &mut impl Source<f32>, inputs: EvaluateInputs<'_>) -> Result<Report> {
            let open = |_| Ok(Constant(1.0, Vec::new()));
            run(open, &Default::default(), source, inputs, &Default::default(), |_| Ok(()))
        }
        let length = |what| Err(Error::Length { what, found: 3, needed: 4 });
        let classes = Targets::Classes(&[0, 0]);
        assert_eq!(evaluate(&mut Short, classes.into()), length("a window of the source"));
        let mut whole = SliceSource::new(&[0.0; 4], Shape::new(2, 2)).unwrap();
        let mut short = Short;
        let soft = EvaluateInputs::soft(&mut short);
        assert_eq!(evaluate(&mut whole, soft), length("a window of the soft targets"));
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
            Targets::Classes(&[0; 7]).into(),
            &Default::default(),
            |window| {
                seen.push(window.rows.clone());
                if window.rows.start == 3 { Err(stop.clone()) } else { Ok(()) }
            },
        );
        assert_eq!((result, seen), (Err(stop), vec![0..3, 3..6]));
    }
}
