//! The processor path, by the cases of the kernels. It needs no GPU.

use std::time::Instant;

use xent::cpu::{Processor, check_form};
use xent::eval::{EvaluateOptions, Evaluation, SliceSource};
use xent::half::{bf16, f16};
use xent::reference::row_readouts;
use xent::{
    CrossEntropyOptions, Element, EmptyBatch, Error, Input, MaskedRow, RowFields, RowResult, Shape,
    TargetKind,
};

use crate::batch::{Batch, noise, softmax_options};
use crate::compare::check_of;
use crate::expected::Expected;
use crate::outputs::Outputs;
use crate::readouts::{check_row, rows_with_everything};
use crate::{options, special};

/// A value that no test expects.
const UNWRITTEN: f32 = 12_345.678;

/// Everything, by a processor.
fn run<E: Element>(cpu: &Processor, batch: &Batch<E>, options: &CrossEntropyOptions) -> Outputs {
    let Batch { shape, ref logits, .. } = *batch;
    let bits = |values: &[f32]| Some(values.iter().map(|value| value.to_bits()).collect());
    let [mut dlogits, mut probs, mut log_probs] = [(); 3].map(|()| vec![UNWRITTEN; shape.len()]);
    let softmax = &softmax_options(options);
    cpu.softmax_into(logits, shape, softmax, &mut probs).expect("softmax");
    cpu.log_softmax_into(logits, shape, softmax, &mut log_probs).expect("log_softmax");
    let loss = cpu.loss_into(logits, batch.inputs(), shape, options, &mut dlogits).expect("loss");
    let alone = cpu.loss(logits, batch.inputs(), shape, options).expect("loss");
    assert_eq!(format!("{loss:?}"), format!("{alone:?}"), "{}: loss with and without gradient", batch.name);
    let rows = cpu.row_results(logits, batch.inputs(), shape, options).expect("results of rows");
    let of_rows = |of: fn(&RowResult) -> u32| Some(rows.iter().map(of).collect());
    Outputs {
        path: "processor",
        host_loss: Some(loss),
        row_losses: of_rows(|row| row.loss.to_bits()),
        row_lse: of_rows(|row| row.lse.to_bits()),
        row_argmax: of_rows(|row| row.argmax),
        row_flags: Some(rows.iter().map(RowResult::flags).collect()),
        dlogits: bits(&dlogits),
        probs: bits(&probs),
        log_probs: bits(&log_probs),
        lse: bits(&cpu.logsumexp(logits, shape).expect("logsumexp")),
        argmax: Some(cpu.argmax(logits, shape).expect("argmax")),
        ..Default::default()
    }
}

/// Runs a batch by every instruction set and compares.
fn check<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions) {
    let expected = Expected::of(batch, options);
    for cpu in Processor::each_instruction_set() {
        check_of(batch, &expected, &run(&cpu, batch, options), &cpu.name());
    }
}

#[test]
fn special_rows_of_every_length() {
    let lengths = [15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255, 513, 1000, 1023, 1024, 1025, 4097];
    for (i, cols) in (1..=9).chain(lengths).enumerate() {
        let batch = special::batch("cases", special::CASES, cols);
        let masked_row = [MaskedRow::Nan, MaskedRow::Zero][i % 2];
        let input = [Input::Logits, Input::LogProbs][i / 2 % 2];
        let options = CrossEntropyOptions { masked_row, input, ..Default::default() };
        match i % 3 {
            0 => check(&batch, &options),
            1 => check(&batch.cast::<bf16>(), &options),
            _ => check(&batch.cast::<f16>().with_stride(cols + 3), &options),
        }
    }
}

#[test]
fn rows_of_a_vocabulary() {
    let batch = special::batch("cases", special::CASES, 50_257);
    check(&batch, &Default::default());
    check(&special::long_sums_batch(), &Default::default());
    let smoothed =
        CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-3, temperature: 0.7, ..Default::default() };
    check(&special::long_sums_batch().cast::<bf16>(), &smoothed);
    // The error of a sum over a vocabulary.
    check(&noise("a vocabulary", 3, 4, 128_256), &Default::default());
}

#[test]
fn random_options_and_inputs() {
    for (i, (options, batch)) in options::of_the_processor().enumerate() {
        let expected = Expected::of(&batch, &options);
        if expected.is_empty_mean() && options.empty_batch == EmptyBatch::Error {
            let loss = Processor::new().loss(&batch.logits, batch.inputs(), batch.shape, &options);
            assert_eq!(loss, Err(Error::NoRowCounts { rows: batch.shape.rows }), "{}", batch.name);
            continue;
        }
        match i % 3 {
            0 => check(&batch.cast::<f16>(), &options),
            1 => check(&batch.cast::<bf16>(), &options),
            _ => check(&batch, &options),
        }
    }
}

