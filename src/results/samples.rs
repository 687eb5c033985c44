//! Tokens drawn from the rows of a batch.

use crate::flags::Flags;

/// The tokens drawn from each row, as [`Sampler`](crate::Sampler) gives them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Samples {
    /// Samples per row.
    pub samples: usize,
    /// Tokens (rows, samples), [`NO_CLASS`](crate::NO_CLASS) where none can be drawn.
    pub tokens: Vec<u32>,
    /// Their log-probabilities in the distribution that they were drawn from, after all steps (rows, samples). NaN
    /// where there is no token.
    pub log_probs: Vec<f32>,
    /// Their log-probabilities in the softmax of the untouched logits (rows, samples).
    pub raw_log_probs: Vec<f32>,
    /// How many classes of each row were left (rows,).
    pub kept: Vec<u32>,
    /// What was unusual in each row (rows,). A row without a token says why.
    pub flags: Vec<Flags>,
}

impl Samples {
    /// The tokens of a row.
    pub fn row(&self, row: usize) -> &[u32] {
        let begin = row.saturating_mul(self.samples).min(self.tokens.len());
        &self.tokens[begin..(begin + self.samples).min(self.tokens.len())]
    }
}
