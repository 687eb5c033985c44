//! Cross-entropy of class targets: the loss, and its gradient.
//!
//! The inputs are logits, as in [PyTorch's `cross_entropy`][torch]: the softmax is inside. Passing
//! probabilities is no error, for they are numbers like any other; the answer is another:
//!
//! ```
//! use xent::reference::{cross_entropy, softmax};
//! use xent::{CrossEntropyOptions, Shape, SoftmaxOptions, Targets};
//!
//! let (shape, options) = (Shape::new(1, 3), CrossEntropyOptions::default());
//! let logits = [3.0f32, 1.0, 0.2];
//! let right = cross_entropy::loss(&logits, Targets::Classes(&[0]), shape, &options)?;
//! assert!((right - 0.1791).abs() < 5e-5); // = −ln 0.8360
//!
//! let probs = softmax(&logits, shape, &SoftmaxOptions::default())?;
//! let probs: Vec<f32> = probs.iter().map(|&p| p as f32).collect(); // 0.8360, 0.1131, 0.0508
//! let wrong = cross_entropy::loss(&probs, Targets::Classes(&[0]), shape, &options)?;
//! assert!((wrong - 0.6634).abs() < 5e-5); // softmax of a softmax
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! [torch]: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html

use super::map_rows;
use super::row_stats::{is_masked, row_stats};
use super::softmax_row;
use crate::element::Element;
use crate::error::Result;
use crate::options::{CrossEntropyOptions, MaskedRow, Reduction, SoftmaxOptions};
use crate::shape::Shape;
use crate::targets::Targets;

/// The loss of each row of (rows, cols) logits, in nats, (rows,): `−ln softmax_y`, y the row's target. Not
/// reduced; an ignored row has 0. Edge cases: see [`row_loss`].
///
/// # Errors
/// Those of [`Shape::check`] and [`CrossEntropyOptions::check`]; [`Error::Length`](crate::Error::Length)
/// where `logits` or `targets` have another length than `shape`;
/// [`Error::TargetOutOfRange`](crate::Error::TargetOutOfRange).
pub fn row_losses<E: Element>(
    logits: &[E],
    targets: Targets<'_>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    denominator(targets, shape, options)?;
    let targets = targets.classes();
    Ok((0..shape.rows).map(|row| row_loss(shape.row(logits, row), targets[row], options)).collect())
}

/// The loss of (rows, cols) logits in nats: Σ [`row_losses`] / [`denominator`], summed in row order.
///
/// Where no row counts (all are ignored, or there is none) a mean is 0/0 = NaN; a sum and a mean over a given
/// denominator are 0.
///
/// # Errors
/// Those of [`row_losses`].
pub fn loss<E: Element>(
    logits: &[E],
    targets: Targets<'_>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<f64> {
    let row_losses = row_losses(logits, targets, shape, options)?;
    // Not `sum()`, which gives −0 for no rows.
    let sum = row_losses.iter().fold(0.0, |sum, row_loss| sum + row_loss);
    Ok(sum / denominator(targets, shape, options)?)
}

/// The gradient of [`loss`] with respect to the logits, laid out like the (rows, cols) logits (zeros in the
/// padding between rows). Edge cases: see [`row_dlogits`].
///
/// # Errors
/// Those of [`row_losses`].
pub fn dlogits<E: Element>(
    logits: &[E],
    targets: Targets<'_>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    let upstream = 1.0 / denominator(targets, shape, options)?;
    let targets = targets.classes();
    Ok(map_rows(logits, shape, |row, logits| row_dlogits(logits, targets[row], upstream, options)))
}

/// What the sum of row losses is divided by: the number of rows that are not ignored, for [`Reduction::Mean`]
/// (0 where no row counts); 1 for [`Reduction::Sum`]; the number given, for [`Reduction::MeanOver`].
///
/// # Errors
/// Those of [`row_losses`], as far as they are not about logits.
pub fn denominator(targets: Targets<'_>, shape: Shape, options: &CrossEntropyOptions) -> Result<f64> {
    shape.check()?;
    options.check()?;
    let counted = targets.check(&shape, options.ignore_index)?;
    Ok(match options.reduction {
        Reduction::Mean => counted as f64,
        Reduction::Sum => 1.0,
        Reduction::MeanOver(denominator) => f64::from(denominator),
    })
}

