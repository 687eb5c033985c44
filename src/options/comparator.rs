//! The options of a comparison of two models.

use crate::error::{Error, Result};
use crate::options::{
    CrossEntropyOptions, KlDivergenceOptions, MAX_TOP_K, Sequences, TopKOptions, TopValues,
};
use crate::row_fields::RowFields;

/// Options of a [`Comparator`](crate::eval::compare::Comparator).
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComparatorOptions {
    /// Rows with this target do not count. Default: −100.
    pub ignore_index: i32,
    /// Divides the logits of both models. Above 0. Default: 1.
    pub temperature: f32,
    /// Where a row's target is, as in [`CrossEntropyOptions::sequences`]. Default: in the row itself.
    pub sequences: Option<Sequences>,
    /// How many of the largest classes of both models are looked at for their overlap, in 0..=1024; 0 for none. At most as
    /// many as there are classes. Default: 5.
    pub top_k: usize,
}

impl Default for ComparatorOptions {
    fn default() -> Self {
        Self { ignore_index: -100, temperature: 1.0, sequences: None, top_k: 5 }
    }
}

impl ComparatorOptions {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        if self.top_k > MAX_TOP_K {
            return Err(Error::option("top_k", self.top_k as f64, "in 0..=1024"));
        }
        self.targets().check()?;
        self.divergence().check()
    }

    /// The loss whose targets these rows have.
    pub(crate) fn targets(&self) -> CrossEntropyOptions {
        CrossEntropyOptions {
            ignore_index: self.ignore_index,
            temperature: self.temperature,
            sequences: self.sequences,
            ..Default::default()
        }
    }

    /// The loss of rows whose targets are resolved.
    pub(crate) fn loss(&self) -> CrossEntropyOptions {
        CrossEntropyOptions {
            temperature: self.temperature,
            row_fields: RowFields::LOSS | RowFields::FLAGS | RowFields::ARGMAX,
            ..Default::default()
        }
    }

    pub(crate) fn divergence(&self) -> KlDivergenceOptions {
        KlDivergenceOptions { temperature: self.temperature, ..Default::default() }
    }

    /// The largest classes of rows of so many classes, if any are looked at.
    pub(crate) fn top(&self, cols: usize) -> Option<TopKOptions> {
        let k = self.top_k.min(cols);
        (k > 0).then(|| TopKOptions { values: TopValues::Logits, ..TopKOptions::new(k) })
    }
}
