//! InfoNCE, the contrastive loss among the pairs of a batch, and its gradient.
//!
//! S (N, N) holds the similarity of each row's item with each column's item, and row i and column i are a pair. The logits are
//! e^s·S = S / T. The loss is the mean of two cross-entropies with targets on the diagonal: that of the rows, and that of
//! the columns (van den Oord, Li, Vinyals 2018, arXiv:1807.03748; both ways as in CLIP: Radford et al. 2021, arXiv:2103.00020).
//! The gradient with respect to s is Σ dlogits·logits.
//!
//! ```
//! use xent::{InfoNceOptions, Shape, reference::info_nce};
//!
//! let options = InfoNceOptions::of_log_scale(0.0);
//! let loss = info_nce::loss(&[0.9f32, 0.1, 0.2, 0.8], Shape::new(2, 2), &options)?;
//! assert!((loss - 0.403740).abs() < 1e-6);
//! # Ok::<(), xent::Error>(())
//! ```

use super::cross_entropy::{RowScale, row_dlogits, row_loss};
use crate::element::Element;
use crate::error::Result;
use crate::options::{InfoNceOptions, check_similarities};
use crate::results::InfoNceGradients;
use crate::shape::Shape;
use crate::targets::RowTarget;

/// The mean loss of the rows of similarities (N, N), and that of the columns, in nats. [`loss`] is the mean of the two.
///
/// A NaN or a +∞ makes its row and its column NaN, and so both means. A −∞ is a pair that does not count as a negative; on the
/// diagonal, it makes both losses +∞. A row or a column of only −∞ is NaN.
///
/// # Errors
/// [`Error::NotSquare`](crate::Error::NotSquare), [`Error::ClassAxisNotLast`](crate::Error::ClassAxisNotLast),
/// [`Error::Length`](crate::Error::Length), [`Error::InvalidOption`](crate::Error::InvalidOption); what [`Shape::check`] refuses.
pub fn row_and_column_losses<E: Element>(
    similarities: &[E],
    shape: Shape,
    options: &InfoNceOptions,
) -> Result<[f64; 2]> {
    options.check()?;
    check_similarities(similarities, shape)?;
    let (pairs, options) = (shape.rows, options.cross_entropy());
    Ok([row, column].map(|line: Line<E>| {
        let loss =
            |at| row_loss(&line(similarities, pairs, at), &RowTarget::Class(at as i64), None, &options).loss;
        (0..pairs).map(loss).sum::<f64>() / pairs as f64
    }))
}

/// The loss of similarities (N, N), in nats: the mean of the two [`row_and_column_losses`]. It is 0 for a single pair.
///
/// # Errors
/// Those of [`row_and_column_losses`].
pub fn loss<E: Element>(similarities: &[E], shape: Shape, options: &InfoNceOptions) -> Result<f64> {
    let [rows, columns] = row_and_column_losses(similarities, shape, options)?;
    Ok(0.5 * (rows + columns))
}

/// The gradient of [`loss`] with respect to the similarities (N, N) and to the logarithm s of the scale.
///
/// A similarity of −∞ has a gradient of 0, but on the diagonal, where the gradient stays finite and that of s is +∞. A row or
/// a column that is NaN has a gradient that is NaN, and makes that of s NaN.
///
/// # Errors
/// Those of [`row_and_column_losses`].
pub fn gradients<E: Element>(
    similarities: &[E],
    shape: Shape,
    options: &InfoNceOptions,
) -> Result<InfoNceGradients<f64>> {
    options.check()?;
    check_similarities(similarities, shape)?;
    let (pairs, options) = (shape.rows, options.cross_entropy());
    let scale = RowScale { loss: 0.5 / pairs as f64, z_loss: 0.0 };
    let of_line = |line: Line<E>, at: usize| {
        row_dlogits(&line(similarities, pairs, at), &RowTarget::Class(at as i64), None, &options, scale)
    };
    let mut dsimilarities = vec![0.0; pairs * pairs];
    for at in 0..pairs {
        for (other, (of_row, of_column)) in of_line(row, at).into_iter().zip(of_line(column, at)).enumerate()
        {
            dsimilarities[at * pairs + other] += of_row;
            dsimilarities[other * pairs + at] += of_column;
        }
    }
    Ok(InfoNceGradients::new(dsimilarities, similarities.iter().map(|s| s.to_f64())))
}

/// One row or one column of a matrix (N, N).
type Line<E> = fn(&[E], usize, usize) -> Vec<E>;

fn row<E: Element>(matrix: &[E], pairs: usize, at: usize) -> Vec<E> {
    matrix[at * pairs..][..pairs].to_vec()
}

