//! The Fenchel-Young loss of α-entmax (of sparsemax, if α is 2), and its gradient.
//!
//! With p = [`entmax`](super::entmax()) of the logits x and the target class y, `L = Ω(p) + ⟨p − e_y, x⟩` with Tsallis'
//! entropy `Ω(p) = (1 − Σ p^α) / (α·(α − 1))` (Blondel, Martins, Niculae 2020, *Learning with Fenchel-Young losses*,
//! arXiv:1901.02324; Peters, Niculae, Martins 2019, arXiv:1905.05702). It is 0 exactly if p is e_y, which finite logits can
//! reach: the target must be 1 / (α − 1) above all others. Its gradient is p − e_y. Towards α = 1 it is cross-entropy.
//!
//! ```
//! use xent::{EntmaxLossOptions, reference::entmax_loss};
//!
//! let loss = |class| entmax_loss::row_loss(&[1.0f32, 0.5, -1.0], class, &EntmaxLossOptions::sparsemax());
//! assert_eq!([loss(0), loss(1), loss(2)], [0.0625, 0.5625, 2.0625]);
//! ```

use super::{cross_entropy, entmax_row, map_rows, reduced};
use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::options::{EntmaxLossOptions, MaskedRow};
use crate::shape::{Shape, assert_row};
use crate::targets::RowTarget;

/// The loss of one row (cols,) with target class `class`: `(1 − Σ p^α) / (α·(α − 1)) + ⟨p − e_y, x⟩`.
///
/// | the row | loss |
/// | --- | --- |
/// | a NaN or +∞; a class outside the row; an option outside its range | NaN |
/// | only −∞ | NaN, or 0 with [`MaskedRow::Zero`] |
/// | the target's logit is −∞, another is finite | +∞ |
/// | another logit of −∞ | its term is 0 |
pub fn row_loss<E: Element>(row: &[E], class: usize, options: &EntmaxLossOptions) -> f64 {
    let probs = entmax_row(row, &options.entmax());
    let Some(target) = row.get(class).filter(|_| options.check().is_ok()) else { return f64::NAN };
    if probs.iter().any(|p| p.is_nan()) {
        return f64::NAN;
    }
    let max = row.iter().map(|x| x.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return if options.masked_row == MaskedRow::Zero { 0.0 } else { f64::NAN };
    }
    let alpha = f64::from(options.alpha);
    let entropy = (1.0 - probs.iter().map(|p| p.powf(alpha)).sum::<f64>()) / (alpha * (alpha - 1.0));
    // p and e_y both sum to 1, so that a shift of the logits changes nothing.
    let below = |x: &E| max - x.to_f64();
    let mean: f64 = row.iter().zip(&probs).filter(|&(_, &p)| p > 0.0).map(|(x, p)| p * below(x)).sum();
    // No such loss is below 0, but rounding may bring the sum there.
    (entropy - mean + below(target)).max(0.0)
}

/// The gradient (cols,) of `scale` · [`row_loss`]: `scale·(p − e_y)`. NaN throughout where the row's probabilities are, for a
/// class outside the row and for an option outside its range; 0 for a row of only −∞ with [`MaskedRow::Zero`].
pub fn row_dlogits<E: Element>(row: &[E], class: usize, options: &EntmaxLossOptions, scale: f64) -> Vec<f64> {
    let mut dlogits = entmax_row(row, &options.entmax());
    if class >= row.len() || options.check().is_err() {
        return vec![f64::NAN; row.len()];
    }
    if dlogits.iter().any(|&p| p != 0.0) {
        dlogits[class] -= 1.0;
    }
    dlogits.iter().map(|dx| if *dx == 0.0 { 0.0 } else { scale * dx }).collect()
}

/// The loss of each row of (rows, cols) logits, (rows,): row weight · [`row_loss`], not reduced. Exactly 0 for a row that is
/// left out: its target is ignored, its weight is 0, it is masked, or
/// [`sequences`](EntmaxLossOptions::sequences) leaves it without a target.
///
/// # Errors
/// Those of [`CrossEntropyInputs::check`]; [`Error::InvalidOption`](crate::Error::InvalidOption) for class weights and for
/// targets that are not classes; [`Error::Length`](crate::Error::Length) if the length of `logits` does not match `shape`.
pub fn row_losses<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &EntmaxLossOptions,
) -> Result<Vec<f64>> {
    let inputs = inputs.into();
    check(logits, &inputs, shape, options)?;
    let weight = |row| inputs.row_weight(&options.of_targets(), row);
    Ok((0..shape.rows).map(|row| weight(row) * row_loss_at(logits, inputs, shape, options, row)).collect())
}

