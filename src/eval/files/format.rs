//! The format of a file, and the contents of its header.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::dtype::Dtype;
use super::foreign;
use super::input::Compressed;
use super::llama_cpp::{self, Records};
#[cfg(feature = "npy")]
use super::npy_header;
use super::options::{OpenOptions, RawLayout, Wanted};
#[cfg(feature = "safetensors")]
use super::safetensors_header;
#[cfg(feature = "npy")]
use super::text::shape_text;

/// A file format with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// NumPy's format, with one array. With the feature `npy`.
    Npy,
    /// Hugging Face's format, with named tensors. With the feature `safetensors`.
    Safetensors,
}

const NPY_MAGIC: &[u8] = b"\x93NUMPY";
/// The bytes at the start of a file that show its format.
const MAGIC_BYTES: usize = 12;

impl FileFormat {
    /// The format that a file's name ends with: `.npy` or `.safetensors`.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npy" => Some(Self::Npy),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
    }

    /// The ending of file names of this format.
    #[cfg(not(all(feature = "npy", feature = "safetensors")))]
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Npy => ".npy",
            Self::Safetensors => ".safetensors",
        }
    }

    /// The format that a file's first bytes show.
    fn of_content(start: &[u8]) -> Option<Self> {
        if start.starts_with(NPY_MAGIC) {
            return Some(Self::Npy);
        }
        // The JSON of a header, after its length.
        (start.get(8) == Some(&b'{')).then_some(Self::Safetensors)
    }
}

/// The contents of a file, from its header or from the options.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Content {
    /// The type that values are read as, or `None` if they cannot be read.
    pub dtype: Option<Dtype>,
    /// The type as the file writes it.
    pub descr: String,
    /// The length of each axis. The product fits into a `usize`, in bytes too.
    pub dims: Vec<usize>,
    /// How the bytes of a value, and the values, come.
    pub order: Order,
    /// The position of the values, in bytes from the start of the file.
    pub data: Range<u64>,
    /// The end of the file, after any other contents.
    pub end: u64,
    /// Where the values are compressed, if they are. `data` then counts from their start.
    pub compressed: Option<Compressed>,
}

impl Content {
    /// Takes integers of 16 bits as the floats that they store, if the options say so.
    pub fn stored_as(self, options: &OpenOptions) -> Result<Self, String> {
        let Some(stored) = options.stored else { return Ok(self) };
        let is_stored = matches!(self.dtype, Some(Dtype::I16 | Dtype::U16)) && stored.bytes() == 2;
        if self.dtype != Some(stored) && !is_stored {
            let (found, name) = (&self.descr, stored.name());
            return Err(format!(
                "type {found}: it does not store {name}; only 16-bit integers store f16 or bf16"
            ));
        }
        Ok(Self { dtype: Some(stored), ..self })
    }
}

/// The order of bytes and values in a file, if it is not the usual one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// The first byte of a value is its highest.
    pub big_endian: bool,
    /// The first axis is the fastest.
    pub fortran: bool,
    /// Values are in records that hold more than values.
    pub records: Option<Records>,
}

/// Reads a header and checks it against the file's length, if known.
pub(super) fn read_content(
    reader: &mut dyn Read,
    name: &Path,
    file_bytes: Option<u64>,
    options: &OpenOptions,
) -> Result<(Content, Start), String> {
    let mut start = Start { bytes: Vec::new() };
    if let (Some(raw), None) = (&options.raw, &options.key) {
        // The first bytes of a raw stream are values, so they are not read here.
        if file_bytes.is_some() {
            start.fill(reader, MAGIC_BYTES)?;
        }
        if start.bytes.starts_with(NPY_MAGIC) || FileFormat::of_name(name).is_some() {
            return Err("it has a header with its type and shape: do not give them as well".to_owned());
        }
        return Ok((raw.content(file_bytes)?, start));
    }
    if options.raw.is_some() {
        return Err("values without a header have no key".to_owned());
    }
    start.fill(reader, MAGIC_BYTES)?;
    if start.bytes.starts_with(llama_cpp::MAGIC) {
        start.fill(reader, llama_cpp::HEADER_BYTES)?;
        return Ok((llama_cpp::content(&start.bytes, file_bytes, options)?.stored_as(options)?, start));
    }
    let format = match FileFormat::of_content(&start.bytes) {
        Some(format) => format,
        None => FileFormat::of_name(name)
            .filter(|_| !foreign::is_known(&start.bytes, name))
            .ok_or_else(|| foreign::told(&start.bytes, name))?,
    };
    let content = match format {
        FileFormat::Npy => npy(&mut start, reader, file_bytes, options)?,
        FileFormat::Safetensors => safetensors(&mut start, reader, file_bytes, options)?,
    };
    Ok((content.stored_as(options)?, start))
}

