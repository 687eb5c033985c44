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
    let loss = |row: &[E]| match target {
        Some(class) if class < row.len() => {
            let target = RowTarget::Class(class as i64);
            cross_entropy::row_loss(row, &target, None, &options.loss()).loss
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
        kl: kl_divergence::row_loss(other, base, &options.divergence()),
        base_loss: loss(base),
        other_loss: loss(other),
        base_argmax,
        other_argmax,
        overlap: top(base).iter().filter(|class| others.contains(class)).count() as u32,
        logit_difference: if base.len() == other.len() { logit_difference(base, other) } else { f64::NAN },
    }
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
