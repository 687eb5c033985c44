//! What `xent calibrate` prints.

use serde_json::{Value, json};
use xent::Result;
use xent::eval::calibrate::{
    Calibration, Conformal, ConformalScore, Coverage, TemperatureLimit, TemperaturePoint,
};

use crate::numbers::thousands;
use crate::origin::Origin;
use crate::output::{complain, print_json};
use crate::report::print_lines;

const FORMAT: &str = "xent calibrate";
/// Rises when a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// What was found.
pub struct Found<'a> {
    pub calibration: &'a Calibration,
    pub conformal: Option<&'a Conformal>,
    pub others: Option<Coverage>,
    pub cols: usize,
    pub adapter: &'a str,
    pub seconds: f64,
    /// What the report is of.
    pub origin: &'a Origin,
}

pub fn print(found: &Found<'_>, as_json: bool) -> Result<()> {
    if let Some(limit) = found.calibration.limit {
        complain(match limit {
            TemperatureLimit::Cold => {
                "every target is its row's largest logit: the loss falls as T goes to 0, and there is no best temperature"
            }
            TemperatureLimit::Hot => {
                "the logits predict no better than chance: the loss falls as T grows, and there is no best temperature"
            }
        });
    }
    if as_json {
        let text = serde_json::to_string_pretty(&object(found)).unwrap_or_default();
        return print_json(&(text + "\n"));
    }
    print_lines(&lines(found))
}

fn lines(found: &Found<'_>) -> Vec<(&'static str, String)> {
    let Calibration { temperature, before, after, uncertainty, limit, reads, rows, counted, bad, .. } =
        found.calibration;
    let both =
        |of: &dyn Fn(&TemperaturePoint) -> String| format!("{} before, {} after", of(before), of(after));
    let percent =
        |share: Option<f64>| share.map_or("none".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    let bins = before.reliability.bins().count();
    let (at_limit, certain) = match limit {
        Some(_) => (" (the limit: there is no best temperature)", String::new()),
        None => ("", format!("; T is within {:.0e} of the best", uncertainty.max(1e-7))),
    };
    let mut lines = vec![
        ("temperature", format!("{temperature:.6}{at_limit}")),
        ("loss", format!("{} nats (mean)", both(&|point| format!("{:.6}", point.loss)))),
        ("ECE", format!("{} ({bins} bins)", both(&|point| percent(point.reliability.ece())))),
        ("MCE", both(&|point| percent(point.reliability.mce()))),
        // A temperature does not change it.
        ("accuracy", percent(before.reliability.accuracy())),
        ("confidence", both(&|point| percent(point.reliability.mean_confidence()))),
    ];
    for bin in after.reliability.bins().filter(|bin| bin.rows > 0) {
        let range = format!("{:.3} to {:.3}", bin.range.start, bin.range.end);
        let shares = format!("{:.3} confident, {:.3} right", bin.confidence, bin.accuracy);
        lines.push(("  after", format!("{range}: {} rows, {shares}", thousands(bin.rows as usize))));
    }
    if let Some(conformal) = found.conformal {
        let Conformal { threshold, rank, rows, .. } = *conformal;
        let name = score_name(conformal.score);
        lines.push((
            "threshold",
            format!(
                "{threshold:.6} ({name}, score {} of {} in their order)",
                thousands(rank),
                thousands(rows)
            ),
        ));
    }
    if let Some(others) = found.others {
        let size = others.mean_size().unwrap_or(f64::NAN);
        lines.push((
            "  coverage",
            format!("{} of {} other rows", percent(others.coverage()), thousands(others.rows as usize)),
        ));
        lines.push((
            "  sets",
            format!(
                "{size:.3} classes on average, {} at most, {} empty",
                others.largest,
                thousands(others.empty as usize)
            ),
        ));
    }
    let ignored = rows - counted - bad;
    let of_bad = if *bad > 0 { format!(", {} bad", thousands(*bad)) } else { String::new() };
    lines.extend([
        (
            "rows",
            format!(
                "{}: {} counted, {} ignored{of_bad}",
                thousands(*rows),
                thousands(*counted),
                thousands(ignored)
            ),
        ),
        ("classes", thousands(found.cols)),
        ("reads", format!("{reads} in {:.3} s{certain}", found.seconds)),
        ("of", found.origin.line()),
        ("adapter", found.adapter.to_owned()),
    ]);
    lines
}

fn score_name(score: ConformalScore) -> &'static str {
    match score {
        ConformalScore::Lac => "lac",
        ConformalScore::Aps => "aps",
    }
}

fn object(found: &Found<'_>) -> Value {
    let Calibration { temperature, before, after, uncertainty, limit, reads, rows, counted, bad, .. } =
        found.calibration;
    let limit = limit.map(|limit| match limit {
        TemperatureLimit::Cold => "cold",
        TemperatureLimit::Hot => "hot",
    });
    let mut object = json!({
        "format": FORMAT,
        "version": VERSION,
        "xent": env!("CARGO_PKG_VERSION"),
        "temperature": temperature,
        "uncertainty": uncertainty,
        "limit": limit,
        "reads": reads,
        "rows": rows,
        "cols": found.cols,
        "counted": counted,
        "ignored": rows - counted - bad,
        "bad": bad,
        "before": point(before),
        "after": point(after),
        "adapter": found.adapter,
    });
    if let Some(conformal) = found.conformal {
        let mut of_sets = json!({
            "score": score_name(conformal.score),
            "threshold": conformal.threshold,
            "rank": conformal.rank,
            "rows": conformal.rows,
            "keeps_top": conformal.keeps_top,
        });
        if let Some(others) = &found.others {
            of_sets["others"] = json!({
                "rows": others.rows,
                "coverage": others.coverage(),
                "sets": others.sets,
                "mean_size": others.mean_size(),
                "largest": others.largest,
                "empty": others.empty,
                "cut": others.cut,
            });
        }
        object["conformal"] = of_sets;
    }
    if let Some(keys) = object.as_object_mut() {
        keys.extend(found.origin.keys());
    }
    object
}

fn point(point: &TemperaturePoint) -> Value {
    let bins = point.reliability.bins().map(|bin| {
        json!({
            "from": bin.range.start,
            "to": bin.range.end,
            "rows": bin.rows,
            "confidence": bin.confidence,
            "accuracy": bin.accuracy,
        })
    });
    json!({
        "temperature": point.temperature,
        "loss": point.loss,
        "ece": point.reliability.ece(),
        "mce": point.reliability.mce(),
        "accuracy": point.reliability.accuracy(),
        "bins": bins.collect::<Vec<_>>(),
    })
}
