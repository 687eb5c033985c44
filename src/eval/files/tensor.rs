//! A tensor in a file, in several files, or in a stream. Values in files can be read at any position.

use std::fmt;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use super::dtype::Dtype;
use super::file_error;
use super::format::{Content, read_content};
use super::input::{Input, Part, open_part};
use super::options::OpenOptions;
use super::order::{read_fortran, swap};
use super::shards::shard_paths;
use super::text::shape_text;
use crate::error::{Error, Result};

/// Values that are read at a time when they are converted.
pub(super) const CHUNK_VALUES: usize = 1 << 16;

const IN_FORTRAN_ORDER: &str = "in Fortran order, which cannot be read from a stream: name the file, or write it with \
     numpy.ascontiguousarray";

/// A tensor whose header has been read and matches the file's length. Its values have not been read. It is in a file,
/// in several files joined along their first axis, or in a stream that is read once, from front to back.
///
/// The file's contents show the format: `.npy`, `.safetensors`, llama.cpp's saved logits, or raw values described by
/// [`OpenOptions::raw`](super::OpenOptions::raw). Values are read in blocks at their position, never mapped. With
/// several files, only one is open at a time.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    dtype: Option<Dtype>,
    descr: String,
    dims: Vec<usize>,
    parts: Vec<Part>,
    input: Input,
    /// What a stream of llama.cpp's saved logits has before its values: the header and the tokens.
    lead: Vec<u8>,
}

