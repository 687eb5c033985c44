//! `xent eval --temperature 0.5,1,2`: the loss at several temperatures, from one read of the logits.

use std::ops::Range;
use std::time::Instant;

use serde_json::{Value, json};
use xent::eval::Source;
use xent::eval::calibrate::{Calibrator, TemperatureCurve, TemperaturePoint, curve_on_cpu};
use xent::eval::files::FileLogits;
use xent::{CalibratorOptions, Element, Result};

use super::inputs::{self, Inputs};
use crate::args::{EvalArgs, Input};
use crate::changed::Logarithms;
use crate::choose::with_reason;
use crate::computer::Computer;
use crate::losses::AnyLoss;
use crate::memory;
use crate::numbers::{as_given, decimals, si, thousands};
use crate::origin::Origin;
use crate::outcome::Outcome;
use crate::output::{bad_argument, print_json};
use crate::progress::Progress;
use crate::report::{Line, Tone, bad_rows, in_lines, print_toned, strictly};
use crate::stop::check_stopped;

const FORMAT: &str = "xent eval temperatures";
/// Rises when a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// The most temperatures that one read of the logits gives.
const MOST: usize = 8;

/// What may be given beside several temperatures.
const APPLY: [&str; 28] = [
    "files",
    "class_axis",
    "key",
    "vocab",
    "dtype",
    "cols",
    "rows",
    "input",
    "targets",
    "targets_key",
    "loss",
    "temperature",
    "softcap",
    "ignore_index",
    "row_weights",
    "row_mask",
    "shift",
    "sequence",
    "sequence_lengths",
    "sequence_per_file",
    "score_from",
    "score_to",
    "positions",
    "json",
    "strict",
    "memory",
    "adapter",
    "tuning",
];

/// Refuses what does not go together with several temperatures.
pub fn check(args: &EvalArgs) -> Result<()> {
    let temperatures = args.loss.score.temperature.len();
    if temperatures < 2 {
        return Ok(());
    }
    if temperatures > MOST {
        let why = format!("{temperatures} values; one read of the logits gives {MOST} at most");
        return Err(bad_argument("--temperature", why));
    }
    if !args.loss.name.has_classes() {
        let why = format!("takes one value with --loss {}", args.loss.name.flag());
        return Err(bad_argument("--temperature", why));
    }
    match args.given.other_than(&APPLY) {
        Some(flag) => Err(bad_argument(flag, "does not apply to several temperatures")),
        None => Ok(()),
    }
}

/// Evaluates these logits at each temperature.
pub fn run<E: Element>(args: &EvalArgs, logits: FileLogits<E>, loss: AnyLoss) -> Result<Outcome> {
    let AnyLoss::CrossEntropy(options) = loss else {
        return Err(bad_argument("--temperature", "takes one value with this loss"));
    };
    let shape = logits.shape();
    let temperatures: Vec<f64> = args.loss.score.temperature.iter().map(|&t| f64::from(t)).collect();
    let mut inputs = Inputs::<E>::open(args, &logits, loss)?;
    let origin = Origin::new(&inputs::read(args)?, &args.given)
        .describe("the logits", logits.file())
        .describe_beside(args.targets.targets_key.as_deref());
    let (computer, why) = Computer::open_or_reference(&args.device, shape.len(), "table of temperatures")?;
    let memory = args.run.memory.map(|allowed| memory::for_windows(allowed, computer.reserve(false)));
    let memory = memory.transpose()?;
    let options = CalibratorOptions {
        ignore_index: options.ignore_index,
        softcap: options.softcap,
        sequences: options.sequences,
        ..Default::default()
    };
    let start = Instant::now();
    let mut progress =
        Progress::new(shape.rows).with_rates(shape.cols, inputs::bytes_per_row(args, shape.rows));
    let each = |_, rows: Range<usize>| {
        check_stopped()?;
        progress.reach(rows.end);
        Ok(())
    };
    let mut logits: Box<dyn Source<E>> = match args.input {
        Input::LogProbs => return Err(bad_argument("--temperature", "does not apply to log-probabilities")),
        Input::Probs => Box::new(Logarithms(logits)),
        Input::Logits => Box::new(logits),
    };
    let Some(given) = inputs.of_classes() else {
        return Err(bad_argument("--temperature", "takes one value with this loss"));
    };
    let curve = match &computer {
        Computer::Gpu { gpu, tuning, .. } => {
            let mut calibrator = Calibrator::<E>::new(gpu, &options)?;
            if let Some(tuning) = tuning {
                calibrator = calibrator.with_tuning(*tuning)?;
            }
            calibrator.curve(&mut *logits, given, &temperatures, memory, each)?
        }
        Computer::Cpu | Computer::Processor { .. } => {
            curve_on_cpu(&options, &mut *logits, given, &temperatures, memory, each)?
        }
    };
    drop(progress);
    let found = Found {
        temperatures: &args.loss.score.temperature,
        curve: &curve,
        cols: shape.cols,
        adapter: computer.name(),
        why: &why,
        seconds: start.elapsed().as_secs_f64(),
        origin: &origin,
    };
    match args.output.json {
        true => print_json(&in_lines(&found.object()))?,
        false => print_toned(&found.lines())?,
    }
    let TemperatureCurve { bad, first_bad, notices, .. } = &curve;
    Ok(strictly(args.output.strict, bad_rows(*bad, *first_bad), notices))
}

