//! `xent eval`: the loss of logits in files.

mod checkpoint;
mod csv;
mod identity;
mod inputs;
mod keeper;
mod kept;
mod outputs;
mod page;
mod pictures;
mod places;
mod run;
mod sequences;

use xent::eval::files::FileLogits;
use xent::eval::{EvaluateOptions, Source, Tally, TallyOptions, WholeFile};
use xent::{Element, Result};

use crate::args::{EvalArgs, checkpoint_start};
use crate::computer::Computer;
use crate::logits::{self, OnLogits, run_in};
use crate::losses::AnyLoss;
use crate::memory;
use crate::numbers::thousands;
use crate::outcome::Outcome;
use crate::output::{bad_argument, check_distinct, complain, shown};
use checkpoint::{Checkpoint, Identity};
use inputs::Inputs;
use keeper::Keeper;
use kept::{Kept, SharedKept};
use outputs::Wanted;
use pictures::Pictures;
use places::Places;
use run::Run;

pub fn run(args: &EvalArgs) -> Result<Outcome> {
    args.check_loss()?;
    // The checkpoint's name is not known yet, but its folder is.
    let place = args.run.checkpoint(&args.logits.files, "");
    let mut written = outputs::paths(&args.output);
    logits::check_beside(&args.logits, &written)?;
    written.push(&place);
    check_distinct(&inputs::paths(args)?, &written)?;
    outputs::check_names(&args.output)?;
    if args.run.resume && args.logits.is_stdin() {
        return Err(bad_argument("--resume", "input from stdin cannot be read again"));
    }
    if let Some(place) = args.run.named_checkpoint().filter(|_| !args.logits.is_stdin()) {
        Checkpoint::check_place(place, None)?;
        WholeFile::check_place(place)?;
    }
    inputs::check_targets(args)?;
    let file = logits::open(&args.logits)?;
    run_in(logits::dtype(&file), file, args.logits.class_axis, args)
}

/// The keeper that writes the checkpoint of this run, or the reason why there can be no checkpoint. That is an error
/// only if the user asked for a checkpoint or for --resume.
fn keeper(args: &EvalArgs, run: &Identity, classes: usize) -> Result<Result<Keeper, String>> {
    if args.logits.is_stdin() {
        return Ok(Err("input from stdin cannot be read again, so the run cannot be resumed".to_owned()));
    }
    let place = args.run.checkpoint(&args.logits.files, &run.name());
    if args.run.named_checkpoint().is_none() && !args.run.resume {
        if let Err(error) = WholeFile::check_place(&place) {
            complain(format!("{error}; this run has no checkpoint unless --checkpoint gives a place for it"));
            return Ok(Err("the run has no checkpoint and cannot be resumed".to_owned()));
        }
    }
    Keeper::new(place, run.clone(), args.run.checkpoint_every, classes).map(Ok)
}

impl OnLogits for &EvalArgs {
    fn run<E: Element>(self, logits: FileLogits<E>) -> Result<Outcome> {
        run_on(self, logits)
    }
}

fn run_on<E: Element>(args: &EvalArgs, mut logits: FileLogits<E>) -> Result<Outcome> {
    let loss = AnyLoss::of(args, logits.layout());
    loss.check()?;
    let (shape, layout, dtype) = (logits.shape(), logits.layout().clone(), logits::dtype(logits.file()));
    let files = identity::files(args)?;
    let mut inputs = Inputs::<E>::open(args, &logits, loss)?;
    let late = inputs.late();
    let places = Places::new(args, &layout, inputs.sequence_ends());
    let tallied = TallyOptions {
        sequence_length: places.longest(),
        rows: shape.rows,
        classes: if loss.name().has_classes() { shape.cols } else { 0 },
        worst_rows: args.output.worst,
        ..Default::default()
    };
    let wanted = Wanted { args: &args.output, layout, dtype, places, has_classes: loss.name().has_classes() };
    // Outputs that cannot be written are refused before a device is looked for.
    wanted.check()?;
    Pictures::check(&args.output)?;

    let computer = Computer::open(&args.device)?;
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
    if let Some(allowed) = args.run.memory {
        let windows = evaluation.window_bytes(&computer, &logits);
        let windows = windows.map_err(|error| memory::too_small(allowed, error))?;
        let (allowed, windows) = (memory::shown(allowed.0), memory::shown(windows));
        complain(format!("memory: at most {allowed}, {windows} of it for windows"));
    }
    let identity = identity::of_run(args, &loss, &computer, &files);
    let run = identity.name();
    let mut keeper = keeper(args, &identity, tallied.classes)?;
    let (outputs, tally) = match &mut keeper {
        Ok(keeper) if args.run.resume && !keeper.died_early() => {
            let start = checkpoint_start(&args.logits.files);
            let Checkpoint { state, tally, written, .. } = keeper.load(&tallied, &start)?;
            evaluation.resume(&state)?;
            complain(format!(
                "continuing after {} of {} rows",
                thousands(state.rows()),
                thousands(shape.rows)
            ));
            (wanted.resume(&run, written, state.rows())?, tally)
        }
        keeper => {
            if args.run.resume {
                complain("the run died before its first checkpoint: it starts from the beginning");
            }
            if let Some(keeper) = keeper.as_mut().ok().filter(|keeper| keeper.place().exists()) {
                let place = shown(keeper.place());
                complain(format!(
                    "{place}: checkpoint of a stopped run; without --resume, this run starts from the beginning"
                ));
                keeper.forget();
            }
            (wanted.create(&run)?, Tally::new(&tallied))
        }
    };
    let pictures = Pictures::create(&args.output, &run)?;
    let kept = Kept::new((outputs, pictures), tally, *evaluation.state(), shape.rows, keeper);
    let bytes_per_row = inputs::bytes_per_row(args, shape.rows);
    let kept = SharedKept::new(kept);
    Run { args, evaluation, kept, bytes_per_row, computer, files, late }.go(&mut logits)
}
