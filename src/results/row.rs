//! What a loss tells of a row.

use crate::flags::Flags;
#[cfg(feature = "cpu")]
use crate::reference::RowReadouts;
use crate::row_fields::RowFields;

/// The value in place of a class index when there is no class.
pub const NO_CLASS: u32 = u32::MAX;

/// The flag of a row that is left out, between the kernels and the host: `IGNORED` in `shaders/common/params.wgsl`.
pub(crate) const LEFT_OUT: u32 = 1 << 31;

/// All results that one read of a row's logits gives: the loss, and what
/// [`row_fields`](crate::CrossEntropyOptions::row_fields) asks for. The others are NaN, and classes are [`NO_CLASS`].
///
/// The logits of a row that is left out are not read, nor those of a row with a target out of range or an invalid
/// weight. The first has zeros, the second NaN, and both have [`NO_CLASS`]. If a logit is NaN or +∞, or every logit is
/// −∞, the [`flags`](Self::flags) say so; `row_max` and `lse` are then that logit, and `sum_exp` is NaN, or 0 if every
/// logit is −∞.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RowResult {
    /// The row's loss, times its weight, z-loss included, in nats, not reduced.
    pub loss: f32,
    /// The z-loss part of `loss`, times the row's weight: +∞ if `lse` or the z-loss itself exceeds f32, 0 if the
    /// target's part is NaN.
    pub z_loss: f32,
    /// ln Σ exp(s), in nats, of the logits as the loss uses them: capped, then divided by the temperature. Without
    /// either, it is the value that [`LogSumExp`](crate::LogSumExp) gives.
    pub lse: f32,
    /// The most probable class, as [`Argmax`](crate::Argmax) gives it.
    pub argmax: u32,
    /// The largest logit, capped.
    pub row_max: f32,
    /// Σ exp((x − `row_max`) / T) over the capped logits.
    pub sum_exp: f32,
    /// The logit of the target's class, capped.
    pub target_logit: f32,
    /// p_y, the target's probability.
    pub target_prob: f32,
    /// ln p_y, in nats.
    pub target_log_prob: f32,
    /// The largest probability.
    pub confidence: f32,
    /// The rank of the target, from 1, ties by lower index; 0 if there is none.
    pub rank: u32,
    /// The sum of the probabilities of the classes ranked ahead of the target.
    pub mass_ahead: f32,
    /// −Σ p ln p, in nats.
    pub entropy: f32,
    /// Σ_j (p_j − [j = y])².
    pub brier: f32,
    /// The distance from the largest logit to the second largest, divided by the temperature, in nats.
    pub margin: f32,
    /// The smallest logit, capped.
    pub min_logit: f32,
    /// The mean of the logits, capped.
    pub mean_logit: f32,
    pub(crate) is_correct: u32,
    /// What label smoothing needs of a part of a row: see [`RowPartials`](crate::RowPartials).
    pub(crate) class_mass: f32,
    pub(crate) class_distance: f32,
    pub(crate) flags: u32,
}

impl RowResult {
    /// What was unusual in this row.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }

    /// Whether the target is the argmax, if that was asked for.
    pub fn is_correct(&self) -> bool {
        self.is_correct == 1
    }

    /// Whether the row has a most probable class: not if a logit is NaN or +∞, although its index is the argmax then.
    pub(crate) fn has_prediction(&self) -> bool {
        let none = Flags::NAN_LOGIT | Flags::INFINITE_LOGIT | Flags::MASKED_ROW;
        self.argmax != NO_CLASS && !self.flags().intersects(none)
    }

    /// Whether the row was left out: ignored, masked, of weight 0, or not scored.
    pub fn is_left_out(&self) -> bool {
        self.flags & LEFT_OUT != 0
    }

    /// Converts the kernel's record of some fields, whose loss does not include the z-loss.
    pub(crate) fn of(record: &[u32], fields: RowFields, row_weight: f32, z_factor: f32) -> Self {
        let word = |field| fields.word(field).map(|at| record[at]);
        let float = |field| word(field).map_or(f32::NAN, f32::from_bits);
        Self {
            loss: float(RowFields::LOSS),
            z_loss: 0.0,
            lse: float(RowFields::LSE),
            argmax: word(RowFields::ARGMAX).unwrap_or(NO_CLASS),
            row_max: float(RowFields::ROW_MAX),
            sum_exp: float(RowFields::SUM_EXP),
            target_logit: float(RowFields::TARGET_LOGIT),
            target_prob: float(RowFields::TARGET_PROB),
            target_log_prob: float(RowFields::TARGET_LOG_PROB),
            confidence: float(RowFields::CONFIDENCE),
            rank: word(RowFields::RANK).unwrap_or(0),
            mass_ahead: float(RowFields::MASS_AHEAD),
            entropy: float(RowFields::ENTROPY),
            brier: float(RowFields::BRIER),
            margin: float(RowFields::MARGIN),
            min_logit: float(RowFields::MIN_LOGIT),
            mean_logit: float(RowFields::MEAN_LOGIT),
            is_correct: word(RowFields::CORRECT).unwrap_or(0),
            class_mass: float(RowFields::CLASS_MASS),
            class_distance: float(RowFields::CLASS_DISTANCE),
            flags: word(RowFields::FLAGS).unwrap_or(0),
        }
        .with_z_loss(row_weight, z_factor)
    }

