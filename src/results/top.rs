//! The largest classes of the rows of a batch.

use crate::targets::Targets;

/// The k largest classes of each row, as [`TopK`](crate::TopK) gives them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TopClasses {
    /// Classes per row.
    pub k: usize,
    /// Class indices (rows, k), those of the largest logits first.
    pub indices: Vec<i32>,
    /// Their values (rows, k).
    pub values: Vec<f32>,
}

impl TopClasses {
    /// The classes of rows with their values, `k` a row: those of [`reference::top_k_row`](crate::reference::top_k_row),
    /// one row after another.
    pub fn of(k: usize, classes: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let classes = classes.into_iter().map(|(class, value)| (class as i32, value as f32));
        let (indices, values) = classes.unzip();
        Self { k, indices, values }
    }

    /// The classes of a row with their values.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (i32, f32)> + '_ {
        let indices = self.indices.iter().copied().zip(self.values.iter().copied());
        indices.skip(row.saturating_mul(self.k)).take(self.k)
    }

    /// The classes as targets with these probabilities: for values that are probabilities, and k of at most
    /// [`MAX_SPARSE_ENTRIES`](crate::MAX_SPARSE_ENTRIES).
    pub fn targets(&self) -> Targets<'_> {
        Targets::Sparse { indices: &self.indices, probs: &self.values, entries: self.k }
    }
}
