//! Two models on one row.

use super::{argmax_row, cross_entropy, kl_divergence, top_k_row};
use crate::element::Element;
use crate::options::ComparatorOptions;
use crate::reference::distribution::{Distribution, RowKind};
use crate::results::NO_CLASS;
use crate::targets::RowTarget;

/// What a comparison tells of a row: see [`compare_row`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowComparison {
    /// KL(base ‖ other) = Σ_j q_j·(ln q_j − ln p_j), with the base's probabilities q and the other's p, in nats.
    pub kl: f64,
    /// The base's loss, −ln q_y; NaN without a target.
    pub base_loss: f64,
    /// The other's loss, −ln p_y; NaN without a target.
    pub other_loss: f64,
    /// The base's most probable class, the lowest among equals; [`NO_CLASS`] if a logit is NaN or +∞, or all are −∞.
    pub base_argmax: u32,
    /// The other's.
    pub other_argmax: u32,
    /// How many classes are among the largest [`top_k`](ComparatorOptions::top_k) of both; 0 if one has no most probable
    /// class.
    pub overlap: u32,
    /// The largest |base − other| of two logits of a class. Equal infinities differ by 0, and so do two NaN; any other pair
    /// with a NaN or an infinity differs by +∞.
    pub logit_difference: f64,
}

/// Compares two models on one row (cols,) of each. `target` is the row's class. Rows that differ in length, and a target
/// that is not below the number of classes, give NaN.
pub fn compare_row<E: Element>(
    base: &[E],
    other: &[E],
    target: Option<usize>,
    options: &ComparatorOptions,
) -> RowComparison {
    let loss = |row: &[E], is_log_probs: bool| match target {
        Some(class) if class < row.len() => {
            let target = RowTarget::Class(class as i64);
            let loss = cross_entropy::row_loss(row, &target, None, &options.loss()).loss;
            if is_log_probs && !loss.is_nan() { -row[class].to_f64() } else { loss }
        }
        _ => f64::NAN,
    };
    let argmax = |row: &[E]| {
        let kind = Distribution::new(row, options.temperature, None).kind();
        if matches!(kind, RowKind::Usual) { argmax_row(row) } else { NO_CLASS }
    };
    let top = |row: &[E]| -> Vec<u32> {
        let options = options.top(row.len());
        options.map_or(Vec::new(), |top| top_k_row(row, &top).into_iter().map(|(class, _)| class).collect())
    };
    let (base_argmax, other_argmax) = (argmax(base), argmax(other));
    let has_both = base_argmax != NO_CLASS && other_argmax != NO_CLASS;
    let others = if has_both { top(other) } else { Vec::new() };
    RowComparison {
        kl: divergence(base, other, options),
        base_loss: loss(base, options.log_probs[0]),
        other_loss: loss(other, options.log_probs[1]),
        base_argmax,
        other_argmax,
        overlap: top(base).iter().filter(|class| others.contains(class)).count() as u32,
        logit_difference: if base.len() == other.len() { logit_difference(base, other) } else { f64::NAN },
    }
}

/// Σ q·(ln q − ln p) over the classes above the floor, with log-probabilities as they are or normalised.
fn divergence<E: Element>(base: &[E], other: &[E], options: &ComparatorOptions) -> f64 {
    let normalised = kl_divergence::row_loss(other, base, &options.divergence());
    if options.log_probs == [false; 2] || normalised.is_nan() {
        return normalised;
    }
    let log_probs = |row: &[E], is_log_probs: bool| -> Vec<f64> {
        let values = row.iter().map(|x| x.to_f64());
        if is_log_probs {
            return values.collect();
        }
        let lse = Distribution::new(row, 1.0, None).lse();
        values.map(|x| x - lse).collect()
    };
    let floor = options.kl_floor.map_or(f64::NEG_INFINITY, f64::from);
    let [q, p] = [log_probs(base, options.log_probs[0]), log_probs(other, options.log_probs[1])];
    q.into_iter().zip(p).filter(|&(q, _)| q > floor).map(|(q, p)| q.exp() * (q - p)).sum()
}

