//! Tokens drawn from the rows of a batch.

use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::results::NO_CLASS;

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

impl Samples {
    /// Accepts drafts as llama.cpp does: the rows are the positions of chains, `drafts_each` drafts and one more position
    /// for each, with one token drawn from the target at each of them. A chain's tokens are accepted as long as they agree
    /// with its drafts (chains, drafts_each), and the first that does not, or the one after the last draft, follows them.
    /// So the tokens are those that the target would give without drafts, if the counters of positions are the same.
    ///
    /// # Errors
    /// [`Error::Length`] if these are not samples of whole chains, one for each position, or for other drafts than theirs.
    pub fn accept_drafts(&self, drafts: &[u32], drafts_each: usize) -> Result<AcceptedDrafts> {
        let positions = drafts_each.saturating_add(1);
        let chains = self.tokens.len() / positions;
        let wrong = |what, found, needed| Err(Error::Length { what, found, needed });
        if self.samples != 1 {
            return wrong("samples", self.samples, 1);
        }
        if !self.tokens.len().is_multiple_of(positions) || self.flags.len() != self.tokens.len() {
            return wrong("tokens", self.tokens.len(), chains.saturating_mul(positions));
        }
        if drafts.len() != chains * drafts_each {
            return wrong("drafts", drafts.len(), chains * drafts_each);
        }
        let mut found = AcceptedDrafts { drafts: drafts_each, ..Default::default() };
        for chain in 0..chains {
            let tokens = &self.tokens[chain * positions..][..positions];
            let drafts = &drafts[chain * drafts_each..][..drafts_each];
            let agrees = |(token, draft): &(&u32, &u32)| token == draft && **token != NO_CLASS;
            let accepted = tokens.iter().zip(drafts).take_while(agrees).count();
            found.tokens.extend(&tokens[..=accepted]);
            found.tokens.resize((chain + 1) * positions, NO_CLASS);
            found.accepted.push(accepted as u32);
            found.flags.push(self.flags[chain * positions + accepted]);
        }
        Ok(found)
    }
}

/// What becomes of chains of drafts, as [`SpeculativeChain`](crate::SpeculativeChain) and [`Samples::accept_drafts`] give it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AcceptedDrafts {
    /// Drafts of each chain.
    pub drafts: usize,
    /// The accepted drafts of each chain, then the token that follows them, then [`NO_CLASS`](crate::NO_CLASS) (chains,
    /// drafts + 1).
    pub tokens: Vec<u32>,
    /// How many drafts of each chain were accepted (chains,).
    pub accepted: Vec<u32>,
    /// Whether no token follows a chain's accepted drafts, and why (chains,).
    pub flags: Vec<Flags>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_that_agree_are_accepted() {
        let samples = Samples {
            samples: 1,
            tokens: vec![4, 5, 6, 7, 8, 9, 1, NO_CLASS, 3],
            flags: [[Flags::empty(); 7].as_slice(), &[Flags::NAN_LOGIT, Flags::empty()]].concat(),
            ..Default::default()
        };
        let found = samples.accept_drafts(&[4, 5, 7, 9, 1, NO_CLASS], 2).unwrap();
        assert_eq!(found.accepted, [2, 1, 1]);
        assert_eq!(found.tokens, [4, 5, 6, 7, 8, NO_CLASS, 1, NO_CLASS, NO_CLASS]);
        assert_eq!(found.flags, [Flags::empty(), Flags::empty(), Flags::NAN_LOGIT]);
        assert_eq!(samples.accept_drafts(&[], 0).unwrap().tokens, samples.tokens);
        for (drafts, each, what) in [(3, 2, "drafts"), (0, 3, "tokens")] {
            let error = samples.accept_drafts(&vec![0; drafts], each).unwrap_err();
            assert!(matches!(error, Error::Length { what: found, .. } if found == what), "{error}");
        }
    }
}
