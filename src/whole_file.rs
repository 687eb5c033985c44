//! Files that are there whole or not at all.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, is_safe};

/// Bytes that are read at a time, where a file is gone through.
const CHUNK_BYTES: usize = 1 << 20;

/// A file in the making. It is written beside its place, at [`partial_path`], and takes its place in
/// [`finish`](Self::finish): until then, and whenever anything fails, a file that is already there stays as it is.
///
/// It is named after a run, and locked: of two processes the second cannot write it. The system takes the lock from a
/// process that dies. What that one has left is taken by the next file of the same place and run, which begins anew, or
/// goes on with it ([`resume`](Self::resume)).
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// The path that was given, for messages.
    path: PathBuf,
    /// Where it leads.
    place: PathBuf,
    /// Where it is until it is finished.
    partial: PathBuf,
    bytes: u64,
    hasher: crc32fast::Hasher,
    /// Whether the file is longer than what was written, to keep room.
    has_room: bool,
    /// Whether what was written is there still when this is dropped.
    is_kept: bool,
    /// Whether an earlier process has put it in its place.
    is_in_place: bool,
    /// Why bytes were lost on their way to the disk: nothing of the file can be relied on.
    lost: Option<String>,
}

/// The first bytes of a file, and their checksum (CRC-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FilePart {
    /// How many.
    pub bytes: u64,
    /// Their checksum.
    pub checksum: u32,
}

impl WholeFile {
    /// Begins a file, as a part of this run: letters, digits and `-`.
    ///
    /// # Errors
    /// [`Error::File`] where nothing can be written there: no such folder, no permission, no regular file, a link that
    /// leads nowhere, a name that is too long; or where another process is writing it.
    pub fn create(given: &Path, run: &str) -> Result<Self> {
        Self::try_create(given, run)?.ok_or_else(|| refused(given, &IS_TAKEN))
    }

    /// The same; `None` where another process has it.
    ///
    /// # Errors
    /// As [`create`](Self::create), but for that.
    pub fn try_create(given: &Path, run: &str) -> Result<Option<Self>> {
        let place = place_of(given)?;
        let partial = partial_path(&place, run);
        let file = open_locked(&partial, OpenOptions::new().read(true).write(true).create(true));
        let Some(file) = file.map_err(|error| refused(given, &error))? else { return Ok(None) };
        file.set_len(0).map_err(|error| refused(given, &error))?;
        Ok(Some(Self::of(file, given, place, partial)))
    }

    /// Refuses a path at which [`create`](Self::create) would fail, and leaves nothing there.
    ///
    /// # Errors
    /// As [`create`](Self::create), but for another process.
    pub fn check_place(given: &Path) -> Result<()> {
        let place = place_of(given)?;
        // The name of a run is so long.
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

    /// Goes on with what [`keep`](Self::keep) has kept, behind this part of it, which begins with this header. It is read
    /// once, and compared with its checksum. It stays where it is until the file is finished, whatever happens.
    ///
    /// Where the part is said to be the whole file, it may be in its place already.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Error::File`] where nothing was kept, or it does not begin with this header, is
    /// shorter, or has other bytes.
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
            return Err(refused(&at, &"it was begun for another type, shape or name"));
        }
        if len < part.bytes {
            let needed = part.bytes;
            return Err(refused(&at, &format!("{needed} bytes were said to be done; it has {len}")));
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

    /// Reads the next bytes, as if they had been written.
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

    /// All that has been written so far.
    pub fn part(&self) -> FilePart {
        FilePart { bytes: self.bytes, checksum: self.hasher.clone().finalize() }
    }

    /// Writes the next bytes. Where that fails, all before them is still there.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // On a disk that is full, what was written of them is in the way of others.
            let end = SeekFrom::Start(self.bytes);
            let _ = self.file.set_len(self.bytes).and_then(|()| self.file.seek(end));
            return Err(file_error(&self.path, error));
        }
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Takes room for a file of `bytes` bytes, of which none is written yet: a disk that is full later has it. Where there
    /// is none, it does without.
    pub fn take_room(&mut self, bytes: usize) {
        self.has_room = self.file.write_all(&vec![0; bytes]).is_ok();
        if !self.has_room {
            let _ = self.file.set_len(0);
        }
        let _ = self.file.rewind();
    }

    /// Brings all that was written to the disk, where it outlives the machine.
    ///
    /// # Errors
    /// [`Error::File`]; once it has failed, always: what is lost then is not known.
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

    /// Brings all that was written to the disk, and keeps it there, at [`partial_path`], when this is dropped.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn keep(&mut self) -> Result<()> {
        self.sync()?;
        if !self.is_kept {
            sync_folder_of(&self.partial).map_err(|error| file_error(&self.path, error))?;
            self.is_kept = true;
        }
        Ok(())
    }

    /// Leaves nothing of it, though it was kept.
    pub fn discard(mut self) {
        self.is_kept = self.is_in_place;
    }

    /// Puts the file, whole now and on the disk, in its place.
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
    /// Before the lock goes, so that nobody else's is removed.
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

const IS_TAKEN: &str = "another process is writing it";

/// Opens a file that no other process has open this way; `None` where one has.
fn open_locked(path: &Path, options: &OpenOptions) -> std::io::Result<Option<File>> {
    loop {
        // Opening a pipe would wait for its other end, and a link leads to what is not ours.
        if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
            let message = format!("{} is no regular file", path.display());
            return Err(std::io::Error::other(message));
        }
        let file = options.open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        // The process that had it may have moved it away in between.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Takes the lock of a file until it is closed, unless another process has it. Where the file system has no locks, all
/// get them.
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

/// Whether this is the file that lies there.
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

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

/// Brings a name that is new, or gone, to the disk.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    // Elsewhere folders cannot be opened, and names are safe.
    if cfg!(unix) { File::open(folder_of(path))?.sync_all() } else { Ok(()) }
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

/// Where an output is until it is finished: beside its place, and behind its name that of the run, so that no run takes
/// another one's for its own, and `.xent-partial`. Of a link, behind the name of the file that it leads to.
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
