//! `xent compare`: two models on the same rows.

mod csv;
mod inputs;
mod job;
mod llama_cpp;
mod report;
mod run;
mod saved;

use std::path::PathBuf;

use xent::eval::compare::{Comparison, ComparisonTally};
use xent::eval::files::{FileLogits, Layout, TensorFile};
use xent::eval::{Source, WholeFile};
use xent::{ComparatorOptions, Element, Result, Sequences};

use csv::CsvWriter;
use inputs::{Inputs, MEMORY_OF_TALLY};
use job::{CompareJob, CompareProgress, TallyOptions};
use run::Run;

use crate::args::CompareArgs;
use crate::computer::Computer;
use crate::kept::{self, Identity, Kept, SharedKept};
use crate::logits::{self, OnLogits, run_in};
use crate::memory;
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{bad_argument, check_distinct, complain};
use crate::pictures::{Pictures, check_ending};
use crate::places::Places;

pub fn run(args: &CompareArgs) -> Result<Outcome> {
    if saved::are_reports(args) {
        return saved::run(args);
    }
    inputs::check(args)?;
    // The checkpoint's name is not known yet, but its folder is.
    let place = args.run.checkpoint(&bases(args), "");
    let output = &args.output;
    let mut written: Vec<_> =
        [&output.rows_out, &output.plot, &output.html].into_iter().flatten().map(PathBuf::as_path).collect();
    written.push(&place);
    let mut read = inputs::paths(args)?;
    read.extend(args.device.input());
    check_distinct(&read, &written)?;
    for (path, endings) in
        [(&output.rows_out, &["csv"][..]), (&output.plot, &["svg"]), (&output.html, &["html", "htm"])]
    {
        path.as_ref().map_or(Ok(()), |path| check_ending(path, endings))?;
    }
    if let Some(place) = args.run.named_checkpoint() {
        kept::check_place(place, None)?;
        WholeFile::check_place(place)?;
    }
    let [base, other] = inputs::open(args)?;
    inputs::check_targets(args, &base)?;
    // What is not of one type is widened to f32.
    let dtype = match (logits::dtype(&base), logits::dtype(&other)) {
        (of_base, of_other) if of_base == of_other => of_base,
        _ => crate::dtype::Dtype::F32,
    };
    run_in(dtype, base, &args.read, Compare { args, other })
}

/// The log-probability above which llama.cpp counts a class in its KL (`tools/perplexity/perplexity.cpp`).
const LLAMA_CPP_FLOOR: f32 = -16.0;

/// The files after which a checkpoint is named.
fn bases(args: &CompareArgs) -> Vec<PathBuf> {
    vec![args.base.clone()]
}

fn options(args: &CompareArgs, layout: &Layout, files: [&TensorFile; 2]) -> ComparatorOptions {
    let rows = &args.rows;
    // With a temperature, what llama.cpp has saved is taken as logits.
    let log_probs = files.map(|file| file.is_llama_cpp() && rows.temperature == 1.0);
    let length = rows.sequence.unwrap_or_else(|| layout.sequence_length());
    ComparatorOptions {
        ignore_index: rows.ignore_index.first().copied().unwrap_or(-100),
        temperature: rows.temperature,
        sequences: rows.shift.map(|shift| Sequences::shifted(length, shift)),
        top_k: rows.top_k,
        log_probs,
        kl_floor: rows.llama_cpp.then_some(LLAMA_CPP_FLOOR),
    }
}

struct Compare<'a> {
    args: &'a CompareArgs,
    other: TensorFile,
}

