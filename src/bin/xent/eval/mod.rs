//! `xent eval`: cross-entropy of logits in a file.

mod inputs;
mod outputs;

use xent::eval::npy::{NpyLayout, NpyLogits};
use xent::eval::{EvaluateOptions, Source};
use xent::half::f16;
use xent::{CrossEntropyOptions, Element, Result, Sequences};

use crate::args::EvalArgs;
use crate::computer::Computer;
use crate::output::{check_distinct, open_logits};
use crate::progress::Progress;
use crate::{Outcome, report};
use inputs::Inputs;
use outputs::Outputs;

pub fn run(args: &EvalArgs) -> Result<Outcome> {
    check_distinct(&inputs::paths(args), &outputs::paths(&args.output))?;
    let logits = open_logits(&args.logits, args.class_axis)?;
    if logits.is_f16() {
        run_on(args, NpyLogits::<f16>::open(&args.logits, args.class_axis)?)
    } else {
        run_on(args, logits)
    }
}

fn run_on<E: Element>(args: &EvalArgs, mut logits: NpyLogits<E>) -> Result<Outcome> {
    let op = options(args, logits.layout());
    op.check()?;
    let mut inputs = Inputs::read(args, logits.layout(), &op)?;
    let mut outputs = Outputs::create(&args.output, logits.layout())?;

    let computer = Computer::open(&args.device)?;
    let options = EvaluateOptions {
        verify_rows: args.output.verify,
        dlogits: args.output.grad_out.is_some(),
        memory: None,
    };
    let shape = logits.shape();
    let mut progress = Progress::new(shape.rows);
    let report = evaluate(&computer, &op, &mut logits, inputs.given(), &options, |window| {
        outputs.write(window)?;
        progress.reach(window.rows.end)
    });
    drop(progress);
    let report = report.map_err(|error| inputs.naming_the_file(error))?;

    outputs.flush()?;
    let outcome = report::print(&report, &op, computer.name(), args.output.json, &[])?;
    // Whatever may fail has been done. Results that are not what they should be replace nothing.
    if matches!(outcome, Outcome::Done) {
        outputs.finish()?;
    }
    Ok(outcome)
}

/// TODO
fn evaluate<E: Element>(
    computer: &Computer,
    op: &CrossEntropyOptions,
    source: &mut dyn Source<E>,
    inputs: xent::eval::EvaluateInputs<'_>,
    options: &EvaluateOptions,
    each: impl FnMut(&xent::eval::Evaluated<'_>) -> Result<()>,
) -> Result<xent::eval::Report> {
    let mut evaluation = xent::eval::Evaluation::new(op, source.shape(), inputs, options)?;
    computer.run(&mut evaluation, op, source, each)?;
    Ok(evaluation.report())
}

fn options(args: &EvalArgs, layout: &NpyLayout) -> CrossEntropyOptions {
    let (loss, rows) = (&args.loss, &args.rows);
    let is_sequence = [rows.shift, rows.sequence, rows.score_from, rows.score_to].iter().any(Option::is_some);
    let sequences = Sequences {
        length: rows.sequence.unwrap_or_else(|| layout.sequence_length()),
        shift: rows.shift.unwrap_or(0),
        from: rows.score_from.unwrap_or(0),
        to: rows.score_to.unwrap_or(usize::MAX),
    };
    CrossEntropyOptions {
        ignore_index: rows.ignore_index,
        reduction: loss.reduction.into(),
        masked_row: loss.score.masked_row.into(),
        empty_batch: loss.empty.into(),
        input: args.input.into(),
        label_smoothing: loss.label_smoothing,
        temperature: loss.score.temperature,
        softcap: loss.score.softcap,
        z_loss: loss.z_loss,
        focal_gamma: loss.focal_gamma,
        sequences: is_sequence.then_some(sequences),
    }
}
