//! Windows of runs: their order, how far ahead a source is read, resumed runs, and what ends a run.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::tests::{Constant, constant};
use super::*;
use crate::coded::{Codes, Logits};
use crate::eval::{SliceSource, TargetSource};
use crate::inputs::CrossEntropyInputs;
use crate::results::{Loss, RowResult};
use crate::targets::Targets;

/// A source of logits: twice the row, plus one. It records the rows that were asked for, and fails at a given row.
#[derive(Default)]
struct Counted {
    rows: usize,
    asked: Arc<Mutex<Vec<Range<usize>>>>,
    fails_at: Option<usize>,
}

impl Source<f32> for Counted {
    fn shape(&self) -> Shape {
        Shape::new(self.rows, 2)
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [f32]) -> Result<()> {
        self.asked.lock().unwrap().push(rows.clone());
        if self.fails_at.is_some_and(|row| rows.contains(&row)) {
            return Err(Error::File { path: "logits".into(), message: "gone".into() });
        }
        for (at, value) in into.iter_mut().enumerate() {
            *value = (2 * rows.start + at) as f32;
        }
        Ok(())
    }
}

/// The loss of a row is its first logit, and its gradient is its logits. A window has one row per 8 bytes of its room.
struct Echo<'c> {
    window_rows: usize,
    next_row: usize,
    results: Vec<RowResult>,
    /// Windows submitted so far, and the one that runs out of memory.
    submitted: &'c Cell<usize>,
    out_of_memory_at: Option<usize>,
}

impl Evaluator<f32> for Echo<'_> {
    type Flight = (usize, Vec<f32>);

    fn window_rows(&self) -> usize {
        self.window_rows
    }

    fn submit(
        &mut self,
        logits: Logits<'_, f32>,
        _: Option<Codes<'_>>,
        rows: usize,
        _: &CrossEntropyInputs<'_>,
        _: bool,
    ) -> Result<Self::Flight> {
        let logits = logits.values(Shape::new(rows, 2));
        self.submitted.set(self.submitted.get() + 1);
        if self.out_of_memory_at == Some(self.submitted.get()) {
            return Err(Error::OutOfMemory { what: "a window".into(), message: "none left".into() });
        }
        assert_eq!((logits[0], logits.len()), (2.0 * self.next_row as f32, 2 * rows), "each row in its turn");
        self.next_row += rows;
        Ok((rows, logits.to_vec()))
    }

    fn finish(
        &mut self,
        (rows, logits): Self::Flight,
        _: &CrossEntropyInputs<'_>,
        dlogits: Option<&mut [f32]>,
    ) -> Result<&[RowResult]> {
        if let Some(dlogits) = dlogits {
            dlogits.copy_from_slice(&logits);
        }
        let result = |row: usize| RowResult { loss: logits[2 * row], argmax: 1, ..Default::default() };
        self.results = (0..rows).map(result).collect();
        Ok(&self.results)
    }
}

/// Evaluators one after another. The `out_of_memory_at`th window in all runs out of memory.
fn echo<'c>(
    submitted: &'c Cell<usize>,
    out_of_memory_at: Option<usize>,
) -> impl Fn(Start) -> Result<Echo<'c>> {
    move |start| {
        let window_rows = (start.room.unwrap_or(64) as usize / 8).max(1);
        Ok(Echo { window_rows, next_row: start.row, results: Vec::new(), submitted, out_of_memory_at })
    }
}

const ROWS: usize = 23;

fn evaluation(options: &EvaluateOptions) -> Evaluation<'static> {
    let classes: &'static [i32] =
        &[1, 0, -100, 1, 1, 0, 1, 1, 0, 1, -100, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1];
    Evaluation::new(&Default::default(), Shape::new(ROWS, 2), Targets::Classes(classes), options).unwrap()
}

/// The contents of a report, except the times.
fn found(report: &Report) -> (Loss, usize, Option<Verification>) {
    (report.loss, report.correct, report.verification)
}

/// Options with which windows have this many rows: the room of a window is 8 bytes per row.
fn memory_of(rows: u64) -> EvaluateOptions {
    let asked = Asked {
        second_bytes: 0,
        entries: 0,
        dlogits: true,
        reads_logits: true,
        reads_second: false,
        device: None,
        operations: 1,
    };
    let shape = Shape::new(ROWS, 2);
    let bytes = Footprint::of::<f32>(shape, asked).bytes(8 * rows);
    EvaluateOptions { dlogits: true, verify_rows: 5, memory: Some(bytes), ..Default::default() }
}

