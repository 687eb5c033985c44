//! All that is known of a batch when it is reported.

use xent::CrossEntropyOptions;
use xent::eval::{Report, Tally};

/// All there is to say.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    pub report: &'a Report,
    pub tally: &'a Tally,
    pub op: &'a CrossEntropyOptions,
    pub adapter: &'a str,
    /// Rows that there are; the report is of fewer where the run was stopped.
    pub rows_given: usize,
    /// Bytes of logits, and of soft targets, that came from files; none where they were made.
    pub bytes_read: Option<u64>,
    /// The most memory that this process has had, where the system tells.
    pub peak_memory: Option<u64>,
}
