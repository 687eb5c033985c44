//! Evaluations in windows, read ahead and stopped: they are the host path, bit for bit.

use std::ops::Range;

use half::{bf16, f16};
use xent::eval::{EvaluateOptions, Evaluation, SliceSource, Source, TargetSource, evaluate, softmax};
use xent::{CrossEntropy, CrossEntropyOptions, Element, Error, Loss, Result, Sequences, Shape, Softmax};

use crate::batch::{Batch, noise};
use crate::harness::{device_with, gpu};

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

/// What came of a batch, as bits.
#[derive(Debug, Default, PartialEq)]
struct Found {
    rows: Vec<[u32; 4]>,
    dlogits: Vec<u32>,
}

fn bits(values: &[f32]) -> impl Iterator<Item = u32> + '_ {
    values.iter().map(|value| value.to_bits())
}

/// The host path's answer.
fn whole<E: Element>(op: &CrossEntropy<E>, batch: &Batch<E>) -> (Loss, Found) {
    let (inputs, shape) = (batch.inputs(), batch.shape);
    let mut dlogits = vec![0f32; shape.len()];
    let loss = op.loss_into(&batch.logits, inputs, shape, &mut dlogits).wait().unwrap();
    let results = op.row_results(&batch.logits, inputs, shape).wait().unwrap();
    let rows =
        results.iter().map(|row| [row.loss.to_bits(), row.z_loss.to_bits(), row.lse.to_bits(), row.argmax]);
    (loss, Found { rows: rows.collect(), dlogits: bits(&dlogits).collect() })
}

/// An evaluation in windows of about so many rows, stopped behind some of them and gone on with.
fn in_windows<E: Element>(
    op: &CrossEntropy<E>,
    batch: &Batch<E>,
    window_rows: usize,
    (reads, stops): (bool, &[usize]),
) -> (Loss, Found) {
    let shape = batch.shape;
    let row_bytes = shape.row_stride / shape.inner * 40 + 200;
    let memory = Some((window_rows * row_bytes) as u64);
    let options = EvaluateOptions { dlogits: true, verify_rows: 5, memory, ..Default::default() };
    let there = SliceSource::new(&batch.logits, shape).unwrap();
    let (mut there, mut read) = (there, Read(there));
    let source: &mut dyn Source<E> = if reads { &mut read } else { &mut there };
    let mut evaluation = Evaluation::new(op.options(), shape, batch.inputs(), &options).unwrap();
    let mut found = Found { rows: Vec::new(), dlogits: vec![0; shape.len()] };
    for &stop in stops.iter().chain([&usize::MAX]) {
        let run = evaluation.run(op, source, |window| {
            if window.rows.end > stop {
                return Err(Error::Stopped);
            }
            assert_eq!(window.rows.start, found.rows.len(), "every row once");
            let of = window.results.iter();
            found.rows.extend(
                of.map(|row| [row.loss.to_bits(), row.z_loss.to_bits(), row.lse.to_bits(), row.argmax]),
            );
            let start = shape.row_stride * (window.rows.start / shape.inner);
            let dlogits = window.dlogits.expect("asked for");
            for (into, bits) in found.dlogits[start..].iter_mut().zip(bits(dlogits)) {
                *into = bits;
            }
            Ok(())
        });
        assert_eq!(run, if evaluation.is_done() { Ok(()) } else { Err(Error::Stopped) }, "{}", batch.name);
        // What comes after a stop is another process, for all that it knows.
        let mut next = Evaluation::new(op.options(), shape, batch.inputs(), &options).unwrap();
        next.resume(evaluation.state()).unwrap();
        evaluation = next;
    }
    let report = evaluation.report();
    assert!(report.verification.unwrap().passed, "{}: {report:?}", batch.name);
    (report.loss, found)
}

fn every_way<E: Element>(op: &CrossEntropyOptions, batch: &Batch<E>) {
    let op = CrossEntropy::<E>::new(gpu(), op).unwrap();
    let expected = whole(&op, batch);
    let group = batch.shape.inner;
    for (window_rows, reads, stops) in [
        (usize::MAX / (1 << 40), false, &[][..]),
        (7 * group, true, &[]),
        (group, false, &[]),
        (11 * group, true, &[1, 30 * group, 31 * group]),
    ] {
        let found = in_windows(&op, batch, window_rows, (reads, stops));
        assert!(found == expected, "{}: {window_rows} rows, {reads}, {stops:?}", batch.name);
    }
}

#[test]
fn windows_and_stops_change_no_bit() {
    let options = CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-3, ..Default::default() };
    let odd = noise("odd rows", 5, 101, 77);
    every_way(&options, &odd);
    every_way(&options, &odd.cast::<f16>());
    every_way(&options, &odd.cast::<bf16>());
    every_way(&options, &odd.with_stride(81));
    every_way(&options, &noise("side by side", 6, 96, 9).laid_out(Shape::nchw(32, 9, 3)));
    let sequences = Sequences { from: 3, to: 18, ..Sequences::shifted(20, 1) };
    every_way(&CrossEntropyOptions { sequences: Some(sequences), ..options }, &odd);
}

