//! Softmax and log-softmax, forward and backward.

use super::distribution::{Distribution, RowKind};
use super::map_rows;
use crate::element::Element;
use crate::error::Result;
use crate::options::{MaskedRow, SoftmaxOptions, check_scale};
use crate::shape::Shape;

/// Probabilities of (rows, cols) logits, in the logits' layout with zeros in the padding between rows: `softmax_k =
/// exp((s_k − m) / T) / Σ_j exp((s_j − m) / T)`, with m = max s. s_k is the logit x_k, or `κ·tanh(x_k / κ)` with a
/// softcap κ (Gemma 2, arXiv:2408.00118).
///
/// The common factor exp(−m / T) cancels, so this is `exp(s_k / T) / Σ exp(s_j / T)` without its overflow; see
/// Blanchard, Higham and Higham, *Accurately computing the log-sum-exp and softmax functions*,
/// doi:10.1093/imanum/draa038. Edge cases: see [`softmax_row`].
///
/// # Errors
/// Those of [`Shape::check`] and [`SoftmaxOptions::check`], and [`Error::Length`](crate::Error::Length) if the length
/// of `logits` does not match `shape`.
pub fn softmax<E: Element>(logits: &[E], shape: Shape, options: &SoftmaxOptions) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    options.check()?;
    Ok(map_rows(shape, |row| softmax_row(&shape.row_vec(logits, row), options)))
}

/// Log-probabilities of (rows, cols) logits in nats, in the logits' layout with zeros in the padding between rows:
/// `log_softmax_k = (s_k − m) / T − ln Σ_j exp((s_j − m) / T)`, with m and s as in [`softmax()`].
///
/// Finite even if the probability underflows, unlike the logarithm of [`softmax()`]. The order matters:
/// `s_k / T − (m / T + ln z)` would round ln z away if m is large. Edge cases: see [`log_softmax_row`].
///
/// # Errors
/// Those of [`softmax()`].
pub fn log_softmax<E: Element>(logits: &[E], shape: Shape, options: &SoftmaxOptions) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    options.check()?;
    Ok(map_rows(shape, |row| log_softmax_row(&shape.row_vec(logits, row), options)))
}

/// The [`softmax()`] of one row (cols,).
///
/// A logit of −∞ has probability 0. A NaN or +∞ makes the whole row NaN. A row of only −∞ is also NaN, or 0 with
/// [`MaskedRow::Zero`]. A softcap changes none of this. An option outside its range makes the whole row NaN.
pub fn softmax_row<E: Element>(row: &[E], options: &SoftmaxOptions) -> Vec<f64> {
    if options.check().is_err() {
        return vec![f64::NAN; row.len()];
    }
    let distribution = Distribution::new(row, options.temperature, options.softcap);
    if distribution.kind() == RowKind::Masked && options.masked_row == MaskedRow::Zero {
        return vec![0.0; row.len()];
    }
    (0..row.len()).map(|class| distribution.prob(class)).collect()
}

/// The [`log_softmax`] of one row (cols,), in nats.
///
/// A logit of −∞ has log-probability −∞. A NaN or +∞ makes the whole row NaN. A row of only −∞ is also NaN, or −∞ with
/// [`MaskedRow::Zero`]. A softcap changes none of this. An option outside its range makes the whole row NaN.
pub fn log_softmax_row<E: Element>(row: &[E], options: &SoftmaxOptions) -> Vec<f64> {
    if options.check().is_err() {
        return vec![f64::NAN; row.len()];
    }
    let distribution = Distribution::new(row, options.temperature, options.softcap);
    if distribution.kind() == RowKind::Masked && options.masked_row == MaskedRow::Zero {
        return vec![f64::NEG_INFINITY; row.len()];
    }
    (0..row.len()).map(|class| distribution.log_prob(class)).collect()
}

