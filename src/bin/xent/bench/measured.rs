//! What was measured.

use xent::{Shape, Verification};

use crate::operation::Operation;

/// Timed runs of each, after those that check its answer.
pub const RUNS: usize = 11;

/// All that was measured.
pub struct Benched {
    pub adapter: String,
    /// `gpu` or `wall`.
    pub clock: &'static str,
    pub tuned: bool,
    pub results: Vec<Measured>,
}

/// One operation on one batch.
pub struct Measured {
    pub shape: Shape,
    pub dtype: &'static str,
    pub op: Operation,
    /// Who copies: `kernel` or `driver`.
    pub by: Option<&'static str>,
    pub checked: Verification,
    /// What must move: logits read once, and as much written if it writes.
    pub bytes: u64,
    /// The median; none where the answer is wrong.
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