#[test]
fn soft_targets_are_read_with_their_logits() {
    let batch = noise("soft", 7, 61, 33);
    let soft: Vec<f32> = (0..batch.shape.len()).map(|at| ((at * 7) % 11) as f32 / 55.0).collect();
    let op = CrossEntropy::<f32>::new(gpu(), &Default::default()).unwrap();
    let targets = xent::Targets::Soft(&soft);
    let expected = op.loss(&batch.logits, targets, batch.shape).wait().unwrap();
    for (reads, memory) in [(true, Some(20_000)), (false, Some(20_000)), (true, None)] {
        let there = SliceSource::new(&batch.logits, batch.shape).unwrap();
        let soft_there = SliceSource::new(&soft, batch.shape).unwrap();
        let (mut logits, mut read) = (there, Read(soft_there));
        let mut soft_source = soft_there;
        let inputs = TargetSource::Soft(if reads { &mut read } else { &mut soft_source });
        let options = EvaluateOptions { memory, verify_rows: 9, ..Default::default() };
        let mut windows = 0;
        let report = evaluate(&op, &mut logits, inputs, &options, |_| {
            windows += 1;
            Ok(())
        });
        let report = report.unwrap();
        assert_eq!(report.loss, expected, "{reads} {memory:?}");
        assert!(report.verification.unwrap().passed);
        assert_eq!(windows > 1, memory.is_some(), "{windows}");
    }
    let mut bad = soft.clone();
    bad[40 * 33 + 5] = f32::NAN;
    let mut logits = SliceSource::new(&batch.logits, batch.shape).unwrap();
    let mut read = Read(SliceSource::new(&bad, batch.shape).unwrap());
    let options = EvaluateOptions { memory: Some(20_000), ..Default::default() };
    let refused = evaluate(&op, &mut logits, TargetSource::Soft(&mut read), &options, |_| Ok(()));
    assert!(matches!(refused, Err(Error::InvalidTarget { row: 40, at: 5, .. })), "{refused:?}");
}

#[test]
fn windows_take_what_they_are_said_to() {
    let batch = noise("memory", 8, 500, 1000);
    let op = CrossEntropy::<f32>::new(gpu(), &Default::default()).unwrap();
    for memory in [100_000u64, 1_000_000] {
        let options = EvaluateOptions { memory: Some(memory), ..Default::default() };
        let mut source = Read(SliceSource::new(&batch.logits, batch.shape).unwrap());
        let mut evaluation = Evaluation::new(op.options(), batch.shape, batch.inputs(), &options).unwrap();
        let bytes = evaluation.window_bytes(gpu(), &source).unwrap();
        assert!(bytes <= memory && bytes > memory * 4 / 5, "{bytes} of {memory}");
        let mut most = 0;
        evaluation
            .run(&op, &mut source, |window| {
                most = most.max(window.rows.len());
                Ok(())
            })
            .unwrap();
        let is_unified = gpu().profile().unwrap().unified_memory;
        let row = 1000 * if is_unified { 16 } else { 24 } + 344;
        assert!(most * row <= memory as usize && (most + 1) * row > memory as usize * 4 / 5, "{most} rows");
    }
}

#[test]
fn probabilities_come_window_by_window() {
    let odd = noise("odd rows", 9, 101, 77);
    probs_in_windows(&odd);
    probs_in_windows(&odd.cast::<f16>());
    probs_in_windows(&odd.with_stride(81));
    probs_in_windows(&noise("side by side", 10, 96, 9).laid_out(Shape::nchw(32, 9, 3)));
}

fn probs_in_windows<E: Element + PartialEq>(batch: &Batch<E>) {
    let shape = batch.shape;
    let op = Softmax::<E>::new(gpu(), &Default::default()).unwrap();
    for log in [false, true] {
        let expected = match log {
            true => op.log_softmax(&batch.logits, shape).wait().unwrap(),
            false => op.softmax(&batch.logits, shape).wait().unwrap(),
        };
        for (memory, reads) in [(None, true), (Some(30_000), true), (Some(30_000), false)] {
            let there = SliceSource::new(&batch.logits, shape).unwrap();
            let (mut there, mut read) = (there, Read(there));
            let source: &mut dyn Source<E> = if reads { &mut read } else { &mut there };
            let (mut windows, mut found) = (0, vec![E::default(); shape.len()]);
            let mut next = 0;
            softmax(&op, log, source, memory, |rows, values| {
                assert_eq!(std::mem::replace(&mut next, rows.end), rows.start, "every row once");
                let start = shape.row_stride * (rows.start / shape.inner);
                found[start..start + values.len()].copy_from_slice(values);
                windows += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!((next, windows > 1), (shape.rows, memory.is_some()), "{}", batch.name);
            assert!(found == expected, "{}: {log} {memory:?} {reads}", batch.name);
        }
        let mut source = SliceSource::new(&batch.logits, shape).unwrap();
        let stopped = softmax(&op, log, &mut source, Some(30_000), |_, _| Err(Error::Stopped));
        assert_eq!(stopped, Err(Error::Stopped));
    }
}

#[test]
fn a_run_goes_on_with_another_device_where_one_is_lost() {
    let batch = noise("lost", 11, 101, 77);
    let op = CrossEntropy::<f32>::new(gpu(), &Default::default()).unwrap();
    let expected = op.loss(&batch.logits, batch.inputs(), batch.shape).wait().unwrap();
    let lost = device_with(|_| {});
    let on_lost = CrossEntropy::<f32>::new(&lost, &Default::default()).unwrap();
    let options = EvaluateOptions { memory: Some(30_000), ..Default::default() };
    let mut source = Read(SliceSource::new(&batch.logits, batch.shape).unwrap());
    let mut evaluation = Evaluation::new(op.options(), batch.shape, batch.inputs(), &options).unwrap();
    let ended = evaluation.run(&on_lost, &mut source, |window| {
        if window.rows.start > 0 {
            lost.device.destroy();
        }
        Ok(())
    });
    assert!(matches!(ended, Err(Error::DeviceLost { .. })), "{ended:?}");
    assert!(evaluation.state().rows() > 0 && !evaluation.is_done());
    evaluation.run(&op, &mut source, |_| Ok(())).unwrap();
    assert_eq!(evaluation.report().loss, expected);
}