#[test]
fn a_source_is_read_ahead_in_order_and_no_digit_depends_on_the_windows() {
    let mut whole = None;
    for window_rows in [1, 2, 3, 7, 22, 23] {
        let (mut source, submitted) = (Counted { rows: ROWS, ..Default::default() }, Cell::new(0));
        let asked = Arc::clone(&source.asked);
        let mut evaluation = evaluation(&memory_of(window_rows));
        let mut seen = Vec::new();
        let run = evaluation.run_on(echo(&submitted, None), None, &mut source, |window| {
            assert_eq!(window.dlogits.unwrap()[0], 2.0 * window.rows.start as f32);
            seen.push(window.rows.clone());
            Ok(())
        });
        assert_eq!((run, evaluation.is_done()), (Ok(()), true));
        let windows: Vec<Range<usize>> = (0..ROWS)
            .step_by(window_rows as usize)
            .map(|row| row..ROWS.min(row + window_rows as usize))
            .collect();
        assert_eq!((&seen, &*asked.lock().unwrap()), (&windows, &windows));
        let report = found(&evaluation.report());
        assert_eq!(report, *whole.get_or_insert(report), "{window_rows} rows");
        assert_eq!((report.0.counted, report.1, report.2.unwrap().rows_checked), (21, 15, 5));
    }
}

#[test]
fn a_run_goes_on_from_any_row_with_the_digits_of_one_without_a_stop() {
    let (mut source, submitted) = (Counted { rows: ROWS, ..Default::default() }, Cell::new(0));
    let mut whole = evaluation(&memory_of(23));
    whole.run_on(echo(&submitted, None), None, &mut source, |_| Ok(())).unwrap();
    for stops_at in 0..ROWS {
        let mut first = evaluation(&memory_of(1));
        let mut told = first.state().clone();
        let stopped = first.run_on(echo(&submitted, None), None, &mut source, |window| {
            assert_eq!(window.state.rows(), window.rows.end);
            if window.rows.contains(&stops_at) {
                return Err(Error::Stopped);
            }
            told = window.state.clone();
            Ok(())
        });
        let without_times = |state: &EvaluationState| EvaluationState {
            reading: Duration::ZERO,
            computing: Duration::ZERO,
            elapsed: Duration::ZERO,
            ..state.clone()
        };
        assert_eq!(without_times(&told), without_times(first.state()), "the same is told at each window");
        assert_eq!((stopped, first.state().rows()), (Err(Error::Stopped), stops_at));
        let so_far = first.report();
        assert_eq!(so_far.loss.sum, (0..stops_at).map(|row| 2.0 * row as f64).sum::<f64>());
        assert_eq!(
            (so_far.loss.rows, so_far.ignored()),
            (stops_at, usize::from(stops_at > 2) + usize::from(stops_at > 10))
        );

        // In another process, with other windows.
        let mut second = evaluation(&memory_of(5));
        second.resume(first.state()).unwrap();
        let mut rows = first.state().rows();
        let run = second.run_on(echo(&submitted, None), None, &mut source, |window| {
            assert_eq!(std::mem::replace(&mut rows, window.rows.end), window.rows.start);
            Ok(())
        });
        assert_eq!((run, rows), (Ok(()), ROWS));
        assert_eq!(found(&second.report()), found(&whole.report()), "stopped at {stops_at}");
    }
    // At the end there is nothing left to do.
    let before = submitted.get();
    whole.run_on(echo(&submitted, None), None, &mut source, |_| Err(Error::Stopped)).unwrap();
    assert_eq!(submitted.get(), before);
}

#[test]
fn no_run_of_this_batch_has_come_there() {
    let options = Default::default();
    let mut of_more_rows = EvaluationState::default();
    of_more_rows.add(&[RowResult::default(); ROWS + 1], &[]);
    let refused = Error::RowsExceedBound { rows: ROWS + 1, bound: ROWS };
    assert_eq!(evaluation(&options).resume(&of_more_rows), Err(refused));
    let mut within_a_group = EvaluationState::default();
    within_a_group.add(&[RowResult::default(); 2], &[]);
    let targets = Targets::Classes(&[0; 6]);
    let shape = Shape::nchw(2, 2, 3);
    let mut grouped: Evaluation<'_> = Evaluation::new(&Default::default(), shape, targets, &options).unwrap();
    assert_eq!(grouped.resume(&within_a_group), Err(Error::Layout { rows: 2, inner: 3 }));
}

