//! A `.npy` file that is read at any place.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::file_error;
use super::header::{self, Header, shape_text};
use crate::error::{Error, Result};

/// Values that are read at a time, where they are made into something else.
pub(super) const CHUNK_VALUES: usize = 1 << 16;

/// A file whose header has been read and whose length is the one that the header tells.
#[derive(Debug)]
pub(super) struct NpyFile {
    pub path: PathBuf,
    pub header: Header,
    file: File,
    data_start: u64,
}

impl NpyFile {
    pub fn open(path: &Path) -> Result<Self> {
        // Opening a pipe would wait for its writer, so look first.
        let metadata = std::fs::metadata(path).map_err(|error| file_error(path, error))?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a folder" } else { "no regular file" };
            return Err(file_error(path, format!("{what}; it is read at many places, so it must be a file")));
        }
        let mut file = File::open(path).map_err(|error| file_error(path, error))?;
        let (header, data_start) =
            read_header(&mut file, metadata.len()).map_err(|why| file_error(path, why))?;
        let (found, needed) = (metadata.len() - data_start, header.data_bytes());
        if found != needed {
            let what = if found < needed { "truncated" } else { "too long" };
            let shape = shape_text(&header.shape);
            return Err(file_error(
                path,
                format!(
                    "{what}: shape {shape} of {} needs {needed} bytes of data; there are {found}",
                    header.descr
                ),
            ));
        }
        Ok(Self { path: path.to_owned(), header, file, data_start })
    }

    /// Reads from the `start`th value on, as many as fill `into`.
    pub fn read_at(&mut self, start: usize, into: &mut [u8]) -> Result<()> {
        let offset = self.data_start + (start * self.header.size) as u64;
        let read = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(into));
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.error("it became shorter while it was read"),
            _ => self.error(error),
        })
    }

    /// Makes something of each value of the array, which is read a chunk at a time. What is wrong with one is told with
    /// its place: `what[2, 1] = `, and on from there.
    pub fn read_all<T>(
        &mut self,
        what: &str,
        make: impl Fn(usize, &[u8]) -> Result<T, String>,
    ) -> Result<Vec<T>> {
        let (size, len) = (self.header.size, self.header.shape.iter().product());
        let mut values = Vec::new();
        if values.try_reserve_exact(len).is_err() {
            return Err(self.error(format!("{len} {what} do not fit into memory")));
        }
        let mut bytes = Vec::new();
        for start in (0..len).step_by(CHUNK_VALUES) {
            bytes.resize(CHUNK_VALUES.min(len - start) * size, 0);
            self.read_at(start, &mut bytes)?;
            for value in bytes.chunks_exact(size.max(1)) {
                let at = values.len();
                let refused = |why| self.error(format!("{what}{} = {why}", self.header.place(at)));
                values.push(make(at, value).map_err(refused)?);
            }
        }
        Ok(values)
    }

    /// What is wrong with this file.
    pub fn error(&self, message: impl ToString) -> Error {
        file_error(&self.path, message)
    }
}

/// The bytes of one value; it has so many.
pub(super) fn array<const N: usize>(value: &[u8]) -> [u8; N] {
    value.first_chunk().copied().unwrap_or([0; N])
}

impl Header {
    /// Bytes of all values.
    fn data_bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.size as u64
    }

    /// Where in the array the `at`th value is, as Python writes it.
    pub fn place(&self, mut at: usize) -> String {
        let mut place = vec![0; self.shape.len()];
        for (index, &len) in place.iter_mut().zip(&self.shape).rev() {
            (*index, at) = (at % len.max(1), at / len.max(1));
        }
        format!("{place:?}")
    }
}

fn read_header(file: &mut File, file_bytes: u64) -> Result<(Header, u64), String> {
    let mut bytes = Vec::new();
    let mut read = |bytes: &mut Vec<u8>, len: usize| {
        file.take(len as u64).read_to_end(bytes).map_err(|error| error.to_string())
    };
    read(&mut bytes, header::PREFIX_BYTES)?;
    let needed = header::header_bytes(&bytes)?;
    let missing = needed.saturating_sub(bytes.len());
    if needed as u64 > file_bytes || read(&mut bytes, missing)? < missing {
        return Err(format!("truncated: a header of {needed} bytes in a file of {file_bytes}"));
    }
    Ok((header::parse(&bytes[..needed])?, needed as u64))
}
