//! Multi-label binary cross-entropy: every class is a separate yes-or-no question.
//!
//! As in [PyTorch's `BCEWithLogitsLoss`][torch], the sigmoid is part of the loss. With target t, class weight w and
//! `pos_weight` P, a class's loss is
//!
//! `−w·( P·t·ln σ(x) + (1 − t)·ln(1 − σ(x)) )`,  `σ(x) = 1 / (1 + exp(−x))`
//!
//! and a row's loss is the sum over its classes. Computed as written, far from 0, σ(x) rounds to 0 or 1 and its
//! logarithm to −∞ or 0. So `ln σ(x)` is computed as [`ln_sigmoid`] of x, and `ln(1 − σ(x))` as [`ln_sigmoid`] of −x.
//!
//! ```
//! use xent::{Shape, SigmoidBceOptions, reference::sigmoid_bce};
//!
//! let options = SigmoidBceOptions::default();
//! let mean = sigmoid_bce::loss(&[2.0f32, -1.0, 0.0], &[1.0, 0.0, 1.0], Shape::new(1, 3), &options)?;
//! // (ln(1 + e⁻²) + ln(1 + e⁻¹) + ln 2) / 3
//! assert!((mean - (0.126928 + 0.313262 + 0.693147) / 3.0).abs() < 1e-6);
//! # Ok::<(), xent::Error>(())
//! ```
//!
//! [torch]: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html

use super::map_rows;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::BatchWeight;
use crate::inputs::SigmoidBceInputs;
use crate::options::{EmptyBatch, SigmoidBceOptions};
use crate::shape::{Shape, assert_row};

/// The sigmoid `σ(x) = 1 / (1 + exp(−x))`, in a form that keeps the digits of small values.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// The logarithm `ln σ(x) = −ln(1 + exp(−|x|)) − max(−x, 0)`: about x far below 0, where σ(x) itself is 0, and about
/// −exp(−x) far above 0, where σ(x) is 1.
pub fn ln_sigmoid(x: f64) -> f64 {
    if x >= 0.0 { -(-x).exp().ln_1p() } else { x - x.exp().ln_1p() }
}

/// The loss of one row (cols,) in nats: the sum over its classes, not multiplied by the row's weight.
///
/// | the row | loss |
/// | --- | --- |
/// | a logit is NaN, or a target NaN or infinite | NaN, even if its weights are 0 |
/// | a class weight or `pos_weight` is negative, NaN, infinite or missing | NaN |
/// | a logit is +∞ | ∞ with the sign of `1 − t`, or no contribution if `t = 1` or `w = 0`: 0 · ∞ counts as 0 |
/// | a logit is −∞ | ∞ with the sign of `t`, or no contribution if `P·t = 0` or `w = 0` |
/// | logits give ∞ of both signs | NaN |
pub fn row_loss<E: Element>(
    row: &[E],
    targets: &[f32],
    pos_weight: Option<&[f32]>,
    class_weights: Option<&[f32]>,
) -> f64 {
    let Some(classes) = classes(row, targets, pos_weight, class_weights) else { return f64::NAN };
    let mut sum = 0.0;
    for class in classes {
        sum += part(class.weight * class.positive, -ln_sigmoid(class.x));
        sum += part(class.weight * class.negative, -ln_sigmoid(-class.x));
    }
    sum
}

/// The gradient, with respect to the row's logits (cols,), of `scale` · [`row_loss`]. From `dσ/dx = σ·(1 − σ)` and
/// `1 − σ(x) = σ(−x)`:
///
/// `dx = scale·w·( (1 − t)·σ(x) − P·t·σ(−x) )`
///
/// This is `scale·w·(σ(x) − t)` if P is 1.
///
/// | the row | gradient |
/// | --- | --- |
/// | a logit is NaN, or a target NaN or infinite | NaN throughout, whatever `scale` is |
/// | a class weight or `pos_weight` is negative, NaN, infinite or missing | NaN throughout |
/// | a logit is ±∞ | finite: σ is 1 or 0 |
pub fn row_dlogits<E: Element>(
    row: &[E],
    targets: &[f32],
    pos_weight: Option<&[f32]>,
    class_weights: Option<&[f32]>,
    scale: f64,
) -> Vec<f64> {
    let Some(classes) = classes(row, targets, pos_weight, class_weights) else {
        return vec![f64::NAN; row.len()];
    };
    let of_class = |class: Class| {
        let Class { x, positive, negative, weight } = class;
        scale * weight * (negative * sigmoid(x) - positive * sigmoid(-x))
    };
    classes.into_iter().map(of_class).collect()
}

