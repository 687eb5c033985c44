//! Files that appear whole or not at all.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, one_line};

/// Bytes read at a time when a file is scanned.
const CHUNK_BYTES: usize = 1 << 20;

/// A file that is being written. It is written at [`partial_path`], next to its place, and [`finish`](Self::finish)
/// moves it there. Until then, and if anything fails, a file that already exists stays as it is.
///
/// The partial file is named after a run and locked, so that a second process cannot write it. The system releases the
/// lock when a process dies. The next file with the same place and run reuses what that process left: it starts again,
/// or it continues ([`resume`](Self::resume)).
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// The given path, for messages.
    path: PathBuf,
    /// The path that it resolves to.
    place: PathBuf,
    /// Where the file is until it is finished.
    partial: PathBuf,
    bytes: u64,
    hasher: crc32fast::Hasher,
    /// Whether the file is longer than what was written, to reserve space.
    has_room: bool,
    /// Whether what was written remains when this is dropped.
    is_kept: bool,
    /// Whether an earlier process has already moved the file to its place.
    is_in_place: bool,
    /// Why bytes were lost on their way to the disk. After that, nothing in the file can be relied on.
    lost: Option<String>,
}

/// The first bytes of a file, and their checksum (CRC-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FilePart {
    /// The number of bytes.
    pub bytes: u64,
    /// The CRC-32 of these bytes.
    pub checksum: u32,
}

impl WholeFile {
    /// Creates a file as part of a run, whose name has letters, digits and `-`.
    ///
    /// # Errors
    /// [`Error::File`] if nothing can be written there: the folder does not exist, permission is missing, the path is
    /// not a regular file, a link leads nowhere, or the name is too long; or if another process is writing it.
    pub fn create(given: &Path, run: &str) -> Result<Self> {
        Self::try_create(given, run)?.ok_or_else(|| refused(given, &IS_TAKEN))
    }

    /// Like [`create`](Self::create), but gives `None` if another process is writing the file.
    ///
    /// # Errors
    /// As for [`create`](Self::create), except that one.
    pub fn try_create(given: &Path, run: &str) -> Result<Option<Self>> {
        let place = place_of(given)?;
        let partial = partial_path(&place, run);
        let file = open_locked(&partial, OpenOptions::new().read(true).write(true).create(true));
        let Some(file) = file.map_err(|error| refused(given, &error))? else { return Ok(None) };
        file.set_len(0).map_err(|error| refused(given, &error))?;
        Ok(Some(Self::of(file, given, place, partial)))
    }

    /// Refuses a path at which [`create`](Self::create) would fail. It leaves no file there.
    ///
    /// # Errors
    /// As for [`create`](Self::create), except for another process.
    pub fn check_place(given: &Path) -> Result<()> {
        let place = place_of(given)?;
        // The name of a run has this length.
        match fs::symlink_metadata(partial_path(&place, "0123456789abcdef")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(refused(given, &error)),
            _ => {}
        }
        let made = tempfile::tempfile_in(folder_of(&place));
        made.map(drop).map_err(|error| refused(given, &without_path(&error)))
    }

    fn of(file: File, given: &Path, place: PathBuf, partial: PathBuf) -> Self {
        Self {
            file,
            path: given.to_owned(),
            place,
            partial,
            bytes: 0,
            hasher: crc32fast::Hasher::new(),
            has_room: false,
            is_kept: false,
            is_in_place: false,
            lost: None,
        }
    }

