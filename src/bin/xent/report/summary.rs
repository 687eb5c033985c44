//! Everything that is known about a batch when it is reported.

use xent::eval::{Report, Tally};

use crate::losses::AnyLoss;

/// Everything that a report can say.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    pub report: &'a Report,
    pub tally: &'a Tally,
    pub loss: AnyLoss,
    pub adapter: &'a str,
    /// The rows of the input. The report covers fewer if the run was stopped.
    pub rows_given: usize,
    /// Bytes of logits, and of arrays with their layout, that came from files; none if they did not come from files.
    pub bytes_read: Option<u64>,
    /// The most memory that this process has had, if the system tells.
    pub peak_memory: Option<u64>,
}