fn logit_difference<E: Element>(base: &[E], other: &[E]) -> f64 {
    let of_class = |(a, b): (&E, &E)| {
        let (a, b) = (a.to_f64(), b.to_f64());
        if a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else if a.is_finite() && b.is_finite() {
            (a - b).abs()
        } else {
            f64::INFINITY
        }
    };
    base.iter().zip(other).map(of_class).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(top_k: usize) -> ComparatorOptions {
        ComparatorOptions { top_k, ..Default::default() }
    }

    /// q = (3/4, 1/4), p = (1/2, 1/2).
    #[test]
    fn worked_answers() {
        let (base, other) = ([3f32.ln(), 0.0], [0.0, 0.0]);
        let row = compare_row(&base, &other, Some(1), &options(1));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-7;
        assert!(close(row.kl, 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln()), "{row:?}");
        assert!(close(row.base_loss, 4f64.ln()) && close(row.other_loss, 2f64.ln()), "{row:?}");
        assert_eq!((row.base_argmax, row.other_argmax, row.overlap), (0, 0, 1), "the lowest among equals");
        assert_eq!(row.logit_difference, f64::from(3f32.ln()));

        let row = compare_row(&[5.0f32, 4.0, 3.0, 1.0], &[1.0f32, 3.0, 4.0, 5.0], None, &options(2));
        assert!(row.base_loss.is_nan() && row.other_loss.is_nan());
        assert_eq!((row.base_argmax, row.other_argmax, row.overlap), (0, 3, 0));
        let all = compare_row(&[5.0f32, 4.0], &[1.0f32, 3.0], None, &options(5));
        assert_eq!(all.overlap, 2, "no more than there are classes");
        assert_eq!(compare_row(&[5.0f32], &[1.0f32], None, &options(0)).overlap, 0);
    }

    #[test]
    fn the_temperature_divides_both() {
        let (base, other) = ([4.0f32, -2.0, 0.0], [1.0f32, 1.0, -3.0]);
        let halves = |row: [f32; 3]| row.map(|x| x / 2.0);
        let warm = ComparatorOptions { temperature: 2.0, ..options(1) };
        let (a, b) = (
            compare_row(&base, &other, Some(2), &warm),
            compare_row(&halves(base), &halves(other), Some(2), &options(1)),
        );
        assert!((a.kl - b.kl).abs() < 1e-12 && (a.other_loss - b.other_loss).abs() < 1e-12);
        assert_eq!(a.logit_difference, 2.0 * b.logit_difference, "of the logits as they are");
    }

    /// ln q = (−0.1, −3, −17), ln p = (−0.2, −2, −18), which sum to other numbers than 1.
    #[test]
    fn log_probs_as_they_are() {
        let (base, other) = ([-0.1f32, -3.0, -17.0], [-0.2f32, -2.0, -18.0]);
        let given = ComparatorOptions { log_probs: [true, true], ..options(1) };
        let [a, b, c] = [-0.1f32, -3.0, -17.0].map(|q| f64::from(q).exp());
        let row = compare_row(&base, &other, Some(1), &given);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-7;
        assert!(close(row.kl, a * 0.1 - b + c) && row.base_loss == 3.0 && row.other_loss == 2.0, "{row:?}");
        let above =
            compare_row(&base, &other, Some(1), &ComparatorOptions { kl_floor: Some(-16.0), ..given });
        assert!((above.kl - (row.kl - c)).abs() < 1e-15, "{above:?}");
        // One of log-probabilities, the other of logits: ln p is normalised.
        let one =
            compare_row(&base, &other, Some(1), &ComparatorOptions { log_probs: [true, false], ..given });
        let lse = (f64::from(-0.2f32).exp() + (-2f64).exp() + (-18f64).exp()).ln();
        assert!(close(one.kl, row.kl + lse * (a + b + c)) && close(one.other_loss, 2.0 + lse), "{one:?}");
        let warm = ComparatorOptions { temperature: 2.0, ..given };
        let of_logits = ComparatorOptions { kl_floor: Some(-16.0), log_probs: [false, true], ..given };
        let nan = ComparatorOptions { kl_floor: Some(f32::NAN), ..given };
        assert!([warm, of_logits, nan].iter().all(|options| options.check().is_err()));
    }

    #[test]
    fn special_values() {
        const INF: f32 = f32::INFINITY;
        let of = |base: [f32; 2], other: [f32; 2]| compare_row(&base, &other, Some(0), &options(1));
        let row = of([1.0, -INF], [1.0, -INF]);
        assert_eq!((row.kl, row.base_loss, row.logit_difference), (0.0, 0.0, 0.0));
        let row = of([1.0, 0.0], [1.0, -INF]);
        assert_eq!((row.kl, row.logit_difference), (f64::INFINITY, f64::INFINITY));
        let row = of([1.0, f32::NAN], [1.0, f32::NAN]);
        assert!(row.kl.is_nan() && row.base_loss.is_nan());
        assert_eq!((row.base_argmax, row.logit_difference), (NO_CLASS, 0.0));
        let row = of([1.0, f32::NAN], [1.0, 2.0]);
        assert_eq!((row.logit_difference, row.overlap), (f64::INFINITY, 0));
        assert_eq!(of([-INF, -INF], [0.0, 1.0]).base_argmax, NO_CLASS);
        assert!(compare_row(&[1.0f32], &[1.0f32, 2.0], None, &options(1)).logit_difference.is_nan());
        assert!(compare_row(&[1.0f32], &[2.0f32], Some(1), &options(1)).base_loss.is_nan());
    }
}
