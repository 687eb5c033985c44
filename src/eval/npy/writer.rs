//! Values into a `.npy` file, which is there whole or not at all.

use std::fs;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use half::f16;
use npyz::{DType, WriteOptions, WriterBuilder};
use tempfile::NamedTempFile;

use super::file_error;
use crate::error::{Error, Result};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for u32 {}
}

/// A type that [`NpyWriter`] writes: f32, [`half::f16`] or u32.
pub trait NpyValue: sealed::Sealed + bytemuck::Pod {
    /// The type as a header writes it.
    const DESCR: &'static str;
}

impl NpyValue for f32 {
    const DESCR: &'static str = "<f4";
}

impl NpyValue for f16 {
    const DESCR: &'static str = "<f2";
}

impl NpyValue for u32 {
    const DESCR: &'static str = "<u4";
}

/// A `.npy` file in the making. It is written beside its place and takes it in [`finish`](Self::finish): until
/// then, and whenever anything fails, a file that is already there stays as it is.
#[derive(Debug)]
pub struct NpyWriter {
    file: BufWriter<NamedTempFile>,
    /// The path that was given, for messages.
    path: PathBuf,
    /// Where it leads.
    place: PathBuf,
    descr: &'static str,
    missing: usize,
}

impl NpyWriter {
    /// Begins a file of this shape, any number of axes, and type.
    ///
    /// # Errors
    /// [`Error::File`] where nothing can be written there: no such folder, no permission, no regular file, a link that
    /// leads nowhere.
    pub fn create<V: NpyValue>(path: impl AsRef<Path>, shape: &[usize]) -> Result<Self> {
        let given = path.as_ref();
        let refused = |why: &dyn std::fmt::Display| file_error(given, format!("cannot be written: {why}"));
        let place = match fs::symlink_metadata(given) {
            // Behind a link lies the file that is meant.
            Ok(_) => fs::canonicalize(given).map_err(|error| refused(&error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => given.to_owned(),
            Err(error) => return Err(refused(&error)),
        };
        if let Ok(there) = fs::metadata(&place) {
            if !there.is_file() {
                return Err(refused(&"it is there and is no regular file"));
            }
            if there.permissions().readonly() {
                return Err(refused(&"it is there and is read-only"));
            }
        }
        let folder = match place.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".xent-").suffix(".npy");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|error| refused(&without_path(&error)))?;
        let lengths: Vec<u64> = shape.iter().map(|&len| len as u64).collect();
        let missing = shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len));
        let missing = missing.ok_or_else(|| file_error(given, "its shape overflows the address space"))?;
        let dtype = V::DESCR.parse().map_err(|error| refused(&error))?;
        let file = WriteOptions::new_header_only()
            .dtype(DType::Plain(dtype))
            .shape(&lengths)
            .writer(BufWriter::new(file))
            .write_header_only()
            .map_err(|error| refused(&without_path(&error)))?;
        Ok(Self { file, path: given.to_owned(), place, descr: V::DESCR, missing })
    }

    /// Writes the next values.
    ///
    /// # Errors
    /// [`Error::Length`] for more values than the shape has; [`Error::File`], also for values of another type.
    pub fn write<V: NpyValue>(&mut self, values: &[V]) -> Result<()> {
        if V::DESCR != self.descr {
            let why = format!("values of type '{}' into a file of '{}'", V::DESCR, self.descr);
            return Err(file_error(&self.path, why));
        }
        let Some(missing) = self.missing.checked_sub(values.len()) else {
            return Err(Error::Length { what: "values", found: values.len(), needed: self.missing });
        };
        self.missing = missing;
        let bytes = bytemuck::cast_slice(values);
        self.file.write_all(bytes).map_err(|error| file_error(&self.path, without_path(&error)))
    }

    /// Brings all that was written to the disk, so that [`finish`](Self::finish) has only a name to change: of several
    /// files, flush each before the first is finished.
    ///
    /// # Errors
    /// [`Error::Length`] where values are missing; [`Error::File`].
    pub fn flush(&mut self) -> Result<()> {
        if self.missing > 0 {
            return Err(Error::Length { what: "values", found: 0, needed: self.missing });
        }
        self.file.flush().map_err(|error| file_error(&self.path, without_path(&error)))
    }

    /// Puts the file, whole now, in its place.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        let Self { file, path, place, .. } = self;
        let file = file.into_inner().map_err(|error| file_error(&path, without_path(error.error())))?;
        file.persist(place).map_err(|error| file_error(&path, without_path(&error.error)))?;
        Ok(())
    }
}

/// `tempfile` adds the temporary's own path, which says nothing to the user.
fn without_path(error: &std::io::Error) -> String {
    let message = error.to_string();
    match message.split_once(" at path ") {
        Some((reason, _)) => reason.to_owned(),
        None => message,
    }
}
