//! The operations on the CPU: in f64, naive, written from their definitions.
//!
//! This is what the kernels are checked against, and what to read when a formula is in doubt. Nothing here comes from
//! the kernels' fast forms: a row is swept as often as the definition says, and a gradient is the derivative of the loss
//! as written, term by term. Each logit is widened to f64, which loses nothing for any [`Element`](crate::Element); from
//! there on all is f64, summed in order. A result beyond f32 (a loss of 6.8e38) is therefore finite here and +∞ on the
//! GPU.
//!
//! Each operation comes twice:
//! - for one row (cols,), as [`softmax_row`] or [`cross_entropy::row_loss`]: refuses nothing and never panics. An option
//!   outside its range, or a slice that is too short for the row, makes all that comes out NaN. For callers who check a
//!   sample of rows, or spread rows over threads.
//! - for a batch (rows, cols), laid out as a [`Shape`] says, class axis anywhere, as [`softmax()`] or
//!   [`cross_entropy::loss`]: checks its arguments, then is a plain loop over the rows.
//!
//! Functions whose name ends in `_at`, as [`cross_entropy::row_loss_at`], are for one row of a batch whose arguments were
//! checked before. They panic, as an index does, where there is no such row.
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

use crate::shape::Shape;

mod argmax;
pub mod cross_entropy;
mod distribution;
pub mod kl_divergence;
mod logsumexp;
mod masked_softmax;
#[cfg(test)]
mod misuse_tests;
pub mod sigmoid_bce;
mod softmax;

pub use argmax::{argmax, argmax_row};
pub use logsumexp::{logsumexp, logsumexp_row};
pub use masked_softmax::{masked_scores_row, masked_softmax, masked_softmax_row};
pub use softmax::{
    log_softmax, log_softmax_backward, log_softmax_backward_row, log_softmax_row, softmax, softmax_backward,
    softmax_backward_row, softmax_row,
};

/// What `of_row` gives for each row (cols,), laid out by the shape, zeros in the padding between rows.
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

#[cfg(test)]
mod testing {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// The grid that [`grid_logits`] lie on: such a logit plus or minus a few of these is exact in f32.
    pub const GRID: f32 = 1.0 / 1024.0;

    /// Logits in ±8, each a multiple of [`GRID`].
    pub fn grid_logits(seed: u64, len: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..len).map(|_| rng.random_range(-8192..=8192) as f32 * GRID).collect()
    }

    /// Equal, NaN for NaN and infinity for infinity.
    pub fn same(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
    }
}