/// The backward pass of softmax: the gradient with respect to the logits from the gradient `dprobs` with respect to the
/// probabilities. All three have the layout of `shape`, with zeros in the padding between rows: `dx_k = s · p_k · (dp_k
/// − Σ_j p_j·dp_j)`, because `∂p_j/∂x_k = s · p_j · ([j = k] − p_k)`. s is the factor of the logits: 1/T, or
/// attention's scale.
///
/// `probs` are the result of [`softmax()`] or [`masked_softmax`](super::masked_softmax()). With a softcap this is the
/// gradient with respect to the capped logits: the caller must multiply it by the cap's slope, 1 − tanh²(x_k / κ). Edge
/// cases: see [`softmax_backward_row`].
///
/// # Errors
/// Those of [`Shape::check`]; [`Error::Length`](crate::Error::Length) if the length of `probs` or `dprobs` does not
/// match `shape`; [`Error::InvalidOption`](crate::Error::InvalidOption) for a scale outside its range.
pub fn softmax_backward<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    probs: &[P],
    dprobs: &[D],
    shape: Shape,
    scale: f32,
) -> Result<Vec<f64>> {
    shape.check_slice("probs", probs)?;
    shape.check_slice("dprobs", dprobs)?;
    check_scale(scale)?;
    Ok(map_rows(shape, |row| {
        let dlogits = softmax_backward_row(&shape.row_vec(probs, row), &shape.row_vec(dprobs, row));
        times(dlogits, scale)
    }))
}

/// The backward pass of log-softmax: the gradient with respect to the logits from the gradient `dlog_probs` with
/// respect to the log-probabilities. All three have the layout of `shape`, with zeros in the padding between rows:
/// `dx_k = s · (d_k − p_k · Σ_j d_j)` with `p_k = exp(log_prob_k)`, because `∂ln p_j/∂x_k = s · ([j = k] − p_k)`. s is
/// the factor of the logits: 1/T.
///
/// `log_probs` are the result of [`log_softmax`]. With a softcap this is the gradient with respect to the capped
/// logits, as in [`softmax_backward`]. Edge cases: see [`log_softmax_backward_row`].
///
/// # Errors
/// Those of [`softmax_backward`], for `log_probs` and `dlog_probs`.
pub fn log_softmax_backward<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    log_probs: &[P],
    dlog_probs: &[D],
    shape: Shape,
    scale: f32,
) -> Result<Vec<f64>> {
    shape.check_slice("log_probs", log_probs)?;
    shape.check_slice("dlog_probs", dlog_probs)?;
    check_scale(scale)?;
    Ok(map_rows(shape, |row| {
        let dlogits =
            log_softmax_backward_row(&shape.row_vec(log_probs, row), &shape.row_vec(dlog_probs, row));
        times(dlogits, scale)
    }))
}

/// The [`softmax_backward`] of one row (cols,), at scale 1.
///
/// | the row | gradient |
/// | --- | --- |
/// | a probability or a `dprobs` that is NaN or infinite, or `dprobs` of another length | NaN throughout |
/// | a probability of 0 (a logit of −∞) | 0 there |
/// | only zeros ([`MaskedRow::Zero`]) | 0 throughout |
pub fn softmax_backward_row<P: Copy + Into<f64>, D: Copy + Into<f64>>(probs: &[P], dprobs: &[D]) -> Vec<f64> {
    let pairs = || probs.iter().zip(dprobs).map(|(&p, &dp)| (p.into(), dp.into()));
    let has_special = pairs().any(|(p, dp): (f64, f64)| !p.is_finite() || !dp.is_finite());
    if has_special || probs.len() != dprobs.len() {
        return vec![f64::NAN; probs.len()];
    }
    let mean: f64 = pairs().map(|(p, dp): (f64, f64)| p * dp).sum();
    pairs().map(|(p, dp)| p * (dp - mean)).collect()
}

