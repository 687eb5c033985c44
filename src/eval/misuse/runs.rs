//! The targets of sequences, followed to their ends.

use crate::results::NO_CLASS;

/// A run of one token that is no chance.
const LONG_RUN: usize = 4;

/// Runs of one target at the ends of sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Runs {
    pub sequences: u64,
    /// The token of the runs, and the sequences that end in one.
    pub class: Option<u32>,
    pub padded: u64,
    /// The run that is open: its sequence, its class, its length, and the rows without a target behind it.
    open: (usize, u32, usize, usize),
    /// Scored targets behind which everything is masked and the same class, that class, and other such targets.
    pub masked_ends: u64,
    pub masked_class: Option<u32>,
    pub masked_others: u64,
}

/// What a run needs to know of the sequences of its rows.
#[derive(Clone, Copy)]
pub(in crate::eval) struct OfSequences<'a> {
    pub length: usize,
    pub shift: usize,
    pub ends: Option<&'a [usize]>,
    pub is_in_positions: bool,
}

impl OfSequences<'_> {
    /// The sequence of a row, and the row after its last.
    fn place(&self, row: usize) -> (usize, usize) {
        match self.ends {
            Some(ends) => {
                let sequence = ends.partition_point(|&end| end <= row);
                (sequence, ends.get(sequence).copied().unwrap_or(usize::MAX))
            }
            None => {
                let length = self.length.max(1);
                (row / length, (row - row % length).saturating_add(length))
            }
        }
    }
}

impl Runs {
    /// Follows the targets of the rows from `first` on through their sequences. `given` are the targets as they were
    /// given, those of rows that are left out, too.
    pub fn follow(&mut self, first: usize, top_classes: &[u32], given: Option<&[i32]>, of: &OfSequences<'_>) {
        for (at, &class) in top_classes.iter().enumerate() {
            let row = first.saturating_add(at);
            let (sequence, end) = of.place(row);
            self.add(sequence, class, of.shift);
            let next = at.saturating_add(of.shift);
            // The row of the target, if it has a target of its own and is left out.
            let is_last = of.is_in_positions
                && class != NO_CLASS
                && row.saturating_add(of.shift.saturating_mul(2)) < end
                && top_classes.get(next) == Some(&NO_CLASS);
            if let (true, Some(given)) = (is_last, given) {
                if given.get(next).is_some_and(|&behind| i64::from(behind) == i64::from(class)) {
                    self.masked_ends += 1;
                    let is_other = *self.masked_class.get_or_insert(class) != class;
                    self.masked_others += u64::from(is_other);
                } else {
                    self.masked_others += 1;
                }
            }
        }
    }

    /// Adds the next row's target, or its lack of one.
    fn add(&mut self, sequence: usize, class: u32, shift: usize) {
        if self.sequences == 0 || self.open.0 != sequence {
            *self = self.ended();
            self.sequences += 1;
            self.open = (sequence, NO_CLASS, 0, 0);
        }
        let (_, of, length, behind) = &mut self.open;
        if class == NO_CLASS {
            *behind += 1;
            // More rows without a target than a shift leaves: the run is not at the end.
            if *behind > shift {
                (*of, *length) = (NO_CLASS, 0);
            }
        } else {
            *length = if class == *of && *behind == 0 { *length + 1 } else { 1 };
            (*of, *behind) = (class, 0);
        }
    }

    /// These runs, with the open one counted.
    pub fn ended(mut self) -> Self {
        let (_, class, length, _) = self.open;
        if length >= LONG_RUN && self.class.is_none_or(|other| other == class) {
            self.class = Some(class);
            self.padded += 1;
        }
        self.open = (self.open.0, NO_CLASS, 0, 0);
        self
    }
}
