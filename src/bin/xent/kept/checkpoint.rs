//! A file with the progress of a run.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xent::eval::WholeFile;
use xent::{Error, Result};

use crate::args::{Given, Part};
use crate::output::bad_argument;

const CHECKPOINT: &str = "xent checkpoint";
const VERSION: u32 = 8;
/// The name of the part in an identity.
const PART: &str = "--part";
/// The most bytes that are read. A checkpoint has two megabytes at most.
const MOST_BYTES: u64 = 16 << 20;

/// The identity of a run, as names and values: everything on which a digit of its results can depend. Two runs with equal
/// identities are parts of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    values: Vec<(String, String)>,
    /// The options as they were typed, to name those that differ. They do not decide whether two runs are one, because the same
    /// can be said in several ways.
    options: Vec<(String, String)>,
}

impl Identity {
    /// Of a run with these options.
    pub fn of(given: &Given) -> Self {
        Self { options: given.of_the_result(), ..Self::default() }
    }

    /// The same of what the parts of one whole have in common.
    pub fn of_whole(given: &Given) -> Self {
        Self { options: given.of_the_whole(), ..Self::default() }
    }

    pub fn add(&mut self, name: &str, value: impl ToString) {
        self.values.push((name.to_owned(), value.to_string()));
    }

    /// Says which part of the rows the run is of.
    pub fn add_part(&mut self, part: Part) {
        self.add(PART, part);
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Both identities together.
    pub fn and(mut self, other: &Self) -> Self {
        self.values.extend_from_slice(&other.values);
        self
    }

    /// Adds a file by its path, its length and the time of its last change.
    pub fn add_file(&mut self, name: &str, path: &Path) {
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // The times of a pipe change when it is read.
        let known = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| {
            let time = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
            let changed = time.map_or(String::new(), |time| format!(", last changed {time}"));
            format!(", {} bytes{changed}", metadata.len())
        });
        self.add(name, format!("{}{}", place.display(), known.unwrap_or_default()));
    }

    /// A name for the run. Two runs have the same name only by a very rare chance.
    pub fn name(&self) -> String {
        format!("{:016x}", hash(&self.values))
    }

    /// The first difference from `other`: what `other` had, and what this one has. If an option differs, that is named,
    /// because much follows from the options.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let differs = |(before, now)| if before == now { None } else { Some((before, now)) };
        let find = |of: fn(&Self) -> &[(String, String)]| {
            let (now, before) = (of(self), of(other));
            let value = |of: &[(String, String)], name: &str| {
                of.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
            };
            let names = before.iter().chain(now).map(|(name, _)| name.clone());
            names
                .into_iter()
                .find_map(|name| Some((differs((value(before, &name), value(now, &name)))?, name)))
        };
        let ((before, now), name) = find(|run| &run.values)?;
        let of = |name, before: Option<String>, now: Option<String>, none: &str| {
            let [before, now] = [before, now].map(|value| value.unwrap_or_else(|| none.to_owned()));
            Difference { name, before, now }
        };
        Some(match find(|run| &run.options) {
            Some(((before, now), flag)) => of(flag, before, now, "not given"),
            None => of(name, before, now, "none"),
        })
    }
}

/// What differs between two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub name: String,
    pub before: String,
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}, and is now {}", self.name, self.before, self.now)
    }
}

/// How far a run has come, and everything that it has found.
pub trait Progress: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// What a file of it says that it is.
    const FORMAT: &'static str = CHECKPOINT;

    /// What decides its form.
    type Options;

    /// How many rows are done.
    fn rows(&self) -> usize;

    /// Whether its parts belong to one run with these options.
    fn is_sound(&self, options: &Self::Options) -> bool;
}

/// A run that was stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint<P> {
    format: String,
    version: u32,
    run: Identity,
    pub progress: P,
}

impl<P: Progress> Checkpoint<P> {
    pub fn new(run: Identity, progress: P) -> Self {
        Self { format: P::FORMAT.to_owned(), version: VERSION, run, progress }
    }

    /// Writes the checkpoint to this file, and puts the file in its place.
    pub fn save(&self, mut file: WholeFile) -> Result<()> {
        self.write(&mut file)?;
        file.finish()
    }

