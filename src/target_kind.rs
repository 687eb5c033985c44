//! Kinds of targets.

/// The kind of a batch's targets, without their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// One class index per row.
    Classes,
    /// A probability for each class.
    Soft,
    /// A few classes of each row with their probabilities.
    Sparse {
        /// Entries per row.
        entries: usize,
    },
}

impl TargetKind {
    /// Entries per row that name their class. 0 for soft targets, which have a value for every class.
    pub(crate) fn entries(self) -> usize {
        match self {
            Self::Classes => 1,
            Self::Soft => 0,
            Self::Sparse { entries } => entries,
        }
    }
}
