//! What `xent compare` tells: for people, for programs, and in pictures.

use std::path::Path;

use serde_json::{Value, json};
use xent::eval::Histogram;
use xent::eval::compare::{ChangedRow, ComparisonTally, Estimate, PairedLosses};
use xent::{NO_CLASS, Result};

use super::llama_cpp;
use crate::numbers::{decimals, fixed, si, thousands};
use crate::origin::Origin;
use crate::output::{self, print_json};
use crate::pictures::{
    Page, Picture, Pictures, Table, Words, draw_histogram, histogram_table, histogram_told,
};
use crate::places::Places;
use crate::report::{Line, Tone, in_lines, of_quantile, print_toned};

const FORMAT: &str = "xent compare";
/// Rises when a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// The quantiles that are told, in per cent.
const QUANTILES: [f64; 11] = [0.1, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9];

/// Everything that a report can say.
pub struct Found<'a> {
    pub tally: &'a ComparisonTally,
    pub places: &'a Places,
    /// The rows of the input. The report covers fewer if the run was stopped.
    pub rows_given: usize,
    pub cols: usize,
    pub has_targets: bool,
    /// Whether the lines are those of llama.cpp.
    pub as_llama_cpp: bool,
    /// How many sequences are taken as independent; `None` if rows are.
    pub sequences: Option<usize>,
    /// Base and other.
    pub names: [&'a Path; 2],
    pub adapter: &'a str,
    pub seconds: f64,
    pub peak_memory: Option<u64>,
    /// What the report is of.
    pub origin: &'a Origin,
}

pub fn print(found: &Found<'_>, as_json: bool) -> Result<()> {
    match as_json {
        true => print_json(&in_lines(&object(found))),
        false if found.as_llama_cpp => output::print(&llama_cpp::text(found.tally)),
        false => print_toned(&lines(found)),
    }
}

/// Draws the distributions, and the page with them.
pub fn draw(pictures: &mut Pictures, found: &Found<'_>) -> Result<()> {
    let [base, other] = found.names.map(|path| path.display().to_string());
    let name = format!("{other} against {base}");
    let page = Page {
        name: &name,
        what: "comparison",
        lines: &lines(found),
        first: &[],
        tables: &[changed_table(found)],
        command: found.origin.command(),
    };
    let of_kl =
        Words { title: "KL", axis: "KL(base ‖ other) of a row, nats", empty: "no row has a finite KL" };
    let of_probs =
        Words { title: "Change", axis: "change of the target's probability", empty: "there are no targets" };
    let tally = found.tally;
    let is_log = tally.divergences().quantile(0.5).is_some_and(|median| median.value > 0.0);
    let kl = Picture {
        name: "Histogram of KL",
        draw: &|area| draw_histogram(area, tally.divergences(), &of_kl, (is_log, &[])),
        table: histogram_table(tally.divergences(), &[]),
        told: histogram_told(tally.divergences(), is_log),
    };
    let probs = Picture {
        name: "Histogram of the change of the target's probability",
        draw: &|area| draw_histogram(area, tally.prob_changes(), &of_probs, (false, &[])),
        table: histogram_table(tally.prob_changes(), &[]),
        told: histogram_told(tally.prob_changes(), false),
    };
    pictures.draw(&page, &[kl, probs])
}

/// The rows that changed most.
fn changed_table(found: &Found<'_>) -> Table {
    let class = |class: u32| if class == NO_CLASS { String::new() } else { class.to_string() };
    let rows = found.tally.changed_rows().iter().map(|changed| {
        let [base, other] = changed
            .losses
            .map_or(Default::default(), |(base, other)| [base, other].map(|loss| decimals(loss.into(), 4)));
        let [of_base, of_other] = [changed.argmax.0, changed.argmax.1].map(class);
        vec![
            place(found, changed.row),
            decimals(changed.kl.into(), 6),
            class(changed.target),
            base,
            other,
            of_base,
            of_other,
        ]
    });
    Table {
        title: "Rows that changed most".to_owned(),
        head: vec!["row", "KL, nats", "target", "base loss", "other loss", "base predicts", "other predicts"],
        rows: rows.collect(),
        shades: Vec::new(),
    }
}

