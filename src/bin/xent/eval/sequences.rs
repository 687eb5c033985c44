//! The totals of each sequence, as a table.

use std::fmt::Write as _;
use std::path::Path;

use xent::Result;
use xent::eval::{FilePart, SequenceTotal, WholeFile};

use crate::output::open_table;

/// The columns. The mean and the perplexity of a sequence in which nothing is scored are empty.
const HEADER: &str = "sequence,length,scored,not_finite,loss,weight,mean,perplexity\n";

/// A `.csv` file that grows by the sequences that a window completes.
pub struct SequencesWriter(WholeFile);

impl SequencesWriter {
    /// Begins a table, or continues one that was kept, after this part of it, which may be all of it.
    pub fn open(path: &Path, has_header: bool, run: (&str, Option<(FilePart, bool)>)) -> Result<Self> {
        open_table(path, if has_header { HEADER } else { "" }, run).map(Self)
    }

    /// Writes complete sequences.
    pub fn write(&mut self, totals: &[SequenceTotal]) -> Result<()> {
        let mut text = String::new();
        for total in totals {
            let &SequenceTotal { sequence, length, scored, not_finite, loss, weight, .. } = total;
            let _ = write!(text, "{sequence},{length},{scored},{not_finite},{loss:?},{weight:?},");
            let mean = total.mean();
            let _ = match mean.is_finite() {
                true => writeln!(text, "{mean:?},{:?}", mean.exp()),
                false => writeln!(text, ","),
            };
        }
        self.0.write_bytes(text.as_bytes())
    }

    /// The file of the table.
    pub fn file(&mut self) -> &mut WholeFile {
        &mut self.0
    }

    /// Ends the table and returns its file.
    pub fn into_file(self) -> WholeFile {
        self.0
    }
}
