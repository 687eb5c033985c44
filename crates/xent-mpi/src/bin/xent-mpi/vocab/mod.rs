//! Every rank has some of the columns of every row.

mod args;
mod columns;
mod partials;
mod progress;
mod report;

use std::ffi::OsString;
use std::num::NonZero;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{CommandFactory, Parser};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use xent::eval::files::{FileRows, Layout, OpenOptions, TensorFile, Wanted, read_class_weights};
use xent::{CrossEntropyInputs, RowPartials, Targets};
use xent_mpi::job::abort;

use crate::waiting::wait_for_all;
use crate::{Failure, stop};
use args::VocabArgs;
use columns::Columns;
use partials::Computer;
use progress::Progress;
use report::{Report, Times};

/// The most bytes of the widest rank's logits in a window.
const WINDOW_BYTES: usize = 64 << 20;

/// Prints the help.
pub fn help() -> ExitCode {
    println!("{}", VocabArgs::command().render_long_help());
    ExitCode::SUCCESS
}

/// Evaluates, and prints the report on rank 0. Returns the status of the job.
pub fn run(world: &SimpleCommunicator, args: Vec<OsString>) -> Result<u8, Failure> {
    let args = std::iter::once("xent-mpi eval --distributed vocab".into()).chain(args);
    // A message of several lines: the first says what is wrong.
    let args = VocabArgs::try_parse_from(args)
        .map_err(|error| error.to_string().trim_end().to_owned())?
        .of_rank(world.rank());
    let start = Instant::now();
    let mut columns = Columns::open(world, &args)?;
    let rows = columns.rows;
    let layout = Layout::new(&[rows, columns.shard.total_cols], -1)?;
    let options = args.options(columns.shard);
    let given = Inputs::read(&args, &layout)?;
    // Refused here, on all ranks, before any logit is read.
    given.inputs(0..rows).check(layout.shape(), &args.options_of_the_whole(layout.shape().cols))?;
    let computer = Computer::open(world, &args, &options)?;

    let fitting = (WINDOW_BYTES / size_of::<f32>() / columns.widest.max(1)).max(1);
    let step = args.window_rows.map_or(fitting, NonZero::get);
    let mut progress = Progress::open(world, &args, rows)?;
    let mut times = Times::default();
    let mut values = Vec::new();
    while progress.merged.len() < rows {
        if stop::is_asked_for() {
            let done = progress.merged.len();
            abort(stop::STATUS, format!("stopped after {done} of {rows} rows; --resume continues"));
        }
        let window = progress.merged.len()..rows.min(progress.merged.len() + step);
        columns.read(window.clone(), &mut values, &mut times.reading)?;
        let inputs = given.inputs(window.clone());
        let own =
            timed(&mut times.computing, || computer.partials(&values, &inputs, window.len(), &options))?;
        // Apart from what talking takes: the time until the slowest rank is here.
        timed(&mut times.waiting, || world.barrier());
        let folded = timed(&mut times.folding, || xent_mpi::fold_partials(world, &own, args.temperature))?;
        progress.add(folded)?;
    }

    if world.rank() == 0 {
        let merged: &[RowPartials] = &progress.merged;
        let inputs = given.inputs(0..rows);
        let loss = options.merged_loss(merged, inputs)?;
        let results = options.merged_results(merged, inputs)?;
        times.all = start.elapsed();
        let report = Report {
            loss,
            results: &results,
            columns: &columns,
            computer: &computer,
            times,
            ranks: world.size(),
        };
        report.print(args.json)?;
    }
    wait_for_all(world);
    progress.finish();
    Ok(0)
}

/// What comes with the logits, of the whole rows. Every rank has all of it.
struct Inputs {
    targets: Vec<i32>,
    row_weights: Option<Vec<f32>>,
    class_weights: Option<Vec<f32>>,
}

impl Inputs {
    fn read(args: &VocabArgs, layout: &Layout) -> Result<Self, Failure> {
        let open = |path, wanted| TensorFile::open(path, &OpenOptions::of(wanted));
        let classes = open(&args.targets, Wanted::Classes)?;
        let row_weights = args.row_weights.as_ref().map(|path| open(path, Wanted::Values)).transpose()?;
        let class_weights = args.class_weights.as_ref().map(|path| open(path, Wanted::Values)).transpose()?;
        Ok(Self {
            targets: FileRows::targets(classes, layout, &[args.ignore_index])?.read_all()?,
            row_weights: row_weights
                .map(|file| FileRows::row_weights(file, layout)?.read_all())
                .transpose()?,
            class_weights: class_weights.map(|mut file| read_class_weights(&mut file, layout)).transpose()?,
        })
    }

    /// Those of some rows.
    fn inputs(&self, rows: std::ops::Range<usize>) -> CrossEntropyInputs<'_> {
        let inputs = CrossEntropyInputs::from(Targets::Classes(&self.targets[rows.clone()]));
        let inputs = match &self.row_weights {
            Some(weights) => inputs.row_weights(&weights[rows]),
            None => inputs,
        };
        CrossEntropyInputs { class_weights: self.class_weights.as_deref(), ..inputs }
    }
}

/// Adds the time that this takes.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *total += start.elapsed();
    done
}
