//! The files that `xent eval` writes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xent::eval::files::{FileFormat, Layout, TensorValue, TensorWriter};
use xent::eval::{Evaluated, FilePart, SequenceTotal, WholeFile};
use xent::{Result, RowResult};

use super::csv::{Columns, CsvWriter, ROWS_AT_A_TIME};
use super::sequences::SequencesWriter;
use crate::args::OutputArgs;
use crate::dtype::Dtype;
use crate::output::{FloatWriter, bad_argument, is_csv};
use crate::pictures::check_ending;
use crate::places::Places;

/// The paths of the files to write.
pub fn paths(args: &OutputArgs) -> Vec<&Path> {
    let OutputArgs { rows_out, sequences_out, grad_out, lse_out, argmax_out, plot, html, .. } = args;
    [rows_out, sequences_out, grad_out, lse_out, argmax_out, plot, html]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect()
}

/// Refuses files other than arrays whose names have a wrong ending.
pub fn check_names(args: &OutputArgs) -> Result<()> {
    for (path, endings) in
        [(&args.plot, &["svg"][..]), (&args.html, &["html", "htm"]), (&args.sequences_out, &["csv"])]
    {
        path.as_ref().map_or(Ok(()), |path| check_ending(path, endings))?;
    }
    Ok(())
}

/// The names of the tensors.
const ROW_LOSSES: &str = "row_losses";
const DLOGITS: &str = "dlogits";
const LSE: &str = "lse";
const ARGMAX: &str = "argmax";

/// The files to write, and what is needed to begin them.
pub struct Wanted<'a> {
    pub args: &'a OutputArgs,
    pub layout: Layout,
    /// The logits' type, which is the default type of the gradient.
    pub dtype: Dtype,
    /// Needed by a table, which has each row's place in its sequence.
    pub places: Places,
    /// Whether a row has a target's class, an lse and a most probable class.
    pub has_classes: bool,
    /// The rows of the whole batch; the layout is of a part of them.
    pub rows: usize,
    /// Whether tables begin with the names of their columns: those of the first part, so that the tables of all parts, one
    /// after the other, are the table of the whole.
    pub has_header: bool,
}

/// What has been written so far: the rows done, and the part of each file that they make up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Written {
    rows: usize,
    row_losses: Option<FilePart>,
    sequences: Option<FilePart>,
    dlogits: Option<FilePart>,
    lse: Option<FilePart>,
    argmax: Option<FilePart>,
}

/// Files that grow window by window and are put in their places together.
pub struct Outputs {
    rows: Option<RowsFile>,
    sequences: Option<SequencesWriter>,
    grad: Option<FloatWriter>,
    lse: Option<TensorWriter>,
    argmax: Option<TensorWriter>,
    written: Written,
}

/// The row losses alone, or all results of each row.
enum RowsFile {
    Losses(TensorWriter),
    Table(CsvWriter),
}

