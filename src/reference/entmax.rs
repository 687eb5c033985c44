//! α-entmax and sparsemax.

use super::map_rows;
use crate::element::Element;
use crate::error::Result;
use crate::options::{EntmaxBackwardOptions, EntmaxOptions, MaskedRow};
use crate::shape::Shape;

/// Probabilities of (rows, cols) logits, in the logits' layout with zeros in the padding between rows: `p_k = ((α − 1)·x_k −
/// τ)₊^(1/(α − 1))`, with the τ for which they sum to 1 (Peters, Niculae, Martins 2019, *Sparse sequence-to-sequence
/// models*, arXiv:1905.05702). With α = 2 this is sparsemax (Martins and Astudillo 2016, arXiv:1602.02068).
///
/// Most probabilities are exactly 0: those of the classes below τ / (α − 1). Edge cases: see [`entmax_row`].
///
/// # Errors
/// Those of [`Shape::check`] and [`EntmaxOptions::check`], and [`Error::Length`](crate::Error::Length) if the length of
/// `logits` does not match `shape`.
pub fn entmax<E: Element>(logits: &[E], shape: Shape, options: &EntmaxOptions) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    options.check()?;
    Ok(map_rows(shape, |row| entmax_row(&shape.row_vec(logits, row), options)))
}

/// The [`entmax()`] of one row (cols,).
///
/// A logit of −∞ has probability 0. A NaN or +∞ makes the whole row NaN. A row of only −∞ is also NaN, or 0 with
/// [`MaskedRow::Zero`]. An option outside its range makes the whole row NaN.
pub fn entmax_row<E: Element>(row: &[E], options: &EntmaxOptions) -> Vec<f64> {
    let power = 1.0 / (f64::from(options.alpha) - 1.0);
    let margins = entmax_margins_row(row, options);
    if margins.iter().all(|&margin| margin == f64::NEG_INFINITY) {
        let fill = if options.masked_row == MaskedRow::Zero { 0.0 } else { f64::NAN };
        return vec![fill; row.len()];
    }
    margins.iter().map(|&margin| if margin <= 0.0 { 0.0 } else { margin.powf(power) }).collect()
}

/// How far each class of a row (cols,) is above the threshold: (α − 1)·x_k − τ. Its probability is this to the power of
/// 1 / (α − 1), or 0 if this is negative. −∞ where the logit is; NaN throughout where [`entmax_row`] is for a NaN, a +∞ or
/// an option.
pub fn entmax_margins_row<E: Element>(row: &[E], options: &EntmaxOptions) -> Vec<f64> {
    if options.check().is_err() {
        return vec![f64::NAN; row.len()];
    }
    margins(&row.iter().map(|x| x.to_f64()).collect::<Vec<f64>>(), f64::from(options.alpha))
}

/// The margins for any α above 1. Shifting all logits shifts τ, so that the maximum may be 0. Then τ is at least −1, where the
/// maximum alone has a probability of 1, and below 0; and a class with (α − 1)·x ≤ −1 is below it.
fn margins(row: &[f64], alpha: f64) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if row.iter().any(|x| x.is_nan()) || max == f64::INFINITY {
        return vec![f64::NAN; row.len()];
    }
    if max == f64::NEG_INFINITY {
        return row.to_vec();
    }
    let scaled: Vec<f64> = row.iter().map(|x| (alpha - 1.0) * (x - max)).collect();
    let near: Vec<f64> = scaled.iter().copied().filter(|&s| s > -1.0).collect();
    let sum = |tau: f64| near.iter().map(|s| (s - tau).max(0.0).powf(1.0 / (alpha - 1.0))).sum::<f64>();
    // The sum falls as τ rises. −τ is halved by its bits, because it may be tiny.
    let (mut low, mut high) = (0f64.to_bits(), 1f64.to_bits());
    while high - low > 1 {
        let middle = low.midpoint(high);
        if sum(-f64::from_bits(middle)) < 1.0 { low = middle } else { high = middle }
    }
    let tau = -f64::from_bits(high);
    scaled.iter().map(|s| s - tau).collect()
}

