//! `xent eval`: cross-entropy of logits in a file.

use std::path::PathBuf;

use xent::eval::npy::{NpyLogits, NpyWriter, read_targets};
use xent::eval::{EvaluateOptions, Evaluated, Source};
use xent::{CrossEntropyOptions, Result};

use crate::args::EvalArgs;
use crate::computer::Computer;
use crate::output::{check_distinct, complain};
use crate::progress::Progress;
use crate::{Outcome, report};

pub fn run(args: &EvalArgs) -> Result<Outcome> {
    let outputs: Vec<_> =
        [&args.rows_out, &args.grad_out].into_iter().flatten().map(PathBuf::as_path).collect();
    check_distinct(&[("the logits", &args.logits), ("the targets", &args.targets)], &outputs)?;
    let mut logits = open_logits(&args.logits)?;
    let shape = logits.shape();
    let targets = read_targets(&args.targets, shape, args.ignore_index)?;

    let create = |path: &Option<PathBuf>, shape: &[usize]| {
        path.as_ref().map(|path| NpyWriter::create(path, shape)).transpose()
    };
    let mut rows_out = create(&args.rows_out, &[shape.rows])?;
    let mut grad_out = create(&args.grad_out, &[shape.rows, shape.cols])?;

    let computer = Computer::open(&args.adapter)?;
    let op = CrossEntropyOptions {
        ignore_index: args.ignore_index,
        reduction: args.reduction.into(),
        ..Default::default()
    };
    let options = EvaluateOptions { verify_rows: args.verify, dlogits: grad_out.is_some() };
    let mut progress = Progress::new(shape.rows);
    let report = computer.evaluate(&op, &mut logits, &targets, &options, |window: &Evaluated<'_, f32>| {
        if let Some(out) = &mut rows_out {
            let row_losses: Vec<f32> = window.results.iter().map(|result| result.loss).collect();
            out.write(&row_losses)?;
        }
        if let (Some(out), Some(dlogits)) = (&mut grad_out, window.dlogits) {
            out.write(dlogits)?;
        }
        progress.reach(window.rows.end)
    })?;
    drop(progress);

    let mut outputs: Vec<_> = [rows_out, grad_out].into_iter().flatten().collect();
    outputs.iter_mut().try_for_each(NpyWriter::flush)?;
    let outcome = report::print(&report, op.reduction, computer.name(), args.json, &[])?;
    // Whatever may fail has been done. Results that are not what they should be replace nothing.
    if matches!(outcome, Outcome::Done) {
        outputs.into_iter().try_for_each(NpyWriter::finish)?;
    }
    Ok(outcome)
}

/// Opens logits, and says so where they are not taken as they are.
pub fn open_logits(path: &std::path::Path) -> Result<NpyLogits> {
    let logits = NpyLogits::open(path)?;
    if logits.is_narrowed() {
        complain(format!("{}: f64 logits, narrowed to f32", path.display()));
    }
    Ok(logits)
}
