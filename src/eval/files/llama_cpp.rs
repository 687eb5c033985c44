//! llama.cpp's saved logits, as `llama-perplexity --save-all-logits FILE` writes them: log-probabilities, and the tokens
//! that they are of.
//!
//! The format (source: llama.cpp, `tools/perplexity/perplexity.cpp`), little-endian: the 8 bytes `_logits_`; the i32 n_ctx,
//! n_vocab and n_chunk; n_chunk · n_ctx tokens of i32; then for each chunk the rows of its positions n_ctx/2 … n_ctx − 2. The
//! target of a position is the chunk's next token. A row is an f32 scale, an f32 minimum, and n_vocab codes of u16, with one
//! more to pad an odd n_vocab: ln p = scale · code + minimum. Below the row's maximum − 16, everything is stored as that
//! minimum, with code 0.
//!
//! Kernels read the rows as they are ([`coded`](crate::coded)); here they are widened for everything else.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::dtype::{Dtype, array};
use super::format::{Content, Order};
use super::options::{OpenOptions, Wanted};
use super::tensor::TensorFile;
use crate::coded::{self, CODE_MAX, Coding};
use crate::error::Result;

pub(super) const MAGIC: &[u8] = b"_logits_";
/// The length of the header: the magic and three i32.
pub(super) const HEADER_BYTES: usize = 20;
/// The bytes of a row before its codes: scale and minimum.
const LEAD: usize = 2 * coded::LEAD;
/// Every row reaches this far below its maximum at most. A row that reaches less far has no values at the floor.
const REACH: f32 = 15.99;
/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// The key of all tokens.
pub(super) const TOKENS: &str = "tokens";

/// Values of 4 bytes in records of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Records {
    /// The length of a record in bytes.
    bytes: usize,
    /// The bytes before its first value.
    lead: usize,
    /// Its values.
    values: usize,
    /// Whether they are stored as codes, to be widened to f32 by the record's scale and minimum.
    coded: bool,
}

/// Reads a header. Without a key, the contents are the log-probabilities, or their targets if classes are wanted; the key
/// `tokens` means all tokens.
pub(super) fn content(
    header: &[u8],
    file_bytes: Option<u64>,
    options: &OpenOptions,
) -> Result<Content, String> {
    let Some(header) = header.get(MAGIC.len()..HEADER_BYTES) else {
        let found = header.len();
        return Err(format!(
            "truncated: llama.cpp's header of {HEADER_BYTES} bytes, of which {found} are there"
        ));
    };
    let [n_ctx, n_vocab, n_chunk] = [0, 4, 8].map(|at| i32::from_le_bytes(array(&header[at..])));
    let wrong = |name: &str, found: i32, least: u32| {
        format!("llama.cpp's header has {name} = {found}; it must be at least {least}")
    };
    for (name, found, least) in [("n_ctx", n_ctx, 3), ("n_vocab", n_vocab, 1), ("n_chunk", n_chunk, 1)] {
        if found < least as i32 {
            return Err(wrong(name, found, least));
        }
    }
    let [n_ctx, n_vocab, n_chunk] = [n_ctx, n_vocab, n_chunk].map(|number| number as u64);
    let rows = n_ctx - 1 - n_ctx / 2;
    let row_bytes = LEAD as u64 + 2 * n_vocab.next_multiple_of(2);
    let too_large = || format!("{n_chunk} chunks of {rows} rows of {n_vocab} are larger than memory can be");
    // Values take up to 8 bytes once they are read.
    let product = |parts: &[u64]| parts.iter().try_fold(1u64, |product, &part| product.checked_mul(part));
    product(&[n_chunk, rows, n_vocab, 8])
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(too_large)?;
    let tokens = HEADER_BYTES as u64 + 4 * n_chunk * n_ctx;
    let end = product(&[n_chunk, rows, row_bytes]).and_then(|bytes| bytes.checked_add(tokens));
    let end = end.ok_or_else(too_large)?;
    match file_bytes {
        Some(found) if found < end => {
            let whole = found.saturating_sub(tokens) / (rows * row_bytes);
            return Err(format!(
                "it ends early, with {whole} of {n_chunk} chunks of {rows} rows of {n_vocab}: they need {end} bytes; there \
                 are {found}"
            ));
        }
        Some(found) if found > end => {
            return Err(format!(
                "too long: {n_chunk} chunks of {rows} rows of {n_vocab} need {end} bytes; there are {found}"
            ));
        }
        _ => {}
    }
    let of_targets = Records {
        bytes: 4 * n_ctx as usize,
        lead: 4 * (n_ctx - rows) as usize,
        values: rows as usize,
        coded: false,
    };
    let of_rows = Records { bytes: row_bytes as usize, lead: LEAD, values: n_vocab as usize, coded: true };
    let (n_ctx, chunks) = (n_ctx as usize, n_chunk as usize);
    let (dtype, dims, records, data) = match (options.key.as_deref(), options.wanted) {
        (Some(TOKENS), _) => (Dtype::I32, vec![chunks, n_ctx], None, HEADER_BYTES as u64..tokens),
        (Some(key), _) => {
            return Err(format!("no array {key:?}: llama.cpp's saved logits have no names but {TOKENS:?}"));
        }
        (None, Wanted::Classes) => {
            (Dtype::I32, vec![chunks, rows as usize], Some(of_targets), HEADER_BYTES as u64..tokens)
        }
        _ => (Dtype::F32, vec![chunks, rows as usize, n_vocab as usize], Some(of_rows), tokens..end),
    };
    let descr = if dtype == Dtype::F32 { "llama.cpp's log-probabilities" } else { "llama.cpp's tokens" };
    Ok(Content {
        dtype: Some(dtype),
        descr: descr.to_owned(),
        dims,
        order: Order { records, ..Order::default() },
        data,
        end,
        compressed: None,
    })
}