/// The loss of each row of (rows, cols) logits, in nats, (rows,): row weight · [`row_loss`], not reduced. Exactly 0 for
/// a row that is left out: its weight is 0, or it is masked.
///
/// # Errors
/// Those of [`SigmoidBceInputs::check`]; [`Error::Length`](crate::Error::Length) if the length of `logits` does not
/// match `shape`.
pub fn row_losses<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<SigmoidBceInputs<'a>>,
    shape: Shape,
    options: &SigmoidBceOptions,
) -> Result<Vec<f64>> {
    let inputs = inputs.into();
    check(logits, &inputs, shape, options)?;
    Ok((0..shape.rows).map(|row| row_loss_at(logits, inputs, shape, row)).collect())
}

/// The reduced loss of (rows, cols) logits in nats, summed in row order: `Σ r·loss / N`, where r is the row's weight. N
/// is `cols·Σ r` over the rows that count for a mean (PyTorch's mean over all elements), 1 for a sum, or the given
/// denominator.
///
/// If no row counts, a mean is NaN, 0 or an error, as [`EmptyBatch`] says; a sum and a mean over a given denominator
/// are 0. `upstream` and `row_upstream` do not affect a loss.
///
/// # Errors
/// Those of [`row_losses`]; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
pub fn loss<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<SigmoidBceInputs<'a>>,
    shape: Shape,
    options: &SigmoidBceOptions,
) -> Result<f64> {
    let inputs = inputs.into();
    let batch = check(logits, &inputs, shape, options)?;
    batch.check(shape.rows, options.reducing())?;
    if batch.is_empty_mean(options.reduction) {
        return Ok(if options.empty_batch == EmptyBatch::Zero { 0.0 } else { f64::NAN });
    }
    let sum = (0..shape.rows).fold(0.0, |sum, row| sum + row_loss_at(logits, inputs, shape, row));
    Ok(sum / options.reduction.denominator(batch.weight))
}

/// The gradient of [`loss`] with respect to the logits, times `upstream` and each row's `row_upstream`, in the layout
/// of the (rows, cols) logits, with zeros in the padding between rows. Exactly 0 for a row that is left out, and
/// everywhere if the reduction is a mean and no row counts (no error, whatever [`EmptyBatch`] says). Edge cases: see
/// [`row_dlogits`].
///
/// # Errors
/// Those of [`row_losses`].
pub fn dlogits<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<SigmoidBceInputs<'a>>,
    shape: Shape,
    options: &SigmoidBceOptions,
) -> Result<Vec<f64>> {
    let inputs = inputs.into();
    let batch = check(logits, &inputs, shape, options)?;
    Ok(map_rows(shape, |row| row_dlogits_at(logits, inputs, shape, options, &batch, row)))
}

/// The factor of a row's loss in a batch before differentiation: `g·r / N`, where r is the row's weight, g its upstream
/// gradient times the batch's, and N the denominator of [`loss`]. Zero for a row that is left out, and for every row if
/// the reduction is a mean and no row counts.
///
/// `batch` is the result of [`SigmoidBceInputs::check`] for these inputs.
///
/// # Panics
/// If a slice with one value per row has no value for `row`.
pub fn row_scale<'a>(
    inputs: impl Into<SigmoidBceInputs<'a>>,
    options: &SigmoidBceOptions,
    batch: &BatchWeight,
    row: usize,
) -> f64 {
    let inputs = inputs.into();
    let weight = f64::from(inputs.rows.weight(row));
    if weight == 0.0 || batch.is_empty_mean(options.reduction) {
        return 0.0;
    }
    inputs.rows.gradient(row) * weight / options.reduction.denominator(batch.weight)
}

