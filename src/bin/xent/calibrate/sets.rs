//! Sets of classes that hold the right one: their threshold, and what they are worth on other rows.

use std::path::PathBuf;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use xent::eval::calibrate::{Conformal, ConformalScore, Coverage};
use xent::eval::files::{FileLogits, FileRows};
use xent::eval::{EvaluateInputs, EvaluateOptions, Evaluation, Source, TargetSource};
use xent::reference::softmax_row;
use xent::{
    CrossEntropyOptions, Element, Error, MAX_TOP_K, Result, RowFields, RowResult, SoftmaxOptions, TopKOptions,
};

use super::{for_windows, open_targets, sequences};
use crate::args::CalibrateArgs;
use crate::computer::Computer;
use crate::logits::{self, OnLogits, note_narrowing, run_in};
use crate::losses::AnyEvaluation;
use crate::outcome::Outcome;
use crate::stop::check_stopped;
use crate::{topk, windows};

/// Rows that are scored at a temperature.
#[derive(Clone, Copy)]
pub struct Scored<'a> {
    pub args: &'a CalibrateArgs,
    pub computer: &'a Computer,
    pub temperature: f64,
}

impl Scored<'_> {
    /// The threshold for this coverage, from the scores of held-out rows.
    pub fn fit<E: Element>(
        &self,
        coverage: (u64, u64),
        logits: &mut FileLogits<E>,
        targets: &mut FileRows<i32>,
    ) -> Result<Conformal> {
        let score = ConformalScore::from(self.args.score);
        let mut scores = Vec::new();
        self.results(logits, targets, |result| scores.extend(score.of(result)))?;
        let fitted = Conformal::fit(score, coverage, scores)?;
        Ok(if self.args.keep_top { fitted.keeping_top() } else { fitted })
    }

    /// Counts the sets of other rows, in a file of logits and one of targets.
    pub fn others(
        &self,
        conformal: &Conformal,
        (path, targets): (&PathBuf, &PathBuf),
        cols: usize,
    ) -> Result<Coverage> {
        let file = xent::eval::files::TensorFile::open(path, &self.args.logits.read.options())?;
        let file = note_narrowing("logits", file);
        let mut counted = Coverage::default();
        let run = Others { scored: *self, conformal, targets, cols, counted: &mut counted };
        run_in(logits::dtype(&file), file, &self.args.logits.read, run)?;
        Ok(counted)
    }

    /// Passes the results of all rows to `each`.
    fn results<E: Element>(
        &self,
        logits: &mut FileLogits<E>,
        targets: &mut FileRows<i32>,
        mut each: impl FnMut(&RowResult),
    ) -> Result<()> {
        let args = self.args;
        let op = CrossEntropyOptions {
            ignore_index: args.ignore_index,
            softcap: args.softcap,
            temperature: self.temperature as f32,
            sequences: sequences(args, logits.layout()),
            row_fields: RowFields::default() | RowFields::RANK | ConformalScore::FIELDS,
            ..Default::default()
        };
        let options = EvaluateOptions { memory: for_windows(args, self.computer)?, ..Default::default() };
        let inputs = EvaluateInputs::from(TargetSource::Classes(targets));
        let evaluation = Evaluation::new(&op, logits.shape(), inputs, &options)?;
        AnyEvaluation::CrossEntropy(op, evaluation).run(self.computer, logits, |window| {
            check_stopped()?;
            window.results.iter().for_each(&mut each);
            Ok(())
        })
    }
}

struct Others<'a> {
    scored: Scored<'a>,
    conformal: &'a Conformal,
    targets: &'a PathBuf,
    /// The classes of the held-out rows.
    cols: usize,
    counted: &'a mut Coverage,
}

impl OnLogits for Others<'_> {
    fn run<E: Element>(self, mut logits: FileLogits<E>) -> Result<Outcome> {
        let Self { scored, conformal, targets, cols, counted } = self;
        let (args, found) = (scored.args, logits.shape().cols);
        if found != cols {
            return Err(Error::Length { what: "a row of --others", found, needed: cols });
        }
        let mut targets = open_targets(args, std::slice::from_ref(targets), &logits.layout().clone())?;
        scored.results(&mut logits, &mut targets, |result| {
            if let Some(score) = conformal.score.of(result) {
                counted.add_target(conformal, score, result.rank == 1);
            }
        })?;
        let softmax = SoftmaxOptions {
            temperature: scored.temperature as f32,
            softcap: args.softcap,
            ..Default::default()
        };
        let options = TopKOptions { softmax, ..TopKOptions::new(cols.min(MAX_TOP_K)) };
        // Rows whose sets have more classes than that.
        let mut larger = Vec::new();
        topk::each_window(scored.computer, args.memory, &options, &mut logits, |rows, window| {
            check_stopped()?;
            // A row without probabilities has no set.
            let all = rows.zip(window.values.chunks_exact(window.k));
            for (row, probs) in all.filter(|(_, probs)| !probs[0].is_nan()) {
                match conformal.set_size(probs.iter().copied()) {
                    size if size == window.k && size < cols => larger.push(row),
                    size => counted.add_size(size),
                }
            }
            Ok(())
        })?;
        if larger.is_empty() {
            return Ok(Outcome::Done);
        }
        // They are read once more, and counted here.
        let shape = logits.shape();
        let mut larger = larger.into_iter().peekable();
        windows::each_window(&mut logits, args.memory, |rows, values| {
            check_stopped()?;
            let window = shape.with_rows(rows.len());
            let here: Vec<usize> = std::iter::from_fn(|| larger.next_if(|&row| row < rows.end))
                .map(|row| row - rows.start)
                .collect();
            let size_of = |&row: &usize| {
                let probs = softmax_row(&window.row(values, row).copied().collect::<Vec<E>>(), &softmax);
                conformal.whole_set_size(&mut probs.into_iter().map(|p| p as f32).collect::<Vec<_>>())
            };
            let sizes: Vec<usize> = here.par_iter().map(size_of).collect();
            sizes.into_iter().for_each(|size| counted.add_size(size));
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}
