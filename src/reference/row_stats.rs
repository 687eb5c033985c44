//! What softmax and the losses need to know of a row first.

use crate::element::Element;

/// The statistics of one row x (cols,).
pub(super) struct RowStats {
    /// m = max x_j, NaNs left out; −∞ where nothing is left.
    pub row_max: f64,
    /// z = Σ exp(x_j − m), in 1..=cols for a row of finite logits and −∞ with at least one that is finite.
    ///
    /// Every other row makes it NaN with no help: a NaN enters the sum, and where m is infinite m − m is NaN.
    /// What is computed from z is NaN then, as the contract asks.
    pub sum_exp: f64,
}

/// Subtracting the maximum first keeps every exponential in 0..=1, so that none overflows and z is never 0.
pub(super) fn row_stats<E: Element>(row: &[E]) -> RowStats {
    let row_max = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let sum_exp = row.iter().map(|x| (x.to_f64() - row_max).exp()).sum();
    RowStats { row_max, sum_exp }
}

/// Whether every logit is −∞, so that [`MaskedRow`](crate::MaskedRow) decides.
pub(super) fn is_masked<E: Element>(row: &[E]) -> bool {
    row.iter().all(|x| x.to_f64() == f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    #[test]
    fn finite_rows() {
        let cases: &[(&str, &[f32], f64, f64)] = &[
            ("one class", &[-7.5], -7.5, 1.0),
            ("all equal", &[4.0; 5], 4.0, 5.0),
            ("masked class", &[1.0, -INF, 1.0], 1.0, 2.0),
            ("far below the maximum", &[1e6, -1e6], 1e6, 1.0),
            ("beyond f32 between them", &[f32::MAX, f32::MIN], f64::from(f32::MAX), 1.0),
            ("zeros of both signs", &[-0.0, 0.0], 0.0, 2.0),
        ];
        for &(name, row, row_max, sum_exp) in cases {
            let stats = row_stats(row);
            assert_eq!((stats.row_max, stats.sum_exp), (row_max, sum_exp), "{name}");
        }
    }

    #[test]
    fn special_rows_have_a_nan_sum() {
        let cases: &[(&str, &[f32], bool)] = &[
            ("NaN first", &[NAN, 1.0], false),
            ("NaN last", &[1.0, NAN], false),
            ("only NaN", &[NAN], false),
            ("+∞", &[1.0, INF], false),
            ("+∞ and −∞", &[INF, -INF], false),
            ("NaN among −∞", &[-INF, NAN], false),
            ("all −∞", &[-INF, -INF], true),
        ];
        for &(name, row, masked) in cases {
            assert!(row_stats(row).sum_exp.is_nan(), "{name}");
            assert_eq!(is_masked(row), masked, "{name}");
        }
    }
}