/// The value of [`row_losses`] for one row of a batch. If the row is left out, it is 0 and the row's logits and targets
/// are not read. Takes the arguments of [`row_losses`] and does not check them again.
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_loss_at<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<SigmoidBceInputs<'a>>,
    shape: Shape,
    row: usize,
) -> f64 {
    let inputs = inputs.into();
    assert_row(row, shape.rows);
    let weight = f64::from(inputs.rows.weight(row));
    if weight == 0.0 {
        return 0.0;
    }
    let (logits, targets) = (shape.row_vec(logits, row), shape.row_vec(inputs.targets, row));
    weight * row_loss(&logits, &targets, inputs.pos_weight, inputs.class_weights)
}

/// The values of [`dlogits`] for one row (cols,) of a batch. Takes the arguments of [`dlogits`] and does not check them
/// again; `batch` is as for [`row_scale`].
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_dlogits_at<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<SigmoidBceInputs<'a>>,
    shape: Shape,
    options: &SigmoidBceOptions,
    batch: &BatchWeight,
    row: usize,
) -> Vec<f64> {
    let inputs = inputs.into();
    assert_row(row, shape.rows);
    if inputs.rows.weight(row) == 0.0 || batch.is_empty_mean(options.reduction) {
        return vec![0.0; shape.cols];
    }
    let (logits, targets) = (shape.row_vec(logits, row), shape.row_vec(inputs.targets, row));
    let scale = row_scale(inputs, options, batch, row);
    row_dlogits(&logits, &targets, inputs.pos_weight, inputs.class_weights, scale)
}

/// One class of a row: its logit, P·t, 1 − t and w.
struct Class {
    x: f64,
    positive: f64,
    negative: f64,
    weight: f64,
}

/// The classes of a row, or `None` for a NaN row.
fn classes<E: Element>(
    row: &[E],
    targets: &[f32],
    pos_weight: Option<&[f32]>,
    class_weights: Option<&[f32]>,
) -> Option<Vec<Class>> {
    let weight = |weights: Option<&[f32]>, class: usize| {
        let weight = weights.map_or(Some(1.0), |weights| weights.get(class).copied())?;
        (weight >= 0.0 && weight.is_finite()).then_some(f64::from(weight))
    };
    let class = |(class, x): (usize, &E)| {
        let (x, t) = (x.to_f64(), f64::from(*targets.get(class)?));
        let (pos_weight, weight) = (weight(pos_weight, class)?, weight(class_weights, class)?);
        let is_number = !x.is_nan() && t.is_finite();
        is_number.then_some(Class { x, positive: pos_weight * t, negative: 1.0 - t, weight })
    };
    row.iter().enumerate().map(class).collect()
}

/// A factor times a value, or 0 if the factor is 0: 0 · ∞ too.
fn part(factor: f64, value: f64) -> f64 {
    if factor == 0.0 { 0.0 } else { factor * value }
}

