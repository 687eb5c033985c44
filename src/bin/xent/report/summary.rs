//! Everything that is known about a batch when it is reported.

use xent::CrossEntropyOptions;
use xent::eval::{Report, Tally};

/// Everything that a report can say.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    pub report: &'a Report,
    pub tally: &'a Tally,
    pub op: &'a CrossEntropyOptions,
    pub adapter: &'a str,
    /// The rows of the input. The report covers fewer if the run was stopped.
    pub rows_given: usize,
    /// Bytes of logits and soft targets that came from files; none if they did not come from files.
    pub bytes_read: Option<u64>,
    /// The most memory that this process has had, if the system tells.
    pub peak_memory: Option<u64>,
}
