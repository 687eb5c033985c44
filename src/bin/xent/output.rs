//! Output to the terminal and to files.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use xent::eval::files::{Dtype as FileDtype, FileFormat, TensorValue, TensorWriter};
use xent::eval::{FilePart, WholeFile};
use xent::eval::{escaped, is_safe};
use xent::half::{bf16, f16};
use xent::{Element, Error, Result};

use crate::dtype::Dtype;

/// The number of values that are rounded at a time.
const ROUNDED_VALUES: usize = 1 << 16;

/// Prints to stdout. It is no error if the reader has gone away.
pub fn print(text: &str) -> Result<()> {
    print_to(std::io::stdout().lock(), &escaped(text, |c| c.is_ascii_whitespace()))
}

/// Like `print`, for output that goes on: says whether the reader is still there.
pub fn print_more(text: &str) -> Result<bool> {
    written(std::io::stdout().lock(), text)
}

/// Prints JSON. Names in it may hold any characters. Those that would control a terminal are escaped, so that a program
/// still reads the same names.
pub fn print_json(text: &str) -> Result<()> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_safe(c) || c == '\n' {
            escaped.push(c);
        } else {
            // None of them needs two escapes: they are all in the first plane.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        }
    }
    print_to(std::io::stdout().lock(), &escaped)
}

/// Any text, on one line, as a terminal may safely show it.
pub fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// A path, as a terminal may safely show it.
pub fn shown(path: &Path) -> String {
    one_line(&path.display().to_string())
}

/// Prints a text with styles. They are shown on a terminal, unless NO_COLOR, CLICOLOR or TERM say otherwise.
pub fn print_styled(text: &str) -> Result<()> {
    print_to(anstream::AutoStream::auto(std::io::stdout().lock()), text)
}

fn print_to(stdout: impl Write, text: &str) -> Result<()> {
    written(stdout, text).map(drop)
}

/// Writes to stdout, and says whether the reader is still there.
fn written(mut stdout: impl Write, text: &str) -> Result<bool> {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::File { path: "stdout".to_owned(), message: error.to_string() }),
    }
}

/// Begins a table with this line of columns, or continues one that was kept, after this part of it, which may be all of it.
pub fn open_table(
    path: &Path,
    header: &str,
    (run, part): (&str, Option<(FilePart, bool)>),
) -> Result<WholeFile> {
    if let Some((part, is_whole)) = part {
        return WholeFile::resume(path, run, header.as_bytes(), part, is_whole);
    }
    let mut file = WholeFile::create(path, run)?;
    file.write_bytes(header.as_bytes())?;
    Ok(file)
}

/// Whether a name ends with .csv.
pub fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

/// Prints a message to stderr; if that is closed, the message is lost. Characters that would control a terminal are
/// escaped, except line ends: a name that may hold one must come through [`one_line`] or [`shown`].
pub fn complain(message: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "xent: {}", escaped(message.as_ref(), |c| c == '\n'));
}

/// The error of an argument that this device or this machine cannot serve.
pub fn bad_argument(argument: impl Into<String>, why: impl Into<String>) -> Error {
    Error::File { path: argument.into(), message: why.into() }
}

/// Writes floats of one type to a file of another type.
pub struct FloatWriter {
    pub file: TensorWriter,
    dtype: Dtype,
}

impl FloatWriter {
    /// Begins a file, or continues one that was kept, after this part of it.
    pub fn open(
        path: &Path,
        (run, part): (&str, Option<FilePart>),
        name: &str,
        dims: &[usize],
        dtype: Dtype,
    ) -> Result<Self> {
        let of_file = Self::dtype_of_file(path, dtype)?;
        let file = match part {
            Some(part) => TensorWriter::resume(path, run, name, of_file, dims, part)?,
            None => TensorWriter::create(path, run, name, of_file, dims)?,
        };
        Ok(Self { file, dtype })
    }

    /// Refuses a file that cannot be written.
    pub fn check(path: &Path, name: &str, dims: &[usize], dtype: Dtype) -> Result<()> {
        TensorWriter::check(path, name, Self::dtype_of_file(path, dtype)?, dims)
    }

    fn dtype_of_file(path: &Path, dtype: Dtype) -> Result<FileDtype> {
        if dtype == Dtype::Bf16 && FileFormat::of_name(path) == Some(FileFormat::Npy) {
            let why =
                "cannot be written: .npy has no type for bf16; name it .safetensors, or give --out-dtype f32";
            return Err(bad_argument(path.display().to_string(), why));
        }
        Ok(match dtype {
            Dtype::F32 => f32::DTYPE,
            Dtype::F16 => f16::DTYPE,
            Dtype::Bf16 => bf16::DTYPE,
        })
    }

    /// Writes the next values, rounded to nearest if the file's type is narrower.
    pub fn write<E: Element>(&mut self, values: &[E]) -> Result<()> {
        match self.dtype {
            Dtype::F32 => self.write_as::<E, f32>(values),
            Dtype::F16 => self.write_as::<E, f16>(values),
            Dtype::Bf16 => self.write_as::<E, bf16>(values),
        }
    }

    fn write_as<E: Element, O: Element + TensorValue>(&mut self, values: &[E]) -> Result<()> {
        if E::NAME == O::NAME {
            return self.file.write::<O>(bytemuck::cast_slice(values));
        }
        let mut rounded = Vec::with_capacity(ROUNDED_VALUES.min(values.len()));
        for values in values.chunks(ROUNDED_VALUES) {
            rounded.clear();
            rounded.extend(values.iter().map(|value| O::from_f32(value.to_f64() as f32)));
            self.file.write(&rounded)?;
        }
        Ok(())
    }
}

/// Refuses an output that is also an input, or another output.
pub fn check_distinct(inputs: &[(&'static str, PathBuf)], outputs: &[&Path]) -> Result<()> {
    let mut taken: Vec<(&str, PathBuf)> = inputs.iter().map(|(name, path)| (*name, place(path))).collect();
    for output in outputs {
        let place = place(output);
        if let Some((name, _)) = taken.iter().find(|(_, other)| *other == place) {
            return Err(Error::File {
                path: output.display().to_string(),
                message: format!("cannot be written: it is also {name}"),
            });
        }
        taken.push(("another output", place));
    }
    Ok(())
}

/// The folder that a file is in, or will be.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// The place that a path leads to, with links resolved, whether or not the file exists yet.
fn place(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    match (folder_of(path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
