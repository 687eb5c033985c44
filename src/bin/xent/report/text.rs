//! A report for people.

use anstyle::{AnsiColor, Style};
use xent::{Flags, Reduction, Verification};

use super::figures;
use super::summary::Summary;
use crate::args::LossName;
use crate::choose::with_reason;
use crate::numbers::{decimals, si, thousands};
use crate::output::one_line;

/// How a line looks if colours are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tone {
    Plain,
    /// The result that was asked for.
    Result,
    /// Something that needs attention.
    Warning,
}

/// A name, a value, and how the line looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub value: String,
    pub tone: Tone,
}

impl Line {
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into(), tone: Tone::Plain }
    }

    pub fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// Lines with names and values in columns, with styles. The printing code removes the styles where they are not shown.
pub fn aligned(lines: &[Line]) -> String {
    let name_style = Style::new().dimmed();
    let mut text = String::new();
    for Line { name, value, tone } in lines {
        let value = one_line(value);
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Result => Style::new().bold(),
            Tone::Warning => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
        };
        text.push_str(&format!("{name_style}{name:<12}{name_style:#}{style}{value}{style:#}\n"));
    }
    text
}

/// All lines of a batch's report.
pub fn lines(summary: &Summary<'_>) -> Vec<Line> {
    let &Summary { report, tally, loss: of_rows, adapter, rows_given, bytes_read, peak_memory, .. } = summary;
    let (loss, name) = (&report.loss, of_rows.name);
    let reduced = match of_rows.reduction {
        Reduction::Sum => "sum",
        _ => "mean",
    };
    let of = match name {
        LossName::CrossEntropy => reduced.to_owned(),
        other => format!("{reduced} {}", other.words()),
    };
    let unit = if name.is_in_nats() { " nats" } else { "" };
    let mut lines =
        vec![Line::new("loss", format!("{}{unit} ({of})", decimals(loss.value, 6))).toned(Tone::Result)];
    if of_rows.has_z_loss {
        lines.push(Line::new("z-loss", format!("{} nats of the loss", decimals(loss.z_loss, 6))));
    }
    lines.extend(figures::error(summary, unit));
    let accuracy = report.accuracy();
    let none =
        if loss.counted > 0 { "none: no row that counts has a prediction" } else { "none: no row counts" };
    let accuracy = accuracy.map_or(none.to_owned(), |share| format!("{:.2} %", 100.0 * share));
    let (rows, counted, ignored) = (loss.rows, loss.counted, report.ignored());
    let done = match rows == rows_given {
        true => thousands(rows),
        false => {
            let of = format!("{} of {}", thousands(rows), thousands(rows_given));
            summary.part.map_or(format!("{of}, so far"), |part| format!("{of} (part {part})"))
        }
    };
    // A mean of binary losses is one over all classes of all rows.
    let (each, weight_factor) = match name {
        LossName::Bce => ("a class", report.cols as f64),
        _ => ("a row", 1.0),
    };
    if name.is_in_nats() {
        lines.push(Line::new("bits", format!("{} {each}", decimals(report.bits(), 6))));
    }
    if let Some(bits) = summary.bits_per_byte() {
        lines.push(Line::new("  a byte", decimals(bits, 6)));
    }
    if name.has_classes() {
        lines.push(Line::new("perplexity", decimals(report.perplexity(), 4)).toned(Tone::Result));
        lines.extend(figures::interval(summary));
        lines.push(Line::new("accuracy", accuracy).toned(Tone::Result));
        lines.extend(figures::of_classes(summary));
    }
    lines.extend([
        Line::new("rows", format!("{done}: {} counted, {} ignored", thousands(counted), thousands(ignored))),
        Line::new("classes", thousands(report.cols)),
    ]);
    lines.extend(figures::spread(tally));
    let counted = loss.counted as f64;
    if loss.weight != weight_factor * counted || loss.row_weight != counted {
        let (weight, row_weight) = (decimals(loss.weight, 6), decimals(loss.row_weight, 6));
        lines.push(Line::new("weight", format!("{weight}; of the rows alone, {row_weight}")));
    }
    if !loss.flags.is_empty() {
        let names = loss.flags.names().collect::<Vec<_>>().join(", ");
        lines.push(Line::new("flags", names).toned(Tone::Warning));
    }
    if let Some(bad) = bad_rows(tally.bad() as usize, tally.first_bad()) {
        lines.push(Line::new("bad rows", bad).toned(Tone::Warning));
    }
    for notice in report.notices() {
        lines.push(Line::new("notice", notice.to_string()).toned(Tone::Warning));
    }
    if let Some(verification) = &report.verification {
        let tone = if verification.passed { Tone::Plain } else { Tone::Warning };
        lines.push(Line::new("verified", verified(verification)).toned(tone));
    }
    lines.push(Line::new("of", summary.origin.line()));
    // An adapter is what everybody expects.
    lines.push(Line::new("adapter", with_reason(adapter, summary.why)));
    let seconds = report.elapsed.as_secs_f64();
    lines.push(Line::new("time", format!("{seconds:.3} s: {}", si(report.logits_per_second(), " logits/s"))));
    if let Some(bytes) = bytes_read {
        let (bytes, rate) = (bytes as f64, bytes as f64 / seconds);
        lines.push(Line::new("read", format!("{}: {}", si(bytes, "B"), si(rate, "B/s"))));
    }
    if let Some(bytes) = peak_memory {
        lines.push(Line::new("memory", format!("{} at most", si(bytes as f64, "B"))));
    }
    lines
}

/// The number of bad rows and the first of them: `3: the first is row 17 (nan_logit, nan_loss)`.
pub fn bad_rows(bad: usize, first: Option<(usize, Flags)>) -> Option<String> {
    let (row, flags) = first?;
    let names = flags.names().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
    Some(format!("{}: the first is row {row}{names}", thousands(bad)))
}

/// The result of a comparison with the reference, in words.
pub fn verified(verification: &Verification) -> String {
    let &Verification { rows_checked, worst_row, worst_abs, worst_rel, passed, .. } = verification;
    let verdict = if passed { "within bounds" } else { "NOT within bounds" };
    let worst = worst_row.map_or(String::new(), |row| {
        format!("; worst is row {row}, off by {worst_abs:.1e} ({worst_rel:.1e} relative)")
    });
    format!("{} rows against f64: {verdict}{worst}", thousands(rows_checked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_styles_can_be_taken_out() {
        let lines =
            [Line::new("loss", "1").toned(Tone::Result), Line::new("  quantiles", "2"), Line::new("x", "3")];
        let styled = aligned(&lines);
        assert!(styled.contains("\u{1b}[1m1\u{1b}[0m"), "{styled:?}");
        let plain = anstream::adapter::strip_str(&styled).to_string();
        assert_eq!(plain, "loss        1\n  quantiles 2\nx           3\n");
    }
}
