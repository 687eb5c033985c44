//! A tensor in a file, in several files, or in a stream. Values in files can be read at any position.

use std::fmt;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use super::dtype::Dtype;
use super::file_error;
use super::format::{Content, read_content};
use super::input::{Input, Part, open_part};
use super::options::OpenOptions;
use super::shards::shard_paths;
use super::text::shape_text;
use crate::error::{Error, Result};

/// Values that are read at a time when they are converted.
pub(super) const CHUNK_VALUES: usize = 1 << 16;

/// A tensor whose header has been read and matches the file's length. Its values have not been read. It is in a file,
/// in several files joined along their first axis, or in a stream that is read once, from front to back.
///
/// The file's contents show the format: `.npy`, `.safetensors`, or raw values described by
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
}

impl TensorFile {
    /// Opens a file, or a folder of shards.
    ///
    /// # Errors
    /// [`Error::File`] if the file is missing, truncated, too long, of an unknown format, of another byte order, in
    /// Fortran order, or has no such tensor; if tensors overlap or leave gaps; what [`shard_paths`](super::shard_paths)
    /// refuses.
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
                None => whole = Some(Self::of(path, content, Input::File { part: 0, file })),
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
    /// As for [`open`](Self::open), except for the length, which is checked when the last value is read.
    pub fn from_reader(
        name: impl AsRef<Path>,
        mut reader: impl Read + Send + 'static,
        options: &OpenOptions,
    ) -> Result<Self> {
        let name = name.as_ref();
        let (content, start) =
            read_content(&mut reader, name, None, options).map_err(|why| file_error(name, why))?;
        let position = start.bytes.len() as u64;
        // If the header is shorter than the bytes that show the format, the first values have been read with it.
        let early = start.bytes.get(content.data.start as usize..).unwrap_or_default().to_vec();
        let position = position - early.len() as u64;
        let reader = Box::new(Cursor::new(early).chain(reader));
        Ok(Self::of(name, content, Input::Stream { reader, position }))
    }

