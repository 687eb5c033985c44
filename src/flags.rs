//! Flags that report what was unusual in a row or a batch.

bitflags::bitflags! {
    /// What was unusual in a row, or in any row of a batch. A NaN never disappears: it is reported here too.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct Flags: u32 {
        /// A logit is NaN: the row is NaN.
        const NAN_LOGIT = 1 << 0;
        /// A logit is +∞ (and none is NaN): the row is NaN.
        const INFINITE_LOGIT = 1 << 1;
        /// Every logit of the row is −∞: the result follows [`MaskedRow`](crate::MaskedRow).
        const MASKED_ROW = 1 << 2;
        /// A target names no class and is not ignored: the loss is NaN, the gradient zero.
        const TARGET_OUT_OF_RANGE = 1 << 3;
        /// The loss is infinite: a class with a share in the target has a logit of −∞, or the loss or its z-loss
        /// exceeds f32. The loss is +∞, or −∞ if targets are below 0 (for a binary cross-entropy: outside 0..=1).
        const INFINITE_LOSS = 1 << 4;
        /// The loss is NaN. Infinite parts of both signs, in a row or in the sum of rows, also make it NaN.
        const NAN_LOSS = 1 << 5;
        /// No row counts, or the weights that a mean divides by sum to 0. Set for a batch, never for a row.
        const NO_ROW_COUNTS = 1 << 6;
        /// A weight of the row, or of a class that it uses, is negative, NaN or infinite: the loss is NaN, the gradient
        /// is zero.
        const INVALID_WEIGHT = 1 << 7;
        /// A target's probability is NaN or infinite: the row is NaN.
        const INVALID_TARGET = 1 << 8;
    }
}

impl Flags {
    /// The names of the flags, for reports: `nan_logit`, `infinite_logit`, …
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        self.iter_names().map(|(name, _)| name.to_ascii_lowercase()).collect::<Vec<_>>().into_iter()
    }
}
