//! `xent explain`: a row's softmax and cross-entropy, step by step.

use std::fmt::Write as _;

use xent::reference::{cross_entropy, log_softmax, softmax};
use xent::{CrossEntropyOptions, Error, Reduction, Result, Shape, SoftmaxOptions, Targets};

use crate::args::ExplainArgs;
use crate::numbers::{fixed, shortest};
use crate::outcome::Outcome;
use crate::output::{bad_argument, one_line, print};

pub fn run(args: &ExplainArgs) -> Result<Outcome> {
    let names = names(args)?;
    let target = args.target.as_ref().map(|target| class_of(target, &names)).transpose()?;
    print(&Steps::of(&args.logits, args.temperature, target)?.text(&names))?;
    Ok(Outcome::Done)
}

/// A name for each class: those given, or their numbers.
fn names(args: &ExplainArgs) -> Result<Vec<String>> {
    let classes = args.logits.len();
    match args.names.len() {
        0 => Ok((0..classes).map(|class| class.to_string()).collect()),
        given if given == classes => Ok(args.names.iter().map(|name| one_line(name.trim())).collect()),
        given => Err(bad_argument("--names", format!("{given} names for {classes} logits"))),
    }
}

/// The class of this name, or of this number.
fn class_of(target: &str, names: &[String]) -> Result<usize> {
    let named = names.iter().position(|name| *name == one_line(target));
    let numbered = || target.parse().ok().filter(|&class: &usize| class < names.len());
    named.or_else(numbered).ok_or_else(|| {
        let why = format!("{target} is no class: they are {}", names.join(", "));
        bad_argument("--target", one_line(&why))
    })
}

/// The steps from logits to probabilities, and to the loss of a target.
struct Steps {
    logits: Vec<f32>,
    temperature: f32,
    /// The largest logit.
    max: f64,
    /// (logit − max) / T.
    shifted: Vec<f64>,
    probs: Vec<f64>,
    log_probs: Vec<f64>,
    /// The true class, and the gradient of its loss with respect to the logits.
    target: Option<(usize, Vec<f64>)>,
}

impl Steps {
    fn of(logits: &[f32], temperature: f32, target: Option<usize>) -> Result<Self> {
        let shape = Shape::new(1, logits.len());
        let score = SoftmaxOptions { temperature, ..Default::default() };
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let gradient = |class: usize| -> Result<_, Error> {
            let options =
                CrossEntropyOptions { temperature, reduction: Reduction::Sum, ..Default::default() };
            let dlogits = cross_entropy::dlogits(logits, Targets::Classes(&[class as i32]), shape, &options)?;
            Ok((class, dlogits))
        };
        let shifted =
            logits.iter().map(|&logit| (f64::from(logit) - f64::from(max)) / f64::from(temperature));
        Ok(Self {
            probs: softmax(logits, shape, &score)?,
            log_probs: log_softmax(logits, shape, &score)?,
            target: target.map(gradient).transpose()?,
            logits: logits.to_vec(),
            temperature,
            max: max.into(),
            shifted: shifted.collect(),
        })
    }

