//! The inputs of the losses besides the logits: targets, weights, masks, upstream gradients.

mod cross_entropy;
mod kl_divergence;
mod negative_sampler;
mod resolved;
mod sampled_softmax;
mod sigmoid_bce;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::options::{EmptyBatch, Reducing, Reduction};
use crate::shape::Shape;

pub use cross_entropy::CrossEntropyInputs;
pub(crate) use cross_entropy::{RowWeights, check_combination};
pub use kl_divergence::KlDivergenceInputs;
pub use negative_sampler::{DrawnNegatives, NegativeSampler};
pub(crate) use resolved::{OwnedTargets, Resolved, input_rows, target_rows};
pub(crate) use sampled_softmax::MOST_LOG_COUNT;
pub use sampled_softmax::{Negative, Negatives, NegativesKind, SampledSoftmaxInputs};
pub use sigmoid_bce::SigmoidBceInputs;

/// The total weight of a batch's rows: the denominators of a mean. Every gradient needs them before its first value.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BatchWeight {
    /// Σ row weight · class weight of the rows that count (class targets), or Σ row weight (other targets). A mean
    /// divides the loss by it.
    pub weight: f64,
    /// Σ row weight of the rows that count. A mean divides the z-loss by it.
    pub row_weight: f64,
    /// How many rows count.
    pub counted: usize,
}

/// The names of a caller's batch weights in errors.
pub(crate) const WEIGHT: &str = "batch weight: weight";
const ROW_WEIGHT: &str = "batch weight: row_weight";
const COUNTED: &str = "batch weight: counted";

impl BatchWeight {
    /// Adds another part of the batch.
    pub(crate) fn add(&mut self, other: Self) {
        self.weight += other.weight;
        self.row_weight += other.row_weight;
        self.counted += other.counted;
    }

    /// Whether there is nothing to take a mean of.
    pub(crate) fn is_empty(&self) -> bool {
        self.counted == 0 || self.weight == 0.0
    }

    /// Whether a reduction is a mean of nothing.
    pub(crate) fn is_empty_mean(&self, reduction: Reduction) -> bool {
        reduction == Reduction::Mean && self.is_empty()
    }

