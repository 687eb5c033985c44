//! What comes with the logits, from files.

use std::path::PathBuf;
use std::sync::Arc;

use xent::eval::EvaluateInputs;
use xent::eval::files::{
    FileLogits, Layout, OpenOptions, SparseTargets, TensorFile, Wanted, open_soft_targets,
    read_class_weights, read_row_mask, read_row_weights, read_sparse_targets, read_targets,
};
use xent::{CrossEntropyInputs, CrossEntropyOptions, Result, Targets};

use crate::args::{EvalArgs, TargetArgs};
use crate::logits::{self, note_narrowing};
use crate::output::bad_argument;

/// The files that are read, and what they are called.
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

/// Refuses targets that are to be beside the logits where nothing can be.
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

/// Bytes of a row in the files that are read window by window: the logits and the soft targets, with their headers.
pub fn bytes_per_row(args: &EvalArgs, rows: usize) -> Option<f64> {
    let logits = logits::paths(&args.logits).ok().filter(|_| !args.logits.is_stdin())?;
    let files = logits.iter().chain(&args.targets.soft_targets);
    let bytes: u64 = files.map(|path| Some(path.metadata().ok()?.len())).sum::<Option<u64>>()?;
    (rows > 0).then(|| bytes as f64 / rows as f64)
}

/// Targets, weights and mask; soft targets are open, and read with the logits.
pub struct Inputs {
    targets: TargetFile,
    /// The file whose values only show when they are used.
    late: Option<PathBuf>,
    class_weights: Option<Vec<f32>>,
    row_weights: Option<Vec<f32>>,
    row_mask: Option<Vec<bool>>,
}

enum TargetFile {
    Classes(Arc<Vec<i32>>),
    Soft(FileLogits<f32>),
    Sparse(SparseTargets),
}

impl Inputs {
    pub fn read(args: &EvalArgs, layout: &Layout, op: &CrossEntropyOptions) -> Result<Self> {
        let beside = |path: &PathBuf, wanted| TensorFile::open(path, &OpenOptions::of(wanted));
        let class_weights = args
            .loss
            .class_weights
            .as_ref()
            .map(|path| read_class_weights(&mut beside(path, Wanted::Values)?, layout));
        let row_weights = args
            .rows
            .row_weights
            .as_ref()
            .map(|path| read_row_weights(&mut beside(path, Wanted::Values)?, layout));
        let row_mask =
            args.rows.row_mask.as_ref().map(|path| read_row_mask(&mut beside(path, Wanted::Mask)?, layout));
        let (class_weights, row_weights) = (class_weights.transpose()?, row_weights.transpose()?);
        let row_mask = row_mask.transpose()?;
        let used = used_targets(layout.shape().rows, op, row_weights.as_deref(), row_mask.as_deref());
        let (paths, used) = (&args.targets, used.as_deref());
        let keyed = |wanted| OpenOptions { key: paths.targets_key.clone(), ..OpenOptions::of(wanted) };
        let (targets, late) = match (&paths.soft_targets, &paths.sparse_targets, &paths.sparse_probs) {
            (Some(path), ..) => {
                let file = note_narrowing("soft targets", TensorFile::open(path, &keyed(Wanted::Logits))?);
                (TargetFile::Soft(open_soft_targets(file, layout)?), Some(path))
            }
            (None, Some(indices), Some(probs)) => {
                let mut indices = TensorFile::open(indices, &keyed(Wanted::Classes))?;
                let mut values = beside(probs, Wanted::Values)?;
                let sparse = read_sparse_targets(&mut indices, &mut values, layout, op.ignore_index, used)?;
                (TargetFile::Sparse(sparse), Some(probs))
            }
            _ => {
                let mut file = open_classes(args, &keyed(Wanted::Classes))?;
                let classes = read_targets(&mut file, layout, op.ignore_index, used)?;
                (TargetFile::Classes(Arc::new(classes)), None)
            }
        };
        Ok(Self { targets, late: late.cloned(), class_weights, row_weights, row_mask })
    }

    pub fn given(&mut self) -> EvaluateInputs<'_> {
        let Self { targets, class_weights, row_weights, row_mask, .. } = self;
        let beside = CrossEntropyInputs {
            class_weights: class_weights.as_deref(),
            row_weights: row_weights.as_deref(),
            row_mask: row_mask.as_deref(),
            ..CrossEntropyInputs::new(Targets::Soft(&[]))
        };
        match targets {
            TargetFile::Classes(classes) => {
                CrossEntropyInputs { targets: Targets::Classes(classes), ..beside }.into()
            }
            TargetFile::Sparse(sparse) => CrossEntropyInputs { targets: sparse.targets(), ..beside }.into(),
            TargetFile::Soft(soft) => EvaluateInputs { beside, soft_targets: Some(soft) },
        }
    }

    /// The target of each row, before they are shifted, if they are classes.
    pub fn classes(&self) -> Option<Arc<Vec<i32>>> {
        match &self.targets {
            TargetFile::Classes(classes) => Some(Arc::clone(classes)),
            _ => None,
        }
    }

    /// The library knows no file.
    pub fn late(&self) -> Option<PathBuf> {
        self.late.clone()
    }
}

/// Targets in a file of their own, or beside the logits.
fn open_classes(args: &EvalArgs, options: &OpenOptions) -> Result<TensorFile> {
    match &args.targets.targets {
        Some(path) => TensorFile::open(path, options),
        None => TensorFile::open_all(&args.logits.files, options),
    }
}

/// Which rows' targets are asked for, unless all are.
fn used_targets(
    rows: usize,
    op: &CrossEntropyOptions,
    weights: Option<&[f32]>,
    mask: Option<&[bool]>,
) -> Option<Vec<bool>> {
    if op.sequences.is_none() && weights.is_none() && mask.is_none() {
        return None;
    }
    let mut used = vec![false; rows];
    for row in 0..rows {
        let is_scored = weights.is_none_or(|weights| weights[row] > 0.0) && mask.is_none_or(|mask| mask[row]);
        let target = op.sequences.map_or(Some(row), |sequences| sequences.target_row(row));
        // A last sequence that is cut short has no target behind its end.
        if let Some(used) = target.filter(|_| is_scored).and_then(|target| used.get_mut(target)) {
            *used = true;
        }
    }
    Some(used)
}
