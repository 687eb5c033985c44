//! What a report is of: the files, the options, the command and the date.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use xent::eval::files::{Dtype, OpenOptions, TensorFile, Wanted, floored_targets};

use crate::args::{Given, is_stream};
use crate::numbers::thousands;
use crate::output::{one_line, shown};

/// Files up to this size are told apart by their content, but those of logits, of which there may be very many.
const MOST_CHECKED: u64 = 64 << 20;
const OF_LOGITS: [&str; 4] = ["the logits", "the base", "the other", "the teacher"];

/// What a report is of.
pub struct Origin {
    files: Vec<Input>,
    options: Vec<String>,
    command: String,
    date: String,
}

/// A file that is read.
struct Input {
    /// What it is among the inputs: the logits, the targets.
    name: String,
    path: PathBuf,
    /// The axes and the type of the array that it holds, or holds a part of.
    array: Option<(Vec<usize>, String)>,
    bytes: Option<u64>,
    modified: Option<String>,
    /// The checksum by which its content is told apart, if it is, once a program has asked for it.
    checksum: Option<OnceCell<Option<u32>>>,
    /// For llama.cpp's saved logits, how many of their targets are stored at the floor, once that was asked for.
    floored: Option<OnceCell<Option<usize>>>,
}

/// What a report is of, as it is kept for a report that comes later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptOrigin {
    files: Vec<KeptInput>,
    options: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeptInput {
    name: String,
    path: PathBuf,
    array: Option<(Vec<usize>, String)>,
    bytes: Option<u64>,
    modified: Option<String>,
    crc32: Option<u32>,
    floored: Option<usize>,
}

impl Input {
    fn crc32(&self) -> Option<u32> {
        *self.checksum.as_ref()?.get_or_init(|| crc32(&self.path))
    }

    fn floored(&self) -> Option<usize> {
        *self.floored.as_ref()?.get_or_init(|| floored_targets(&[&self.path]).ok())
    }
}

