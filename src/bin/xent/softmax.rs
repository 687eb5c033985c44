//! `xent softmax`: the probabilities of logits in files.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use xent::eval::files::{FileLogits, partial_path};
use xent::eval::{Source, entmax, softmax};
use xent::reference::sigmoid_bce::ln_sigmoid;
use xent::{Element, Entmax, EntmaxOptions, Error, Result, Shape, Softmax, SoftmaxOptions, reference};

use crate::args::{SoftmaxArgs, logit};
use crate::changed::Masked;
use crate::choose::{self, with_reason};
use crate::computer::{Computer, start_threads};
use crate::dtype::Dtype;
use crate::logits::{self, OnLogits, run_in};
use crate::memory::{self, Reserve};
use crate::numbers::{decimals, si, thousands};
use crate::outcome::Outcome;
use crate::output::{FloatWriter, bad_argument, check_distinct, print};
use crate::progress::Progress;
use crate::report;
use crate::stop::{before_stop, check_stopped};
use crate::windows;

/// Part of the output's name until it is complete. It is always the same, so the next run reuses what a killed one has
/// left.
const RUN: &str = "softmax";

pub fn run(args: &SoftmaxArgs) -> Result<Outcome> {
    let Some(output) = &args.output else {
        return match numbers(args) {
            Some(logits) => print_probs(&logits?, args),
            None => Err(no_output(args)),
        };
    };
    let logits = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path));
    let mask = args.mask.iter().map(|path| ("the mask", path.clone()));
    let inputs: Vec<_> = logits.chain(mask).chain(args.device.input()).collect();
    check_distinct(&inputs, &[output])?;
    logits::check_beside(&args.logits, &[output])?;
    let file = logits::open(&args.logits)?;
    let dtype = logits::dtype(&file);
    let out = args.out_dtype.unwrap_or(dtype);
    // The operation's output has the type of its logits. If another type is wanted, the logits are widened to f32 first, and so
    // they are for a mask, which may be added.
    let computed = if dtype == out && args.mask.is_none() { dtype } else { Dtype::F32 };
    run_in(computed, file, &args.logits.read, Run { args, output, out })
}

/// Prints the probabilities of a row, one a line, or their logarithms.
fn print_probs(logits: &[f32], args: &SoftmaxArgs) -> Result<Outcome> {
    if let Some(flag) = args.given.other_than(&[
        "files",
        "log",
        "sigmoid",
        "sparsemax",
        "entmax",
        "softcap",
        "temperature",
        "masked_row",
    ]) {
        return Err(bad_argument(flag, "does not apply to numbers, which are the logits of one row"));
    }
    let values = Asked::of(args)?.row(logits);
    print(&values.into_iter().map(|value| decimals(value, 6) + "\n").collect::<String>())?;
    Ok(Outcome::Done)
}

/// What is asked for, with checked options.
#[derive(Clone, Copy)]
enum Asked {
    Softmax(SoftmaxOptions),
    LogSoftmax(SoftmaxOptions),
    Sigmoid(SoftmaxOptions),
    LogSigmoid(SoftmaxOptions),
    Entmax(EntmaxOptions),
}

impl Asked {
    fn of(args: &SoftmaxArgs) -> Result<Self> {
        if let Some(options) = args.entmax() {
            options.check()?;
            return Ok(Self::Entmax(options));
        }
        let options = args.score.softmax()?;
        options.check()?;
        Ok(match (args.sigmoid, args.log) {
            (true, true) => Self::LogSigmoid(options),
            (true, false) => Self::Sigmoid(options),
            (false, true) => Self::LogSoftmax(options),
            (false, false) => Self::Softmax(options),
        })
    }

    /// What the processor path lacks of it over logits of this shape, in words.
    fn missing(&self, shape: Shape) -> Option<String> {
        let missing = match self {
            Self::Entmax(_) => "entmax",
            Self::Softmax(options) | Self::LogSoftmax(options) if options.softcap.is_some() => "softcap",
            _ if shape.inner > 1 => "class axis but the last",
            _ => return None,
        };
        Some(missing.to_owned())
    }

    /// A row by the reference.
    fn row<E: Element>(&self, logits: &[E]) -> Vec<f64> {
        match self {
            Self::Softmax(options) => reference::softmax_row(logits, options),
            Self::LogSoftmax(options) => reference::log_softmax_row(logits, options),
            Self::Sigmoid(options) => of_each(logits, options, reference::sigmoid_bce::sigmoid),
            Self::LogSigmoid(options) => of_each(logits, options, ln_sigmoid),
            Self::Entmax(options) => reference::entmax_row(logits, options),
        }
    }
}

/// A function of each logit by itself, divided by the temperature.
fn of_each<E: Element>(logits: &[E], options: &SoftmaxOptions, of: fn(f64) -> f64) -> Vec<f64> {
    logits.iter().map(|logit| of(logit.to_f64() / f64::from(options.temperature))).collect()
}

/// The logits that are given as numbers, where no file has such a name.
fn numbers(args: &SoftmaxArgs) -> Option<Result<Vec<f32>>> {
    let text = |path: &'_ PathBuf| -> Option<String> {
        let text = path.to_str().filter(|text| text.parse::<f32>().is_ok() && !path.exists())?;
        Some(text.to_owned())
    };
    let texts: Vec<String> = args.logits.files.iter().map(text).collect::<Option<_>>()?;
    Some(texts.iter().map(|text| logit(text).map_err(|why| bad_argument(text, why))).collect())
}

