//! What `xent compare` has produced from the rows that are done.

use serde::{Deserialize, Serialize};
use xent::Result;
use xent::eval::compare::{ComparedRows, ComparisonTally};
use xent::eval::{FilePart, WholeFile};

use super::csv::CsvWriter;
use crate::kept::{Job, Progress};
use crate::pictures::Pictures;

/// Two histograms of up to 32,768 bins each, beside what every checkpoint has room for.
pub const MORE_BYTES: usize = 128 << 10;

/// The table, the pictures and the figures of a comparison.
pub struct CompareJob {
    table: Option<CsvWriter>,
    pub pictures: Pictures,
    pub tally: ComparisonTally,
    written: Option<FilePart>,
}

/// How far a comparison has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareProgress {
    pub tally: ComparisonTally,
    pub written: Option<FilePart>,
}

/// What decides the form of a tally.
pub struct TallyOptions {
    pub top_k: usize,
    pub changed: usize,
}

impl Progress for CompareProgress {
    type Options = TallyOptions;

    fn rows(&self) -> usize {
        self.tally.rows() as usize
    }

    fn is_sound(&self, options: &TallyOptions) -> bool {
        self.tally.is_sound(self.rows(), options.top_k, options.changed)
    }
}

impl CompareJob {
    pub fn new(mut table: Option<CsvWriter>, pictures: Pictures, tally: ComparisonTally) -> Self {
        let written = table.as_mut().map(|table| table.file().part());
        Self { table, pictures, tally, written }
    }

    /// Adds a window. If it cannot be written, nothing is added.
    pub fn add(&mut self, window: &ComparedRows<'_>) -> Result<()> {
        if let Some(table) = &mut self.table {
            table.write(window)?;
            self.written = Some(table.file().part());
        }
        self.tally.add(window);
        Ok(())
    }

    fn file(&mut self) -> Option<&mut WholeFile> {
        self.table.as_mut().map(CsvWriter::file)
    }
}

impl Job for CompareJob {
    type Progress = CompareProgress;

    fn rows(&self) -> usize {
        self.tally.rows() as usize
    }

    fn bytes(&self) -> u64 {
        self.written.map_or(0, |part| part.bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.file().map_or(Ok(()), WholeFile::sync)
    }

    fn keep(&mut self) -> Result<CompareProgress> {
        self.file().map_or(Ok(()), WholeFile::keep)?;
        Ok(CompareProgress { tally: self.tally.clone(), written: self.written })
    }

    fn finish(self) -> Result<()> {
        self.table.map_or(Ok(()), |table| table.into_file().finish())?;
        self.pictures.finish()
    }

    fn discard(self) {
        if let Some(table) = self.table {
            table.into_file().discard();
        }
    }
}
