//! The inputs that come with the logits, from files.

use std::ops::Range;
use std::path::PathBuf;

use xent::eval::files::{
    FileLogits, FileRows, Layout, OpenOptions, TensorFile, Wanted, open_soft_targets, read_class_weights,
    sparse_targets,
};
use xent::eval::{EvaluateInputs, RowSource, TargetSource};
use xent::{CrossEntropyOptions, Result};

use crate::args::{EvalArgs, TargetArgs};
use crate::logits::{self, note_narrowing};
use crate::output::bad_argument;
use crate::stop::check_stopped;

/// The files that are read, each with its name in messages.
pub fn paths(args: &EvalArgs) -> Result<Vec<(&'static str, PathBuf)>> {
    let EvalArgs { targets, loss, rows, .. } = args;
    let with_logits = [
        ("the targets", &targets.targets),
        ("the soft targets", &targets.soft_targets),
        ("the sparse targets", &targets.sparse_targets),
        ("the sparse targets' probabilities", &targets.sparse_probs),
        ("the class weights", &loss.class_weights),
        ("the row weights", &rows.row_weights),
        ("the row mask", &rows.row_mask),
    ];
    let given = with_logits.into_iter().filter_map(|(name, path)| Some((name, path.clone()?)));
    let logits = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path));
    Ok(logits.chain(given).collect())
}

/// Refuses targets in the file of the logits if that file cannot hold any.
pub fn check_targets(args: &EvalArgs) -> Result<()> {
    let TargetArgs { targets, soft_targets, sparse_targets, .. } = &args.targets;
    if [targets, soft_targets, sparse_targets].into_iter().any(Option::is_some) {
        return Ok(());
    }
    let name_another =
        |why| Err(bad_argument("--targets-key", format!("{why}: --targets must name another file")));
    match args.logits.options().raw {
        _ if args.logits.is_stdin() => name_another("stdin is read once, for the logits"),
        Some(_) => name_another("raw values have no names"),
        None => Ok(()),
    }
}

/// Bytes per row in the files that are read window by window: the logits and the soft targets, with their headers.
pub fn bytes_per_row(args: &EvalArgs, rows: usize) -> Option<f64> {
    let logits = logits::paths(&args.logits).ok().filter(|_| !args.logits.is_stdin())?;
    let files = logits.iter().chain(&args.targets.soft_targets);
    let bytes: u64 = files.map(|path| Some(path.metadata().ok()?.len())).sum::<Option<u64>>()?;
    (rows > 0).then(|| bytes as f64 / rows as f64)
}

/// Targets, weights and mask. All but the class weights are open files that are read window by window.
pub struct Inputs {
    targets: TargetFile,
    /// The file whose values are only checked when they are used.
    late: Option<PathBuf>,
    class_weights: Option<Vec<f32>>,
    row_weights: Option<UntilStopped<FileRows<f32>>>,
    row_mask: Option<UntilStopped<FileRows<bool>>>,
}

enum TargetFile {
    Classes(UntilStopped<FileRows<i32>>),
    Soft(FileLogits<f32>),
    Sparse { indices: UntilStopped<FileRows<i32>>, probs: FileRows<f32> },
}

/// A source that ends when somebody has pressed Ctrl-C. It needs this because all of it is read before the first window.
struct UntilStopped<S>(S);

impl<T, S: RowSource<T>> RowSource<T> for UntilStopped<S> {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn read_rows(&mut self, rows: Range<usize>, used: &[bool], into: &mut [T]) -> Result<()> {
        check_stopped()?;
        self.0.read_rows(rows, used, into)
    }
}

impl Inputs {
    pub fn open(args: &EvalArgs, layout: &Layout, op: &CrossEntropyOptions) -> Result<Self> {
        let beside = |path: &PathBuf, wanted| TensorFile::open(path, &OpenOptions::of(wanted));
        let class_weights = args.loss.class_weights.as_ref();
        let class_weights =
            class_weights.map(|path| read_class_weights(&mut beside(path, Wanted::Values)?, layout));
        let row_weights = args.rows.row_weights.as_ref();
        let row_weights =
            row_weights.map(|path| FileRows::row_weights(beside(path, Wanted::Values)?, layout));
        let row_mask = args.rows.row_mask.as_ref();
        let row_mask = row_mask.map(|path| FileRows::row_mask(beside(path, Wanted::Mask)?, layout));
        let paths = &args.targets;
        let keyed = |wanted| OpenOptions { key: paths.targets_key.clone(), ..OpenOptions::of(wanted) };
        let class_weights = class_weights.transpose()?;
        let (row_weights, row_mask) = (row_weights.transpose()?, row_mask.transpose()?);
        let (targets, late) = match (&paths.soft_targets, &paths.sparse_targets, &paths.sparse_probs) {
            (Some(path), ..) => {
                let file = note_narrowing("soft targets", TensorFile::open(path, &keyed(Wanted::Logits))?);
                (TargetFile::Soft(open_soft_targets(file, layout)?), Some(path))
            }
            (None, Some(indices), Some(probs)) => {
                let (of, with) =
                    (TensorFile::open(indices, &keyed(Wanted::Classes))?, beside(probs, Wanted::Values)?);
                let (indices, values) = sparse_targets(of, with, layout, op.ignore_index)?;
                (TargetFile::Sparse { indices: UntilStopped(indices), probs: values }, Some(probs))
            }
            _ => {
                let file = open_classes(args, &keyed(Wanted::Classes))?;
                let classes = FileRows::targets(file, layout, op.ignore_index)?;
                (TargetFile::Classes(UntilStopped(classes)), None)
            }
        };
        Ok(Self {
            targets,
            late: late.cloned(),
            class_weights,
            row_weights: row_weights.map(UntilStopped),
            row_mask: row_mask.map(UntilStopped),
        })
    }

    pub fn given(&mut self) -> EvaluateInputs<'_> {
        let targets = match &mut self.targets {
            TargetFile::Classes(classes) => TargetSource::Classes(classes),
            TargetFile::Sparse { indices, probs } => {
                let entries = probs.entries();
                TargetSource::Sparse { indices, probs, entries }
            }
            TargetFile::Soft(soft) => TargetSource::Soft(soft),
        };
        let mut inputs = EvaluateInputs::from(targets);
        inputs.beside.class_weights = self.class_weights.as_deref();
        inputs.row_weights = self.row_weights.as_mut().map(|weights| weights as _);
        inputs.row_mask = self.row_mask.as_mut().map(|mask| mask as _);
        inputs
    }

    /// The file whose values are only checked when they are used. The library does not know its path.
    pub fn late(&self) -> Option<PathBuf> {
        self.late.clone()
    }
}

/// Opens class targets, in their own file or in that of the logits.
fn open_classes(args: &EvalArgs, options: &OpenOptions) -> Result<TensorFile> {
    match &args.targets.targets {
        Some(path) => TensorFile::open(path, options),
        None => TensorFile::open_all(&args.logits.files, options),
    }
}