/// What was found at each temperature.
struct Found<'a> {
    temperatures: &'a [f32],
    curve: &'a TemperatureCurve,
    cols: usize,
    adapter: &'a str,
    /// Why this one computed.
    why: &'a str,
    seconds: f64,
    origin: &'a Origin,
}

impl Found<'_> {
    /// The mean loss at each temperature, over all rows that count.
    fn losses(&self) -> Vec<f64> {
        (0..self.curve.points.len()).map(|at| self.curve.loss(at)).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let percent =
            |share: Option<f64>| share.map_or("none".to_owned(), |share| format!("{:.2} %", 100.0 * share));
        let TemperatureCurve { points, rows, counted, bad, first_bad, flags, notices, .. } = self.curve;
        // The mean of the finite rows is that of all, unless there are bad ones.
        let last = |text: String| if *bad > 0 { format!("{text:>13}") } else { String::new() };
        let head = row_of(["perplexity", "confidence", "ECE"]) + &last("finite".to_owned());
        let mut lines = vec![Line::new("T", format!("{:>10}{head}", "loss"))];
        let least = points.iter().map(|point| point.loss).fold(f64::INFINITY, f64::min);
        for ((temperature, point), loss) in self.temperatures.iter().zip(points).zip(self.losses()) {
            let of = &point.reliability;
            let cells = [decimals(loss.exp(), 4), percent(of.mean_confidence()), percent(of.ece())];
            let [perplexity, confidence, ece] = &cells;
            let finite = last(decimals(point.loss, 6));
            let cells = row_of([perplexity, confidence, ece]);
            let text = format!("{:>10}{cells}{finite}", decimals(loss, 6));
            let tone = if point.loss == least { Tone::Result } else { Tone::Plain };
            lines.push(Line::new(&temperature.to_string(), text).toned(tone));
        }
        // A temperature does not change it.
        let accuracy = points.first().and_then(|point| point.reliability.accuracy());
        lines.push(Line::new("accuracy", percent(accuracy)));
        let [rows, counted, ignored] = [*rows, *counted, rows - counted].map(thousands);
        lines.push(Line::new("rows", format!("{rows}: {counted} counted, {ignored} ignored")));
        lines.push(Line::new("classes", thousands(self.cols)));
        if !flags.is_empty() {
            let names = flags.names().collect::<Vec<_>>().join(", ");
            lines.push(Line::new("flags", names).toned(Tone::Warning));
        }
        if let Some(bad) = bad_rows(*bad, *first_bad) {
            lines.push(Line::new("bad rows", bad).toned(Tone::Warning));
        }
        for notice in notices {
            lines.push(Line::new("notice", notice.to_string()).toned(Tone::Warning));
        }
        lines.push(Line::new("of", self.origin.line()));
        lines.push(Line::new("adapter", with_reason(self.adapter, self.why)));
        let logits = self.curve.rows as f64 * self.cols as f64;
        let rate = si(logits / self.seconds, " logits/s");
        lines
            .push(Line::new("time", format!("{:.3} s: {rate}, one read for all temperatures", self.seconds)));
        lines
    }

    fn object(&self) -> Value {
        let TemperatureCurve { points, rows, counted, bad, first_bad, flags, notices, .. } = self.curve;
        // A value that is not finite becomes null, and its key a flag.
        let losses = self.losses();
        let perplexities: Vec<f64> = losses.iter().map(|loss| loss.exp()).collect();
        let mut flags: Vec<String> = flags.names().collect();
        for (key, values) in [("loss", &losses), ("perplexity", &perplexities)] {
            if values.iter().any(|value| !value.is_finite()) {
                flags.push(key.to_owned());
            }
        }
        let all = |of: &dyn Fn(&TemperaturePoint) -> Option<f64>| points.iter().map(of).collect::<Vec<_>>();
        let mut object = json!({
            "format": FORMAT,
            "version": VERSION,
            "xent": env!("CARGO_PKG_VERSION"),
            "rows": rows,
            "cols": self.cols,
            "counted": counted,
            "ignored": rows - counted,
            "flags": flags,
            "bad_rows": bad,
            "first_bad_row": first_bad.map(|(row, _)| row),
            "notices": notices.iter().map(|notice| notice.misuse.name()).collect::<Vec<_>>(),
            "temperatures": self.temperatures.iter().copied().map(as_given).collect::<Vec<_>>(),
            "loss": losses,
            "finite_mean": all(&|point| Some(point.loss)),
            "perplexity": perplexities,
            "accuracy": all(&|point| point.reliability.accuracy()),
            "confidence": all(&|point| point.reliability.mean_confidence()),
            "ece": all(&|point| point.reliability.ece()),
            "mce": all(&|point| point.reliability.mce()),
            "adapter": self.adapter,
            "adapter_reason": self.why,
            "seconds": self.seconds,
        });
        if let Some(keys) = object.as_object_mut() {
            keys.extend(self.origin.keys());
        }
        object
    }
}

/// The cells of a row of the table behind its first, aligned to the right.
fn row_of(cells: [&str; 3]) -> String {
    cells.map(|cell| format!("{cell:>13}")).concat()
}
