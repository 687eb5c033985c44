//! The table: medians, ratios, and the machine that they were measured on.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::data::{Operation, TOLERANCE};
use crate::error::Result;
use crate::serve::NOT_COMPARED;

/// The result of a contestant for an operation on a shape.
pub enum Cell {
    /// The seconds of each run.
    Times(Vec<f64>),
    /// The answer is not the reference's, so it has no time.
    Wrong(String),
    /// No answer.
    Failed(String),
    /// The contestant does not take part in this operation.
    NotCompared,
}

/// One operation on one shape.
pub struct Line {
    pub operation: Operation,
    pub rows: usize,
    pub cols: usize,
    /// One for each contestant. Ratios are relative to the first.
    pub cells: Vec<Cell>,
}

/// A contestant.
pub struct Column {
    pub title: &'static str,
    pub remark: &'static str,
    /// What it is, or why it did not take part.
    pub about: std::result::Result<String, String>,
}

pub struct Record {
    adapter: xent::Profile,
    /// The load averages before the contest.
    load: String,
    /// The turns that a contestant takes per operation, unless it is slow.
    turns: usize,
    pub columns: Vec<Column>,
    pub lines: Vec<Line>,
}

impl Cell {
    /// The cell of a contestant that did not answer, for this reason.
    pub fn of(why: String) -> Self {
        if why == NOT_COMPARED { Self::NotCompared } else { Self::Failed(why) }
    }

    fn median(&self) -> Option<f64> {
        match self {
            Self::Times(times) => quantile(times, 0.5),
            _ => None,
        }
    }

    /// Milliseconds and the ratio to a yardstick, or what went wrong.
    fn told(&self, yardstick: Option<f64>, turns: usize) -> String {
        match self {
            Self::Wrong(_) => return "wrong answer".into(),
            Self::Failed(_) => return "failed".into(),
            Self::NotCompared => return "".into(),
            Self::Times(_) => (),
        }
        let Some(median) = self.median() else { return "not timed".into() };
        let few = match self {
            Self::Times(times) if times.len() < turns => "\\*",
            _ => "",
        };
        let ratio = yardstick.map(|yardstick| format!(" ({}×)", rounded(median / yardstick)));
        format!("{}{few}{}", rounded(median * 1e3), ratio.unwrap_or_default())
    }
}

impl Line {
    /// The line for the terminal, during the contest.
    pub fn told(&self, titles: impl Iterator<Item = &'static str>) -> String {
        let cells = titles.zip(&self.cells).map(|(title, cell)| {
            let result = match cell {
                Cell::Times(_) => {
                    cell.median().map_or("not timed".into(), |s| format!("{} ms", rounded(s * 1e3)))
                }
                Cell::Wrong(why) => format!("wrong answer: {why}"),
                Cell::Failed(why) => format!("failed: {why}"),
                Cell::NotCompared => NOT_COMPARED.into(),
            };
            format!("  {title:<22}{result}\n")
        });
        let cells: String = cells.collect();
        format!("{} of {} × {}\n{cells}", self.operation.name(), grouped(self.rows), grouped(self.cols))
    }
}

impl Record {
    pub fn begin(adapter: &xent::Profile, turns: usize) -> Self {
        Self { adapter: adapter.clone(), load: load(), turns, columns: Vec::new(), lines: Vec::new() }
    }