/// The loss of one row (cols,) in nats: `ln z + (m − x_y)`, with m = max x, z = Σ exp(x_j − m), y = `target`.
///
/// This is −ln softmax_y, expanded: where the probability underflows, its logarithm would be −∞ but this
/// still reads 1000; and `(m + ln z) − x_y` would round ln z away in logits that share a large offset.
///
/// | the row | loss |
/// | --- | --- |
/// | ignored | 0; its logits are not read |
/// | target outside 0..cols, not ignored | NaN, as the kernels give for targets in a buffer |
/// | a logit is NaN or +∞ | NaN |
/// | every logit is −∞ | NaN, or 0 by [`MaskedRow::Zero`] |
/// | the target's logit is −∞, another finite | +∞ |
pub fn row_loss<E: Element>(row: &[E], target: i32, options: &CrossEntropyOptions) -> f64 {
    if target == options.ignore_index {
        return 0.0;
    }
    let Some(class) = class(target, row.len()) else {
        return f64::NAN;
    };
    if options.masked_row == MaskedRow::Zero && is_masked(row) {
        return 0.0;
    }
    let stats = row_stats(row);
    stats.sum_exp.ln() + (stats.row_max - row[class].to_f64())
}

/// The gradient of `upstream` × [`row_loss`] with respect to the row's logits (cols,).
///
/// The loss is `ln Σ_j exp(x_j) − x_y`. By x_k, the first term's derivative is `exp(x_k) / Σ_j exp(x_j)`; the
/// second's is 1 at the target and 0 elsewhere. So `dx_k = upstream · (softmax_k − [k = y])`.
///
/// | the row | gradient |
/// | --- | --- |
/// | ignored | 0, whatever `upstream` is; its logits are not read |
/// | target outside 0..cols, not ignored | 0, as the kernels give for targets in a buffer |
/// | a logit is NaN or +∞ | NaN throughout |
/// | every logit is −∞ | NaN throughout, or 0 by [`MaskedRow::Zero`] |
/// | a logit is −∞, another finite | 0 there; −`upstream` if it is the target's, whose loss is +∞ |
pub fn row_dlogits<E: Element>(
    row: &[E],
    target: i32,
    upstream: f64,
    options: &CrossEntropyOptions,
) -> Vec<f64> {
    if target == options.ignore_index {
        return vec![0.0; row.len()];
    }
    let Some(class) = class(target, row.len()) else {
        return vec![0.0; row.len()];
    };
    if options.masked_row == MaskedRow::Zero && is_masked(row) {
        return vec![0.0; row.len()];
    }
    let mut dlogits = softmax_row(row, &SoftmaxOptions::default());
    dlogits[class] -= 1.0;
    dlogits.iter_mut().for_each(|dx| *dx *= upstream);
    dlogits
}

