//! A comparison in the lines of `llama-perplexity --kl-divergence`: the same figures, by the same definitions, in the same
//! order (source: llama.cpp, `tools/perplexity/perplexity.cpp`). Quantiles are those of a histogram, within 1/128 of a row's
//! value.

use std::fmt::Write as _;

use xent::eval::Histogram;
use xent::eval::compare::{ComparisonTally, Estimate};

use super::report::bad_rows;

/// The quantiles of KL in per cent, from the highest; those of the change of probabilities have 75 and 25, too.
const OF_KL: [f64; 9] = [99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1];
const OF_PROBS: [f64; 11] = [99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1];

/// The text. Bad rows, of which llama.cpp says nothing, have a line at its end. What cannot be told, such as perplexities of no finite row, is NaN.
pub fn text(tally: &ComparisonTally) -> String {
    const NONE: Estimate = Estimate::new(f64::NAN, None);
    let mut text = String::new();
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line("====== Perplexity statistics ======".to_owned());
    let losses = tally.losses();
    let of = |figure: &dyn Fn(&xent::eval::compare::PairedLosses) -> Estimate| {
        let Estimate { value, error, .. } = losses.as_ref().map_or(NONE, figure);
        format!("{value:10.6} ± {:10.6}", error.unwrap_or(f64::NAN))
    };
    line(format!("Mean PPL(Q)                   : {}", of(&|losses| losses.other_perplexity())));
    line(format!("Mean PPL(base)                : {}", of(&|losses| losses.base_perplexity())));
    let correlation = losses.as_ref().and_then(|losses| losses.correlation).unwrap_or(f64::NAN);
    line(format!("Cor(ln(PPL(Q)), ln(PPL(base))): {:6.2}%", 100.0 * correlation));
    line(format!("Mean ln(PPL(Q)/PPL(base))     : {}", of(&|losses| losses.change)));
    line(format!("Mean PPL(Q)/PPL(base)         : {}", of(&|losses| losses.perplexity_ratio())));
    line(format!("Mean PPL(Q)-PPL(base)         : {}", of(&|losses| losses.perplexity_change())));

    line("\n====== KL divergence statistics ======".to_owned());
    let kl = tally.divergence().unwrap_or(NONE);
    line(format!("Mean    KLD: {:10.6} ± {:10.6}", kl.value, kl.error.unwrap_or(f64::NAN)));
    for (name, value) in spread(tally.divergences(), &OF_KL) {
        line(format!("{name} KLD: {value:10.6}"));
    }

    line("\n====== Token probability statistics ======".to_owned());
    let percent = |of: Option<Estimate>| {
        let Estimate { value, error, .. } = of.unwrap_or(NONE);
        format!("{:6.3} ± {:5.3} %", 100.0 * value, 100.0 * error.unwrap_or(f64::NAN))
    };
    line(format!("Mean    Δp: {}", percent(tally.prob_change())));
    for (name, value) in spread(tally.prob_changes(), &OF_PROBS) {
        line(format!("{name} Δp: {:6.3}%", 100.0 * value));
    }
    line(format!("RMS Δp    : {}", percent(tally.rms_prob_change())));
    line(format!("Same top p: {}", percent(tally.same_top())));
    if let Some(bad) = bad_rows(tally) {
        line(format!("\nBad rows  : {bad}"));
    }
    text
}

/// The names and values of a distribution, from its maximum to its minimum.
fn spread(of: &Histogram, quantiles: &[f64]) -> Vec<(String, f64)> {
    let (min, max) = of.range().map_or((f64::NAN, f64::NAN), |(min, max)| (min.into(), max.into()));
    let quantile = |&share: &f64| {
        let name =
            if share == 50.0 { "Median ".to_owned() } else { format!("{:<7}", format!("{share:4.1}%")) };
        (name, of.quantile(share / 100.0).map_or(f64::NAN, |quantile| quantile.value))
    };
    let middle = quantiles.iter().map(quantile);
    [("Maximum".to_owned(), max)].into_iter().chain(middle).chain([("Minimum".to_owned(), min)]).collect()
}
