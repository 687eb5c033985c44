//! What the losses take beside the logits: targets, weights, masks, upstream gradients.

mod cross_entropy;
mod kl_divergence;
mod sigmoid_bce;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::options::{EmptyBatch, Reducing, Reduction};
use crate::shape::Shape;

pub use cross_entropy::CrossEntropyInputs;
pub(crate) use cross_entropy::{OwnedTargets, Resolved, RowWeights, check_combination, target_rows};
pub use kl_divergence::KlDivergenceInputs;
pub use sigmoid_bce::SigmoidBceInputs;

/// What the rows of a batch weigh together: a mean's denominators, which every gradient needs before its first value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BatchWeight {
    /// Σ row weight · class weight of the rows that count (class targets), or Σ row weight (others): what a mean
    /// divides the loss by.
    pub weight: f64,
    /// Σ row weight of the rows that count: what a mean divides the z-loss by.
    pub row_weight: f64,
    /// The rows that count.
    pub counted: usize,
}

/// How errors name what a caller says of a batch.
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

    /// Refuses what no batch of this shape can weigh: of what a caller says, before any row has come. `fits` says what a
    /// loss asks of the two weights beside that.
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
            return Err(Error::option(ROW_WEIGHT, row_weight, "0 where no row counts, else above 0"));
        }
        fits(self)?;
        self.check(shape.rows, how)
    }

    /// Refuses this weight of a whole batch where some of its rows weigh more, or all of them something else.
    pub(crate) fn check_parts(&self, parts: Self, are_all: bool) -> Result<()> {
        // The parts are summed in another order than the whole was.
        const ROUNDING: f64 = 1e-6;
        let (counted, parts_counted) = (self.counted as f64, parts.counted as f64);
        for (option, whole, parts, slack) in [
            (COUNTED, counted, parts_counted, 0.0),
            (WEIGHT, self.weight, parts.weight, ROUNDING),
            (ROW_WEIGHT, self.row_weight, parts.row_weight, ROUNDING),
        ] {
            let slack = slack * whole;
            if parts > whole + slack || (are_all && parts < whole - slack) {
                let needed = "that of all rows of the stream together, as the inputs' `check` gives it";
                return Err(Error::option(option, whole, needed));
            }
        }
        Ok(())
    }

    /// Refuses a batch without a mean, where that is asked for, and one whose mean no f32 can divide by.
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
                        "a normal f32, for a mean to divide by",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What every loss may be given for its rows: weights, a mask, upstream gradients. All of it may be left out.
#[derive(Clone, Copy, Debug)]
pub struct RowInputs<'a> {
    /// A weight for each row (rows,), finite and at least 0. A row of weight 0 is left out. Default: 1 each.
    pub row_weights: Option<&'a [f32]>,
    /// Which rows are scored (rows,); the others are left out. Default: all.
    pub row_mask: Option<&'a [bool]>,
    /// The gradient of what follows the loss with respect to the loss: `dlogits` is multiplied by it. Default: 1.
    pub upstream: f32,
    /// The same for each row's loss (rows,). Default: 1 each.
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

/// Setters of the inputs that come row by row, for the inputs of a loss, which hold them as `rows`.
macro_rules! row_setters {
    () => {
        /// Adds row weights (rows,).
        pub const fn row_weights(mut self, weights: &'a [f32]) -> Self {
            self.rows.row_weights = Some(weights);
            self
        }

        /// Adds a mask (rows,) of the rows that are scored.
        pub const fn row_mask(mut self, mask: &'a [bool]) -> Self {
            self.rows.row_mask = Some(mask);
            self
        }

        /// Sets the upstream gradient of the reduced loss.
        pub const fn upstream(mut self, upstream: f32) -> Self {
            self.rows.upstream = upstream;
            self
        }

        /// Adds an upstream gradient (rows,) for each row's loss.
        pub const fn row_upstream(mut self, upstream: &'a [f32]) -> Self {
            self.rows.row_upstream = Some(upstream);
            self
        }

        /// Takes everything that is given row by row.
        pub const fn rows(self, rows: RowInputs<'a>) -> Self {
            Self { rows, ..self }
        }
    };
}
use row_setters;

impl RowInputs<'_> {
    /// The weight of a row, 0 if it is masked.
    pub(crate) fn weight(&self, row: usize) -> f32 {
        if self.row_mask.is_some_and(|mask| !mask[row]) {
            return 0.0;
        }
        self.row_weights.map_or(1.0, |weights| weights[row])
    }

    /// The gradient by which a row's loss is multiplied, of its own and of the whole.
    pub(crate) fn gradient(&self, row: usize) -> f64 {
        f64::from(self.upstream) * self.row_upstream.map_or(1.0, |upstream| f64::from(upstream[row]))
    }

    /// Refuses another length than the shape's, and weights that are none.
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

    /// The same of some rows.
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

/// A mask as the kernels take it: a word a row.
pub(crate) fn mask_words(mask: &[bool]) -> Vec<u32> {
    mask.iter().map(|&is_scored| u32::from(is_scored)).collect()
}
