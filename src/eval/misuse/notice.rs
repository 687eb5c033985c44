//! What is told.

use std::fmt;

/// What the input of a loss seems to be instead of what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The logits are probabilities: softmax is applied twice.
    ProbabilitiesAsLogits,
    /// Log-probabilities are above 0.
    PositiveLogProbs,
    /// Soft, sparse or multi-label targets are below 0 or above 1: logits or log-probabilities, perhaps, or marks of what is to
    /// be left out.
    TargetsNotProbabilities,
    /// Every row predicts the same class.
    OneClassPredicted,
    /// All rows are the same.
    IdenticalRows,
    /// Targets name a class whose logit is −∞: a padding column, or one that is masked.
    ImpossibleTargets,
    /// Sequences end in a run of one token that is scored: the padding.
    PaddingScored,
    /// A mask of tokens is taken as one of positions: the first token of the padding is scored.
    MaskOfTokens,
    /// The targets fit better one row earlier or later.
    ShiftedTargets,
}

impl Misuse {
    /// A name for programs: `probabilities_as_logits`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::ProbabilitiesAsLogits => "probabilities_as_logits",
            Self::PositiveLogProbs => "positive_log_probs",
            Self::TargetsNotProbabilities => "targets_not_probabilities",
            Self::OneClassPredicted => "one_class_predicted",
            Self::IdenticalRows => "identical_rows",
            Self::ImpossibleTargets => "impossible_targets",
            Self::PaddingScored => "padding_scored",
            Self::MaskOfTokens => "mask_of_tokens",
            Self::ShiftedTargets => "shifted_targets",
        }
    }
}

/// What was seen, in how many rows, and what to do. Its text says all three.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Notice {
    /// What the input seems to be.
    pub misuse: Misuse,
    /// In how many rows this was seen; for [`Misuse::PaddingScored`] in how many sequences.
    pub rows: usize,
    /// Of how many that were looked at.
    pub of: usize,
    /// The class that this is about, if there is one.
    pub class: Option<u32>,
    /// The rows by which the targets fit better further on, if this is about a shift.
    pub shift: i32,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { misuse, rows, of, class, shift } = self;
        let class = class.map_or(String::new(), |class| format!(" {class}"));
        match misuse {
            Misuse::ProbabilitiesAsLogits => write!(
                f,
                "the logits are probabilities, in 0..=1 with a sum of 1, in {rows} of {of} rows looked at: softmax is \
                 applied twice; pass logits, or the logarithms as log-probabilities"
            ),
            Misuse::PositiveLogProbs => write!(
                f,
                "log-probabilities are above 0 in {rows} of {of} rows: pass them as logits if they are not normalised"
            ),
            Misuse::TargetsNotProbabilities => write!(
                f,
                "target probabilities are below 0 or above 1 in {rows} of {of} rows, and are used as they are: they may be \
                 logits, log-probabilities, or marks such as -100; pass probabilities, and leave rows out by their mask"
            ),
            Misuse::OneClassPredicted => write!(
                f,
                "class{class} is predicted in all of {of} rows, and is the target in {rows}: look at the model, and at the \
                 axis of the classes"
            ),
            Misuse::IdenticalRows => write!(
                f,
                "all {of} rows are the same, so they do not depend on the input: look at what makes them"
            ),
            Misuse::ImpossibleTargets => write!(
                f,
                "the target's logit is -inf, its probability 0, in {rows} of {of} rows, first for class{class}: a padding \
                 column, one that is masked, or a probability that was rounded to 0; leave such rows out"
            ),
            Misuse::PaddingScored => write!(
                f,
                "{rows} of {of} sequences end in a run of token{class}, which is scored: if it is the padding, ignore it \
                 or mask it"
            ),
            Misuse::MaskOfTokens => write!(
                f,
                "the mask scores the first token{class} of the padding in {rows} sequences: it seems to be of tokens, but \
                 is taken as of positions"
            ),
            Misuse::ShiftedTargets => write!(
                f,
                "the targets fit better {} row{} {} in {of} rows looked at: look at the shift",
                shift.unsigned_abs(),
                if shift.abs() == 1 { "" } else { "s" },
                if shift > 0 { "further on" } else { "back" }
            ),
        }
    }
}
