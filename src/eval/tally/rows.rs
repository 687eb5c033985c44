//! Rows, as a tally takes them.

use crate::eval::evaluated::Evaluated;
use crate::results::RowResult;

/// Rows to add to a [`Tally`](super::Tally): results with what else is known of them.
///
/// More fields may come: end a literal with `..TallyRows::new(first, results)`.
#[derive(Clone, Copy, Debug)]
pub struct TallyRows<'a> {
    /// The index of the first of them in the batch.
    pub first: usize,
    /// Their results (rows,).
    pub results: &'a [RowResult],
    /// The class that each of them should predict (rows,): its target, or the class of the largest probability in it;
    /// [`NO_CLASS`](crate::NO_CLASS) for none. Default: none.
    pub top_classes: &'a [u32],
    /// The weight of each of them in a mean (rows,), which their losses are already multiplied by. Either all rows of a
    /// batch have weights here, or none. Default: 1 each.
    pub weights: Option<&'a [f64]>,
    /// Where the sequences of the batch end, if they differ in length: (sequences,), the index after the last row of
    /// each. Default: all have the tally's `sequence_length`.
    pub sequence_ends: Option<&'a [usize]>,
}

impl<'a> TallyRows<'a> {
    /// The results (rows,) of the rows that start at `first`.
    pub const fn new(first: usize, results: &'a [RowResult]) -> Self {
        Self { first, results, top_classes: &[], weights: None, sequence_ends: None }
    }
}

impl<'a> From<&Evaluated<'a>> for TallyRows<'a> {
    fn from(window: &Evaluated<'a>) -> Self {
        let &Evaluated { ref rows, results, top_classes, weights, sequence_ends, .. } = window;
        Self { first: rows.start, results, top_classes, weights, sequence_ends }
    }
}
