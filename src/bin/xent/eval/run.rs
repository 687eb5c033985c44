//! The run itself, and what is left of one that does not come to its end.

use std::path::PathBuf;

use xent::eval::{Evaluation, Source};
use xent::{CrossEntropyOptions, Element, Error, Result};

use super::checkpoint::{self, Checkpoint, Identity};
use super::outputs::Outputs;
use crate::args::EvalArgs;
use crate::computer::Computer;
use crate::output::complain;
use crate::progress::{Progress, check_stopped};
use crate::report::thousands;
use crate::{Outcome, report};

/// A run, ready to begin or to go on.
pub struct Run<'a> {
    pub args: &'a EvalArgs,
    pub op: CrossEntropyOptions,
    pub evaluation: Evaluation<'a>,
    pub outputs: Outputs,
    /// Opens outputs again that were kept behind so many rows.
    pub outputs_again: &'a dyn Fn(usize) -> Result<Outputs>,
    pub computer: Computer,
    pub identity: Identity,
    /// Where the checkpoint goes.
    pub place: PathBuf,
    /// The file whose values only show when they are used.
    pub late: Option<PathBuf>,
}

impl Run<'_> {
    pub fn to_the_end<E: Element>(mut self, logits: &mut dyn Source<E>) -> Result<Outcome> {
        let mut ended = self.pass(logits);
        if let Err(error) = &ended
            && is_of_the_device(error)
        {
            // A device that was lost may be there again.
            let rows = self.evaluation.state().rows();
            complain(format!("{error}; once more, from row {} on", thousands(rows)));
            self.computer = Computer::open(&self.args.device)?;
            self.outputs.keep_partial()?;
            self.outputs = (self.outputs_again)(rows)?;
            ended = self.pass(logits);
        }
        match ended {
            Ok(()) => self.finish(),
            Err(error) if matches!(error, Error::Stopped) || is_of_the_device(&error) => self.leave(error),
            Err(error) => Err(self.naming_the_file(error)),
        }
    }

    /// From where it is to the end, or to an error.
    fn pass<E: Element>(&mut self, logits: &mut dyn Source<E>) -> Result<()> {
        let Self { evaluation, outputs, computer, op, args, .. } = self;
        let mut progress = Progress::new(evaluation.shape().rows);
        let mut missing = args.run.stop_after.map(|rows| rows.saturating_sub(evaluation.state().rows()));
        computer.run(evaluation, op, logits, |window| {
            check_stopped()?;
            if let Some(missing) = &mut missing {
                *missing = missing.checked_sub(window.rows.len()).ok_or(Error::Stopped)?;
            }
            outputs.write(window)?;
            progress.reach(window.rows.end)
        })
    }

    fn finish(self) -> Result<Outcome> {
        let Self { args, op, evaluation, mut outputs, computer, place, .. } = self;
        outputs.flush()?;
        let outcome = report::print(&evaluation.report(), &op, computer.name(), args.output.json, &[])?;
        // Whatever may fail has been done. Results that are not what they should be replace nothing.
        if matches!(outcome, Outcome::Done) {
            outputs.finish()?;
            if args.run.resume {
                checkpoint::remove(&place);
            }
        }
        Ok(outcome)
    }

    /// Says what there is so far, and leaves what is needed to go on.
    fn leave(self, error: Error) -> Result<Outcome> {
        let Self { args, op, evaluation, outputs, computer, identity, place, .. } = self;
        let (state, rows) = (*evaluation.state(), evaluation.shape().rows);
        if state.rows() == 0 {
            return Err(error);
        }
        report::print(&evaluation.report(), &op, computer.name(), args.output.json, &[])?;
        let so_far = format!("after {} of {} rows", thousands(state.rows()), thousands(rows));
        if args.logits.is_stdin() {
            complain(format!("{so_far}; what came through stdin is gone, and cannot be resumed"));
        } else {
            outputs.keep_partial()?;
            Checkpoint::new(identity, state).save(&place)?;
            complain(format!("{so_far}; the same with --resume goes on from {}", place.display()));
        }
        Err(error)
    }

    /// The library knows no file.
    fn naming_the_file(&self, error: Error) -> Error {
        match (&self.late, &error) {
            (Some(path), Error::InvalidTarget { .. }) => {
                Error::File { path: path.display().to_string(), message: error.to_string() }
            }
            _ => error,
        }
    }
}

/// Whether the device is to blame, so that the same run may come further another time.
fn is_of_the_device(error: &Error) -> bool {
    matches!(
        error,
        Error::Device { .. } | Error::Validation { .. } | Error::OutOfMemory { .. } | Error::Timeout { .. }
    )
}