impl Wanted<'_> {
    /// Refuses what cannot be written, and leaves no file behind.
    pub fn check(&self) -> Result<()> {
        let OutputArgs { rows_out, sequences_out, grad_out, lse_out, argmax_out, .. } = self.args;
        sequences_out.as_ref().map_or(Ok(()), |path| WholeFile::check_place(path))?;
        let (dims, row_dims) = (self.layout.dims(), self.layout.row_dims());
        for (path, name, dtype) in
            [(rows_out, ROW_LOSSES, f32::DTYPE), (lse_out, LSE, f32::DTYPE), (argmax_out, ARGMAX, u32::DTYPE)]
        {
            match path {
                Some(path) if is_csv(path) && name == ROW_LOSSES => WholeFile::check_place(path)?,
                Some(path) if name == ROW_LOSSES && FileFormat::of_name(path).is_none() => {
                    let why = "cannot be written: its name must end with .csv, .npy or .safetensors";
                    return Err(bad_argument(path.display().to_string(), why));
                }
                Some(path) => TensorWriter::check(path, name, dtype, &row_dims)?,
                None => {}
            }
        }
        grad_out.as_ref().map_or(Ok(()), |path| FloatWriter::check(path, DLOGITS, dims, self.grad_dtype()))
    }

    /// Begins all files of this run, in the formats that their names say.
    pub fn create(&self, run: &str) -> Result<Outputs> {
        self.open(run, None)
    }

    /// Continues the files that were kept, after this number of rows.
    pub fn resume(&self, run: &str, written: Written, rows: usize) -> Result<Outputs> {
        let outputs = self.open(run, Some(written))?;
        let shape = self.layout.shape();
        let missing = |file: &TensorWriter, of_row: usize| file.missing() == (shape.rows - rows) * of_row;
        let is_sound = written.rows == rows
            && outputs.grad.as_ref().is_none_or(|grad| missing(&grad.file, shape.cols))
            && outputs.of_rows().all(|file| missing(file, 1));
        match is_sound {
            true => Ok(outputs),
            false => Err(bad_argument("the checkpoint", "its parts do not belong to one run")),
        }
    }

    fn open(&self, run: &str, kept: Option<Written>) -> Result<Outputs> {
        let OutputArgs { rows_out, sequences_out, grad_out, lse_out, argmax_out, .. } = self.args;
        let written = kept.unwrap_or_default();
        let is_whole = written.rows == self.layout.shape().rows;
        let table = |path: &PathBuf, part| Ok(of_kept(kept, path, part)?.map(|part| (part, is_whole)));
        let sequences = |path: &PathBuf| {
            SequencesWriter::open(path, self.has_header, (run, table(path, written.sequences)?))
        };
        let grad = |path: &PathBuf| {
            let part = of_kept(kept, path, written.dlogits)?;
            FloatWriter::open(path, (run, part), DLOGITS, self.layout.dims(), self.grad_dtype())
        };
        let mut outputs = Outputs {
            rows: match rows_out {
                Some(path) if is_csv(path) => {
                    let part = table(path, written.row_losses)?;
                    let (places, readouts) = (self.places.clone(), self.args.readouts);
                    let (has_classes, has_header) = (self.has_classes, self.has_header);
                    let columns = Columns { places, has_classes, readouts, has_header };
                    let table = CsvWriter::open(path, columns, self.rows, (run, part))?;
                    Some(RowsFile::Table(table))
                }
                path => {
                    let file = self.of_rows::<f32>(path, ROW_LOSSES, run, (kept, written.row_losses))?;
                    file.map(RowsFile::Losses)
                }
            },
            sequences: sequences_out.as_ref().map(sequences).transpose()?,
            grad: grad_out.as_ref().map(grad).transpose()?,
            lse: self.of_rows::<f32>(lse_out, LSE, run, (kept, written.lse))?,
            argmax: self.of_rows::<u32>(argmax_out, ARGMAX, run, (kept, written.argmax))?,
            written,
        };
        outputs.written = outputs.parts(written.rows);
        Ok(outputs)
    }

    fn grad_dtype(&self) -> Dtype {
        self.args.out_dtype.unwrap_or(self.dtype)
    }

    /// A file with one value per row.
    fn of_rows<V: TensorValue>(
        &self,
        path: &Option<PathBuf>,
        name: &str,
        run: &str,
        (kept, part): (Option<Written>, Option<FilePart>),
    ) -> Result<Option<TensorWriter>> {
        let dims = self.layout.row_dims();
        let open = |path: &PathBuf| match of_kept(kept, path, part)? {
            Some(part) => TensorWriter::resume(path, run, name, V::DTYPE, &dims, part),
            None => TensorWriter::create(path, run, name, V::DTYPE, &dims),
        };
        path.as_ref().map(open).transpose()
    }
}

/// The part of a file that was kept. `None` for a run that does not resume.
fn of_kept(kept: Option<Written>, path: &Path, part: Option<FilePart>) -> Result<Option<FilePart>> {
    match (kept, part) {
        (Some(_), None) => {
            Err(bad_argument(path.display().to_string(), "the checkpoint has no entry for this file"))
        }
        _ => Ok(part),
    }
}

