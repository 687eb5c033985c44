//! The files that a comparison reads.

use std::path::PathBuf;

use xent::eval::files::{
    FileFormat, FileLogits, FileRows, OpenOptions, TensorFile, Wanted, different_token, shard_paths,
};
use xent::eval::{EvaluateInputs, Source, TargetSource};
use xent::{Element, Result};

use crate::args::{CompareArgs, OWN_TARGETS, is_stream};
use crate::kept::Identity;
use crate::logits::{of_classes, open_beside, open_once};
use crate::numbers::thousands;
use crate::output::{bad_argument, shown};
use crate::stop::UntilStopped;

/// More than the tally takes.
pub const MEMORY_OF_TALLY: u64 = 1 << 20;

/// Refuses arguments that have no meaning together.
pub fn check(args: &CompareArgs) -> Result<()> {
    let read = [Some(&args.base), Some(&args.other), args.rows.targets.as_ref(), args.rows.row_mask.as_ref()];
    if read.into_iter().flatten().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(bad_argument("-", "stdin can be one input only"));
    }
    if args.rows.targets.is_none() && args.rows.targets_key.is_some() && is_stream(&args.base) {
        let why = "the base comes through a pipe, which is read once: --targets must name another file";
        return Err(bad_argument("--targets-key", why));
    }
    if has_streams(args)? {
        args.run.check_stream()?;
    }
    Ok(())
}

/// Refuses options that do not go with the targets, which may be in the base.
pub fn check_targets(args: &CompareArgs, base: &TensorFile) -> Result<()> {
    let rows = &args.rows;
    if rows.llama_cpp && !base.is_llama_cpp() {
        return Err(bad_argument(
            "--llama-cpp",
            "needs a base that llama-perplexity --save-all-logits has written",
        ));
    }
    if rows.targets.is_some() || rows.targets_key.is_some() {
        return Ok(());
    }
    if base.is_llama_cpp() {
        return rows.shift.map_or(Ok(()), |_| Err(bad_argument("--shift", OWN_TARGETS)));
    }
    for (flag, is_given) in [
        ("--shift", rows.shift.is_some()),
        ("--row-mask", rows.row_mask.is_some()),
        ("--ignore-index", args.given.has("ignore_index")),
    ] {
        if is_given {
            return Err(bad_argument(flag, "needs targets: give --targets or --targets-key"));
        }
    }
    Ok(())
}

/// Whether there are targets: in a file of their own, in that of the base by a key, or those that llama.cpp's saved logits hold.
pub fn has_targets(args: &CompareArgs, base: &TensorFile) -> bool {
    args.rows.targets.is_some() || args.rows.targets_key.is_some() || base.is_llama_cpp()
}

/// Refuses two files of llama.cpp's saved logits that are of other tokens.
pub fn check_tokens(args: &CompareArgs, base: &TensorFile, other: &TensorFile) -> Result<()> {
    if !(base.is_llama_cpp() && other.is_llama_cpp()) {
        return Ok(());
    }
    match different_token(base, other)? {
        None => Ok(()),
        Some((chunk, position, [base, other])) => {
            let why = format!(
                "its tokens are others than those of {}: in chunk {chunk}, token {position} is {other} and not {base}. Both \
                 must be saved from the same text, with the same tokenizer",
                shown(&args.base)
            );
            Err(bad_argument(args.other.display().to_string(), why))
        }
    }
}

/// The files that are read, each with its name in messages.
pub fn paths(args: &CompareArgs) -> Result<Vec<(&'static str, PathBuf)>> {
    let is_raw = args.read.options().raw.is_some();
    let mut all = Vec::new();
    for (name, path) in [("the base", &args.base), ("the other", &args.other)] {
        all.extend(shard_paths(&[path], is_raw)?.into_iter().map(|path| (name, path)));
    }
    let beside = [("the targets", &args.rows.targets), ("the row mask", &args.rows.row_mask)];
    all.extend(beside.into_iter().filter_map(|(name, path)| Some((name, path.clone()?))));
    Ok(all)
}

/// Whether any input comes through stdin or a pipe, so that no other run can read it again.
pub fn has_streams(args: &CompareArgs) -> Result<bool> {
    Ok(paths(args)?.iter().any(|(_, path)| is_stream(path)))
}