/// A figure with its standard error, both with as many decimals as the error's first two digits need.
pub fn figure(of: Estimate) -> String {
    match of.error {
        Some(error) if error > 0.0 && error.is_finite() => {
            let digits = (1.0 - error.log10().floor()).clamp(0.0, 9.0) as usize;
            format!("{} ± {}", fixed(of.value, digits), fixed(error, digits))
        }
        Some(0.0) if of.value.is_finite() => format!("{} ± 0", fixed(of.value, 6)),
        _ => decimals(of.value, 6),
    }
}

fn percent(of: Estimate) -> String {
    let error = of.error.map(|error| 100.0 * error);
    format!("{} %", figure(Estimate::new(100.0 * of.value, error)))
}

/// All lines of a report.
pub fn lines(found: &Found<'_>) -> Vec<Line> {
    let &Found { tally, rows_given, cols, adapter, seconds, .. } = found;
    let mut lines = Vec::new();
    if tally.is_equal() && tally.rows() > tally.left_out() && tally.nan() == 0 {
        let every = "every logit of every row that counts is equal: the two are the same model here";
        lines.push(Line::new("equal", every).toned(Tone::Result));
    }
    match tally.losses() {
        Some(losses) => lines.extend(of_losses(&losses)),
        None if found.has_targets => lines.push(Line::new("loss", "none: no row has two finite losses")),
        None => {}
    }
    match tally.divergence() {
        Some(kl) => {
            let text = format!("{} nats (mean of KL(base ‖ other))", figure(kl));
            lines.push(Line::new("KL", text).toned(Tone::Result));
            lines.extend(of_histogram(tally.divergences(), 1.0, ""));
        }
        None => lines.push(Line::new("KL", "none: in no row are it and the losses finite")),
    }
    if let Some((change, rms)) = tally.prob_change().zip(tally.rms_prob_change()) {
        let text = format!("{} on average, root mean square {}", percent(change), percent(rms));
        lines.push(Line::new("target prob", text));
        lines.extend(of_histogram(tally.prob_changes(), 100.0, " %"));
    }
    if let Some(same) = tally.same_top() {
        lines.push(Line::new("same top", percent(same)).toned(Tone::Result));
    }
    if let Some(overlap) = tally.overlap() {
        let text = format!("{:.2} % in common on average", 100.0 * overlap);
        lines.push(Line::new(&format!("  top-{}", tally.top_k()), text));
    }
    if let Some([base, other]) = tally.accuracies() {
        let [lost, gained] = tally.lost_and_gained().map(|rows| thousands(rows as usize));
        let text =
            format!("{} base, {} other: {lost} rows lost, {gained} gained", percent(base), percent(other));
        lines.push(Line::new("accuracy", text));
    }
    if let Some((most, row)) = tally.logit_difference() {
        let text = match tally.is_equal() {
            true => "differ nowhere (a NaN is taken as equal to a NaN)".to_owned(),
            // A NaN or an infinity on one side alone, or two that differ.
            false if most.is_infinite() => {
                let row = place(found, row);
                format!("differ by more than any number: a NaN or an infinity differs first in row {row}")
            }
            false => format!("differ by {most:?} at most, in row {}", place(found, row)),
        };
        lines.push(Line::new("logits", text));
    }
    if !tally.is_equal() && !tally.changed_rows().is_empty() {
        let named = tally.changed_rows().iter().take(3).map(|changed| place(found, changed.row));
        lines.push(Line::new("changed", format!("most in rows {}", named.collect::<Vec<_>>().join(", "))));
    }
    let rows = tally.rows() as usize;
    let done = match rows == rows_given {
        true => thousands(rows),
        false => format!("{} of {}, so far", thousands(rows), thousands(rows_given)),
    };
    let [counted, left_out] =
        [tally.rows() - tally.left_out(), tally.left_out()].map(|rows| thousands(rows as usize));
    lines.push(Line::new("rows", format!("{done}: {counted} counted, {left_out} left out")));
    lines.push(Line::new("classes", thousands(cols)));
    if let Some(sequences) = found.sequences {
        let text = format!("of means: {} sequences independent; of shares: rows", thousands(sequences));
        lines.push(Line::new("errors", text));
    }
    if let Some(text) = bad_rows(tally) {
        lines.push(Line::new("bad rows", text).toned(Tone::Warning));
    }
    lines.push(Line::new("of", found.origin.line()));
    lines.push(Line::new("adapter", adapter));
    let logits = 2.0 * rows as f64 * cols as f64;
    lines.push(Line::new("time", format!("{seconds:.3} s: {}", si(logits / seconds, " logits/s"))));
    if let Some(bytes) = found.peak_memory {
        lines.push(Line::new("memory", format!("{} at most", si(bytes as f64, "B"))));
    }
    lines
}

