//! `xent calibrate`: the temperature of held-out logits in files, and sets of classes that hold the right one.

mod report;
mod sets;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use xent::eval::calibrate::{Calibration, Calibrator, fit_on_cpu};
use xent::eval::files::{FileLogits, FileRows, Layout, OpenOptions, TensorFile, Wanted, is_llama_cpp};
use xent::eval::{Source, TargetSource};
use xent::{CalibratorOptions, Element, Result, Sequences};

use report::Found;
use sets::Scored;

use crate::args::{CalibrateArgs, OWN_TARGETS};
use crate::computer::Computer;
use crate::logits::{self, OnLogits, run_in};
use crate::memory;
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::bad_argument;
use crate::progress::Progress;
use crate::stop::check_stopped;

/// The most reads of a fit, for the progress.
const READS: usize = 4;

pub fn run(args: &CalibrateArgs) -> Result<Outcome> {
    if args.logits.is_stream() {
        return Err(bad_argument(
            "-",
            "stdin cannot be read more than once, and a calibration reads up to four times",
        ));
    }
    if args.targets.is_none() && args.logits.read.options().raw.is_some() {
        return Err(bad_argument(
            "--targets-key",
            "raw values have no names: --targets must name another file",
        ));
    }
    if args.targets.is_none() && args.targets_key.is_none() {
        match args.shift {
            None if args.logits.are_of_llama_cpp() => {}
            Some(_) if args.logits.are_of_llama_cpp() => return Err(bad_argument("--shift", OWN_TARGETS)),
            _ => return Err(bad_argument("--targets", "is needed, or --targets-key")),
        }
    }
    if let (Some(others), None, None) = (&args.others, &args.others_targets, &args.targets_key) {
        match args.shift {
            None if is_llama_cpp(others) => {}
            Some(_) if is_llama_cpp(others) => return Err(bad_argument("--shift", OWN_TARGETS)),
            _ => {
                return Err(bad_argument(
                    "--others-targets",
                    "is needed: --others does not hold its targets",
                ));
            }
        }
    }
    let file = logits::open(&args.logits)?;
    run_in(logits::dtype(&file), file, &args.logits.read, Run { args })
}

struct Run<'a> {
    args: &'a CalibrateArgs,
}

impl OnLogits for Run<'_> {
    fn run<E: Element>(self, mut logits: FileLogits<E>) -> Result<Outcome> {
        let args = self.args;
        let (layout, shape) = (logits.layout().clone(), logits.shape());
        let options = options(args, &layout);
        options.check()?;
        let paths = args.targets.as_ref().map_or(&args.logits.files[..], std::slice::from_ref);
        let mut targets = open_targets(args, paths, &layout)?;
        let origin = Origin::new(&inputs(args)?, &args.given)
            .describe("the logits", logits.file())
            .describe_beside(args.targets_key.as_deref());
        let computer = Computer::open(&args.device)?;
        let start = Instant::now();
        let calibration = fit(args, &computer, &options, &mut logits, &mut targets)?;
        let scored = Scored { args, computer: &computer, temperature: calibration.temperature };
        let conformal = args.coverage.map(|coverage| scored.fit(coverage, &mut logits, &mut targets));
        let conformal = conformal.transpose()?;
        let others = match (&conformal, &args.others) {
            (Some(conformal), Some(logits)) => {
                let targets = args.others_targets.as_ref().unwrap_or(logits);
                Some(scored.others(conformal, (logits, targets), shape.cols)?)
            }
            _ => None,
        };
        let found = Found {
            calibration: &calibration,
            conformal: conformal.as_ref(),
            others,
            cols: shape.cols,
            adapter: computer.name(),
            seconds: start.elapsed().as_secs_f64(),
            origin: &origin,
        };
        report::print(&found, args.json)?;
        Ok(Outcome::Done)
    }
}

/// The files that are read, each with its name in messages.
fn inputs(args: &CalibrateArgs) -> Result<Vec<(&'static str, PathBuf)>> {
    let logits = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path));
    Ok(logits.chain(args.targets.iter().map(|path| ("the targets", path.clone()))).collect())
}

fn options(args: &CalibrateArgs, layout: &Layout) -> CalibratorOptions {
    CalibratorOptions {
        ignore_index: args.ignore_index,
        softcap: args.softcap,
        sequences: sequences(args, layout),
        bins: args.bins,
    }
}

/// The sequences, if targets are shifted.
fn sequences(args: &CalibrateArgs, layout: &Layout) -> Option<Sequences> {
    let length = || args.sequence.unwrap_or_else(|| layout.sequence_length());
    args.shift.map(|shift| Sequences::shifted(length(), shift))
}

/// Opens the classes of the rows, in files of their own or in that of the logits.
fn open_targets(args: &CalibrateArgs, paths: &[PathBuf], layout: &Layout) -> Result<FileRows<i32>> {
    let options = OpenOptions { key: args.targets_key.clone(), ..OpenOptions::of(Wanted::Classes) };
    FileRows::targets(TensorFile::open_all(paths, &options)?, layout, &[args.ignore_index])
}

/// The memory that windows may take.
fn for_windows(args: &CalibrateArgs, computer: &Computer) -> Result<Option<u64>> {
    args.memory.map(|allowed| memory::for_windows(allowed, computer.reserve(false))).transpose()
}

fn fit<E: Element>(
    args: &CalibrateArgs,
    computer: &Computer,
    options: &CalibratorOptions,
    logits: &mut dyn Source<E>,
    targets: &mut FileRows<i32>,
) -> Result<Calibration> {
    let shape = logits.shape();
    let mut progress = Progress::new(READS * shape.rows).with_rates(shape.cols, None);
    let each = |read: usize, rows: Range<usize>| {
        check_stopped()?;
        progress.reach(read * shape.rows + rows.end);
        Ok(())
    };
    let memory = for_windows(args, computer)?;
    let inputs = TargetSource::Classes(targets);
    match computer {
        Computer::Gpu { gpu, tuning, .. } => {
            let mut calibrator = Calibrator::<E>::new(gpu, options)?;
            if let Some(tuning) = tuning {
                calibrator = calibrator.with_tuning(*tuning)?;
            }
            calibrator.fit(logits, inputs, memory, each)
        }
        Computer::Cpu | Computer::Processor { .. } => fit_on_cpu(options, logits, inputs, memory, each),
    }
}
