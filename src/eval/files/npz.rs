//! Arrays in a `.npz` archive, as `numpy.savez` and `numpy.savez_compressed` write it.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::foreign;
use super::format::{Content, npy_content};
use super::input::Compressed;
use super::options::OpenOptions;
use super::text::{list, one_line, quoted, shape_text};

/// The first bytes of an archive.
const MAGIC: &[u8] = b"PK\x03\x04";

/// A `.npy` file in an archive.
#[derive(Clone, Copy, Debug)]
struct Member {
    at: Compressed,
    /// Its length when it is not compressed.
    bytes: u64,
    deflated: bool,
}

impl Member {
    /// Reads the file from its start.
    fn open(self, archive: &File) -> std::io::Result<Box<dyn Read + Send>> {
        if self.deflated { self.at.open(archive) } else { Ok(Box::new(self.at.stored(archive)?)) }
    }
}

impl Compressed {
    fn stored(self, file: &File) -> std::io::Result<impl Read + Send + 'static> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(self.start))?;
        Ok(BufReader::new(file).take(self.len))
    }

    /// Reads the values from the first on.
    pub fn open(self, file: &File) -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(DeflateDecoder::new(self.stored(file)?)))
    }
}

/// An array, with what its header says.
struct Array {
    name: String,
    member: Member,
    content: Content,
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Content { descr, dims, .. } = &self.content;
        write!(f, "{} ({} {})", quoted(&self.name), one_line(descr), shape_text(dims))
    }
}

/// Whether a file is such an archive, and not another program's. Leaves the file at its start.
pub(super) fn is_archive(file: &mut File, name: &std::path::Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(start == MAGIC && !foreign::is_torch(&start, name))
}

/// Finds the array that the options mean.
pub(super) fn open(file: &File, options: &OpenOptions) -> Result<Content, String> {
    let named = |key: &str| key.strip_suffix(".npy").unwrap_or(key).to_owned();
    let wanted = options.key.as_deref().map(named);
    let (members, names) = members(file)?;
    let mut arrays = Vec::new();
    for (name, member) in members {
        if wanted.as_ref().is_none_or(|wanted| *wanted == name) {
            let content = content(file, member).map_err(|why| format!("array {}: {why}", quoted(&name)))?;
            arrays.push(Array { name, member, content });
        }
    }
    if let (Some(wanted), true) = (&wanted, arrays.is_empty()) {
        return Err(format!(
            "no array {}; it has {}",
            quoted(wanted),
            list(names.iter().map(|name| quoted(name)))
        ));
    }
    let fits = |array: &&Array| options.wanted.fits(array.content.dtype, &array.content.dims);
    let fitting: Vec<&Array> = arrays.iter().filter(fits).collect();
    let array = match (&fitting[..], &arrays[..]) {
        (&[only], _) | ([], [only]) => only,
        ([], _) => {
            let (needed, all) = (options.wanted.describe(), list(arrays.iter()));
            return Err(format!("no array of {needed}; it has {all}"));
        }
        (several, _) => {
            let (needed, all) = (options.wanted.describe(), list(several.iter()));
            return Err(format!("{} arrays of {needed}; give the key of one: {all}", several.len()));
        }
    };
    let Member { at, deflated, .. } = array.member;
    let (content, end) = (array.content.clone(), file.metadata().map_err(|error| error.to_string())?.len());
    let content = match deflated {
        true => Content { compressed: Some(at), end, ..content },
        false => {
            let data = content.data.start + at.start..content.data.end + at.start;
            Content { data, end, ..content }
        }
    };
    content.stored_as(options)
}

/// What the header of a member says, checked against the member's length.
fn content(file: &File, member: Member) -> Result<Content, String> {
    let mut reader = member.open(file).map_err(|error| error.to_string())?;
    npy_content(&mut reader, Some(member.bytes))
}

/// The `.npy` files of an archive, with the names of their arrays; and all these names.
type Members = (Vec<(String, Member)>, Vec<String>);

fn members(file: &File) -> Result<Members, String> {
    let not_understood = |why: zip::result::ZipError| format!("archive not understood: {}", one_line(&why));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(not_understood)?;
    let mut members = Vec::new();
    for at in 0..archive.len() {
        let found = archive.by_index_raw(at).map_err(not_understood)?;
        if found.name().ends_with("data.pkl") {
            return Err(foreign::TORCH.to_owned());
        }
        let Some(name) = found.name().strip_suffix(".npy").map(str::to_owned) else { continue };
        let deflated = match found.compression() {
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            other => {
                let other = one_line(&other);
                return Err(format!("array {}: compressed by {other}: only deflate is read", quoted(&name)));
            }
        };
        if found.encrypted() {
            return Err(format!("array {}: encrypted", quoted(&name)));
        }
        let member = Member {
            at: Compressed { start: found.data_start(), len: found.compressed_size() },
            bytes: found.size(),
            deflated,
        };
        members.push((name, member));
    }
    if members.is_empty() {
        return Err(foreign::ARCHIVE.to_owned());
    }
    let names = members.iter().map(|(name, _)| name.clone()).collect();
    Ok((members, names))
}