/// Why nothing can be done without an output: these are files, or were meant as numbers.
fn no_output(args: &SoftmaxArgs) -> Error {
    let is_list = |path: &&PathBuf| {
        let text = path.to_string_lossy();
        let mut parts = text.split([',', ';', ' ']).map(str::trim).filter(|part| !part.is_empty());
        let is_number = |part: &str| part.parse::<f32>().is_ok();
        !path.exists() && !is_number(&text) && parts.all(is_number)
    };
    match args.logits.files.iter().find(is_list) {
        Some(list) if !list.as_os_str().is_empty() => {
            let why = "neither a file nor a number: logits of one row are written apart, as 2 1 0.5";
            bad_argument(list.display().to_string(), why)
        }
        _ => bad_argument("--output <FILE>", "is needed for the probabilities of files: -o probs.npy"),
    }
}

struct Run<'a> {
    args: &'a SoftmaxArgs,
    output: &'a Path,
    /// The output's type.
    out: Dtype,
}

impl OnLogits for Run<'_> {
    fn run<E: Element>(self, logits: FileLogits<E>) -> Result<Outcome> {
        run_on(self, logits)
    }
}

fn run_on<E: Element>(run: Run<'_>, logits: FileLogits<E>) -> Result<Outcome> {
    let Run { args, output, out } = run;
    let asked = Asked::of(args)?;
    let shape = logits.shape();
    let name = if args.log { "log_probs" } else { "probs" };
    let mut out = FloatWriter::open(output, (RUN, None), name, logits.layout().dims(), out)?;
    let partial = partial_path(output, RUN);
    before_stop(move || {
        let _ = std::fs::remove_file(partial);
        true
    });
    let mut logits: Box<dyn Source<E>> = match &args.mask {
        Some(mask) => Box::new(Masked::open(logits, mask)?),
        None => Box::new(logits),
    };
    let (computer, adapter) = match asked {
        // A sigmoid takes no more time than the file.
        Asked::Sigmoid(_) | Asked::LogSigmoid(_) => {
            start_threads()?;
            (Computer::Cpu, Computer::Cpu.name().to_owned())
        }
        _ => {
            let asked = choose::Asked { logits: shape.len(), missing: asked.missing(shape) };
            let (computer, why) = Computer::open_for(&args.device, &asked)?;
            let adapter = with_reason(computer.name(), &why);
            (computer, adapter)
        }
    };
    let start = Instant::now();
    let progress = Progress::new(shape.rows).with_rates(shape.cols, None);
    let mut sink = Sink { out: &mut out, progress };
    each_window(&computer, args, asked, &mut *logits, &mut sink)?;
    drop(sink);
    out.file.sync()?;
    let seconds = start.elapsed().as_secs_f64();
    report::print_lines(&[
        ("rows", thousands(shape.rows)),
        ("classes", thousands(shape.cols)),
        ("adapter", adapter),
        ("time", format!("{seconds:.3} s: {}", si(shape.len() as f64 / seconds, " logits/s"))),
    ])?;
    out.file.finish()?;
    Ok(Outcome::Done)
}

/// Where the probabilities go.
struct Sink<'a> {
    out: &'a mut FloatWriter,
    progress: Progress,
}

impl Sink<'_> {
    /// Takes the next window, in any type.
    fn take<E: Element>(&mut self, rows: Range<usize>, values: &[E]) -> Result<()> {
        check_stopped()?;
        self.out.write(values)?;
        self.progress.reach(rows.end);
        Ok(())
    }
}

/// Hands the (log-)probabilities of each window to the sink.
fn each_window<E: Element>(
    computer: &Computer,
    args: &SoftmaxArgs,
    asked: Asked,
    logits: &mut dyn Source<E>,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let shape = logits.shape();
    if let Computer::Gpu { gpu, tuning, .. } = computer {
        let memory = args.memory.map(|allowed| memory::for_windows(allowed, Reserve::Writes)).transpose()?;
        match asked {
            Asked::Entmax(options) => {
                let mut op = Entmax::<E>::new(gpu, &options)?;
                if let Some(tuning) = tuning {
                    op = op.with_tuning(*tuning)?;
                }
                return entmax(&op, logits, memory, |rows, values| sink.take(rows, values));
            }
            Asked::Softmax(options) | Asked::LogSoftmax(options) => {
                let mut op = Softmax::<E>::new(gpu, &options)?;
                if let Some(tuning) = tuning {
                    op = op.with_tuning(*tuning)?;
                }
                return softmax(&op, args.log, logits, memory, |rows, values| sink.take(rows, values));
            }
            Asked::Sigmoid(_) | Asked::LogSigmoid(_) => {}
        }
    }
    if let (Computer::Processor { cpu, .. }, Asked::Softmax(options) | Asked::LogSoftmax(options)) =
        (computer, asked)
    {
        let mut probs = Vec::new();
        return windows::each_window(logits, args.memory, |rows, read| {
            probs.resize(read.len(), 0.0);
            let shape = shape.with_rows(rows.len());
            match args.log {
                true => cpu.log_softmax_into(read, shape, &options, &mut probs)?,
                false => cpu.softmax_into(read, shape, &options, &mut probs)?,
            }
            sink.take(rows, &probs)
        });
    }
    let mut values = Vec::new();
    windows::each_window(logits, args.memory, |rows, read| {
        values.resize(read.len(), E::default());
        let groups = values.par_chunks_mut(shape.row_stride).zip(read.par_chunks(shape.row_stride));
        groups.for_each(|(into, logits)| {
            for slot in 0..shape.inner {
                let row: Vec<E> = logits[slot..].iter().step_by(shape.inner).copied().collect();
                let places = into[slot..].iter_mut().step_by(shape.inner);
                places.zip(asked.row(&row)).for_each(|(place, value)| {
                    *place = E::from_f32(value as f32);
                });
            }
        });
        sink.take(rows, &values)
    })
}
