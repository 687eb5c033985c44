//! Files that are there whole or not at all.

use std::fmt::Display;
use std::fs;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
#[cfg(any(feature = "npy", feature = "safetensors"))]
use tempfile::TempPath;

use crate::error::{Error, Result, is_safe};

/// A file in the making. It is written beside its place and takes it in [`finish`](Self::finish): until then, and
/// whenever anything fails, a file that is already there stays as it is.
#[derive(Debug)]
pub struct WholeFile {
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
        let place = place_of(given)?;
        let folder = match place.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".xent-").suffix(suffix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|error| refused(given, &without_path(&error)))?;
        Ok(Self { file: BufWriter::new(file), path: given.to_owned(), place })
    }

    /// Goes on with what [`keep_partial`](Self::keep_partial) has kept, behind this header and so many bytes. It stays
    /// where it is until the file is finished.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Error::File`] where nothing was kept, or it does not begin with this header, or is
    /// shorter.
    #[cfg(any(feature = "npy", feature = "safetensors"))]
    pub fn resume(given: &Path, run: &str, header: &[u8], bytes: u64) -> Result<Self> {
        use std::io::{Read, Seek, SeekFrom};

        let place = place_of(given)?;
        let partial = partial_path(&place, run);
        let refused = |why: &dyn Display| file_error(&partial, format!("cannot be resumed: {why}"));
        let file = fs::OpenOptions::new().read(true).write(true).open(&partial);
        let mut file = file.map_err(|error| refused(&error))?;
        let mut found = Vec::new();
        let read = (&file).take(header.len() as u64).read_to_end(&mut found);
        read.map_err(|error| refused(&error))?;
        if found != header {
            return Err(refused(&"it was begun for another type, shape or name"));
        }
        let len = file.metadata().map_err(|error| refused(&error))?.len();
        let (found, needed) = (len - header.len() as u64, bytes);
        if found < needed {
            return Err(refused(&format!("{needed} bytes of values were said to be done; it has {found}")));
        }
        let end = header.len() as u64 + bytes;
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(|error| refused(&error))?;
        let path = TempPath::try_from_path(partial.clone()).map_err(|error| refused(&error))?;
        let mut file = NamedTempFile::from_parts(file, path);
        file.disable_cleanup(true);
        Ok(Self { file: BufWriter::new(file), path: given.to_owned(), place })
    }

    /// Keeps what has been written so far, at [`partial_path`].
    ///
    /// # Errors
    /// [`Error::File`].
    #[cfg(any(feature = "npy", feature = "safetensors"))]
    pub fn keep_partial(self, run: &str) -> Result<()> {
        let Self { file, path, place } = self;
        let file = file.into_inner().map_err(|error| file_error(&path, without_path(error.error())))?;
        file.persist(partial_path(&place, run))
            .map_err(|error| file_error(&path, without_path(&error.error)))?;
        Ok(())
    }

    /// The path that was given.
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

/// Where a path leads, if a file can be written there.
fn place_of(given: &Path) -> Result<PathBuf> {
    let place = match fs::symlink_metadata(given) {
        // Behind a link lies the file that is meant.
        Ok(_) => fs::canonicalize(given).map_err(|error| refused(given, &error))?,
        Err(error) if error.kind() == ErrorKind::NotFound => given.to_owned(),
        Err(error) => return Err(refused(given, &error)),
    };
    if let Ok(there) = fs::metadata(&place) {
        if !there.is_file() {
            return Err(refused(given, &"it is there and is no regular file"));
        }
        if there.permissions().readonly() {
            return Err(refused(given, &"it is there and is read-only"));
        }
    }
    Ok(place)
}

fn refused(given: &Path, why: &dyn Display) -> Error {
    file_error(given, format!("cannot be written: {why}"))
}

/// Where an output that was stopped half-way is kept, to go on with: behind its name that of the run, so that no run takes
/// another one's for its own, and `.xent-partial`. Of a link, behind the name of the file that it leads to.
#[cfg(any(feature = "npy", feature = "safetensors"))]
pub fn partial_path(output: &Path, run: &str) -> PathBuf {
    let place = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    let mut name = place.into_os_string();
    name.push(format!(".{run}.xent-partial"));
    name.into()
}

/// What is wrong with a file. Its name may be anything, and a terminal obeys some of it.
pub(crate) fn file_error(path: &Path, message: impl ToString) -> Error {
    let path = path.display().to_string().replace(|c| !is_safe(c), "?");
    Error::File { path, message: message.to_string() }
}

/// `tempfile` adds the temporary's own path, which says nothing to the user.
pub(crate) fn without_path(error: &std::io::Error) -> String {
    let message = error.to_string();
    match message.split_once(" at path ") {
        Some((reason, _)) => reason.to_owned(),
        None => message,
    }
}