    /// Continues what [`keep`](Self::keep) has kept, after `part` of it, which must begin with `header`. The part is
    /// read once and compared with its checksum. The kept file stays where it is until it is finished, whatever
    /// happens.
    ///
    /// If the part is the whole file (`is_whole`), the file may already be in its place.
    ///
    /// # Errors
    /// As for [`create`](Self::create); [`Error::File`] if nothing was kept, or if the kept file does not begin with
    /// this header, is shorter, or has other bytes.
    pub fn resume(given: &Path, run: &str, header: &[u8], part: FilePart, is_whole: bool) -> Result<Self> {
        let place = place_of(given)?;
        let partial = partial_path(&place, run);
        let refused = |at: &Path, why: &dyn Display| file_error(at, format!("cannot be resumed: {why}"));
        let opened = open_locked(&partial, OpenOptions::new().read(true).write(true));
        let (file, is_in_place) = match opened {
            Ok(Some(file)) => (file, false),
            Ok(None) => return Err(refused(&partial, &IS_TAKEN)),
            Err(error) if error.kind() == ErrorKind::NotFound && is_whole => {
                let file = File::open(&place).ok().filter(|file| has_length(file, part.bytes));
                (file.ok_or_else(|| refused(&partial, &error))?, true)
            }
            Err(error) => return Err(refused(&partial, &error)),
        };
        let at = if is_in_place { place.clone() } else { partial.clone() };
        let len = file.metadata().map_err(|error| refused(&at, &error))?.len();
        let mut whole = Self::of(file, given, place, partial);
        (whole.is_kept, whole.is_in_place) = (true, is_in_place);
        if whole.read_part(header.len() as u64, |found| found == header).is_none_or(|is_same| !is_same) {
            return Err(refused(&at, &"it was started for another type, shape or name"));
        }
        if len < part.bytes {
            let needed = part.bytes;
            return Err(refused(&at, &format!("{needed} bytes were recorded as written; it has {len}")));
        }
        whole.rewind().map_err(|error| refused(&at, &error))?;
        while whole.bytes < part.bytes {
            let len = (part.bytes - whole.bytes).min(CHUNK_BYTES as u64);
            if whole.read_part(len, |_| ()).is_none() {
                return Err(refused(&at, &"it cannot be read"));
            }
        }
        if whole.part() != part {
            let (found, needed) = (whole.part().checksum, part.checksum);
            let why =
                format!("its first {} bytes have the checksum {found:08x}, not {needed:08x}", part.bytes);
            return Err(refused(&at, &format!("it was changed: {why}")));
        }
        if !is_in_place {
            let file = &mut whole.file;
            let cut = file.set_len(part.bytes).and_then(|()| file.seek(SeekFrom::Start(part.bytes)));
            cut.map_err(|error| refused(&at, &error))?;
        }
        Ok(whole)
    }

    /// Reads the next bytes and counts them as written.
    fn read_part<T>(&mut self, len: u64, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut bytes = vec![0; len as usize];
        self.file.read_exact(&mut bytes).ok()?;
        self.hasher.update(&bytes);
        self.bytes += len;
        Some(look(&bytes))
    }

    fn rewind(&mut self) -> std::io::Result<()> {
        (self.bytes, self.hasher) = (0, crc32fast::Hasher::new());
        self.file.rewind()
    }

    /// The path that was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything written so far.
    pub fn part(&self) -> FilePart {
        FilePart { bytes: self.bytes, checksum: self.hasher.clone().finalize() }
    }

    /// Writes the next bytes. If that fails, everything written before is still there.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // On a full disk, the bytes of the failed write take space that others need.
            let end = SeekFrom::Start(self.bytes);
            let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(end));
            return Err(file_error(&self.path, error));
        }
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Reserves space for a file of `bytes` bytes, before anything is written, so that it fits even if the disk fills
    /// up later. If there is no space, nothing is reserved.
    pub fn take_room(&mut self, bytes: usize) {
        self.has_room = self.file.write_all(&vec![0; bytes]).is_ok();
        if !self.has_room {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.rewind();
    }

    /// Writes everything to the disk, so that it survives a crash of the machine.
    ///
    /// # Errors
    /// [`Error::File`]. After one failure it always fails, because it is unknown what was lost.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(why) = &self.lost {
            return Err(file_error(&self.path, why));
        }
        if self.has_room {
            self.file.set_len(self.bytes).map_err(|error| file_error(&self.path, error))?;
            self.has_room = false;
        }
        self.file.sync_data().map_err(|error| {
            self.lost = Some(error.to_string());
            file_error(&self.path, error)
        })
    }

    /// Writes everything to the disk and keeps it at [`partial_path`] when this is dropped.
    ///
    /// # Errors
    /// As for [`sync`](Self::sync).
    pub fn keep(&mut self) -> Result<()> {
        self.sync()?;
        if !self.is_kept {
            sync_folder_of(&self.partial).map_err(|error| file_error(&self.path, error))?;
            self.is_kept = true;
        }
        Ok(())
    }

    /// Removes the partial file, even if it was kept.
    pub fn discard(mut self) {
        self.is_kept = self.is_in_place;
    }

    /// Moves the file, now complete and on the disk, to its place.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(mut self) -> Result<()> {
        if self.is_in_place {
            return Ok(());
        }
        self.sync()?;
        fs::rename(&self.partial, &self.place).map_err(|error| file_error(&self.path, error))?;
        self.is_kept = true;
        sync_folder_of(&self.place).map_err(|error| file_error(&self.path, error))
    }
}

