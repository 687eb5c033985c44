//! What a part of a row tells of the whole row.

use crate::flags::Flags;
use crate::options::distance_scale;
use crate::results::{NO_CLASS, RowResult};
use crate::row_fields::RowFields;

/// The results of a part of a row: of some of its columns, as another device or another window may hold them. The parts
/// of a row [`combine`](Self::combine) to the whole, without another read of the logits. 32 bytes, for a gather between
/// devices: {`row_max`, `sum_exp`, `target_logit`, `others`, `argmax`, two words for label smoothing, flags}.
///
/// [`LossOp::partials`](crate::LossOp::partials) gives them for the columns of a [`shard`](crate::CrossEntropyOptions::shard), and
/// the [reference](crate::reference::cross_entropy::row_partials) too, in f64. A loss also gives them where
/// [`row_fields`](crate::CrossEntropyOptions::row_fields) asks for [`RowFields::PARTIALS`](crate::RowFields::PARTIALS).
/// Logits are those that the loss uses: capped, not yet divided by the temperature T.
///
/// For label smoothing, a loss needs Σ w·(m − x) over all classes, with w the classes' weights. It is summed relative to the
/// part's own maximum m, because f32 would lose Σ w·x where logits share an offset; so it comes with Σ w.
///
/// ```
/// use xent::RowPartials;
///
/// // The logits 2, 1 and 0.5, −1; the target is the first class.
/// let left = RowPartials::of(&[2.0, 1.0], Some(0), 1.0);
/// let right = RowPartials::of(&[0.5, -1.0], None, 1.0).from_col(2);
/// let row = left.combine(&right, 1.0);
/// assert!((row.loss(1.0) - 0.4952).abs() < 1e-4);
/// assert_eq!(row.argmax, 0);
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RowPartials {
    /// The largest logit m, −∞ if there is none.
    pub row_max: f32,
    /// Σ exp((x − m) / T); 0 if every logit is −∞.
    pub sum_exp: f32,
    /// The logit of the target's class; −∞ in a part that does not have it.
    pub target_logit: f32,
    /// Σ exp((x − m) / T) over the classes other than the target's: where the target is nearly certain, the loss is ln(1 +
    /// this), which `sum_exp` cannot tell from 0.
    pub others: f32,
    /// The class with the largest logit, the lowest index among equals; [`NO_CLASS`] in a part without columns. Within a part,
    /// logits are compared as given; between parts, after the cap, which may make equals of large ones.
    pub argmax: u32,
    /// Σ w of the classes' weights, of all classes of the part.
    pub(crate) class_mass: f32,
    /// Σ w·(m − x), times the temperature's [`distance_scale`]; +∞ if a class with a weight is at −∞.
    pub(crate) class_distance: f32,
    flags: u32,
}

/// What is judged in the logits of a part.
const OF_LOGITS: Flags = Flags::NAN_LOGIT.union(Flags::INFINITE_LOGIT).union(Flags::MASKED_ROW);

impl RowPartials {
    /// A part without columns, which changes nothing it is combined with.
    pub const NONE: Self = Self {
        row_max: f32::NEG_INFINITY,
        sum_exp: 0.0,
        target_logit: f32::NEG_INFINITY,
        others: 0.0,
        argmax: NO_CLASS,
        class_mass: 0.0,
        class_distance: 0.0,
        flags: Flags::MASKED_ROW.bits(),
    };

    /// The partials of these logits at a temperature, computed on the processor in f64. `target` is the target's place
    /// among them, if it is there. The first one is class 0, unless [`from_col`](Self::from_col) says otherwise; each class has
    /// the weight 1.
    ///
    /// # Panics
    /// If `target` is not below the number of logits.
    pub fn of(logits: &[f32], target: Option<usize>, temperature: f32) -> Self {
        Self::weighted(logits, target, temperature, |_| 1.0)
    }

