//! Two models on one row.

use std::ops::Range;

use crate::flags::Flags;
use crate::results::{LEFT_OUT, NO_CLASS, RowResult};

/// What a comparison tells of a row. Its counterpart in f64 is
/// [`RowComparison`](crate::reference::RowComparison), whose fields have the same meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ComparedRow {
    /// KL(base ‖ other) in nats. Rounding below 0 is taken as 0, but not where
    /// [`log_probs`](crate::ComparatorOptions::log_probs) are taken as they are.
    pub kl: f32,
    /// The base's loss in nats; NaN without targets.
    pub base_loss: f32,
    /// The other's loss in nats; NaN without targets.
    pub other_loss: f32,
    /// The base's most probable class; [`NO_CLASS`] if there is none.
    pub base_argmax: u32,
    /// The other's most probable class.
    pub other_argmax: u32,
    /// The row's target; [`NO_CLASS`] without targets.
    pub target: u32,
    /// How many classes are among the largest [`top_k`](crate::ComparatorOptions::top_k) of both; 0 if one has no most
    /// probable class.
    pub overlap: u32,
    /// The largest difference of two logits of a class.
    pub logit_difference: f32,
    flags: u32,
}

/// The rows of a window, compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComparedRows<'a> {
    /// The rows of the batch in this window.
    pub rows: Range<usize>,
    /// What was found in them (rows,).
    pub results: &'a [ComparedRow],
}

/// The flags of logits. Those of targets have no meaning in a comparison without targets.
const OF_LOGITS: Flags = Flags::NAN_LOGIT.union(Flags::INFINITE_LOGIT).union(Flags::MASKED_ROW);

impl ComparedRow {
    /// A row that does not count.
    pub(super) const LEFT_OUT: Self = Self {
        kl: 0.0,
        base_loss: 0.0,
        other_loss: 0.0,
        base_argmax: NO_CLASS,
        other_argmax: NO_CLASS,
        target: NO_CLASS,
        overlap: 0,
        logit_difference: 0.0,
        flags: LEFT_OUT,
    };

    /// A row of these losses, with its target if there is one.
    pub(super) fn of([base, other, kl]: [&RowResult; 3], target: Option<u32>) -> Self {
        let argmax = |of: &RowResult| if of.has_prediction() { of.argmax } else { NO_CLASS };
        let loss = |of: &RowResult| target.map_or(f32::NAN, |_| of.loss);
        let flags = match target {
            Some(_) => base.flags() | other.flags() | kl.flags(),
            None => (base.flags() | other.flags()) & OF_LOGITS,
        };
        Self {
            kl: if kl.loss < 0.0 { 0.0 } else { kl.loss },
            base_loss: loss(base),
            other_loss: loss(other),
            base_argmax: argmax(base),
            other_argmax: argmax(other),
            target: target.unwrap_or(NO_CLASS),
            overlap: 0,
            logit_difference: 0.0,
            flags: flags.bits(),
        }
    }

    /// The row with what the host has found. Where one model has no most probable class, nothing overlaps.
    pub(super) fn with(self, logit_difference: f32, overlap: u32) -> Self {
        let has_both = self.base_argmax != NO_CLASS && self.other_argmax != NO_CLASS;
        Self { logit_difference, overlap: if has_both { overlap } else { 0 }, ..self }
    }

    /// The row of log-probabilities that are taken as they are. `sums` are ln Σ e^x of those that are, else 0: with a = ln Σ q
    /// of the base and b of the other, Σ q·(ln q − ln p) = e^a·(KL + a − b) of the normalised KL.
    pub(super) fn of_log_probs(self, [a, b]: [f64; 2], targets: [Option<f32>; 2], kl: f32) -> Self {
        let as_they_are = |loss: f32, log_prob: Option<f32>| match log_prob {
            Some(log_prob) if !loss.is_nan() => -log_prob,
            _ => loss,
        };
        Self {
            kl: if kl.is_finite() { (a.exp() * (f64::from(kl) + a - b)) as f32 } else { kl },
            base_loss: as_they_are(self.base_loss, targets[0]),
            other_loss: as_they_are(self.other_loss, targets[1]),
            ..self
        }
    }

    /// Whether the row does not count: its target is ignored, it is masked, or it has no target in its sequence.
    pub fn is_left_out(&self) -> bool {
        self.flags & LEFT_OUT != 0
    }

    /// What was unusual in the row, in either model.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }

    /// Both losses, if the row has a target.
    pub fn losses(&self) -> Option<[f32; 2]> {
        (self.target != NO_CLASS).then_some([self.base_loss, self.other_loss])
    }

    /// The target's probability by the other minus that by the base; NaN without a target.
    pub fn prob_change(&self) -> f64 {
        (-f64::from(self.other_loss)).exp() - (-f64::from(self.base_loss)).exp()
    }
}
