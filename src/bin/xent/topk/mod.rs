//! `xent topk`: the most probable classes of each row of logits in files.

mod outputs;
mod text;

use std::ops::Range;
use std::time::Instant;

use bytesize::ByteSize;
use rayon::prelude::*;
use xent::eval::files::FileLogits;
use xent::eval::{Source, top_k};
use xent::reference::top_k_row;
use xent::{Element, Error, Result, TopClasses, TopK, TopKOptions, TopValues};

use outputs::Outputs;
use text::Table;

use crate::args::TopkArgs;
use crate::computer::Computer;
use crate::logits::{self, OnLogits, run_in};
use crate::memory::{self, Reserve};
use crate::numbers::{si, thousands};
use crate::outcome::Outcome;
use crate::output::{check_distinct, print_more};
use crate::progress::Progress;
use crate::report;
use crate::stop::check_stopped;
use crate::windows;

pub fn run(args: &TopkArgs) -> Result<Outcome> {
    options(args)?.check()?;
    let outputs: Vec<_> = [&args.output, &args.values_out].into_iter().flatten().map(AsRef::as_ref).collect();
    let logits = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path));
    let inputs: Vec<_> = logits.chain(args.device.input()).collect();
    check_distinct(&inputs, &outputs)?;
    logits::check_beside(&args.logits, &outputs)?;
    let file = logits::open(&args.logits)?;
    let dtype = logits::dtype(&file);
    run_in(dtype, file, &args.logits.read, Run { args })
}

fn options(args: &TopkArgs) -> Result<TopKOptions> {
    let values = match args {
        TopkArgs { as_logits: true, .. } => TopValues::Logits,
        TopkArgs { log_probs: true, .. } => TopValues::LogProbs,
        _ => TopValues::Probs,
    };
    let softmax = args.score.softmax()?;
    Ok(TopKOptions { values, renormalize: args.renormalize, softmax, ..TopKOptions::new(args.k) })
}

struct Run<'a> {
    args: &'a TopkArgs,
}

impl OnLogits for Run<'_> {
    fn run<E: Element>(self, mut logits: FileLogits<E>) -> Result<Outcome> {
        let (args, shape) = (self.args, logits.shape());
        let options = options(args)?;
        if options.k > shape.cols {
            return Err(Error::TooFewClasses { k: options.k, cols: shape.cols });
        }
        let mut outputs = Outputs::open(args, &options, logits.layout())?;
        let computer = Computer::open(&args.device)?;
        if outputs.is_empty() {
            return print_table(&computer, args, &options, &mut logits);
        }
        let start = Instant::now();
        let mut progress = Progress::new(shape.rows).with_rates(shape.cols, None);
        each_window(&computer, args.memory, &options, &mut logits, |rows, classes| {
            check_stopped()?;
            outputs.write(rows.start, classes)?;
            progress.reach(rows.end);
            Ok(())
        })?;
        drop(progress);
        outputs.sync()?;
        let seconds = start.elapsed().as_secs_f64();
        report::print_lines(&[
            ("rows", thousands(shape.rows)),
            ("classes", format!("{} of {}", thousands(options.k), thousands(shape.cols))),
            ("adapter", computer.name().to_owned()),
            ("time", format!("{seconds:.3} s: {}", si(shape.len() as f64 / seconds, " logits/s"))),
        ])?;
        outputs.finish()?;
        Ok(Outcome::Done)
    }
}

/// Prints the classes of all rows, or of as many as the reader takes.
fn print_table<E: Element>(
    computer: &Computer,
    args: &TopkArgs,
    options: &TopKOptions,
    logits: &mut dyn Source<E>,
) -> Result<Outcome> {
    let table = Table::of(options, logits.shape());
    let mut is_read = print_more(&table.header())?;
    if !is_read {
        return Ok(Outcome::Done);
    }
    let printed = each_window(computer, args.memory, options, logits, |rows, classes| {
        for lines in table.lines(rows.start, classes) {
            check_stopped()?;
            is_read = print_more(&lines)?;
            if !is_read {
                return Err(Error::StreamEnded);
            }
        }
        Ok(())
    });
    if is_read {
        printed?;
    }
    Ok(Outcome::Done)
}

/// Hands the classes of each window to `each`.
pub fn each_window<E: Element>(
    computer: &Computer,
    memory: Option<ByteSize>,
    options: &TopKOptions,
    logits: &mut dyn Source<E>,
    mut each: impl FnMut(Range<usize>, &TopClasses) -> Result<()>,
) -> Result<()> {
    if let Computer::Gpu { gpu, tuning, .. } = computer {
        let mut op = TopK::<E>::new(gpu, options)?;
        if let Some(tuning) = tuning {
            op = op.with_tuning(*tuning)?;
        }
        let memory = memory.map(|allowed| memory::for_windows(allowed, Reserve::Reads)).transpose()?;
        return top_k(&op, logits, memory, each);
    }
    let shape = logits.shape();
    windows::each_window(logits, memory, |rows, values| {
        let window = shape.with_rows(rows.len());
        let of_row = |row| top_k_row(&window.row(values, row).copied().collect::<Vec<E>>(), options);
        let all: Vec<_> = (0..rows.len()).into_par_iter().map(of_row).collect();
        each(rows, &TopClasses::of(options.k, all.into_iter().flatten()))
    })
}
