//! Values that come in another order than the usual one, little-endian and with the last axis fastest.

use std::ops::Range;

use crate::error::Result;

/// Bytes that are read at a time where a file has the first axis fastest.
const BLOCK_BYTES: usize = 1 << 20;

/// Turns the bytes of each value around.
pub(super) fn swap(values: &mut [u8], size: usize) {
    if size > 1 {
        values.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}

/// Reads a range of values, in the usual order, of an array that has its first axis fastest. `read` fills a slice from a
/// value of the file on. It is called with ascending places.
pub(super) fn read_fortran(
    dims: &[usize],
    size: usize,
    wanted: Range<usize>,
    into: &mut [u8],
    mut read: impl FnMut(usize, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let (rows, rest) = dims.split_first().map_or((1, dims), |(&rows, rest)| (rows, rest));
    let columns: usize = rest.iter().product();
    if wanted.is_empty() {
        return Ok(());
    }
    // The rows that have a wanted value. In the first and in the last, some may not be wanted.
    let (first, last) = (wanted.start / columns, (wanted.end - 1) / columns);
    let count = last + 1 - first;
    // A column has all rows, of which some are wanted: either whole columns are read, several at a time, or the wanted rows of
    // one.
    let at_once = if 4 * count >= rows { (BLOCK_BYTES / (rows * size)).clamp(1, columns) } else { 1 };
    let (from, len) = if at_once > 1 { (0, rows) } else { (first, count) };
    let mut block = vec![0; at_once * len * size];
    // The place of a column among those of the usual order: its indices, the first axis behind the rows fastest.
    let mut index = vec![0; rest.len()];
    for start in (0..columns).step_by(at_once) {
        let block = &mut block[..at_once.min(columns - start) * len * size];
        read(start * rows + from, block)?;
        for column in block.chunks_exact(len * size) {
            let place = index.iter().zip(rest).fold(0, |place, (&index, &len)| place * len + index);
            for (row, value) in (from..).zip(column.chunks_exact(size)) {
                let at = row * columns + place;
                if wanted.contains(&at) {
                    into[(at - wanted.start) * size..][..size].copy_from_slice(value);
                }
            }
            for (index, &len) in index.iter_mut().zip(rest) {
                *index += 1;
                if *index < len {
                    break;
                }
                *index = 0;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_of_arrays_with_the_first_axis_fastest() {
        for dims in [&[3, 4][..], &[1, 5], &[5, 1], &[2, 3, 4], &[4, 1, 3, 2], &[7], &[40, 3], &[2, 0]] {
            let len: usize = dims.iter().product();
            // The value at each place of the file is its index in the usual order.
            let mut file = vec![0u16; len];
            for at in 0..len {
                let (mut rest, mut place, mut stride) = (at, 0, len);
                for &axis in dims.iter().rev() {
                    stride /= axis;
                    place += rest % axis * stride;
                    rest /= axis;
                }
                file[place] = at as u16;
            }
            let bytes: Vec<u8> = file.iter().flat_map(|value| value.to_le_bytes()).collect();
            for start in 0..=len {
                for end in start..=len {
                    let mut into = vec![255; 2 * (end - start)];
                    let mut before = 0;
                    let read = |at: usize, into: &mut [u8]| {
                        assert!(at >= before);
                        before = at;
                        into.copy_from_slice(&bytes[2 * at..][..into.len()]);
                        Ok(())
                    };
                    read_fortran(dims, 2, start..end, &mut into, read).expect("read");
                    let expected: Vec<u8> = (start..end).flat_map(|at| (at as u16).to_le_bytes()).collect();
                    assert_eq!(into, expected, "{dims:?} {start}..{end}");
                }
            }
        }
    }
}