fn column<E: Element>(matrix: &[E], pairs: usize, at: usize) -> Vec<E> {
    matrix[at..].iter().step_by(pairs).copied().collect()
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;
    use crate::reference::testing::{GRID, grid_logits, same};

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const PLAIN: InfoNceOptions = InfoNceOptions { temperature: 1.0 };

    fn loss_of(similarities: &[f32], temperature: f32) -> f64 {
        let pairs = similarities.len().isqrt();
        loss(similarities, Shape::new(pairs, pairs), &InfoNceOptions { temperature }).expect("a loss")
    }

    fn gradients_of(similarities: &[f32], temperature: f32) -> InfoNceGradients<f64> {
        let pairs = similarities.len().isqrt();
        gradients(similarities, Shape::new(pairs, pairs), &InfoNceOptions { temperature }).expect("gradients")
    }

    #[test]
    fn worked_answers() {
        let (similarities, shape) = ([0.9f32, 0.1, 0.2, 0.8], Shape::new(2, 2));
        let [rows, columns] = row_and_column_losses(&similarities, shape, &PLAIN).expect("losses");
        assert_abs_diff_eq!(rows, 0.404294308, epsilon = 1e-8);
        assert_abs_diff_eq!(columns, 0.403186049, epsilon = 1e-8);
        assert_abs_diff_eq!(loss_of(&similarities, 1.0), 0.403740179, epsilon = 1e-8);
        assert_abs_diff_eq!(gradients_of(&similarities, 1.0).dlog_scale, -0.231290938, epsilon = 1e-8);
    }

    #[test]
    fn one_pair_and_equal_similarities() {
        assert_eq!(loss_of(&[-7.0], 0.07), 0.0);
        assert_eq!(
            gradients_of(&[-7.0], 0.07),
            InfoNceGradients { dsimilarities: vec![0.0], dlog_scale: 0.0 }
        );
        assert_abs_diff_eq!(loss_of(&[0.25; 25], 0.07), 5f64.ln(), epsilon = 1e-12);
        assert_abs_diff_eq!(gradients_of(&[0.25; 25], 0.07).dlog_scale, 0.0, epsilon = 1e-12);
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        let similarities: Vec<f32> = grid_logits(1, 16).iter().map(|s| s / 8.0).collect();
        for temperature in [1.0, 0.5, 4.0] {
            let found = gradients_of(&similarities, temperature);
            for at in 0..16 {
                let moved = |by: f32| {
                    let mut moved = similarities.clone();
                    moved[at] += by;
                    loss_of(&moved, temperature)
                };
                let slope = (moved(GRID) - moved(-GRID)) / (2.0 * f64::from(GRID));
                assert_abs_diff_eq!(found.dsimilarities[at], slope, epsilon = 1e-6);
            }
            // Both temperatures are exact in f32.
            let [low, high] = [1.0 - GRID, 1.0 + GRID].map(|by| temperature * by);
            let log_scale = |temperature: f32| -f64::from(temperature).ln();
            let slope = (loss_of(&similarities, low) - loss_of(&similarities, high))
                / (log_scale(low) - log_scale(high));
            assert_abs_diff_eq!(found.dlog_scale, slope, epsilon = 2e-6);
        }
    }

    #[test]
    fn rows_and_columns_change_places() {
        let similarities = grid_logits(2, 25);
        let transposed: Vec<f32> = (0..25).map(|at| similarities[at % 5 * 5 + at / 5]).collect();
        let (found, other) = (gradients_of(&similarities, 0.5), gradients_of(&transposed, 0.5));
        assert_abs_diff_eq!(loss_of(&similarities, 0.5), loss_of(&transposed, 0.5), epsilon = 1e-12);
        for at in 0..25 {
            let expected = other.dsimilarities[at % 5 * 5 + at / 5];
            assert_abs_diff_eq!(found.dsimilarities[at], expected, epsilon = 1e-15);
        }
        // A shift of all similarities changes nothing, so that the gradient sums to 0.
        let shifted: Vec<f32> = similarities.iter().map(|s| s + 3.0).collect();
        assert_abs_diff_eq!(loss_of(&shifted, 0.5), loss_of(&similarities, 0.5), epsilon = 1e-12);
        assert_abs_diff_eq!(found.dsimilarities.iter().sum::<f64>(), 0.0, epsilon = 1e-14);
    }

    #[test]
    fn special_values() {
        // A pair that is no negative: its terms are as if it were not there.
        let left_out = gradients_of(&[1.0, -INF, 0.0, 2.0], 1.0);
        assert_eq!((left_out.dsimilarities[1], left_out.dlog_scale.is_finite()), (0.0, true));
        // ln(1 + e^-2) for row 1, ln(1 + e^-1) for column 0, and 0 for the others.
        let expected = ((-2f64).exp().ln_1p() + (-1f64).exp().ln_1p()) / 4.0;
        assert_abs_diff_eq!(loss_of(&[1.0, -INF, 0.0, 2.0], 1.0), expected, epsilon = 1e-15);

        let diagonal = [-INF, 0.0, 0.0, 0.0];
        assert_eq!(loss_of(&diagonal, 1.0), f64::INFINITY);
        assert_eq!(gradients_of(&diagonal, 1.0).dlog_scale, f64::INFINITY);
        assert!(gradients_of(&diagonal, 1.0).dsimilarities.iter().all(|ds| ds.is_finite()));

        for bad in [[0.0, NAN, 0.0, 0.0], [0.0, INF, 0.0, 0.0], [-INF, -INF, 0.0, 0.0]] {
            assert!(loss_of(&bad, 1.0).is_nan() && gradients_of(&bad, 1.0).dlog_scale.is_nan(), "{bad:?}");
        }
        // Row 0 and column 1 are NaN; what is in neither is not.
        let of_nan = gradients_of(&[0.0, NAN, 0.0, 0.0], 1.0).dsimilarities;
        assert!(same(&of_nan[..2], &[f64::NAN; 2]) && of_nan[3].is_nan() && of_nan[2].is_finite());
        // More than f32 holds: (2 + 1)·3.4e38 / 2, by rows and by columns.
        let far = [f32::MIN, f32::MAX, 0.0, f32::MIN];
        assert_abs_diff_eq!(loss_of(&far, 1.0) / f64::from(f32::MAX), 1.5, epsilon = 1e-12);
    }
}
