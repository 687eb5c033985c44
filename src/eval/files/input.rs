//! The input of a tensor: its files, one of them open at a time, or a stream.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, copy, sink};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::file_error;
use super::format::{Content, Order, read_content};
#[cfg(feature = "npz")]
use super::npz;
use super::options::OpenOptions;
use crate::error::Result;

/// One of the files of a tensor.
#[derive(Debug)]
pub(super) struct Part {
    pub path: PathBuf,
    /// The range of the tensor's values in this file.
    pub values: Range<usize>,
    pub order: Order,
    /// The position of these values, in bytes from the start of the file.
    pub data: Range<u64>,
    /// The length of the file.
    pub end: u64,
    /// Where the values are compressed, if they are. `data` then counts from their start.
    pub compressed: Option<Compressed>,
}

/// A part of a file whose bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compressed {
    pub start: u64,
    pub len: u64,
}

#[cfg(not(feature = "npz"))]
impl Compressed {
    fn open(self, _: &File) -> std::io::Result<Box<dyn Read + Send>> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// The open file, a stream, or a file in memory.
pub(super) enum Input {
    File { part: usize, file: File, inflated: Option<Inflated> },
    Stream { reader: Box<dyn Read + Send>, position: u64 },
    Memory { bytes: Vec<u8> },
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { part, file, .. } => {
                f.debug_struct("File").field("part", part).field("file", file).finish_non_exhaustive()
            }
            Self::Stream { position, .. } => {
                f.debug_struct("Stream").field("position", position).finish_non_exhaustive()
            }
            Self::Memory { bytes } => f.debug_struct("Memory").field("bytes", &bytes.len()).finish(),
        }
    }
}

impl Input {
    /// Reads from byte `offset` of a file until `into` is full.
    pub fn read(&mut self, parts: &[Part], at: usize, offset: u64, into: &mut [u8]) -> Result<()> {
        let part = &parts[at];
        let failed = |error: std::io::Error, early: &str| match error.kind() {
            ErrorKind::UnexpectedEof => file_error(&part.path, early),
            _ => file_error(&part.path, error),
        };
        match self {
            Self::File { part: open, file, inflated } => {
                if *open != at {
                    (*file, *inflated) = (reopen(part)?, None);
                    *open = at;
                }
                if let Some(compressed) = part.compressed {
                    let read = Inflated::read(inflated, compressed, file, offset, into);
                    return read.map_err(|error| failed(error, "its compressed values end early"));
                }
                let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(into));
                read.map_err(|error| failed(error, "it became shorter while it was read"))
            }
            Self::Memory { bytes } => {
                let values =
                    usize::try_from(offset).ok().and_then(|start| bytes.get(start..)?.get(..into.len()));
                into.copy_from_slice(values.ok_or_else(|| file_error(&part.path, "it ends early"))?);
                Ok(())
            }
            Self::Stream { reader, position } => {
                let needed = part.data.end - part.data.start;
                let early = |got: u64| format!("it ends early: it has {got} of {needed} bytes of values");
                let Some(skipped) = offset.checked_sub(*position) else {
                    return Err(file_error(&part.path, "a stream is read once, from front to back"));
                };
                let came = copy(&mut reader.by_ref().take(skipped), &mut sink())
                    .map_err(|error| failed(error, ""))?;
                *position += came;
                let mut filled = 0;
                while came == skipped && filled < into.len() {
                    match read_some(reader, &mut into[filled..]).map_err(|error| failed(error, ""))? {
                        0 => break,
                        len => filled += len,
                    }
                }
                *position += filled as u64;
                if filled < into.len() {
                    return Err(file_error(&part.path, early(position.saturating_sub(part.data.start))));
                }
                // Nothing may follow the last value. Otherwise rows beyond the given number would be silently ignored.
                let is_done = *position == part.end;
                if is_done && read_some(reader, &mut [0]).map_err(|error| failed(error, ""))? > 0 {
                    return Err(file_error(
                        &part.path,
                        format!("too long: it has more than {needed} bytes of values"),
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Reads the bytes available, waiting if there are none yet; 0 at the end.
fn read_some(reader: &mut dyn Read, into: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match reader.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Compressed values that are read from front to back, and again from the front.
pub(super) struct Inflated {
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl Inflated {
    /// Fills `into` from byte `offset` on. `open` is the one that was read from last, if any.
    fn read(
        open: &mut Option<Self>,
        compressed: Compressed,
        file: &File,
        offset: u64,
        into: &mut [u8],
    ) -> std::io::Result<()> {
        let mut from = match open.take().filter(|open| open.position <= offset) {
            Some(open) => open,
            None => Self { reader: compressed.open(file)?, position: 0 },
        };
        let skipped = offset - from.position;
        if copy(&mut from.reader.by_ref().take(skipped), &mut sink())? < skipped {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        from.reader.read_exact(into)?;
        from.position = offset + into.len() as u64;
        *open = Some(from);
        Ok(())
    }
}

/// Opens a file and reads its header.
pub(super) fn open_part(path: &Path, options: &OpenOptions) -> Result<(Content, File)> {
    // Opening a pipe would wait for its writer, so check first.
    let metadata = std::fs::metadata(path).map_err(|error| file_error(path, error))?;
    if !metadata.is_file() {
        return Err(file_error(path, "not a regular file: it is read at many places, so it must be one"));
    }
    let mut file = File::open(path).map_err(|error| file_error(path, error))?;
    #[cfg(feature = "npz")]
    if options.raw.is_none() && npz::is_archive(&mut file, path).map_err(|error| file_error(path, error))? {
        let content = npz::open(&file, options).map_err(|why| file_error(path, why))?;
        return Ok((content, file));
    }
    let content = read_content(&mut file, path, Some(metadata.len()), options);
    let (content, _) = content.map_err(|why| file_error(path, why))?;
    Ok((content, file))
}

/// Opens a file again after its header was read.
fn reopen(part: &Part) -> Result<File> {
    let file = File::open(&part.path).map_err(|error| file_error(&part.path, error))?;
    let found = file.metadata().map_err(|error| file_error(&part.path, error))?.len();
    if found != part.end {
        let needed = part.end;
        return Err(file_error(
            &part.path,
            format!("it had {needed} bytes when it was opened; now it has {found}"),
        ));
    }
    Ok(file)
}
