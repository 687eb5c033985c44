//! How a run ended.

/// How a run ended that met no error.
pub enum Outcome {
    Done,
    /// Results were compared with the reference and are not within their bounds.
    NotVerified,
    /// The loss of some row is none, and `--strict` was given.
    BadRows,
    /// No adapter was found, which may be for want of what this process may take.
    TooTight,
}
