//! What goes to the terminal and to files.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use xent::eval::npy::{NpyLogits, NpyWriter};
use xent::half::f16;
use xent::{Element, Error, Result};

use crate::args::Dtype;

/// Prints to stdout. A reader that has gone away is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::File { path: "stdout".to_owned(), message: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// Says something on stderr; where that is closed, nobody listens.
pub fn complain(message: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "xent: {}", message.as_ref());
}

/// An argument that this device, or this machine, cannot serve.
pub fn bad_argument(argument: impl Into<String>, why: impl Into<String>) -> Error {
    Error::File { path: argument.into(), message: why.into() }
}

/// Refuses a path where no file can be written, before the work that is to be written there.
pub fn check_writable(path: &Path) -> Result<()> {
    let refused = |why: String| Error::File {
        path: path.display().to_string(),
        message: format!("cannot be written: {why}"),
    };
    if path.exists() && !path.is_file() {
        return Err(refused("it is there and is no regular file".to_owned()));
    }
    if path.metadata().is_ok_and(|there| there.permissions().readonly()) {
        return Err(refused("it is there and is read-only".to_owned()));
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        // `tempfile` adds the temporary's own path, which says nothing to the user.
        Err(error) => {
            Err(refused(error.to_string().split(" at path ").next().unwrap_or_default().to_owned()))
        }
    }
}

/// Opens logits as f32, and says so where they are not taken as they are.
pub fn open_logits(path: &Path, class_axis: isize) -> Result<NpyLogits<f32>> {
    let logits = NpyLogits::open(path, class_axis)?;
    note_narrowing(path, "logits", &logits);
    Ok(logits)
}

/// Says where values are not taken as they are.
pub fn note_narrowing(path: &Path, what: &str, values: &NpyLogits<f32>) {
    if values.is_narrowed() {
        complain(format!("{}: f64 {what}, narrowed to f32", path.display()));
    }
}

/// Floats of one type into a file of another.
pub struct FloatWriter {
    pub file: NpyWriter,
    dtype: Dtype,
}

impl FloatWriter {
    pub fn create(path: &PathBuf, dims: &[usize], dtype: Dtype) -> Result<Self> {
        let file = match dtype {
            Dtype::F32 => NpyWriter::create::<f32>(path, dims),
            Dtype::F16 => NpyWriter::create::<f16>(path, dims),
        };
        Ok(Self { file: file?, dtype })
    }

    /// Writes the next values, rounded to nearest where the file's type is narrower.
    pub fn write<E: Element>(&mut self, values: &[E]) -> Result<()> {
        let in_f32 = |value: &E| value.to_f64() as f32;
        match self.dtype {
            Dtype::F32 if E::NAME == f32::NAME => self.file.write::<f32>(bytemuck::cast_slice(values)),
            Dtype::F16 if E::NAME == f16::NAME => self.file.write::<f16>(bytemuck::cast_slice(values)),
            Dtype::F32 => self.file.write(&values.iter().map(in_f32).collect::<Vec<_>>()),
            Dtype::F16 => {
                let rounded = values.iter().map(|value| f16::from_f32(in_f32(value)));
                self.file.write(&rounded.collect::<Vec<_>>())
            }
        }
    }
}

/// Refuses an output that is also an input, or another output.
pub fn check_distinct(inputs: &[(&'static str, &Path)], outputs: &[&Path]) -> Result<()> {
    let mut taken: Vec<(&str, PathBuf)> = inputs.iter().map(|&(name, path)| (name, place(path))).collect();
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

/// Where a path leads, links followed, whether or not there is a file yet.
fn place(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
