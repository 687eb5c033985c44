//! The rows with the largest losses.

/// A row with one of the largest losses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct WorstRow {
    /// Its index in the batch.
    pub row: usize,
    /// Its sequence.
    pub sequence: usize,
    /// Its position in the sequence.
    pub position: usize,
    /// Its loss in nats, times its weight; +∞ is among them, NaN is not.
    #[cfg_attr(feature = "serde", serde(with = "super::serde_bits::one"))]
    pub loss: f32,
    /// Its target, or the class with the largest probability in it; [`NO_CLASS`](crate::NO_CLASS) if there is none.
    pub target: u32,
}

/// A row with what it is ranked by.
pub(in crate::eval) trait Ranked: Copy {
    /// The largest comes first, and NaN not at all.
    fn rank(&self) -> f32;
    fn row(&self) -> usize;
}

impl Ranked for WorstRow {
    fn rank(&self) -> f32 {
        self.loss
    }

    fn row(&self) -> usize {
        self.row
    }
}

/// The rows of the highest ranks, such as the largest losses; the lower row first among equals.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::eval) struct Worst<R = WorstRow> {
    most: usize,
    rows: Vec<R>,
}

impl<R: Ranked> Worst<R> {
    pub fn new(most: usize) -> Self {
        Self { most, rows: Vec::new() }
    }

    #[inline]
    pub fn add(&mut self, new: R) {
        if self.rows.len() == self.most && self.rows.last().is_none_or(|last| new.rank() < last.rank()) {
            return;
        }
        self.insert(new);
    }

    fn insert(&mut self, new: R) {
        if new.rank().is_nan() {
            return;
        }
        let is_ahead = |old: &R| precedes(old, &new);
        let at = self.rows.partition_point(is_ahead);
        self.rows.insert(at, new);
        self.rows.truncate(self.most);
    }

    pub fn merge(&mut self, other: &Self) {
        other.rows.iter().for_each(|&row| self.insert(row));
    }

    pub fn rows(&self) -> &[R] {
        &self.rows
    }

    pub fn is_sound(&self, most: usize, rows: u64) -> bool {
        let is_in_order = |pair: &[R]| precedes(&pair[0], &pair[1]);
        self.most == most
            && self.rows.len() <= most.min(usize::try_from(rows).unwrap_or(usize::MAX))
            && self.rows.windows(2).all(is_in_order)
    }
}

fn precedes<R: Ranked>(a: &R, b: &R) -> bool {
    a.rank() > b.rank() || (a.rank() == b.rank() && a.row() < b.row())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst_row(row: usize, loss: f32) -> WorstRow {
        WorstRow { row, sequence: 0, position: row, loss, target: row as u32 }
    }

    #[test]
    fn the_largest_losses_in_order() {
        let losses = [1.0, f32::NAN, 5.0, 2.0, f32::INFINITY, 5.0, -1.0];
        let of = |rows: std::ops::Range<usize>| {
            let mut worst = Worst::new(3);
            rows.for_each(|row| worst.add(worst_row(row, losses[row])));
            worst
        };
        let whole = of(0..7);
        assert_eq!(whole.rows().iter().map(|worst| worst.row).collect::<Vec<_>>(), [4, 2, 5]);
        assert!(whole.is_sound(3, 7) && !whole.is_sound(4, 7) && !whole.is_sound(3, 2));
        for cut in 0..7 {
            let mut merged = of(cut..7);
            merged.merge(&of(0..cut));
            assert_eq!(merged, whole, "{cut}");
        }
        let mut none = Worst::new(0);
        none.add(worst_row(3, 1.0));
        assert!(none.rows().is_empty());
    }
}
