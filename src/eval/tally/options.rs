//! The options of a tally.

use super::RELIABILITY_BINS;

/// The options of a [`Tally`](super::Tally).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TallyOptions {
    /// Rows per sequence, or in the longest one if they differ. 0 counts as 1. Default: 1.
    pub sequence_length: usize,
    /// The rows of the whole batch: a sequence that is cut short there is complete. Default: not known.
    pub rows: usize,
    /// The number of classes, for figures of each class (up to 4,096) and their confusion (up to 512). Default: 0, for
    /// none.
    pub classes: usize,
    /// How many of the rows with the largest losses are named. Default: 10.
    pub worst_rows: usize,
    /// Bins of equal width of the confidence. Default: 15.
    pub reliability_bins: usize,
}

impl Default for TallyOptions {
    fn default() -> Self {
        Self {
            sequence_length: 1,
            rows: usize::MAX,
            classes: 0,
            worst_rows: 10,
            reliability_bins: RELIABILITY_BINS,
        }
    }
}