/// The class that a target names, if it names one.
fn class(target: i32, cols: usize) -> Option<usize> {
    usize::try_from(target).ok().filter(|&class| class < cols)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::error::Error;
    use crate::reference::testing::same;

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const IGNORED: i32 = -100;

    fn with(reduction: Reduction) -> CrossEntropyOptions {
        CrossEntropyOptions { reduction, ..Default::default() }
    }

    #[test]
    fn worked_answers() {
        let options = CrossEntropyOptions::default();
        assert_abs_diff_eq!(row_loss(&[2.0f32, 1.0, 0.5, -1.0], 0, &options), 0.4952, epsilon = 5e-5);
        let dlogits = row_dlogits(&[3.0f32, 1.0, 0.2], 0, 1.0, &options);
        assert_abs_diff_eq!(dlogits[..], [0.8360 - 1.0, 0.1131, 0.0508], epsilon = 5e-5);

        let logits = [2.0f32, 1.0, 0.5, 0.1, 3.0, 0.2, 0.5, 0.5, 4.0, 1.0, 1.5, 1.2];
        let (targets, shape) = (Targets::Classes(&[0, 1, 2, 1]), Shape::new(4, 3));
        let rows = row_losses(&logits, targets, shape, &options).unwrap();
        assert_abs_diff_eq!(rows[..], [0.4644, 0.1096, 0.0586, 0.8533], epsilon = 5e-5);
        assert_abs_diff_eq!(loss(&logits, targets, shape, &options).unwrap(), 0.3715, epsilon = 5e-5);
    }

    #[test]
    fn edge_cases() {
        const N: f64 = f64::NAN;
        const POS: f64 = f64::INFINITY;
        let nan = CrossEntropyOptions::default();
        let zero = CrossEntropyOptions { masked_row: MaskedRow::Zero, ..nan };
        let class_ignored = CrossEntropyOptions { ignore_index: 1, ..nan };
        let ln2 = 2f64.ln();
        let far = 2.0 * f64::from(f32::MAX);
        // name, row, target, options, loss, gradient
        type Case<'a> = (&'a str, &'a [f32], i32, CrossEntropyOptions, f64, &'a [f64]);
        let cases: &[Case] = &[
            ("one class", &[-7.0], 0, nan, 0.0, &[0.0]),
            ("a masked class", &[1.0, -INF, 1.0], 0, nan, ln2, &[-0.5, 0.0, 0.5]),
            ("the target masked", &[1.0, -INF, 1.0], 1, nan, POS, &[0.5, -1.0, 0.5]),
            ("the target masked, zero", &[1.0, -INF, 1.0], 1, zero, POS, &[0.5, -1.0, 0.5]),
            ("all masked", &[-INF; 2], 0, nan, N, &[N; 2]),
            ("all masked, zero", &[-INF; 2], 0, zero, 0.0, &[0.0; 2]),
            ("one class, masked, zero", &[-INF], 0, zero, 0.0, &[0.0]),
            ("a NaN", &[0.0, NAN, 1.0], 0, nan, N, &[N; 3]),
            ("a NaN at the target", &[NAN, 0.0], 0, nan, N, &[N; 2]),
            ("a NaN among −∞, zero", &[-INF, NAN], 0, zero, N, &[N; 2]),
            ("+∞", &[0.0, INF], 0, nan, N, &[N; 2]),
            ("+∞ at the target", &[0.0, INF], 1, nan, N, &[N; 2]),
            ("+∞, the target masked", &[INF, -INF], 1, zero, N, &[N; 2]),
            ("one class, +∞", &[INF], 0, nan, N, &[N]),
            ("ignored", &[0.0, 1.0], IGNORED, nan, 0.0, &[0.0; 2]),
            ("ignored NaN", &[NAN, 1.0], IGNORED, nan, 0.0, &[0.0; 2]),
            ("ignored, a class's index", &[NAN, 1.0], 1, class_ignored, 0.0, &[0.0; 2]),
            ("target = cols", &[0.0, 1.0], 2, nan, N, &[0.0; 2]),
            ("target −1", &[0.0, 1.0], -1, nan, N, &[0.0; 2]),
            ("target −100, not ignored", &[0.0, 1.0], IGNORED, class_ignored, N, &[0.0; 2]),
            ("target = cols, all masked", &[-INF; 2], 2, zero, N, &[0.0; 2]),
            ("no class", &[], 0, nan, N, &[]),
            ("a loss of 500", &[500.0, 0.0], 1, nan, 500.0, &[1.0, -1.0]),
            ("p_y underflows f64", &[1000.0, 0.0], 1, nan, 1000.0, &[1.0, -1.0]),
            ("ends of f32, beyond it in f64", &[f32::MAX, f32::MIN], 1, nan, far, &[1.0, -1.0]),
            ("ends of f32, right class", &[f32::MAX, f32::MIN], 0, nan, 0.0, &[0.0, 0.0]),
        ];
        for &(name, row, target, options, expected_loss, expected_dlogits) in cases {
            let loss = row_loss(row, target, &options);
            assert!(same(&[loss], &[expected_loss]), "{name}: loss {loss}, expected {expected_loss}");
            let dlogits = row_dlogits(row, target, 1.0, &options);
            // Exact, but for exp(−500) = 7e-218.
            let rounded: Vec<f64> =
                dlogits.iter().map(|dx| if dx.abs() < 1e-200 { 0.0 } else { *dx }).collect();
            assert!(
                same(&rounded, expected_dlogits),
                "{name}: dlogits {dlogits:?}, expected {expected_dlogits:?}"
            );
        }
    }

    #[test]
    fn ignored_rows_do_not_count_and_masked_rows_do() {
        // A row of loss ln 2, an ignored NaN row, a masked row.
        let logits = [0.0, 0.0, NAN, NAN, -INF, -INF];
        let (targets, shape) = (Targets::Classes(&[0, IGNORED, 1]), Shape::new(3, 2));
        let ln2 = 2f64.ln();
        let cases = [
            ("mean", Reduction::Mean, 2.0),
            ("sum", Reduction::Sum, 1.0),
            ("mean over", Reduction::MeanOver(8.0), 8.0),
        ];
        for (name, reduction, over) in cases {
            let zero = CrossEntropyOptions { masked_row: MaskedRow::Zero, ..with(reduction) };
            assert_eq!(row_losses(&logits, targets, shape, &zero), Ok(vec![ln2, 0.0, 0.0]), "{name}");
            assert_eq!(denominator(targets, shape, &zero), Ok(over), "{name}");
            assert_eq!(loss(&logits, targets, shape, &zero), Ok(ln2 / over), "{name}");
            let half = 0.5 / over;
            assert_eq!(
                dlogits(&logits, targets, shape, &zero),
                Ok(vec![-half, half, 0.0, 0.0, 0.0, 0.0]),
                "{name}"
            );

            let nan = with(reduction);
            assert!(loss(&logits, targets, shape, &nan).unwrap().is_nan(), "{name}");
            let expected = [-half, half, 0.0, 0.0, f64::NAN, f64::NAN];
            assert!(same(&dlogits(&logits, targets, shape, &nan).unwrap(), &expected), "{name}");
        }
    }

    #[test]
    fn no_row_counts() {
        let cases: &[(&str, &[f32], &[i32])] =
            &[("no rows", &[], &[]), ("all ignored", &[NAN; 4], &[IGNORED; 2])];
        for &(name, logits, targets) in cases {
            let shape = Shape::new(targets.len(), 2);
            let targets = Targets::Classes(targets);
            let mean = loss(logits, targets, shape, &with(Reduction::Mean)).unwrap();
            assert!(mean.is_nan(), "{name}");
            for reduction in [Reduction::Sum, Reduction::MeanOver(3.0)] {
                let loss = loss(logits, targets, shape, &with(reduction)).unwrap();
                assert_eq!(loss.to_bits(), 0, "{name}, {reduction:?}: {loss}");
            }
            for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(3.0)] {
                let dlogits = dlogits(logits, targets, shape, &with(reduction)).unwrap();
                assert!(dlogits.len() == logits.len() && dlogits.iter().all(|&dx| dx == 0.0), "{name}");
            }
        }
    }

    #[test]
    fn refusals() {
        let shape = Shape::new(2, 3);
        let bad_mean = with(Reduction::MeanOver(0.0));
        let bad_option = bad_mean.check().unwrap_err();
        let length = |what, found, needed| Error::Length { what, found, needed };
        let out_of_range = Error::TargetOutOfRange { row: 1, target: 3, cols: 3 };
        let (mean, sum) = (with(Reduction::Mean), with(Reduction::Sum));
        let cases: [(&str, usize, &[i32], CrossEntropyOptions, Error); 5] = [
            ("target = cols", 6, &[0, 3], mean, out_of_range.clone()),
            ("target = cols, of a sum", 6, &[0, 3], sum, out_of_range),
            ("logits short", 5, &[0, 1], mean, length("logits", 5, 6)),
            ("targets short", 6, &[0], mean, length("targets", 1, 2)),
            ("denominator 0", 6, &[0, 1], bad_mean, bad_option),
        ];
        for (name, len, targets, options, error) in cases {
            let (logits, targets) = (vec![0.0f32; len], Targets::Classes(targets));
            assert_eq!(row_losses(&logits, targets, shape, &options), Err(error.clone()), "{name}");
            assert_eq!(loss(&logits, targets, shape, &options), Err(error.clone()), "{name}");
            assert_eq!(dlogits(&logits, targets, shape, &options), Err(error), "{name}");
        }
    }
}