impl Origin {
    /// Of these files, with their names in messages, and these arguments.
    pub fn new(files: &[(&'static str, PathBuf)], given: &Given) -> Self {
        let file = |(name, path): &(&'static str, PathBuf)| {
            let known = fs::metadata(path).ok().filter(fs::Metadata::is_file);
            Input {
                name: (*name).to_owned(),
                path: path.clone(),
                array: None,
                bytes: known.as_ref().map(fs::Metadata::len),
                modified: known.as_ref().and_then(|known| known.modified().ok()).and_then(time),
                checksum: known
                    .filter(|known| known.len() <= MOST_CHECKED && !OF_LOGITS.contains(name))
                    .map(|_| OnceCell::new()),
                floored: None,
            }
        };
        Self {
            files: files.iter().map(file).collect(),
            options: given.options(),
            command: command_line(),
            date: time(SystemTime::now()).unwrap_or_default(),
        }
    }

    /// What a later report needs of it.
    pub fn kept(&self) -> KeptOrigin {
        let file = |input: &Input| KeptInput {
            name: input.name.clone(),
            path: input.path.clone(),
            array: input.array.clone(),
            bytes: input.bytes,
            modified: input.modified.clone(),
            crc32: input.crc32(),
            floored: input.floored(),
        };
        KeptOrigin { files: self.files.iter().map(file).collect(), options: self.options.clone() }
    }

    /// The same files and options, in a report by this process.
    pub fn again(kept: &KeptOrigin) -> Self {
        let file = |kept: &KeptInput| {
            let KeptInput { name, path, array, bytes, modified, crc32, floored } = kept.clone();
            let (checksum, floored) = (Some(OnceCell::from(crc32)), Some(OnceCell::from(floored)));
            Input { name, path, array, bytes, modified, checksum, floored }
        };
        Self {
            files: kept.files.iter().map(file).collect(),
            options: kept.options.clone(),
            command: command_line(),
            date: time(SystemTime::now()).unwrap_or_default(),
        }
    }

    /// Says what array the files of this name hold.
    pub fn describe(mut self, name: &str, file: &TensorFile) -> Self {
        let is_llama_cpp = file.is_llama_cpp();
        let name_of = |dtype: Dtype| if is_llama_cpp { "llama.cpp" } else { dtype.name() };
        let array = file.dtype().map(|dtype| (file.dims().to_vec(), name_of(dtype).to_owned()));
        for input in self.files.iter_mut().filter(|input| input.name == name) {
            input.array.clone_from(&array);
            input.floored = (is_llama_cpp && !is_stream(&input.path)).then(OnceCell::new);
        }
        self
    }

    /// Says what arrays the files beside the logits hold, as far as their headers tell. `key` is the array of targets.
    pub fn describe_beside(mut self, key: Option<&str>) -> Self {
        for input in self.files.iter_mut().filter(|input| input.array.is_none()) {
            let (wanted, is_keyed) = match input.name.as_str() {
                "the targets" | "the sparse targets" => (Wanted::Classes, true),
                "the soft targets" => (Wanted::Labels, true),
                "the lengths of the sequences" => (Wanted::Classes, false),
                "the row mask" => (Wanted::Mask, false),
                _ => (Wanted::Values, false),
            };
            let key = key.filter(|_| is_keyed).map(str::to_owned);
            let open = |wanted| {
                TensorFile::open(&input.path, &OpenOptions { key: key.clone(), ..OpenOptions::of(wanted) })
            };
            // Targets of a binary cross-entropy may be floats.
            let file = open(wanted).or_else(|_| open(Wanted::Labels)).ok();
            input.array = file.and_then(|file| Some((file.dims().to_vec(), file.dtype()?.name().to_owned())));
        }
        self
    }

    /// The keys of a report for programs. What is not known is null.
    pub fn keys(&self) -> Map<String, Value> {
        let all = |of: &dyn Fn(&Input) -> Value| self.files.iter().map(of).collect::<Vec<_>>();
        let inputs = json!({
            "names": all(&|input| json!(input.name)),
            "paths": all(&|input| json!(input.path.display().to_string())),
            "shapes": all(&|input| json!(input.array.as_ref().map(|(dims, _)| dims))),
            "dtypes": all(&|input| json!(input.array.as_ref().map(|(_, dtype)| dtype))),
            "bytes": all(&|input| json!(input.bytes)),
            "modified": all(&|input| json!(input.modified)),
            "crc32": all(&|input| json!(input.crc32())),
            "floored_targets": all(&|input| json!(input.floored())),
        });
        let keys = [
            ("inputs", inputs),
            ("options", json!(self.options)),
            ("command", json!(self.command)),
            ("date", json!(self.date)),
        ];
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The same on one line, for people.
    pub fn line(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut last = "";
        for input in self.files.iter().filter(|input| std::mem::replace(&mut last, &input.name) != input.name)
        {
            let more = self.files.iter().filter(|other| other.name == input.name).count() - 1;
            let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
            let array = input.array.as_ref().map(|(dims, dtype)| {
                let dims = dims.iter().map(|&len| thousands(len)).collect::<Vec<_>>().join(" × ");
                format!(" ({dims} {dtype})")
            });
            parts.push(format!("{}{more}{}", shown(&input.path), array.unwrap_or_default()));
        }
        let files = if parts.is_empty() { "what was made here".to_owned() } else { parts.join(", ") };
        let floored: Vec<usize> =
            self.files.iter().filter_map(Input::floored).filter(|&targets| targets > 0).collect();
        let floored = match floored.iter().sum::<usize>() {
            0 => String::new(),
            targets => {
                format!("; {} targets stored at the floor, whose losses are lower bounds", thousands(targets))
            }
        };
        let options =
            if self.options.is_empty() { String::new() } else { format!("; {}", self.options.join(" ")) };
        one_line(&format!("{files}{floored}{options}; {}", self.date))
    }

    /// The command, for the foot of a page.
    pub fn command(&self) -> &str {
        &self.command
    }
}

/// A time as 2026-11-30T23:59:59Z.
fn time(at: SystemTime) -> Option<String> {
    Some(Timestamp::try_from(at).ok()?.round(Unit::Second).ok()?.to_string())
}

/// The checksum of a file's content.
fn crc32(path: &Path) -> Option<u32> {
    let mut file = File::open(path).ok()?;
    let (mut sum, mut bytes) = (crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut bytes).ok()? {
            0 => return Some(sum.finalize()),
            read => sum.update(&bytes[..read]),
        }
    }
}

/// The command as a shell takes it.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
    ["xent".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./=:,@%+-".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted() {
        for (argument, expected) in [
            ("eval", "eval"),
            ("a b.npy", "'a b.npy'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("--x=1,2", "--x=1,2"),
        ] {
            assert_eq!(quoted(argument), expected);
        }
    }

    #[test]
    fn files_are_told_apart() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.bin");
        fs::write(&path, b"123456789").unwrap();
        let files = [("the targets", path.clone()), ("the logits", folder.path().join("none"))];
        let keys = Origin::new(&files, &Given::default()).keys();
        // The check value of this checksum.
        assert_eq!(keys["inputs"]["crc32"], json!([0xcbf4_3926u32, null]));
        assert_eq!(keys["inputs"]["bytes"], json!([9, null]));
        assert_eq!(keys["inputs"]["names"], json!(["the targets", "the logits"]));
        let modified = keys["inputs"]["modified"][0].as_str().unwrap();
        assert!(modified.len() == 20 && modified.ends_with('Z') && modified.contains('T'), "{modified}");
    }
}
