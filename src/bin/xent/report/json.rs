//! A report for programs. `docs/eval-json.md` explains every key, and a test compares it with what is printed.

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Serializer, Value, json};
use xent::NO_CLASS;
use xent::eval::{Histogram, Positions, Tally};

use super::summary::Summary;

/// The object's `format`.
const FORMAT: &str = "xent eval";
/// Rises when a key changes its meaning or goes away. A new key does not change it.
pub const VERSION: u32 = 1;

/// The keys that only a loss with classes has.
const OF_CLASSES: [&str; 12] = [
    "uniform_loss",
    "perplexity",
    "perplexity_interval",
    "accuracy",
    "judged",
    "top_k",
    "mean_rank",
    "mean_reciprocal_rank",
    "mean_entropy",
    "mean_brier",
    "calibration",
    "classes",
];

/// The most bins of the histogram, so that it stays readable.
const BINS: usize = 256;

pub fn text(summary: &Summary<'_>) -> String {
    in_lines(&object(summary))
}

/// An object, indented, with each array on one line.
pub fn in_lines(object: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = ArraysInLine(PrettyFormatter::new());
    // Writing a value of JSON into memory does not fail.
    let _ = object.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

fn object(summary: &Summary<'_>) -> Value {
    let &Summary { report, tally, adapter, bytes_read, peak_memory, .. } = summary;
    let (loss, name) = (&report.loss, summary.loss.name);
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
        "listed_bad_rows": {
            "rows": tally.bad_rows().map(|(row, _)| row).collect::<Vec<_>>(),
            "flags": tally.bad_rows().map(|(_, flags)| flags.names().collect()).collect::<Vec<Vec<_>>>(),
        },
        "row_losses": row_losses(tally),
        "positions": positions(tally.positions()),
        "adapter": adapter,
        "adapter_reason": summary.why,
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
    if let (Some(keys), Value::Object(figures)) = (object.as_object_mut(), figures(summary)) {
        keys.extend(figures);
        keys.extend(summary.origin.keys());
    }
    if let Some(keys) = object.as_object_mut().filter(|_| !name.has_classes()) {
        keys.retain(|key, _| !OF_CLASSES.contains(&key.as_str()));
    }
    object
}

/// Statistics of the rows. What is not known is null.
fn figures(summary: &Summary<'_>) -> Value {
    let &Summary { report, tally, .. } = summary;
    json!({
        "mean": report.mean(),
        "finite_mean": summary.finite_mean(),
        "standard_error": summary.standard_errors()[0],
        "sequence_standard_error": summary.standard_errors()[1],
        "bits_per_byte": summary.bits_per_byte(),
        "uniform_loss": (report.cols as f64).ln(),
        "perplexity_interval": summary.perplexity_interval(),
        "judged": report.judged,
        "top_k": { "k": summary.top_k, "accuracy": summary.top_k.and_then(|k| tally.top_k_accuracy(k)) },
        "mean_rank": tally.mean_rank(),
        "mean_reciprocal_rank": tally.mean_reciprocal_rank(),
        "mean_entropy": tally.mean_entropy(),
        "mean_brier": tally.mean_brier(),
        "calibration": calibration(tally),
        "classes": classes(tally),
        "worst_rows": worst_rows(tally),
        "notices": report.notices().iter().map(|notice| notice.misuse.name()).collect::<Vec<_>>(),
    })
}

fn calibration(tally: &Tally) -> Value {
    let reliability = tally.reliability();
    let bins: Vec<_> = reliability.bins().collect();
    let equal_mass = reliability.equal_mass(bins.len());
    // What a bin without rows has is NaN, which becomes null.
    json!({
        "rows": reliability.rows(),
        "mean_confidence": reliability.mean_confidence(),
        "ece": reliability.ece(),
        "mce": reliability.mce(),
        "equal_mass_ece": equal_mass.map(|error| error.ece),
        "equal_mass_within": equal_mass.map(|error| error.within),
        "counts": bins.iter().map(|bin| bin.rows).collect::<Vec<_>>(),
        "confidence": bins.iter().map(|bin| bin.confidence).collect::<Vec<_>>(),
        "accuracy": bins.iter().map(|bin| bin.accuracy).collect::<Vec<_>>(),
    })
}

fn classes(tally: &Tally) -> Value {
    let figures: Vec<_> = tally.class_figures().collect();
    json!({
        "support": figures.iter().map(|class| class.support).collect::<Vec<_>>(),
        "predicted": figures.iter().map(|class| class.predicted).collect::<Vec<_>>(),
        "mean_loss": figures.iter().map(|class| class.mean_loss).collect::<Vec<_>>(),
        "recall": figures.iter().map(|class| class.recall()).collect::<Vec<_>>(),
        "precision": figures.iter().map(|class| class.precision()).collect::<Vec<_>>(),
        "confusion": tally.confusion(),
    })
}

fn worst_rows(tally: &Tally) -> Value {
    let rows = tally.worst_rows();
    json!({
        "rows": rows.iter().map(|worst| worst.row).collect::<Vec<_>>(),
        "losses": rows.iter().map(|worst| worst.loss).collect::<Vec<_>>(),
        "targets": rows.iter().map(|worst| Some(worst.target).filter(|&target| target != NO_CLASS)).collect::<Vec<_>>(),
        "sequences": rows.iter().map(|worst| worst.sequence).collect::<Vec<_>>(),
        "positions": rows.iter().map(|worst| worst.position).collect::<Vec<_>>(),
    })
}

fn row_losses(tally: &Tally) -> Value {
    let losses = tally.losses();
    let (range, bins) = (losses.range(), losses.equal_bins(BINS));
    json!({
        "finite": losses.rows(),
        "nan": tally.nan(),
        "infinite": tally.infinite(),
        "min": range.map(|(min, _)| min),
        "max": range.map(|(_, max)| max),
        "quantiles": quantiles(losses),
        "histogram": { "start": bins.start, "width": bins.width, "counts": bins.counts },
    })
}

fn quantiles(losses: &Histogram) -> Value {
    let shares = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
    let within = shares.iter().filter_map(|&share| losses.quantile(share)).map(|quantile| quantile.within);
    let [p1, p5, p25, p50, p75, p95, p99] =
        shares.map(|share| losses.quantile(share).map(|quantile| quantile.value));
    json!({
        "p1": p1, "p5": p5, "p25": p25, "p50": p50, "p75": p75, "p95": p95, "p99": p99,
        "within": within.fold(0.0, f64::max),
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
