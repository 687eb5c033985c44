//! What comes with the logits, from files.

use std::path::{Path, PathBuf};

use xent::eval::EvaluateInputs;
use xent::eval::npy::{
    NpyLayout, NpyLogits, SparseTargets, open_soft_targets, read_class_weights, read_row_mask,
    read_row_weights, read_sparse_targets, read_targets,
};
use xent::{CrossEntropyInputs, CrossEntropyOptions, Error, Result, Targets};

use crate::args::EvalArgs;
use crate::output::note_narrowing;

/// The files that are read, and what they are called.
pub fn paths(args: &EvalArgs) -> Vec<(&'static str, &Path)> {
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
    let given = with_logits.into_iter().filter_map(|(name, path)| Some((name, path.as_deref()?)));
    std::iter::once(("the logits", &*args.logits)).chain(given).collect()
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
    Classes(Vec<i32>),
    Soft(NpyLogits<f32>),
    Sparse(SparseTargets),
}

impl Inputs {
    pub fn read(args: &EvalArgs, layout: &NpyLayout, op: &CrossEntropyOptions) -> Result<Self> {
        let class_weights =
            args.loss.class_weights.as_ref().map(|path| read_class_weights(path, layout)).transpose()?;
        let row_weights =
            args.rows.row_weights.as_ref().map(|path| read_row_weights(path, layout)).transpose()?;
        let row_mask = args.rows.row_mask.as_ref().map(|path| read_row_mask(path, layout)).transpose()?;
        let used = used_targets(layout.shape().rows, op, row_weights.as_deref(), row_mask.as_deref());
        let paths = &args.targets;
        let (targets, late) = match (&paths.targets, &paths.sparse_targets, &paths.sparse_probs) {
            (Some(path), ..) => {
                (TargetFile::Classes(read_targets(path, layout, op.ignore_index, used.as_deref())?), None)
            }
            (None, Some(indices), Some(probs)) => {
                let sparse = read_sparse_targets(indices, probs, layout, op.ignore_index, used.as_deref())?;
                (TargetFile::Sparse(sparse), Some(probs))
            }
            // The command line has one kind of targets, and this is the third.
            _ => {
                let path = paths.soft_targets.as_deref().unwrap_or(Path::new("--soft-targets"));
                let soft = open_soft_targets(path, layout)?;
                note_narrowing(path, "soft targets", &soft);
                (TargetFile::Soft(soft), paths.soft_targets.as_ref())
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

    /// The library knows no file.
    pub fn naming_the_file(&self, error: Error) -> Error {
        match (&self.late, &error) {
            (Some(path), Error::InvalidTarget { .. }) => {
                Error::File { path: path.display().to_string(), message: error.to_string() }
            }
            _ => error,
        }
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
