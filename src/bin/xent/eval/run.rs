//! The run itself, and what is left of one that does not come to its end.

use std::path::{Path, PathBuf};

use xent::eval::{Evaluation, Report, Source, Tally};
use xent::{CrossEntropyOptions, Element, Error, Result};

use super::checkpoint::{self, Checkpoint, Identity};
use super::outputs::Outputs;
use super::pictures::Pictures;
use crate::Outcome;
use crate::args::EvalArgs;
use crate::computer::Computer;
use crate::memory::peak_resident_bytes;
use crate::output::{bad_argument, complain, shown};
use crate::progress::{Progress, check_stopped};
use crate::report::{self, Summary, thousands};

/// A run, ready to begin or to go on.
pub struct Run<'a> {
    pub args: &'a EvalArgs,
    pub op: CrossEntropyOptions,
    pub evaluation: Evaluation<'a>,
    pub tally: Tally,
    pub outputs: Outputs,
    pub pictures: Pictures,
    /// Bytes of a row in the files that are read window by window, if they are files.
    pub bytes_per_row: Option<f64>,
    pub computer: Computer,
    pub identity: Identity,
    /// The files that are read, as they were when that began.
    pub files: Identity,
    /// Where the checkpoint goes.
    pub place: PathBuf,
    /// The file whose values only show when they are used.
    pub late: Option<PathBuf>,
}

impl Run<'_> {
    pub fn go<E: Element>(mut self, logits: &mut dyn Source<E>) -> Result<Outcome> {
        let ended = match self.pass(logits) {
            // A device that was lost may be there again.
            Err(error) if is_of_the_device(&error) => {
                let rows = thousands(self.evaluation.state().rows());
                complain(format!("{error}; once more, from row {rows} on"));
                self.computer = Computer::open(&self.args.device)?;
                self.pass(logits)
            }
            ended => ended,
        };
        match ended {
            Ok(()) => self.finish(),
            Err(error) if matches!(error, Error::Stopped) || is_of_the_device(&error) => self.leave(error),
            Err(error) => Err(naming(self.late.as_deref(), error)),
        }
    }

    /// From where it is to the end, or to an error.
    fn pass<E: Element>(&mut self, logits: &mut dyn Source<E>) -> Result<()> {
        let Self { evaluation, tally, outputs, computer, op, args, .. } = self;
        let shape = evaluation.shape();
        let mut progress = Progress::new(shape.rows)
            .with_rates(shape.cols, self.bytes_per_row)
            .resumed_at(evaluation.state().rows());
        let mut missing = args.run.stop_after.map(|rows| rows.saturating_sub(evaluation.state().rows()));
        computer.run(evaluation, op, logits, |window| {
            // Before anything is done with the window: it will come again.
            check_stopped()?;
            if let Some(missing) = &mut missing {
                *missing = missing.checked_sub(window.rows.len()).ok_or(Error::Stopped)?;
            }
            outputs.write(window)?;
            tally.add(window);
            progress.reach(window.rows.end);
            Ok(())
        })
    }

    fn finish(mut self) -> Result<Outcome> {
        if let Some(difference) = super::files(self.args)?.difference(&self.files) {
            return Err(bad_argument("the input", format!("changed while it was read: {difference}")));
        }
        self.outputs.flush()?;
        let mut pictures = std::mem::take(&mut self.pictures);
        let report = self.evaluation.report();
        let summary = self.summary(&report);
        pictures.draw(&summary, &super::name(self.args))?;
        let outcome = report::print(&summary, self.args.output.json, self.args.output.strict, &[])?;
        // Whatever may fail has been done. Results that are not what they should be replace nothing; of bad rows, which are
        // the input's, they tell.
        if !matches!(outcome, Outcome::NotVerified) {
            self.outputs.finish()?;
            pictures.finish()?;
            if self.args.run.resume {
                checkpoint::remove(&self.place);
            }
        }
        Ok(outcome)
    }

    /// Says what there is so far, and leaves what is needed to go on.
    fn leave(self, error: Error) -> Result<Outcome> {
        let (state, rows) = (*self.evaluation.state(), self.evaluation.shape().rows);
        if state.rows() == 0 {
            return Err(error);
        }
        let report = self.evaluation.report();
        report::print(&self.summary(&report), self.args.output.json, false, &[])?;
        let so_far = format!("after {} of {} rows", thousands(state.rows()), thousands(rows));
        if self.args.logits.is_stdin() {
            complain(format!("{so_far}; what came through stdin is gone, and cannot be resumed"));
        } else {
            let written = self.outputs.keep_partial(&self.identity.name())?;
            match Checkpoint::new(self.identity, state, self.tally, written).save(&self.place) {
                Ok(()) => {
                    complain(format!("{so_far}; the same with --resume goes on from {}", shown(&self.place)));
                }
                Err(refused) => complain(format!("{so_far}, which cannot be resumed: {refused}")),
            }
        }
        Err(error)
    }

    fn summary<'s>(&'s self, report: &'s Report) -> Summary<'s> {
        let rows = report.loss.rows;
        Summary {
            report,
            tally: &self.tally,
            op: &self.op,
            adapter: self.computer.name(),
            rows_given: self.evaluation.shape().rows,
            bytes_read: self.bytes_per_row.map(|bytes| (bytes * rows as f64).round() as u64),
            peak_memory: peak_resident_bytes(),
        }
    }
}

/// The library knows no file: this is the one whose values only show when they are used.
pub fn naming(late: Option<&Path>, error: Error) -> Error {
    match (late, &error) {
        (Some(path), Error::InvalidTarget { .. }) => {
            Error::File { path: path.display().to_string(), message: error.to_string() }
        }
        _ => error,
    }
}

/// Whether the device is to blame, so that the same run may come further another time.
fn is_of_the_device(error: &Error) -> bool {
    matches!(
        error,
        Error::Device { .. }
            | Error::DeviceLost { .. }
            | Error::Validation { .. }
            | Error::OutOfMemory { .. }
            | Error::Timeout { .. }
    )
}
