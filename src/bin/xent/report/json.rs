//! A report for programs. `docs/eval-json.md` explains every key, and a test compares it with what is printed.

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Serializer, Value, json};
use xent::eval::{Histogram, Positions, Tally};

use super::summary::Summary;

/// The object's `format`.
const FORMAT: &str = "xent eval";
/// Rises when a key changes its meaning or goes away. A new key does not change it.
const VERSION: u32 = 1;

/// The most bins of the histogram, so that it stays readable.
const BINS: usize = 256;

/// The object, indented, with each array on one line.
pub fn text(summary: &Summary<'_>) -> String {
    let mut bytes = Vec::new();
    let formatter = ArraysInLine(PrettyFormatter::new());
    // Writing a value of JSON into memory does not fail.
    let _ = object(summary).serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

fn object(summary: &Summary<'_>) -> Value {
    let &Summary { report, tally, adapter, bytes_read, peak_memory, .. } = summary;
    let (loss, name) = (&report.loss, summary.loss.name());
    let mut flags: Vec<String> = loss.flags.names().collect();
    let mut finite = |key: &str, value: f64| {
        if !value.is_finite() {
            flags.push(key.to_owned());
        }
        // A value that is not finite becomes null.
        Value::from(value)
    };
    let mut object = json!({
        "format": FORMAT,
        "version": VERSION,
        "xent": env!("CARGO_PKG_VERSION"),
        "loss_name": name.flag(),
        "loss": finite("loss", loss.value),
        "sum": finite("sum", loss.sum),
        "z_loss": finite("z_loss", loss.z_loss),
        "perplexity": name.has_classes().then(|| finite("perplexity", report.perplexity())),
        "accuracy": name.has_classes().then(|| finite("accuracy", report.accuracy().unwrap_or(f64::NAN))),
        "complete": loss.rows == summary.rows_given,
        "rows": loss.rows,
        "cols": report.cols,
        "counted": loss.counted,
        "ignored": report.ignored(),
        "weight": finite("weight", loss.weight),
        "row_weight": finite("row_weight", loss.row_weight),
        "flags": null,
        "bad_rows": tally.bad(),
        "first_bad_row": tally.first_bad().map(|(row, _)| row),
        "row_losses": row_losses(tally),
        "positions": positions(tally.positions()),
        "adapter": adapter,
        "seconds": report.elapsed.as_secs_f64(),
        "logits_per_second": finite("logits_per_second", report.logits_per_second()),
        "bytes_read": bytes_read,
        "peak_memory_bytes": peak_memory,
        "verification": report.verification.map(|verification| json!({
            "rows_checked": verification.rows_checked,
            "worst_row": verification.worst_row,
            "worst_abs": finite("worst_abs", verification.worst_abs),
            "worst_rel": finite("worst_rel", verification.worst_rel),
            "passed": verification.passed,
        })),
    });
    object["flags"] = json!(flags);
    if let Some(keys) = object.as_object_mut().filter(|_| !name.has_classes()) {
        keys.retain(|key, _| !["perplexity", "accuracy"].contains(&key.as_str()));
    }
    object
}

fn row_losses(tally: &Tally) -> Value {
    let losses = tally.losses();
    let (range, bins) = (losses.range(), losses.coarser(BINS));
    json!({
        "finite": losses.rows(),
        "nan": tally.nan(),
        "infinite": tally.infinite(),
        "min": range.map(|(min, _)| min),
        "max": range.map(|(_, max)| max),
        "quantiles": quantiles(losses),
        "histogram": { "start": bins.start(), "width": bins.width(), "counts": bins.counts() },
    })
}

fn quantiles(losses: &Histogram) -> Value {
    let at = |share: f64| losses.quantile(share).map(|quantile| quantile.value);
    json!({
        "p1": at(0.01), "p5": at(0.05), "p25": at(0.25), "p50": at(0.5), "p75": at(0.75), "p95": at(0.95),
        "p99": at(0.99), "within": losses.width() / 2.0,
    })
}

fn positions(positions: &Positions) -> Value {
    let means: Vec<Option<f64>> = positions.means().map(|(_, mean)| mean).collect();
    json!({
        "length": positions.length(),
        "width": positions.width(),
        "counts": positions.counts(),
        "means": means,
    })
}

/// Indents objects, and puts each array on one line; all arrays hold numbers or words.
struct ArraysInLine(PrettyFormatter<'static>);

type Written = std::io::Result<()>;

impl Formatter for ArraysInLine {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> Written {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> Written {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.end_object_value(writer)
    }
}