    fn text(&self, names: &[String]) -> String {
        let mut text = self.table(names);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<9} {value}");
        };
        if let Some((class, _)) = self.target {
            let (loss, name) = (-self.log_probs[class], &names[class]);
            line("loss", format!("-ln p({name}) = {} nats", number(loss)));
            line("gradient", self.gradient_in_words());
        }
        line("overflow", self.overflow(names));
        text
    }

    /// A line for each class, and one with the sums.
    fn table(&self, names: &[String]) -> String {
        let divided = self.temperature != 1.0;
        let shifted = if divided { "(logit - max) / T" } else { "logit - max" };
        let mut header = vec!["class", "logit", shifted, "e^", "p", "-ln p"];
        header.extend(self.target.as_ref().map(|_| "gradient"));
        let mut lines = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for class in 0..self.logits.len() {
            let (shifted, p) = (self.shifted[class], self.probs[class]);
            let mut cells = vec![names[class].clone(), shortest(self.logits[class])];
            cells.extend([shifted, shifted.exp(), p, -self.log_probs[class]].map(number));
            if let Some((target, dlogits)) = &self.target {
                let mark = if *target == class { " <- target" } else { "" };
                cells.push(number(dlogits[class]) + mark);
            }
            lines.push(cells);
        }
        let sum = self.shifted.iter().map(|shifted| shifted.exp()).sum();
        let all = self.probs.iter().sum();
        lines.push(["sum", "", "", &number(sum), &number(all), ""].map(str::to_owned).to_vec());
        if let Some((_, dlogits)) = &self.target {
            let last = lines.len() - 1;
            let sum = dlogits.iter().sum::<f64>();
            // It is 0 but for rounding.
            let largest = dlogits.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
            lines[last].push(number(if sum.abs() < 1e-12 * largest { 0.0 } else { sum }));
        }
        aligned(&lines)
    }

    fn gradient_in_words(&self) -> String {
        let formula = if self.temperature == 1.0 { "p - y" } else { "(p - y) / T" };
        format!("{formula}, where y is 1 for the target and 0 for the others")
    }

    /// What the exponentials would be without subtracting the maximum.
    fn overflow(&self, names: &[String]) -> String {
        let plain: Vec<f32> = self.logits.iter().map(|&logit| (logit / self.temperature).exp()).collect();
        let beyond = |is: fn(f32) -> bool| -> Vec<&str> {
            let classes =
                (0..plain.len()).filter(|&class| is(plain[class]) && self.logits[class].is_finite());
            classes.map(|class| names[class].as_str()).collect()
        };
        if self.logits.iter().any(|logit| logit.is_nan()) {
            return "a logit is NaN, and so is every p".to_owned();
        }
        if self.max == f64::INFINITY {
            return "a logit is infinite, and so every p is NaN".to_owned();
        }
        if self.max == f64::NEG_INFINITY {
            return "every logit is -inf: no class is possible, and every p is NaN".to_owned();
        }
        let (infinite, sum) = (beyond(f32::is_infinite), plain.iter().sum::<f32>());
        if !infinite.is_empty() {
            let of = infinite.join(", ");
            return format!(
                "without subtracting the maximum, e^ is infinite in f32 for {of} (above 88.7), and p is NaN"
            );
        }
        if sum == 0.0 {
            return "without subtracting the maximum, every e^ is 0 in f32 (below -103), and p is NaN"
                .to_owned();
        }
        if sum.is_infinite() {
            return "without subtracting the maximum, the sum of e^ is infinite in f32, and every p is 0"
                .to_owned();
        }
        "none, with or without subtracting the maximum (in f32, e^ overflows above 88.7)".to_owned()
    }
}

/// Four decimals, or an exponent where these would hide the value.
fn number(value: f64) -> String {
    match value.abs() {
        size if size > 0.0 && size < 5e-4 => format!("{value:.3e}"),
        // No sign for a zero.
        _ => fixed(value + 0.0, 4),
    }
}

/// Lines of cells as text with aligned columns: the first to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    // What follows a value, such as a mark, does not move it.
    let value = |cell: &str| width(cell.split(" <-").next().unwrap_or_default());
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().filter_map(|line| line.get(at)).map(|cell| value(cell)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (at, cell) in line.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(value(cell)));
            let cell = if at == 0 { cell.clone() + &pad } else { format!("  {pad}{cell}") };
            row.push_str(&cell);
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(logits: &[f32], temperature: f32, target: Option<usize>) -> String {
        let names: Vec<String> = (0..logits.len()).map(|class| class.to_string()).collect();
        Steps::of(logits, temperature, target).unwrap().text(&names)
    }

    #[test]
    fn columns_are_aligned() {
        let lines =
            [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "2.50 <- target".to_owned()]];
        assert_eq!(aligned(&lines), "a       1\nbcd  2.50 <- target\n");
    }

    #[test]
    fn small_values_keep_their_digits() {
        let shown = [-0.0, 3.7835e-44, -1.5, 1e-4, 0.00051].map(number);
        assert_eq!(shown, ["0.0000", "3.783e-44", "-1.5000", "1.000e-4", "0.0005"]);
    }

    #[test]
    fn what_would_overflow_is_said() {
        let overflow = |logits: &[f32]| {
            let text = text(logits, 1.0, None);
            text.lines().last().unwrap().split_once("overflow  ").expect("its line").1.to_owned()
        };
        assert!(overflow(&[1.0, 88.0]).starts_with("none"));
        assert!(
            overflow(&[1000.0, 1.0, 2000.0]).contains("infinite in f32 for 0, 2 (above 88.7), and p is NaN")
        );
        assert!(overflow(&[-200.0, -300.0]).contains("every e^ is 0 in f32"));
        assert!(overflow(&[88.7, 88.7]).contains("the sum of e^ is infinite"));
        assert!(overflow(&[f32::NEG_INFINITY, 0.0]).starts_with("none"));
        assert!(overflow(&[f32::NAN, 1000.0]).starts_with("a logit is NaN"));
        assert!(overflow(&[f32::INFINITY, 1.0]).starts_with("a logit is infinite"));
        assert!(overflow(&[f32::NEG_INFINITY; 2]).starts_with("every logit is -inf"));
    }

    #[test]
    fn temperature_divides() {
        let hot = text(&[2.0, 0.0], 2.0, Some(0));
        assert!(hot.starts_with("class  logit  (logit - max) / T      e^"), "{hot}");
        // p = 1 / (1 + 1/e) = 0.7311, and (p − 1) / 2.
        assert!(hot.contains("0.7311") && hot.contains("-0.1345 <- target"), "{hot}");
        assert!(hot.contains("(p - y) / T"), "{hot}");
    }
}