impl Drop for WholeFile {
    /// Removes the partial file before the lock is released, so that no other process's file is removed.
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

const IS_TAKEN: &str = "another process is writing it";

/// Opens a file that no other process has opened this way; `None` if another process has.
fn open_locked(path: &Path, options: &OpenOptions) -> std::io::Result<Option<File>> {
    loop {
        // Opening a pipe would wait for its other end, and a link may lead to a file that is not ours.
        if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            let message = format!("{} is not a regular file", path.display());
            return Err(std::io::Error::other(message));
        }
        let file = options.open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        // The process that had the file may have moved it in the meantime.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Takes the lock of a file until it is closed, unless another process has it. On a file system without locks, every
/// process gets it.
#[cfg(any(unix, windows))]
fn lock(file: &File) -> std::io::Result<bool> {
    match fs4::FileExt::try_lock(file) {
        Ok(()) => Ok(true),
        Err(fs4::TryLockError::WouldBlock) => Ok(false),
        Err(fs4::TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(true),
        Err(fs4::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(not(any(unix, windows)))]
fn lock(_: &File) -> std::io::Result<bool> {
    Ok(true)
}

/// Whether the open file is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (open.dev(), open.ino()) == (there.dev(), there.ino())
    }
    #[cfg(not(unix))]
    {
        open.len() == there.len()
    }
}

fn has_length(file: &File, bytes: u64) -> bool {
    file.metadata().is_ok_and(|there| there.is_file() && there.len() == bytes)
}

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Writes a new or removed name to the disk.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    // On other systems folders cannot be opened, and names are safe.
    if cfg!(unix) { File::open(folder_of(path))?.sync_all() } else { Ok(()) }
}

/// Resolves a path, if a file can be written there.
fn place_of(given: &Path) -> Result<PathBuf> {
    let place = match fs::symlink_metadata(given) {
        // If it is a link, resolve it to its file.
        Ok(_) => fs::canonicalize(given).map_err(|error| refused(given, &error))?,
        Err(error) if error.kind() == ErrorKind::NotFound => given.to_owned(),
        Err(error) => return Err(refused(given, &error)),
    };
    if let Ok(there) = fs::metadata(&place) {
        if !there.is_file() {
            return Err(refused(given, &"it exists and is not a regular file"));
        }
        if there.permissions().readonly() {
            return Err(refused(given, &"it exists and is read-only"));
        }
    }
    Ok(place)
}

fn refused(given: &Path, why: &dyn Display) -> Error {
    file_error(given, format!("cannot be written: {why}"))
}

/// Where an output is until it is finished: next to its place, with the run's name and `.xent-partial` appended to its
/// name, so that no run mistakes another run's file for its own. For a link, they are appended to the name of the file
/// that it leads to.
pub fn partial_path(output: &Path, run: &str) -> PathBuf {
    let place = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    let mut name = place.into_os_string();
    name.push(format!(".{run}.xent-partial"));
    name.into()
}

/// An error about a file. Its name is untrusted, and a terminal obeys some characters.
pub(crate) fn file_error(path: &Path, message: impl ToString) -> Error {
    let path = one_line(&path.display().to_string());
    Error::File { path, message: message.to_string() }
}

/// `tempfile` adds the temporary file's own path, which tells the user nothing.
pub(crate) fn without_path(error: &std::io::Error) -> String {
    let message = error.to_string();
    match message.split_once(" at path ") {
        Some((reason, _)) => reason.to_owned(),
        None => message,
    }
}
