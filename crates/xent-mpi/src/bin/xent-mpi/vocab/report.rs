//! What an evaluation by columns says.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use xent::{Flags, Loss, RowResult};

use super::columns::Columns;
use super::partials::Computer;
use crate::Failure;

/// How the time of rank 0 went.
#[derive(Default)]
pub struct Times {
    pub all: Duration,
    pub reading: Duration,
    pub computing: Duration,
    /// For the slowest rank of each window.
    pub waiting: Duration,
    /// Talking, and folding what the ranks said.
    pub folding: Duration,
}

pub struct Report<'a> {
    pub loss: Loss,
    pub results: &'a [RowResult],
    pub columns: &'a Columns,
    pub computer: &'a Computer,
    pub times: Times,
    pub ranks: i32,
}

impl Report<'_> {
    /// Rows with a class to predict and a prediction, and those that are right.
    fn judged(&self) -> (usize, usize) {
        let none = Flags::NAN_LOGIT | Flags::INFINITE_LOGIT | Flags::MASKED_ROW;
        let judged = self.results.iter().filter(|row| !row.is_left_out() && !row.flags().intersects(none));
        judged.fold((0, 0), |(all, right), row| (all + 1, right + usize::from(row.is_correct())))
    }

    fn accuracy(&self) -> f64 {
        let (judged, right) = self.judged();
        right as f64 / judged as f64
    }

    /// The rows whose loss is NaN or infinite.
    fn bad_rows(&self) -> usize {
        self.results.iter().filter(|row| !row.loss.is_finite()).count()
    }

    /// Prints it: the keys are those of `xent eval --json`, as far as there are such.
    pub fn print(&self, as_json: bool) -> Result<(), Failure> {
        let text = if as_json { format!("{:#}\n", self.json()) } else { self.text() };
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    fn json(&self) -> Value {
        let Self { loss, columns, times, .. } = self;
        // As in the tool's reports, keys that are null for want of a finite number are named.
        let named = [
            ("loss", loss.value),
            ("sum", loss.sum),
            ("z_loss", loss.z_loss),
            ("perplexity", loss.value.exp()),
            ("accuracy", self.accuracy()),
            ("weight", loss.weight),
        ];
        let named = named.iter().filter(|(_, value)| !value.is_finite()).map(|(name, _)| (*name).to_owned());
        let flags: Vec<String> = loss.flags.names().chain(named).collect();
        json!({
            "format": "xent-mpi eval vocab",
            "version": 1,
            "xent": env!("CARGO_PKG_VERSION"),
            "loss": number(loss.value),
            "sum": number(loss.sum),
            "z_loss": number(loss.z_loss),
            "perplexity": number(loss.value.exp()),
            "accuracy": number(self.accuracy()),
            "rows": loss.rows,
            "cols": columns.shard.total_cols,
            "counted": loss.counted,
            "ignored": loss.rows - loss.counted,
            "weight": number(loss.weight),
            "flags": flags,
            "bad_rows": self.bad_rows(),
            "mean_lse": number(self.mean_lse()),
            "ranks": self.ranks,
            "adapter": self.computer.name(),
            "seconds": times.all.as_secs_f64(),
            "reading_seconds": times.reading.as_secs_f64(),
            "computing_seconds": times.computing.as_secs_f64(),
            "waiting_seconds": times.waiting.as_secs_f64(),
            "folding_seconds": times.folding.as_secs_f64(),
        })
    }

    /// The mean lse of the rows that count.
    fn mean_lse(&self) -> f64 {
        let counted = self.results.iter().filter(|row| !row.is_left_out());
        counted.map(|row| f64::from(row.lse)).sum::<f64>() / self.loss.counted as f64
    }

    fn text(&self) -> String {
        let Self { loss, columns, times, .. } = self;
        let (judged, right) = self.judged();
        let mut lines = vec![
            ("loss", format!("{:.6} nats (mean)", loss.value)),
            ("perplexity", format!("{:.4}", loss.value.exp())),
            (
                "accuracy",
                match judged {
                    0 => "none: no row to judge".to_owned(),
                    _ => format!("{:.2} % of {judged} rows ({right})", 100.0 * self.accuracy()),
                },
            ),
            ("lse", format!("{:.6} (mean)", self.mean_lse())),
            (
                "rows",
                format!("{}: {} counted, {} ignored", loss.rows, loss.counted, loss.rows - loss.counted),
            ),
            ("classes", columns.describe(self.ranks)),
        ];
        if !loss.flags.is_empty() {
            lines.push(("flags", loss.flags.names().collect::<Vec<_>>().join(", ")));
        }
        if self.bad_rows() > 0 {
            lines.push(("bad rows", self.bad_rows().to_string()));
        }
        let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
        lines.extend([
            ("adapter", self.computer.name()),
            ("time", seconds(times.all)),
            ("  reading", seconds(times.reading)),
            ("  computing", seconds(times.computing)),
            ("  waiting", format!("{} for other ranks", seconds(times.waiting))),
            ("  folding", format!("{} with talking", seconds(times.folding))),
        ]);
        lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect()
    }
}

/// JSON has no numbers that are not finite.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}
