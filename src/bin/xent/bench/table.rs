//! The measurements, for people and for programs.

use serde_json::{Value, json};

use super::measured::{Benched, Measured, RUNS};
use crate::numbers::{si, thousands};
use crate::output::one_line;

pub fn text(benched: &Benched) -> String {
    let clock = if benched.clock == "gpu" { "the GPU's clock" } else { "wall clock, submission included" };
    let mut text = format!("{}\nmedians of {RUNS} runs, {clock}", one_line(&benched.adapter));
    if benched.tuned {
        text += ", tuned";
    }
    text += "; GB/s counts logits read once and outputs written once\n";
    let mut batch = None;
    for measured in &benched.results {
        let Measured { shape, dtype, op, by, ms, share_of_copy, .. } = measured;
        if batch != Some((shape, dtype)) {
            batch = Some((shape, dtype));
            let title = format!("{} x {} {dtype}", thousands(shape.rows), thousands(shape.cols));
            text += &format!("\n{title:<24}{:>10}{:>16}{:>10}{:>10}\n", "ms", "logits/s", "GB/s", "of copy");
        }
        let name = by.map_or(op.name().to_owned(), |by| format!("copy (by the {by})"));
        text += &match (ms, measured.logits_per_second(), measured.gb_per_second()) {
            (Some(ms), Some(logits), Some(gb)) => format!(
                "  {name:<22}{ms:>10.3}{:>16}{gb:>10.2}{:>10}\n",
                si(logits, ""),
                share_of_copy.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share))
            ),
            _ => format!("  {name:<22}{:>10}\n", "WRONG"),
        };
    }
    text
}

pub fn json(benched: &Benched) -> String {
    let result = |measured: &Measured| -> Value {
        let Measured { shape, dtype, op, by, checked, bytes, ms, share_of_copy } = measured;
        let mut result = json!({
            "rows": shape.rows,
            "cols": shape.cols,
            "dtype": dtype,
            "op": op.name(),
            "checked": checked.passed,
            "rows_checked": checked.rows_checked,
            "bytes": bytes,
            "ms": ms,
            "logits_per_second": measured.logits_per_second(),
            "gb_per_second": measured.gb_per_second(),
            "share_of_copy": share_of_copy,
        });
        if let Some(by) = by {
            result["by"] = json!(by);
        }
        result
    };
    let object = json!({
        "format": "xent bench",
        "version": 1,
        "xent": env!("CARGO_PKG_VERSION"),
        "adapter": benched.adapter,
        "clock": benched.clock,
        "tuned": benched.tuned,
        "runs": RUNS,
        "results": benched.results.iter().map(result).collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}