    /// Like [`of`](Self::of), with a weight for each class.
    pub(crate) fn weighted(
        logits: &[f32],
        target: Option<usize>,
        temperature: f32,
        weight: impl Fn(usize) -> f32,
    ) -> Self {
        let mut flags = Flags::empty();
        let row_max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let is_nan = logits.iter().any(|x| x.is_nan());
        if is_nan {
            flags |= Flags::NAN_LOGIT;
        } else if row_max == f32::INFINITY {
            flags |= Flags::INFINITE_LOGIT;
        } else if row_max == f32::NEG_INFINITY {
            flags |= Flags::MASKED_ROW;
        }
        let sum = |left_out: Option<usize>| {
            let others = logits.iter().enumerate().filter(|&(class, _)| Some(class) != left_out);
            others.map(|(_, &x)| scaled(x, row_max, temperature)).sum::<f64>() as f32
        };
        let is_largest = |x: &f32| if is_nan { x.is_nan() } else { *x == row_max };
        let weights = || (0..logits.len()).map(&weight).map(f64::from);
        let away = |(&x, w): (&f32, f64)| match w {
            0.0 => 0.0,
            _ if x == f32::NEG_INFINITY => f64::INFINITY,
            _ => w * (f64::from(row_max) - f64::from(x)),
        };
        let distance: f64 = logits.iter().zip(weights()).map(away).sum();
        Self {
            row_max: if is_nan { f32::NAN } else { row_max },
            sum_exp: Self::special_sum(flags).unwrap_or_else(|| sum(None)),
            others: Self::special_sum(flags).unwrap_or_else(|| sum(target)),
            target_logit: target.map_or(f32::NEG_INFINITY, |class| logits[class]),
            argmax: logits.iter().position(is_largest).map_or(NO_CLASS, |class| class as u32),
            class_mass: weights().sum::<f64>() as f32,
            class_distance: (distance * distance_scale(temperature)) as f32,
            flags: flags.bits(),
        }
    }

    /// The partials in a record of the fields [`RowFields::PARTIALS`] as a bound operation writes it. A record of zeros and [`NO_CLASS`]
    /// is that of a row that is left out.
    pub fn of_record(record: &[u32; RowFields::PARTIALS.words()]) -> Self {
        match record {
            [0, NO_CLASS, 0, 0, 0, 0, 0, 0] => Self::NONE,
            record => Self::from(&RowResult::of(record, RowFields::PARTIALS, 1.0, 0.0)),
        }
    }

    /// The same partials for a part whose first column is this class.
    #[must_use]
    pub fn from_col(self, first_col: usize) -> Self {
        match self.argmax {
            NO_CLASS => self,
            argmax => {
                Self { argmax: argmax.saturating_add(u32::try_from(first_col).unwrap_or(NO_CLASS)), ..self }
            }
        }
    }

    /// The same partials for a part with an invalid weight.
    pub(crate) fn with_invalid_weight(self) -> Self {
        Self { flags: self.flags | Flags::INVALID_WEIGHT.bits(), ..self }
    }

    /// The same partials for a part that does not have the target, whatever class it was given.
    #[must_use]
    pub fn without_target(self) -> Self {
        Self { target_logit: f32::NEG_INFINITY, others: self.sum_exp, ..self }
    }

    /// The partials of the whole row from those of two parts, at the temperature at which both were made. Every
    /// combination rounds the sums to f32 once; combine parts in a fixed order for the same bits.
    #[must_use]
    pub fn combine(&self, other: &Self, temperature: f32) -> Self {
        let both = self.flags() | other.flags();
        // Only a row of which every part is masked is masked.
        let is_masked = self.flags().intersection(other.flags()).contains(Flags::MASKED_ROW);
        let mut flags = both.difference(Flags::MASKED_ROW);
        flags.set(Flags::MASKED_ROW, is_masked);
        let is_nan = flags.contains(Flags::NAN_LOGIT);
        flags.set(Flags::INFINITE_LOGIT, flags.contains(Flags::INFINITE_LOGIT) && !is_nan);
        let row_max = self.row_max.max(other.row_max);
        let [left, right] = [self, other].map(|part| scaled(part.row_max, row_max, temperature));
        let sum = |a: f32, b: f32| (f64::from(a) * left + f64::from(b) * right) as f32;
        // The class of the larger logit, NaN above all, or the lower of two equals.
        let argmax = match (self.row_max.is_nan(), other.row_max.is_nan()) {
            (true, false) => self.argmax,
            (false, true) => other.argmax,
            (false, false) if self.row_max > other.row_max => self.argmax,
            (false, false) if self.row_max < other.row_max => other.argmax,
            _ => self.argmax.min(other.argmax),
        };
        let mass = |part: &Self| f64::from(part.class_mass);
        let distance = |part: &Self| {
            let own = f64::from(part.class_distance);
            // A part whose logits are all −∞ is at +∞ already, unless it has no mass.
            if mass(part) == 0.0 || part.row_max == f32::NEG_INFINITY {
                return own;
            }
            own + mass(part) * (f64::from(row_max) - f64::from(part.row_max)) * distance_scale(temperature)
        };
        // A part without the target has −∞ here, which is below every logit but not below NaN.
        let targets = [self.target_logit, other.target_logit];
        Self {
            row_max: if is_nan { f32::NAN } else { row_max },
            sum_exp: Self::special_sum(flags).unwrap_or_else(|| sum(self.sum_exp, other.sum_exp)),
            others: Self::special_sum(flags).unwrap_or_else(|| sum(self.others, other.others)),
            target_logit: if targets.iter().any(|x| x.is_nan()) {
                f32::NAN
            } else {
                targets[0].max(targets[1])
            },
            argmax,
            class_mass: (mass(self) + mass(other)) as f32,
            class_distance: (distance(self) + distance(other)) as f32,
            flags: flags.bits(),
        }
    }

