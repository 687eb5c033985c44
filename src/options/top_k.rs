//! The options of the search for the largest classes.

use crate::error::{Error, Result};
use crate::options::SoftmaxOptions;

/// The largest k of a [`TopK`](crate::TopK).
pub const MAX_TOP_K: usize = 1024;

/// The values that come with the largest classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TopValues {
    /// The logits, capped if a softcap is set.
    Logits,
    /// ln p, in nats.
    LogProbs,
    /// p.
    #[default]
    Probs,
}

/// Options of [`TopK`](crate::TopK).
///
/// More fields may come: end a literal with `..TopKOptions::new(k)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopKOptions {
    /// How many classes of each row, in 1..=[`MAX_TOP_K`], and at most the number of classes.
    pub k: usize,
    /// Their values. Default: probabilities.
    pub values: TopValues,
    /// Whether the probabilities of the k classes are divided by their sum. If not, they are those of the softmax of the
    /// whole row, and add up to less than 1. Default: no.
    pub renormalize: bool,
    /// The options of the softmax that gives the probabilities.
    pub softmax: SoftmaxOptions,
}

impl TopKOptions {
    /// The k largest classes with their probabilities, by a plain softmax.
    pub fn new(k: usize) -> Self {
        Self { k, values: TopValues::Probs, renormalize: false, softmax: SoftmaxOptions::default() }
    }

    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], naming the option and the value.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_TOP_K).contains(&self.k) {
            return Err(Error::option("k", self.k as f64, "in 1..=1024"));
        }
        if self.renormalize && self.values == TopValues::Logits {
            return Err(Error::option("renormalize", 1, "unset for logits, which no sum divides"));
        }
        self.softmax.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_their_range_are_named() {
        for k in [0, 1025, usize::MAX] {
            let error = TopKOptions::new(k).check();
            assert!(matches!(error, Err(Error::InvalidOption { option: "k", .. })), "{k}: {error:?}");
        }
        assert_eq!(TopKOptions::new(1024).check(), Ok(()));
        let logits = TopKOptions { values: TopValues::Logits, renormalize: true, ..TopKOptions::new(1) };
        assert!(matches!(logits.check(), Err(Error::InvalidOption { option: "renormalize", .. })));
    }
}