impl Records {
    /// Reads values `start..` of all records, until `into` is full. `read` fills a slice from a byte of the records on; it is
    /// called with ascending places.
    pub fn read(
        self,
        start: usize,
        into: &mut [u8],
        mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let end = start + into.len() / 4;
        let (first, last) = (start / self.values, end.div_ceil(self.values));
        let at_once = (BLOCK_BYTES / self.bytes).clamp(1, (last - first).max(1));
        let mut block = vec![0; at_once * self.bytes];
        let mut rest = into;
        for record in (first..last).step_by(at_once) {
            let block = &mut block[..at_once.min(last - record) * self.bytes];
            read(record as u64 * self.bytes as u64, block)?;
            for (record, bytes) in (record..).zip(block.chunks_exact(self.bytes)) {
                let of_record = record * self.values;
                let wanted = start.max(of_record) - of_record..end.min(of_record + self.values) - of_record;
                let (now, later) = std::mem::take(&mut rest).split_at_mut(4 * wanted.len());
                if self.coded {
                    widen(bytes, wanted.start, now);
                } else {
                    now.copy_from_slice(&bytes[self.lead + 4 * wanted.start..][..4 * wanted.len()]);
                }
                rest = later;
            }
        }
        Ok(())
    }

    /// The position of the record that holds a value.
    pub fn start_of(self, value: usize) -> u64 {
        (value / self.values) as u64 * self.bytes as u64
    }

    /// Whether the value of this class is stored at the floor of a record, by its scale and its code.
    fn is_floor(lead: [u8; LEAD], code: [u8; 2]) -> bool {
        code == [0, 0] && f32::from_le_bytes(array(&lead)) * CODE_MAX >= REACH
    }
}

/// Widens the codes of a row, from class `first` on.
fn widen(row: &[u8], first: usize, into: &mut [u8]) {
    let [scale, minimum] = [0, 4].map(|at| f32::from_le_bytes(array(&row[at..])));
    let coding = Coding::new(scale, minimum);
    let codes = row[LEAD + 2 * first..].chunks_exact(2);
    for (into, code) in into.chunks_exact_mut(4).zip(codes) {
        into.copy_from_slice(&coding.value(u16::from_le_bytes([code[0], code[1]])).to_le_bytes());
    }
}

/// Whether a file begins as llama.cpp's saved logits do. A pipe is not read.
pub fn is_llama_cpp(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = |file: File| file.take(MAGIC.len() as u64).read_to_end(&mut start);
    path.is_file() && File::open(path).and_then(read).is_ok() && start == MAGIC
}

/// How many of the targets in files of llama.cpp's saved logits are stored at the floor, 16 below the most probable class
/// of their row. Their losses are lower bounds. It reads a few bytes of each row.
///
/// # Errors
/// As for [`TensorFile::open_all`] and [`TensorFile::read_at`]; [`Error::File`](crate::Error::File) for files of another
/// format, and for a token that is not in the vocabulary.
pub fn floored_targets<P: AsRef<Path>>(paths: &[P]) -> Result<usize> {
    let mut logits = TensorFile::open_all(paths, &OpenOptions::default())?;
    if !logits.is_llama_cpp() {
        return Err(logits.error("not of llama.cpp's saved logits"));
    }
    let mut tokens = TensorFile::open_all(paths, &OpenOptions::of(Wanted::Classes))?;
    let cols = logits.dims().last().copied().unwrap_or_default();
    let targets = tokens.read_all("targets", |_, bytes| {
        let token = i32::from_le_bytes(array(bytes));
        let class = usize::try_from(token).ok().filter(|&class| class < cols);
        class.ok_or_else(|| format!("{token} is outside 0..{cols}"))
    })?;
    let mut floored = 0;
    for (row, class) in targets.into_iter().enumerate() {
        let (mut lead, mut code) = ([0; LEAD], [0; 2]);
        logits.read_record(row * cols, 0, &mut lead)?;
        logits.read_record(row * cols, LEAD + 2 * class, &mut code)?;
        floored += usize::from(Records::is_floor(lead, code));
    }
    Ok(floored)
}

/// The first token in which two files of llama.cpp's saved logits differ: its chunk, its position there, and both.
/// `None` if they have the same tokens.
///
/// # Errors
/// As for [`TensorFile::another`]; [`Error::File`](crate::Error::File) for files of another format, and if the numbers of
/// tokens differ.
pub fn different_token(base: &TensorFile, other: &TensorFile) -> Result<Option<(usize, usize, [i32; 2])>> {
    let options = OpenOptions { key: Some(TOKENS.to_owned()), ..OpenOptions::default() };
    let open = |file: &TensorFile| -> Result<_> {
        let mut file = file.another(&options)?;
        let tokens = file.read_all(TOKENS, |_, bytes| Ok(i32::from_le_bytes(array(bytes))))?;
        Ok((file, tokens))
    };
    let ((of_base, base), (of_other, other)) = (open(base)?, open(other)?);
    if of_base.dims() != of_other.dims() {
        let [found, needed] = [&of_other, &of_base].map(|of| super::text::shape_text(of.dims()));
        return Err(of_other.error(format!("tokens of shape {found}: those of the base have {needed}")));
    }
    let length = of_base.dims().last().copied().unwrap_or(1).max(1);
    let different = base.iter().zip(&other).position(|(base, other)| base != other);
    Ok(different.map(|at| (at / length, at % length, [base[at], other[at]])))
}

#[cfg(test)]
#[path = "llama_cpp_tests.rs"]
pub(super) mod tests;
