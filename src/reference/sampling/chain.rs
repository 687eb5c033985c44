//! Speculative decoding: which drafts of a chain are accepted, and the token after them.

use crate::flags::Flags;
use crate::options::Sampling;
use crate::reference::sampling::{Purpose, fraction_bits, row_words};
use crate::results::NO_CLASS;

/// What becomes of one chain of drafts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AcceptedChain {
    /// The accepted drafts, then the token that follows them, then [`NO_CLASS`] (drafts + 1,).
    pub tokens: Vec<u32>,
    /// How many drafts were accepted.
    pub accepted: u32,
    /// Whether there is no token after them, and why.
    pub flags: Flags,
}

/// Accepts or refuses the drafts of one chain, so that its tokens have the distribution of the target (Leviathan et al.
/// 2023, arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318): draft y of position i is accepted if u·p < q, strictly,
/// with p and q its probabilities and u a random number in [0, 1). Where one is refused, a token is drawn from
/// max(q − p, 0), or from q if rounding has left nothing of that. After the last draft, one is drawn from q.
///
/// `target_probs` (drafts + 1, cols) are the target's, `draft_probs` (drafts, cols) those that the drafts were drawn from:
/// after temperature and truncations, both of them. Position i takes the random words of the counter of `sampling` plus i;
/// of `sampling`, only seed, counter and first draw matter.
///
/// A NaN or ∞ among the probabilities that decide, a draft that is no class, or a position without any probability gives
/// no token, and a flag. Negative values count as 0.
pub fn accept_chain(
    target_probs: &[f32],
    draft_probs: &[f32],
    drafts: &[u32],
    cols: usize,
    sampling: &Sampling,
) -> AcceptedChain {
    let words = |position: usize, purpose| {
        row_words(
            sampling.seed,
            sampling.counter.wrapping_add(position as u64),
            sampling.first_draw,
            purpose,
            0,
        )
    };
    let mut chain =
        AcceptedChain { tokens: vec![NO_CLASS; drafts.len() + 1], accepted: 0, flags: Flags::empty() };
    for (position, &draft) in drafts.iter().enumerate() {
        if draft as usize >= cols {
            chain.flags = Flags::TARGET_OUT_OF_RANGE;
            return chain;
        }
        let at = position * cols + draft as usize;
        let (q, p) = (target_probs[at], draft_probs[at]);
        chain.flags = flags_of(&[q, p]);
        let u = f64::from(words(position, Purpose::Accept)[0]) / 2f64.powi(32);
        if !chain.flags.is_empty() {
            return chain;
        }
        if u * f64::from(p) >= f64::from(q) {
            break;
        }
        chain.tokens[position] = draft;
        chain.accepted += 1;
    }
    let position = chain.accepted as usize;
    let q = &target_probs[position * cols..][..cols];
    let weight = |value: f32| if value < f32::MIN_POSITIVE { 0.0 } else { value };
    let mut weights: Vec<f32> = q.iter().map(|&q| q.max(0.0)).collect();
    chain.flags = flags_of(q);
    let mut purpose = Purpose::Draw;
    if position < drafts.len() {
        purpose = Purpose::Residual;
        let p = &draft_probs[position * cols..][..cols];
        chain.flags = flags_of(&[q, p].concat());
        let rest: Vec<f32> = q.iter().zip(p).map(|(q, p)| (q - p).max(0.0)).collect();
        if rest.iter().any(|&rest| weight(rest) > 0.0) {
            weights = rest;
        }
    }
    if chain.flags.is_empty() {
        match drawn_class(&weights, words(position, purpose)) {
            Some(class) => chain.tokens[position] = class as u32,
            None => chain.flags = Flags::MASKED_ROW,
        }
    }
    chain
}

fn flags_of(probs: &[f32]) -> Flags {
    if probs.iter().any(|p| p.is_nan()) {
        Flags::NAN_LOGIT
    } else if probs.iter().any(|p| p.is_infinite()) {
        Flags::INFINITE_LOGIT
    } else {
        Flags::empty()
    }
}