/// The backward pass of entmax: the gradient with respect to the logits from the gradient `dprobs` with respect to the
/// probabilities `probs`. All three have the layout of `shape`, with zeros in the padding between rows: `dx_k = g_k · (dp_k
/// − Σ_j g_j·dp_j / Σ_j g_j)`, with `g_k = p_k^(2 − α)` where p_k is above 0, and 0 elsewhere (Peters, Niculae, Martins
/// 2019, proposition 2). Edge cases: see [`entmax_backward_row`].
///
/// # Errors
/// Those of [`Shape::check`] and [`EntmaxBackwardOptions::check`]; [`Error::Length`](crate::Error::Length) if the length of `probs` or
/// `dprobs` does not match `shape`.
pub fn entmax_backward<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    probs: &[P],
    dprobs: &[D],
    shape: Shape,
    options: &EntmaxBackwardOptions,
) -> Result<Vec<f64>> {
    shape.check_slice("probs", probs)?;
    shape.check_slice("dprobs", dprobs)?;
    options.check()?;
    Ok(map_rows(shape, |row| {
        entmax_backward_row(&shape.row_vec(probs, row), &shape.row_vec(dprobs, row), options)
    }))
}

/// The [`entmax_backward`] of one row (cols,).
///
/// | the row | gradient |
/// | --- | --- |
/// | a probability or a `dprobs` that is NaN or infinite, `dprobs` of another length, or an option outside its range | NaN throughout |
/// | a probability of 0 (or below) | 0 there |
/// | only zeros ([`MaskedRow::Zero`]) | 0 throughout |
pub fn entmax_backward_row<P: Copy + Into<f64>, D: Copy + Into<f64>>(
    probs: &[P],
    dprobs: &[D],
    options: &EntmaxBackwardOptions,
) -> Vec<f64> {
    let pairs: Vec<(f64, f64)> = probs.iter().zip(dprobs).map(|(&p, &dp)| (p.into(), dp.into())).collect();
    let is_sound = pairs.iter().all(|(p, dp)| p.is_finite() && dp.is_finite());
    if !is_sound || probs.len() != dprobs.len() || options.check().is_err() {
        return vec![f64::NAN; probs.len()];
    }
    let slope = |p: f64| if p > 0.0 { p.powf(2.0 - f64::from(options.alpha)) } else { 0.0 };
    let total: f64 = pairs.iter().map(|&(p, _)| slope(p)).sum();
    if total == 0.0 {
        return vec![0.0; probs.len()];
    }
    let mean = pairs.iter().map(|&(p, dp)| slope(p) * dp).sum::<f64>() / total;
    pairs.iter().map(|&(p, dp)| slope(p) * (dp - mean)).collect()
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};

    use super::*;
    use crate::error::Error;
    use crate::options::SoftmaxOptions;
    use crate::reference::softmax_row;
    use crate::reference::testing::{GRID, grid_logits, same};

    const INF: f32 = f32::INFINITY;
    const N: f64 = f64::NAN;

    fn of(alpha: f32) -> EntmaxOptions {
        EntmaxOptions { alpha, ..Default::default() }
    }

    #[test]
    fn worked_answers() {
        for (row, alpha, expected) in [
            (&[1.0f32, 0.5, -1.0][..], 2.0, &[0.75, 0.25, 0.0][..]),
            (&[1.0, 0.5, -1.0], 1.5, &[0.673992636, 0.326007364, 0.0]),
            (&[1.0, 0.5, -1.0], 1.25, &[0.631466617, 0.345057624, 0.023475759]),
            (&[2.0, 1.0, 0.0, -1.0], 2.0, &[1.0, 0.0, 0.0, 0.0]),
            (&[2.0, 1.0, 0.0, -1.0], 1.5, &[0.830718914, 0.169281086, 0.0, 0.0]),
            // θ² + θ'² = 1 at α = 3 is √θ + √(θ − u) = 1: of u = 0.5, θ = 0.5625.
            (&[0.25, 0.0], 3.0, &[0.75, 0.25]),
        ] {
            assert_abs_diff_eq!(entmax_row(row, &of(alpha))[..], *expected, epsilon = 1e-9);
        }
        for (alpha, expected) in [(2.0, [-0.5, 0.5, 0.0]), (1.5, [-0.336759941, 0.336759941, 0.0])] {
            let probs = entmax_row(&[1.0f32, 0.5, -1.0], &of(alpha));
            let found = entmax_backward_row(&probs, &[1.0, 2.0, 3.0], &EntmaxBackwardOptions { alpha });
            assert_abs_diff_eq!(found[..], expected, epsilon = 1e-9);
        }
    }

    #[test]
    fn properties() {
        for (seed, len, alpha) in
            [(1, 50, 1.5), (2, 50, 2.0), (3, 50, 1.2), (4, 50, 3.0), (5, 1, 1.5), (6, 2, 2.5)]
        {
            let row = grid_logits(seed, len);
            let probs = entmax_row(&row, &of(alpha));
            assert_abs_diff_eq!(probs.iter().sum::<f64>(), 1.0, epsilon = 1e-12);
            let shifted: Vec<f32> = row.iter().map(|x| x + 512.0).collect();
            assert!(same(&entmax_row(&shifted, &of(alpha)), &probs), "a shift changes nothing");
            // Larger logits have larger probabilities, and zeros are below the threshold.
            let margins = entmax_margins_row(&row, &of(alpha));
            for (&p, &margin) in probs.iter().zip(&margins) {
                assert_eq!(p > 0.0, margin > 0.0);
            }
            let equal = entmax_row(&vec![0.5f32; len], &of(alpha));
            assert_relative_eq!(equal[..], vec![1.0 / len as f64; len][..], max_relative = 1e-12);
        }
    }

    /// The sum of a sparsemax's support says its τ, which a sort finds.
    #[test]
    fn sparsemax_by_a_sort() {
        let row = grid_logits(7, 200);
        let mut sorted: Vec<f64> = row.iter().map(|&x| x.into()).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        let mut tau = f64::NAN;
        for (i, x) in sorted.into_iter().enumerate() {
            sum += x;
            let count = (i + 1) as f64;
            if 1.0 + count * x > sum {
                tau = (sum - 1.0) / count;
            }
        }
        let expected: Vec<f64> = row.iter().map(|&x| (f64::from(x) - tau).max(0.0)).collect();
        assert_abs_diff_eq!(entmax_row(&row, &of(2.0))[..], expected[..], epsilon = 1e-12);
    }

    #[test]
    fn towards_1_it_is_softmax() {
        let row: Vec<f64> = grid_logits(8, 30).into_iter().map(|x| f64::from(x) / 4.0).collect();
        let softmax =
            softmax_row(&row.iter().map(|&x| x as f32).collect::<Vec<_>>(), &SoftmaxOptions::default());
        let mut before = f64::INFINITY;
        for alpha in [1.5, 1.1, 1.01, 1.001, 1.0001] {
            let probs = margins(&row, alpha).into_iter().map(|m| m.max(0.0).powf(1.0 / (alpha - 1.0)));
            let away = probs.zip(&softmax).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max);
            assert!(away < 0.3 * before && away < alpha - 1.0, "{alpha}: {away:e} after {before:e}");
            before = away;
        }
    }

    #[test]
    fn the_backward_pass_is_the_derivative() {
        for (seed, alpha) in [(9, 1.25), (10, 1.5), (11, 2.0), (12, 2.5)] {
            let row: Vec<f64> = grid_logits(seed, 12).into_iter().map(|x| f64::from(x) / 8.0).collect();
            let dprobs: Vec<f64> = grid_logits(seed + 50, 12).into_iter().map(f64::from).collect();
            let a = f64::from(alpha);
            let value = |row: &[f64]| -> f64 {
                let probs = margins(row, a).into_iter().map(|m| m.max(0.0).powf(1.0 / (a - 1.0)));
                probs.zip(&dprobs).map(|(p, d)| p * d).sum()
            };
            let probs: Vec<f64> =
                margins(&row, a).into_iter().map(|m| m.max(0.0).powf(1.0 / (a - 1.0))).collect();
            let found = entmax_backward_row(&probs, &dprobs, &EntmaxBackwardOptions { alpha });
            let step = f64::from(GRID) / 1024.0;
            for col in 0..row.len() {
                let (mut up, mut down) = (row.clone(), row.clone());
                up[col] += step;
                down[col] -= step;
                let slope = (value(&up) - value(&down)) / (2.0 * step);
                assert_abs_diff_eq!(found[col], slope, epsilon = 1e-4);
            }
        }
    }

    #[test]
    fn edge_cases() {
        let zero = EntmaxOptions { masked_row: MaskedRow::Zero, ..Default::default() };
        let default = EntmaxOptions::default();
        let cases: &[(&str, &[f32], EntmaxOptions, &[f64])] = &[
            ("no class", &[], default, &[]),
            ("one class", &[-3.0], default, &[1.0]),
            ("a −∞", &[1.0, -INF], default, &[1.0, 0.0]),
            ("a +∞", &[1.0, INF], default, &[N; 2]),
            ("a NaN", &[1.0, f32::NAN], zero, &[N; 2]),
            ("all −∞", &[-INF; 2], default, &[N; 2]),
            ("all −∞, zero", &[-INF; 2], zero, &[0.0; 2]),
            ("±3.4e38", &[f32::MAX, f32::MIN], default, &[1.0, 0.0]),
            ("all the lowest", &[f32::MIN; 2], of(2.0), &[0.5, 0.5]),
            ("an α of 1", &[1.0, 2.0], of(1.0), &[N; 2]),
        ];
        for (name, row, options, expected) in cases {
            let probs = entmax_row(row, options);
            let same =
                probs.iter().zip(*expected).all(|(p, e)| (p - e).abs() < 1e-15 || (p.is_nan() && e.is_nan()));
            assert!(same && probs.len() == expected.len(), "{name}: {probs:?}, expected {expected:?}");
        }
        for (probs, dprobs, expected) in [
            (&[0.5f64, 0.5, 0.0][..], &[1.0, 3.0, 9.0][..], &[-1.0, 1.0, 0.0][..]),
            (&[0.0, 0.0], &[1.0, 3.0], &[0.0, 0.0]),
            (&[0.5, N], &[1.0, 3.0], &[N, N]),
            (&[0.5, 0.5], &[1.0, f64::INFINITY], &[N, N]),
            (&[0.5, 0.5], &[1.0], &[N, N]),
        ] {
            assert!(
                same(&entmax_backward_row(probs, dprobs, &EntmaxBackwardOptions { alpha: 2.0 }), expected),
                "{probs:?}, {dprobs:?}"
            );
        }
        let shape = Shape::new(2, 2).row_stride(3);
        let probs = entmax(&[0.0f32, 2.0, 9.0, 3.0, 3.0], shape, &of(2.0));
        assert_eq!(probs, Ok(vec![0.0, 1.0, 0.0, 0.5, 0.5]));
        let back = entmax_backward(
            &[0.0f32, 1.0, 9.0, 0.5, 0.5],
            &[1.0f32, 2.0, N as f32, 0.0, 2.0],
            shape,
            &EntmaxBackwardOptions { alpha: 2.0 },
        );
        assert_eq!(back, Ok(vec![0.0, 0.0, 0.0, -1.0, 1.0]));
        let length = Err(Error::Length { what: "logits", found: 4, needed: 5 });
        assert_eq!(entmax(&[0.0f32; 4], shape, &default), length);
    }
}
