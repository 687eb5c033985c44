//! The logarithm of the sum of exponentials.

use super::distribution::Distribution;
use crate::element::Element;
use crate::error::Result;
use crate::shape::Shape;

/// Log-sum-exp of each row of (rows, cols) logits, in nats, (rows,): `m + ln Σ_j exp(x_j − m)`, m = max x.
///
/// Equal to `ln Σ_j exp(x_j)` without its overflow; see Blanchard, Higham and Higham, *Accurately computing the
/// log-sum-exp and softmax functions*, doi:10.1093/imanum/draa038. Do not compute a loss as `lse − x_y`: if m is large,
/// the logarithm is already rounded away in lse; see [`cross_entropy`](super::cross_entropy). Edge cases: see
/// [`logsumexp_row`].
///
/// # Errors
/// Those of [`Shape::check`], and [`Error::Length`](crate::Error::Length) if the length of `logits` does not match
/// `shape`.
pub fn logsumexp<E: Element>(logits: &[E], shape: Shape) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    Ok((0..shape.rows).map(|row| logsumexp_row(&shape.row_vec(logits, row))).collect())
}

/// The [`logsumexp`](fn@logsumexp) of one row (cols,), in nats.
///
/// As in `torch.logsumexp`, special values give the limit: −∞ if every logit is −∞, +∞ if one is +∞; NaN if one is NaN.
pub fn logsumexp_row<E: Element>(row: &[E]) -> f64 {
    Distribution::new(row, 1.0, None).lse()
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::error::Error;
    use crate::reference::testing::grid_logits;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;

    #[test]
    fn edge_cases() {
        let cases: &[(&str, &[f32], f64)] = &[
            ("one class", &[-3.0], -3.0),
            ("two equal", &[0.0, 0.0], 2f64.ln()),
            ("masked class", &[0.0, -INF, 0.0], 2f64.ln()),
            ("all masked", &[-INF, -INF], f64::NEG_INFINITY),
            ("+∞", &[1.0, INF], f64::INFINITY),
            ("+∞ and −∞", &[-INF, INF], f64::INFINITY),
            ("+∞ twice", &[INF, INF], f64::INFINITY),
            ("NaN", &[1.0, NAN], f64::NAN),
            ("NaN and +∞", &[INF, NAN], f64::NAN),
            ("NaN among −∞", &[NAN, -INF], f64::NAN),
            ("exp overflows f64", &[1000.0, 1000.0], 1000.0 + 2f64.ln()),
            ("exp underflows f64", &[-1000.0, -1000.0], -1000.0 + 2f64.ln()),
            ("ends of f32", &[f32::MAX, f32::MIN], f64::from(f32::MAX)),
        ];
        for &(name, row, expected) in cases {
            let lse = logsumexp_row(row);
            assert!(
                lse == expected || (lse.is_nan() && expected.is_nan()),
                "{name}: {lse}, expected {expected}"
            );
        }
    }

    #[test]
    fn small_rows_match_the_definition() {
        for seed in 0..20 {
            let row = grid_logits(seed, 1 + seed as usize * 5);
            let direct = row.iter().map(|&x| f64::from(x).exp()).sum::<f64>().ln();
            assert_relative_eq!(logsumexp_row(&row), direct, max_relative = 1e-13, epsilon = 1e-13);
        }
    }

    #[test]
    fn batches() {
        let shape = Shape::new(2, 2).row_stride(3);
        assert_eq!(logsumexp(&[0.0, 0.0, NAN, 5.0, -INF], shape), Ok(vec![2f64.ln(), 5.0]));
        assert_eq!(logsumexp::<f32>(&[], Shape::new(0, 3)), Ok(vec![]));
        let side_by_side = Shape::nchw(1, 2, 3).row_stride(7);
        assert_eq!(
            logsumexp(&[0.0, 7.0, -INF, 0.0, -INF, -INF], side_by_side),
            Ok(vec![2f64.ln(), 7.0, f64::NEG_INFINITY])
        );
        let short = Err(Error::Length { what: "logits", found: 4, needed: 5 });
        assert_eq!(logsumexp(&[0.0f32; 4], shape), short);
    }
}
