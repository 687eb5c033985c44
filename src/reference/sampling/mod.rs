//! Sampling: the classes that a row's tokens are drawn from, and the draws.

mod chain;
mod changes;
mod philox;
mod race;
mod support;

use crate::element::Element;
use crate::flags::Flags;
use crate::options::{SamplerOptions, Sampling, ScoreChanges, SoftmaxOptions};
use crate::reference::log_softmax_row;
use crate::results::NO_CLASS;

pub use chain::{AcceptedChain, accept_chain};
pub use changes::changed_row;
pub use philox::{Purpose, philox4x32, row_words};
pub use race::exponential;
use support::fraction_bits;
pub use support::{Support, support_row};
pub(crate) use support::{applies_xtc, half_min_p_gap};

/// The tokens drawn from one row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SampledRow {
    /// The tokens (samples,), [`NO_CLASS`] where none can be drawn.
    pub tokens: Vec<u32>,
    /// Their log-probabilities in the distribution that they were drawn from, after all steps (samples,).
    pub log_probs: Vec<f64>,
    /// Their log-probabilities in the softmax of the untouched logits (samples,).
    pub raw_log_probs: Vec<f64>,
    /// How many classes were left.
    pub kept: u32,
    /// What was unusual in the row.
    pub flags: Flags,
}

/// Draws tokens from one row of logits (cols,): as many as the options say, with or without replacement, by the random
/// numbers of [`row_words`].
pub fn sample_row<E: Element>(row: &[E], sampling: &Sampling, options: &SamplerOptions) -> SampledRow {
    sample_supported(row, &support_row(row, sampling, options.order), sampling, options)
}

/// Like [`sample_row`], after a bias, penalties and a mask: see [`ScoreChanges`].
pub fn sample_changed_row<E: Element>(
    row: &[E],
    changes: &ScoreChanges<'_>,
    sampling: &Sampling,
    options: &SamplerOptions,
) -> SampledRow {
    let support = support_row(&changed_row(row, changes), sampling, options.order);
    sample_supported(row, &support, sampling, options)
}

fn sample_supported<E: Element>(
    row: &[E],
    support: &Support,
    sampling: &Sampling,
    options: &SamplerOptions,
) -> SampledRow {
    let raw = log_softmax_row(row, &SoftmaxOptions::default());
    let classes: Vec<Option<usize>> = if options.replacement {
        let draws = (0..options.samples as u32).map(|sample| sampling.first_draw.wrapping_add(sample));
        draws.map(|draw| support.draw(support.point(sampling, draw))).collect()
    } else {
        let drawn = support.race(sampling, sampling.first_draw, options.samples).into_iter();
        drawn.map(Some).chain(std::iter::repeat(None)).take(options.samples).collect()
    };
    let of =
        |value: &dyn Fn(usize) -> f64| classes.iter().map(|class| class.map_or(f64::NAN, value)).collect();
    SampledRow {
        tokens: classes.iter().map(|class| class.map_or(NO_CLASS, |class| class as u32)).collect(),
        log_probs: of(&|class| support.log_probs[class]),
        raw_log_probs: of(&|class| raw[class]),
        kept: support.kept(),
        flags: support.flags,
    }
}
