//! The progress of the work: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::numbers::{decimals, duration, si, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// The time before the first line and between two lines, if stderr is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The progress of a pass, mostly over rows. The bar disappears when this is dropped.
pub struct Progress {
    bar: ProgressBar,
    pace: Pace,
    start: Instant,
    /// When the last line was written; none on a terminal, which has a bar instead.
    said: Option<Instant>,
}

impl Progress {
    pub fn new(rows: usize) -> Self {
        Self::of(rows, "rows")
    }

    /// Like `new`, for things other than rows.
    pub fn of(things: usize, name: &'static str) -> Self {
        let template = "{bar:12} {percent} %, {msg}";
        let bar = ProgressBar::with_draw_target(Some(things as u64), ProgressDrawTarget::hidden())
            .with_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
        let start = Instant::now();
        let has_bar = stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let pace = Pace { first: 0, total: things, name, cols: None, bytes: None, loss: None };
        Self { bar, pace, start, said: (!has_bar).then_some(start) }
    }

    /// Sets the logits per row and, if they come from a file, the bytes per row, from which rates are computed.
    pub fn with_rates(mut self, cols: usize, bytes_per_row: Option<f64>) -> Self {
        (self.pace.cols, self.pace.bytes) = (Some(cols), bytes_per_row);
        self
    }

    /// Rows before this one were done by an earlier run.
    pub fn resumed_at(mut self, first: usize) -> Self {
        self.pace.first = first;
        self
    }

    /// Sets the mean loss of the rows that are done.
    pub fn set_loss(&mut self, loss: f64) {
        self.pace.loss = Some(loss).filter(|loss| loss.is_finite());
    }

    /// Reports that this number of rows is done.
    pub fn reach(&mut self, rows: usize) {
        let elapsed = self.start.elapsed();
        match &mut self.said {
            None => {
                if self.bar.is_hidden() && elapsed > PATIENCE {
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                self.bar.set_position(rows as u64);
                self.bar.set_message(self.pace.short(rows, elapsed));
            }
            Some(said) if said.elapsed() >= LINE_EVERY => {
                *said = Instant::now();
                // If stderr is closed, the line is lost.
                let _ = writeln!(stderr(), "{}", self.pace.line(rows, elapsed));
            }
            Some(_) => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Computes what to print from a number of rows and a time.
struct Pace {
    /// The row at which this run began.
    first: usize,
    total: usize,
    name: &'static str,
    /// Logits per row.
    cols: Option<usize>,
    /// Bytes per row.
    bytes: Option<f64>,
    /// The mean loss of the rows that are done.
    loss: Option<f64>,
}

impl Pace {
    /// `75.0 %: 12,288 of 16,384 rows, 81.2 M logits/s, 325 MB/s, 3 s left`.
    fn line(&self, rows: usize, elapsed: Duration) -> String {
        let share = 100.0 * rows as f64 / self.total.max(1) as f64;
        let (done, total) = (thousands(rows), thousands(self.total));
        format!("{share:.1} %: {done} of {total} {}, {}", self.name, self.rates(rows, elapsed))
    }

    fn rates(&self, rows: usize, elapsed: Duration) -> String {
        self.words(rows, elapsed, self.bytes)
    }

    /// The words beside a bar: a bar, its share and they have room on a terminal of 80 columns.
    fn short(&self, rows: usize, elapsed: Duration) -> String {
        self.words(rows, elapsed, None)
    }

    fn words(&self, rows: usize, elapsed: Duration, bytes: Option<f64>) -> String {
        let (done, seconds) = (rows.saturating_sub(self.first) as f64, elapsed.as_secs_f64());
        if done == 0.0 || seconds == 0.0 {
            return "no rate yet".to_owned();
        }
        let rate = done / seconds;
        let mut words = vec![match self.cols {
            Some(cols) => si(rate * cols as f64, " logits/s"),
            None => si(rate, &format!(" {}/s", self.name)),
        }];
        words.extend(bytes.map(|bytes| si(rate * bytes, "B/s")));
        words.push(format!("{} left", duration(self.total.saturating_sub(rows) as f64 / rate)));
        words.extend(self.loss.map(|loss| format!("loss {}", decimals(loss, 4))));
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_this_run_alone() {
        let whole = Pace {
            first: 0,
            total: 16_384,
            name: "rows",
            cols: Some(50_000),
            bytes: Some(200e3),
            loss: None,
        };
        let resumed = Pace { first: 8_192, ..whole };
        let rounds = Pace { total: 66, name: "rounds", cols: None, bytes: None, ..whole };
        let after = |seconds| Duration::from_secs(seconds);
        for (pace, rows, elapsed, line) in [
            (&whole, 0, after(10), "0.0 %: 0 of 16,384 rows, no rate yet"),
            (&whole, 4_096, after(0), "25.0 %: 4,096 of 16,384 rows, no rate yet"),
            (&whole, 12_288, after(8), "75.0 %: 12,288 of 16,384 rows, 76.8 M logits/s, 307 MB/s, 3 s left"),
            (&resumed, 8_192, after(10), "50.0 %: 8,192 of 16,384 rows, no rate yet"),
            (
                &resumed,
                12_288,
                after(8),
                "75.0 %: 12,288 of 16,384 rows, 25.6 M logits/s, 102 MB/s, 8 s left",
            ),
            (&rounds, 11, after(22), "16.7 %: 11 of 66 rounds, 0.50 rounds/s, 1 min 50 s left"),
            (&rounds, 66, after(22), "100.0 %: 66 of 66 rounds, 3.00 rounds/s, 0 s left"),
        ] {
            assert_eq!(pace.line(rows, elapsed), line);
        }
        let losing = Pace { loss: Some(3.21987), ..whole };
        let line = "75.0 %: 12,288 of 16,384 rows, 76.8 M logits/s, 307 MB/s, 3 s left, loss 3.2199";
        assert_eq!(losing.line(12_288, after(8)), line);
        // The longest that is likely, beside a bar of 12 and its share.
        let long = Pace { total: 1 << 30, loss: Some(-12.3456), ..whole };
        let beside = long.short(12_288, after(8));
        assert_eq!(beside, "76.8 M logits/s, 8 d 2 h left, loss -12.3456");
        assert!(12 + " 100 %, ".len() + beside.len() + 2 * " 23 h".len() < 80);
    }
}
