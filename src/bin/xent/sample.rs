//! `xent sample`: tokens drawn from logits in files.

use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;
use xent::eval::Source;
use xent::eval::files::{FileLogits, TensorValue, TensorWriter, partial_path};
use xent::reference::sampling::sample_changed_row;
use xent::{
    Element, Flags, NO_CLASS, Result, Sampler, SamplerOptions, SamplerStream, Samples, Sampling,
    ScoreChanges, Shape,
};

use crate::args::SampleArgs;
use crate::computer::Computer;
use crate::logits::{self, OnLogits, run_in};
use crate::outcome::Outcome;
use crate::output::{bad_argument, check_distinct, complain, one_line, print};
use crate::progress::Progress;
use crate::stop::{before_stop, check_stopped};

/// Part of the output's name until it is complete.
const RUN: &str = "sample";
/// Bytes of logits that are read at a time.
const WINDOW_BYTES: usize = 16 << 20;

pub fn run(args: &SampleArgs) -> Result<Outcome> {
    if let Some(output) = &args.output {
        let paths = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path));
        check_distinct(&paths.chain(args.device.input()).collect::<Vec<_>>(), &[output])?;
        logits::check_beside(&args.logits, &[output])?;
    }
    let file = logits::open(&args.logits)?;
    let dtype = logits::dtype(&file);
    run_in(dtype, file, &args.logits.read, Run(args))
}

struct Run<'a>(&'a SampleArgs);

impl OnLogits for Run<'_> {
    fn run<E: Element>(self, mut logits: FileLogits<E>) -> Result<Outcome> {
        let (args, shape) = (self.0, logits.shape());
        let (options, sampling) = (args.options(), args.sampling());
        options.check()?;
        sampling.check()?;
        let changes = args.changes();
        changes.iter().try_for_each(|changes| changes.check(shape.cols))?;
        let dims = [&logits.layout().row_dims()[..], &[options.samples]].concat();
        let mut to = match &args.output {
            Some(path) => To::file(path, &dims)?,
            None => To::Terminal(names(args.names.as_deref(), shape.cols)?),
        };
        let computer = Computer::open(&args.device)?;
        let mut drawer = Drawer::new(&computer, options, sampling, changes, shape)?;
        let step = (WINDOW_BYTES / size_of::<E>() / shape.row_stride).max(1) * shape.inner;
        let step = step.min(drawer.most_rows()).max(shape.inner);
        let mut values = Vec::new();
        let mut without = Flags::empty();
        // A table on the terminal is its own progress.
        let mut progress =
            args.output.as_ref().map(|_| Progress::new(shape.rows).with_rates(shape.cols, None));
        to.begin()?;
        for first in (0..shape.rows).step_by(step) {
            check_stopped()?;
            let rows = first..shape.rows.min(first + step);
            values.resize(shape.with_rows(rows.len()).len(), E::default());
            logits.read_rows(rows.clone(), &mut values)?;
            let drawn = drawer.draw(&values, rows.clone())?;
            for (row, drawn) in rows.clone().zip(&drawn) {
                without |= drawn.flags;
                to.write(row, drawn)?;
            }
            if let Some(progress) = &mut progress {
                progress.reach(rows.end);
            }
        }
        drop(progress);
        to.finish()?;
        if !without.is_empty() {
            let why: Vec<_> = without.names().collect();
            complain(format!("some rows have no token: {}", why.join(", ")));
        }
        Ok(Outcome::Done)
    }
}

/// What was drawn from a row.
struct Drawn {
    tokens: Vec<u32>,
    log_probs: Vec<f64>,
    raw_log_probs: Vec<f64>,
    kept: u32,
    flags: Flags,
}

