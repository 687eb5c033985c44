//! Where rows are in their sequences.

use std::sync::Arc;

use xent::Sequences;
/// The sequences of a batch: of one length, or packed.
#[derive(Clone)]
pub struct Places {
    sequences: Sequences,
    ends: Option<Arc<[usize]>>,
}

impl Places {
    /// Those of these sequences, which end there if they differ in length.
    pub fn new(sequences: Sequences, ends: Option<&[usize]>) -> Self {
        Self { sequences, ends: ends.map(Arc::from) }
    }

    /// The rows of the longest sequence.
    pub fn longest(&self) -> usize {
        let Some(ends) = &self.ends else { return self.sequences.length };
        let mut start = 0;
        let lengths = ends.iter().map(|&end| end - std::mem::replace(&mut start, end));
        lengths.max().unwrap_or(0).max(1)
    }

    /// The sequence of a row, and its position there.
    pub fn of(&self, row: usize) -> (usize, usize) {
        let (sequence, start, _) = self.place(row);
        (sequence, row - start)
    }

    /// Whether a row has a target in its sequence.
    pub fn has_target(&self, row: usize, rows: usize) -> bool {
        let (_, start, end) = self.place(row);
        let target = self.sequences.target_in(row, row - start, end - start);
        target.is_some_and(|target| target < rows)
    }

    fn place(&self, row: usize) -> (usize, usize, usize) {
        match &self.ends {
            Some(ends) => {
                let sequence = ends.partition_point(|&end| end <= row);
                let start = sequence.checked_sub(1).map_or(0, |before| ends[before]);
                (sequence, start, ends.get(sequence).copied().unwrap_or(row + 1))
            }
            None => {
                let length = self.sequences.length.max(1);
                let start = row - row % length;
                (row / length, start, start.saturating_add(length))
            }
        }
    }
}
