//! `xent eval`: the loss of logits in files.

mod csv;
mod drawn;
mod identity;
mod info_nce;
mod inputs;
mod job;
mod outputs;
mod parts;
mod run;
mod sequences;
mod temperatures;

use xent::eval::files::FileLogits;
use xent::eval::{EvaluateOptions, Source, Tally, TallyOptions, WholeFile};
use xent::{Element, Result};

use crate::args::{EvalArgs, Input, LossName};
use crate::changed::Logarithms;
use crate::choose::Asked;
use crate::computer::Computer;
use crate::dtype::Dtype;
use crate::kept::{self, Kept, SharedKept};
use crate::logits::{self, OnLogits, run_in};
use crate::losses::{self, AnyLoss};
use crate::memory;
use crate::merge::Stated;
use crate::names::Names;
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{check_distinct, complain};
use crate::pictures::Pictures;
use crate::places::Places;
pub use drawn::draw;
use inputs::Inputs;
use job::{EvalJob, EvalProgress, class_bytes};
use outputs::Wanted;
use run::Run;
pub use run::is_of_the_device;

pub fn run(args: &EvalArgs) -> Result<Outcome> {
    args.logits.check_kinds()?;
    args.check_loss()?;
    info_nce::check(args)?;
    temperatures::check(args)?;
    parts::check(args)?;
    // The checkpoint's name is not known yet, but its folder is.
    let place = args.run.checkpoint(&args.logits.files, "");
    let mut written = outputs::paths(&args.output);
    written.extend(args.part.state_out.as_deref());
    logits::check_beside(&args.logits, &written)?;
    written.push(&place);
    let mut read = inputs::paths(args)?;
    read.extend(args.device.input());
    check_distinct(&read, &written)?;
    outputs::check_names(&args.output)?;
    let has_streams = inputs::has_streams(args)?;
    if has_streams {
        args.run.check_stream()?;
    }
    if let Some(place) = args.run.named_checkpoint() {
        kept::check_place(place, None)?;
        WholeFile::check_place(place)?;
    }
    inputs::check_targets(args)?;
    let file = logits::open(&args.logits)?;
    args.check_format(&file)?;
    // Logarithms need more digits than 16 bits have.
    let dtype = if args.input == Input::Probs { Dtype::F32 } else { logits::dtype(&file) };
    run_in(dtype, file, &args.logits.read, args)
}

impl OnLogits for &EvalArgs {
    fn run<E: Element>(self, logits: FileLogits<E>) -> Result<Outcome> {
        run_on(self, logits)
    }
}

fn run_on<E: Element>(args: &EvalArgs, mut logits: FileLogits<E>) -> Result<Outcome> {
    if args.loss.name == LossName::InfoNce {
        return info_nce::run(args, logits);
    }
    let loss = AnyLoss::of(args, logits.file(), logits.layout());
    loss.check()?;
    if args.loss.score.temperature.len() > 1 {
        return temperatures::run(args, logits, loss);
    }
    let (shape, layout, dtype) = (logits.shape(), logits.layout().clone(), logits::dtype(logits.file()));
    let files = identity::files(args)?;
    let mut inputs = Inputs::<E>::open(args, &logits, loss)?;
    let origin = Origin::new(&inputs::read(args)?, &args.given)
        .describe("the logits", logits.file())
        .describe_beside(args.targets.targets_key.as_deref());
    let names = args.output.names.as_ref().map(|path| Names::open(path, shape.cols)).transpose()?;
    let late = inputs.late();
    let length = args.rows.sequence.unwrap_or_else(|| layout.sequence_length());
    let places = Places::new(losses::sequences(&args.rows, length), inputs.sequence_ends());
    let tallied = TallyOptions {
        sequence_length: places.longest(),
        rows: shape.rows,
        classes: if loss.name().has_classes() { shape.cols } else { 0 },
        worst_rows: args.output.worst,
        ..Default::default()
    };
    let part = args.part.part();
    let rows = parts::rows(args, shape, &places)?;
    let wanted = Wanted {
        args: &args.output,
        layout: parts::layout(&layout, &rows)?,
        dtype,
        places,
        has_classes: loss.name().has_classes(),
        rows: shape.rows,
        has_header: part.is_first(),
    };
    // Outputs that cannot be written are refused before a device is looked for.
    wanted.check()?;
    Pictures::check([&args.output.plot, &args.output.html, &args.part.state_out])?;

    let asked = Asked { logits: shape.len(), missing: loss.missing(&args.targets, shape) };
    let (computer, why) = Computer::open_for(&args.device, &asked)?;
    let dlogits = args.output.grad_out.is_some();
    let options = EvaluateOptions {
        verify_rows: args.output.verify,
        dlogits,
        check_shift: args.output.check_shift,
        memory: match (args.run.memory, args.run.windows) {
            (Some(allowed), _) => {
                let left = memory::for_windows(allowed, computer.reserve(dlogits))?;
                Some(left.saturating_sub(tallied.max_bytes()).max(1))
            }
            (None, windows) => windows.map(|windows| windows.0),
        },
    };
    let evaluation = inputs.evaluation(shape, &options);
    let mut evaluation = evaluation.map_err(|error| run::naming(late.as_deref(), error))?;
    evaluation.restrict(rows.clone())?;
    if let Some(allowed) = args.run.memory {
        let windows = evaluation.window_bytes(&computer, &logits);
        let windows = windows.map_err(|error| memory::too_small(allowed, error))?;
        let (allowed, windows) = (memory::shown(allowed.0), memory::shown(windows));
        complain(format!("memory: at most {allowed}, {windows} of it for windows"));
    }
    let identity = identity::of_run(args, &loss, &computer, &files);
    let stated = Stated { part, whole: identity::of_whole(args, &loss, &computer, &files), tallied };
    let run = identity.name();
    let files_of_logits = &args.logits.files;
    if let Some(outcome) = parts::done(args, &stated, &args.run.checkpoint(files_of_logits, &run))? {
        return Ok(outcome);
    }
    let mut keeper = match inputs::has_streams(args)? {
        true => Err(kept::FROM_A_PIPE.to_owned()),
        false => kept::keeper(&args.run, files_of_logits, &identity, class_bytes(tallied.classes))?,
    };
    let (outputs, tally) = match kept::begun(&mut keeper, &args.run, files_of_logits, rows.len(), &tallied)? {
        Some(EvalProgress { state, tally, written }) => {
            evaluation.resume(&state)?;
            (wanted.resume(&run, written, state.rows())?, tally)
        }
        None => (wanted.create(&run)?, Tally::new(&tallied)),
    };
    let pictures = Pictures::create(&args.output.plot, &args.output.html, &run)?;
    let state_out = args.part.state_out.as_ref().map(|path| WholeFile::create(path, &run)).transpose()?;
    let job = EvalJob { outputs, pictures, state_out, tally, state: evaluation.state().clone() };
    let kept = Kept::new(job, rows.len(), keeper);
    let bytes_per_row = inputs::bytes_per_row(args, shape.rows);
    let kept = SharedKept::new(kept);
    let run = Run {
        args,
        evaluation,
        kept,
        bytes_per_row,
        computer,
        asked,
        why,
        files,
        late,
        origin,
        names,
        stated,
    };
    match args.input {
        Input::Probs => run.go(&mut Logarithms(logits)),
        _ => run.go(&mut logits),
    }
}
