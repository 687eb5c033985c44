//! What a run has produced so far and must not lose.

mod checkpoint;
mod keeper;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xent::eval::WholeFile;
use xent::{Error, Result};

use crate::args::{RunArgs, checkpoint_start};
use crate::numbers::thousands;
use crate::output::{complain, shown};

pub use checkpoint::{Checkpoint, Difference, Identity, Progress, check_place};
pub use keeper::Keeper;

/// A run's files and figures, as far as it has come.
pub trait Job {
    /// What a checkpoint holds of it.
    type Progress: Progress;

    /// How many rows are done.
    fn rows(&self) -> usize;

    /// The bytes that were written to its files.
    fn bytes(&self) -> u64;

    /// Writes its files to the disk.
    fn sync(&mut self) -> Result<()>;

    /// Writes its files to the disk, where they outlive this process, and returns how far it has come.
    fn keep(&mut self) -> Result<Self::Progress>;

    /// Puts its files in their places.
    fn finish(self) -> Result<()>;

    /// Removes its files.
    fn discard(self);
}

/// A job, and the keeper of its checkpoint.
pub struct Kept<J: Job> {
    pub job: J,
    /// The number of all rows.
    rows: usize,
    /// The keeper that writes the checkpoint, or the reason why there can be no checkpoint.
    keeper: KeeperOrWhy<J::Progress>,
    /// Whether the user was told that a checkpoint could not be written.
    has_complained: bool,
}

/// The reason why a run that reads a pipe has no keeper.
pub const FROM_A_PIPE: &str = "input from stdin or a pipe cannot be read again, so the run cannot be resumed";

/// A keeper, or the reason why a run has none.
pub type KeeperOrWhy<P> = Result<Keeper<P>, String>;

/// The keeper of the run of this identity over these logits, or the reason why there can be none. That is an error only if
/// the user asked for a checkpoint or for --resume. A checkpoint takes `more` bytes that are not the same for all runs.
pub fn keeper<P: Progress>(
    args: &RunArgs,
    logits: &[PathBuf],
    run: &Identity,
    more: usize,
) -> Result<KeeperOrWhy<P>> {
    let place = args.checkpoint(logits, &run.name());
    if args.named_checkpoint().is_none() && !args.resume {
        if let Err(error) = WholeFile::check_place(&place) {
            complain(format!("{error}; this run has no checkpoint unless --checkpoint gives a place for it"));
            return Ok(Err("the run has no checkpoint and cannot be resumed".to_owned()));
        }
    }
    Keeper::new(place, run.clone(), args.checkpoint_every, more).map(Ok)
}

/// How far the run has come that these arguments resume; `None` if it starts from the beginning. Says which it is.
pub fn begun<P: Progress>(
    keeper: &mut KeeperOrWhy<P>,
    args: &RunArgs,
    logits: &[PathBuf],
    rows: usize,
    options: &P::Options,
) -> Result<Option<P>> {
    let Ok(keeper) = keeper else { return Ok(None) };
    if !args.resume {
        if keeper.place().exists() {
            let place = shown(keeper.place());
            complain(format!(
                "{place}: checkpoint of a stopped run; without --resume, this run starts from the beginning"
            ));
            keeper.forget();
        }
        return Ok(None);
    }
    if keeper.died_early() {
        complain("the run died before its first checkpoint: it starts from the beginning");
        return Ok(None);
    }
    let progress = keeper.load(options, &checkpoint_start(logits))?;
    match &progress {
        Some(progress) => {
            complain(format!("continuing after {} of {} rows", thousands(progress.rows()), thousands(rows)));
        }
        None => complain(format!(
            "{}: there is nothing to resume: the run starts from the beginning",
            shown(keeper.place())
        )),
    }
    Ok(progress)
}

impl<J: Job> Kept<J> {
    pub fn new(job: J, rows: usize, keeper: KeeperOrWhy<J::Progress>) -> Self {
        Self { job, rows, keeper, has_complained: false }
    }

    /// Adds to the job, after a checkpoint of what came before if one is due.
    pub fn add(&mut self, add: impl FnOnce(&mut J) -> Result<()>) -> Result<()> {
        self.save_if_due()?;
        add(&mut self.job)
    }

