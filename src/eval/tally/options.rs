//! The options of a tally.

use super::{MAX_CONFUSED_CLASSES, MAX_TALLIED_CLASSES, RELIABILITY_BINS};

/// Bins of losses of both signs, positions, ranks, and bins of confidences.
const FIXED_BYTES: u64 = (2 << 17) + 1024 * 88 + 1024 * 8 + 3_500 * 32 + 4096;
const CLASS_BYTES: u64 = 72;

/// The options of a [`Tally`](super::Tally).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

impl TallyOptions {
    /// The most bytes that a tally with these options takes: less than 2 MiB and 64 bytes for each class.
    pub fn max_bytes(&self) -> u64 {
        let kept = |most: usize| if self.classes <= most { self.classes as u64 } else { 0 };
        let worst = self.worst_rows.min(self.rows) as u64;
        FIXED_BYTES
            + CLASS_BYTES * kept(MAX_TALLIED_CLASSES)
            + 4 * kept(MAX_CONFUSED_CLASSES).pow(2)
            + 32 * worst
    }
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
