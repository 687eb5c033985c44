//! The run itself, and what it leaves if it does not come to its end.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use xent::eval::{Report, Source, Tally};
use xent::{Element, Error, Result};

use super::job::EvalJob;
use super::{drawn, identity};
use crate::args::EvalArgs;
use crate::choose::Asked;
use crate::computer::Computer;
use crate::kept::{Identity, SharedKept};
use crate::losses::AnyEvaluation;
use crate::merge::{Stated, Told};
use crate::names::Names;
use crate::numbers::thousands;
use crate::origin::{KeptOrigin, Origin};
use crate::outcome::Outcome;
use crate::output::{bad_argument, complain};
use crate::progress::Progress;
use crate::report::{self, Summary};
use crate::stop::{check_stopped, or_stopped};

/// A run that is ready to begin or to continue.
pub struct Run<'a, E: Element> {
    pub args: &'a EvalArgs,
    pub evaluation: AnyEvaluation<'a, E>,
    pub kept: SharedKept<EvalJob>,
    /// Bytes per row in the files that are read window by window; `None` if the input is not files.
    pub bytes_per_row: Option<f64>,
    pub computer: Computer,
    /// What the computer was chosen for, and why this one.
    pub asked: Asked,
    pub why: String,
    /// The files that are read, as they were when reading began.
    pub files: Identity,
    /// The file whose values are only checked when they are used.
    pub late: Option<PathBuf>,
    /// What the report is of.
    pub origin: Origin,
    /// The names of the classes.
    pub names: Option<Names>,
    /// The part of the rows, and what goes into its state.
    pub stated: Stated,
}

impl<E: Element> Run<'_, E> {
    pub fn go(mut self, logits: &mut dyn Source<E>) -> Result<Outcome> {
        self.kept.leave_before_stop();
        let ended = match self.pass(logits) {
            // A device that was lost may be available again.
            Err(error) if is_of_the_device(&error) => {
                let rows = thousands(self.evaluation.state().rows());
                complain(format!("{error}; trying again from row {rows}"));
                Computer::open_for(&self.args.device, &self.asked).and_then(|(computer, why)| {
                    (self.computer, self.why) = (computer, why);
                    self.pass(logits)
                })
            }
            ended => ended,
        };
        match ended.map_err(or_stopped) {
            Ok(()) => self.finish(),
            Err(error) => {
                let late = self.late.clone();
                Err(naming(late.as_deref(), self.leave(error)))
            }
        }
    }

    /// Runs from the first row not done to the end, or to an error.
    fn pass(&mut self, logits: &mut dyn Source<E>) -> Result<()> {
        let Self { evaluation, kept, computer, args, .. } = self;
        let (shape, part) = (evaluation.shape(), evaluation.rows());
        let mut progress = Progress::new(part.len())
            .with_rates(shape.cols, self.bytes_per_row)
            .resumed_at(evaluation.state().rows());
        let mut missing = args.run.stop_after.map(|rows| rows.saturating_sub(evaluation.state().rows()));
        evaluation.run(computer, logits, |window| {
            // Stop before anything is done with the window: it will come again.
            check_stopped()?;
            if let Some(missing) = &mut missing {
                *missing = missing.checked_sub(window.rows.len()).ok_or(Error::Stopped)?;
            }
            kept.with(|kept| kept.add(|job| job.add(window)))?;
            progress.set_loss(kept.with(|kept| Ok(kept.job.tally.finite_mean()))?);
            progress.reach(window.rows.end - part.start);
            Ok(())
        })
    }

    fn finish(self) -> Result<Outcome> {
        if let Some(difference) = identity::files(self.args)?.difference(&self.files) {
            // The input that was read no longer exists, so no run can continue from here.
            self.kept.end(|kept| {
                kept.discard();
                Ok(())
            })?;
            return Err(bad_argument("the input", format!("changed while it was read: {difference}")));
        }
        // All rows are done: if anything fails from here on, it can be repeated without reading them again.
        let outcome = match self.tell() {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.leave(error)),
        };
        // Everything that may fail has been done. Results that were not verified replace no file. Results with bad rows do,
        // because those come from the input.
        self.kept.end(|kept| match outcome {
            Outcome::NotVerified => {
                kept.discard();
                Ok(())
            }
            _ => kept.finish(),
        })?;
        Ok(outcome)
    }

    /// Writes the outputs and the pictures to the disk, and prints the report.
    fn tell(&self) -> Result<Outcome> {
        let tally = self.kept.with(|kept| {
            kept.job.outputs.sync()?;
            Ok(kept.job.tally.clone())
        })?;
        let report = self.evaluation.report();
        let told = self.told();
        let summary = self.summary(&told, &report, &tally);
        self.kept.with(|kept| {
            if let Some(file) = &mut kept.job.state_out {
                let told = Told { origin: self.origin.kept(), ..told.clone() };
                self.stated.write(file, self.evaluation.state(), &tally, told)?;
            }
            drawn::draw(&mut kept.job.pictures, &summary, &identity::name(self.args), self.names.as_ref())
        })?;
        report::print(&summary, self.args.output.json, self.args.output.strict, &[])
    }

    /// Leaves what is needed to continue. If Ctrl-C or the device stopped the run, and not its files, this prints the
    /// results so far.
    fn leave(self, error: Error) -> Error {
        let left = self.kept.end(|kept| {
            let tally = kept.job.tally.clone();
            kept.leave();
            Ok(tally)
        });
        let is_stopped = matches!(error, Error::Stopped) || is_of_the_device(&error);
        if let (Ok(tally), true) = (left, is_stopped && self.evaluation.state().rows() > 0) {
            let report = self.evaluation.report();
            let told = self.told();
            let summary = self.summary(&told, &report, &tally);
            if let Err(error) = report::print(&summary, self.args.output.json, false, &[]) {
                complain(error.to_string());
            }
        }
        error
    }

    fn told(&self) -> Told {
        Told {
            name: identity::name(self.args),
            loss: self.evaluation.loss().facts(),
            adapter: self.computer.name().to_owned(),
            why: self.why.clone(),
            rows: self.evaluation.shape().rows,
            bytes_per_row: self.bytes_per_row,
            top_k: self.args.output.top_k.map(NonZero::get),
            text_bytes: self.args.output.bytes,
            origin: KeptOrigin::default(),
        }
    }

    fn summary<'s>(&'s self, told: &'s Told, report: &'s Report, tally: &'s Tally) -> Summary<'s> {
        let part = Some(self.stated.part).filter(|part| !part.is_whole());
        Summary { part, ..told.summary(report, tally, &self.origin) }
    }
}

/// Adds the path to an error of the file whose values are only checked when they are used; the library does not know it.
pub fn naming(late: Option<&Path>, error: Error) -> Error {
    match (late, &error) {
        (Some(path), Error::InvalidTarget { .. }) => {
            Error::File { path: path.display().to_string(), message: error.to_string() }
        }
        _ => error,
    }
}

/// Whether the device caused the error, so that the same run may get further another time.
pub fn is_of_the_device(error: &Error) -> bool {
    matches!(
        error,
        Error::Device { .. }
            | Error::DeviceLost { .. }
            | Error::Validation { .. }
            | Error::OutOfMemory { .. }
            | Error::Timeout { .. }
    )
}