/// Draws from windows of rows, on the device or with the reference.
enum Drawer<'a, E: Element> {
    Gpu(Box<SamplerStream<E>>, Sampling),
    /// Of logits that are changed first.
    Changed(Box<Sampler<E>>, Sampling, ScoreChanges<'a>, Shape),
    Cpu(SamplerOptions, Sampling, ScoreChanges<'a>, Shape),
}

impl<'a, E: Element> Drawer<'a, E> {
    fn new(
        computer: &Computer,
        options: SamplerOptions,
        sampling: Sampling,
        changes: Option<ScoreChanges<'a>>,
        shape: Shape,
    ) -> Result<Self> {
        let Computer::Gpu { gpu, tuning, .. } = computer else {
            return Ok(Self::Cpu(options, sampling, changes.unwrap_or_default(), shape));
        };
        let mut op = Sampler::<E>::new(gpu, &options)?;
        if let Some(tuning) = tuning {
            op = op.with_tuning(*tuning)?;
        }
        Ok(match changes {
            None => Self::Gpu(Box::new(op.stream(shape)?), sampling),
            Some(changes) => Self::Changed(Box::new(op), sampling, changes, shape),
        })
    }

    fn most_rows(&self) -> usize {
        match self {
            Self::Gpu(stream, _) => stream.window_rows(),
            Self::Changed(..) | Self::Cpu(..) => usize::MAX,
        }
    }

    fn draw(&mut self, logits: &[E], rows: std::ops::Range<usize>) -> Result<Vec<Drawn>> {
        let from = |sampling: &Sampling, row: usize| Sampling {
            counter: sampling.counter.wrapping_add(row as u64),
            ..*sampling
        };
        match self {
            Self::Gpu(stream, sampling) => {
                let found = stream.push(logits, &[*sampling], rows.len()).wait()?;
                Ok((0..rows.len()).map(|row| Drawn::of(&found, row)).collect())
            }
            Self::Changed(op, sampling, changes, shape) => {
                let (first, window) = ([from(sampling, rows.start)], shape.with_rows(rows.len()));
                let found = op.sample_changed(logits, &first, &[*changes], window).wait()?;
                Ok((0..rows.len()).map(|row| Drawn::of(&found, row)).collect())
            }
            Self::Cpu(options, sampling, changes, shape) => {
                let window = shape.with_rows(rows.len());
                let of_row = |row: usize| {
                    let values: Vec<E> = window.row(logits, row).copied().collect();
                    let sampling = from(sampling, rows.start + row);
                    let found = sample_changed_row(&values, changes, &sampling, options);
                    Drawn {
                        tokens: found.tokens,
                        log_probs: found.log_probs,
                        raw_log_probs: found.raw_log_probs,
                        kept: found.kept,
                        flags: found.flags,
                    }
                };
                Ok((0..rows.len()).into_par_iter().map(of_row).collect())
            }
        }
    }
}

impl Drawn {
    fn of(found: &Samples, row: usize) -> Self {
        let n = found.samples;
        let floats = |values: &[f32]| values[row * n..][..n].iter().copied().map(f64::from).collect();
        Self {
            tokens: found.row(row).to_vec(),
            log_probs: floats(&found.log_probs),
            raw_log_probs: floats(&found.raw_log_probs),
            kept: found.kept[row],
            flags: found.flags[row],
        }
    }
}

/// Where the tokens go.
enum To {
    File(TensorWriter),
    /// A table, with the names of the classes.
    Terminal(Option<Vec<String>>),
}

impl To {
    fn file(path: &Path, dims: &[usize]) -> Result<Self> {
        let file = TensorWriter::create(path, RUN, "tokens", u32::DTYPE, dims)?;
        let partial = partial_path(path, RUN);
        before_stop(move || {
            let _ = std::fs::remove_file(partial);
            true
        });
        Ok(Self::File(file))
    }

    fn begin(&self) -> Result<()> {
        match self {
            Self::File(_) => Ok(()),
            Self::Terminal(_) => {
                print(&format!("{:>8}  {:>8}  {:>8}  {:>9}  token\n", "row", "left", "p", "raw ln p"))
            }
        }
    }

    fn write(&mut self, row: usize, drawn: &Drawn) -> Result<()> {
        let names = match self {
            Self::File(file) => return file.write(&drawn.tokens),
            Self::Terminal(names) => names,
        };
        let mut lines = String::new();
        for (at, &token) in drawn.tokens.iter().enumerate() {
            let name = match names {
                _ if token == NO_CLASS => "-".to_owned(),
                Some(names) => one_line(&names[token as usize]),
                None => token.to_string(),
            };
            let (p, raw) = (drawn.log_probs[at].exp(), drawn.raw_log_probs[at]);
            let _ = writeln!(lines, "{row:>8}  {:>8}  {p:>8.5}  {raw:>9.4}  {name}", drawn.kept);
        }
        print(&lines)
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::File(file) => file.finish(),
            Self::Terminal(_) => Ok(()),
        }
    }
}

/// The names of the classes, one to a line.
fn names(path: Option<&Path>, cols: usize) -> Result<Option<Vec<String>>> {
    let Some(path) = path else { return Ok(None) };
    let bad = |message: String| bad_argument(path.display().to_string(), message);
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    if names.len() < cols {
        return Err(bad(format!("has {} lines; the logits have {cols} classes", names.len())));
    }
    Ok(Some(names))
}
