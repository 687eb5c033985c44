//! The results of a row, as a set to choose from.

use crate::error::{Error, Result};

bitflags::bitflags! {
    /// The results of each row that a loss gives besides its sum: see
    /// [`CrossEntropyOptions::row_fields`](crate::CrossEntropyOptions::row_fields). What is not chosen is not computed,
    /// and costs nothing.
    ///
    /// On the device, a row's results are one record of [`words`](Self::words) words of 4 bytes: the chosen fields in the
    /// order of this list. On the host they are a [`RowResult`](crate::RowResult).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RowFields: u32 {
        /// The row's loss, times its weight, z-loss included: f32, in nats.
        const LOSS = 1 << 0;
        /// What was unusual in the row: the bits of [`Flags`](crate::Flags).
        const FLAGS = 1 << 1;
        /// ln Σ exp of the logits as the loss uses them (capped, divided by the temperature): f32, in nats.
        const LSE = 1 << 2;
        /// The most probable class, the lowest index among equals: u32.
        const ARGMAX = 1 << 3;
        /// The largest logit, capped: f32.
        const ROW_MAX = 1 << 4;
        /// Σ exp((x − row maximum) / T) over the capped logits: f32.
        const SUM_EXP = 1 << 5;
        /// The target's logit, capped: f32. For class targets.
        const TARGET_LOGIT = 1 << 6;
        /// p_y, the target's probability: f32. For class targets.
        const TARGET_PROB = 1 << 7;
        /// ln p_y: f32, in nats. It stays finite where the probability underflows. For class targets.
        const TARGET_LOG_PROB = 1 << 8;
        /// The largest probability: f32.
        const CONFIDENCE = 1 << 9;
        /// Whether the target is the argmax: u32, 1 or 0. For class targets.
        const CORRECT = 1 << 10;
        /// The rank of the target, from 1: one more than the classes with a higher logit (as given, before a cap), or with
        /// an equal one and a lower index: u32. For class targets.
        const RANK = 1 << 11;
        /// The sum of the probabilities of the classes ranked ahead of the target: f32. For class targets.
        const MASS_AHEAD = 1 << 12;
        /// −Σ p ln p: f32, in nats.
        const ENTROPY = 1 << 13;
        /// Σ_j (p_j − [j = y])²: f32 (Brier 1950). For class targets.
        const BRIER = 1 << 14;
        /// The distance from the largest logit to the second largest, divided by T: ln of the ratio of their
        /// probabilities, 0 if they are equal, +∞ if there is no second: f32, in nats.
        const MARGIN = 1 << 15;
        /// The smallest logit, capped: f32.
        const MIN_LOGIT = 1 << 16;
        /// The mean of the logits, capped: f32. −∞ if one of them is.
        const MEAN_LOGIT = 1 << 17;
    }
}

impl RowFields {
    /// The fields that [`RowPartials`](crate::RowPartials) is made of, and behind them two words that only it knows, for label
    /// smoothing: [`RowPartials::of_record`](crate::RowPartials::of_record) reads a record of these 8 words.
    pub const PARTIALS: Self = Self::FLAGS
        .union(Self::ARGMAX)
        .union(Self::ROW_MAX)
        .union(Self::SUM_EXP)
        .union(Self::TARGET_LOGIT)
        .union(Self::TARGET_LOG_PROB)
        .union(Self::CLASS_MASS)
        .union(Self::CLASS_DISTANCE);

    /// Σ w over the classes' weights, and Σ w·(m − x) scaled, as in [`RowPartials`](crate::RowPartials). They are no fields of
    /// their own, and not among all of them.
    pub(crate) const CLASS_MASS: Self = Self::from_bits_retain(1 << 18);
    pub(crate) const CLASS_DISTANCE: Self = Self::from_bits_retain(1 << 19);

    /// The fields that only class targets have.
    pub(crate) const OF_CLASS_TARGETS: Self = Self::TARGET_LOGIT
        .union(Self::TARGET_PROB)
        .union(Self::TARGET_LOG_PROB)
        .union(Self::CORRECT)
        .union(Self::RANK)
        .union(Self::MASS_AHEAD)
        .union(Self::BRIER);

    /// The fields for which the sweep over the logits needs sums of their own.
    pub(crate) const SWEPT: Self = Self::RANK
        .union(Self::MASS_AHEAD)
        .union(Self::ENTROPY)
        .union(Self::BRIER)
        .union(Self::MARGIN)
        .union(Self::MIN_LOGIT)
        .union(Self::MEAN_LOGIT);

    /// Words of 4 bytes in a row's record on the device: one for each field.
    pub const fn words(self) -> usize {
        self.bits().count_ones() as usize
    }

    /// The names of the fields, for messages: `loss`, `lse`, …
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        self.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect::<Vec<_>>().into_iter()
    }

    /// Refuses fields that are outside a set.
    pub(crate) fn check_within(self, all: Self, needed: &'static str) -> Result<()> {
        let other = self.difference(all);
        if other.is_empty() { Ok(()) } else { Err(Error::option("row_fields", other.bits(), needed)) }
    }

    /// The word of a field in a record, if it is there.
    pub(crate) fn word(self, field: Self) -> Option<usize> {
        let before = self.bits() & (field.bits() - 1);
        self.contains(field).then_some(before.count_ones() as usize)
    }
}

impl Default for RowFields {
    /// Loss, flags, lse and argmax.
    fn default() -> Self {
        Self::LOSS | Self::FLAGS | Self::LSE | Self::ARGMAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_its_fields_in_order() {
        let fields = RowFields::LSE | RowFields::LOSS | RowFields::SUM_EXP;
        assert_eq!(fields.words(), 3);
        assert_eq!(fields.word(RowFields::LOSS), Some(0));
        assert_eq!(fields.word(RowFields::LSE), Some(1));
        assert_eq!(fields.word(RowFields::SUM_EXP), Some(2));
        assert_eq!(fields.word(RowFields::ARGMAX), None);
        assert_eq!(fields.names().collect::<Vec<_>>(), ["loss", "lse", "sum_exp"]);
    }
}
