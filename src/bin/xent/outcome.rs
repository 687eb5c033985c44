//! How a run ended.

/// How a run without an error ended.
pub enum Outcome {
    Done,
    /// Results were compared with the reference and are not within their error bounds.
    NotVerified,
    /// Some row is bad, and `--strict` was given.
    BadRows,
    /// No adapter was found, perhaps because the limits of this process are too tight.
    TooTight,
}
