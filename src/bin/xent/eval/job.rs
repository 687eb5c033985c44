//! What `xent eval` has produced from the rows that are done.

use serde::{Deserialize, Serialize};
use xent::Result;
use xent::eval::{
    Evaluated, EvaluationState, MAX_CONFUSED_CLASSES, MAX_TALLIED_CLASSES, Tally, TallyOptions, WholeFile,
};

use super::outputs::{Outputs, Written};
use crate::kept::{Job, Progress};
use crate::pictures::Pictures;

/// The files, the figures and the state of an evaluation.
pub struct EvalJob {
    pub outputs: Outputs,
    pub pictures: Pictures,
    /// The file of the state, if one is written.
    pub state_out: Option<WholeFile>,
    pub tally: Tally,
    pub state: EvaluationState,
}

/// How far an evaluation has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalProgress {
    pub state: EvaluationState,
    pub tally: Tally,
    pub written: Written,
}

impl Progress for EvalProgress {
    type Options = TallyOptions;

    fn rows(&self) -> usize {
        self.state.rows()
    }

    fn is_sound(&self, options: &TallyOptions) -> bool {
        self.tally.is_sound(self.state.rows(), options)
    }
}

/// More than a checkpoint takes for each class, and for each cell of a confusion.
const CLASS_BYTES: usize = 72;
const CELL_BYTES: usize = 5;

/// The bytes of a checkpoint that depend on the number of classes.
pub fn class_bytes(classes: usize) -> usize {
    let of_classes = if classes <= MAX_TALLIED_CLASSES { CLASS_BYTES * classes } else { 0 };
    let of_confusion = if classes <= MAX_CONFUSED_CLASSES { CELL_BYTES * classes * classes } else { 0 };
    of_classes + of_confusion
}

impl EvalJob {
    /// Adds a window.
    pub fn add(&mut self, window: &Evaluated<'_>) -> Result<()> {
        // If writing fails, the window comes again, and must not be counted twice. The tally of sequences is small beside
        // what is written for them, and is copied only if they are.
        let before = self.outputs.has_sequences().then(|| self.tally.clone());
        let mut complete = Vec::new();
        if let Some(before) = before {
            self.tally.add_rows(&window.into(), |total| complete.push(total));
            self.outputs.write(window, &complete).inspect_err(|_| self.tally = before)?;
        } else {
            self.outputs.write(window, &[])?;
            self.tally.add(window);
        }
        self.state = window.state.clone();
        Ok(())
    }
}

impl Job for EvalJob {
    type Progress = EvalProgress;

    fn rows(&self) -> usize {
        self.state.rows()
    }

    fn bytes(&self) -> u64 {
        self.outputs.bytes()
    }

    fn sync(&mut self) -> Result<()> {
        self.outputs.sync()
    }

    fn keep(&mut self) -> Result<EvalProgress> {
        let written = self.outputs.keep()?;
        Ok(EvalProgress { state: self.state.clone(), tally: self.tally.clone(), written })
    }

    fn finish(self) -> Result<()> {
        self.outputs.finish()?;
        self.state_out.map_or(Ok(()), WholeFile::finish)?;
        self.pictures.finish()
    }

    fn discard(self) {
        self.outputs.discard();
    }
}