/// The number of bad rows, and the first of them.
pub fn bad_rows(tally: &ComparisonTally) -> Option<String> {
    let (row, flags) = tally.first_bad()?;
    let names = flags.names().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { String::new() } else { format!(" ({names})") };
    let bad = thousands((tally.nan() + tally.infinite()) as usize);
    let infinite = thousands(tally.infinite() as usize);
    Some(format!(
        "{bad}, {infinite} of them infinite; the first is row {row}{names}; KL, losses and probabilities are without them"
    ))
}

fn of_losses(losses: &PairedLosses) -> Vec<Line> {
    let both = |base: Estimate, other: Estimate| format!("{} base, {} other", figure(base), figure(other));
    let mut lines = vec![
        Line::new("perplexity", both(losses.base_perplexity(), losses.other_perplexity())),
        Line::new("  ratio", figure(losses.perplexity_ratio())).toned(Tone::Result),
        Line::new("  change", figure(losses.perplexity_change())),
        Line::new("loss", format!("{} nats", both(losses.base, losses.other))),
        Line::new("  change", format!("{} nats: ln of the ratio", figure(losses.change))).toned(Tone::Result),
    ];
    if let Some(correlation) = losses.correlation {
        lines.push(Line::new("correlation", format!("{:.2} % of the row losses", 100.0 * correlation)));
    }
    lines
}

/// The ends and the quantiles of a distribution.
fn of_histogram(of: &Histogram, scale: f64, unit: &str) -> Vec<Line> {
    let (Some((min, max)), Some(median)) = (of.range(), of.quantile(0.5)) else { return Vec::new() };
    if min == max {
        return Vec::new();
    }
    let scaled = |mut quantile: xent::eval::Quantile| {
        (quantile.value, quantile.within) = (scale * quantile.value, scale * quantile.within);
        format!("{}{unit}", of_quantile(quantile))
    };
    let [min, max] = [min, max].map(|end| format!("{}{unit}", decimals(scale * f64::from(end), 6)));
    let mut lines = vec![Line::new("  range", format!("{min} to {max}, median {}", scaled(median)))];
    if of.rows() >= 20 {
        let shares = QUANTILES.into_iter().filter(|&share| share != 50.0);
        let (low, high): (Vec<f64>, Vec<f64>) = shares.partition(|&share| share < 50.0);
        for (name, shares) in [("  low", low), ("  high", high)] {
            let values = shares
                .into_iter()
                .filter_map(|share| Some(format!("{share} %: {}", scaled(of.quantile(share / 100.0)?))));
            lines.push(Line::new(name, values.collect::<Vec<_>>().join(", ")));
        }
    }
    lines
}

/// A row, with its place in its sequence if that says more.
fn place(found: &Found<'_>, row: usize) -> String {
    match found.places.of(row) {
        (0, _) => thousands(row),
        (sequence, position) => format!("{} ({sequence}:{position})", thousands(row)),
    }
}