    /// Writes the checkpoint to this file.
    pub fn write(&self, file: &mut WholeFile) -> Result<()> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).map_err(|error| refused(file.path(), error))?;
        let sum = hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        file.write_bytes(&bytes)
    }

    /// Reads a file of any run, and returns its identity, too. `what` is what the file should be, in words.
    pub fn open(path: &Path, options: &P::Options, what: &str) -> Result<(Identity, P)> {
        let bytes = read(path, "cannot be read")?;
        let is_one = |found: &Self| found.format == P::FORMAT && found.version == VERSION;
        let found = body(&bytes).and_then(|body| ciborium::from_reader::<Self, _>(body).ok()).filter(is_one);
        match found {
            Some(found) if found.progress.is_sound(options) => Ok((found.run, found.progress)),
            Some(_) => Err(refused(path, "its parts do not belong to one run")),
            None => Err(refused(path, Self::what_else(&bytes, what))),
        }
    }

    /// What a file is that is not `what`, in words.
    fn what_else(bytes: &[u8], what: &str) -> String {
        match ciborium::from_reader::<Head, _>(bytes) {
            Ok(Head { format, .. }) if format == CHECKPOINT => {
                format!("it is the checkpoint of a stopped run, not {what}: resume the run")
            }
            Ok(Head { format, version }) if format == P::FORMAT && version != VERSION => {
                format!("it is {format} {version}, but {format} {VERSION} is needed")
            }
            _ => format!("this file is not {what}, or not a complete one"),
        }
    }

    /// Reads a checkpoint, which must belong to this run, with progress of these options.
    pub fn load(path: &Path, run: &Identity, options: &P::Options) -> Result<Self> {
        let bytes = read(path, NOTHING)?;
        // Runs of other kinds have other progress, so the run comes first.
        if let Some(difference) = run.difference(&run_of(path, &bytes)?) {
            return Err(refused(path, format!("it is of another run: {difference}")));
        }
        let checkpoint: Self = ciborium::from_reader(&bytes[..]).map_err(|_| not_whole(path))?;
        match checkpoint.progress.is_sound(options) {
            true => Ok(checkpoint),
            false => Err(refused(path, "its parts do not belong to one run")),
        }
    }
}

/// Refuses a place that holds another file or, if `run` is given, the checkpoint of another run. This comes before the
/// run that may need the place.
pub fn check_place(path: &Path, run: Option<&Identity>) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let bytes = read(path, NOTHING)?;
    match ciborium::from_reader::<Head, _>(&bytes[..]) {
        Ok(Head { format, version }) if format == CHECKPOINT && version == VERSION => {}
        Ok(Head { format, version }) if format == CHECKPOINT => {
            return Err(refused(
                path,
                format!("it is {format} {version}, not {VERSION}, and is left as it is"),
            ));
        }
        _ => return Err(refused(path, "this file is not a checkpoint, and is left as it is")),
    }
    match run.and_then(|run| run.difference(&run_of(path, &bytes).ok()?)) {
        Some(difference) => {
            Err(refused(path, format!("it is of another run, and is left as it is: {difference}")))
        }
        None => Ok(()),
    }
}

/// The difference between this run and the one whose checkpoint is here; `None` if that is not known.
pub fn difference(path: &Path, run: &Identity) -> Option<Difference> {
    run.difference(&run_of(path, &read(path, NOTHING).ok()?).ok()?)
}

/// Whether the checkpoint here is of another part of the rows than this run.
pub fn is_of_another_part(path: &Path, run: &Identity) -> bool {
    let other = read(path, NOTHING).and_then(|bytes| run_of(path, &bytes));
    let parts = other.map(|other| other.value(PART).map(str::to_owned)).ok().flatten().zip(run.value(PART));
    parts.is_some_and(|(other, part)| other != part)
}

/// The run of a complete checkpoint.
fn run_of(path: &Path, bytes: &[u8]) -> Result<Identity> {
    // The version comes first, because other versions have other fields.
    let head: Head = ciborium::from_reader(bytes).map_err(|_| not_whole(path))?;
    if head.format != CHECKPOINT || head.version != VERSION {
        let Head { format, version } = head;
        return Err(refused(path, format!("it is {format} {version}, but {CHECKPOINT} {VERSION} is needed")));
    }
    let body = body(bytes).ok_or_else(|| not_whole(path))?;
    let begun: Begun = ciborium::from_reader(body).map_err(|_| not_whole(path))?;
    Ok(begun.run)
}

