//! `xent demo`: the loss of a language model's batch, which need not fit into memory.

use std::time::Instant;

use xent::cpu::Processor;
use xent::eval::{EvaluateOptions, Evaluation, Source, SyntheticLogits, Tally, TallyOptions};
use xent::{CrossEntropyOptions, Result, Shape, Targets};

use crate::args::{DemoArgs, Given};
use crate::choose::FOUND;
use crate::computer::{Computer, start_threads};
use crate::losses::AnyEvaluation;
use crate::memory::peak_resident_bytes;
use crate::numbers::{si, thousands};
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output;
use crate::progress::Progress;
use crate::report::{self, Summary};
use crate::stop::check_stopped;

/// Rows that are compared with the reference.
const VERIFY_ROWS: usize = 64;
/// The rows whose time on the processor is shown beside an adapter's, and how often they are run.
const BESIDE_ROWS: usize = 128;
const BESIDE_TIMES: usize = 5;
/// Tokens per sequence.
const SEQUENCE: usize = 512;

pub fn run(args: &DemoArgs) -> Result<Outcome> {
    let shape = Shape::new(args.rows, args.cols);
    start_threads()?;
    let mut logits = SyntheticLogits::new(shape, args.seed)?;
    let targets = logits.targets().to_vec();
    let computer = Computer::open_or_processor(&args.device)?;
    let bytes = shape.len() as f64 * size_of::<f32>() as f64;
    if !args.json {
        output::print(&format!(
            "The loss of {} tokens over a vocabulary of {}: {} of logits, made as they are needed.\n\n",
            thousands(shape.rows),
            thousands(shape.cols),
            si(bytes, "B"),
        ))?;
    }
    let mut progress = Progress::new(shape.rows).with_rates(shape.cols, None);
    let mut tally = Tally::new(&TallyOptions { sequence_length: SEQUENCE, ..Default::default() });
    let options = EvaluateOptions { verify_rows: VERIFY_ROWS, ..Default::default() };
    let op = CrossEntropyOptions::default();
    let evaluation = Evaluation::new(&op, shape, Targets::Classes(&targets), &options)?;
    let mut evaluation = AnyEvaluation::CrossEntropy(op, evaluation);
    evaluation.run(&computer, &mut logits, |window| {
        check_stopped()?;
        tally.add(window);
        progress.reach(window.rows.end);
        Ok(())
    })?;
    drop(progress);
    let report = evaluation.report();

    let peak_memory = peak_resident_bytes();
    let (making, computing) = (report.reading.as_secs_f64(), report.computing.as_secs_f64());
    let mut more = vec![
        ("  making", format!("{making:.3} s: {}", si(shape.len() as f64 / making, " logits/s"))),
        (
            "  computing",
            format!(
                "{computing:.3} s: {}, {}{}",
                si(shape.len() as f64 / computing, " logits/s"),
                si(bytes / computing, "B/s"),
                if matches!(computer, Computer::Gpu { .. }) { ", transfers included" } else { "" },
            ),
        ),
    ];
    if matches!(computer, Computer::Gpu { .. }) && !args.json {
        more.push(("  beside", beside(&mut logits, &targets)?));
    }
    let why = match (args.device.adapter.name(), &computer) {
        (Some(_), _) => "named",
        (None, Computer::Gpu { .. }) => FOUND,
        (None, _) => "no adapter",
    };
    let summary = Summary {
        report: &report,
        tally: &tally,
        loss: evaluation.loss().facts(),
        adapter: computer.name(),
        why,
        rows_given: shape.rows,
        part: None,
        bytes_read: None,
        top_k: None,
        text_bytes: None,
        peak_memory,
        origin: &Origin::new(&[], &Given::default()),
    };
    report::print(&summary, args.json, false, &more)
}

/// The speed of the processor, without a driver, for the first of these rows.
fn beside(logits: &mut SyntheticLogits, targets: &[i32]) -> Result<String> {
    let shape = logits.shape();
    let part = shape.with_rows(shape.rows.min(BESIDE_ROWS));
    let mut read = vec![0.0; part.len()];
    logits.read_rows(0..part.rows, &mut read)?;
    let cpu = Processor::new();
    let mut seconds = f64::INFINITY;
    for _ in 0..BESIDE_TIMES {
        let start = Instant::now();
        cpu.loss(&read, Targets::Classes(&targets[..part.rows]), part, &CrossEntropyOptions::default())?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let (rate, rows) = (si(part.len() as f64 / seconds, " logits/s"), thousands(part.rows));
    Ok(format!(
        "{rate} on the {}, without a driver: the fastest of {BESIDE_TIMES} runs of {rows} rows",
        cpu.name()
    ))
}
