//! A progress bar, where somebody sees it and the work is long.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use xent::{Error, Result};

/// As a shell tells of a process that Ctrl-C has ended.
pub const STOPPED_STATUS: u8 = 130;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From here on, Ctrl-C (and a polite kill) stops the run at its next window; a second one ends the process.
pub fn stop_on_signals() {
    // Where no handler can be set, signals end the process as before.
    let _ = ctrlc::set_handler(|| {
        if STOPPED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(STOPPED_STATUS));
        }
    });
}

/// Refuses to go on.
///
/// # Errors
/// `Error::Stopped` where somebody has pressed Ctrl-C.
pub fn check_stopped() -> Result<()> {
    if STOPPED.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
}

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far a pass, over rows most often, has come. The bar goes when this is dropped.
pub struct Progress {
    start: Instant,
    bar: ProgressBar,
}

impl Progress {
    pub fn new(rows: usize) -> Self {
        Self::of(rows, "rows")
    }

    /// The same for other things than rows.
    pub fn of(things: usize, name: &str) -> Self {
        let template = format!("{{bar:40}} {{human_pos}} of {{human_len}} {name}, {{eta}} left");
        let bar = ProgressBar::with_draw_target(Some(things as u64), ProgressDrawTarget::hidden())
            .with_style(ProgressStyle::with_template(&template).unwrap_or(ProgressStyle::default_bar()));
        Self { start: Instant::now(), bar }
    }

    /// So many rows are done.
    ///
    /// # Errors
    /// As [`check_stopped`].
    pub fn reach(&mut self, rows: usize) -> Result<()> {
        check_stopped()?;
        if self.bar.is_hidden() && self.start.elapsed() > PATIENCE && stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(rows as u64);
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