    /// What was unusual in this part.
    pub fn flags(&self) -> Flags {
        Flags::from_bits_truncate(self.flags)
    }

    /// ln Σ exp(x / T), in nats, computed in f64.
    pub fn lse(&self, temperature: f32) -> f64 {
        f64::from(self.row_max) / f64::from(temperature) + f64::from(self.sum_exp).ln()
    }

    /// −ln p of the target, in nats, computed in f64: the loss of a row without weights and smoothing. NaN if a logit is
    /// NaN or +∞, or all are −∞.
    pub fn loss(&self, temperature: f32) -> f64 {
        if self.has_special() {
            return f64::NAN;
        }
        let own = self.target_exp(temperature);
        if f64::from(self.others) < own {
            return (f64::from(self.others) / own).ln_1p();
        }
        let above = (f64::from(self.row_max) - f64::from(self.target_logit)) / f64::from(temperature);
        f64::from(self.sum_exp).ln() + above
    }

    /// Whether a logit is NaN or +∞, or all are −∞.
    pub(crate) fn has_special(&self) -> bool {
        self.flags().intersects(OF_LOGITS)
    }

    /// exp((x − m) / T) of the target.
    pub(crate) fn target_exp(&self, temperature: f32) -> f64 {
        scaled(self.target_logit, self.row_max, temperature)
    }

    /// The sum of a part with a special logit.
    fn special_sum(flags: Flags) -> Option<f32> {
        if flags.intersects(Flags::NAN_LOGIT | Flags::INFINITE_LOGIT) {
            return Some(f32::NAN);
        }
        flags.contains(Flags::MASKED_ROW).then_some(0.0)
    }
}

/// exp((x − max) / T), 0 for −∞.
fn scaled(x: f32, max: f32, temperature: f32) -> f64 {
    if x == f32::NEG_INFINITY {
        0.0
    } else {
        ((f64::from(x) - f64::from(max)) / f64::from(temperature)).exp()
    }
}

impl From<&RowResult> for RowPartials {
    /// The partials among a row's results. Those that were not asked for are NaN. The `others` follow from the target's
    /// log-probability. A row that is left out has none: [`NONE`](Self::NONE).
    fn from(result: &RowResult) -> Self {
        if result.is_left_out() {
            return Self::NONE;
        }
        let RowResult { row_max, sum_exp, target_logit, target_log_prob, argmax, .. } = *result;
        let RowResult { class_mass, class_distance, .. } = *result;
        // Σ exp · (1 − p), and 1 − p keeps its digits.
        let of_others = -f64::from(target_log_prob).exp_m1();
        let others = if sum_exp == 0.0 { 0.0 } else { (f64::from(sum_exp) * of_others) as f32 };
        let flags = (result.flags() & (OF_LOGITS | Flags::INVALID_WEIGHT)).bits();
        Self { row_max, sum_exp, target_logit, others, argmax, class_mass, class_distance, flags }
    }
}

#[cfg(test)]
#[path = "partials_tests.rs"]
mod tests;
