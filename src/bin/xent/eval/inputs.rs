//! The inputs that come with the logits, from files.

use std::path::{Path, PathBuf};

use xent::eval::files::{
    FileLogits, FileRows, Layout, OpenOptions, TensorFile, Wanted, open_labels, open_soft_targets,
    open_teacher, read_class_weights, read_pos_weight, read_sequence_ends, shard_paths, sparse_targets,
};
use xent::eval::{EvaluateInputs, EvaluateOptions, Evaluation, LabelSource, TargetSource, TeacherSource};
use xent::{
    CrossEntropyOptions, Element, EntmaxLossOptions, Error, KlDivergenceOptions, Result, Shape,
    SigmoidBceOptions,
};

use crate::args::{EvalArgs, LossName, TargetArgs, is_stream};
use crate::logits::{self, note_narrowing, open_beside};
use crate::losses::{AnyEvaluation, AnyLoss};
use crate::output::bad_argument;
use crate::stop::UntilStopped;

/// The files that are read, each with its name in messages.
pub fn paths(args: &EvalArgs) -> Result<Vec<(&'static str, PathBuf)>> {
    let EvalArgs { targets, loss, rows, .. } = args;
    let with_logits = [
        ("the targets", &targets.targets),
        ("the soft targets", &targets.soft_targets),
        ("the sparse targets", &targets.sparse_targets),
        ("the sparse targets' probabilities", &targets.sparse_probs),
        ("the class weights", &loss.class_weights),
        ("the positive weights", &loss.pos_weight),
        ("the row weights", &rows.row_weights),
        ("the row mask", &rows.row_mask),
        ("the lengths of the sequences", &rows.sequence_lengths),
        ("the names of the classes", &args.output.names),
    ];
    let given = with_logits.into_iter().filter_map(|(name, path)| Some((name, path.clone()?)));
    let logits = logits::paths(&args.logits)?.into_iter().map(|path| ("the logits", path));
    let teacher = teacher_paths(args)?.into_iter().map(|path| ("the teacher", path));
    Ok(logits.chain(teacher).chain(given).collect())
}

/// The files that are read, and the logits if they come through stdin or a pipe.
pub fn read(args: &EvalArgs) -> Result<Vec<(&'static str, PathBuf)>> {
    let streams = args.logits.files.iter().filter(|_| args.logits.is_stream());
    let streams = streams.map(|path| ("the logits", path.clone()));
    Ok(streams.chain(paths(args)?).collect())
}

/// The files of the teacher, with the shards of a folder one by one.
fn teacher_paths(args: &EvalArgs) -> Result<Vec<PathBuf>> {
    let is_raw = args.logits.read.options().raw.is_some();
    args.targets.teacher.as_ref().map_or(Ok(Vec::new()), |path| shard_paths(&[path], is_raw))
}

/// Whether any input comes through stdin or a pipe, so that no other run can read it again.
pub fn has_streams(args: &EvalArgs) -> Result<bool> {
    Ok(args.logits.is_stream() || paths(args)?.iter().any(|(_, path)| is_stream(path)))
}

/// Refuses targets in the file of the logits if that file cannot hold any, and stdin for several inputs.
pub fn check_targets(args: &EvalArgs) -> Result<()> {
    let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
    let beside = paths(args)?.iter().filter(|(_, path)| is_stdin(&path)).count();
    if beside + args.logits.files.iter().filter(is_stdin).count() > 1 {
        return Err(bad_argument("-", "stdin can be one input only"));
    }
    let TargetArgs { targets, targets_key, soft_targets, sparse_targets, teacher, .. } = &args.targets;
    if [targets, soft_targets, sparse_targets, teacher].into_iter().any(Option::is_some) {
        return Ok(());
    }
    let name_another =
        |why| Err(bad_argument("--targets-key", format!("{why}: --targets must name another file")));
    match args.logits.read.options().raw {
        _ if args.logits.is_stream() && targets_key.is_none() => Ok(()),
        _ if args.logits.is_stream() => name_another("stdin is read once, for the logits"),
        Some(_) => name_another("raw values have no names"),
        None => Ok(()),
    }
}

/// Bytes per row in the files that are read window by window: the logits and the arrays with their layout, with their
/// headers.
pub fn bytes_per_row(args: &EvalArgs, rows: usize) -> Option<f64> {
    let logits = logits::paths(&args.logits).ok().filter(|_| !args.logits.is_stream())?;
    let TargetArgs { targets, soft_targets, .. } = &args.targets;
    let labels = targets.as_ref().filter(|_| args.loss.name == LossName::Bce);
    let teacher = teacher_paths(args).ok()?;
    let files = logits.iter().chain(&teacher).chain(soft_targets).chain(labels);
    let bytes: u64 = files.map(|path| Some(path.metadata().ok()?.len())).sum::<Option<u64>>()?;
    (rows > 0).then(|| bytes as f64 / rows as f64)
}