    /// Checks a weight that the caller gives before any row has come: refuses one that no batch of this shape can have.
    /// `fits` checks what the loss also needs of the two weights.
    pub(crate) fn check_given(
        &self,
        shape: Shape,
        how: Reducing,
        fits: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let &Self { weight, row_weight, counted } = self;
        for (option, value) in [(WEIGHT, weight), (ROW_WEIGHT, row_weight)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::option(option, value, "finite and at least 0"));
            }
        }
        if counted > shape.rows {
            return Err(Error::option(COUNTED, counted as f64, "at most the rows of the shape"));
        }
        if how.reduction != Reduction::Mean {
            return Ok(());
        }
        if (counted == 0) != (row_weight == 0.0) {
            return Err(Error::option(ROW_WEIGHT, row_weight, "0 if no row counts, and above 0 otherwise"));
        }
        fits(self)?;
        self.check(shape.rows, how)
    }

    /// Refuses this weight of a whole batch if the parts exceed it, or if they are complete and do not add up to it.
    pub(crate) fn check_parts(&self, parts: Self, are_all: bool) -> Result<()> {
        // The parts are summed in a different order than the whole was.
        const ROUNDING: f64 = 1e-6;
        let (counted, parts_counted) = (self.counted as f64, parts.counted as f64);
        for (option, whole, parts, slack) in [
            (COUNTED, counted, parts_counted, 0.0),
            (WEIGHT, self.weight, parts.weight, ROUNDING),
            (ROW_WEIGHT, self.row_weight, parts.row_weight, ROUNDING),
        ] {
            let slack = slack * whole;
            if parts > whole + slack || (are_all && parts < whole - slack) {
                let needed = "the total over all rows of the stream, as `check` of the inputs gives it";
                return Err(Error::option(option, whole, needed));
            }
        }
        Ok(())
    }

    /// Refuses a batch without a mean if that is to be an error, and a batch whose mean divides by a weight that f32
    /// cannot hold.
    pub(crate) fn check(&self, rows: usize, how: Reducing) -> Result<()> {
        let refuses = how.empty_batch == EmptyBatch::Error && how.reduction == Reduction::Mean;
        if refuses && self.is_empty() {
            return Err(Error::NoRowCounts { rows });
        }
        // Beyond f32 the device would divide by 0 or by ∞.
        let is_normal = |weight: f64| (weight as f32).is_normal();
        if how.reduction == Reduction::Mean && !self.is_empty() {
            for weight in [self.weight, self.row_weight] {
                if !is_normal(weight) {
                    return Err(Error::option(
                        "weights: their sum",
                        weight,
                        "a normal f32, because a mean divides by it",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The inputs that every loss takes for its rows: weights, a mask, upstream gradients. All are optional.
///
/// More fields may come: end a literal with `..Default::default()`.
#[derive(Clone, Copy, Debug)]
pub struct RowInputs<'a> {
    /// A weight for each row (rows,), finite and at least 0. A row of weight 0 is left out. Default: 1 each.
    pub row_weights: Option<&'a [f32]>,
    /// Which rows are scored (rows,); the others are left out. Default: all.
    pub row_mask: Option<&'a [bool]>,
    /// The gradient of the caller's objective with respect to the loss: it multiplies `dlogits`. Default: 1.
    pub upstream: f32,
    /// The gradient of the caller's objective with respect to each row's loss (rows,). Default: 1 each.
    pub row_upstream: Option<&'a [f32]>,
}

impl RowInputs<'_> {
    const NONE: Self = Self { row_weights: None, row_mask: None, upstream: 1.0, row_upstream: None };
}

impl Default for RowInputs<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

/// Setters of the per-row inputs, for the inputs of each loss, which hold them as `rows`.
macro_rules! row_setters {
    () => {
        /// Sets row weights (rows,).
        pub const fn row_weights(mut self, weights: &'a [f32]) -> Self {
            self.rows.row_weights = Some(weights);
            self
        }

        /// Sets a mask (rows,) of the rows that are scored.
        pub const fn row_mask(mut self, mask: &'a [bool]) -> Self {
            self.rows.row_mask = Some(mask);
            self
        }

        /// Sets the upstream gradient of the reduced loss.
        pub const fn upstream(mut self, upstream: f32) -> Self {
            self.rows.upstream = upstream;
            self
        }

        /// Sets an upstream gradient (rows,) for each row's loss.
        pub const fn row_upstream(mut self, upstream: &'a [f32]) -> Self {
            self.rows.row_upstream = Some(upstream);
            self
        }

        /// Sets all per-row inputs at once.
        pub const fn rows(self, rows: RowInputs<'a>) -> Self {
            Self { rows, ..self }
        }
    };
}
use row_setters;

impl RowInputs<'_> {
    /// The weight of a row, or 0 if it is masked.
    pub(crate) fn weight(&self, row: usize) -> f32 {
        if self.row_mask.is_some_and(|mask| !mask[row]) {
            return 0.0;
        }
        self.row_weights.map_or(1.0, |weights| weights[row])
    }

    /// The upstream gradient of a row's loss: that of the whole times its own.
    pub(crate) fn gradient(&self, row: usize) -> f64 {
        f64::from(self.upstream) * self.row_upstream.map_or(1.0, |upstream| f64::from(upstream[row]))
    }

    /// Refuses lengths that differ from the shape's, and invalid weights.
    pub(crate) fn check(&self, shape: Shape) -> Result<()> {
        check_weights("row_weights", self.row_weights, shape.rows)?;
        let (mask, upstream) = (self.row_mask.map(<[bool]>::len), self.row_upstream.map(<[f32]>::len));
        for (what, found) in [("row_mask", mask), ("row_upstream", upstream)] {
            if let Some(found) = found.filter(|&found| found != shape.rows) {
                return Err(Error::Length { what, found, needed: shape.rows });
            }
        }
        Ok(())
    }

    /// The inputs of a range of rows.
    pub(crate) fn part(&self, rows: Range<usize>) -> Self {
        Self {
            row_weights: self.row_weights.map(|weights| &weights[rows.clone()]),
            row_mask: self.row_mask.map(|mask| &mask[rows.clone()]),
            row_upstream: self.row_upstream.map(|upstream| &upstream[rows]),
            ..*self
        }
    }
}

/// Refuses a weight that is negative, NaN or infinite.
pub(crate) fn check_weights(option: &'static str, weights: Option<&[f32]>, needed: usize) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != needed {
        return Err(Error::Length { what: option, found: weights.len(), needed });
    }
    match weights.iter().position(|weight| !(*weight >= 0.0 && weight.is_finite())) {
        Some(at) => Err(Error::InvalidOption {
            option,
            at: Some(at),
            value: f64::from(weights[at]),
            needed: "finite and at least 0",
        }),
        None => Ok(()),
    }
}

/// A mask as the kernels take it: one word per row.
pub(crate) fn mask_words(mask: &[bool]) -> Vec<u32> {
    mask.iter().map(|&is_scored| u32::from(is_scored)).collect()
}