impl OnLogits for Compare<'_> {
    fn run<E: Element>(self, base: FileLogits<E>) -> Result<Outcome> {
        let args = self.args;
        let other = inputs::like(self.other, &base, args)?;
        let layout = base.layout().clone();
        let (shape, options) = (base.shape(), options(args, &layout, [base.file(), other.file()]));
        options.check()?;
        inputs::check_tokens(args, base.file(), other.file())?;
        let files = inputs::files(args)?;
        let mut inputs = Inputs::open(args, &base)?;
        let origin = Origin::new(&inputs::paths(args)?, &args.given)
            .describe("the base", base.file())
            .describe("the other", other.file())
            .describe_beside(args.rows.targets_key.as_deref());
        let has_targets = inputs::has_targets(args, base.file());
        let length = args.rows.sequence.unwrap_or_else(|| layout.sequence_length());
        let places = Places::new(options.sequences.unwrap_or(Sequences::new(length)), None);
        let output = &args.output;
        output.rows_out.as_ref().map_or(Ok(()), |path| WholeFile::check_place(path))?;
        Pictures::check([&output.plot, &output.html])?;

        let computer = Computer::open(&args.device)?;
        let mut comparison = match inputs.for_rows() {
            Some(inputs) => Comparison::<E>::new(&options, shape, inputs)?,
            None => Comparison::without_targets(&options, shape)?,
        };
        let memory = match (args.run.memory, args.run.windows) {
            (Some(allowed), _) => {
                let left = memory::for_windows(allowed, computer.reserve(false))?;
                Some(left.saturating_sub(MEMORY_OF_TALLY).max(1))
            }
            (None, windows) => windows.map(|windows| windows.0),
        };
        if let Some(allowed) = args.run.memory {
            let sources: [&dyn Source<E>; 2] = [&base, &other];
            let windows = match &computer {
                Computer::Gpu { gpu, .. } => comparison.window_bytes(gpu, sources, memory),
                Computer::Cpu | Computer::Processor { .. } => comparison.window_bytes_on_cpu(sources, memory),
            };
            let windows = windows.map_err(|error| memory::too_small(allowed, error))?;
            let (allowed, windows) = (memory::shown(allowed.0), memory::shown(windows));
            complain(format!("memory: at most {allowed}, {windows} of it for windows"));
        }
        let identity = identity(args, &options, &computer).and(&files);
        let (run, bases) = (identity.name(), bases(args));
        let mut keeper = match inputs::has_streams(args)? {
            true => Err(kept::FROM_A_PIPE.to_owned()),
            false => kept::keeper(&args.run, &bases, &identity, job::MORE_BYTES)?,
        };
        let tallied = TallyOptions { top_k: options.top_k.min(shape.cols), changed: output.changed };
        let begun = kept::begun(&mut keeper, &args.run, &bases, shape.rows, &tallied)?;
        let table = |part| {
            let open = |path: &PathBuf| CsvWriter::open(path, places.clone(), (&run, part));
            output.rows_out.as_ref().map(open).transpose()
        };
        let (tally, table) = match begun {
            Some(CompareProgress { tally, written }) => {
                let rows = tally.rows() as usize;
                comparison.resume(rows)?;
                if written.is_some() != output.rows_out.is_some() {
                    return Err(bad_argument("the checkpoint", "its parts do not belong to one run"));
                }
                (tally, table(written.map(|part| (part, rows == shape.rows)))?)
            }
            None => {
                let tally = ComparisonTally::new(tallied.top_k, tallied.changed);
                // llama.cpp takes all rows as independent.
                let is_of_sequences = length < shape.rows && !args.rows.llama_cpp;
                (if is_of_sequences { tally.of_sequences(length) } else { tally }, table(None)?)
            }
        };
        let pictures = Pictures::create(&output.plot, &output.html, &run)?;
        let kept = SharedKept::new(Kept::new(CompareJob::new(table, pictures, tally), shape.rows, keeper));
        let bytes_per_row = inputs::bytes_per_row(args, shape.rows);
        Run {
            args,
            options,
            has_targets,
            comparison,
            kept,
            bytes_per_row,
            computer,
            files,
            places,
            memory,
            origin,
        }
        .go([base, other])
    }
}

/// Everything on which a digit of the results, or a byte of the outputs, can depend, but the files.
fn identity(args: &CompareArgs, options: &ComparatorOptions, computer: &Computer) -> Identity {
    let mut run = Identity::of(&args.given);
    run.add("the command", "compare");
    run.add("the version of xent", env!("CARGO_PKG_VERSION"));
    run.add("the adapter", computer.identity());
    run.add("the options", format!("{options:?}"));
    run.add("the layout of the logits", args.read.identity());
    run.add("--other-key", format!("{:?}", args.other_key));
    run.add("--targets-key", format!("{:?}", args.rows.targets_key));
    run.add("--ignore-index", format!("{:?}", args.rows.ignore_index));
    run.add("--sequence", format!("{:?}", args.rows.sequence));
    run.add("--changed", args.output.changed);
    let outputs = [&args.output.rows_out, &args.output.plot, &args.output.html];
    run.add("the list of outputs", format!("{outputs:?}"));
    run
}