#[test]
fn readouts() {
    let lengths = [1, 2, 3, 7, 8, 9, 16, 17, 33, 65, 130, 257, 1025, 2500];
    for (i, cols) in lengths.into_iter().enumerate() {
        let options = CrossEntropyOptions {
            masked_row: [MaskedRow::Nan, MaskedRow::Zero][i % 2],
            temperature: [1.0, 0.5, 3.0][i % 3],
            input: if i % 3 == 0 { Input::LogProbs } else { Input::Logits },
            row_fields: RowFields::all(),
            ..Default::default()
        };
        let batch = rows_with_everything(cols);
        for cpu in Processor::each_instruction_set() {
            check_readouts(&cpu, &batch, &options);
            check_readouts(&cpu, &batch.cast::<bf16>(), &options);
            check_readouts(&cpu, &batch.cast::<f16>(), &options);
        }
    }
}

fn check_readouts<E: Element>(cpu: &Processor, batch: &Batch<E>, options: &CrossEntropyOptions) {
    let results = cpu.row_results(&batch.logits, batch.inputs(), batch.shape, options).expect("results");
    for (row, result) in results.iter().enumerate() {
        let context = format!("{} {}: row {row} ({})", cpu.name(), batch.name, batch.label(row));
        if batch.targets[row] == options.ignore_index {
            assert!(
                result.is_left_out() && result.rank == 0 && result.entropy == 0.0,
                "{context}: {result:?}"
            );
            continue;
        }
        let expected = row_readouts(&batch.row(row), Some(batch.targets[row] as usize), options);
        check_row(result, &expected, false, &context);
    }
}

#[test]
fn threads_and_windows_change_no_bit() {
    // More than one part, and rows of several blocks.
    let batch = noise("threads", 9, 700, 1031).with_weights(4);
    // More than one part, and groups of rows, the last of which is not full.
    let narrow = noise("narrow", 11, 7_001, 10).with_weights(4);
    // A row that threads share.
    let long = noise("long row", 10, 1, 200_003);
    let options =
        CrossEntropyOptions { label_smoothing: 0.1, row_fields: RowFields::all(), ..Default::default() };
    for cpu in Processor::each_instruction_set() {
        for batch in [&batch, &narrow, &long] {
            let alone = run(&cpu.threads(1), batch, &options);
            for threads in [2, 3, 8] {
                let outputs = run(&cpu.threads(threads), batch, &options);
                assert_eq!(outputs.host_loss, alone.host_loss, "{threads} threads");
                assert_eq!(outputs.bits(), alone.bits(), "{threads} threads");
            }
        }
        for batch in [&batch, &narrow] {
            let results = |batch: &Batch<f32>| {
                cpu.row_results(&batch.logits, batch.inputs(), batch.shape, &options).expect("results")
            };
            let (mut parts, cols) = (Vec::new(), batch.shape.cols);
            for rows in [0..1, 1..2, 2..130, 130..131, 131..batch.shape.rows] {
                let mut part = batch.clone();
                part.logits = batch.logits[rows.start * cols..rows.end * cols].to_vec();
                part.targets = batch.targets[rows.clone()].to_vec();
                part.given.row_weights =
                    batch.given.row_weights.as_ref().map(|all| all[rows.clone()].to_vec());
                part.shape = Shape::new(rows.len(), cols);
                parts.extend(results(&part));
            }
            assert!(parts == results(batch), "{} {}: windows", cpu.name(), batch.name);
        }
    }
}

/// A closure that is not inlined is compiled without the instruction set, and then every vector operation is a call: forty
/// times slower, with the same results.
#[test]
fn vectors_reach_every_loop() {
    let sets: Vec<Processor> =
        Processor::each_instruction_set().into_iter().map(|cpu| cpu.threads(1)).collect();
    let readouts = CrossEntropyOptions { row_fields: RowFields::all(), ..Default::default() };
    for batch in [noise("timed", 1, 64, 4096), noise("timed", 1, 8_000, 20)] {
        let (logits, shape, inputs) = (&batch.logits, batch.shape, batch.inputs());
        let mut into = vec![0.0; shape.len()];
        let mut faster = |what: &str, run: &mut dyn FnMut(&Processor, &mut [f32])| {
            let [widest, narrowest] = [&sets[0], &sets[sets.len() - 1]].map(|cpu| {
                let times = (0..7).map(|_| {
                    let start = Instant::now();
                    run(cpu, &mut into);
                    start.elapsed()
                });
                times.min().unwrap_or_default()
            });
            assert!(
                sets.len() == 1 || widest < narrowest,
                "{what} of {} columns: {widest:?}, and {narrowest:?} value by value",
                shape.cols
            );
        };
        faster("the gradient", &mut |cpu, into| {
            cpu.loss_into(logits, inputs, shape, &Default::default(), into).expect("a loss");
        });
        faster("readouts", &mut |cpu, _| {
            cpu.row_results(logits, inputs, shape, &readouts).expect("results");
        });
        faster("softmax", &mut |cpu, into| {
            cpu.softmax_into(logits, shape, &Default::default(), into).expect("probabilities");
        });
        faster("argmax", &mut |cpu, _| drop(cpu.argmax(logits, shape).expect("classes")));
    }
}

