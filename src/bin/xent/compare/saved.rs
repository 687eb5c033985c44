//! Two saved reports of `xent eval --json`, side by side.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use xent::eval::compare::Estimate;
use xent::{Error, Result};

use super::report::figure;
use crate::args::CompareArgs;
use crate::numbers::{decimals, thousands};
use crate::outcome::Outcome;
use crate::output::{bad_argument, complain, one_line, print_json, shown};
use crate::report::{self, Line, Tone, in_lines, print_toned};

const FORMAT: &str = "xent compare reports";
/// Rises when a key changes its meaning or goes away.
const VERSION: u32 = 1;
/// More bytes than a report has, even of thousands of classes.
const MOST_BYTES: u64 = 64 << 20;

/// The options that say which rows count, and against what.
const OF_DATA: [&str; 9] = [
    "--shift",
    "--sequence",
    "--sequence-per-file",
    "--score-from",
    "--score-to",
    "--positions",
    "--ignore-index",
    "--targets-key",
    "--teacher-key",
];

/// Whether both arguments name saved reports.
pub fn are_reports(args: &CompareArgs) -> bool {
    let is_report = |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    is_report(&args.base) && is_report(&args.other)
}

pub fn run(args: &CompareArgs) -> Result<Outcome> {
    if let Some(flag) = args.given.other_than(&["base", "other", "json"]) {
        return Err(bad_argument(flag, "does not apply to saved reports"));
    }
    let reports = [read(&args.base)?, read(&args.other)?];
    if let Some(difference) = difference(&reports) {
        let [base, other] = [&args.base, &args.other].map(|path| shown(path));
        return Err(bad_argument(other, format!("it is of other data than {base}: {difference}")));
    }
    if reports.iter().any(|report| !has_known_targets(report)) {
        complain(
            "these reports do not tell whether their targets are the same: they were not in a file of their own",
        );
    }
    let compared = Compared::of(&reports);
    match args.output.json {
        true => print_json(&in_lines(&compared.object()))?,
        false => print_toned(&compared.lines())?,
    }
    Ok(Outcome::Done)
}

fn read(path: &Path) -> Result<Value> {
    let refused = |why: String| -> Error { bad_argument(path.display().to_string(), why) };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    file.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| refused(error.to_string()))?;
    let report: Value =
        serde_json::from_str(&text).map_err(|error| refused(format!("this is not a report: {error}")))?;
    match report["format"].as_str() {
        Some("xent eval") if report["inputs"].is_object() && report["version"] == report::VERSION => {
            Ok(report)
        }
        Some("xent eval") => {
            let why = "another version of xent wrote it: make it again";
            Err(refused(why.to_owned()))
        }
        Some(other) => Err(refused(format!(
            "it is of '{}', but reports of 'xent eval --json' are needed",
            one_line(other)
        ))),
        None => Err(refused("this is not a report of 'xent eval --json'".to_owned())),
    }
}