fn object(found: &Found<'_>) -> Value {
    let tally = found.tally;
    let rows = tally.rows() as usize;
    let mut of_probs = histogram(tally.prob_changes(), tally.prob_change());
    if let Some(keys) = of_probs.as_object_mut() {
        keys.insert("rms".to_owned(), estimate(tally.rms_prob_change()));
    }
    let [lost, gained] = tally.lost_and_gained();
    let mut object = json!({
        "format": FORMAT,
        "version": VERSION,
        "xent": env!("CARGO_PKG_VERSION"),
        "complete": rows == found.rows_given,
        "rows": rows,
        "cols": found.cols,
        "counted": tally.rows() - tally.left_out(),
        "left_out": tally.left_out(),
        "bad": { "nan": tally.nan(), "infinite": tally.infinite() },
        "first_bad_row": tally.first_bad().map(|(row, _)| row),
        "independent_sequences": found.sequences,
        "equal_rows": tally.equal_rows(),
        "equal": tally.is_equal(),
        "losses": tally.losses().map(|losses| json!({
            "rows": losses.rows,
            "base": estimate(Some(losses.base)),
            "other": estimate(Some(losses.other)),
            "change": estimate(Some(losses.change)),
            "covariance": losses.covariance,
            "correlation": losses.correlation,
            "base_perplexity": estimate(Some(losses.base_perplexity())),
            "other_perplexity": estimate(Some(losses.other_perplexity())),
            "perplexity_ratio": estimate(Some(losses.perplexity_ratio())),
            "perplexity_change": estimate(Some(losses.perplexity_change())),
        })),
        "kl": histogram(tally.divergences(), tally.divergence()),
        "prob_change": if found.has_targets { of_probs } else { Value::Null },
        "predicted": tally.predicted(),
        "same_top": estimate(tally.same_top()),
        "top_k": tally.top_k(),
        "overlap": tally.overlap(),
        "accuracy": tally.accuracies().map(|[base, other]| json!({
            "base": estimate(Some(base)),
            "other": estimate(Some(other)),
            "lost": lost,
            "gained": gained,
        })),
        "logit_difference": tally.logit_difference().map(|(most, row)| json!({ "largest": most, "row": row })),
        "changed_rows": changed_rows(found),
        "adapter": found.adapter,
        "seconds": found.seconds,
        "peak_memory_bytes": found.peak_memory,
    });
    if let Some(keys) = object.as_object_mut() {
        keys.extend(found.origin.keys());
    }
    object
}

fn estimate(of: Option<Estimate>) -> Value {
    of.map_or(Value::Null, |of| json!({ "value": of.value, "error": of.error }))
}

fn histogram(of: &Histogram, mean: Option<Estimate>) -> Value {
    let quantiles = QUANTILES.map(|share| (share, of.quantile(share / 100.0)));
    let within = quantiles.iter().filter_map(|(_, quantile)| quantile.map(|quantile| quantile.within));
    json!({
        "rows": of.rows(),
        "mean": estimate(mean),
        "min": of.range().map(|(min, _)| min),
        "max": of.range().map(|(_, max)| max),
        "within": within.fold(0.0, f64::max),
        "quantiles": quantiles
            .into_iter()
            .map(|(share, quantile)| (format!("p{share}"), json!(quantile.map(|quantile| quantile.value))))
            .collect::<serde_json::Map<_, _>>(),
    })
}

fn changed_rows(found: &Found<'_>) -> Value {
    let rows = found.tally.changed_rows();
    let class = |class: u32| Some(class).filter(|&class| class != NO_CLASS);
    let all = |value: &dyn Fn(&ChangedRow) -> Value| rows.iter().map(value).collect::<Vec<_>>();
    json!({
        "rows": all(&|row| json!(row.row)),
        "sequences": all(&|row| json!(found.places.of(row.row).0)),
        "positions": all(&|row| json!(found.places.of(row.row).1)),
        "kl": all(&|row| json!(row.kl)),
        "base_losses": all(&|row| json!(row.losses.map(|(base, _)| base))),
        "other_losses": all(&|row| json!(row.losses.map(|(_, other)| other))),
        "targets": all(&|row| json!(class(row.target))),
        "base_argmax": all(&|row| json!(class(row.argmax.0))),
        "other_argmax": all(&|row| json!(class(row.argmax.1))),
    })
}