impl Outputs {
    /// Writes a window, and the sequences that are complete with it. If that fails, the files keep the windows before it.
    pub fn write(&mut self, window: &Evaluated<'_>, complete: &[SequenceTotal]) -> Result<()> {
        let results = window.results;
        match &mut self.rows {
            Some(RowsFile::Losses(out)) => write_each(out, results, |result| result.loss)?,
            Some(RowsFile::Table(out)) => out.write(window)?,
            None => {}
        }
        if let Some(out) = &mut self.sequences {
            out.write(complete)?;
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
        self.written = self.parts(self.written.rows + window.rows.len());
        Ok(())
    }

    /// What the files hold now, with this number of complete rows.
    fn parts(&mut self, rows: usize) -> Written {
        Written {
            rows,
            row_losses: self.rows.as_mut().map(|rows| match rows {
                RowsFile::Losses(out) => out.part(),
                RowsFile::Table(out) => out.file().part(),
            }),
            sequences: self.sequences.as_mut().map(|out| out.file().part()),
            dlogits: self.grad.as_ref().map(|grad| grad.file.part()),
            lse: self.lse.as_ref().map(TensorWriter::part),
            argmax: self.argmax.as_ref().map(TensorWriter::part),
        }
    }

    /// Whether the totals of sequences are written.
    pub fn has_sequences(&self) -> bool {
        self.sequences.is_some()
    }

    /// The number of bytes written.
    pub fn bytes(&self) -> u64 {
        let Written { row_losses, sequences, dlogits, lse, argmax, .. } = self.written;
        [row_losses, sequences, dlogits, lse, argmax].into_iter().flatten().map(|part| part.bytes).sum()
    }

    /// Writes all of them to the disk, where they outlive this process, and returns what they are.
    pub fn keep(&mut self) -> Result<Written> {
        self.tables().try_for_each(WholeFile::keep)?;
        self.tensors().try_for_each(TensorWriter::keep)?;
        Ok(self.written)
    }

    /// Writes all of them to the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.tables().try_for_each(WholeFile::sync)?;
        self.tensors().try_for_each(TensorWriter::sync)
    }

    fn tables(&mut self) -> impl Iterator<Item = &mut WholeFile> {
        let rows = match &mut self.rows {
            Some(RowsFile::Table(out)) => Some(out.file()),
            _ => None,
        };
        [rows, self.sequences.as_mut().map(SequencesWriter::file)].into_iter().flatten()
    }

    fn tensors(&mut self) -> impl Iterator<Item = &mut TensorWriter> {
        let losses = match &mut self.rows {
            Some(RowsFile::Losses(out)) => Some(out),
            _ => None,
        };
        let grad = self.grad.as_mut().map(|grad| &mut grad.file);
        [losses, grad, self.lse.as_mut(), self.argmax.as_mut()].into_iter().flatten()
    }

    /// The files with one value per row.
    fn of_rows(&self) -> impl Iterator<Item = &TensorWriter> {
        let losses = match &self.rows {
            Some(RowsFile::Losses(out)) => Some(out),
            _ => None,
        };
        [losses, self.lse.as_ref(), self.argmax.as_ref()].into_iter().flatten()
    }

    /// Removes all of them.
    pub fn discard(self) {
        let table = |table: WholeFile| {
            table.discard();
            Ok(())
        };
        let _ = self.each(table, |tensor| {
            tensor.discard();
            Ok(())
        });
    }

    /// Puts all of them in their places.
    pub fn finish(self) -> Result<()> {
        self.each(WholeFile::finish, TensorWriter::finish)
    }

    fn each(
        self,
        mut table: impl FnMut(WholeFile) -> Result<()>,
        tensor: impl FnMut(TensorWriter) -> Result<()>,
    ) -> Result<()> {
        let losses = match self.rows {
            Some(RowsFile::Table(out)) => {
                table(out.into_file())?;
                None
            }
            Some(RowsFile::Losses(out)) => Some(out),
            None => None,
        };
        self.sequences.map_or(Ok(()), |out| table(out.into_file()))?;
        let files = [losses, self.grad.map(|grad| grad.file), self.lse, self.argmax];
        files.into_iter().flatten().try_for_each(tensor)
    }
}

/// Writes one value of each row.
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
