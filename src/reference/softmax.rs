//! Softmax and its logarithm.

use super::map_rows;
use super::row_stats::{is_masked, row_stats};
use crate::element::Element;
use crate::error::Result;
use crate::options::{MaskedRow, SoftmaxOptions};
use crate::shape::Shape;

/// Probabilities of (rows, cols) logits, laid out like the logits (zeros in the padding between rows):
/// `softmax_k = exp(x_k − m) / Σ_j exp(x_j − m)`, with m = max x.
///
/// The common factor exp(−m) cancels, so this is `exp(x_k) / Σ exp(x_j)` without its overflow; see Blanchard,
/// Higham and Higham, *Accurately computing the log-sum-exp and softmax functions*,
/// doi:10.1093/imanum/draa038. Edge cases: see [`softmax_row`].
///
/// # Errors
/// Those of [`Shape::check`], and [`Error::Length`](crate::Error::Length) where `logits` has another length
/// than `shape`.
pub fn softmax<E: Element>(logits: &[E], shape: Shape, options: &SoftmaxOptions) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    Ok(map_rows(logits, shape, |_, row| softmax_row(row, options)))
}

/// Log-probabilities of (rows, cols) logits in nats, laid out like the logits (zeros in the padding between
/// rows): `log_softmax_k = (x_k − m) − ln Σ_j exp(x_j − m)`, with m = max x.
///
/// Finite also where the probability underflows, unlike the logarithm of [`softmax()`]. The order matters:
/// `x_k − (m + ln z)` would round ln z away where m is large. Edge cases: see [`log_softmax_row`].
///
/// # Errors
/// Those of [`softmax()`].
pub fn log_softmax<E: Element>(logits: &[E], shape: Shape, options: &SoftmaxOptions) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    Ok(map_rows(logits, shape, |_, row| log_softmax_row(row, options)))
}

/// [`softmax()`] of one row (cols,).
///
/// A logit of −∞ has probability 0. A NaN or +∞ makes the whole row NaN; so do logits that are −∞ throughout,
/// which [`MaskedRow::Zero`] makes 0.
pub fn softmax_row<E: Element>(row: &[E], options: &SoftmaxOptions) -> Vec<f64> {
    if options.masked_row == MaskedRow::Zero && is_masked(row) {
        return vec![0.0; row.len()];
    }
    let stats = row_stats(row);
    row.iter().map(|x| (x.to_f64() - stats.row_max).exp() / stats.sum_exp).collect()
}

/// [`log_softmax`] of one row (cols,), in nats.
///
/// A logit of −∞ has log-probability −∞. A NaN or +∞ makes the whole row NaN; so do logits that are −∞
/// throughout, which [`MaskedRow::Zero`] makes −∞.
pub fn log_softmax_row<E: Element>(row: &[E], options: &SoftmaxOptions) -> Vec<f64> {
    if options.masked_row == MaskedRow::Zero && is_masked(row) {
        return vec![f64::NEG_INFINITY; row.len()];
    }
    let stats = row_stats(row);
    row.iter().map(|x| (x.to_f64() - stats.row_max) - stats.sum_exp.ln()).collect()
}

#[cfg(test)]
mod tests {
    use approx::{abs_diff_eq, assert_abs_diff_eq, assert_relative_eq};

    use super::*;
    use crate::error::Error;
    use crate::reference::testing::{grid_logits, same};

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const DEFAULT: SoftmaxOptions = SoftmaxOptions { masked_row: MaskedRow::Nan };
    const ZERO: SoftmaxOptions = SoftmaxOptions { masked_row: MaskedRow::Zero };

    #[test]
    fn worked_answers() {
        let cases: &[(&[f32], &[f64])] = &[
            (&[3.0, 1.0, 0.2], &[0.8360, 0.1131, 0.0508]),
            (&[1000.0, 999.0, 998.0], &[0.6652, 0.2447, 0.0900]),
            (&[4.5, -1.2, 0.8], &[0.9727, 0.0033, 0.0240]),
            (&[11.0, 10.0], &[0.7311, 0.2689]),
            (&[1.0, 0.0], &[0.7311, 0.2689]),
        ];
        for &(row, expected) in cases {
            assert_abs_diff_eq!(softmax_row(row, &DEFAULT)[..], *expected, epsilon = 5e-5);
        }
        let three_digits = softmax_row(&[2.0, 1.0, 0.5, -1.0], &DEFAULT);
        assert_abs_diff_eq!(three_digits[..], [0.609, 0.224, 0.136, 0.030], epsilon = 5e-4);
    }

    #[test]
    fn the_comparison_fails_on_a_wrong_answer() {
        let probs = softmax_row(&[3.0f32, 1.0, 0.2], &DEFAULT);
        for (name, wrong) in [
            ("one digit", [0.8360, 0.1132, 0.0508]),
            ("swapped", [0.1131, 0.8360, 0.0508]),
            ("zeros", [0.0; 3]),
            ("NaN", [f64::NAN; 3]),
        ] {
            assert!(!abs_diff_eq!(probs[..], wrong, epsilon = 5e-5), "{name}");
        }
        assert!(!same(&probs, &[]) && !same(&probs, &[f64::NAN; 3]) && !same(&[f64::NAN; 3], &probs));
    }

    #[test]
    fn two_classes_are_a_sigmoid_of_the_difference() {
        for difference in [-40.0f32, -3.0, -0.5, 0.0, 0.25, 2.0, 40.0] {
            let sigmoid = 1.0 / (1.0 + (-f64::from(difference)).exp());
            let probs = softmax_row(&[difference + 1.5, 1.5], &DEFAULT);
            assert_relative_eq!(probs[0], sigmoid, max_relative = 1e-15);
        }
    }

