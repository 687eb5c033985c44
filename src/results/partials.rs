//! What a part of a row tells of the whole row.

use crate::flags::Flags;
use crate::results::RowResult;

/// The results of a part of a row: of some of its columns, as another device or another window may hold them. The parts
/// of a row [`combine`](Self::combine) to the whole, without another read of the logits. 20 bytes, for a gather between
/// devices.
///
/// A loss gives them if [`row_fields`](crate::CrossEntropyOptions::row_fields) asks for
/// [`RowFields::PARTIALS`](crate::RowFields::PARTIALS). A part that does not have the target's class takes any class as its
/// target, and then [`without_target`](Self::without_target). Logits are those that the loss uses: capped, not yet divided by
/// the temperature T.
///
/// ```
/// use xent::RowPartials;
///
/// // The logits 2, 1 and 0.5, −1; the target is the first class.
/// let left = RowPartials::of(&[2.0, 1.0], Some(0), 1.0);
/// let right = RowPartials::of(&[0.5, -1.0], None, 1.0);
/// let row = left.combine(&right, 1.0);
/// assert!((row.loss(1.0) - 0.4952).abs() < 1e-4);
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
    flags: u32,
}

impl RowPartials {
    /// A part without columns, which changes nothing it is combined with.
    pub const NONE: Self = Self {
        row_max: f32::NEG_INFINITY,
        sum_exp: 0.0,
        target_logit: f32::NEG_INFINITY,
        others: 0.0,
        flags: Flags::MASKED_ROW.bits(),
    };

