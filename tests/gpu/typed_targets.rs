//! Class indices of every integer type, in slices, arrays and vectors: bit for bit the answer that i32 gives.

use std::ops::Range;

use xent::eval::{EvaluateInputs, EvaluateOptions, Evaluation, SliceSource};
use xent::{
    CrossEntropyInputs, CrossEntropyOptions, Error, Loss, RowResult, Sequences, Shape, TargetKind, Targets,
    wgpu,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::harness::device_of_bindings;

/// The targets of a batch in every type but i32.
struct Wide {
    as_u32: Vec<u32>,
    as_i64: Vec<i64>,
    as_usize: Vec<usize>,
}

impl Wide {
    fn of(batch: &Batch) -> Self {
        let classes = &batch.targets;
        Self {
            as_u32: classes.iter().map(|&class| class as u32).collect(),
            as_i64: classes.iter().map(|&class| class.into()).collect(),
            as_usize: classes.iter().map(|&class| class as usize).collect(),
        }
    }

    fn all(&self) -> [Targets<'_>; 3] {
        [
            Targets::ClassesU32(&self.as_u32),
            Targets::ClassesI64(&self.as_i64),
            Targets::ClassesUsize(&self.as_usize),
        ]
    }
}

/// What the host methods give. A `Debug` text compares NaN as well.
fn of_host(ops: &Ops, batch: &Batch, inputs: CrossEntropyInputs<'_>) -> String {
    let (loss, logits, shape) = (&ops.loss, &batch.logits, batch.shape);
    let mut dlogits = vec![0.0f32; shape.len()];
    let found = (
        loss.loss(logits, inputs, shape).wait().unwrap(),
        loss.loss_and_dlogits(logits, inputs, shape).wait().unwrap(),
        loss.loss_into(logits, inputs, shape, &mut dlogits).wait().unwrap(),
        loss.row_results(logits, inputs, shape).wait().unwrap(),
        loss.row_losses(logits, inputs, shape).wait().unwrap(),
    );
    for check in
        [loss.verify(logits, inputs, shape, 9).wait(), loss.verify_dlogits(logits, inputs, shape, 9).wait()]
    {
        assert!(check.as_ref().is_ok_and(|check| check.passed), "{check:?}");
    }
    format!("{found:?} {dlogits:?}")
}

#[test]
fn host_methods_in_one_window_and_in_many() {
    let mut batch = noise("typed targets", 21, 90, 40);
    let small = Ops::new(&device_of_bindings(wgpu::Features::empty(), 4 << 10), Default::default());
    // The targets of rows that are left out may be anything, also beyond i32.
    batch.targets[3] = 4;
    let mask: Vec<bool> = (0..90).map(|row| row != 3).collect();
    let mut wide = Wide::of(&batch);
    (wide.as_i64[3], wide.as_usize[3]) = ((1 << 32) + 1, usize::MAX);
    for (ops, sequences) in
        [(ops(), None), (&small, None), (&small, Some(Sequences { from: 4, ..Sequences::shifted(30, 1) }))]
    {
        let ops = ops.with(CrossEntropyOptions { sequences, ..Default::default() });
        // With a shift, the masked row is not the row that holds the target.
        let inputs = |targets| match sequences {
            None => CrossEntropyInputs::new(targets).row_mask(&mask),
            Some(_) => CrossEntropyInputs::new(targets),
        };
        let expected = of_host(&ops, &batch, inputs(Targets::Classes(&batch.targets)));
        for targets in wide.all() {
            assert_eq!(of_host(&ops, &batch, inputs(targets)), expected, "{sequences:?}, {targets:?}");
        }
    }
}

#[test]
fn slices_arrays_and_vectors() {
    let (shape, logits) = (Shape::new(2, 3), [2.0, 1.0, 0.5, 0.1, 3.0, 0.2]);
    let loss = |inputs: CrossEntropyInputs<'_>| ops().loss.loss(&logits, inputs, shape).wait().unwrap();
    let expected = loss((&[0, 1]).into());
    let (of_i64, of_usize) = (vec![0i64, 1], vec![0usize, 1]);
    for inputs in [
        CrossEntropyInputs::from(&[0i64, 1]),
        (&[0usize, 1]).into(),
        (&of_i64).into(),
        (&of_usize).into(),
        of_i64[..].into(),
        of_usize[..].into(),
    ] {
        assert_eq!(loss(inputs), expected, "{inputs:?}");
    }
}

/// Some rows' targets.
fn part(targets: Targets<'_>, rows: Range<usize>) -> Targets<'_> {
    match targets {
        Targets::Classes(classes) => (&classes[rows]).into(),
        Targets::ClassesU32(classes) => (&classes[rows]).into(),
        Targets::ClassesI64(classes) => (&classes[rows]).into(),
        Targets::ClassesUsize(classes) => (&classes[rows]).into(),
        _ => unreachable!("no class indices"),
    }
}

#[test]
fn streams() {
    let batch = noise("pushed targets", 22, 30, 40);
    let (shape, wide) = (batch.shape, Wide::of(&batch));
    let weight = CrossEntropyInputs::from(batch.classes()).check(shape, &ops().options).unwrap();
    let pushed = |targets: Targets<'_>| -> (Vec<RowResult>, Vec<f32>, Loss) {
        let mut stream = ops().loss.stream_with_dlogits(shape, TargetKind::Classes, weight).unwrap();
        let (mut results, mut dlogits) = (Vec::new(), vec![0.0f32; shape.len()]);
        for first in (0..30).step_by(10) {
            let values = 40 * first..40 * (first + 10);
            let (logits, into) = (&batch.logits[values.clone()], &mut dlogits[values]);
            let targets = part(targets, first..first + 10);
            results.extend_from_slice(stream.push_with_dlogits(logits, 10, targets, into).wait().unwrap());
        }
        (results, dlogits, stream.loss())
    };
    let expected = pushed(batch.classes());
    for targets in wide.all() {
        assert!(pushed(targets) == expected, "{targets:?}");
    }

    let mut stream = ops().loss.stream(shape, TargetKind::Classes).unwrap();
    stream.push(&batch.logits[..80], 2, &[0i64, 1]).wait().unwrap();
    let error = stream.push(&batch.logits[80..160], 2, &[2, (1i64 << 32) + 1]).wait().err();
    assert_eq!(error, Some(Error::TargetOutOfRange { row: 3, target: (1 << 32) + 1, cols: 40 }));
    let error = stream.push(&batch.logits[80..160], 2, &[usize::MAX, 0]).wait().err();
    assert_eq!(error, Some(Error::TargetOutOfRange { row: 2, target: usize::MAX as i128, cols: 40 }));
}

#[test]
fn evaluations() {
    let batch = noise("evaluated targets", 23, 60, 40);
    let (shape, wide) = (batch.shape, Wide::of(&batch));
    for sequences in [None, Some(Sequences::shifted(60, 1))] {
        let ops = ops().with(CrossEntropyOptions { sequences, ..Default::default() });
        let evaluated = |inputs: EvaluateInputs<'_>| {
            let options = EvaluateOptions {
                dlogits: true,
                verify_rows: 5,
                memory: Some(12 * 1800),
                ..Default::default()
            };
            let mut source = SliceSource::new(&batch.logits, shape).unwrap();
            let mut evaluation = Evaluation::new(&ops.options, shape, inputs, &options).unwrap();
            let mut windows = Vec::new();
            let each = |window: &xent::eval::Evaluated<'_>| {
                let classes = window.classes.expect("targets are classes").to_vec();
                windows.push((window.rows.clone(), classes, window.results.to_vec()));
                Ok(())
            };
            evaluation.run(&ops.loss, &mut source, each).unwrap();
            let report = evaluation.report();
            assert!(windows.len() > 2 && report.verification.is_some_and(|check| check.passed));
            (windows, report.loss, report.correct)
        };
        let expected = evaluated((&batch.targets).into());
        assert_eq!(evaluated((&wide.as_i64).into()), expected, "i64");
        assert_eq!(evaluated((&wide.as_usize).into()), expected, "usize");
    }
}