    #[test]
    fn rows_sum_to_one_and_logs_agree() {
        for (seed, cols) in [1, 2, 3, 7, 64, 1000].into_iter().enumerate() {
            let row = grid_logits(seed as u64, cols);
            let probs = softmax_row(&row, &DEFAULT);
            assert_abs_diff_eq!(probs.iter().sum::<f64>(), 1.0, epsilon = 1e-14);
            for (p, log_p) in probs.iter().zip(log_softmax_row(&row, &DEFAULT)) {
                assert_relative_eq!(*p, log_p.exp(), max_relative = 1e-13);
            }
        }
    }

    #[test]
    fn an_exact_shift_changes_no_bit() {
        let row = grid_logits(7, 33);
        for shift in [-4096.0f32, -1.0, 1.0, 4096.0] {
            let shifted: Vec<f32> = row.iter().map(|x| x + shift).collect();
            assert_eq!(softmax_row(&row, &DEFAULT), softmax_row(&shifted, &DEFAULT), "{shift}");
            assert_eq!(log_softmax_row(&row, &DEFAULT), log_softmax_row(&shifted, &DEFAULT), "{shift}");
        }
    }

    #[test]
    fn permuted_classes_permute_the_answer() {
        let row = grid_logits(8, 50);
        let reversed: Vec<f32> = row.iter().rev().copied().collect();
        let mut probs = softmax_row(&reversed, &DEFAULT);
        probs.reverse();
        assert_relative_eq!(probs[..], softmax_row(&row, &DEFAULT)[..], max_relative = 1e-14);
    }

    #[test]
    fn edge_cases() {
        const N: f64 = f64::NAN;
        const NEG: f64 = f64::NEG_INFINITY;
        let ln2 = 2f64.ln();
        // name, row, options, probabilities, log-probabilities
        type Case<'a> = (&'a str, &'a [f32], SoftmaxOptions, &'a [f64], &'a [f64]);
        let cases: &[Case] = &[
            ("one class", &[-3.0], DEFAULT, &[1.0], &[0.0]),
            ("masked class", &[1.0, -INF, 1.0], DEFAULT, &[0.5, 0.0, 0.5], &[-ln2, NEG, -ln2]),
            ("all but one masked", &[-INF, 5.0], DEFAULT, &[0.0, 1.0], &[NEG, 0.0]),
            ("all masked", &[-INF; 2], DEFAULT, &[N; 2], &[N; 2]),
            ("all masked, zero", &[-INF; 2], ZERO, &[0.0; 2], &[NEG; 2]),
            ("one class, masked, zero", &[-INF], ZERO, &[0.0], &[NEG]),
            ("NaN", &[1.0, NAN], DEFAULT, &[N; 2], &[N; 2]),
            ("NaN among −∞, zero", &[-INF, NAN], ZERO, &[N; 2], &[N; 2]),
            ("+∞", &[1.0, INF, -INF], DEFAULT, &[N; 3], &[N; 3]),
            ("+∞ throughout, zero", &[INF; 2], ZERO, &[N; 2], &[N; 2]),
            ("exp(−1000) underflows", &[0.0, 1000.0], DEFAULT, &[0.0, 1.0], &[-1000.0, 0.0]),
            ("ends of f32", &[3.4e38, -3.4e38], DEFAULT, &[1.0, 0.0], &[0.0, -2.0 * f64::from(3.4e38f32)]),
            ("no class", &[], DEFAULT, &[], &[]),
        ];
        for (name, row, options, probs, log_probs) in cases {
            let (p, log_p) = (softmax_row(row, options), log_softmax_row(row, options));
            assert!(same(&p, probs), "{name}: probs {p:?}, expected {probs:?}");
            assert!(same(&log_p, log_probs), "{name}: log_probs {log_p:?}, expected {log_probs:?}");
        }
    }

    #[test]
    fn a_special_row_leaves_the_others_alone_and_padding_is_zero() {
        let shape = Shape::new(3, 2).row_stride(3);
        // The padding holds NaN: it must not be read.
        let logits = [0.0, 0.0, NAN, INF, 0.0, NAN, 1.0, 1.0];
        let probs = softmax(&logits, shape, &DEFAULT).unwrap();
        assert!(same(&probs, &[0.5, 0.5, 0.0, f64::NAN, f64::NAN, 0.0, 0.5, 0.5]), "{probs:?}");
        let log_probs = log_softmax(&logits, shape, &DEFAULT).unwrap();
        assert_eq!((log_probs[2], log_probs[5]), (0.0, 0.0));
        assert_eq!(log_probs[6], -2f64.ln());
    }

    #[test]
    fn no_rows_and_wrong_lengths() {
        assert_eq!(softmax::<f32>(&[], Shape::new(0, 3), &DEFAULT), Ok(vec![]));
        assert_eq!(log_softmax::<f32>(&[], Shape::new(0, 3), &DEFAULT), Ok(vec![]));
        let short = Err(Error::Length { what: "logits", found: 5, needed: 6 });
        assert_eq!(softmax(&[0.0f32; 5], Shape::new(2, 3), &DEFAULT), short);
        assert_eq!(log_softmax(&[0.0f32; 5], Shape::new(2, 3), &DEFAULT), short);
        assert_eq!(softmax(&[0.0f32; 0], Shape::new(2, 0), &DEFAULT), Err(Error::NoCols { rows: 2 }));
    }
}
