//! What one row of logits tells besides its loss.

use crate::element::Element;
use crate::options::{CrossEntropyOptions, Input, MaskedRow};
use crate::reference::distribution::{Distribution, RowKind};

/// What one row of logits tells besides its loss: the fields of [`RowFields`](crate::RowFields) with these names.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowReadouts {
    /// The largest logit, capped.
    pub row_max: f64,
    /// Σ exp((s − `row_max`) / T).
    pub sum_exp: f64,
    /// The target's logit, capped; −∞ without a target.
    pub target_logit: f64,
    /// p_y; 0 without a target.
    pub target_prob: f64,
    /// ln p_y; −∞ without a target.
    pub target_log_prob: f64,
    /// The largest probability.
    pub confidence: f64,
    /// Whether the target is the argmax.
    pub is_correct: bool,
    /// One more than the classes with a higher logit (as given, before a cap), or an equal one and a lower index; 0
    /// without a target.
    pub rank: u32,
    /// The sum of the probabilities of those classes.
    pub mass_ahead: f64,
    /// −Σ p ln p, in nats.
    pub entropy: f64,
    /// Σ_j (p_j − [j = y])² (Brier 1950, "Verification of forecasts expressed in terms of probability").
    pub brier: f64,
    /// The difference of the two largest logits, capped, divided by T; +∞ if there is no second finite one.
    pub margin: f64,
    /// The smallest logit, capped.
    pub min_logit: f64,
    /// The mean of the logits, capped.
    pub mean_logit: f64,
}

