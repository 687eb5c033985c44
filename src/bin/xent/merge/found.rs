//! What a part of an evaluation found, as it is kept in a file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use xent::Result;
use xent::eval::{EvaluationState, Report, Tally, TallyOptions, WholeFile};

use crate::args::Part;
use crate::kept::{Checkpoint, Identity, Progress};
use crate::losses::LossFacts;
use crate::memory::peak_resident_bytes;
use crate::origin::{KeptOrigin, Origin};
use crate::report::Summary;

/// What a file of it is, in words.
pub const A_STATE: &str = "a state that xent eval --state-out wrote";

/// What one part found, or several that were merged.
#[derive(Clone, Serialize, Deserialize)]
pub struct Found {
    /// In order.
    pub parts: Vec<Part>,
    pub state: EvaluationState,
    pub tally: Tally,
    tallied: TallyOptions,
    pub told: Told,
}

/// What a report says beside the figures.
#[derive(Clone, Serialize, Deserialize)]
pub struct Told {
    /// The name of the logits.
    pub name: String,
    pub loss: LossFacts,
    pub adapter: String,
    pub why: String,
    /// The rows of the whole.
    pub rows: usize,
    /// Bytes per row in the files that are read window by window.
    pub bytes_per_row: Option<f64>,
    pub top_k: Option<usize>,
    pub text_bytes: Option<u64>,
    pub origin: KeptOrigin,
}

impl Progress for Found {
    const FORMAT: &'static str = "xent state";
    type Options = ();

    fn rows(&self) -> usize {
        self.state.rows()
    }

    fn is_sound(&self, (): &()) -> bool {
        let is_of_whole = self.tallied.rows == self.told.rows && self.parts.is_sorted();
        is_of_whole && !self.parts.is_empty() && self.tally.is_sound(self.state.rows(), &self.tallied)
    }
}

impl Told {
    /// The summary of these figures.
    pub fn summary<'s>(&'s self, report: &'s Report, tally: &'s Tally, origin: &'s Origin) -> Summary<'s> {
        Summary {
            report,
            tally,
            loss: self.loss,
            adapter: &self.adapter,
            why: &self.why,
            rows_given: self.rows,
            part: None,
            bytes_read: self.bytes_per_row.map(|bytes| (bytes * report.loss.rows as f64).round() as u64),
            top_k: self.top_k,
            text_bytes: self.text_bytes,
            peak_memory: peak_resident_bytes(),
            origin,
        }
    }
}

/// A part that is evaluated, and what its state says beside what it finds.
pub struct Stated {
    pub part: Part,
    /// What all parts of the whole have in common.
    pub whole: Identity,
    pub tallied: TallyOptions,
}

impl Stated {
    /// What this file says that this part has found: a state of the same rows of the same whole. A state is only written when
    /// all rows of a part are done.
    pub fn found_before(&self, path: &Path) -> Option<Found> {
        let (whole, found) = Found::read(path).ok()?;
        let is_same = found.parts == [self.part] && self.whole.difference(&whole).is_none();
        is_same.then_some(found)
    }

    /// Writes a state to this file, and to the disk.
    pub fn write(
        &self,
        file: &mut WholeFile,
        state: &EvaluationState,
        tally: &Tally,
        told: Told,
    ) -> Result<()> {
        let found = Found {
            parts: vec![self.part],
            state: state.clone(),
            tally: tally.clone(),
            tallied: self.tallied,
            told,
        };
        found.write(&self.whole, file)
    }
}

impl Found {
    /// Reads a state, and what it is of.
    pub fn read(path: &Path) -> Result<(Identity, Self)> {
        Checkpoint::<Self>::open(path, &(), A_STATE)
    }

    /// Writes it to this file, and to the disk.
    pub fn write(self, whole: &Identity, file: &mut WholeFile) -> Result<()> {
        Checkpoint::new(whole.clone(), self).write(file)?;
        file.sync()
    }
}
