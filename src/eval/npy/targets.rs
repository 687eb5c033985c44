//! Targets from a `.npy` file.

use std::path::Path;

use npyz::TypeChar;

use super::file::NpyFile;
use super::header::shape_text;
use crate::error::Result;
use crate::shape::Shape;

/// Values that are read at a time.
const CHUNK_VALUES: usize = 1 << 16;

/// Targets (rows,) of integers of any width, for logits of this shape, each in 0..cols or `ignore_index`.
///
/// A target is `ignore_index` by its value; for u32 by its bits as i32, so that −100 works there too.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as for [`NpyLogits::open`](super::NpyLogits::open), and for another number of
/// targets, or the first one that is out of range.
pub fn read_targets(path: impl AsRef<Path>, shape: Shape, ignore_index: i32) -> Result<Vec<i32>> {
    let mut file = NpyFile::open(path.as_ref())?;
    let header = &file.header;
    let Some(value_of) = reader(header.kind, header.size) else {
        return Err(file.error(format!("type {}: targets must be integers", header.descr)));
    };
    if header.shape != [shape.rows] {
        let found = shape_text(&header.shape);
        return Err(file.error(format!("shape {found}: {} rows of logits need ({0},)", shape.rows)));
    }
    let (size, is_u32) = (header.size, (header.kind, header.size) == (TypeChar::Uint, 4));
    let mut targets = Vec::new();
    if targets.try_reserve_exact(shape.rows).is_err() {
        return Err(file.error(format!("{} targets do not fit into memory", shape.rows)));
    }
    let mut bytes = Vec::new();
    for start in (0..shape.rows).step_by(CHUNK_VALUES) {
        bytes.resize(CHUNK_VALUES.min(shape.rows - start) * size, 0);
        file.read_at(start, &mut bytes)?;
        for value in bytes.chunks_exact(size).map(value_of) {
            let is_ignored =
                value == i128::from(ignore_index) || (is_u32 && value as u32 as i32 == ignore_index);
            let class =
                i32::try_from(value).ok().filter(|&class| (0..shape.cols as i128).contains(&class.into()));
            match class {
                _ if is_ignored => targets.push(ignore_index),
                Some(class) => targets.push(class),
                None => {
                    let (row, cols) = (targets.len(), shape.cols);
                    return Err(file.error(format!(
                        "targets[{row}] = {value} is outside 0..{cols} and is not ignore_index ({ignore_index})"
                    )));
                }
            }
        }
    }
    Ok(targets)
}

/// How an integer of this type is read from its bytes, little-endian.
fn reader(kind: TypeChar, size: usize) -> Option<fn(&[u8]) -> i128> {
    let unsigned: fn(&[u8]) -> i128 =
        |bytes| bytes.iter().rev().fold(0, |value, &byte| value << 8 | i128::from(byte));
    let signed: fn(&[u8]) -> i128 = |bytes| {
        let (top, rest) = bytes.split_last().map_or((0, bytes), |(&top, rest)| (top as i8, rest));
        rest.iter().rev().fold(i128::from(top), |value, &byte| value << 8 | i128::from(byte))
    };
    match (kind, size) {
        (TypeChar::Int, 1 | 2 | 4 | 8) => Some(signed),
        (TypeChar::Uint, 1 | 2 | 4 | 8) => Some(unsigned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_sign() {
        let read = |kind, bytes: &[u8]| reader(kind, bytes.len()).map(|value_of| value_of(bytes));
        for (bytes, signed, unsigned) in [
            (&[0x9c_u8][..], -100, 156),
            (&[0x34, 0x12], 0x1234, 0x1234),
            (&[0x9c, 0xff, 0xff, 0xff], -100, 4_294_967_196),
            (&[0xff; 8], -1, i128::from(u64::MAX)),
            (&[0, 0, 0, 0, 0, 0, 0, 0x80], i128::from(i64::MIN), 1 << 63),
        ] {
            assert_eq!(read(TypeChar::Int, bytes), Some(signed), "{bytes:?}");
            assert_eq!(read(TypeChar::Uint, bytes), Some(unsigned), "{bytes:?}");
        }
        assert_eq!(read(TypeChar::Float, &[0; 4]), None);
        assert_eq!(read(TypeChar::Bool, &[0]), None);
    }
}