#[test]
fn out_of_memory_goes_on_with_half_the_windows() {
    let (mut source, submitted) = (Counted { rows: ROWS, ..Default::default() }, Cell::new(0));
    let mut evaluation = evaluation(&memory_of(8));
    let mut seen = Vec::new();
    let run = evaluation.run_on(echo(&submitted, Some(2)), None, &mut source, |window| {
        seen.push(window.rows.clone());
        Ok(())
    });
    // The first window was in flight when the second failed: it comes again.
    assert_eq!((run, seen), (Ok(()), vec![0..4, 4..8, 8..12, 12..16, 16..20, 20..23]));
    let (mut whole, fresh) = (self::evaluation(&memory_of(8)), Cell::new(0));
    whole.run_on(echo(&fresh, None), None, &mut source, |_| Ok(())).unwrap();
    assert_eq!(found(&evaluation.report()), found(&whole.report()));

    // Windows cannot be smaller than one row.
    let mut evaluation = self::evaluation(&memory_of(8));
    let opened = Cell::new(0);
    let never = |_: Start| -> Result<Constant> {
        opened.set(opened.get() + 1);
        Err(Error::OutOfMemory { what: "a window".into(), message: "none left".into() })
    };
    let run = evaluation.run_on(never, None, &mut source, |_| Ok(()));
    assert!(matches!(run, Err(Error::OutOfMemory { .. })), "{run:?}");
    assert_eq!(opened.get(), 4, "of 8, 4, 2 rows and of 1");
}

#[test]
fn a_source_that_fails_stops_the_run_at_its_window() {
    let submitted = Cell::new(0);
    let mut source = Counted { rows: ROWS, fails_at: Some(13), ..Default::default() };
    let mut evaluation = evaluation(&memory_of(4));
    let run = evaluation.run_on(echo(&submitted, None), None, &mut source, |_| Ok(()));
    assert!(matches!(&run, Err(Error::File { message, .. }) if message == "gone"), "{run:?}");
    // The last of the windows before was in flight and is not done.
    assert_eq!(evaluation.state().rows(), 8);
    source.fails_at = None;
    evaluation.run_on(echo(&submitted, None), None, &mut source, |_| Ok(())).unwrap();
    assert!(evaluation.is_done());
}

#[test]
fn a_source_of_another_shape_is_refused() {
    let submitted = Cell::new(0);
    for (rows, found) in [(ROWS - 1, 2 * ROWS - 2), (ROWS + 1, 2 * ROWS + 2)] {
        let mut source = Counted { rows, ..Default::default() };
        let run = evaluation(&memory_of(4)).run_on(echo(&submitted, None), None, &mut source, |_| Ok(()));
        assert_eq!(run, Err(Error::Length { what: "the source", found, needed: 2 * ROWS }));
    }
}

/// A source that claims to have its values in memory, but some are missing.
struct Short;

impl Source<f32> for Short {
    fn shape(&self) -> Shape {
        Shape::new(4, 2)
    }

    fn read_rows(&mut self, _: Range<usize>, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn values(&self) -> Option<&[f32]> {
        Some(&[0.0; 7])
    }
}

#[test]
fn a_source_that_has_too_little_is_refused() {
    let refused = Err(Error::Length { what: "the source", found: 7, needed: 8 });
    let (shape, options) = (Shape::new(4, 2), Default::default());
    let targets = Targets::Classes(&[0; 4]);
    let mut evaluation = Evaluation::new(&Default::default(), shape, targets, &options).unwrap();
    assert_eq!(evaluation.run_on(constant(1.0), None, &mut Short, |_| Ok(())), refused);
    let (mut short, logits) = (Short, [0.0; 8]);
    let inputs = TargetSource::Soft(&mut short);
    let mut evaluation = Evaluation::new(&Default::default(), shape, inputs, &options).unwrap();
    let mut source = SliceSource::new(&logits, shape).unwrap();
    assert_eq!(evaluation.run_on(constant(1.0), None, &mut source, |_| Ok(())), refused);
}

#[test]
fn memory_that_holds_no_row_is_refused_before_the_first() {
    let (mut source, submitted) = (Counted { rows: ROWS, ..Default::default() }, Cell::new(0));
    let options = EvaluateOptions { memory: Some(100), ..Default::default() };
    let run = evaluation(&options).run_on(echo(&submitted, None), None, &mut source, |_| Ok(()));
    let needed = memory_of(1).memory.unwrap() - 12 * 2;
    assert_eq!(run, Err(Error::MemoryTooSmall { allowed: 100, needed, cols: 2, inner: 1 }), "no gradient");
    assert!(source.asked.lock().unwrap().is_empty());
}

#[test]
fn windows_come_in_order_and_an_error_stops_them() {
    let mut source = SliceSource::new(&[0.0; 14], Shape::new(7, 2)).unwrap();
    let mut evaluation = Evaluation::new(
        &Default::default(),
        Shape::new(7, 2),
        Targets::Classes(&[0; 7]),
        &Default::default(),
    )
    .unwrap();
    let mut seen = Vec::new();
    let stop = Error::NoOutput { options: "stop" };
    let result = evaluation.run_on(constant(1.0), None, &mut source, |window| {
        seen.push(window.rows.clone());
        if window.rows.start == 3 { Err(stop.clone()) } else { Ok(()) }
    });
    assert_eq!((result, seen), (Err(stop), vec![0..3, 3..6]));
    assert_eq!(evaluation.state().rows(), 3, "a window that was refused comes again");
}