/// The class at a random point of the weights, in fixed point relative to the power of two above the largest.
fn drawn_class(weights: &[f32], [low, high, ..]: [u32; 4]) -> Option<usize> {
    let largest = weights.iter().copied().fold(0.0, f32::max);
    if largest < f32::MIN_POSITIVE {
        return None;
    }
    let exponent = (largest.to_bits() >> 23) as i32 - 126;
    let one = 2f64.powi(fraction_bits(weights.len()) as i32 - exponent);
    let fixed = |weight: &f32| (f64::from(*weight) * one) as u64;
    let total: u64 = weights.iter().map(fixed).sum();
    let uniform = u64::from(high) << 32 | u64::from(low);
    let point = ((u128::from(uniform) * u128::from(total)) >> 64) as u64;
    let mut sum = 0;
    weights.iter().position(|weight| {
        sum += fixed(weight);
        sum > point
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: [f32; 3] = [0.5, 0.3, 0.2];
    const P: [f32; 3] = [0.2, 0.5, 0.3];

    fn at(counter: u64) -> Sampling {
        Sampling { seed: 4, counter, ..Default::default() }
    }

    /// Drafts are accepted with probability min(1, q / p): 1, 0.6 and ⅔. A refused one gives class 0, the only one of which the
    /// draft has less than the target.
    #[test]
    fn drafts_are_accepted_as_often_as_they_should() {
        let draws = 20_000;
        for (draft, expected) in [(0, 1.0), (1, 0.6), (2, 2.0 / 3.0)] {
            let mut accepted = 0.0;
            for counter in 0..draws {
                let chain = accept_chain(&[Q, Q].concat(), &P, &[draft], 3, &at(2 * counter));
                accepted += f64::from(chain.accepted);
                if chain.accepted == 0 {
                    assert_eq!(chain.tokens, [0, NO_CLASS]);
                } else {
                    assert_eq!(chain.tokens[0], draft);
                    assert!(chain.tokens[1] < 3 && chain.flags.is_empty());
                }
            }
            let deviation = (expected * (1.0 - expected) / draws as f64).sqrt();
            let share = accepted / draws as f64;
            assert!((share - expected).abs() <= 5.0 * deviation, "{draft}: {share}");
        }
    }

    /// With drafts drawn from p, the first token has the distribution q, and 0.7 of the drafts are accepted.
    #[test]
    fn tokens_have_the_targets_distribution() {
        let draws = 50_000;
        let (mut counts, mut accepted) = ([0.0; 3], 0.0);
        for counter in 0..draws {
            let draft = drawn_class(&P, row_words(99, counter, 0, Purpose::Draw, 0)).unwrap() as u32;
            let chain = accept_chain(&[Q, Q].concat(), &P, &[draft], 3, &at(2 * counter));
            counts[chain.tokens[0] as usize] += 1.0 / draws as f64;
            accepted += f64::from(chain.accepted) / draws as f64;
        }
        for (share, q) in counts.into_iter().zip(Q) {
            assert!((share - f64::from(q)).abs() < 5.0 * (0.25 / draws as f64).sqrt(), "{counts:?}");
        }
        assert!((accepted - 0.7).abs() < 5.0 * (0.21 / draws as f64).sqrt(), "{accepted}");
    }

    #[test]
    fn edges() {
        let chain = |q: [f32; 3], p: [f32; 3], draft| accept_chain(&[q, Q].concat(), &p, &[draft], 3, &at(0));
        // A draft of probability 0 in the target is never accepted, and one of the draft's probability 0 always.
        assert_eq!(chain([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], 0).tokens, [1, NO_CLASS]);
        assert_eq!(chain([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], 0).accepted, 1);
        // Equal: always, because u < 1.
        assert!(
            (0..500).all(|counter| accept_chain(&[P, Q].concat(), &P, &[1], 3, &at(counter)).accepted == 1)
        );
        // Nothing is left of q − p: a token of q.
        assert_eq!(chain([0.0, 0.0, 0.5], [0.5, 0.5, 0.5], 0).tokens, [2, NO_CLASS]);
        let nan = f32::NAN;
        for (found, flags) in [
            (chain([nan, 0.5, 0.5], P, 0), Flags::NAN_LOGIT),
            (chain([0.0, nan, 0.5], P, 0), Flags::NAN_LOGIT),
            (chain(Q, [f32::INFINITY, 0.0, 0.0], 0), Flags::INFINITE_LOGIT),
            (chain([0.0; 3], P, 0), Flags::MASKED_ROW),
            (chain(Q, P, 3), Flags::TARGET_OUT_OF_RANGE),
        ] {
            assert_eq!((found.flags, found.accepted, &found.tokens[..]), (flags, 0, &[NO_CLASS; 2][..]));
        }
        // No draft: a token of the target.
        let none = accept_chain(&[0.0, 0.0, 1.0], &[], &[], 3, &at(0));
        assert_eq!((none.tokens, none.accepted), (vec![2], 0));
    }
}