/// The [`log_softmax_backward`] of one row (cols,), at scale 1.
///
/// | the row | gradient |
/// | --- | --- |
/// | a log-probability that is NaN or +∞, or a `dlog_probs` that is NaN or infinite | NaN throughout |
/// | `dlog_probs` of another length | NaN throughout |
/// | a log-probability of −∞ | the value of `dlog_probs` there: the probability is 0 |
/// | only −∞ ([`MaskedRow::Zero`]) | 0 throughout |
pub fn log_softmax_backward_row<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    log_probs: &[P],
    dlog_probs: &[D],
) -> Vec<f64> {
    let is_special = |log_p: f64| log_p.is_nan() || log_p == f64::INFINITY;
    if log_probs.iter().any(|&log_p| is_special(log_p.into()))
        || dlog_probs.iter().any(|&d| !d.into().is_finite())
        || log_probs.len() != dlog_probs.len()
    {
        return vec![f64::NAN; log_probs.len()];
    }
    if log_probs.iter().all(|&log_p| log_p.into() == f64::NEG_INFINITY) {
        return vec![0.0; log_probs.len()];
    }
    let sum: f64 = dlog_probs.iter().map(|&d| d.into()).sum();
    let pairs = log_probs.iter().zip(dlog_probs);
    pairs.map(|(&log_p, &d)| d.into() - log_p.into().exp() * sum).collect()
}

/// Applies the chain rule: the logits were multiplied by the scale first.
fn times(mut dlogits: Vec<f64>, scale: f32) -> Vec<f64> {
    dlogits.iter_mut().for_each(|dx| *dx *= f64::from(scale));
    dlogits
}

#[cfg(test)]
mod tests {
    use approx::{abs_diff_eq, assert_abs_diff_eq, assert_relative_eq};

