//! `xent demo`: the loss of a language model's batch, which need not fit into memory.

use xent::eval::{EvaluateOptions, Evaluation, SyntheticLogits, Tally, TallyOptions};
use xent::{CrossEntropyOptions, Result, Shape, Targets};

use crate::args::{DemoArgs, Given};
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
/// Tokens per sequence.
const SEQUENCE: usize = 512;

pub fn run(args: &DemoArgs) -> Result<Outcome> {
    let shape = Shape::new(args.rows, args.cols);
    start_threads()?;
    let mut logits = SyntheticLogits::new(shape, args.seed)?;
    let targets = logits.targets().to_vec();
    let computer = Computer::open(&args.device)?;
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

    let (making, computing) = (report.reading.as_secs_f64(), report.computing.as_secs_f64());
    let more = [
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
    let summary = Summary {
        report: &report,
        tally: &tally,
        loss: evaluation.loss(),
        adapter: computer.name(),
        rows_given: shape.rows,
        bytes_read: None,
        top_k: None,
        text_bytes: None,
        peak_memory: peak_resident_bytes(),
        origin: &Origin::new(&[], &Given::default()),
    };
    report::print(&summary, args.json, false, &more)
}
