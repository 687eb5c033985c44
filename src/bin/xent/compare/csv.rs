//! What was found in each row, as a table that spreadsheets and pandas read.

use std::fmt::Write as _;
use std::path::Path;

use xent::eval::compare::ComparedRows;
use xent::eval::{FilePart, WholeFile};
use xent::{NO_CLASS, Result};

use crate::numbers::shortest;
use crate::output::open_table;
use crate::places::Places;

/// The columns. Those of a row that is left out are empty behind its place; without targets, so are those of the losses.
const HEADER: &str = "row,sequence,position,target,kl,base_loss,other_loss,base_argmax,other_argmax,overlap,\
                      logit_difference,flags\n";

/// A `.csv` file that grows window by window.
pub struct CsvWriter {
    file: WholeFile,
    places: Places,
    text: String,
}

impl CsvWriter {
    /// Begins a table of rows in these sequences, or continues one that was kept, after this part of it, which may be all
    /// of it.
    pub fn open(path: &Path, places: Places, run: (&str, Option<(FilePart, bool)>)) -> Result<Self> {
        Ok(Self { file: open_table(path, HEADER, run)?, places, text: String::new() })
    }

    /// Writes the rows of a window.
    pub fn write(&mut self, window: &ComparedRows<'_>) -> Result<()> {
        self.text.clear();
        for (row, result) in (window.rows.start..).zip(window.results) {
            let (sequence, position) = self.places.of(row);
            let _ = write!(self.text, "{row},{sequence},{position},");
            if result.is_left_out() {
                self.text.push_str(",,,,,,,,\n");
                continue;
            }
            let class = |class: u32| if class == NO_CLASS { String::new() } else { class.to_string() };
            let losses = result.losses().map(|losses| losses.map(shortest)).unwrap_or_default();
            let _ = writeln!(
                self.text,
                "{},{},{},{},{},{},{},{},{}",
                class(result.target),
                shortest(result.kl),
                losses[0],
                losses[1],
                class(result.base_argmax),
                class(result.other_argmax),
                result.overlap,
                shortest(result.logit_difference),
                result.flags().names().collect::<Vec<_>>().join("|"),
            );
        }
        self.file.write_bytes(self.text.as_bytes())
    }

    /// The file of the table.
    pub fn file(&mut self) -> &mut WholeFile {
        &mut self.file
    }

    /// Ends the table and returns its file.
    pub fn into_file(self) -> WholeFile {
        self.file
    }
}