    /// Writes `benches/record/DATE-ADAPTER.md`, and replaces an earlier one of that day.
    pub fn write(&self) -> Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../record");
        fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let date = said_by("date", &["-u", "+%Y-%m-%d"]).ok_or("`date` does not print a date")?;
        let path = folder.join(format!("{date}-{}.md", slug(&self.adapter.name)));
        fs::write(&path, self.text(&date)?)?;
        Ok(path)
    }

    fn text(&self, date: &str) -> Result<String> {
        let text = &mut String::new();
        writeln!(text, "# xent beside its peers, {date}\n")?;
        writeln!(text, "Written by `make peers`.\n")?;
        let threads = std::thread::available_parallelism()?;
        writeln!(text, "- processor: {}, {threads} hardware threads available", processor())?;
        writeln!(text, "- adapter: {}", self.adapter)?;
        if let Some(commit) = said_by("git", &["describe", "--always", "--dirty"]) {
            writeln!(text, "- commit: {commit}")?;
        }
        writeln!(text, "- load average (1, 5, 15 minutes): {} before, {} after", self.load, load())?;
        if let Ok(note) = std::env::var("XENT_PEERS_NOTE") {
            writeln!(text, "- {note}")?;
        }
        if let Some((usual, worst)) = self.spread() {
            writeln!(
                text,
                "- spread: the slowest quarter of a cell's runs took at least {usual:.0} % longer than the median in half \
                 of the cells, {worst:.0} % in the worst"
            )?;
        }
        writeln!(text, "\n| column | what it is | what is timed |\n| --- | --- | --- |")?;
        for column in &self.columns {
            match &column.about {
                Ok(about) => writeln!(text, "| {} | {about} | {} |", column.title, column.remark)?,
                Err(why) => writeln!(text, "| {} | did not take part: {why} | |", column.title)?,
            }
        }
        writeln!(
            text,
            "\nMedians in milliseconds, f32. In brackets: the ratio to the time of xent on buffers. Every column has the \
             same logits and was checked before and after: the loss, the gradient or probabilities at 5 places of up to 48 \
             rows, or the largest classes of these rows with their log-probabilities, within {TOLERANCE} of the f64 reference, relative. A wrong answer has no time. The columns \
             took turns, {} each with one to three runs (\\*: fewer, for runs of half a second and more).",
            self.turns
        )?;
        for operation in Operation::ALL {
            self.table(text, operation)?;
        }
        self.notes(text)?;
        Ok(std::mem::take(text))
    }

    fn table(&self, text: &mut String, operation: Operation) -> Result<()> {
        let is_compared = |at: usize| {
            let mut lines = self.lines.iter().filter(|line| line.operation == operation);
            lines.any(|line| !matches!(line.cells[at], Cell::NotCompared))
        };
        let takes_part = |&at: &usize| self.columns[at].about.is_ok() && is_compared(at);
        let taking_part: Vec<usize> = (0..self.columns.len()).filter(takes_part).collect();
        writeln!(text, "\n## {}\n", operation.name().replace('+', " + "))?;
        write!(text, "| rows × cols |")?;
        for &at in &taking_part {
            write!(text, " {} |", self.columns[at].title)?;
        }
        writeln!(text, "\n| --- |{}", " --- |".repeat(taking_part.len()))?;
        let is_timed = |line: &&Line| line.cells.iter().any(|cell| !matches!(cell, Cell::NotCompared));
        for line in self.lines.iter().filter(|line| line.operation == operation).filter(is_timed) {
            write!(text, "| {} × {} |", grouped(line.rows), grouped(line.cols))?;
            let yardstick = line.cells[0].median();
            for &at in &taking_part {
                write!(text, " {} |", line.cells[at].told(yardstick.filter(|_| at > 0), self.turns))?;
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// The reasons why cells have no time.
    fn notes(&self, text: &mut String) -> Result<()> {
        let mut notes = String::new();
        for line in &self.lines {
            for (column, cell) in
                self.columns.iter().zip(&line.cells).filter(|(column, _)| column.about.is_ok())
            {
                if let Cell::Wrong(why) | Cell::Failed(why) = cell {
                    let (operation, rows, cols) =
                        (line.operation.name(), grouped(line.rows), grouped(line.cols));
                    let what = if matches!(cell, Cell::Wrong(_)) { "wrong: " } else { "failed: " };
                    writeln!(notes, "- {}, {operation} of {rows} × {cols}, {what}{why}", column.title)?;
                }
            }
        }
        if !notes.is_empty() {
            write!(text, "\n## Not timed\n\n{notes}")?;
        }
        Ok(())
    }

    /// By how many per cent the upper quartile of a cell's runs exceeds their median: in the median cell, and in the worst.
    fn spread(&self) -> Option<(f64, f64)> {
        let cells = self.lines.iter().flat_map(|line| &line.cells);
        let spreads: Vec<f64> = cells
            .filter_map(|cell| match cell {
                Cell::Times(times) => Some((quantile(times, 0.75)? / quantile(times, 0.5)? - 1.0) * 100.0),
                _ => None,
            })
            .collect();
        Some((quantile(&spreads, 0.5)?, quantile(&spreads, 1.0)?))
    }
}

/// The value below which the given part of all values lies; the upper one if that is between two values.
fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().checked_sub(1)?)).copied()
}

/// Three significant digits, or all digits before the point of a larger number.
fn rounded(value: f64) -> String {
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// 50304 as 50,304.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// An adapter's name up to its first bracket, as a part of a file's name.
fn slug(name: &str) -> String {
    let name = name.split('(').next().unwrap_or_default().to_lowercase();
    let words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "adapter".into() } else { words.join("-") }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let model = model.map(|(_, model)| model.to_owned());
    let model = model.or_else(|| said_by("sysctl", &["-n", "machdep.cpu.brand_string"]));
    model.unwrap_or_else(|| format!("of an unknown model ({})", std::env::consts::ARCH))
}

fn load() -> String {
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = averages.split_whitespace().take(3).collect();
    if averages.is_empty() { "unknown".into() } else { averages.join(", ") }
}

/// The output of a command about this project, if the command exists and prints anything.
fn said_by(command: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(command).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_written_as_they_should() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!([1.234, 12.34, 1234.5].map(rounded), ["1.23", "12.3", "1234"]);
        assert_eq!([10, 256, 50_304, 8_000_000].map(grouped), ["10", "256", "50,304", "8,000,000"]);
        assert_eq!(slug("llvmpipe (LLVM 15.0.6, 256 bits)"), "llvmpipe");
        assert_eq!(slug("NVIDIA H200"), "nvidia-h200");
    }
}