/// The loss, and its targets, weights and mask. All but the class weights are open files that are read window by window.
pub struct Inputs<E> {
    targets: Targets<E>,
    /// The file whose values are only checked when they are used.
    late: Option<PathBuf>,
    class_weights: Option<Vec<f32>>,
    pos_weight: Option<Vec<f32>>,
    ignore_also: Vec<i32>,
    sequence_ends: Option<Vec<usize>>,
    rows: RowFiles,
}

/// Each loss with the targets that it takes.
enum Targets<E> {
    CrossEntropy(CrossEntropyOptions, TargetFile),
    KlDivergence(KlDivergenceOptions, FileLogits<E>),
    SigmoidBce(SigmoidBceOptions, FileLogits<f32>),
    Entmax(EntmaxLossOptions, TargetFile),
}

enum TargetFile {
    Classes(UntilStopped<FileRows<i32>>),
    Soft(FileLogits<f32>),
    Sparse { indices: UntilStopped<FileRows<i32>>, probs: FileRows<f32> },
}

/// The inputs of the rows that every loss takes.
struct RowFiles {
    weights: Option<UntilStopped<FileRows<f32>>>,
    mask: Option<UntilStopped<FileRows<bool>>>,
}

impl<E: Element> Inputs<E> {
    pub fn open(args: &EvalArgs, logits: &FileLogits<E>, loss: AnyLoss) -> Result<Self> {
        let layout = logits.layout();
        let sequence_ends = match &args.rows.sequence_lengths {
            Some(path) => Some(read_sequence_ends(&mut beside(path, Wanted::Classes)?, layout)?),
            None if args.rows.sequence_per_file => Some(logits.file().file_ends(layout)?),
            None => None,
        };
        let of_classes = |path: &Option<PathBuf>, read: fn(&mut TensorFile, &Layout) -> Result<Vec<f32>>| {
            path.as_ref().map(|path| read(&mut beside(path, Wanted::Values)?, layout)).transpose()
        };
        let class_weights = of_classes(&args.loss.class_weights, read_class_weights)?;
        let pos_weight = of_classes(&args.loss.pos_weight, read_pos_weight)?;
        let rows = RowFiles::open(args, layout)?;
        let (targets, late) = match loss {
            AnyLoss::CrossEntropy(op) => {
                let (file, late) = TargetFile::open(args, logits.file(), layout)?;
                (Targets::CrossEntropy(op, file), late)
            }
            AnyLoss::KlDivergence(op) => (Targets::KlDivergence(op, open_teacher_file(args, layout)?), None),
            AnyLoss::SigmoidBce(op) => {
                let options = keyed(args, Wanted::Labels);
                let file = note_narrowing("targets", open_with_logits(args, logits.file(), &options)?);
                (Targets::SigmoidBce(op, open_labels(file, layout)?), args.targets.targets.clone())
            }
            AnyLoss::Entmax(op) => {
                let (file, late) = TargetFile::open(args, logits.file(), layout)?;
                (Targets::Entmax(op, file), late)
            }
        };
        let ignore_also = args.rows.ignore_index.iter().skip(1).copied().collect();
        Ok(Self { targets, late, class_weights, pos_weight, ignore_also, sequence_ends, rows })
    }

    /// Where the sequences end, if they differ in length.
    pub fn sequence_ends(&self) -> Option<&[usize]> {
        self.sequence_ends.as_deref()
    }

    /// The evaluation of these inputs. Reads those of the rows once.
    pub fn evaluation(&mut self, shape: Shape, options: &EvaluateOptions) -> Result<AnyEvaluation<'_, E>> {
        let Self { targets, class_weights, pos_weight, ignore_also, sequence_ends, rows, .. } = self;
        match targets {
            Targets::CrossEntropy(op, targets) => {
                let mut inputs = EvaluateInputs::from(targets.source());
                inputs.beside.class_weights = class_weights.as_deref();
                inputs.beside.ignore_also = ignore_also;
                inputs.beside.sequence_ends = sequence_ends.as_deref();
                let evaluation = Evaluation::new(op, shape, rows.beside(inputs), options)?;
                Ok(AnyEvaluation::CrossEntropy(*op, evaluation))
            }
            Targets::KlDivergence(op, teacher) => {
                let inputs = EvaluateInputs::from(TeacherSource(teacher));
                let evaluation = Evaluation::new(op, shape, rows.beside(inputs), options)?;
                Ok(AnyEvaluation::KlDivergence(*op, evaluation))
            }
            Targets::SigmoidBce(op, labels) => {
                let mut inputs = EvaluateInputs::from(LabelSource(labels));
                inputs.beside.class_weights = class_weights.as_deref();
                inputs.beside.pos_weight = pos_weight.as_deref();
                let evaluation = Evaluation::new(op, shape, rows.beside(inputs), options)?;
                Ok(AnyEvaluation::SigmoidBce(*op, evaluation))
            }
            Targets::Entmax(op, targets) => {
                let mut inputs = EvaluateInputs::from(targets.source());
                inputs.beside.ignore_also = ignore_also;
                inputs.beside.sequence_ends = sequence_ends.as_deref();
                let evaluation = Evaluation::new(op, shape, rows.beside(inputs), options)?;
                Ok(AnyEvaluation::Entmax(*op, evaluation))
            }
        }
    }

    /// The targets of a cross-entropy, with all that goes with them.
    pub fn of_classes(&mut self) -> Option<EvaluateInputs<'_>> {
        let Self { targets, ignore_also, sequence_ends, rows, .. } = self;
        let Targets::CrossEntropy(_, targets) = targets else { return None };
        let mut inputs = EvaluateInputs::from(targets.source());
        inputs.beside.ignore_also = ignore_also;
        inputs.beside.sequence_ends = sequence_ends.as_deref();
        Some(rows.beside(inputs))
    }

    /// The file whose values are only checked when they are used. The library does not know its path.
    pub fn late(&self) -> Option<PathBuf> {
        self.late.clone()
    }
}

