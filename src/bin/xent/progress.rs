//! A progress bar, where somebody sees it and the work is long.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
const TEMPLATE: &str = "{bar:40} {human_pos} of {human_len} rows, {eta} left";

/// How far a pass over rows has come. The bar goes when this is dropped.
pub struct Progress {
    start: Instant,
    bar: ProgressBar,
}

impl Progress {
    pub fn new(rows: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(rows as u64), ProgressDrawTarget::hidden())
            .with_style(ProgressStyle::with_template(TEMPLATE).unwrap_or(ProgressStyle::default_bar()));
        Self { start: Instant::now(), bar }
    }

    /// So many rows are done.
    pub fn reach(&mut self, rows: usize) {
        if self.bar.is_hidden() && self.start.elapsed() > PATIENCE && stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(rows as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
