//! Cross-entropy: the loss and its gradient, for every kind of target and every option.
//!
//! The inputs are logits, as in [PyTorch's `cross_entropy`][torch]: the softmax is part of the loss. Passing
//! probabilities gives no error, because they are valid numbers, but the result is wrong:
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
//! The options, and their sources:
//!
//! | option | term | source |
//! | --- | --- | --- |
//! | `label_smoothing` ε | `(1 − ε)·ℓ_y + (ε / C)·Σ_j ℓ_j` | Szegedy et al. 2016, arXiv:1512.00567 |
//! | `focal_gamma` γ | `(1 − p_y)^γ·ℓ_y` | Lin et al. 2017, arXiv:1708.02002 |
//! | `z_loss` λ | `+ λ·(ln Σ exp)²` | PaLM: Chowdhery et al. 2022, arXiv:2204.02311 |
//! | `softcap` κ | logits become `κ·tanh(x / κ)` | Gemma 2, arXiv:2408.00118 |
//! | `temperature` T | then they are divided by T | Hinton et al. 2015, arXiv:1503.02531 |
//! | class weights w | `w_j·ℓ_j`; a mean over class targets divides by Σ w_y | PyTorch |
//!
//! The full formulas and the edge cases are in [`row_loss`] and [`row_dlogits`].
//!
//! [torch]: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html

use super::map_rows;
use crate::element::Element;
use crate::error::Result;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::options::{CrossEntropyOptions, EmptyBatch};
use crate::shape::{Shape, assert_row};

mod partials;
mod row;
mod shares;
#[cfg(test)]
mod tests;

pub use partials::row_partials;
use row::of_this_input;
pub use row::{RowLoss, RowScale, row_dlogits, row_loss, row_shares};

/// The loss of each row of (rows, cols) logits, in nats, (rows,): row weight · (loss + z-loss) of [`row_loss`], not
/// reduced. Exactly 0 for a row that is left out: its target is ignored, its weight is 0, it is masked, or
/// [`sequences`](CrossEntropyOptions::sequences) leaves it without a target.
///
/// # Errors
/// Those of [`CrossEntropyInputs::check`]; [`Error::Length`](crate::Error::Length) if the length of `logits` does not
/// match `shape`.
pub fn row_losses<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<Vec<f64>> {
    let inputs = inputs.into();
    check(logits, &inputs, shape, options)?;
    let of_row =
        |row| inputs.row_weight(options, row) * row_loss_at(logits, inputs, shape, options, row).total();
    // A row of weight 0 has a loss of 0, never NaN: see `row_loss_at`.
    Ok((0..shape.rows).map(of_row).collect())
}

/// The reduced loss of (rows, cols) logits in nats, summed in row order: `Σ r·loss / N + Σ r·z_loss / N₁`, where r is
/// the row's weight.
///
/// | reduction | N | N₁ |
/// | --- | --- | --- |
/// | mean, class targets | Σ r·w_y over the rows that count | Σ r over them |
/// | mean, soft and sparse targets | Σ r | Σ r |
/// | sum | 1 | 1 |
/// | mean over d | d | d |
///
/// If no row counts, or their weights sum to 0, a mean is NaN, 0 or an error, as [`EmptyBatch`] says; a sum and a mean
/// over a given denominator are 0. `upstream` and `row_upstream` do not affect a loss.
///
/// # Errors
/// Those of [`row_losses`]; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
pub fn loss<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<f64> {
    Ok(loss_parts(logits, inputs, shape, options)?.total())
}

/// The z-loss part of [`loss`]: `Σ r·λ·lse² / N₁`. For an empty batch it follows [`loss`].
///
/// # Errors
/// Those of [`loss`].
pub fn z_loss<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<f64> {
    Ok(loss_parts(logits, inputs, shape, options)?.z_loss)
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
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<Vec<f64>> {
    let inputs = inputs.into();
    let batch = check(logits, &inputs, shape, options)?;
    Ok(map_rows(shape, |row| row_dlogits_at(logits, inputs, shape, options, &batch, row)))
}

/// The factors of a row's loss in a batch before differentiation: `g·r / N` and `g·r / N₁`, where r is the row's
/// weight, g its upstream gradient times the batch's, and N and N₁ are the denominators of [`loss`]. Zero for a row
/// that is left out, and for every row if the reduction is a mean and no row counts.
///
/// `batch` is the result of [`CrossEntropyInputs::check`] for these inputs.
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_scale<'a>(
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
    batch: &BatchWeight,
    row: usize,
) -> RowScale {
    let inputs = inputs.into();
    assert_row(row, shape.rows);
    if batch.is_empty_mean(options.reduction) || inputs.row_target(shape, options, row).is_none() {
        return RowScale::ZERO;
    }
    counted_row_scale(&inputs, options, batch, row)
}