    /// Adds the z-loss to a loss without it.
    pub(crate) fn with_z_loss(self, row_weight: f32, z_factor: f32) -> Self {
        let Self { loss: part, lse, .. } = self;
        let is_masked = self.flags().contains(Flags::MASKED_ROW);
        // A masked row that gives zeros also has an lse of −∞. In other rows, an lse that is not finite is beyond f32.
        let z_loss = if part.is_nan() || z_factor == 0.0 || is_masked || row_weight == 0.0 {
            0.0
        } else {
            (f64::from(row_weight) * f64::from(z_factor) * f64::from(lse).powi(2)) as f32
        };
        // A loss without z-loss keeps its bits.
        Self { loss: if z_loss == 0.0 { part } else { part + z_loss }, z_loss, ..self }
    }

    /// The same result with those of these readouts that are among the fields.
    #[cfg(feature = "cpu")]
    pub(crate) fn with_readouts(self, of: &RowReadouts, fields: RowFields) -> Self {
        let float = |field, value: f64| if fields.contains(field) { value as f32 } else { f32::NAN };
        Self {
            row_max: float(RowFields::ROW_MAX, of.row_max),
            sum_exp: float(RowFields::SUM_EXP, of.sum_exp),
            target_logit: float(RowFields::TARGET_LOGIT, of.target_logit),
            target_prob: float(RowFields::TARGET_PROB, of.target_prob),
            target_log_prob: float(RowFields::TARGET_LOG_PROB, of.target_log_prob),
            confidence: float(RowFields::CONFIDENCE, of.confidence),
            rank: if fields.contains(RowFields::RANK) { of.rank } else { 0 },
            mass_ahead: float(RowFields::MASS_AHEAD, of.mass_ahead),
            entropy: float(RowFields::ENTROPY, of.entropy),
            brier: float(RowFields::BRIER, of.brier),
            margin: float(RowFields::MARGIN, of.margin),
            min_logit: float(RowFields::MIN_LOGIT, of.min_logit),
            mean_logit: float(RowFields::MEAN_LOGIT, of.mean_logit),
            is_correct: u32::from(fields.contains(RowFields::CORRECT) && of.is_correct),
            ..self
        }
    }

    /// The same value in every field of floats, no class and no rank.
    const fn filled(value: f32) -> Self {
        Self {
            loss: value,
            z_loss: value,
            lse: value,
            argmax: NO_CLASS,
            row_max: value,
            sum_exp: value,
            target_logit: value,
            target_prob: value,
            target_log_prob: value,
            confidence: value,
            rank: 0,
            mass_ahead: value,
            entropy: value,
            brier: value,
            margin: value,
            min_logit: value,
            mean_logit: value,
            is_correct: 0,
            class_mass: value,
            class_distance: value,
            flags: 0,
        }
    }

    /// The result of a row that is left out.
    pub(crate) const LEFT_OUT: Self = Self { flags: LEFT_OUT, ..Self::filled(0.0) };

    /// Every result as a word.
    fn words(&self) -> [u32; 21] {
        let Self { loss, z_loss, lse, row_max, sum_exp, target_logit, target_prob, .. } = *self;
        let Self { target_log_prob, confidence, mass_ahead, entropy, brier, margin, .. } = *self;
        let Self {
            min_logit, mean_logit, class_mass, class_distance, argmax, rank, is_correct, flags, ..
        } = *self;
        let [a, b, c, d, e, f, g] =
            [loss, z_loss, lse, row_max, sum_exp, target_logit, target_prob].map(f32::to_bits);
        let [h, i, j, k, l, m] =
            [target_log_prob, confidence, mass_ahead, entropy, brier, margin].map(f32::to_bits);
        let [n, o, p, q] = [min_logit, mean_logit, class_mass, class_distance].map(f32::to_bits);
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, argmax, rank, is_correct, flags]
    }
}

impl Default for RowResult {
    /// A loss of 0 with no other result.
    fn default() -> Self {
        Self { loss: 0.0, z_loss: 0.0, ..Self::filled(f32::NAN) }
    }
}

impl PartialEq for RowResult {
    /// Whether all results have the same bits.
    fn eq(&self, other: &Self) -> bool {
        self.words() == other.words()
    }
}
