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
    /// Whether the values of base and of other are log-probabilities that are taken as they are: the loss is −ln q of the
    /// target, and nothing is normalised, although the probabilities may sum to something else than 1. KL(base ‖ other) is
    /// then Σ q·(ln q − ln p) of these values, and may be below 0. With a temperature of 1 only. Default: of neither.
    pub log_probs: [bool; 2],
    /// Classes whose log-probability by the base is not above this have no part in KL, although they stay in the other's
    /// distribution. llama.cpp's convention is −16. The base must be of log-probabilities. Default: every class has a part.
    pub kl_floor: Option<f32>,
}

impl Default for ComparatorOptions {
    fn default() -> Self {
        Self {
            ignore_index: -100,
            temperature: 1.0,
            sequences: None,
            top_k: 5,
            log_probs: [false; 2],
            kl_floor: None,
        }
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
        if self.log_probs != [false; 2] && self.temperature != 1.0 {
            return Err(Error::option("temperature", self.temperature, "1 for log-probabilities"));
        }
        if let Some(floor) = self.kl_floor.filter(|floor| floor.is_nan() || !self.log_probs[0]) {
            return Err(Error::option("kl_floor", floor, "a number, for a base of log-probabilities"));
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
        let lse = if self.log_probs == [false; 2] { RowFields::empty() } else { RowFields::LSE };
        CrossEntropyOptions {
            temperature: self.temperature,
            row_fields: RowFields::LOSS | RowFields::FLAGS | RowFields::ARGMAX | lse,
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
