//! Opening the logits that the command line names.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use xent::eval::files::{Dtype as FileDtype, FileLogits, OpenOptions, TensorFile, shard_paths};
use xent::half::{bf16, f16};
use xent::{Element, Result};

use crate::args::{LogitsArgs, ReadArgs, is_stream};
use crate::dtype::Dtype;
use crate::outcome::Outcome;
use crate::output::{bad_argument, complain, folder_of, one_line, shown};
use crate::stop::{STDIN, stdin};

/// Opens the logits, and says so if they are converted or read in a surprising order.
pub fn open(args: &LogitsArgs) -> Result<TensorFile> {
    let options = args.read.options();
    let Some(stream) = args.files.iter().find(|path| is_stream(path)) else {
        note_order(&args.files);
        return Ok(note_narrowing("logits", TensorFile::open_all(&args.files, &options)?));
    };
    if args.files.len() > 1 {
        let why = format!("{} cannot be combined with other files of logits", one_line(&name_of(stream)));
        return Err(bad_argument(stream.display().to_string(), why));
    }
    open_once(stream, &options)
}

/// The name of an input in messages.
fn name_of(path: &Path) -> String {
    if path == Path::new("-") { STDIN.to_owned() } else { path.display().to_string() }
}

/// Opens logits that are read once: a file, a folder of shards, stdin or a pipe.
pub fn open_once(path: &Path, options: &OpenOptions) -> Result<TensorFile> {
    if !is_stream(path) {
        return Ok(note_narrowing("logits", TensorFile::open(path, options)?));
    }
    let name = name_of(path);
    if options.raw.is_some_and(|raw| raw.rows.is_none()) {
        return Err(bad_argument(name, "the number of rows is needed: give --rows"));
    }
    let file = match path == Path::new("-") {
        true => TensorFile::from_reader(&name, stdin()?, options)?,
        false => TensorFile::from_reader(&name, pipe(path)?, options)?,
    };
    Ok(note_narrowing("logits", file))
}

/// The most bytes of a stream that are kept in memory.
const MOST_KEPT: u64 = 1 << 30;

/// Opens a file that goes with logits. What comes through stdin or a pipe is kept in memory, because it is read twice.
pub fn open_beside(path: &Path, options: &OpenOptions) -> Result<TensorFile> {
    if !is_stream(path) {
        return TensorFile::open(path, options);
    }
    let mut bytes = Vec::new();
    let is_stdin = path == Path::new("-");
    let read = match is_stdin {
        true => stdin()?.take(MOST_KEPT + 1).read_to_end(&mut bytes),
        false => pipe(path)?.take(MOST_KEPT + 1).read_to_end(&mut bytes),
    };
    let name = name_of(path);
    read.map_err(|error| bad_argument(&name, error.to_string()))?;
    if bytes.len() as u64 > MOST_KEPT {
        return Err(bad_argument(
            name,
            "it is kept in memory, and has more than 1 GiB: write it to a file first",
        ));
    }
    TensorFile::from_bytes(name, bytes, options)
}

fn pipe(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| bad_argument(path.display().to_string(), error.to_string()))
}

/// The files of the logits, with the shards of a folder one by one.
pub fn paths(args: &LogitsArgs) -> Result<Vec<PathBuf>> {
    match args.is_stream() {
        true => Ok(Vec::new()),
        false => shard_paths(&args.files, args.read.options().raw.is_some()),
    }
}

/// Refuses outputs in a folder of logits: the next run would read them as logits.
pub fn check_beside(args: &LogitsArgs, outputs: &[&Path]) -> Result<()> {
    let folders: Vec<PathBuf> =
        args.files.iter().filter(|path| path.is_dir()).filter_map(|path| path.canonicalize().ok()).collect();
    for output in outputs {
        if folder_of(output).canonicalize().is_ok_and(|folder| folders.contains(&folder)) {
            let why = "cannot be written: the next run would read it as logits, because this is their folder";
            return Err(bad_argument(output.display().to_string(), why));
        }
    }
    Ok(())
}

/// The type of their values, which is also the default type of an output.
pub fn dtype(file: &TensorFile) -> Dtype {
    match file.dtype() {
        Some(FileDtype::F16) => Dtype::F16,
        Some(FileDtype::Bf16) => Dtype::Bf16,
        _ => Dtype::F32,
    }
}

/// A task that runs on logits of any element type.
pub trait OnLogits {
    fn run<E: Element>(self, logits: FileLogits<E>) -> Result<Outcome>;
}

/// Runs a task with logits of this element type.
pub fn run_in(dtype: Dtype, file: TensorFile, args: &ReadArgs, run: impl OnLogits) -> Result<Outcome> {
    match dtype {
        Dtype::F32 => run.run(of_classes::<f32>(file, args)?),
        Dtype::F16 => run.run(of_classes::<f16>(file, args)?),
        Dtype::Bf16 => run.run(of_classes::<bf16>(file, args)?),
    }
}

/// The logits of a file, along the axis and of the classes that the arguments name.
pub fn of_classes<E: Element>(file: TensorFile, args: &ReadArgs) -> Result<FileLogits<E>> {
    let logits = FileLogits::new(file, args.class_axis)?;
    match args.vocab {
        Some(cols) => logits.first_classes(cols),
        None => Ok(logits),
    }
}

/// Says so if the values are narrowed from f64 to f32.
pub fn note_narrowing(what: &str, file: TensorFile) -> TensorFile {
    if file.dtype() == Some(FileDtype::F64) {
        complain(format!("{}: f64 {what}, narrowed to f32", shown(file.path())));
    }
    file
}

/// Says so if shards come in the order of a shell, 10 before 2, and not in the order of their numbers.
fn note_order(files: &[PathBuf]) {
    let number = |path: &Path| -> Option<u64> {
        let stem = path.file_stem()?.to_str()?;
        stem[stem.trim_end_matches(|c: char| c.is_ascii_digit()).len()..].parse().ok()
    };
    let numbers: Option<Vec<u64>> = files.iter().map(|path| number(path)).collect();
    let Some(numbers) = numbers.filter(|_| files.is_sorted()) else { return };
    if let Some(at) = (1..files.len()).find(|&at| numbers[at] < numbers[at - 1]) {
        let (first, second) = (shown(&files[at - 1]), shown(&files[at]));
        complain(format!(
            "{first} is read before {second}, as given; their folder would be read by the numbers"
        ));
    }
}
