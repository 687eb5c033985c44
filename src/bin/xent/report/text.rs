//! A report for people.

use anstyle::{AnsiColor, Style};
use xent::eval::{Histogram, Quantile};
use xent::{Reduction, Verification};

use super::summary::Summary;
use crate::args::LossName;
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

    fn toned(self, tone: Tone) -> Self {
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
    let &Summary { report, tally, loss: of_rows, adapter, rows_given, bytes_read, peak_memory } = summary;
    let (loss, name) = (&report.loss, of_rows.name());
    let reduced = match of_rows.reduction() {
        Reduction::Sum => "sum",
        _ => "mean",
    };
    let of = match name {
        LossName::CrossEntropy => reduced.to_owned(),
        other => format!("{reduced} {}", other.words()),
    };
    let mut lines =
        vec![Line::new("loss", format!("{} nats ({of})", decimals(loss.value, 6))).toned(Tone::Result)];
    if of_rows.has_z_loss() {
        lines.push(Line::new("z-loss", format!("{} nats of the loss", decimals(loss.z_loss, 6))));
    }
    let accuracy = report.accuracy();
    let accuracy =
        accuracy.map_or("none: no row counts".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    let (rows, counted, ignored) = (loss.rows, loss.counted, report.ignored());
    let done = match rows == rows_given {
        true => thousands(rows),
        false => format!("{} of {}, so far", thousands(rows), thousands(rows_given)),
    };
    // A mean of binary losses is one over all classes of all rows.
    let (each, weight_factor) = match name {
        LossName::Bce => ("a class", report.cols as f64),
        _ => ("a row", 1.0),
    };
    lines.push(Line::new("bits", format!("{} {each}", decimals(report.bits(), 6))));
    if name.has_classes() {
        lines.extend([
            Line::new("perplexity", decimals(report.perplexity(), 4)).toned(Tone::Result),
            Line::new("accuracy", accuracy).toned(Tone::Result),
        ]);
    }
    lines.extend([
        Line::new("rows", format!("{done}: {} counted, {} ignored", thousands(counted), thousands(ignored))),
        Line::new("classes", thousands(report.cols)),
    ]);
    lines.extend(spread(tally.losses()));
    let counted = loss.counted as f64;
    if loss.weight != weight_factor * counted || loss.row_weight != counted {
        let (weight, row_weight) = (decimals(loss.weight, 6), decimals(loss.row_weight, 6));
        lines.push(Line::new("weight", format!("{weight}; of the rows alone, {row_weight}")));
    }
    if !loss.flags.is_empty() {
        let names = loss.flags.names().collect::<Vec<_>>().join(", ");
        lines.push(Line::new("flags", names).toned(Tone::Warning));
    }
    if let Some(bad) = bad_rows(summary) {
        lines.push(Line::new("bad rows", bad).toned(Tone::Warning));
    }
    if let Some(verification) = &report.verification {
        let tone = if verification.passed { Tone::Plain } else { Tone::Warning };
        lines.push(Line::new("verified", verified(verification)).toned(tone));
    }
    lines.push(Line::new("adapter", adapter));
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
pub fn bad_rows(summary: &Summary<'_>) -> Option<String> {
    let tally = summary.tally;
    let (row, flags) = tally.first_bad()?;
    let names = flags.names().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
    Some(format!("{}: the first is row {row}{names}", thousands(tally.bad() as usize)))
}

/// The range of the finite losses and their quantiles, with as many digits as the histogram resolves.
fn spread(losses: &Histogram) -> Vec<Line> {
    let (Some((min, max)), Some(median)) = (losses.range(), losses.quantile(0.5)) else { return Vec::new() };
    let digits = digits(losses.width());
    let (min, max) = (decimals(min.into(), digits), decimals(max.into(), digits));
    let mut lines =
        vec![Line::new("row losses", format!("{min} to {max}, median {}", decimals(median.value, digits)))];
    let quantiles: Vec<(u32, Quantile)> = [5, 25, 75, 95]
        .into_iter()
        .filter_map(|percent| Some((percent, losses.quantile(f64::from(percent) / 100.0)?)))
        .collect();
    let within = quantiles.iter().map(|(_, quantile)| quantile.within).fold(median.within, f64::max);
    if losses.rows() >= 20 {
        let values = quantiles
            .iter()
            .map(|(percent, quantile)| format!("{percent} %: {}", decimals(quantile.value, digits)));
        let within = if within > 0.0 { format!(" (± {within:.digits$})") } else { String::new() };
        lines.push(Line::new("  quantiles", values.collect::<Vec<_>>().join(", ") + &within));
    }
    lines
}

/// The decimals needed to distinguish losses that are `width` apart.
pub fn digits(width: f64) -> usize {
    (1.0 - width.log10()).ceil().clamp(0.0, 6.0) as usize
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

    #[test]
    fn as_many_digits_as_bins_tell() {
        assert_eq!([1.0 / 64.0, 1.0 / 1024.0, 1.0, 1e9, 2f64.powi(-20)].map(digits), [3, 5, 1, 0, 6]);
    }

    #[test]
    fn a_spread_in_two_lines() {
        let mut losses = Histogram::default();
        assert_eq!(spread(&losses), []);
        losses.add(2.5);
        assert_eq!(spread(&losses), [Line::new("row losses", "2.500000 to 2.500000, median 2.500000")]);
        (0..99).for_each(|at| losses.add(at as f32 / 10.0));
        let lines = spread(&losses);
        assert_eq!(lines[0].value, "0.0000 to 9.8000, median 4.7988");
        assert_eq!(lines[1].value, "5 %: 0.4004, 25 %: 2.4004, 75 %: 7.2988, 95 %: 9.2988 (± 0.0020)");
    }
}