fn check<E: Element>(
    logits: &[E],
    inputs: &SigmoidBceInputs<'_>,
    shape: Shape,
    options: &SigmoidBceOptions,
) -> Result<BatchWeight> {
    shape.check_slice("logits", logits)?;
    inputs.check(shape, options)
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;
    use crate::error::Error;

    #[test]
    fn infinite_logits_have_the_sign_of_their_factor() {
        let of = |x: &[f32], t: &[f32]| row_loss(x, t, None, None);
        let inf = f32::INFINITY;
        assert_eq!(of(&[inf], &[0.5]), f64::INFINITY);
        assert_eq!(of(&[inf], &[2.0]), f64::NEG_INFINITY);
        assert_eq!(of(&[-inf], &[-1.0]), f64::NEG_INFINITY);
        assert!(of(&[inf, inf], &[2.0, 0.0]).is_nan());
        assert!((of(&[2.0], &[3.4e38]) / -6.8e38 - 1.0).abs() < 1e-6);
    }
    use crate::options::Reduction;
    use crate::reference::testing::{GRID, grid_logits, same};

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const OPTIONS: SigmoidBceOptions =
        SigmoidBceOptions { reduction: Reduction::Mean, empty_batch: EmptyBatch::Nan };
    const SUM: SigmoidBceOptions = SigmoidBceOptions { reduction: Reduction::Sum, ..OPTIONS };

    #[test]
    fn worked_values() {
        // Worked by hand, from ln(1 + e⁻²) = 0.1269280110, ln(1 + e⁻¹) = 0.3132616875, ln 2 = 0.6931471806.
        let cases: &[(&str, f32, f32, f32, f32, f64)] = &[
            ("undecided", 0.0, 1.0, 1.0, 1.0, std::f64::consts::LN_2),
            ("right", 2.0, 1.0, 1.0, 1.0, 0.1269280110429726),
            ("wrong", 2.0, 0.0, 1.0, 1.0, 2.1269280110429726),
            ("rightly no", -1.0, 0.0, 1.0, 1.0, 0.3132616875182228),
            ("soft", 2.0, 0.25, 1.0, 1.0, 0.1269280110429726 + 1.5),
            ("pos_weight", -1.0, 1.0, 3.0, 1.0, 3.0 * 1.3132616875182228),
            ("pos_weight of a no", -1.0, 0.0, 3.0, 1.0, 0.3132616875182228),
            ("class weight", 2.0, 1.0, 1.0, 0.5, 0.0634640055214863),
            ("far and right", 1e4, 1.0, 1.0, 1.0, 0.0),
            ("far and wrong", 1e4, 0.0, 1.0, 1.0, 1e4),
            ("far below and wrong", -1e4, 1.0, 1.0, 1.0, 1e4),
            ("the end of f32", f32::MIN, 1.0, 1.0, 1.0, 3.4028234663852886e38),
            ("where 1 + e is 1", 40.0, 1.0, 1.0, 1.0, 4.248354255291589e-18),
        ];
        for &(name, x, t, pos_weight, weight, expected) in cases {
            let loss = row_loss(&[x], &[t], Some(&[pos_weight]), Some(&[weight]));
            assert!((loss - expected).abs() <= 1e-14 * expected, "{name}: {loss}, expected {expected}");
        }
    }

    #[test]
    fn edge_cases() {
        type Case = (&'static str, [f32; 2], [f32; 2], [f32; 2], [f32; 2], f64, [f64; 2]);
        let ln_2 = std::f64::consts::LN_2;
        let (inf, nan, half) = (f64::INFINITY, f64::NAN, [-0.5; 2]);
        let one = [1.0; 2];
        let cases: &[Case] = &[
            ("usual", [0.0, 0.0], one, one, one, 2.0 * ln_2, half),
            ("NaN", [NAN, 0.0], one, one, one, nan, [nan; 2]),
            ("NaN of weight 0", [0.0, NAN], one, one, [1.0, 0.0], nan, [nan; 2]),
            ("+∞, applies", [INF, 0.0], one, one, one, ln_2, [0.0, -0.5]),
            ("+∞, does not apply", [INF, 0.0], [0.0, 1.0], one, one, inf, [1.0, -0.5]),
            ("+∞, half", [INF, 0.0], [0.5, 1.0], one, one, inf, [0.5, -0.5]),
            ("+∞ of weight 0", [INF, 0.0], [0.0, 1.0], one, [0.0, 1.0], ln_2, [0.0, -0.5]),
            ("−∞, applies", [-INF, 0.0], one, one, one, inf, [-1.0, -0.5]),
            ("−∞, does not apply", [-INF, 0.0], [0.0, 1.0], one, one, ln_2, [0.0, -0.5]),
            ("−∞, pos_weight 0", [-INF, 0.0], one, [0.0, 1.0], one, ln_2, [0.0, -0.5]),
            ("−∞ of weight 0", [-INF, 0.0], one, one, [0.0, 1.0], ln_2, [0.0, -0.5]),
            ("a target of NaN", [0.0, 0.0], [NAN, 1.0], one, one, nan, [nan; 2]),
            ("a target of ∞, weight 0", [0.0, 0.0], [INF, 1.0], one, [0.0, 1.0], nan, [nan; 2]),
            ("a target beyond 1", [0.0, 0.0], [3.0, 1.0], one, one, 2.0 * ln_2, [-2.5, -0.5]),
            ("+∞, target beyond 1", [INF, 0.0], [3.0, 1.0], one, one, inf, [-2.0, -0.5]),
            ("a negative weight", [0.0, 0.0], one, one, [-1.0, 1.0], nan, [nan; 2]),
            ("a pos_weight of NaN", [0.0, 0.0], one, [NAN, 1.0], one, nan, [nan; 2]),
            ("both ends of f32", [f32::MAX, f32::MIN], one, one, one, f64::from(f32::MAX), [0.0, -1.0]),
        ];
        for (name, row, targets, pos_weight, weights, loss, gradient) in cases {
            let (pos_weight, weights) = (Some(&pos_weight[..]), Some(&weights[..]));
            let found = row_loss(row, targets, pos_weight, weights);
            let is_near = (found - loss).abs() <= 1e-15 * loss.abs();
            assert!(is_near || same(&[found], &[*loss]), "{name}: {found}");
            let found = row_dlogits(row, targets, pos_weight, weights, 1.0);
            assert!(same(&found, gradient), "{name}: {found:?}");
        }
        let missing = row_loss(&[0.0, 0.0], &[1.0, 1.0], Some(&[1.0]), None);
        assert!(missing.is_nan(), "a weight is missing");
    }

    #[test]
    fn sigmoids_keep_their_digits() {
        for x in [-700.0, -40.0, -1.0, 0.0, 0.3, 40.0, 700.0] {
            assert_relative_eq!(sigmoid(x) + sigmoid(-x), 1.0, max_relative = 1e-15);
            assert_relative_eq!(ln_sigmoid(x), ln_sigmoid(-x) + x, max_relative = 1e-14);
        }
        assert_eq!((sigmoid(f64::NEG_INFINITY), sigmoid(f64::INFINITY)), (0.0, 1.0));
        assert_eq!((ln_sigmoid(f64::NEG_INFINITY), ln_sigmoid(f64::INFINITY)), (f64::NEG_INFINITY, 0.0));
        assert_relative_eq!(sigmoid(-40.0), 4.248354255291589e-18, max_relative = 1e-14);
    }

    #[test]
    fn gradients_are_finite_differences_of_the_loss() {
        for seed in 0..20 {
            let cols = 1 + seed as usize;
            let row = grid_logits(seed, cols);
            let uniform = |seed: u64| grid_logits(seed, cols).iter().map(|x| (x + 8.0) / 16.0).collect();
            let (targets, pos_weight, weights): (Vec<f32>, Vec<f32>, Vec<f32>) =
                (uniform(seed + 100), uniform(seed + 200), uniform(seed + 300));
            let loss = |row: &[f32]| row_loss(row, &targets, Some(&pos_weight), Some(&weights));
            let gradient = row_dlogits(&row, &targets, Some(&pos_weight), Some(&weights), 2.0);
            for class in 0..cols {
                let step = 4.0 * GRID;
                let moved = |by: f32| {
                    let mut row = row.clone();
                    row[class] += by;
                    loss(&row)
                };
                let difference = (moved(step) - moved(-step)) / f64::from(step);
                assert_relative_eq!(gradient[class], difference, epsilon = 1e-5, max_relative = 1e-4);
            }
        }
    }

    #[test]
    fn without_pos_weight_it_is_prediction_minus_target() {
        let row = grid_logits(7, 9);
        let targets: Vec<f32> = (0..9u8).map(|class| f32::from(class) / 8.0).collect();
        for (class, found) in row_dlogits(&row, &targets, None, None, 1.0).into_iter().enumerate() {
            let expected = sigmoid(row[class].into()) - f64::from(targets[class]);
            assert_relative_eq!(found, expected, epsilon = 1e-15);
        }
    }

    #[test]
    fn two_classes_of_softmax_are_one_of_sigmoid() {
        for (seed, y) in (0..10).zip([0, 1].into_iter().cycle()) {
            let row = grid_logits(seed, 2);
            let target = crate::RowTarget::Class(y);
            let softmax = super::super::cross_entropy::row_loss(&row, &target, None, &Default::default());
            let sigmoid = row_loss(&[row[1] - row[0]], &[y as f32], None, None);
            assert_relative_eq!(softmax.total(), sigmoid, max_relative = 1e-13);
        }
    }

    #[test]
    fn batches_divide_by_the_classes_of_the_rows_that_count() {
        let shape = Shape::new(3, 2).row_stride(3);
        let ln_2 = std::f64::consts::LN_2;
        let logits = [0.0, 0.0, NAN, NAN, INF, NAN, 0.0, 0.0f32];
        let targets = [1.0, 0.0, NAN, NAN, NAN, NAN, 1.0, 1.0f32];
        let inputs = SigmoidBceInputs::new(&targets).row_weights(&[3.0, 0.0, 1.0]).class_weights(&[1.0, 0.5]);
        let found = row_losses(&logits, inputs, shape, &OPTIONS).expect("row losses");
        assert_relative_eq!(found[..], [4.5 * ln_2, 0.0, 1.5 * ln_2][..], max_relative = 1e-15);
        for (options, expected) in [(OPTIONS, 6.0 * ln_2 / 8.0), (SUM, 6.0 * ln_2)] {
            let found = loss(&logits, inputs, shape, &options).expect("a loss");
            assert_relative_eq!(found, expected, max_relative = 1e-15);
        }
        let inputs = inputs.upstream(2.0).row_upstream(&[1.0, 5.0, -1.0]);
        let expected = [-3.0 / 8.0, 1.5 / 8.0, 0.0, 0.0, 0.0, 0.0, 1.0 / 8.0, 0.5 / 8.0];
        assert_eq!(dlogits(&logits, inputs, shape, &OPTIONS), Ok(expected.to_vec()));
        let side_by_side = Shape::nchw(1, 2, 3);
        let found = row_losses(&[0.0f32, INF, 2.0, 0.0, INF, 0.0], &[1.0; 6], side_by_side, &OPTIONS);
        let found = found.expect("row losses");
        assert_relative_eq!(found[2], ln_2 + 0.1269280110429726, max_relative = 1e-14);
        assert_eq!(found[..2], [2.0 * ln_2, 0.0]);
    }

    #[test]
    fn batches_in_which_no_row_counts() {
        let shape = Shape::new(2, 2);
        let inputs = SigmoidBceInputs::new(&[1.0; 4]).row_mask(&[false, false]);
        let logits = [NAN; 4];
        let of = |empty_batch| loss(&logits, inputs, shape, &SigmoidBceOptions { empty_batch, ..OPTIONS });
        assert!(of(EmptyBatch::Nan).expect("a mean").is_nan());
        assert_eq!(of(EmptyBatch::Zero), Ok(0.0));
        assert_eq!(of(EmptyBatch::Error), Err(Error::NoRowCounts { rows: 2 }));
        assert_eq!(loss(&logits, inputs, shape, &SUM), Ok(0.0));
        assert_eq!(dlogits(&logits, inputs, shape, &OPTIONS), Ok(vec![0.0; 4]));
        assert!(loss::<f32>(&[], &[], Shape::new(0, 3), &OPTIONS).expect("a mean").is_nan());
    }

    #[test]
    fn arguments_are_checked() {
        let shape = Shape::new(2, 2);
        let short = Err(Error::Length { what: "logits", found: 3, needed: 4 });
        assert_eq!(row_losses(&[0.0f32; 3], &[1.0; 4], shape, &OPTIONS), short);
        let short = Err(Error::Length { what: "targets", found: 3, needed: 4 });
        assert_eq!(row_losses(&[0.0f32; 4], &[1.0; 3], shape, &OPTIONS), short);
        let options = SigmoidBceOptions { reduction: Reduction::MeanOver(0.0), ..OPTIONS };
        assert!(matches!(
            loss(&[0.0f32; 4], &[1.0; 4], shape, &options),
            Err(Error::InvalidOption { option: "reduction: MeanOver", .. })
        ));
    }
}