/// What differs in the data of two reports, in words.
fn difference([base, other]: &[Value; 2]) -> Option<String> {
    for key in ["loss_name", "rows", "cols", "counted", "weight"] {
        if base[key] != other[key] {
            return Some(format!("{key} was {}, and is {}", base[key], other[key]));
        }
    }
    let options = |of: &Value| -> Vec<String> {
        let all = of["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.filter(|option| OF_DATA.contains(&option.split(' ').next().unwrap_or_default()))
            .map(str::to_owned)
            .collect()
    };
    let [a, b] = [options(base), options(other)];
    if a != b {
        let words = |options: &[String]| match options.is_empty() {
            true => "no option for its rows".to_owned(),
            false => one_line(&options.join(" ")),
        };
        return Some(format!("it was with {}, and is with {}", words(&a), words(&b)));
    }
    // The logits are what differs between two models; all other files are the data.
    let files = |of: &Value| -> Vec<[Value; 3]> {
        let at = |key: &str, index: usize| of["inputs"][key][index].clone();
        let count = of["inputs"]["names"].as_array().map_or(0, Vec::len);
        let all = (0..count).map(|index| [at("names", index), at("bytes", index), at("crc32", index)]);
        all.filter(|[name, ..]| name != "the logits").collect()
    };
    let [a, b] = [files(base), files(other)];
    let differing = a.iter().chain(&b).find(|file| a.contains(file) != b.contains(file))?;
    Some(format!("{}: another file", one_line(differing[0].as_str().unwrap_or("the inputs"))))
}

/// Whether a report has a checksum of its targets.
fn has_known_targets(report: &Value) -> bool {
    let names = report["inputs"]["names"].as_array().into_iter().flatten();
    let mut sums = names.zip(report["inputs"]["crc32"].as_array().into_iter().flatten());
    sums.any(|(name, sum)| name.as_str().is_some_and(|name| name.ends_with("targets")) && sum.is_number())
}

/// The figures of two reports.
struct Compared {
    means: [Estimate; 2],
    /// Whether the mean is that of a cross-entropy.
    has_perplexity: bool,
    accuracies: [Option<f64>; 2],
    rows: usize,
    /// The options of each that the other does not have.
    options: [Vec<String>; 2],
}

impl Compared {
    fn of(reports: &[Value; 2]) -> Self {
        let of_each = |value: &dyn Fn(&Value) -> Option<f64>| [value(&reports[0]), value(&reports[1])];
        let means = of_each(&|report| report["mean"].as_f64());
        let errors = of_each(&|report| {
            report["sequence_standard_error"].as_f64().or(report["standard_error"].as_f64())
        });
        let options = |at: usize| {
            let others = reports[1 - at]["options"].as_array().cloned().unwrap_or_default();
            let own = reports[at]["options"].as_array().into_iter().flatten();
            own.filter(|option| !others.contains(option))
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        Self {
            means: [0, 1].map(|at| Estimate::new(means[at].unwrap_or(f64::NAN), errors[at])),
            has_perplexity: reports[0]["perplexity"].is_number(),
            accuracies: of_each(&|report| report["accuracy"].as_f64()),
            rows: reports[0]["rows"].as_u64().unwrap_or(0) as usize,
            options: [options(0), options(1)],
        }
    }

    /// The change of the mean. Its error is that of two samples that have nothing in common.
    fn change(&self) -> Estimate {
        let [a, b] = self.means;
        let error = a.error.zip(b.error).map(|(a, b)| (a * a + b * b).sqrt());
        Estimate::new(b.value - a.value, error)
    }

    fn lines(&self) -> Vec<Line> {
        let [a, b] = self.means;
        let mut lines = vec![
            Line::new("loss", format!("{} base, {} other nats", figure(a), figure(b))),
            Line::new(
                "  change",
                format!("{} nats, as if the rows were not the same", figure(self.change())),
            )
            .toned(Tone::Result),
        ];
        if self.has_perplexity {
            let [base, other] = [a, b].map(|mean| mean.value.exp());
            let ratio = decimals(other / base, 6);
            let text = format!("{} base, {} other, ratio {ratio}", decimals(base, 4), decimals(other, 4));
            lines.push(Line::new("perplexity", text).toned(Tone::Result));
        }
        if let [Some(base), Some(other)] = self.accuracies {
            let text = format!("{:.2} % base, {:.2} % other", 100.0 * base, 100.0 * other);
            lines.push(Line::new("accuracy", text));
        }
        for (name, options) in ["  base", "  other"].into_iter().zip(&self.options) {
            if !options.is_empty() {
                lines.push(Line::new(name, one_line(&options.join(" "))));
            }
        }
        lines.push(Line::new("rows", thousands(self.rows)));
        lines.push(Line::new(
            "",
            "the logits themselves tell far more: xent compare BASE OTHER pairs their rows",
        ));
        lines
    }

    fn object(&self) -> Value {
        let of = |of: Estimate| json!({ "value": of.value, "error": of.error });
        let [base, other] = self.means;
        let perplexities = [base, other].map(|mean| self.has_perplexity.then(|| mean.value.exp()));
        json!({
            "format": FORMAT,
            "version": VERSION,
            "xent": env!("CARGO_PKG_VERSION"),
            "rows": self.rows,
            "mean": { "base": of(base), "other": of(other), "change": of(self.change()) },
            "perplexity": { "base": perplexities[0], "other": perplexities[1] },
            "accuracy": { "base": self.accuracies[0], "other": self.accuracies[1] },
            "options": { "base": self.options[0], "other": self.options[1] },
        })
    }
}