impl TensorFile {
    /// Opens a file, or a folder of shards.
    ///
    /// # Errors
    /// [`Error::File`] if the file is missing, truncated, too long, of an unknown format, or has no such tensor; if
    /// tensors overlap or leave gaps; what [`shard_paths`](super::shard_paths) refuses.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        Self::open_all(&[path], options)
    }

    /// Opens several files, or folders of files, in this order as one tensor, joined along the first axis.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and if the type or the other axes of a file differ from those of the first file;
    /// [`Error::Length`] without paths.
    pub fn open_all<P: AsRef<Path>>(paths: &[P], options: &OpenOptions) -> Result<Self> {
        let Some(given) = paths.first() else {
            return Err(Error::Length { what: "the paths", found: 0, needed: 1 });
        };
        let shards = shard_paths(paths, options.raw.is_some())?;
        let mut whole: Option<Self> = None;
        for path in &shards {
            let (content, file) = open_part(path, options)?;
            match &mut whole {
                Some(whole) => whole.join(path, content)?,
                None => whole = Some(Self::of(path, content, Input::File { part: 0, file, inflated: None })),
            }
        }
        // A folder without files has already been refused.
        let mut whole = whole.ok_or(Error::Length { what: "the files", found: 0, needed: 1 })?;
        if shards.len() > 1 {
            given.as_ref().clone_into(&mut whole.path);
        }
        let told = options.raw.and_then(|raw| raw.rows);
        match (told, whole.dims.first()) {
            (Some(needed), Some(&found)) if needed != found => {
                let wrong = if found < needed { "truncated" } else { "too long" };
                Err(whole.error(format!("{wrong}: {needed} rows were given; there are {found}")))
            }
            _ => Ok(whole),
        }
    }

    /// Reads a tensor from a stream, which must start with a header unless it is raw. Its values can be read once, in
    /// order. `name` is its name in messages.
    ///
    /// # Errors
    /// As for [`open`](Self::open), except for the length, which is checked when the last value is read; for an array in
    /// Fortran order.
    pub fn from_reader(
        name: impl AsRef<Path>,
        mut reader: impl Read + Send + 'static,
        options: &OpenOptions,
    ) -> Result<Self> {
        let name = name.as_ref();
        let (content, start) =
            read_content(&mut reader, name, None, options).map_err(|why| file_error(name, why))?;
        if content.order.fortran {
            return Err(file_error(name, IN_FORTRAN_ORDER));
        }
        let position = start.bytes.len() as u64;
        // If the header is shorter than the bytes that show the format, the first values have been read with it.
        let early = start.bytes.get(content.data.start as usize..).unwrap_or_default().to_vec();
        let mut position = position - early.len() as u64;
        let mut lead = Vec::new();
        if content.order.records.is_some() {
            let needed = content.data.start;
            lead = start.bytes;
            let read = (&mut reader).take(needed.saturating_sub(position)).read_to_end(&mut lead);
            read.map_err(|error| file_error(name, error))?;
            position = lead.len() as u64;
            if position < needed {
                let why = format!("it ends early: its header and tokens have {position} of {needed} bytes");
                return Err(file_error(name, why));
            }
        }
        let reader = Box::new(Cursor::new(early).chain(reader));
        Ok(Self { lead, ..Self::of(name, content, Input::Stream { reader, position }) })
    }

    /// Reads a tensor whose file is in memory as a whole. `name` is its name in messages.
    ///
    /// # Errors
    /// As for [`open`](Self::open); for a `.npz` archive.
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>, options: &OpenOptions) -> Result<Self> {
        let name = name.as_ref();
        let content = read_content(&mut &bytes[..], name, Some(bytes.len() as u64), options);
        let (content, _) = content.map_err(|why| file_error(name, why))?;
        Ok(Self::of(name, content, Input::Memory { bytes }))
    }

    fn of(path: &Path, content: Content, input: Input) -> Self {
        let Content { dtype, descr, dims, order, data, end, compressed } = content;
        let values = 0..dims.iter().product();
        let parts = vec![Part { path: path.to_owned(), values, order, data, end, compressed }];
        Self { path: path.to_owned(), dtype, descr, dims, parts, input, lead: Vec::new() }
    }

    /// Appends a file.
    fn join(&mut self, path: &Path, content: Content) -> Result<()> {
        let (found, needed) = (&content.dims[..], &self.dims[..]);
        if content.descr != self.descr || found.is_empty() || found.get(1..) != needed.get(1..) {
            let (found, needed) = (shape_text(found), shape_text(needed));
            let first = self.parts.first().map(|part| part.path.display().to_string()).unwrap_or_default();
            let why = format!(
                "shape {found} of {}: it cannot be joined along the first axis to {first}, which has shape \
                 {needed} of {}",
                content.descr, self.descr
            );
            return Err(file_error(path, why));
        }
        let start = self.parts.last().map_or(0, |part| part.values.end);
        let rows = self.dims[0].checked_add(content.dims[0]);
        let end = start.checked_add(content.dims.iter().product());
        let bytes = end.and_then(|end| end.checked_mul(self.value_bytes().max(8)));
        let (Some(rows), Some(end), Some(_)) = (rows, end, bytes) else {
            return Err(file_error(path, "the files together are larger than memory can be"));
        };
        self.dims[0] = rows;
        self.parts.push(Part {
            path: path.to_owned(),
            values: start..end,
            order: content.order,
            data: content.data,
            end: content.end,
            compressed: content.compressed,
        });
        Ok(())
    }

    /// The path of the file; for several files, the first path given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The type of the values; `None` if the type cannot be read.
    pub fn dtype(&self) -> Option<Dtype> {
        self.dtype
    }

    /// The length of each axis.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Whether the tensor is in more than one file.
    pub fn is_sharded(&self) -> bool {
        self.parts.len() > 1
    }

    /// Whether these are the log-probabilities of llama.cpp's saved logits, whose targets are in the same file.
    pub fn is_llama_cpp(&self) -> bool {
        self.dtype == Some(Dtype::F32) && self.parts.iter().any(|part| part.order.records.is_some())
    }

    /// Opens another array of the same files. Of a stream, only llama.cpp's saved logits have others: their targets and
    /// their tokens, which are kept in memory because they come before the values.
    ///
    /// # Errors
    /// As for [`open_all`](Self::open_all); [`Error::File`] for other streams.
    pub fn another(&self, options: &OpenOptions) -> Result<Self> {
        match &self.input {
            Input::File { .. } => {
                let paths: Vec<_> = self.parts.iter().map(|part| &part.path).collect();
                Ok(Self { path: self.path.clone(), ..Self::open_all(&paths, options)? })
            }
            Input::Memory { bytes } => Self::from_bytes(&self.path, bytes.clone(), options),
            Input::Stream { .. } if self.is_llama_cpp() => {
                let content = read_content(&mut &self.lead[..], &self.path, None, options);
                let (content, _) = content.map_err(|why| self.error(why))?;
                Ok(Self::of(&self.path, content, Input::Memory { bytes: self.lead.clone() }))
            }
            Input::Stream { .. } => Err(self.error("a stream is read once, for one array")),
        }
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.parts.last().map_or(0, |part| part.values.end)
    }

    /// Where the values of each file end.
    pub(super) fn part_ends(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.values.end)
    }

    /// The type as the file writes it.
    pub(super) fn descr(&self) -> &str {
        &self.descr
    }

    pub(super) fn value_bytes(&self) -> usize {
        self.dtype.map_or(0, Dtype::bytes)
    }

    /// Reads values unconverted, little-endian, from value `start` on, until `into` is full.
    ///
    /// # Errors
    /// [`Error::File`], also if a file has become shorter, or if a stream ends too early or too late; [`Error::Length`]
    /// for a read past the last value.
    pub fn read_at(&mut self, start: usize, into: &mut [u8]) -> Result<()> {
        let size = self.value_bytes();
        let (len, there) = (into.len(), self.len().saturating_sub(start).saturating_mul(size));
        if len > there {
            return Err(Error::Length { what: "values to be read", found: there, needed: len });
        }
        let Self { dims, parts, input, .. } = self;
        let (mut value, mut rest) = (start, into);
        while !rest.is_empty() {
            let at = parts.partition_point(|part| part.values.end <= value);
            let Some(part) = parts.get(at) else { break };
            let len = rest.len().min((part.values.end - value) * size);
            let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
            let (first, count) = (value - part.values.start, len / size);
            let mut read_bytes =
                |offset: u64, into: &mut [u8]| input.read(parts, at, part.data.start + offset, into);
            if let Some(records) = part.order.records {
                records.read(first, now, read_bytes)?;
            } else if part.order.fortran {
                let rows = part.values.len() / dims[1..].iter().product::<usize>();
                let dims = [&[rows], &dims[1..]].concat();
                read_fortran(&dims, size, first..first + count, now, |first, into| {
                    read_bytes((first * size) as u64, into)
                })?;
            } else {
                read_bytes((first * size) as u64, now)?;
            }
            if part.order.big_endian {
                swap(now, size);
            }
            (value, rest) = (value + count, later);
        }
        Ok(())
    }

    /// Reads whole records, from the one that begins with a value on, until `into` is full.
    pub(super) fn read_records(&mut self, value: usize, into: &mut [u8]) -> Result<()> {
        let Self { parts, input, .. } = self;
        let (mut value, mut rest) = (value, into);
        while !rest.is_empty() {
            let at = parts.partition_point(|part| part.values.end <= value);
            let Some((part, records)) = parts.get(at).and_then(|part| Some((part, part.order.records?)))
            else {
                return Err(Error::Length { what: "records to be read", found: 0, needed: 1 });
            };
            let start = part.data.start + records.start_of(value - part.values.start);
            let len = rest.len().min((part.data.end - start) as usize);
            let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
            input.read(parts, at, start, now)?;
            (value, rest) = (part.values.end, later);
        }
        Ok(())
    }

    /// Reads bytes of the record that holds a value, from byte `offset` of the record on.
    pub(super) fn read_record(&mut self, value: usize, offset: usize, into: &mut [u8]) -> Result<()> {
        let Self { parts, input, .. } = self;
        let at = parts.partition_point(|part| part.values.end <= value);
        let Some((part, records)) = parts.get(at).and_then(|part| Some((part, part.order.records?))) else {
            return Err(Error::Length { what: "records to be read", found: 0, needed: 1 });
        };
        let start = records.start_of(value - part.values.start);
        input.read(parts, at, part.data.start + start + offset as u64, into)
    }

    /// Converts every value, reading a chunk at a time. A message about a value starts with its position: `what[2, 1] =
    /// `.
    pub(super) fn read_all<T>(
        &mut self,
        what: &str,
        make: impl Fn(usize, &[u8]) -> Result<T, String>,
    ) -> Result<Vec<T>> {
        let (size, len) = (self.value_bytes(), self.len());
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
                values.push(make(at, value).map_err(|why| self.value_error(what, at, why))?);
            }
        }
        Ok(values)
    }

    /// An error about this file.
    pub(super) fn error(&self, message: impl ToString) -> Error {
        file_error(&self.path, message)
    }

    /// An error about a value, with its file and its position there.
    pub(super) fn value_error(&self, what: &str, at: usize, why: impl fmt::Display) -> Error {
        let part = self.parts.iter().find(|part| part.values.contains(&at));
        let (path, first) = part.map_or((&self.path, 0), |part| (&part.path, part.values.start));
        file_error(path, format!("{what}{} = {why}", self.place(at - first)))
    }

    /// The position of the `at`th value in a file, as Python writes it.
    fn place(&self, mut at: usize) -> String {
        let mut place = vec![0; self.dims.len()];
        for (index, &len) in place.iter_mut().zip(&self.dims).rev() {
            (*index, at) = (at % len.max(1), at / len.max(1));
        }
        format!("{place:?}")
    }
}
