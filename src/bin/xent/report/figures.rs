//! The lines of a report that are statistics of its rows.

use xent::eval::{Quantile, Tally};

use super::summary::Summary;
use super::text::Line;
use crate::numbers::{decimals, thousands};

/// The standard error of the mean, and the loss of a guess.
pub fn error(summary: &Summary<'_>, unit: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    if let (Some(mean), true) = (summary.finite_mean(), summary.report.mean().is_nan()) {
        lines
            .push(Line::new("  finite", format!("{}{unit}: the mean of the finite rows", decimals(mean, 6))));
    }
    if let Some(error) = summary.standard_error() {
        let units = if summary.standard_errors()[1].is_some() { "sequences" } else { "rows" };
        lines.push(Line::new(
            "  error",
            format!("± {}{unit} (standard error, {units} independent)", decimals(error, 6)),
        ));
    }
    if summary.loss.name.has_classes() {
        let cols = summary.report.cols;
        let guess = decimals((cols as f64).ln(), 6);
        lines.push(Line::new("  guess", format!("{guess} nats: {} classes alike", thousands(cols))));
    }
    lines
}

/// The interval of the perplexity.
pub fn interval(summary: &Summary<'_>) -> Option<Line> {
    let [low, high] = summary.perplexity_interval()?;
    Some(Line::new("  interval", format!("{} to {} (95 %)", decimals(low, 4), decimals(high, 4))))
}

/// Top-k accuracy and ranks, confidence and calibration, entropy: as far as they were read out.
pub fn of_classes(summary: &Summary<'_>) -> Vec<Line> {
    let tally = summary.tally;
    let mut lines = Vec::new();
    if let Some((k, share)) = summary.top_k.and_then(|k| Some((k, tally.top_k_accuracy(k)?))) {
        lines.push(Line::new(&format!("  top-{k}"), format!("{:.2} %", 100.0 * share)));
    }
    if let (Some(rank), Some(reciprocal)) = (tally.mean_rank(), tally.mean_reciprocal_rank()) {
        let text = format!("mean {}, mean reciprocal {reciprocal:.4}", decimals(rank, 2));
        lines.push(Line::new("rank", text));
    }
    let reliability = tally.reliability();
    if let (Some(confidence), Some(ece)) = (reliability.mean_confidence(), reliability.ece()) {
        let text = format!("{:.2} %: calibration error {:.2} % (ECE)", 100.0 * confidence, 100.0 * ece);
        lines.push(Line::new("confidence", text));
    }
    if let Some(entropy) = tally.mean_entropy() {
        let brier = tally.mean_brier().map_or(String::new(), |brier| format!(", Brier score {brier:.4}"));
        lines.push(Line::new("entropy", format!("{} nats{brier}", decimals(entropy, 4))));
    }
    lines
}

/// The range of the finite losses and their quantiles.
pub fn spread(tally: &Tally) -> Vec<Line> {
    let losses = tally.losses();
    let (Some((min, max)), Some(median)) = (losses.range(), losses.quantile(0.5)) else { return Vec::new() };
    let (min, max) = (decimals(min.into(), 4), decimals(max.into(), 4));
    let mut lines = vec![Line::new("row losses", format!("{min} to {max}, median {}", of_quantile(median)))];
    if losses.rows() >= 20 {
        let at = |percent: u32| {
            let quantile = losses.quantile(f64::from(percent) / 100.0)?;
            Some(format!("{percent} %: {}", of_quantile(quantile)))
        };
        let values: Vec<String> = [5, 25, 75, 95].into_iter().filter_map(at).collect();
        lines.push(Line::new("  quantiles", values.join(", ")));
        let worst: Vec<String> =
            tally.worst_rows().iter().take(3).map(|worst| thousands(worst.row)).collect();
        lines.push(Line::new("  largest", format!("in rows {}", worst.join(", "))));
    }
    lines
}

/// A quantile with the digits that its error leaves.
pub fn of_quantile(Quantile { value, within, .. }: Quantile) -> String {
    decimals(value, digits(2.0 * within))
}

/// The decimals needed to distinguish losses that are `width` apart.
pub fn digits(width: f64) -> usize {
    (1.0 - width.log10()).ceil().clamp(0.0, 6.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_digits_as_bins_tell() {
        assert_eq!([1.0 / 64.0, 1.0 / 1024.0, 1.0, 1e9, 2f64.powi(-20), 0.0].map(digits), [3, 5, 1, 0, 6, 6]);
    }
}
