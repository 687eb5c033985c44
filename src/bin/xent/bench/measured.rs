//! The measurements.

use xent::{Shape, Verification};

use crate::operation::Operation;

/// The timed runs of each operation, after the runs that check its answer.
pub const RUNS: usize = 11;

/// All measurements.
pub struct Benched {
    pub adapter: String,
    /// `gpu` or `wall`.
    pub clock: &'static str,
    pub tuned: bool,
    pub results: Vec<Measured>,
}

/// The measurement of one operation on one batch.
pub struct Measured {
    pub shape: Shape,
    pub dtype: &'static str,
    pub op: Operation,
    /// For the copy, what copies: `kernel` or `driver`.
    pub by: Option<&'static str>,
    pub checked: Verification,
    /// The bytes that must move: the logits are read once, and as much is written if the operation writes.
    pub bytes: u64,
    /// The median; `None` if the answer is wrong.
    pub ms: Option<f64>,
    pub share_of_copy: Option<f64>,
}

impl Measured {
    pub fn logits_per_second(&self) -> Option<f64> {
        self.ms.map(|ms| (self.shape.rows * self.shape.cols) as f64 / (ms / 1e3))
    }

    pub fn gb_per_second(&self) -> Option<f64> {
        self.ms.map(|ms| self.bytes as f64 / (ms / 1e3) / 1e9)
    }
}
