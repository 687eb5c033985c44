//! Files that are there whole or not at all.

use std::fmt::Display;
use std::fs;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file in the making. It is written beside its place and takes it in [`finish`](Self::finish): until then, and
/// whenever anything fails, a file that is already there stays as it is.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: BufWriter<NamedTempFile>,
    /// The path that was given, for messages.
    path: PathBuf,
    /// Where it leads.
    place: PathBuf,
}

impl WholeFile {
    /// Begins a file; until it is whole its name ends with `suffix`.
    ///
    /// # Errors
    /// [`Error::File`] where nothing can be written there: no such folder, no permission, no regular file, a link that
    /// leads nowhere.
    pub fn create(given: &Path, suffix: &str) -> Result<Self> {
        let refused = |why: &dyn Display| file_error(given, format!("cannot be written: {why}"));
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
        builder.prefix(".xent-").suffix(suffix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|error| refused(&without_path(&error)))?;
        Ok(Self { file: BufWriter::new(file), path: given.to_owned(), place })
    }

    /// The path that was given.
    #[cfg(feature = "npy")]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| file_error(&self.path, without_path(&error)))
    }

    /// Brings all that was written to the disk.
    ///
    /// # Errors
    /// [`Error::File`].
    #[cfg(feature = "npy")]
    pub fn flush_bytes(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| file_error(&self.path, without_path(&error)))
    }

    /// Puts the file, whole now, in its place.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(self) -> Result<()> {
        let Self { file, path, place } = self;
        let file = file.into_inner().map_err(|error| file_error(&path, without_path(error.error())))?;
        file.persist(place).map_err(|error| file_error(&path, without_path(&error.error)))?;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

pub(crate) fn file_error(path: &Path, message: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), message: message.to_string() }
}

/// `tempfile` adds the temporary's own path, which says nothing to the user.
pub(crate) fn without_path(error: &std::io::Error) -> String {
    let message = error.to_string();
    match message.split_once(" at path ") {
        Some((reason, _)) => reason.to_owned(),
        None => message,
    }
}