    use super::*;
    use crate::error::Error;
    use crate::reference::testing::{GRID, grid_logits, same};

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const DEFAULT: SoftmaxOptions =
        SoftmaxOptions { masked_row: MaskedRow::Nan, temperature: 1.0, softcap: None };
    const ZERO: SoftmaxOptions = SoftmaxOptions { masked_row: MaskedRow::Zero, ..DEFAULT };

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
            assert_relative_eq!(probs[0], sigmoid, max_relative = 1e-15, epsilon = 0.0);
        }
    }

    #[test]
    fn rows_sum_to_one_and_logs_agree() {
        for (seed, cols) in [1, 2, 3, 7, 64, 1000].into_iter().enumerate() {
            let row = grid_logits(seed as u64, cols);
            let probs = softmax_row(&row, &DEFAULT);
            assert_abs_diff_eq!(probs.iter().sum::<f64>(), 1.0, epsilon = 1e-14);
            for (p, log_p) in probs.iter().zip(log_softmax_row(&row, &DEFAULT)) {
                assert_relative_eq!(*p, log_p.exp(), max_relative = 1e-13, epsilon = 0.0);
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
            let check = |options: &SoftmaxOptions| {
                let (p, log_p) = (softmax_row(row, options), log_softmax_row(row, options));
                assert!(same(&p, probs), "{name}: probs {p:?}, expected {probs:?}");
                assert!(same(&log_p, log_probs), "{name}: log_probs {log_p:?}, expected {log_probs:?}");
            };
            check(options);
            // The raw logits decide which rows are special.
            if row.iter().any(|x| x.is_infinite() || x.is_nan()) {
                check(&SoftmaxOptions { softcap: Some(2.0), temperature: 3.0, ..*options });
            }
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

    #[test]
    fn temperature_and_softcap() {
        // Computed by mpmath with 40 digits.
        let cases: [(f32, Option<f32>, [f64; 3]); 4] = [
            (2.0, None, [0.6170100906975968, 0.22698532736297286, 0.15600458193943034]),
            (0.5, None, [0.9780884609612482, 0.017914315052204, 0.003997223986547706]),
            (1.0, Some(2.0), [0.6164931122440028, 0.25416532914484424, 0.12934155861115298]),
            (2.0, Some(2.0), [0.47616126071163495, 0.30573706977354165, 0.21810166951482338]),
        ];
        for (temperature, softcap, expected) in cases {
            let options = SoftmaxOptions { temperature, softcap, ..DEFAULT };
            let probs = softmax_row(&[3.0f32, 1.0, 0.25], &options);
            assert_relative_eq!(probs[..], expected[..], max_relative = 1e-15);
            let log_probs = log_softmax_row(&[3.0f32, 1.0, 0.25], &options);
            assert_relative_eq!(log_probs[..], expected.map(f64::ln)[..], max_relative = 1e-14);
        }
    }

    #[test]
    fn the_class_axis_may_be_anywhere() {
        let (last, middle) = (Shape::new(6, 4), Shape::nchw(2, 4, 3).row_stride(13));
        let values = grid_logits(3, 24);
        let mut logits = vec![NAN; middle.len()];
        for (row, class) in (0..6).flat_map(|row| (0..4).map(move |class| (row, class))) {
            logits[middle.row_start(row) + 3 * class] = values[row * 4 + class];
        }
        let of_last =
            [softmax(&values, last, &DEFAULT), log_softmax(&values, last, &DEFAULT)].map(Result::unwrap);
        let found = [softmax(&logits, middle, &DEFAULT), log_softmax(&logits, middle, &DEFAULT)];
        for (found, expected) in found.map(Result::unwrap).iter().zip(&of_last) {
            for row in 0..6 {
                assert_eq!(middle.row_vec(found, row), last.row_vec(expected, row), "row {row}");
            }
            assert_eq!((found.len(), found[12]), (25, 0.0), "padding");
        }
        let backward = softmax_backward(&logits, &logits, middle, 0.5).unwrap();
        let log_backward = log_softmax_backward(&logits, &logits, middle, 0.5).unwrap();
        for row in 0..6 {
            let of_row = last.row_vec(&values, row);
            let halved = |row: Vec<f64>| row.iter().map(|dx| dx / 2.0).collect::<Vec<_>>();
            assert_eq!(middle.row_vec(&backward, row), halved(softmax_backward_row(&of_row, &of_row)));
            assert_eq!(
                middle.row_vec(&log_backward, row),
                halved(log_softmax_backward_row(&of_row, &of_row))
            );
        }
        assert_eq!((backward[12], log_backward[12]), (0.0, 0.0), "padding");
    }

    /// Compares the gradient of Σ dy_k · y_k with finite differences, where y are probabilities or log-probabilities.
    #[test]
    fn backward_is_the_derivative() {
        for (seed, cols) in [1, 2, 3, 17].into_iter().enumerate() {
            let (row, dy) = (grid_logits(seed as u64, cols), grid_logits(100 + seed as u64, cols));
            // The scale is the exact reciprocal.
            for temperature in [0.5, 1.0, 4.0] {
                let options = SoftmaxOptions { temperature, ..DEFAULT };
                let shape = Shape::new(1, cols);
                type Forward = fn(&[f32], &SoftmaxOptions) -> Vec<f64>;
                type Backward = fn(&[f64], &[f32], Shape, f32) -> Result<Vec<f64>>;
                let both: [(Forward, Backward); 2] =
                    [(softmax_row, softmax_backward), (log_softmax_row, log_softmax_backward)];
                for (which, (forward, backward)) in both.into_iter().enumerate() {
                    let gradient = backward(&forward(&row, &options), &dy, shape, 1.0 / temperature).unwrap();
                    for at in 0..cols {
                        let moved = |steps: f32| -> f64 {
                            let mut row = row.clone();
                            row[at] += steps * 8.0 * GRID;
                            forward(&row, &options).iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum()
                        };
                        let difference = |steps| moved(steps) - moved(-steps);
                        let sum = 45.0 * difference(1.0) - 9.0 * difference(2.0) + difference(3.0);
                        let expected = sum / (60.0 * 8.0 * f64::from(GRID));
                        let error = (gradient[at] - expected).abs();
                        let case = format!("{cols} cols, T = {temperature}, {which}, logit {at}");
                        assert!(
                            error <= 3e-11,
                            "{case}: {}, expected {expected}, off by {error:e}",
                            gradient[at]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn backward_by_hand_and_at_the_edges() {
        const N: f64 = f64::NAN;
        const NEG: f64 = f64::NEG_INFINITY;
        // Σ p·dp = 1: p·(dp − 1).
        assert_eq!(softmax_backward_row(&[0.5, 0.25, 0.25], &[1.0, 2.0, 0.0f32]), [0.0, 0.25, -0.25]);
        assert_eq!(softmax_backward_row(&[half::f16::ONE], &[half::bf16::ONE]), [0.0]);
        // Σ d = 4: d − 4·p.
        let log_probs = [0.5f64, 0.5, 0.0].map(f64::ln);
        assert_eq!(log_softmax_backward_row(&log_probs, &[3.0f32, 0.5, 0.5]), [1.0, -1.5, 0.5]);
        type Case<'a> = (&'a str, &'a [f64], &'a [f64], &'a [f64]);
        let cases: &[Case] = &[
            ("a NaN row", &[N; 2], &[1.0, 2.0], &[N; 2]),
            ("a NaN gradient", &[0.5, 0.5], &[N, 1.0], &[N; 2]),
            ("an infinite gradient", &[0.5, 0.5], &[f64::INFINITY, 1.0], &[N; 2]),
            ("a NaN gradient of a row of zeros", &[0.0; 2], &[N, 1.0], &[N; 2]),
            ("a row of zeros", &[0.0; 2], &[3.0, 1.0], &[0.0; 2]),
            ("a class of 0", &[0.0, 1.0], &[3.0, 1.0], &[0.0, 0.0]),
            ("no class", &[], &[], &[]),
        ];
        for (name, probs, dprobs, expected) in cases {
            let found = softmax_backward_row(probs, dprobs);
            assert!(same(&found, expected), "{name}: {found:?}, expected {expected:?}");
        }
        let log_cases: &[Case] = &[
            ("a NaN row", &[N; 2], &[1.0, 2.0], &[N; 2]),
            ("a NaN gradient", &[0.0, NEG], &[1.0, N], &[N; 2]),
            ("a row of −∞", &[NEG; 2], &[3.0, 1.0], &[0.0; 2]),
            ("a NaN gradient of a row of −∞", &[NEG; 2], &[N, 1.0], &[N; 2]),
            ("an infinite gradient", &[0.0, NEG], &[1.0, NEG], &[N; 2]),
            ("a log-probability of +∞", &[0.0, f64::INFINITY], &[1.0, 2.0], &[N; 2]),
            ("a class of −∞", &[NEG, 0.0], &[3.0, 1.0], &[3.0, -3.0]),
            ("no class", &[], &[], &[]),
        ];
        for (name, log_probs, dlog_probs, expected) in log_cases {
            let found = log_softmax_backward_row(log_probs, dlog_probs);
            assert!(same(&found, expected), "{name}: {found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn refusals() {
        let shape = Shape::new(2, 3);
        let cold = SoftmaxOptions { temperature: 0.0, ..DEFAULT };
        let flat = SoftmaxOptions { softcap: Some(-1.0), ..DEFAULT };
        for options in [cold, flat] {
            let refused = Err(options.check().unwrap_err());
            assert_eq!(softmax(&[0.0f32; 6], shape, &options), refused);
            assert_eq!(log_softmax(&[0.0f32; 6], shape, &options), refused);
        }
        let length = |what| Err(Error::Length { what, found: 5, needed: 6 });
        assert_eq!(softmax_backward(&[0.0; 5], &[0.0; 6], shape, 1.0), length("probs"));
        assert_eq!(softmax_backward(&[0.0; 6], &[0.0; 5], shape, 1.0), length("dprobs"));
        assert_eq!(log_softmax_backward(&[0.0; 5], &[0.0; 6], shape, 1.0), length("log_probs"));
        assert_eq!(log_softmax_backward(&[0.0; 6], &[0.0; 5], shape, 1.0), length("dlog_probs"));
        let zero = Err(check_scale(0.0).unwrap_err());
        assert_eq!(softmax_backward(&[0.0; 6], &[0.0; 6], shape, 0.0), zero);
        assert_eq!(log_softmax_backward(&[0.0; 6], &[0.0; 6], shape, 0.0), zero);
    }
}