/// What one row (cols,) of logits tells besides its loss. `target` is its class, if the targets are classes.
///
/// If a logit is NaN or +∞, everything is NaN, rank 0, and not correct; but `row_max` and `target_logit` are the logits
/// themselves. If every logit is −∞, it is the same with zeros instead, if [`MaskedRow::Zero`] is asked for; `sum_exp`
/// is 0. The same if `target` is not below the number of logits.
pub fn row_readouts<E: Element>(
    row: &[E],
    target: Option<usize>,
    options: &CrossEntropyOptions,
) -> RowReadouts {
    let is_log = options.input == Input::LogProbs;
    let distribution = Distribution::new(row, options.temperature, options.softcap);
    let raw: Vec<f64> = row.iter().map(|x| x.to_f64()).collect();
    let scores: Vec<f64> = (0..row.len()).map(|class| distribution.score(class)).collect();
    let largest = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let temperature = f64::from(options.temperature);
    let row_max = if raw.iter().any(|x| x.is_nan()) { f64::NAN } else { largest(&scores) };
    let target_logit = match target {
        Some(class) => scores.get(class).copied().unwrap_or(f64::NAN),
        None => f64::NEG_INFINITY,
    };
    let special = |fill: f64, sum_exp: f64| RowReadouts {
        row_max,
        sum_exp,
        target_logit,
        target_prob: fill,
        target_log_prob: fill,
        confidence: fill,
        is_correct: false,
        rank: 0,
        mass_ahead: fill,
        entropy: fill,
        brier: fill,
        margin: fill,
        min_logit: fill,
        mean_logit: fill,
    };
    match distribution.kind() {
        RowKind::Masked if options.masked_row == MaskedRow::Zero => return special(0.0, 0.0),
        RowKind::Masked => return special(f64::NAN, 0.0),
        RowKind::Nan => return special(f64::NAN, f64::NAN),
        RowKind::Usual if target.is_some_and(|class| class >= row.len()) => {
            return special(f64::NAN, f64::NAN);
        }
        RowKind::Usual => {}
    }
    let log_prob = |class: usize| if is_log { raw[class] } else { distribution.log_prob(class) };
    let prob = |class: usize| log_prob(class).exp();
    let classes = 0..row.len();
    // 0 · ln 0 counts as 0.
    let term = |class: usize| if prob(class) == 0.0 { 0.0 } else { -prob(class) * log_prob(class) };
    let ahead = |class: usize, of: usize| raw[class] > raw[of] || (raw[class] == raw[of] && class < of);
    let ahead_of = |of: usize| classes.clone().filter(move |&class| ahead(class, of));
    let best = classes.clone().find(|&class| ahead_of(class).next().is_none()).unwrap_or(0);
    let others = classes.clone().filter(|&class| class != best).map(|class| scores[class]);
    let error = |class: usize| {
        // 1 − p_y from the others' probabilities keeps the digits that the difference loses.
        let is_target = Some(class) == target;
        match is_target && !is_log {
            true => classes.clone().filter(|&other| other != class).map(prob).sum::<f64>(),
            false => prob(class) - f64::from(u8::from(is_target)),
        }
    };
    RowReadouts {
        row_max,
        sum_exp: scores.iter().map(|s| ((s - row_max) / temperature).exp()).sum(),
        target_logit,
        target_prob: target.map_or(0.0, prob),
        target_log_prob: target.map_or(f64::NEG_INFINITY, log_prob),
        confidence: prob(best),
        is_correct: target == Some(best),
        rank: target.map_or(0, |class| 1 + ahead_of(class).count() as u32),
        mass_ahead: target.map_or(0.0, |class| ahead_of(class).map(prob).sum()),
        entropy: classes.clone().map(term).sum(),
        brier: classes.clone().map(|class| error(class).powi(2)).sum(),
        margin: (scores[best] - largest(&others.collect::<Vec<_>>())) / temperature,
        min_logit: scores.iter().copied().fold(f64::INFINITY, f64::min),
        mean_logit: scores.iter().map(|s| s / row.len() as f64).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f32 = f32::INFINITY;

    fn of(row: &[f32], target: usize) -> RowReadouts {
        row_readouts(row, Some(target), &CrossEntropyOptions::default())
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    /// Logits whose probabilities are these.
    fn ln(probs: &[f32]) -> Vec<f32> {
        probs.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        let row = [1.0, 3.0, 3.0, 2.0];
        assert_eq!([0, 1, 2, 3].map(|class| of(&row, class).rank), [4, 1, 2, 3]);
        assert_eq!([1, 2].map(|class| of(&row, class).is_correct), [true, false]);
        assert_eq!(of(&row, 1).margin, 0.0);
    }

    /// The rows and masses of a conformal predictor's calibration: 1 − p_y, and the mass ahead plus p_y.
    #[test]
    fn masses_ahead_are_the_scores_of_adaptive_prediction_sets() {
        let rows = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.4, 0.35, 0.25], [0.7, 0.2, 0.1], [0.45, 0.3, 0.25]];
        let expected = [(0.4, 0.6), (0.6, 0.9), (0.75, 1.0), (0.3, 0.7), (0.7, 0.75)];
        for ((row, target), (lac, aps)) in rows.iter().zip([0, 1, 2, 0, 1]).zip(expected) {
            let row = of(&ln(row), target);
            assert!(close(1.0 - row.target_prob, lac), "{row:?}");
            assert!(close(row.mass_ahead + row.target_prob, aps), "{row:?}");
        }
    }

    #[test]
    fn worked_answers() {
        // The logits 2, 1, 0.5, −1: probabilities 0.609, 0.224, 0.136, 0.030 (to three digits).
        let row = of(&[2.0, 1.0, 0.5, -1.0], 1);
        let probs: Vec<f64> = [2.0f64, 1.0, 0.5, -1.0].map(f64::exp).to_vec();
        let sum: f64 = probs.iter().sum();
        let p: Vec<f64> = probs.iter().map(|e| e / sum).collect();
        assert!(close(row.target_prob, p[1]) && close(row.target_log_prob, p[1].ln()));
        assert!(close(row.confidence, p[0]) && close(row.mass_ahead, p[0]));
        assert!(close(row.entropy, -p.iter().map(|p| p * p.ln()).sum::<f64>()));
        assert!(close(row.brier, p[0].powi(2) + (1.0 - p[1]).powi(2) + p[2].powi(2) + p[3].powi(2)));
        assert!(close(row.margin, 1.0) && close(row.mean_logit, 0.625));
        assert_eq!((row.row_max, row.min_logit, row.target_logit, row.rank), (2.0, -1.0, 1.0, 2));
        // A uniform row of 8: ln 8, and the Brier score of a uniform guess.
        let uniform = of(&[0.25; 8], 3);
        assert!(close(uniform.entropy, 8f64.ln()) && close(uniform.brier, 1.0 - 1.0 / 8.0));
        // One class is certain.
        let one = of(&[5.0], 0);
        assert_eq!((one.entropy, one.brier, one.rank, one.margin), (0.0, 0.0, 1, f64::INFINITY));
    }

    #[test]
    fn special_rows() {
        let nan = of(&[1.0, f32::NAN], 0);
        assert!(nan.entropy.is_nan() && nan.row_max.is_nan() && nan.rank == 0 && nan.target_logit == 1.0);
        let infinite = of(&[1.0, INF], 0);
        assert!(infinite.brier.is_nan() && infinite.row_max == f64::INFINITY);
        let masked = of(&[-INF, -INF], 0);
        assert!(masked.confidence.is_nan() && masked.sum_exp == 0.0);
        let zeros = CrossEntropyOptions { masked_row: MaskedRow::Zero, ..Default::default() };
        assert_eq!(row_readouts(&[-INF, -INF], Some(0), &zeros).confidence, 0.0);
        let impossible = of(&[0.0, -INF], 1);
        assert_eq!((impossible.target_prob, impossible.target_log_prob), (0.0, f64::NEG_INFINITY));
        assert_eq!((impossible.rank, impossible.mass_ahead, impossible.brier), (2, 1.0, 2.0));
        assert_eq!((impossible.min_logit, impossible.mean_logit), (f64::NEG_INFINITY, f64::NEG_INFINITY));
        assert!(of(&[0.0], 7).entropy.is_nan());
    }

    #[test]
    fn log_probabilities_are_used_as_given() {
        let options = CrossEntropyOptions { input: Input::LogProbs, ..Default::default() };
        let row = row_readouts(&[0.5f32.ln(), 0.25f32.ln()], Some(1), &options);
        assert!(close(row.confidence, 0.5) && close(row.target_prob, 0.25));
        assert!(close(row.brier, 0.25 + 0.5625));
    }
}
