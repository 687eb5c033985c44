//! The loss of rows from what their parts tell, on the processor in f64.

use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::inputs::{BatchWeight, CrossEntropyInputs};
use crate::options::{CrossEntropyOptions, MaskedRow, VocabularyShard, distance_scale};
use crate::results::{Loss, LossSum, NO_CLASS, RowPartials, RowResult};
use crate::shape::Shape;
use crate::targets::RowTarget;

impl CrossEntropyOptions {
    /// The loss of rows from what all [shards](Self::shard) of them tell, combined: (rows,) `partials`, made with these options.
    /// `inputs` are those of the whole rows. Needs no device; each row's loss is computed in f64 from its partials.
    ///
    /// ```
    /// use xent::{CrossEntropyOptions, VocabularyShard};
    /// use xent::reference::cross_entropy::row_partials;
    ///
    /// // The logits 2, 1 and 0.5, −1 of one row; its target is class 2.
    /// let options = CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() };
    /// let of = |first_col| CrossEntropyOptions { shard: Some(VocabularyShard::new(first_col, 4)), ..options };
    /// let left = row_partials(&[2.0f32, 1.0], 2, None, &of(0));
    /// let right = row_partials(&[0.5f32, -1.0], 2, None, &of(2));
    /// let merged = [left.combine(&right, options.temperature)];
    /// let loss = of(0).merged_loss(&merged, &[2])?;
    /// assert!((loss.value - 1.9827).abs() < 5e-5);
    /// # Ok::<(), xent::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`CrossEntropyInputs::check`]; [`Error::InvalidOption`] without a [`shard`](Self::shard);
    /// [`Error::NoRowCounts`].
    pub fn merged_loss<'a>(
        &self,
        partials: &[RowPartials],
        inputs: impl Into<CrossEntropyInputs<'a>>,
    ) -> Result<Loss> {
        let inputs = inputs.into();
        let (shape, batch) = self.check_merged(partials, &inputs)?;
        batch.check(shape.rows, self.reducing())?;
        let mut sum = LossSum::default();
        sum.weigh(batch);
        (0..shape.rows).for_each(|row| sum.add(&self.merged_row(&partials[row], &inputs, shape, row)));
        Ok(sum.reduced(self.reducing()))
    }

    /// The results of rows (rows,) from what all [shards](Self::shard) of them tell: see [`merged_loss`](Self::merged_loss).
    /// Those that parts of a row do not decide are NaN: rank, mass ahead, entropy, Brier score, margin, smallest and mean logit.
    ///
    /// # Errors
    /// Those of [`merged_loss`](Self::merged_loss), except [`Error::NoRowCounts`].
    pub fn merged_results<'a>(
        &self,
        partials: &[RowPartials],
        inputs: impl Into<CrossEntropyInputs<'a>>,
    ) -> Result<Vec<RowResult>> {
        let inputs = inputs.into();
        let (shape, _) = self.check_merged(partials, &inputs)?;
        Ok((0..shape.rows).map(|row| self.merged_row(&partials[row], &inputs, shape, row)).collect())
    }

    fn check_merged(
        &self,
        partials: &[RowPartials],
        inputs: &CrossEntropyInputs<'_>,
    ) -> Result<(Shape, BatchWeight)> {
        let Some(VocabularyShard { total_cols, .. }) = self.shard else {
            return Err(Error::option("shard: total_cols", 0, "set, to merge partials"));
        };
        let whole = Self { shard: Some(VocabularyShard::new(0, total_cols)), ..*self };
        let shape = Shape::new(partials.len(), total_cols);
        Ok((shape, inputs.check(shape, &whole)?))
    }

    fn merged_row(
        &self,
        of: &RowPartials,
        inputs: &CrossEntropyInputs<'_>,
        shape: Shape,
        row: usize,
    ) -> RowResult {
        let Some(RowTarget::Class(class)) = inputs.row_target(shape, self, row) else {
            return RowResult::LEFT_OUT;
        };
        let class = u32::try_from(class).unwrap_or(NO_CLASS);
        let class_weight = inputs
            .class_weights
            .and_then(|weights| weights.get(class as usize))
            .map_or(1.0, |&w| f64::from(w));
        let row_weight = inputs.row_weight(self, row);
        let minus_ln_p = of.loss(self.temperature);
        let data = match self.special_loss(of) {
            Some(special) => special,
            None => row_weight * (self.own_loss(of, minus_ln_p, class_weight) + self.smoothing_loss(of)),
        };
        let mut flags = of.flags();
        flags.set(Flags::NAN_LOSS, data.is_nan());
        flags.set(Flags::INFINITE_LOSS, (data as f32).is_infinite());
        let is_special = of.has_special();
        let or_nan = |value: f64| if is_special { f32::NAN } else { value as f32 };
        let lse = if is_special { f64::from(of.row_max) } else { of.lse(self.temperature) };
        let mut result = RowResult {
            loss: data as f32,
            lse: lse as f32,
            argmax: of.argmax,
            row_max: of.row_max,
            sum_exp: of.sum_exp,
            target_logit: of.target_logit,
            target_prob: or_nan(of.target_exp(self.temperature) / f64::from(of.sum_exp)),
            target_log_prob: or_nan(-minus_ln_p),
            confidence: or_nan(1.0 / f64::from(of.sum_exp)),
            is_correct: u32::from(!is_special && of.argmax == class),
            flags: flags.bits(),
            ..RowResult::default()
        }
        .with_z_loss(row_weight as f32, self.z_loss);
        if result.loss.is_infinite() {
            result.flags |= Flags::INFINITE_LOSS.bits();
        }
        result
    }

    /// The target's part of the loss of a row that is special.
    fn special_loss(&self, of: &RowPartials) -> Option<f64> {
        let is_invalid = of.flags().contains(Flags::INVALID_WEIGHT);
        match of.has_special() {
            _ if is_invalid => Some(f64::NAN),
            false => None,
            true if of.flags().contains(Flags::MASKED_ROW) && self.masked_row == MaskedRow::Zero => Some(0.0),
            true => Some(f64::NAN),
        }
    }

    /// (1 − ε)·w_y·(1 − p_y)^γ·ℓ_y.
    fn own_loss(&self, of: &RowPartials, minus_ln_p: f64, class_weight: f64) -> f64 {
        let factor = (1.0 - f64::from(self.label_smoothing)) * class_weight;
        if factor == 0.0 {
            return 0.0;
        }
        let (own, others) = (of.target_exp(self.temperature), f64::from(of.others));
        let focal = (others / (own + others)).powf(self.focal_gamma.into());
        // 0 · ∞ counts as 0.
        if focal == 0.0 { 0.0 } else { factor * focal * minus_ln_p }
    }

    /// ε/C · Σ w_j ℓ_j, with Σ w_j ℓ_j = Σ w · ln z + Σ w_j (m − s_j) / T.
    fn smoothing_loss(&self, of: &RowPartials) -> f64 {
        let share = f64::from(self.label_smoothing) / self.total_cols(1) as f64;
        let mass = f64::from(of.class_mass);
        if share == 0.0 || mass == 0.0 {
            return 0.0;
        }
        let distance = f64::from(of.class_distance) / distance_scale(self.temperature);
        share * (mass * f64::from(of.sum_exp).ln() + distance / f64::from(self.temperature))
    }
}

#[cfg(test)]
#[path = "merged_tests.rs"]
mod tests;
