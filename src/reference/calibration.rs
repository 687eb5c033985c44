//! Temperature calibration: the loss as a function of the temperature, and the temperature that makes it smallest.

use super::{argmax_row, log_softmax_row};
use crate::element::Element;
use crate::error::Result;
use crate::options::{CalibratorOptions, SoftmaxOptions};
use crate::shape::Shape;

/// The largest |ln β| that a calibration considers, with β the inverse of the temperature.
pub const MOST_LN_BETA: f64 = 10.0;

/// The sums over a row that give its loss at some inverse temperatures β, and the derivatives of the loss in β. See
/// [`row_moments`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RowMoments {
    /// The largest logit, before a cap. NaN, +∞ or −∞ if the row is special, and then there are no sums.
    pub row_max: f64,
    /// The class with the largest logit, the lowest among equals.
    pub argmax: u32,
    /// For each β, Σ e, Σ d·e and Σ d²·e, with the distances d_j = max s − s_j and e_j = exp(−β·d_j).
    pub sums: Vec<[f64; 3]>,
}

/// The moments of one row (cols,) at these β. With the target y, the row's loss is `ln Σ e + β·d_y`, its derivative in β
/// `d_y − Σ d·e / Σ e`, and its second derivative the variance of d, `Σ d²·e / Σ e − (Σ d·e / Σ e)²`, which is never
/// below 0: the loss is convex in β.
pub fn row_moments<E: Element>(row: &[E], softcap: Option<f32>, betas: &[f64]) -> RowMoments {
    let logits: Vec<f64> = row.iter().map(|x| x.to_f64()).collect();
    let argmax = argmax_row(row);
    let row_max = match logits.iter().find(|x| x.is_nan()) {
        Some(&nan) => nan,
        None => logits.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    if !row_max.is_finite() {
        return RowMoments { row_max, argmax, sums: vec![[f64::NAN; 3]; betas.len()] };
    }
    let base = capped(row_max, softcap);
    let distances: Vec<f64> =
        logits.iter().filter(|&&x| x != f64::NEG_INFINITY).map(|&x| base - capped(x, softcap)).collect();
    let sums_at = |&beta: &f64| {
        let terms = distances.iter().map(|&d| (d, (-beta * d).exp())).filter(|&(_, e)| e > 0.0);
        terms
            .fold([0.0; 3], |[zeroth, first, second], (d, e)| [zeroth + e, first + d * e, second + d * d * e])
    };
    RowMoments { row_max, argmax, sums: betas.iter().map(sums_at).collect() }
}

/// A logit after the cap.
pub(crate) fn capped(x: f64, softcap: Option<f32>) -> f64 {
    softcap.map(f64::from).map_or(x, |cap| cap * (x / cap).tanh())
}

/// The temperature at which the mean loss of logits (rows, cols) is smallest, for class targets (rows,), by bisection: the
/// loss is convex in β = 1/T. From e^−10 to e^10; either of these if the loss still falls there. Rows whose target is
/// ignored, and rows whose loss is not finite, do not count. NaN if no row counts.
///
/// # Errors
/// Those of [`Shape::check`]; [`Error::Length`](crate::Error::Length).
pub fn temperature<E: Element>(
    logits: &[E],
    targets: &[i32],
    shape: Shape,
    options: &CalibratorOptions,
) -> Result<f64> {
    shape.check_slice("logits", logits)?;
    if targets.len() != shape.rows {
        return Err(crate::Error::Length { what: "targets", found: targets.len(), needed: shape.rows });
    }
    let plain = SoftmaxOptions { softcap: options.softcap, ..Default::default() };
    let rows: Vec<(Vec<E>, f64)> = (0..shape.rows)
        .filter(|&row| targets[row] != options.ignore_index)
        .map(|row| (shape.row_vec(logits, row), targets[row] as usize))
        .filter(|(row, target)| log_softmax_row(row, &plain).get(*target).is_some_and(|p| p.is_finite()))
        .map(|(row, target)| {
            let top = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
            let distance = capped(top, options.softcap) - capped(row[target].to_f64(), options.softcap);
            (row, distance)
        })
        .collect();
    if rows.is_empty() {
        return Ok(f64::NAN);
    }
    let slope = |ln_beta: f64| -> f64 {
        let of_row = |(row, distance): &(Vec<E>, f64)| {
            let [zeroth, first, _] = row_moments(row, options.softcap, &[ln_beta.exp()]).sums[0];
            distance - first / zeroth
        };
        rows.iter().map(of_row).sum()
    };
    let (mut low, mut high) = (-MOST_LN_BETA, MOST_LN_BETA);
    if slope(low) >= 0.0 {
        return Ok((-low).exp());
    }
    // Where one class is far ahead, a slope below 0 may underflow to 0.
    if slope(high) <= 0.0 {
        return Ok((-high).exp());
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    Ok((-high).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: CalibratorOptions =
        CalibratorOptions { ignore_index: -100, softcap: None, sequences: None, bins: 15 };

    #[test]
    fn moments_are_the_derivatives_of_the_loss() {
        let row = [1.5f32, -0.25, 3.0, f32::NEG_INFINITY, 2.75];
        let loss = |beta: f64, softcap| {
            let options = SoftmaxOptions { temperature: (1.0 / beta) as f32, softcap, ..Default::default() };
            -log_softmax_row(&row, &options)[0]
        };
        for softcap in [None, Some(2.0f32)] {
            let distance = capped(3.0, softcap) - capped(1.5, softcap);
            // Inverse temperatures whose temperatures are exact in f32.
            for beta in [0.5, 1.0, 2.0] {
                let RowMoments { row_max, argmax, sums } = row_moments(&row, softcap, &[beta]);
                assert_eq!((row_max, argmax), (3.0, 2));
                let [zeroth, first, second] = sums[0];
                assert!((zeroth.ln() + beta * distance - loss(beta, softcap)).abs() < 1e-12);
                let mean = first / zeroth;
                let at = |beta: f64| {
                    let [zeroth, first, _] = row_moments(&row, softcap, &[beta]).sums[0];
                    (zeroth.ln() + beta * distance, distance - first / zeroth)
                };
                let step = 1e-5;
                let ((a, a_slope), (b, b_slope)) = (at(beta - step), at(beta + step));
                assert!(((b - a) / (2.0 * step) - (distance - mean)).abs() < 1e-8);
                assert!(((b_slope - a_slope) / (2.0 * step) - (second / zeroth - mean * mean)).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn special_rows_have_no_sums() {
        for (row, top) in [
            ([1.0, f32::NAN], f64::NAN),
            ([f32::INFINITY, 1.0], f64::INFINITY),
            ([f32::NEG_INFINITY; 2], f64::NEG_INFINITY),
        ] {
            let found = row_moments(&row, None, &[1.0]);
            assert!(found.row_max == top || (found.row_max.is_nan() && top.is_nan()), "{found:?}");
            assert!(found.sums[0].iter().all(|sum| sum.is_nan()), "{found:?}");
        }
    }

    /// [2, 0] three times and [0, 2], targets 0: p = sigmoid(2β) must be 3/4, so β = ln 3 / 2.
    #[test]
    fn a_temperature_worked_by_hand() {
        let logits = [2.0f32, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0];
        let shape = Shape::new(4, 2);
        let found = temperature(&logits, &[0; 4], shape, &PLAIN).unwrap();
        assert!((found - 2.0 / 3f64.ln()).abs() < 1e-12, "{found}");
        assert!((found - 1.820_478_5).abs() < 1e-7);
        // Every target its row's strict maximum; no better than chance; nothing to go by.
        assert_eq!(temperature(&logits, &[0, 0, 0, 1], shape, &PLAIN), Ok((-MOST_LN_BETA).exp()));
        assert_eq!(temperature(&logits, &[0, 1, 0, 0], shape, &PLAIN), Ok(MOST_LN_BETA.exp()));
        assert!(temperature(&logits, &[-100; 4], shape, &PLAIN).unwrap().is_nan());
        assert!(temperature(&logits, &[0; 3], shape, &PLAIN).is_err());
    }
}