/// The reduced loss of (rows, cols) logits, summed in row order: `Σ r·loss / N`, where r is the row's weight and N is Σ r over
/// the rows that count (mean), 1 (sum) or the given denominator.
///
/// If no row counts, a mean is NaN, 0 or an error, as [`EmptyBatch`](crate::EmptyBatch) says; a sum and a mean over a given denominator are 0.
/// `upstream` and `row_upstream` do not affect a loss.
///
/// # Errors
/// Those of [`row_losses`]; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
pub fn loss<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &EntmaxLossOptions,
) -> Result<f64> {
    let inputs = inputs.into();
    let batch = check(logits, &inputs, shape, options)?;
    reduced(shape.rows, &batch, options.reducing(), || row_losses(logits, inputs, shape, options))
}

/// The gradient of [`loss`] with respect to the logits, times `upstream` and each row's `row_upstream`, in the layout of the
/// (rows, cols) logits, with zeros in the padding between rows. Exactly 0 for a row that is left out, and everywhere if the
/// reduction is a mean and no row counts.
///
/// # Errors
/// Those of [`row_losses`].
pub fn dlogits<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &EntmaxLossOptions,
) -> Result<Vec<f64>> {
    let inputs = inputs.into();
    let batch = check(logits, &inputs, shape, options)?;
    Ok(map_rows(shape, |row| row_dlogits_at(logits, inputs, shape, options, &batch, row)))
}

/// The [`row_loss`] of one row of a batch with its own target, not multiplied by the row's weight. If the row is left out, it is
/// 0 and its logits are not read. Takes the arguments of [`row_losses`] and does not check them again.
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_loss_at<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &EntmaxLossOptions,
    row: usize,
) -> f64 {
    assert_row(row, shape.rows);
    match class_at(&inputs.into(), shape, options, row) {
        Some(class) => row_loss(&shape.row_vec(logits, row), class, options),
        None => 0.0,
    }
}

/// The [`row_dlogits`] of one row of a batch (cols,), with its own target: that row of [`dlogits`]. Takes the arguments of
/// [`dlogits`] and does not check them again; `batch` is the result of [`CrossEntropyInputs::check`].
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_dlogits_at<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &EntmaxLossOptions,
    batch: &BatchWeight,
    row: usize,
) -> Vec<f64> {
    let inputs = inputs.into();
    assert_row(row, shape.rows);
    match class_at(&inputs, shape, options, row) {
        Some(class) if !batch.is_empty_mean(options.reduction) => {
            let scale = cross_entropy::row_scale(inputs, shape, &options.of_targets(), batch, row).loss;
            row_dlogits(&shape.row_vec(logits, row), class, options, scale)
        }
        _ => vec![0.0; shape.cols],
    }
}

/// The target class of a row that counts.
fn class_at(
    inputs: &CrossEntropyInputs<'_>,
    shape: Shape,
    options: &EntmaxLossOptions,
    row: usize,
) -> Option<usize> {
    match inputs.row_target(shape, &options.of_targets(), row)? {
        // A class below 0 is outside the row.
        RowTarget::Class(class) => Some(usize::try_from(class).unwrap_or(usize::MAX)),
        _ => None,
    }
}