    fn of(path: &Path, content: Content, input: Input) -> Self {
        let Content { dtype, descr, dims, data, end } = content;
        let values = 0..dims.iter().product();
        let parts = vec![Part { path: path.to_owned(), values, data, end }];
        Self { path: path.to_owned(), dtype, descr, dims, parts, input }
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
            data: content.data,
            end: content.end,
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

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.parts.last().map_or(0, |part| part.values.end)
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
        let (mut value, mut rest) = (start, into);
        while !rest.is_empty() {
            let at = self.parts.partition_point(|part| part.values.end <= value);
            let Some(part) = self.parts.get(at) else { break };
            let len = rest.len().min((part.values.end - value) * size);
            let offset = part.data.start + ((value - part.values.start) * size) as u64;
            let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
            self.input.read(&self.parts, at, offset, now)?;
            (value, rest) = (value + len / size, later);
        }
        Ok(())
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

#[cfg(all(test, feature = "npy", feature = "safetensors"))]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::eval::files::{RawLayout, TensorWriter};

    fn raw(rows: Option<usize>) -> OpenOptions {
        OpenOptions { raw: Some(RawLayout { dtype: Dtype::F32, cols: 2, rows }), ..Default::default() }
    }

    fn values(from: usize, len: usize) -> Vec<f32> {
        (from..from + len).map(|value| value as f32).collect()
    }

    /// Rows of 2, with values from `from` on.
    fn write(folder: &TempDir, name: &str, from: usize, rows: usize) -> PathBuf {
        let path = folder.path().join(name);
        let mut file = TensorWriter::create(&path, "a", "logits", Dtype::F32, &[rows, 2]).unwrap();
        file.write(&values(from, 2 * rows)).unwrap();
        file.finish().unwrap();
        path
    }

    fn read(file: &mut TensorFile, start: usize, len: usize) -> Result<Vec<f32>> {
        let mut window = vec![f32::NAN; len];
        file.read_at(start, bytemuck::cast_slice_mut(&mut window))?;
        Ok(window)
    }

    #[test]
    fn shards_are_one_tensor() {
        let folder = TempDir::new().unwrap();
        for suffix in ["npy", "safetensors"] {
            let names = [(0, 1, "s-1"), (2, 0, "s-2"), (2, 3, "s-10"), (8, 2, "s-11")];
            let paths =
                names.map(|(from, rows, name)| write(&folder, &format!("{name}.{suffix}"), from, rows));
            for mut file in [
                TensorFile::open_all(&paths, &Default::default()).unwrap(),
                TensorFile::open_all(&shard_paths(&paths, false).unwrap(), &Default::default()).unwrap(),
            ] {
                assert_eq!((file.dims(), file.is_sharded()), (&[6, 2][..], true));
                for start in 0..12 {
                    for len in 0..=12 - start {
                        assert_eq!(read(&mut file, start, len), Ok(values(start, len)), "{start} {len}");
                    }
                }
                assert!(matches!(read(&mut file, 11, 2), Err(Error::Length { .. })));
            }
            paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }
    }

    #[test]
    fn shards_of_a_folder_stand_by_their_numbers() {
        let folder = TempDir::new().unwrap();
        for (name, from, rows) in [("p-10.npy", 4, 1), ("p-9.npy", 0, 2), (".hidden.npy", 0, 9)] {
            write(&folder, name, from, rows);
        }
        std::fs::write(folder.path().join("index.json"), "{}").unwrap();
        let mut file = TensorFile::open(folder.path(), &Default::default()).unwrap();
        assert_eq!(read(&mut file, 0, 6), Ok(values(0, 6)));
        write(&folder, "q.safetensors", 0, 1);
        let error = TensorFile::open(folder.path(), &Default::default()).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "the folder has files of both formats (p-9.npy and q.safetensors): name the files"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_shard_that_does_not_fit_is_named() {
        let folder = TempDir::new().unwrap();
        let first = write(&folder, "a.npy", 0, 1);
        for (name, dtype, shape) in [
            ("type.npy", Dtype::F16, &[1, 2][..]),
            ("cols.npy", Dtype::F32, &[1, 3]),
            ("axes.npy", Dtype::F32, &[1, 2, 1]),
            ("none.npy", Dtype::F32, &[]),
        ] {
            let path = folder.path().join(name);
            let mut file = TensorWriter::create(&path, "a", "", dtype, shape).unwrap();
            match dtype {
                Dtype::F32 => file.write(&vec![0f32; shape.iter().product()]).unwrap(),
                _ => file.write(&vec![half::f16::ZERO; shape.iter().product()]).unwrap(),
            }
            file.finish().unwrap();
            let error = TensorFile::open_all(&[&first, &path], &Default::default()).unwrap_err();
            assert!(
                matches!(&error, Error::File { path, message } if path.ends_with(name)
                && message.contains("it cannot be joined along the first axis to") && message.contains("a.npy")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let folder = TempDir::new().unwrap();
        let paths = [write(&folder, "a.npy", 0, 2), write(&folder, "b.npy", 4, 2)];
        let cut = |path: &Path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() - 4).unwrap();
        };
        let mut file = TensorFile::open_all(&paths, &Default::default()).unwrap();
        cut(&paths[1]);
        assert_eq!(read(&mut file, 0, 4), Ok(values(0, 4)));
        let error = read(&mut file, 2, 4).unwrap_err().to_string();
        assert!(error.ends_with("b.npy: it had 144 bytes when it was opened; now it has 140"), "{error}");
        cut(&paths[0]);
        let error = read(&mut file, 2, 2).unwrap_err().to_string();
        assert!(error.ends_with("a.npy: it became shorter while it was read"), "{error}");
    }

    #[test]
    fn streams_are_read_once_and_in_full() {
        let folder = TempDir::new().unwrap();
        let bytes = |name: &str| std::fs::read(write(&folder, name, 0, 3)).unwrap();
        let plain: Vec<u8> = bytemuck::cast_slice(&values(0, 6)).to_vec();
        for (name, content, options) in [
            ("npy", bytes("a.npy"), OpenOptions::default()),
            ("safetensors", bytes("a.safetensors"), OpenOptions::default()),
            ("raw", plain, raw(Some(3))),
        ] {
            let open = |content: Vec<u8>| TensorFile::from_reader(name, Cursor::new(content), &options);
            let mut file = open(content.clone()).unwrap();
            assert_eq!(file.dims(), [3, 2], "{name}");
            assert_eq!(read(&mut file, 0, 2), Ok(values(0, 2)), "{name}");
            assert_eq!(read(&mut file, 3, 3), Ok(values(3, 3)), "{name}: what is skipped");
            let error = read(&mut file, 2, 1).unwrap_err().to_string();
            assert_eq!(error, format!("{name}: a stream is read once, from front to back"));

            let mut short = open(content[..content.len() - 1].to_vec()).unwrap();
            let error = read(&mut short, 1, 5).unwrap_err().to_string();
            assert_eq!(error, format!("{name}: it ends early: it has 23 of 24 bytes of values"));
            let mut long = open([&content[..], &[0]].concat()).unwrap();
            let error = read(&mut long, 1, 5).unwrap_err().to_string();
            assert_eq!(error, format!("{name}: too long: it has more than 24 bytes of values"));
        }
        let error = TensorFile::from_reader("raw", std::io::empty(), &raw(None)).unwrap_err();
        assert_eq!(error.to_string(), "raw: the number of rows of a stream must be given");
    }
}
