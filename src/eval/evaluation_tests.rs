//! Reports of runs whose evaluator gives every row the same loss.

use super::*;
use crate::coded::{Codes, Logits};
use crate::eval::{SliceSource, TargetSource};
use crate::inputs::CrossEntropyInputs;
use crate::results::RowResult;
use crate::targets::Targets;

/// Takes three rows at a time. Every row has this loss, and class 1 is its most probable class.
pub(super) struct Constant(f32, Vec<RowResult>);

impl Evaluator<f32> for Constant {
    type Flight = usize;

    fn window_rows(&self) -> usize {
        3
    }

    fn submit(
        &mut self,
        _: Logits<'_, f32>,
        _: Option<Codes<'_>>,
        rows: usize,
        _: &CrossEntropyInputs<'_>,
        _: bool,
    ) -> Result<usize> {
        Ok(rows)
    }

    fn finish(
        &mut self,
        rows: usize,
        _: &CrossEntropyInputs<'_>,
        _: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        self.1 = vec![RowResult { loss: self.0, argmax: 1, ..Default::default() }; rows];
        Ok(&self.1)
    }
}

pub(super) fn constant(loss: f32) -> impl Fn(Start) -> Result<Constant> {
    move |_| Ok(Constant(loss, Vec::new()))
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
    let mut evaluation = Evaluation::new(&Default::default(), shape, inputs, &options)?;
    evaluation.run_on(constant(loss), None, &mut source, |_| Ok(()))?;
    Ok(evaluation.report())
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
    // Class 1 has the largest target in rows 1, 3 and 4. Class weights have no part in a mean of soft targets.
    let soft = [0.9f32, 0.1, 0.2, 0.8, 0.5, 0.5, 0.0, 1.0, 0.3, 0.7];
    let mut source = SliceSource::new(&soft, Shape::new(5, 2)).unwrap();
    let mut inputs = EvaluateInputs::from(TargetSource::Soft(&mut source));
    inputs.beside.class_weights = Some(&[0.0, 2.0]);
    inputs.beside.rows.row_weights = Some(&[1.0, 0.5, 1.0, 0.0, 2.0]);
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
        let error = report(1.0, 6, TargetSource::Soft(&mut source), 0).unwrap_err();
        assert_eq!(error, Error::Length { what, found, needed });
    }
    let mut source = SliceSource::new(&soft, Shape::new(6, 2)).unwrap();
    let focal = CrossEntropyOptions { focal_gamma: 1.0, ..Default::default() };
    let inputs = TargetSource::Soft(&mut source);
    let refused = Evaluation::<f32, _>::new(&focal, Shape::new(6, 2), inputs, &Default::default()).err();
    assert!(matches!(refused, Some(Error::InvalidOption { option: "focal_gamma", .. })), "{refused:?}");
}