/// The files as they are now: their paths, lengths and times of the last change.
pub fn files(args: &CompareArgs) -> Result<Identity> {
    let mut files = Identity::default();
    for (name, path) in paths(args)? {
        files.add_file(name, &path);
    }
    Ok(files)
}

/// Bytes per row in the files of both models.
pub fn bytes_per_row(args: &CompareArgs, rows: usize) -> Option<f64> {
    let paths = paths(args).ok()?;
    let logits = paths.iter().filter(|(name, _)| ["the base", "the other"].contains(name));
    if logits.clone().any(|(_, path)| is_stream(path)) {
        return None;
    }
    let bytes: u64 = logits.map(|(_, path)| Some(path.metadata().ok()?.len())).sum::<Option<u64>>()?;
    (rows > 0).then(|| bytes as f64 / rows as f64)
}

/// Opens the logits of base and other.
pub fn open(args: &CompareArgs) -> Result<[TensorFile; 2]> {
    let of_base = args.read.options();
    let mut of_other = args.read.options();
    of_other.key = match &args.other_key {
        Some(key) => Some(key.clone()).filter(|key| !key.is_empty()),
        // A file of one array has no keys.
        None => of_other.key.filter(|_| FileFormat::of_name(&args.other) != Some(FileFormat::Npy)),
    };
    Ok([open_once(&args.base, &of_base)?, open_once(&args.other, &of_other)?])
}

/// The other's logits, which must be of the same rows and classes as the base's.
pub fn like<E: Element>(file: TensorFile, base: &FileLogits<E>, args: &CompareArgs) -> Result<FileLogits<E>> {
    let other = of_classes::<E>(file, &args.read)?;
    let [of_base, of_other] = [base, &other].map(|of| of.shape());
    let name = shown(&args.base);
    if of_base.cols != of_other.cols {
        let [needed, found] = [of_base.cols, of_other.cols].map(thousands);
        let why = format!(
            "it has {found} classes, but {name} has {needed}: models with other vocabularies cannot be compared class \
             by class (if one only pads the other, --vocab N takes the first N classes of both)"
        );
        return Err(bad_argument(args.other.display().to_string(), why));
    }
    let [needed, found] = [base, &other].map(|of| of.layout().dims());
    if needed != found {
        let why =
            format!("its shape is {found:?}, but that of {name} is {needed:?}: the rows must be the same");
        return Err(bad_argument(args.other.display().to_string(), why));
    }
    Ok(other)
}

/// The targets and the mask, window by window.
pub struct Inputs {
    targets: Option<UntilStopped<FileRows<i32>>>,
    mask: Option<UntilStopped<FileRows<bool>>>,
    ignore_also: Vec<i32>,
}

impl Inputs {
    pub fn open<E: Element>(args: &CompareArgs, base: &FileLogits<E>) -> Result<Self> {
        let (rows, layout) = (&args.rows, base.layout());
        let targets = has_targets(args, base.file()).then(|| -> Result<_> {
            let options = OpenOptions { key: rows.targets_key.clone(), ..OpenOptions::of(Wanted::Classes) };
            let file = match &rows.targets {
                Some(path) => open_beside(path, &options)?,
                None => base.file().another(&options)?,
            };
            FileRows::targets(file, layout, &rows.ignore_index)
        });
        let mask = rows.row_mask.as_ref().map(|path| -> Result<_> {
            FileRows::row_mask(open_beside(path, &OpenOptions::of(Wanted::Mask))?, layout)
        });
        Ok(Self {
            targets: targets.transpose()?.map(UntilStopped),
            mask: mask.transpose()?.map(UntilStopped),
            ignore_also: rows.ignore_index.iter().skip(1).copied().collect(),
        })
    }

    /// Those of the rows, if there are targets.
    pub fn for_rows(&mut self) -> Option<EvaluateInputs<'_>> {
        let Self { targets, mask, ignore_also } = self;
        let mut inputs = EvaluateInputs::from(TargetSource::Classes(targets.as_mut()?));
        inputs.row_mask = mask.as_mut().map(|mask| mask as _);
        inputs.beside.ignore_also = ignore_also;
        Some(inputs)
    }
}