/// Through `eval`, in windows, stopped and gone on with by another number of threads: the whole batch's bits.
#[test]
fn evaluations() {
    let batch = noise("evaluated", 5, 300, 1031).with_weights(8).cast::<bf16>().with_stride(1040);
    let options = CrossEntropyOptions { z_loss: 1e-3, row_fields: RowFields::all(), ..Default::default() };
    let (cpu, shape) = (Processor::new(), batch.shape);
    let mut whole = vec![UNWRITTEN; shape.len()];
    let loss = cpu.loss_into(&batch.logits, batch.inputs(), shape, &options, &mut whole).expect("loss");
    let of_rows = cpu.row_results(&batch.logits, batch.inputs(), shape, &options).expect("results");
    for memory in [None, Some(700_000)] {
        let asked = EvaluateOptions { dlogits: true, verify_rows: 9, memory, ..Default::default() };
        let begin = || Evaluation::new(&options, shape, batch.inputs(), &asked).expect("an evaluation");
        let mut source = SliceSource::new(&batch.logits, shape).expect("a source");
        let (mut rows, mut dlogits, mut windows) = (Vec::new(), Vec::new(), 0);
        let mut evaluation = begin();
        for (threads, until) in [(1, 120), (2, usize::MAX)] {
            let state = evaluation.state().clone();
            evaluation = begin();
            evaluation.resume(&state).expect("its own state");
            let ended = evaluation.run_on_processor(&cpu.threads(threads), &mut source, |window| {
                if window.rows.start >= until {
                    return Err(Error::Stopped);
                }
                windows += 1;
                rows.extend_from_slice(window.results);
                dlogits.resize(shape.row_start(window.rows.start), 0.0);
                dlogits.extend_from_slice(window.dlogits.expect("a gradient"));
                Ok(())
            });
            assert!(ended.is_ok() || until < shape.rows, "{ended:?}");
        }
        assert_eq!(windows > 1, memory.is_some(), "{windows} windows");
        let report = evaluation.report();
        assert_eq!(report.loss, loss);
        assert!(rows == of_rows && dlogits == whole, "{windows} windows");
        let verification = report.verification.expect("a verification");
        assert!(verification.passed && verification.rows_checked == 9, "{verification:?}");
    }
    let capped = CrossEntropyOptions { softcap: Some(30.0), ..options };
    let mut source = SliceSource::new(&batch.logits, shape).expect("a source");
    let mut evaluation = Evaluation::new(&capped, shape, batch.inputs(), &Default::default()).expect("it");
    let refused = evaluation.run_on_processor(&cpu, &mut source, |_| Ok(()));
    assert_eq!(refused, Err(Error::NoProcessorForm { form: "softcap" }));
}

#[test]
fn other_forms_are_refused() {
    let (plain, shape) = (CrossEntropyOptions::default(), Shape::new(2, 3));
    let classes = TargetKind::Classes;
    assert_eq!(check_form(&plain, classes, shape), Ok(()));
    assert_eq!(check_form(&CrossEntropyOptions { input: Input::LogProbs, ..plain }, classes, shape), Ok(()));
    for (form, options, targets) in [
        ("softcap", CrossEntropyOptions { softcap: Some(30.0), ..plain }, classes),
        ("focal loss", CrossEntropyOptions { focal_gamma: 2.0, ..plain }, classes),
        ("loss of soft targets", plain, TargetKind::Soft),
        ("loss of sparse targets", plain, TargetKind::Sparse { entries: 2 }),
    ] {
        assert_eq!(check_form(&options, targets, shape), Err(Error::NoProcessorForm { form }));
    }
    let images = Shape::nchw(1, 3, 2);
    assert_eq!(check_form(&plain, classes, images), Err(Error::ClassAxisNotLast { inner: 2 }));

    let (cpu, logits) = (Processor::new(), [0.0f32; 6]);
    let capped = CrossEntropyOptions { softcap: Some(30.0), ..plain };
    let refused = cpu.loss(&logits, &[0, 1], shape, &capped);
    assert_eq!(refused, Err(Error::NoProcessorForm { form: "softcap" }));
    assert_eq!(cpu.argmax(&logits, images), Err(Error::ClassAxisNotLast { inner: 2 }));
    let short = Error::Length { what: "dlogits", found: 5, needed: 6 };
    assert_eq!(cpu.loss_into(&logits, &[0, 1], shape, &plain, &mut [0.0; 5]), Err(short));
    let outside = Error::TargetOutOfRange { row: 1, target: 3, cols: 3 };
    assert_eq!(cpu.loss(&logits, &[0, 3], shape, &plain), Err(outside));
    assert_eq!(cpu.logsumexp(&logits[..0], Shape::new(0, 3)), Ok(vec![]));
}