/// A file without its checksum, if that is right.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk()?;
    (hash(&body) == u64::from_le_bytes(*sum)).then_some(body)
}

fn not_whole(path: &Path) -> Error {
    refused(path, "this file is not a checkpoint, or not a complete one")
}

/// What is wrong where there is no checkpoint.
const NOTHING: &str = "nothing to resume";

/// Reads the whole file of a checkpoint. `what` is wrong if there is none.
fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    let nothing = |error: std::io::Error| refused(path, format!("{what}: {error}"));
    // Opening a pipe would wait for its writer, so look first.
    if !path.metadata().map_err(nothing)?.is_file() {
        return Err(refused(path, "it exists, but is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(nothing)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| refused(path, error))?;
    match bytes.len() as u64 > MOST_BYTES {
        true => {
            Err(refused(path, format!("this file is not a checkpoint: it has more than {MOST_BYTES} bytes")))
        }
        false => Ok(bytes),
    }
}

#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
struct Begun {
    run: Identity,
}

/// A hash that detects a changed file and distinguishes runs. It is not a cryptographic one.
fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn refused(path: &Path, why: impl ToString) -> Error {
    bad_argument(path.display().to_string(), why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::testing::Counted;

    const OPTIONS: usize = 9;

    fn checkpoint(run: Identity) -> Checkpoint<Counted> {
        Checkpoint::new(run, Counted { rows: 3, of: OPTIONS })
    }

    fn save(checkpoint: &Checkpoint<Counted>, path: &Path) -> Result<()> {
        checkpoint.save(WholeFile::create(path, "next")?)
    }

    fn identity() -> Identity {
        let mut run = Identity::default();
        run.add("option a", 1);
        run.add("option b", "x");
        run
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c");
        let saved = checkpoint(identity());
        for _ in 0..2 {
            save(&saved, &path).unwrap();
            assert_eq!(Checkpoint::load(&path, &identity(), &OPTIONS), Ok(saved.clone()));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn another_runs_is_refused_and_says_what_differs() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("c");
        let load = |run: &Identity| match Checkpoint::<Counted>::load(&path, run, &OPTIONS) {
            Err(error) => error.to_string().replace(&path.display().to_string(), "FILE"),
            Ok(checkpoint) => panic!("{checkpoint:?}"),
        };
        assert!(load(&identity()).starts_with("FILE: nothing to resume: "), "{}", load(&identity()));
        save(&checkpoint(identity()), &path).unwrap();
        let (mut more, mut other) = (identity(), Identity::default());
        more.add("option c", 2);
        other.add("option a", 1);
        other.add("option b", "y");
        assert_eq!(load(&more), "FILE: it is of another run: option c was none, and is now 2");
        assert_eq!(load(&other), "FILE: it is of another run: option b was x, and is now y");
        assert_eq!(load(&Identity::default()), "FILE: it is of another run: option a was 1, and is now none");

        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(
                load(&identity()),
                "FILE: this file is not a checkpoint, or not a complete one",
                "{end} bytes"
            );
        }
        fs::write(&path, &whole).unwrap();
        assert!(Checkpoint::<Counted>::load(&path, &identity(), &OPTIONS).is_ok());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(&path, damaged).unwrap();
            let said = load(&identity());
            assert!(!said.contains("Semantic"), "byte {at}: {said}");
        }
        let mut mixed = checkpoint(identity());
        mixed.progress.rows = 10;
        save(&mixed, &path).unwrap();
        assert_eq!(load(&identity()), "FILE: its parts do not belong to one run");
        let mut later = checkpoint(identity());
        later.version = VERSION + 1;
        save(&later, &path).unwrap();
        let says =
            format!("FILE: it is xent checkpoint {}, but xent checkpoint {VERSION} is needed", VERSION + 1);
        assert_eq!(load(&identity()), says);
    }
}
