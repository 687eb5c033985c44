//! Several files that form one tensor, in the given order or in the order of a folder's file names.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

use super::file_error;
use super::format::FileFormat;
use crate::error::Result;

/// The files that paths stand for. In a folder these are the files named `.npy` or `.safetensors`, or all files if
/// `is_raw`. They are ordered by name, and numbers in names count by value.
///
/// # Errors
/// [`Error::File`](crate::Error::File) for a folder without such files, or with files of both formats; for a set named
/// like `-00001-of-00005` in which a file is missing.
pub fn shard_paths<P: AsRef<Path>>(paths: &[P], is_raw: bool) -> Result<Vec<PathBuf>> {
    let mut shards = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        match path.is_dir() {
            true => shards.extend(of_folder(path, is_raw)?),
            false => shards.push(path.to_owned()),
        }
    }
    Ok(shards)
}

fn of_folder(folder: &Path, is_raw: bool) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| file_error(folder, error))?;
    let mut shards: Vec<(String, PathBuf)> = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| file_error(folder, error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_meant = is_raw || FileFormat::of_name(&path).is_some();
        // Names that start with a dot are hidden, such as outputs that are being written.
        if is_meant && !name.starts_with('.') && path.is_file() {
            shards.push((name, path));
        }
    }
    if shards.is_empty() {
        let kind = if is_raw { "" } else { " named .npy or .safetensors" };
        return Err(file_error(folder, format!("the folder has no files{kind}")));
    }
    shards.sort_by(|(a, _), (b, _)| natural_order(a, b));
    let format = |path: &Path| FileFormat::of_name(path);
    let other = shards.iter().find(|(_, path)| format(path) != format(&shards[0].1));
    if let Some((other, _)) = other.filter(|_| !is_raw) {
        let why =
            format!("the folder has files of both formats ({} and {other}): name the files", shards[0].0);
        return Err(file_error(folder, why));
    }
    check_complete(&shards).map_err(|why| file_error(folder, why))?;
    Ok(shards.into_iter().map(|(_, path)| path).collect())
}

/// Refuses a set if the names show that a file is missing.
fn check_complete(shards: &[(String, PathBuf)]) -> Result<(), String> {
    let parts: Option<Vec<(u64, u64)>> = shards.iter().map(|(name, _)| part_of(name)).collect();
    let Some(parts) = parts else { return Ok(()) };
    let Some(&(_, total)) = parts.first().filter(|(_, total)| parts.iter().all(|(_, of)| of == total)) else {
        return Ok(());
    };
    let (first, mut numbers) = (parts[0].0, parts.iter().map(|&(number, _)| number));
    // Sets are counted from 1, or by some tools from 0.
    let missing = (first.min(1)..).find(|&number| numbers.next() != Some(number)).unwrap_or_default();
    if missing < total.saturating_add(first.min(1)) {
        return Err(format!("shard {missing} of {total} is missing"));
    }
    Ok(())
}

/// The numbers of a name like `model-00001-of-00005.safetensors`.
fn part_of(name: &str) -> Option<(u64, u64)> {
    let (rest, total) = name.rsplit_once('.')?.0.rsplit_once("-of-")?;
    let number = rest.rsplit_once('-')?.1;
    Some((number.parse().ok()?, total.parse().ok()?))
}

/// Orders names so that numbers count by value: `part-2` before `part-10`.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.chars().peekable(), b.chars().peekable());
    loop {
        let order = match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return a.cmp(b),
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (number(&mut left), number(&mut right));
                x.len().cmp(&y.len()).then(x.cmp(&y))
            }
            (x, y) => {
                left.next();
                right.next();
                x.cmp(&y)
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The next digits, without leading zeros.
fn number(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        if digit != '0' || !digits.is_empty() {
            digits.push(digit);
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_by_their_value() {
        let sorted = [
            "a-1.npy",
            "a-2.npy",
            "a-10.npy",
            "a-010.npy",
            "a-99999999999999999999998.npy",
            "a-99999999999999999999999.npy",
            "a.npy",
            "b.npy",
            "é2",
            "é10",
        ];
        for (at, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                // If numbers are equal, the text decides.
                let expected =
                    if (at.min(other), at.max(other)) == (2, 3) { a.cmp(b) } else { at.cmp(&other) };
                assert_eq!(natural_order(a, b), expected, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_set_tells_what_is_missing() {
        let set = |names: &[&str]| {
            let shards: Vec<_> = names.iter().map(|name| (name.to_string(), PathBuf::from(name))).collect();
            check_complete(&shards)
        };
        let whole = ["m-00001-of-00003.npy", "m-00002-of-00003.npy", "m-00003-of-00003.npy"];
        assert_eq!(set(&whole), Ok(()));
        assert_eq!(set(&["m-0-of-2.npy", "m-1-of-2.npy"]), Ok(()), "counted from 0");
        for (names, missing) in [(&whole[1..], 1), (&whole[..2], 3), (&[whole[0], whole[2]], 2)] {
            assert_eq!(set(names), Err(format!("shard {missing} of 3 is missing")));
        }
        assert_eq!(set(&["m-1-of-3.npy", "other.npy"]), Ok(()), "no set");
        assert_eq!(set(&["a-of-b.npy"]), Ok(()), "no numbers");
        let endless = Err("shard 2 of 18446744073709551615 is missing".to_owned());
        assert_eq!(set(&["a-1-of-18446744073709551615.npy"]), endless);
    }
}
