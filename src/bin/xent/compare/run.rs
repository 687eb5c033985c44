//! The run itself, and what it leaves if it does not come to its end.

use std::time::Instant;

use xent::eval::compare::{Comparator, ComparedRows, Comparison, ComparisonTally};
use xent::eval::files::FileLogits;
use xent::{ComparatorOptions, Element, Error, Result};

use super::inputs;
use super::job::CompareJob;
use super::report::{self, Found};
use crate::args::CompareArgs;
use crate::computer::Computer;
use crate::eval::is_of_the_device;
use crate::kept::{Identity, SharedKept};
use crate::memory::peak_resident_bytes;
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{bad_argument, complain};
use crate::places::Places;
use crate::progress::Progress;
use crate::stop::{check_stopped, or_stopped};

/// A run that is ready to begin or to continue.
pub struct Run<'a, E: Element> {
    pub args: &'a CompareArgs,
    pub options: ComparatorOptions,
    pub has_targets: bool,
    pub comparison: Comparison<'a, E>,
    pub kept: SharedKept<CompareJob>,
    /// Bytes per row in the files of both models.
    pub bytes_per_row: Option<f64>,
    pub computer: Computer,
    /// The files that are read, as they were when reading began.
    pub files: Identity,
    pub places: Places,
    /// What windows may take.
    pub memory: Option<u64>,
    /// What the report is of.
    pub origin: Origin,
}

impl<E: Element> Run<'_, E> {
    pub fn go(mut self, mut logits: [FileLogits<E>; 2]) -> Result<Outcome> {
        self.kept.leave_before_stop();
        let start = Instant::now();
        match self.pass(&mut logits).map_err(or_stopped) {
            Ok(()) => self.finish(start),
            Err(error) => Err(self.leave(error, start)),
        }
    }

    /// Runs from the first row not done to the end, or to an error.
    fn pass(&mut self, [base, other]: &mut [FileLogits<E>; 2]) -> Result<()> {
        let Self { comparison, kept, args, memory, .. } = self;
        let (shape, done, memory) = (comparison.shape(), comparison.rows_done(), *memory);
        let mut progress =
            Progress::new(shape.rows).with_rates(2 * shape.cols, self.bytes_per_row).resumed_at(done);
        let mut missing = args.run.stop_after.map(|rows| rows.saturating_sub(done));
        let each = |window: &ComparedRows<'_>| {
            check_stopped()?;
            if let Some(missing) = &mut missing {
                *missing = missing.checked_sub(window.rows.len()).ok_or(Error::Stopped)?;
            }
            kept.with(|kept| kept.add(|job| job.add(window)))?;
            progress.reach(window.rows.end);
            Ok(())
        };
        match &self.computer {
            Computer::Gpu { gpu, tuning, .. } => {
                let mut comparator = Comparator::<E>::new(gpu, &self.options)?;
                if let Some(tuning) = tuning {
                    comparator = comparator.with_tuning(*tuning)?;
                }
                comparison.run(&comparator, base, other, memory, each)
            }
            Computer::Cpu | Computer::Processor { .. } => comparison.run_on_cpu(base, other, memory, each),
        }
    }

    fn finish(self, start: Instant) -> Result<Outcome> {
        if let Some(difference) = inputs::files(self.args)?.difference(&self.files) {
            self.kept.end(|kept| {
                kept.discard();
                Ok(())
            })?;
            return Err(bad_argument("the input", format!("changed while it was read: {difference}")));
        }
        // All rows are done: if anything fails from here on, it can be repeated without reading them again.
        if let Err(error) = self.tell(start) {
            return Err(self.leave(error, start));
        }
        self.kept.end(|kept| kept.finish())?;
        Ok(Outcome::Done)
    }

    /// Draws the pictures, and prints the report.
    fn tell(&self, start: Instant) -> Result<()> {
        let tally = self.kept.with(|kept| Ok(kept.job.tally.clone()))?;
        let found = self.found(&tally, start);
        self.kept.with(|kept| report::draw(&mut kept.job.pictures, &found))?;
        report::print(&found, self.args.output.json)
    }

    /// Leaves what is needed to continue. If Ctrl-C or the device stopped the run, and not its files, this prints the
    /// results so far.
    fn leave(self, error: Error, start: Instant) -> Error {
        let left = self.kept.end(|kept| {
            let tally = kept.job.tally.clone();
            kept.leave();
            Ok(tally)
        });
        let is_stopped = matches!(error, Error::Stopped) || is_of_the_device(&error);
        if let (Ok(tally), true) = (left, is_stopped && self.comparison.rows_done() > 0) {
            if let Err(error) = report::print(&self.found(&tally, start), self.args.output.json) {
                complain(error.to_string());
            }
        }
        error
    }

    fn found<'f>(&'f self, tally: &'f ComparisonTally, start: Instant) -> Found<'f> {
        Found {
            tally,
            places: &self.places,
            rows_given: self.comparison.shape().rows,
            cols: self.comparison.shape().cols,
            has_targets: self.has_targets,
            as_llama_cpp: self.args.rows.llama_cpp,
            sequences: tally.sequence_length().map(|length| (tally.rows() as usize).div_ceil(length)),
            names: [&self.args.base, &self.args.other],
            adapter: self.computer.name(),
            seconds: start.elapsed().as_secs_f64(),
            peak_memory: peak_resident_bytes(),
            origin: &self.origin,
        }
    }
}