fn check<E: Element>(
    logits: &[E],
    inputs: &CrossEntropyInputs<'_>,
    shape: Shape,
    options: &EntmaxLossOptions,
) -> Result<BatchWeight> {
    shape.check_slice("logits", logits)?;
    inputs.check_of_classes(shape, options)
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::error::Error;
    use crate::options::{CrossEntropyOptions, Reduction};
    use crate::reference::testing::{GRID, grid_logits};
    use crate::targets::Targets;

    const INF: f32 = f32::INFINITY;

    fn of(alpha: f32) -> EntmaxLossOptions {
        EntmaxLossOptions { alpha, ..Default::default() }
    }

    #[test]
    fn worked_answers() {
        for (alpha, expected) in
            [(2.0, [0.0625, 0.5625, 2.0625]), (1.5, [0.184371379, 0.684371379, 2.184371379])]
        {
            for (class, expected) in expected.into_iter().enumerate() {
                let found = row_loss(&[1.0f32, 0.5, -1.0], class, &of(alpha));
                assert_abs_diff_eq!(found, expected, epsilon = 1e-9);
            }
        }
    }

    #[test]
    fn the_gradient_is_the_derivative() {
        for (seed, alpha) in [(1, 1.25), (2, 1.5), (3, 2.0), (4, 3.0)] {
            let row: Vec<f32> = grid_logits(seed, 9).iter().map(|x| x / 4.0).collect();
            for class in [0, 4] {
                let found = row_dlogits(&row, class, &of(alpha), 2.0);
                for col in 0..row.len() {
                    let at = |step: f32| {
                        let mut moved = row.clone();
                        moved[col] += step;
                        2.0 * row_loss(&moved, class, &of(alpha))
                    };
                    let slope = (at(GRID / 4.0) - at(-GRID / 4.0)) / f64::from(GRID / 2.0);
                    // Above an α of 2, a probability near 0 is a root.
                    let epsilon = if alpha > 2.0 { 5e-2 } else { 1e-3 };
                    assert_abs_diff_eq!(found[col], slope, epsilon = epsilon);
                }
            }
        }
    }

    /// The loss is 0 from a margin of 1 / (α − 1) on, above 0 below it, and never below; with one class it is 0. Near an α of
    /// 1 it is cross-entropy.
    #[test]
    fn properties() {
        for alpha in [1.5, 2.0, 3.0] {
            let margin = 1.0 / (alpha - 1.0);
            assert_eq!(row_loss(&[margin, 0.0, -1.0], 0, &of(alpha)), 0.0);
            assert!(row_loss(&[0.9 * margin, 0.0, -1.0], 0, &of(alpha)) > 0.0);
            assert_eq!(row_loss(&[7.0f32], 0, &of(alpha)), 0.0);
            assert_eq!(row_dlogits(&[7.0f32], 0, &of(alpha), 1.0), [0.0]);
        }
        let row: Vec<f32> = grid_logits(5, 20).iter().map(|x| x / 8.0).collect();
        let target = RowTarget::Class(3);
        let expected = cross_entropy::row_loss(&row, &target, None, &CrossEntropyOptions::default()).total();
        let away = |alpha| (row_loss(&row, 3, &of(alpha)) - expected).abs();
        assert!(away(1.0625) < 0.4 * away(1.25), "{} {}", away(1.0625), away(1.25));
    }

    #[test]
    fn edge_cases() {
        let zero = EntmaxLossOptions { masked_row: MaskedRow::Zero, ..of(2.0) };
        for (name, row, class, options, expected) in [
            ("a NaN", &[f32::NAN, 0.0][..], 0, zero, f64::NAN),
            ("a +∞", &[INF, 0.0], 0, zero, f64::NAN),
            ("a −∞", &[-INF, 0.0], 1, zero, 0.0),
            ("the target at −∞", &[-INF, 0.0], 0, zero, f64::INFINITY),
            ("all −∞", &[-INF; 2], 0, of(2.0), f64::NAN),
            ("all −∞, zero", &[-INF; 2], 0, zero, 0.0),
            ("a class outside", &[0.0, 1.0], 2, zero, f64::NAN),
            ("±3.4e38", &[f32::MAX, f32::MIN], 1, zero, 2.0 * f64::from(f32::MAX)),
        ] {
            let found = row_loss(row, class, &options);
            assert!(found == expected || (found.is_nan() && expected.is_nan()), "{name}: {found}");
        }
        assert_eq!(row_dlogits(&[-INF, 0.0], 0, &zero, 2.0), [-2.0, 2.0]);
        assert_eq!(row_dlogits(&[-INF; 2], 0, &zero, 2.0), [0.0; 2]);
    }

    #[test]
    fn batches() {
        let logits = [1.0f32, 0.5, -1.0, 9.0, 9.0, 9.0, 0.0, 0.0, f32::NEG_INFINITY];
        let shape = Shape::new(3, 3);
        let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, -100, 1])).row_weights(&[2.0, 1.0, 1.0]);
        let losses = row_losses(&logits, inputs, shape, &of(2.0)).expect("losses");
        assert_eq!(losses, [0.125, 0.0, 0.25]);
        assert_abs_diff_eq!(loss(&logits, inputs, shape, &of(2.0)).expect("a loss"), 0.125, epsilon = 1e-15);
        let sum = EntmaxLossOptions { reduction: Reduction::Sum, ..of(2.0) };
        let found = dlogits(&logits, inputs.upstream(3.0), shape, &sum).expect("a gradient");
        assert_eq!(found, [-1.5, 1.5, 0.0, 0.0, 0.0, 0.0, 1.5, -1.5, 0.0]);
        let weighted = inputs.class_weights(&[1.0; 3]);
        let error = loss(&logits, weighted, shape, &sum).err();
        assert!(matches!(error, Some(Error::InvalidOption { option: "class_weights", .. })), "{error:?}");
        let soft = Targets::Soft(&[0.0; 9]);
        assert!(loss(&logits, soft, shape, &sum).is_err(), "targets that are not classes");
    }
}