/// The bytes from the start of a file that have been read already.
pub(super) struct Start {
    pub bytes: Vec<u8>,
}

impl Start {
    /// Reads until there are `len` bytes, or until the end.
    fn fill(&mut self, reader: &mut dyn Read, len: usize) -> Result<(), String> {
        let missing = len.saturating_sub(self.bytes.len());
        let read = reader.take(missing as u64).read_to_end(&mut self.bytes);
        read.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Reads a header of this length, if the file is long enough.
    fn fill_header(
        &mut self,
        reader: &mut dyn Read,
        needed: usize,
        file_bytes: Option<u64>,
    ) -> Result<(), String> {
        if file_bytes.is_none_or(|bytes| needed as u64 <= bytes) {
            self.fill(reader, needed)?;
        }
        if self.bytes.len() < needed {
            let found = file_bytes.unwrap_or(self.bytes.len() as u64);
            return Err(format!("truncated: a header of {needed} bytes in a file of {found}"));
        }
        Ok(())
    }
}

#[cfg(feature = "npy")]
fn npy(
    start: &mut Start,
    reader: &mut dyn Read,
    file_bytes: Option<u64>,
    options: &OpenOptions,
) -> Result<Content, String> {
    if let Some(key) = &options.key {
        return Err(format!("a .npy file has one array without a name, so it has no key {key:?}"));
    }
    npy_array(start, reader, file_bytes)
}

/// Reads the header of a `.npy` file from its start.
#[cfg(feature = "npz")]
pub(super) fn npy_content(reader: &mut dyn Read, file_bytes: Option<u64>) -> Result<Content, String> {
    npy_array(&mut Start { bytes: Vec::new() }, reader, file_bytes)
}

#[cfg(feature = "npy")]
fn npy_array(start: &mut Start, reader: &mut dyn Read, file_bytes: Option<u64>) -> Result<Content, String> {
    start.fill(reader, npy_header::PREFIX_BYTES)?;
    let header = npy_header::header_bytes(&start.bytes)?;
    start.fill_header(reader, header, file_bytes)?;
    let array = npy_header::parse(&start.bytes[..header])?;
    let data = header as u64..header as u64 + array.data_bytes();
    if let Some(found) = file_bytes {
        let what = format!("shape {} of {} needs", shape_text(&array.shape), array.descr);
        check_length(&what, found - data.start, data.end - data.start)?;
    }
    let order = Order { big_endian: array.big_endian, fortran: array.fortran, records: None };
    Ok(Content {
        dtype: array.dtype,
        descr: array.descr,
        dims: array.shape,
        order,
        end: data.end,
        data,
        compressed: None,
    })
}

#[cfg(not(feature = "npy"))]
fn npy(_: &mut Start, _: &mut dyn Read, _: Option<u64>, _: &OpenOptions) -> Result<Content, String> {
    Err("it is a .npy file, but xent was built without the feature npy".to_owned())
}

#[cfg(feature = "safetensors")]
fn safetensors(
    start: &mut Start,
    reader: &mut dyn Read,
    file_bytes: Option<u64>,
    options: &OpenOptions,
) -> Result<Content, String> {
    let header = safetensors_header::header_bytes(&start.bytes)?;
    start.fill_header(reader, header, file_bytes)?;
    let tensors = safetensors_header::parse(&start.bytes[safetensors_header::PREFIX_BYTES..header])?;
    let (header, len) = (header as u64, tensors.last().map_or(0, |last| last.data.end));
    if let Some(found) = file_bytes {
        let what = match tensors.len() {
            1 => "its tensor needs".to_owned(),
            several => format!("its {several} tensors need"),
        };
        check_length(&what, found - header, len)?;
    }
    let tensor = pick(&tensors, options)?;
    Ok(Content {
        dtype: tensor.dtype,
        descr: tensor.descr.clone(),
        dims: tensor.shape.clone(),
        order: Order::default(),
        data: header + tensor.data.start..header + tensor.data.end,
        end: header + len,
        compressed: None,
    })
}

#[cfg(not(feature = "safetensors"))]
fn safetensors(_: &mut Start, _: &mut dyn Read, _: Option<u64>, _: &OpenOptions) -> Result<Content, String> {
    Err("it is a .safetensors file, but xent was built without the feature safetensors".to_owned())
}

/// Chooses the tensor that the options mean.
#[cfg(feature = "safetensors")]
fn pick<'a>(
    tensors: &'a [safetensors_header::Tensor],
    options: &OpenOptions,
) -> Result<&'a safetensors_header::Tensor, String> {
    use super::text::{list, quoted};

    let all = || list(tensors.iter());
    if let Some(key) = &options.key {
        let found = tensors.iter().find(|tensor| tensor.name == *key);
        return found.ok_or_else(|| format!("no tensor {}; it has {}", quoted(key), all()));
    }
    let wanted = options.wanted;
    let fitting: Vec<_> = tensors.iter().filter(|tensor| wanted.fits(tensor.dtype, &tensor.shape)).collect();
    match (&fitting[..], tensors) {
        (&[only], _) | ([], [only]) => Ok(only),
        ([], _) if options.wanted == Wanted::Logits => {
            let mut floats = tensors.iter().filter(|tensor| tensor.dtype.is_some_and(Dtype::is_float));
            match (floats.next(), floats.next()) {
                (Some(only), None) if only.shape.len() > 3 => Ok(only),
                _ => {
                    Err(format!("no tensor of {}; it has {}. Name one by its key", wanted.describe(), all()))
                }
            }
        }
        ([], _) => Err(format!("no tensor of {}; it has {}", wanted.describe(), all())),
        (several, _) => {
            let names = list(several.iter());
            Err(format!("{} tensors of {}; give the key of one: {names}", several.len(), wanted.describe()))
        }
    }
}