    /// Writes a checkpoint if one is due. A failure to write the checkpoint does not stop the run; a failure to write an
    /// output does.
    fn save_if_due(&mut self) -> Result<()> {
        let bytes = self.job.bytes();
        if self.job.rows() == 0 || !self.keeper.as_ref().is_ok_and(|keeper| keeper.is_due(bytes)) {
            return Ok(());
        }
        if let Err(error) = self.save() {
            self.job.sync()?;
            if !std::mem::replace(&mut self.has_complained, true) {
                complain(format!("{error}; the run continues without a checkpoint"));
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        let Self { job, keeper, .. } = self;
        let bytes = job.bytes();
        match keeper {
            Ok(keeper) => keeper.save(|| job.keep(), bytes),
            Err(_) => Ok(()),
        }
    }

    /// Leaves what is needed to continue, and says how far the run has come.
    pub fn leave(mut self) {
        let done = self.job.rows();
        let so_far = |done| format!("after {} of {} rows", thousands(done), thousands(self.rows));
        let saved = self.keeper.as_ref().ok().and_then(Keeper::saved);
        if done == 0 && saved.is_none() {
            return;
        }
        let so_far_now = so_far(done);
        let refused = if saved == Some(done) { None } else { self.save().err() };
        let Self { job, keeper, .. } = self;
        let keeper = match keeper {
            Ok(keeper) => keeper,
            Err(why) => return complain(format!("{so_far_now}; {why}")),
        };
        let goes_on = format!("the same command with --resume continues from {}", shown(keeper.place()));
        match (refused, keeper.saved()) {
            (None, _) => complain(format!("{so_far_now}; {goes_on}")),
            (Some(error), Some(saved)) => complain(format!(
                "{so_far_now}; no checkpoint of them could be written: {error}; {goes_on}, after {} rows",
                thousands(saved)
            )),
            (Some(error), None) => {
                complain(format!("{so_far_now}; the run cannot be resumed: {error}"));
                job.discard();
            }
        }
    }

    /// Removes everything of a run whose results are of no use.
    pub fn discard(self) {
        self.job.discard();
        if let Ok(keeper) = self.keeper {
            keeper.finish();
        }
    }

    /// Puts the job's files in their places. If there is a checkpoint, it is first updated to the last row: whenever this
    /// process dies, the next one then finds what is left to be done.
    pub fn finish(mut self) -> Result<()> {
        if self.keeper.as_ref().is_ok_and(|keeper| keeper.saved().is_some_and(|rows| rows < self.rows)) {
            self.save()?;
        }
        self.job.finish()?;
        if let Ok(keeper) = self.keeper {
            keeper.finish();
        }
        Ok(())
    }
}

/// A [`Kept`] shared by the run and the thread that may stop it. It is empty when the run is at its end.
pub struct SharedKept<J: Job>(Arc<Mutex<Option<Kept<J>>>>);

impl<J: Job> Clone for SharedKept<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<J: Job> SharedKept<J> {
    pub fn new(kept: Kept<J>) -> Self {
        Self(Arc::new(Mutex::new(Some(kept))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept<J>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `what` on it.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it is gone; as `what`.
    pub fn with<T>(&self, what: impl FnOnce(&mut Kept<J>) -> Result<T>) -> Result<T> {
        self.lock().as_mut().ok_or(Error::Stopped).and_then(what)
    }

    /// Takes it and ends it with `how`. The lock is held meanwhile, so nothing stops the process before `how` is done.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn end<T>(&self, how: impl FnOnce(Kept<J>) -> Result<T>) -> Result<T> {
        let mut kept = self.lock();
        kept.take().ok_or(Error::Stopped).and_then(how)
    }
}

impl<J: Job + Send + 'static> SharedKept<J> {
    /// Leaves what is needed to continue when Ctrl-C stops the process.
    pub fn leave_before_stop(&self) {
        let kept = self.clone();
        crate::stop::before_stop(move || {
            let left = kept.end(|kept| {
                kept.leave();
                Ok(())
            });
            left.is_ok()
        });
    }
}

/// Progress for tests.
#[cfg(test)]
mod testing {
    use serde::{Deserialize, Serialize};

    use super::Progress;

    /// So many rows of at most so many.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Counted {
        pub rows: usize,
        pub of: usize,
    }

    impl Progress for Counted {
        type Options = usize;

        fn rows(&self) -> usize {
            self.rows
        }

        fn is_sound(&self, of: &usize) -> bool {
            self.of == *of && self.rows <= self.of
        }
    }
}