impl TargetFile {
    /// Opens the targets of a cross-entropy, or of another loss of classes. Returns also the file whose values are only checked when they are used.
    fn open(args: &EvalArgs, logits: &TensorFile, layout: &Layout) -> Result<(Self, Option<PathBuf>)> {
        let (paths, ignored) = (&args.targets, &args.rows.ignore_index);
        let ignore_index = ignored.first().copied().unwrap_or(-100);
        match (&paths.soft_targets, &paths.sparse_targets, &paths.sparse_probs) {
            (Some(path), ..) => {
                let file = open_beside(path, &keyed(args, Wanted::Logits))?;
                let soft = open_soft_targets(note_narrowing("soft targets", file), layout)?;
                Ok((Self::Soft(soft), Some(path.clone())))
            }
            (None, Some(indices), Some(probs)) => {
                let of = open_beside(indices, &keyed(args, Wanted::Classes))?;
                let with = beside(probs, Wanted::Values)?;
                let (indices, values) = sparse_targets(of, with, layout, ignore_index)?;
                let file = Self::Sparse { indices: UntilStopped(indices), probs: values };
                Ok((file, Some(probs.clone())))
            }
            _ => {
                let file = open_with_logits(args, logits, &keyed(args, Wanted::Classes))?;
                let classes = FileRows::targets(file, layout, ignored).map_err(naming_the_flag)?;
                Ok((Self::Classes(UntilStopped(classes)), None))
            }
        }
    }

    fn source(&mut self) -> TargetSource<'_> {
        match self {
            Self::Classes(classes) => TargetSource::Classes(classes),
            Self::Sparse { indices, probs } => {
                let entries = probs.entries();
                TargetSource::Sparse { indices, probs, entries }
            }
            Self::Soft(soft) => TargetSource::Soft(soft),
        }
    }
}

impl RowFiles {
    fn open(args: &EvalArgs, layout: &Layout) -> Result<Self> {
        let weights = args.rows.row_weights.as_ref();
        let weights = weights.map(|path| FileRows::row_weights(beside(path, Wanted::Values)?, layout));
        let mask = args.rows.row_mask.as_ref();
        let mask = mask.map(|path| FileRows::row_mask(beside(path, Wanted::Mask)?, layout));
        Ok(Self {
            weights: weights.transpose()?.map(UntilStopped),
            mask: mask.transpose()?.map(UntilStopped),
        })
    }

    /// These inputs with those of the rows.
    fn beside<'a, I, S>(&'a mut self, inputs: EvaluateInputs<'a, I, S>) -> EvaluateInputs<'a, I, S> {
        EvaluateInputs {
            row_weights: self.weights.as_mut().map(|weights| weights as _),
            row_mask: self.mask.as_mut().map(|mask| mask as _),
            ..inputs
        }
    }
}

/// Opens a file of its own.
fn beside(path: &Path, wanted: Wanted) -> Result<TensorFile> {
    open_beside(path, &OpenOptions::of(wanted))
}

/// Names the flag that takes targets with a value for each class.
fn naming_the_flag(error: Error) -> Error {
    match error {
        Error::File { path, message } if message.ends_with("they are soft targets") => {
            Error::File { path, message: message + ": --soft-targets takes them" }
        }
        error => error,
    }
}

/// The options for a file with targets.
fn keyed(args: &EvalArgs, wanted: Wanted) -> OpenOptions {
    OpenOptions { key: args.targets.targets_key.clone(), ..OpenOptions::of(wanted) }
}

/// Opens targets, in their own file or in that of the logits.
fn open_with_logits(args: &EvalArgs, logits: &TensorFile, options: &OpenOptions) -> Result<TensorFile> {
    match &args.targets.targets {
        Some(path) => open_beside(path, options),
        None => logits.another(options),
    }
}

/// Opens the teacher's logits, which have a format that logits may have.
fn open_teacher_file<E: Element>(args: &EvalArgs, layout: &Layout) -> Result<FileLogits<E>> {
    let options = OpenOptions { key: args.targets.teacher_key.clone(), ..args.logits.read.options() };
    let file = TensorFile::open_all(args.targets.teacher.as_slice(), &options)?;
    open_teacher(note_narrowing("logits", file), layout)
}
