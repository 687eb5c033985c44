//! Everything that a run has produced so far and must not lose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xent::eval::{Evaluated, EvaluationState, Tally};
use xent::{Error, Result};

use super::keeper::Keeper;
use super::outputs::Outputs;
use super::pictures::Pictures;
use crate::numbers::thousands;
use crate::output::{complain, shown};

/// Everything that a run has produced from the rows that are done.
pub struct Kept {
    pub outputs: Outputs,
    pub pictures: Pictures,
    pub tally: Tally,
    pub state: EvaluationState,
    /// The number of all rows.
    pub rows: usize,
    /// The keeper that writes the checkpoint, or the reason why there can be no checkpoint.
    pub keeper: Result<Keeper, String>,
    /// Whether the user was told that a checkpoint could not be written.
    has_complained: bool,
}

impl Kept {
    pub fn new(
        (outputs, pictures): (Outputs, Pictures),
        tally: Tally,
        state: EvaluationState,
        rows: usize,
        keeper: Result<Keeper, String>,
    ) -> Self {
        Self { outputs, pictures, tally, state, rows, keeper, has_complained: false }
    }

    /// Adds a window.
    pub fn add(&mut self, window: &Evaluated<'_>) -> Result<()> {
        self.save_if_due()?;
        // If writing fails, the window comes again, and must not be counted twice. The tally of sequences is small beside
        // what is written for them, and is copied only if they are.
        let before = self.outputs.has_sequences().then(|| self.tally.clone());
        let mut complete = Vec::new();
        if let Some(before) = before {
            self.tally.add_rows(&window.into(), |total| complete.push(total));
            self.outputs.write(window, &complete).inspect_err(|_| self.tally = before)?;
        } else {
            self.outputs.write(window, &[])?;
            self.tally.add(window);
        }
        self.state = *window.state;
        Ok(())
    }

    /// Writes a checkpoint if one is due. A failure to write the checkpoint does not stop the run; a failure to write an
    /// output does.
    fn save_if_due(&mut self) -> Result<()> {
        let bytes = self.outputs.bytes();
        if self.state.rows() == 0 || !self.keeper.as_ref().is_ok_and(|keeper| keeper.is_due(bytes)) {
            return Ok(());
        }
        if let Err(error) = self.save() {
            self.outputs.sync()?;
            if !std::mem::replace(&mut self.has_complained, true) {
                complain(format!("{error}; the run continues without a checkpoint"));
            }
        }
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        let Self { outputs, tally, state, keeper, .. } = self;
        let bytes = outputs.bytes();
        match keeper {
            Ok(keeper) => keeper.save(*state, tally, || outputs.keep(), bytes),
            Err(_) => Ok(()),
        }
    }

    /// Leaves what is needed to continue, and says how far the run has come.
    pub fn leave(mut self) {
        let done = self.state.rows();
        let so_far = |done| format!("after {} of {} rows", thousands(done), thousands(self.rows));
        let saved = self.keeper.as_ref().ok().and_then(Keeper::saved);
        if done == 0 && saved.is_none() {
            return;
        }
        let so_far_now = so_far(done);
        let refused = if saved == Some(done) { None } else { self.save().err() };
        let Self { outputs, keeper, .. } = self;
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
                outputs.discard();
            }
        }
    }

    /// Removes everything of a run whose results are of no use.
    pub fn discard(self) {
        self.outputs.discard();
        if let Ok(keeper) = self.keeper {
            keeper.finish();
        }
    }

    /// Puts outputs and pictures in their places. If there is a checkpoint, it is first updated to the last row:
    /// whenever this process dies, the next one then finds what is left to be done.
    pub fn finish(mut self) -> Result<()> {
        if self.keeper.as_ref().is_ok_and(|keeper| keeper.saved().is_some_and(|rows| rows < self.rows)) {
            self.save()?;
        }
        self.outputs.finish()?;
        self.pictures.finish()?;
        if let Ok(keeper) = self.keeper {
            keeper.finish();
        }
        Ok(())
    }
}

/// A [`Kept`] shared by the run and the thread that may stop it. It is empty when the run is at its end.
#[derive(Clone)]
pub struct SharedKept(Arc<Mutex<Option<Kept>>>);

impl SharedKept {
    pub fn new(kept: Kept) -> Self {
        Self(Arc::new(Mutex::new(Some(kept))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `what` on it.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it is gone; as `what`.
    pub fn with<T>(&self, what: impl FnOnce(&mut Kept) -> Result<T>) -> Result<T> {
        self.lock().as_mut().ok_or(Error::Stopped).and_then(what)
    }

    /// Takes it and ends it with `how`. The lock is held meanwhile, so nothing stops the process before `how` is done.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn end<T>(&self, how: impl FnOnce(Kept) -> Result<T>) -> Result<T> {
        let mut kept = self.lock();
        kept.take().ok_or(Error::Stopped).and_then(how)
    }
}
