//! What `xent eval` writes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xent::eval::Evaluated;
use xent::eval::files::{Layout, TensorValue, TensorWriter};
use xent::{Result, RowResult, Sequences};

use super::csv::CsvWriter;
use crate::args::{Dtype, OutputArgs};
use crate::output::{FloatWriter, bad_argument};

/// Rows whose values are put together before they are written: a window may have millions.
pub const ROWS_AT_A_TIME: usize = 1 << 14;

/// The files that are written.
pub fn paths(args: &OutputArgs) -> Vec<&Path> {
    let OutputArgs { rows_out, grad_out, lse_out, argmax_out, plot, html, .. } = args;
    [rows_out, grad_out, lse_out, argmax_out, plot, html]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect()
}

/// Refuses pictures under the name of something else.
pub fn check_names(args: &OutputArgs) -> Result<()> {
    for (path, endings) in [(&args.plot, &["svg"][..]), (&args.html, &["html", "htm"])] {
        let Some(path) = path else { continue };
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !endings.contains(&ending.to_ascii_lowercase().as_str()) {
            let why = format!("cannot be written: its name must end with .{}", endings[0]);
            return Err(bad_argument(path.display().to_string(), why));
        }
    }
    Ok(())
}

/// Which files there are to be, and what is needed to begin them.
pub struct Wanted<'a> {
    pub args: &'a OutputArgs,
    pub layout: Layout,
    /// The logits' type: a gradient has it that is not told another.
    pub dtype: Dtype,
    /// A table tells of each row where it is in its sequence.
    pub sequences: Sequences,
}

/// How much of them is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Written {
    rows: usize,
    /// Bytes of a table, behind its header.
    table_bytes: u64,
}

/// Files that grow window by window, and take their places together.
pub struct Outputs {
    rows: Option<RowsFile>,
    grad: Option<FloatWriter>,
    lse: Option<TensorWriter>,
    argmax: Option<TensorWriter>,
    written: Written,
}

/// Row losses alone, or all that is known of each row.
enum RowsFile {
    Losses(TensorWriter),
    Table(CsvWriter),
}

impl Wanted<'_> {
    /// Begins all files, in the formats that their names say.
    pub fn create(&self) -> Result<Outputs> {
        self.open(None)
    }

    /// Goes on with those that were kept.
    pub fn resume(&self, run: &str, written: Written) -> Result<Outputs> {
        self.open(Some((run, written)))
    }

    fn open(&self, kept: Option<(&str, Written)>) -> Result<Outputs> {
        let OutputArgs { rows_out, grad_out, lse_out, argmax_out, out_dtype, .. } = self.args;
        let dtype = out_dtype.unwrap_or(self.dtype);
        let (dims, cols) = (self.layout.dims(), self.layout.shape().cols);
        let grad = |path: &PathBuf| match kept {
            Some((run, Written { rows, .. })) => {
                FloatWriter::resume(path, run, "dlogits", dims, (dtype, rows * cols))
            }
            None => FloatWriter::create(path, "dlogits", dims, dtype),
        };
        Ok(Outputs {
            rows: match rows_out {
                Some(path) if is_csv(path) => Some(RowsFile::Table(self.table(path, kept)?)),
                path => self.of_rows::<f32>(path, "row_losses", kept)?.map(RowsFile::Losses),
            },
            grad: grad_out.as_ref().map(grad).transpose()?,
            lse: self.of_rows::<f32>(lse_out, "lse", kept)?,
            argmax: self.of_rows::<u32>(argmax_out, "argmax", kept)?,
            written: kept.map(|(_, written)| written).unwrap_or_default(),
        })
    }

    fn table(&self, path: &Path, kept: Option<(&str, Written)>) -> Result<CsvWriter> {
        let kept = kept.map(|(run, written)| (run, written.table_bytes));
        CsvWriter::open(path, self.sequences, self.layout.shape().rows, kept)
    }

    /// A file of one value a row.
    fn of_rows<V: TensorValue>(
        &self,
        path: &Option<PathBuf>,
        name: &str,
        kept: Option<(&str, Written)>,
    ) -> Result<Option<TensorWriter>> {
        let dims = self.layout.row_dims();
        let open = |path| match kept {
            Some((run, Written { rows, .. })) => TensorWriter::resume(path, run, name, V::DTYPE, &dims, rows),
            None => TensorWriter::create(path, name, V::DTYPE, &dims),
        };
        path.as_ref().map(open).transpose()
    }
}

impl Outputs {
    pub fn write(&mut self, window: &Evaluated<'_>) -> Result<()> {
        let results = window.results;
        match &mut self.rows {
            Some(RowsFile::Losses(out)) => write_each(out, results, |result| result.loss)?,
            Some(RowsFile::Table(out)) => self.written.table_bytes += out.write(window)?,
            None => {}
        }
        if let (Some(out), Some(dlogits)) = (&mut self.grad, window.dlogits) {
            out.write(dlogits)?;
        }
        if let Some(out) = &mut self.lse {
            write_each(out, results, |result| result.lse)?;
        }
        if let Some(out) = &mut self.argmax {
            write_each(out, results, |result| result.argmax)?;
        }
        self.written.rows += window.rows.len();
        Ok(())
    }

    /// Brings all of them to the disk.
    pub fn flush(&mut self) -> Result<()> {
        if let Some(RowsFile::Table(out)) = &mut self.rows {
            out.flush()?;
        }
        let losses = match &mut self.rows {
            Some(RowsFile::Losses(out)) => Some(out),
            _ => None,
        };
        let grad = self.grad.as_mut().map(|grad| &mut grad.file);
        let files = [losses, grad, self.lse.as_mut(), self.argmax.as_mut()];
        files.into_iter().flatten().try_for_each(TensorWriter::flush)
    }

    /// Keeps what this run has written so far, and says how much that is.
    pub fn keep_partial(self, run: &str) -> Result<Written> {
        let written = self.written;
        self.each(|table| table.keep_partial(run), |tensor| tensor.keep_partial(run))?;
        Ok(written)
    }

    /// Puts all of them in their places.
    pub fn finish(self) -> Result<()> {
        self.each(CsvWriter::finish, TensorWriter::finish)
    }

    fn each(
        self,
        table: impl FnOnce(CsvWriter) -> Result<()>,
        tensor: impl FnMut(TensorWriter) -> Result<()>,
    ) -> Result<()> {
        let losses = match self.rows {
            Some(RowsFile::Table(out)) => {
                table(out)?;
                None
            }
            Some(RowsFile::Losses(out)) => Some(out),
            None => None,
        };
        let files = [losses, self.grad.map(|grad| grad.file), self.lse, self.argmax];
        files.into_iter().flatten().try_for_each(tensor)
    }
}

/// Writes a value of each row.
fn write_each<V: TensorValue>(
    out: &mut TensorWriter,
    results: &[RowResult],
    value: impl Fn(&RowResult) -> V,
) -> Result<()> {
    let mut values = Vec::with_capacity(ROWS_AT_A_TIME.min(results.len()));
    for results in results.chunks(ROWS_AT_A_TIME) {
        values.clear();
        values.extend(results.iter().map(&value));
        out.write(&values)?;
    }
    Ok(())
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}
