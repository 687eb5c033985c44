//! A report as text and as JSON.

use serde_json::{Value, json};
use xent::eval::Report;
use xent::{CrossEntropyOptions, Reduction, Verification};

use crate::output::complain;
use crate::{Outcome, output};

/// Prints a report, and says how the run ended.
pub fn print(
    report: &Report,
    op: &CrossEntropyOptions,
    adapter: &str,
    as_json: bool,
    more: &[(&str, String)],
) -> xent::Result<Outcome> {
    if as_json {
        output::print(&format!("{:#}\n", json(report, adapter)))?;
    } else {
        let mut lines = lines(report, op, adapter);
        lines.extend(more.iter().cloned());
        print_lines(&lines)?;
    }
    Ok(outcome(report.verification))
}

/// Prints names and values, aligned.
pub fn print_lines(lines: &[(&str, String)]) -> xent::Result<()> {
    output::print(&lines.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect::<String>())
}

fn outcome(verification: Option<Verification>) -> Outcome {
    match verification {
        Some(verification) if !verification.passed => {
            complain(format!("not verified: {}", verified(&verification)));
            Outcome::NotVerified
        }
        _ => Outcome::Done,
    }
}

fn lines(report: &Report, op: &CrossEntropyOptions, adapter: &str) -> Vec<(&'static str, String)> {
    let loss = &report.loss;
    let of = match op.reduction {
        Reduction::Sum => "sum",
        _ => "mean",
    };
    let mut lines = vec![
        ("loss", format!("{} nats ({of})", decimals(loss.value, 6))),
        ("bits", format!("{} a row", decimals(report.bits(), 6))),
        ("perplexity", decimals(report.perplexity(), 4)),
        (
            "accuracy",
            report
                .accuracy()
                .map_or("none: no row counts".to_owned(), |share| format!("{:.2} %", 100.0 * share)),
        ),
        (
            "rows",
            format!(
                "{}: {} counted, {} ignored",
                thousands(loss.rows),
                thousands(loss.counted),
                thousands(report.ignored())
            ),
        ),
        ("classes", thousands(report.cols)),
    ];
    if op.z_loss > 0.0 {
        lines.insert(1, ("z-loss", format!("{} nats of it", decimals(loss.z_loss, 6))));
    }
    if [loss.weight, loss.row_weight].iter().any(|&weight| weight != loss.counted as f64) {
        lines.push((
            "weight",
            format!("{}: of the rows alone {}", decimals(loss.weight, 6), decimals(loss.row_weight, 6)),
        ));
    }
    if !loss.flags.is_empty() {
        lines.push(("flags", loss.flags.names().collect::<Vec<_>>().join(", ")));
    }
    if let Some(verification) = &report.verification {
        lines.push(("verified", verified(verification)));
    }
    lines.push(("adapter", adapter.to_owned()));
    let seconds = report.elapsed.as_secs_f64();
    lines.push(("time", format!("{seconds:.3} s: {}", si(report.logits_per_second(), " logits/s"))));
    lines
}

fn verified(verification: &Verification) -> String {
    let &Verification { rows_checked, worst_row, worst_abs, worst_rel, passed, .. } = verification;
    let verdict = if passed { "within bounds" } else { "NOT within bounds" };
    let worst = worst_row.map_or(String::new(), |row| {
        format!("; worst is row {row}, off by {worst_abs:.1e} ({worst_rel:.1e} relative)")
    });
    format!("{} rows against f64: {verdict}{worst}", thousands(rows_checked))
}

fn json(report: &Report, adapter: &str) -> Value {
    let loss = &report.loss;
    let mut flags: Vec<String> = loss.flags.names().collect();
    let mut finite = |key: &str, value: f64| {
        if !value.is_finite() {
            flags.push(key.to_owned());
        }
        // What is not finite becomes null.
        Value::from(value)
    };
    let mut object = json!({
        "loss": finite("loss", loss.value),
        "sum": finite("sum", loss.sum),
        "z_loss": finite("z_loss", loss.z_loss),
        "perplexity": finite("perplexity", report.perplexity()),
        "accuracy": finite("accuracy", report.accuracy().unwrap_or(f64::NAN)),
        "rows": loss.rows,
        "cols": report.cols,
        "counted": loss.counted,
        "ignored": report.ignored(),
        "weight": finite("weight", loss.weight),
        "row_weight": finite("row_weight", loss.row_weight),
        "flags": null,
        "adapter": adapter,
        "seconds": report.elapsed.as_secs_f64(),
        "logits_per_second": finite("logits_per_second", report.logits_per_second()),
        "verification": report.verification.map(|verification| json!({
            "rows_checked": verification.rows_checked,
            "worst_row": verification.worst_row,
            "worst_abs": finite("worst_abs", verification.worst_abs),
            "worst_rel": finite("worst_rel", verification.worst_rel),
            "passed": verification.passed,
        })),
    });
    object["flags"] = json!(flags);
    object
}

/// With so many decimals, or as a power of ten where it would be all digits.
fn decimals(value: f64, decimals: usize) -> String {
    if value.is_finite() && value.abs() >= 1e12 {
        format!("{value:.decimals$e}")
    } else {
        format!("{value:.decimals$}")
    }
}

/// 1234567 as 1,234,567.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits, the prefix and the unit: 2.64 GB, 81.2 M logits.
pub fn si(value: f64, unit: &str) -> String {
    let (scaled, prefix) = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")]
        .into_iter()
        .find(|&(scale, _)| value >= scale)
        .map_or((value, ""), |(scale, prefix)| (value / scale, prefix));
    let decimals = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.decimals$} {}", format!("{prefix}{unit}").trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let grouped = [0, 12, 999, 1000, 16_384, 1_234_567].map(thousands);
        assert_eq!(grouped, ["0", "12", "999", "1,000", "16,384", "1,234,567"]);
        let short = [0.0, 7.0, 999.0, 1234.0, 81.2e6, 2.64e9].map(|value| si(value, "B"));
        assert_eq!(short, ["0.00 B", "7.00 B", "999 B", "1.23 kB", "81.2 MB", "2.64 GB"]);
        let values = [1.25, 500f64.exp(), f64::INFINITY, f64::NAN].map(|value| decimals(value, 4));
        assert_eq!(values, ["1.2500", "1.4036e217", "inf", "NaN"]);
        assert_eq!([457.0, 81.2e6].map(|value| si(value, " rows")), ["457 rows", "81.2 M rows"]);
    }

    #[test]
    fn a_failed_verification_is_an_outcome_of_its_own() {
        let mut verification = Verification::new();
        verification.compare(3, 1.0, 1.0, 0.1);
        assert!(matches!(outcome(Some(verification)), Outcome::Done));
        verification.compare(3, 1.0, 1.5, 0.1);
        assert!(matches!(outcome(Some(verification)), Outcome::NotVerified));
        assert!(matches!(outcome(None), Outcome::Done));
        assert_eq!(
            verified(&verification),
            "1 rows against f64: NOT within bounds; worst is row 3, off by 5.0e-1 (3.3e-1 relative)"
        );
    }
}