/// [`row_scale`] of a row that counts.
#[inline]
pub(crate) fn counted_row_scale(
    inputs: &CrossEntropyInputs<'_>,
    options: &CrossEntropyOptions,
    batch: &BatchWeight,
    row: usize,
) -> RowScale {
    let gradient = inputs.rows.gradient(row) * inputs.row_weight(options, row);
    RowScale {
        loss: gradient / options.reduction.denominator(batch.weight),
        z_loss: gradient / options.reduction.denominator(batch.row_weight),
    }
}

/// The [`row_loss`] of one row of a batch with its own target, not multiplied by the row's weight. If the row is left
/// out, all parts are 0 and its logits are not read. Takes the arguments of [`row_losses`] and does not check them
/// again.
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_loss_at<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
    row: usize,
) -> RowLoss {
    let inputs = inputs.into();
    assert_row(row, shape.rows);
    match inputs.row_target(shape, options, row) {
        Some(target) => row_loss(&shape.row_vec(logits, row), &target, inputs.class_weights, options),
        None => RowLoss::default(),
    }
}

/// The [`row_dlogits`] of one row of a batch (cols,), with its own target and [`row_scale`]: that row of [`dlogits`].
/// Takes the arguments of [`dlogits`] and does not check them again; `batch` is as for [`row_scale`].
///
/// # Panics
/// If `row` is not in 0..rows, or if a slice ends before this row's part of it.
pub fn row_dlogits_at<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
    batch: &BatchWeight,
    row: usize,
) -> Vec<f64> {
    let inputs = inputs.into();
    assert_row(row, shape.rows);
    match inputs.row_target(shape, options, row) {
        Some(target) if !batch.is_empty_mean(options.reduction) => {
            let scale = row_scale(inputs, shape, options, batch, row);
            row_dlogits(&shape.row_vec(logits, row), &target, inputs.class_weights, options, scale)
        }
        _ => vec![0.0; shape.cols],
    }
}

/// Both parts of the reduced loss.
struct LossParts {
    loss: f64,
    z_loss: f64,
}

impl LossParts {
    fn total(&self) -> f64 {
        self.loss + self.z_loss
    }
}

fn loss_parts<'a, E: Element>(
    logits: &[E],
    inputs: impl Into<CrossEntropyInputs<'a>>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<LossParts> {
    let inputs = inputs.into();
    let batch = check(logits, &inputs, shape, options)?;
    batch.check(shape.rows, options.reducing())?;
    let mut sum = LossParts { loss: 0.0, z_loss: 0.0 };
    for row in 0..shape.rows {
        let of_row = row_loss_at(logits, inputs, shape, options, row);
        let weight = inputs.row_weight(options, row);
        sum.loss += weight * of_row.loss;
        sum.z_loss += weight * of_row.z_loss;
    }
    if batch.is_empty_mean(options.reduction) {
        // A NaN row of class weight 0 stays NaN.
        let is_zero = options.empty_batch == EmptyBatch::Zero && !(sum.loss + sum.z_loss).is_nan();
        let mean = if is_zero { 0.0 } else { f64::NAN };
        return Ok(LossParts { loss: mean, z_loss: mean });
    }
    Ok(LossParts {
        loss: sum.loss / options.reduction.denominator(batch.weight),
        z_loss: sum.z_loss / options.reduction.denominator(batch.row_weight),
    })
}

fn check<E: Element>(
    logits: &[E],
    inputs: &CrossEntropyInputs<'_>,
    shape: Shape,
    options: &CrossEntropyOptions,
) -> Result<BatchWeight> {
    shape.check_slice("logits", logits)?;
    inputs.check(shape, options)
}
