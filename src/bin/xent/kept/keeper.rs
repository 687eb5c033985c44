//! The checkpoint of a run in progress: when and how it is written, and by which process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xent::eval::WholeFile;
use xent::eval::files::partial_path;
use xent::{Error, Result};

use super::checkpoint::{self, Checkpoint, Identity, Progress};
use crate::args::CHECKPOINT_END;
use crate::output::{bad_argument, folder_of};

/// More than a checkpoint takes apart from what a run knows of each class. This room is taken in advance, so the next
/// checkpoint can be written even if the disk is full.
const ROOM_BYTES: usize = 208 << 10;
/// When the outputs have grown by this much, a checkpoint is due early.
const MOST_BYTES: u64 = 4 << 30;
/// At most one part in `SHARE` of the time goes into checkpoints.
const SHARE: u32 = 20;
/// The first checkpoint comes sooner by this factor.
const SOONER: u32 = 10;

/// Part of a checkpoint's name until it is in its place.
const NEXT: &str = "next";

/// Writes the checkpoint of a run, and holds the run's lock, so that no other process writes the same checkpoint.
pub struct Keeper<P> {
    place: PathBuf,
    run: Identity,
    /// The file of the next checkpoint, with room for it.
    next: Option<WholeFile>,
    /// The bytes of that room.
    room: usize,
    pace: Pace,
    /// The number of rows done in the checkpoint that is in place.
    saved: Option<usize>,
    /// Whether an earlier process began this run and died.
    was_begun: bool,
    progress: std::marker::PhantomData<P>,
    /// Declared last, so that it is dropped last.
    _lock: WholeFile,
}

impl<P: Progress> Keeper<P> {
    /// Takes the lock of a run, and room for its checkpoints, of which `more` bytes are not the same for all runs.
    ///
    /// # Errors
    /// [`Error::File`] if another process has the lock, if the checkpoint of another run or another file is in this
    /// place, or if nothing can be written there.
    pub fn new(place: PathBuf, run: Identity, every: Duration, more: usize) -> Result<Self> {
        let Some(lock) = WholeFile::try_create(&place, "lock")? else {
            let why = "this run is in progress in another process, which continues; this process has changed nothing";
            return Err(bad_argument(place.display().to_string(), why));
        };
        checkpoint::check_place(&place, Some(&run))?;
        let was_begun = partial_path(&place, NEXT).exists();
        let room = ROOM_BYTES + more;
        let next = Some(Self::make_room(&place, room)?);
        let pace = Pace::new(every, Instant::now());
        Ok(Self {
            place,
            run,
            next,
            room,
            pace,
            saved: None,
            was_begun,
            progress: std::marker::PhantomData,
            _lock: lock,
        })
    }

    fn make_room(place: &Path, room: usize) -> Result<WholeFile> {
        let mut file = WholeFile::create(place, NEXT)?;
        file.take_room(room);
        Ok(file)
    }

    /// Loads the checkpoint that is in place; `None` if there is none.
    ///
    /// # Errors
    /// As [`Checkpoint::load`]. If there is no checkpoint, but one of another run over logits of this name, the error says
    /// how the runs differ.
    pub fn load(&mut self, options: &P::Options, start: &str) -> Result<Option<P>> {
        if !self.place.exists() {
            return self.of_others(start).map_or(Ok(None), Err);
        }
        let Checkpoint { progress, .. } = Checkpoint::<P>::load(&self.place, &self.run, options)?;
        self.saved = Some(progress.rows());
        Ok(Some(progress))
    }

