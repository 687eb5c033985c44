//! The bad rows that a tally lists.

use crate::flags::Flags;

/// The most bad rows that a [`Tally`](super::Tally) lists.
pub const MAX_LISTED_BAD_ROWS: usize = 100;

/// The first bad rows by their index, and the bits of their flags.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct BadRows(Vec<(u64, u32)>);

impl BadRows {
    /// Lists a row, as long as there is room or it comes before others.
    pub fn add(&mut self, row: u64, flags: u32) {
        let at = self.0.partition_point(|&(listed, _)| listed <= row);
        if at < MAX_LISTED_BAD_ROWS {
            self.0.truncate(MAX_LISTED_BAD_ROWS - 1);
            self.0.insert(at, (row, flags));
        }
    }

    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|&(row, flags)| self.add(row, flags));
    }

    pub fn rows(&self) -> impl Iterator<Item = (usize, Flags)> {
        self.0.iter().map(|&(row, flags)| (row as usize, Flags::from_bits_truncate(flags)))
    }

    /// Whether these can be the first of so many bad rows.
    pub fn is_sound(&self, bad: u64) -> bool {
        let listed = bad.min(MAX_LISTED_BAD_ROWS as u64);
        self.0.len() as u64 == listed && self.0.is_sorted_by(|(before, _), (row, _)| before < row)
    }
}
