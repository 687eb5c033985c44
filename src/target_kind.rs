//! Kinds of target.

/// What a batch's targets are, without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// A class index a row.
    Classes,
    /// A probability for each class.
    Soft,
    /// A few classes of each row with their probabilities.
    Sparse {
        /// Entries of each row.
        entries: usize,
    },
}

impl TargetKind {
    /// Targets of a row that are told by their class: 0 where each class has one.
    pub(crate) fn entries(self) -> usize {
        match self {
            Self::Classes => 1,
            Self::Soft => 0,
            Self::Sparse { entries } => entries,
        }
    }
}
