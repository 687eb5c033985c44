//! The operations on the CPU: in f64, naive, written from their definitions.
//!
//! The kernels are checked against this code. Read it if a formula is in doubt. It uses none of the kernels' fast
//! forms: it reads a row as often as the definition says, and a gradient is the derivative of the loss as written, term
//! by term. Each logit is widened to f64, which is exact for any [`Element`](crate::Element). Everything after that is
//! f64, summed in order. A result beyond f32 (such as a loss of 6.8e38) is therefore finite here and +∞ on the GPU.
//!
//! Each operation has two forms:
//! - For one row (cols,), such as [`softmax_row`] or [`cross_entropy::row_loss`]. It refuses nothing and never panics.
//!   If an option is outside its range, or a slice is too short for the row, all results are NaN. Use it to check a
//!   sample of rows, or to spread rows over threads.
//! - For a batch (rows, cols) in the layout of a [`Shape`], with the class axis anywhere, such as [`softmax()`] or
//!   [`cross_entropy::loss`]. It checks its arguments and then loops over the rows.
//!
//! Functions whose name ends in `_at`, such as [`cross_entropy::row_loss_at`], are for one row of a batch whose
//! arguments have already been checked. They panic, like an index, if there is no such row.
//!
//! ```
//! use xent::{Shape, SoftmaxOptions, reference};
//!
//! let probs = reference::softmax(&[3.0f32, 1.0, 0.2], Shape::new(1, 3), &SoftmaxOptions::default())?;
//! for (p, expected) in probs.iter().zip([0.8360, 0.1131, 0.0508]) {
//!     assert!((p - expected).abs() < 5e-5);
//! }
//! # Ok::<(), xent::Error>(())
//! ```

use crate::error::Result;
use crate::inputs::BatchWeight;
use crate::options::{EmptyBatch, Reducing};
use crate::shape::Shape;

mod argmax;
pub mod calibration;
mod comparison;
pub mod cross_entropy;
mod distribution;
mod entmax;
pub mod entmax_loss;
pub mod info_nce;
pub mod kl_divergence;
mod logsumexp;
mod masked_softmax;
#[cfg(test)]
mod misuse_tests;
mod readouts;
pub mod sampled_softmax;
pub mod sampling;
pub mod sigmoid_bce;
mod softmax;
mod top_k;

pub use argmax::{argmax, argmax_row};
pub use comparison::{RowComparison, compare_row};
pub use entmax::{entmax, entmax_backward, entmax_backward_row, entmax_margins_row, entmax_row};
pub use logsumexp::{logsumexp, logsumexp_row};
pub use masked_softmax::{masked_scores_row, masked_softmax, masked_softmax_row};
pub use readouts::{RowReadouts, row_readouts};
pub use softmax::{
    log_softmax, log_softmax_backward, log_softmax_backward_row, log_softmax_row, softmax, softmax_backward,
    softmax_backward_row, softmax_row,
};
pub use top_k::top_k_row;

/// Puts the results of `of_row` for each row (cols,) into the layout of the shape, with zeros in the padding between
/// rows.
fn map_rows(shape: Shape, of_row: impl Fn(usize) -> Vec<f64>) -> Vec<f64> {
    let mut values = vec![0.0; shape.len()];
    for row in 0..shape.rows {
        let places = values[shape.row_start(row)..].iter_mut().step_by(shape.inner);
        for (place, value) in places.zip(of_row(row)) {
            *place = value;
        }
    }
    values
}

/// The reduced loss of rows that are summed in their order, for a loss without a z-loss.
fn reduced(
    rows: usize,
    batch: &BatchWeight,
    how: Reducing,
    losses: impl FnOnce() -> Result<Vec<f64>>,
) -> Result<f64> {
    batch.check(rows, how)?;
    let sum: f64 = losses()?.iter().sum();
    if batch.is_empty_mean(how.reduction) {
        return Ok(if how.empty_batch == EmptyBatch::Zero { 0.0 } else { f64::NAN });
    }
    Ok(sum / how.reduction.denominator(batch.weight))
}

#[cfg(test)]
mod testing {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// The grid of [`grid_logits`]: such a logit plus or minus a few steps of the grid is exact in f32.
    pub const GRID: f32 = 1.0 / 1024.0;

    /// Logits in ±8, each a multiple of [`GRID`].
    pub fn grid_logits(seed: u64, len: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..len).map(|_| rng.random_range(-8192..=8192) as f32 * GRID).collect()
    }

    /// Whether two slices are equal. NaN equals NaN, and an infinity equals itself.
    pub fn same(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
    }
}