impl RawLayout {
    fn content(&self, file_bytes: Option<u64>) -> Result<Content, String> {
        let Self { dtype, cols, rows } = *self;
        let row_bytes = (cols as u64).checked_mul(dtype.bytes() as u64).filter(|&bytes| bytes > 0);
        let row_bytes = row_bytes
            .ok_or_else(|| format!("{cols} cols of {}: a row cannot have this size", dtype.name()))?;
        let rows = match (file_bytes, rows) {
            (Some(bytes), _) if bytes.is_multiple_of(row_bytes) => bytes / row_bytes,
            (Some(bytes), _) => {
                let (name, rest) = (dtype.name(), bytes % row_bytes);
                return Err(format!(
                    "{bytes} bytes are not a multiple of a row: {cols} cols of {name} take {row_bytes} bytes, \
                     and {rest} are left over"
                ));
            }
            (None, Some(rows)) => rows as u64,
            (None, None) => return Err("the number of rows of a stream must be given".to_owned()),
        };
        let bytes = rows.checked_mul(row_bytes).filter(|&bytes| isize::try_from(bytes).is_ok());
        let bytes =
            bytes.ok_or_else(|| format!("{rows} rows of {cols} cols are larger than memory can be"))?;
        let dims = vec![rows as usize, cols];
        let (descr, order) = (dtype.name().to_owned(), Order::default());
        Ok(Content { dtype: Some(dtype), descr, dims, order, data: 0..bytes, end: bytes, compressed: None })
    }
}

#[cfg(any(feature = "npy", feature = "safetensors"))]
fn check_length(what: &str, found: u64, needed: u64) -> Result<(), String> {
    if found == needed {
        return Ok(());
    }
    let wrong = if found < needed { "truncated" } else { "too long" };
    Err(format!("{wrong}: {what} {needed} bytes of data; there are {found}"))
}