    /// The difference between this run and the last one that was stopped over logits of this name. Other parts of the same
    /// whole are no mistake.
    fn of_others(&self, start: &str) -> Option<Error> {
        let entries = fs::read_dir(folder_of(&self.place)).ok()?;
        let is_one = |name: &str| name.starts_with(start) && name.ends_with(CHECKPOINT_END);
        let of_this_part = |entry: &fs::DirEntry| !checkpoint::is_of_another_part(&entry.path(), &self.run);
        let theirs = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_one));
        let theirs = theirs.filter(of_this_part);
        let latest = theirs.max_by_key(|entry| entry.metadata().and_then(|there| there.modified()).ok())?;
        let name = latest.file_name().display().to_string();
        let difference = checkpoint::difference(&latest.path(), &self.run)?;
        Some(bad_argument(name, format!("it is of another run: {difference}")))
    }

    /// Removes the checkpoint that an earlier process left, because the run starts from the beginning. Returns whether
    /// there was one.
    pub fn forget(&mut self) -> bool {
        self.saved = None;
        fs::remove_file(&self.place).is_ok()
    }

    /// Whether an earlier process began this run and died before its first checkpoint.
    pub fn died_early(&self) -> bool {
        self.was_begun && !self.place.exists()
    }

    /// The path of the checkpoint.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The number of rows done in the checkpoint that is in place.
    pub fn saved(&self) -> Option<usize> {
        self.saved
    }

    /// Whether the next checkpoint is due, now that the outputs hold this number of bytes.
    pub fn is_due(&self, bytes: u64) -> bool {
        self.pace.is_due(Instant::now(), bytes)
    }

    /// Writes the checkpoint. Before that, `keep` writes the outputs to the disk and returns what they and all else are.
    ///
    /// # Errors
    /// As `keep`; [`Error::File`]. The previous checkpoint is then still there.
    pub fn save(&mut self, keep: impl FnOnce() -> Result<P>, bytes: u64) -> Result<()> {
        let start = Instant::now();
        let saved = keep().and_then(|progress| {
            let rows = progress.rows();
            let checkpoint = Checkpoint::new(self.run.clone(), progress);
            let next = self.next.take().map_or_else(|| WholeFile::create(&self.place, NEXT), Ok)?;
            checkpoint.save(next).map(|()| rows)
        });
        if self.next.is_none() {
            self.next = Self::make_room(&self.place, self.room).ok();
        }
        self.pace.took(start, Instant::now(), bytes);
        self.saved = Some(saved?);
        Ok(())
    }

    /// Removes the checkpoint: the run is over.
    pub fn finish(self) {
        let _ = fs::remove_file(&self.place);
    }
}

/// When checkpoints are due.
struct Pace {
    every: Duration,
    /// When the last one was written, or the run began.
    last: Instant,
    /// The time to wait from then on.
    wait: Duration,
    /// How long the last one took.
    took: Duration,
    /// How large the outputs were.
    bytes: u64,
}

impl Pace {
    fn new(every: Duration, now: Instant) -> Self {
        Self { every, last: now, wait: every / SOONER, took: Duration::ZERO, bytes: 0 }
    }

    fn is_due(&self, now: Instant, bytes: u64) -> bool {
        let waited = now.saturating_duration_since(self.last);
        waited >= SHARE * self.took && (waited >= self.wait || bytes.saturating_sub(self.bytes) >= MOST_BYTES)
    }

    fn took(&mut self, start: Instant, now: Instant, bytes: u64) {
        (self.last, self.wait, self.bytes) = (now, self.every, bytes);
        self.took = if self.every.is_zero() { self.every } else { now.saturating_duration_since(start) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::testing::Counted;

    #[test]
    fn checkpoints_come_in_time_and_take_little_of_it() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut pace = Pace::new(Duration::from_secs(10), start);
        assert!(!pace.is_due(at(0.9), 0) && pace.is_due(at(1.0), 0), "the first is early");
        assert!(pace.is_due(at(0.1), 4 << 30), "much was written");
        pace.took(at(1.0), at(1.1), 7);
        assert!(!pace.is_due(at(11.0), 4 << 30) && pace.is_due(at(11.1), 7));
        assert!(!pace.is_due(at(3.0), (4 << 30) + 6) && pace.is_due(at(3.2), (4 << 30) + 7));
        pace.took(at(12.0), at(14.0), 7);
        assert!(!pace.is_due(at(53.9), 9 << 30) && pace.is_due(at(54.1), 7), "a slow disk");
    }

    #[test]
    fn a_run_has_one_keeper_and_leaves_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let place = folder.path().join("c");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let mut run = Identity::default();
        run.add("option a", 1);
        let keeper = |run: &Identity| Keeper::<Counted>::new(place.clone(), run.clone(), Duration::ZERO, 0);
        let mut first = keeper(&run).unwrap();
        let error = keeper(&run).map(drop).unwrap_err().to_string();
        assert!(error.contains("c: this run is in progress in another process"), "{error}");
        for rows in 1..=3 {
            first.save(|| Ok(Counted { rows, of: 9 }), 0).unwrap();
        }
        drop(first);
        assert_eq!(names(), 1, "the checkpoint alone");
        assert_eq!(Checkpoint::<Counted>::load(&place, &run, &9).unwrap().progress.rows, 3);

        let mut other = Identity::default();
        other.add("option a", 2);
        let error = keeper(&other).map(drop).unwrap_err().to_string();
        assert!(
            error.ends_with("c: it is of another run, and is left as it is: option a was 1, and is now 2"),
            "{error}"
        );
        assert_eq!(names(), 1, "it stays");
        keeper(&run).unwrap().finish();
        assert_eq!(names(), 0);
    }
}