    /// The partials of these logits at a temperature, computed on the processor in f64. `target` is the target's place
    /// among them, if it is there.
    ///
    /// # Panics
    /// If `target` is not below the number of logits.
    pub fn of(logits: &[f32], target: Option<usize>, temperature: f32) -> Self {
        let mut flags = Flags::empty();
        let row_max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if logits.iter().any(|x| x.is_nan()) {
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
        Self {
            row_max: if flags.contains(Flags::NAN_LOGIT) { f32::NAN } else { row_max },
            sum_exp: Self::special_sum(flags).unwrap_or_else(|| sum(None)),
            others: Self::special_sum(flags).unwrap_or_else(|| sum(target)),
            target_logit: target.map_or(f32::NEG_INFINITY, |class| logits[class]),
            flags: flags.bits(),
        }
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
        flags.set(Flags::MASKED_ROW, is_masked && flags.is_empty());
        let is_nan = flags.contains(Flags::NAN_LOGIT);
        flags.set(Flags::INFINITE_LOGIT, flags.contains(Flags::INFINITE_LOGIT) && !is_nan);
        let row_max = self.row_max.max(other.row_max);
        let [left, right] = [self, other].map(|part| scaled(part.row_max, row_max, temperature));
        let sum = |a: f32, b: f32| (f64::from(a) * left + f64::from(b) * right) as f32;
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
        if !self.flags().is_empty() {
            return f64::NAN;
        }
        let own = scaled(self.target_logit, self.row_max, temperature);
        if f64::from(self.others) < own {
            return (f64::from(self.others) / own).ln_1p();
        }
        let above = (f64::from(self.row_max) - f64::from(self.target_logit)) / f64::from(temperature);
        f64::from(self.sum_exp).ln() + above
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
        let RowResult { row_max, sum_exp, target_logit, target_log_prob, .. } = *result;
        // Σ exp · (1 − p), and 1 − p keeps its digits.
        let of_others = -f64::from(target_log_prob).exp_m1();
        let others = if sum_exp == 0.0 { 0.0 } else { (f64::from(sum_exp) * of_others) as f32 };
        let of_logits = Flags::NAN_LOGIT | Flags::INFINITE_LOGIT | Flags::MASKED_ROW;
        Self { row_max, sum_exp, target_logit, others, flags: (result.flags() & of_logits).bits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f32 = f32::INFINITY;

    /// The logits of a row, and the lse and the loss of its class 1 at a temperature, from the definition.
    fn whole(row: &[f32], temperature: f32) -> (f64, f64) {
        let scaled: Vec<f64> = row.iter().map(|&x| f64::from(x) / f64::from(temperature)).collect();
        let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let ln_sum = scaled.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        (max + ln_sum, ln_sum + (max - scaled[1]))
    }

    #[test]
    fn any_two_parts_give_the_row() {
        let rows: [&[f32]; 4] = [
            &[2.0, 1.0, 0.5, -1.0],
            &[-INF, 3.0, -INF, 2.5],
            &[1e30, 1e30, -1e30],
            &[0.5, 1000.0, 1001.0, 7.0],
        ];
        for (row, temperature) in rows.into_iter().zip([1.0, 0.5, 4.0, 2.0]) {
            let (lse, loss) = whole(row, temperature);
            for cut in 0..=row.len() {
                let (left, right) = row.split_at(cut);
                let left = RowPartials::of(left, (cut > 1).then_some(1), temperature);
                let right = RowPartials::of(right, 1usize.checked_sub(cut), temperature);
                for both in [left.combine(&right, temperature), right.combine(&left, temperature)] {
                    assert!(
                        (both.lse(temperature) - lse).abs() <= 1e-6 + 1e-7 * lse.abs(),
                        "{row:?} {both:?}"
                    );
                    assert!((both.loss(temperature) - loss).abs() <= 1e-6, "{row:?} at {cut}: {both:?}");
                    assert_eq!(both.flags(), Flags::empty());
                }
            }
        }
    }

    #[test]
    fn special_logits_are_not_lost() {
        let of = |row: &[f32]| RowPartials::of(row, None, 1.0);
        let plain = RowPartials::of(&[1.0, 2.0], Some(0), 1.0);
        assert_eq!(plain.combine(&RowPartials::NONE, 1.0), plain);
        assert_eq!(of(&[]), RowPartials::NONE);
        assert_eq!(of(&[-INF]).combine(&of(&[-INF, -INF]), 1.0).flags(), Flags::MASKED_ROW);
        for (special, flag) in [(f32::NAN, Flags::NAN_LOGIT), (INF, Flags::INFINITE_LOGIT)] {
            for both in [of(&[special]).combine(&plain, 1.0), plain.combine(&of(&[special, -INF]), 1.0)] {
                assert_eq!(both.flags(), flag);
                assert!(both.loss(1.0).is_nan() && both.sum_exp.is_nan(), "{both:?}");
            }
        }
        let both = of(&[f32::NAN]).combine(&of(&[INF]), 1.0);
        assert_eq!(both.flags(), Flags::NAN_LOGIT);
        assert!(both.row_max.is_nan());
    }

    #[test]
    fn a_row_that_is_left_out_has_no_part() {
        let none = RowPartials::from(&RowResult::LEFT_OUT);
        assert_eq!(none, RowPartials::NONE);
        let elsewhere = RowPartials::of(&[5.0, 1.0], Some(0), 1.0).without_target();
        let both = elsewhere.combine(&RowPartials::of(&[-3.0], Some(0), 1.0), 1.0);
        assert_eq!(both.target_logit, -3.0);
        assert_eq!(none.combine(&both, 1.0), both);
    }

    /// A loss that the sum of all classes cannot hold, whichever part has the target.
    #[test]
    fn a_confident_row_keeps_its_small_loss() {
        let row = [-17.0f32, 3.0, -16.5, -18.0];
        let expected = row.iter().map(|x| (f64::from(*x) - 3.0).exp()).sum::<f64>() - 1.0;
        for cut in 0..=row.len() {
            let left = RowPartials::of(&row[..cut], (cut > 1).then_some(1), 1.0);
            let right = RowPartials::of(&row[cut..], 1usize.checked_sub(cut), 1.0);
            let loss = left.combine(&right, 1.0).loss(1.0);
            assert!((loss / expected.ln_1p() - 1.0).abs() < 1e-6, "{cut}: {loss:e}, expected {expected:e}");
        }
    }

    #[test]
    fn a_target_at_minus_infinity_is_impossible() {
        let row = RowPartials::of(&[0.0, -INF], Some(1), 1.0);
        assert_eq!(row.combine(&RowPartials::NONE, 1.0).loss(1.0), f64::INFINITY);
    }
}
