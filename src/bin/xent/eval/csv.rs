//! All results of each row, as a table that spreadsheets and pandas read.

use std::fmt::Write as _;
use std::path::Path;

use xent::eval::{Evaluated, FilePart, WholeFile};
use xent::{NO_CLASS, Result, RowResult};

use crate::numbers::shortest;
use crate::output::open_table;
use crate::places::Places;

/// The number of rows that are collected before they are written; a window may have millions.
pub const ROWS_AT_A_TIME: usize = 1 << 14;

/// The columns. A row that was left out has only the first three and its target; the rest is empty. There are targets
/// only if the targets are classes, and an lse and an argmax only for a cross-entropy.
const HEADER: &str = "row,sequence,position,target,loss,lse,argmax,flags\n";
/// The columns of a table with readouts, which come last.
const LONG_HEADER: &str = "row,sequence,position,target,loss,lse,argmax,flags,prob,confidence,rank,mass_ahead,entropy,\
                           brier,margin\n";

/// Which columns there are, and what they are about.
#[derive(Clone)]
pub struct Columns {
    pub places: Places,
    pub has_classes: bool,
    pub readouts: bool,
    /// Whether the table begins with their names.
    pub has_header: bool,
}

impl Columns {
    fn header(&self) -> &'static str {
        match self.has_header {
            true if self.readouts => LONG_HEADER,
            true => HEADER,
            false => "",
        }
    }
}

/// A `.csv` file that grows window by window. It has commas, a header, LF line ends, and nothing that needs quotes:
/// flags are names with `|` between them. Losses and lse have enough digits to distinguish each f32 from all others;
/// values that are not finite are `NaN`, `inf` and `-inf`.
pub struct CsvWriter {
    file: WholeFile,
    columns: Columns,
    /// The number of rows of the batch.
    rows: usize,
    text: String,
}

impl CsvWriter {
    /// Begins a table of this number of rows in these sequences, or continues one that was kept, after this part of it,
    /// which may be all of it.
    pub fn open(
        path: &Path,
        columns: Columns,
        rows: usize,
        run: (&str, Option<(FilePart, bool)>),
    ) -> Result<Self> {
        let file = open_table(path, columns.header(), run)?;
        Ok(Self { file, columns, rows, text: String::new() })
    }

    /// Writes the rows of a window.
    pub fn write(&mut self, window: &Evaluated<'_>) -> Result<()> {
        let &Columns { ref places, has_classes, readouts, .. } = &self.columns;
        for (chunk, results) in window.results.chunks(ROWS_AT_A_TIME).enumerate() {
            self.text.clear();
            for (at, result) in (chunk * ROWS_AT_A_TIME..).zip(results) {
                let row = window.rows.start + at;
                // A row whose target would be in the next sequence has no target.
                let has_target = places.has_target(row, self.rows);
                let target =
                    window.classes.filter(|_| has_target).and_then(|classes| classes.get(at).copied());
                let (sequence, position) = places.of(row);
                let counts = !result.is_left_out();
                let cells = Cells {
                    target,
                    loss: counts.then_some(result.loss),
                    lse: (counts && has_classes).then_some(result.lse),
                    argmax: (result.argmax != NO_CLASS).then_some(result.argmax),
                    flags: result.flags().names().collect::<Vec<_>>().join("|"),
                };
                let _ = write!(self.text, "{row},{sequence},{position},");
                cells.append_to(&mut self.text);
                if readouts {
                    append_readouts(result, &mut self.text);
                }
                self.text.push('\n');
            }
            self.file.write_bytes(self.text.as_bytes())?;
        }
        Ok(())
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

/// The columns from the target on.
struct Cells {
    target: Option<i32>,
    loss: Option<f32>,
    lse: Option<f32>,
    argmax: Option<u32>,
    flags: String,
}

impl Cells {
    fn append_to(&self, text: &mut String) {
        let cell = |value: Option<String>| value.unwrap_or_default();
        let target = cell(self.target.map(|target| target.to_string()));
        let (loss, lse) = (cell(self.loss.map(shortest)), cell(self.lse.map(shortest)));
        let argmax = cell(self.argmax.map(|class| class.to_string()));
        let _ = write!(text, "{target},{loss},{lse},{argmax},{}", self.flags);
    }
}

/// The readouts of a row. Those that were not asked for, and those of a row without a target, are empty.
fn append_readouts(result: &RowResult, text: &mut String) {
    let RowResult { target_prob, confidence, rank, mass_ahead, entropy, brier, margin, .. } = *result;
    let cell = |value: f32| match result.is_left_out() || value.is_nan() {
        true => String::new(),
        false => shortest(value),
    };
    let rank = if rank == 0 { String::new() } else { rank.to_string() };
    let [prob, confidence, mass_ahead] = [target_prob, confidence, mass_ahead].map(cell);
    let [entropy, brier, margin] = [entropy, brier, margin].map(cell);
    let _ = write!(text, ",{prob},{confidence},{rank},{mass_ahead},{entropy},{brier},{margin}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_need_no_quotes_and_lose_no_digit() {
        let of = |target, values: Option<(f32, f32)>, argmax, flags: &str| {
            let (mut text, flags) = (String::new(), flags.to_owned());
            let (loss, lse) = values.unzip();
            Cells { target, loss, lse, argmax, flags }.append_to(&mut text);
            text
        };
        assert_eq!(of(Some(-100), None, None, ""), "-100,,,,");
        assert_eq!(of(Some(3), Some((0.1, 1e-30)), Some(3), ""), "3,0.1,1e-30,3,");
        assert_eq!(of(None, Some((0.0, -2.5)), Some(0), "masked_row"), ",0.0,-2.5,0,masked_row");
        assert_eq!(
            of(Some(1), Some((f32::NAN, f32::INFINITY)), Some(7), "infinite_logit|nan_loss"),
            "1,NaN,inf,7,infinite_logit|nan_loss"
        );
        for value in [0.1f32, 1.0 / 3.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, 16_777_216.0] {
            assert_eq!(shortest(value).parse(), Ok(value));
        }
    }
}
