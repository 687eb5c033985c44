//! What the losses take beside the logits: targets, weights, masks, upstream gradients.

mod cross_entropy;
mod kl_divergence;
mod sigmoid_bce;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::options::{CrossEntropyOptions, EmptyBatch, Reduction};
use crate::shape::Shape;
use crate::targets::TargetKind;

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
const WEIGHT: &str = "batch weight: weight";
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

    /// Refuses what no batch of this shape can weigh: of what a caller says, before any row has come.
    pub(crate) fn check_given(
        &self,
        shape: Shape,
        kind: TargetKind,
        options: &CrossEntropyOptions,
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
        if options.reduction != Reduction::Mean {
            return Ok(());
        }
        if (counted == 0) != (row_weight == 0.0) {
            return Err(Error::option(ROW_WEIGHT, row_weight, "0 where no row counts, else above 0"));
        }
        // Class weights enter the mean of class targets only.
        if weight != row_weight && (kind != TargetKind::Classes || counted == 0) {
            let needed = "the row_weight, unless targets are classes that have weights";
            return Err(Error::option(WEIGHT, weight, needed));
        }
        self.check(shape.rows, options)
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
                let needed =
                    "that of all rows of the stream together, as `CrossEntropyInputs::check` gives it";
                return Err(Error::option(option, whole, needed));
            }
        }
        Ok(())
    }

    /// Refuses a batch without a mean, where that is asked for, and one whose mean no f32 can divide by.
    pub(crate) fn check(&self, rows: usize, options: &CrossEntropyOptions) -> Result<()> {
        let refuses = options.empty_batch == EmptyBatch::Error && options.reduction == Reduction::Mean;
        if refuses && self.is_empty() {
            return Err(Error::NoRowCounts { rows });
        }
        // Beyond f32 the device would divide by 0 or by ∞.
        let is_normal = |weight: f64| (weight as f32).is_normal();
        if options.reduction == Reduction::Mean && !self.is_empty() {
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

/// What each loss may be given for its rows: a weight, whether it is scored, upstream gradients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowFactors<'a> {
    pub weights: Option<&'a [f32]>,
    pub mask: Option<&'a [bool]>,
    pub upstream: f32,
    pub row_upstream: Option<&'a [f32]>,
}

impl RowFactors<'_> {
    /// The weight of a row, 0 if it is masked.
    pub fn weight(&self, row: usize) -> f32 {
        if self.mask.is_some_and(|mask| !mask[row]) {
            return 0.0;
        }
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// The gradient by which a row's loss is multiplied, of its own and of the whole.
    pub fn gradient(&self, row: usize) -> f64 {
        f64::from(self.upstream) * self.row_upstream.map_or(1.0, |upstream| f64::from(upstream[row]))
    }

    /// Refuses another length than the shape's, and weights that are none.
    pub fn check(&self, shape: Shape) -> Result<()> {
        check_weights("row_weights", self.weights, shape.rows)?;
        let (mask, upstream) = (self.mask.map(<[bool]>::len), self.row_upstream.map(<[f32]>::len));
        for (what, found) in [("row_mask", mask), ("row_upstream", upstream)] {
            if let Some(found) = found.filter(|&found| found != shape.rows) {
                return Err(Error::Length { what, found, needed: shape.rows });
            }
        }
        Ok(())
    }

    /// The same of some rows.
    pub fn part(&self, rows: Range<usize>) -> Self {
        Self {
            weights: self.weights.map(|weights| &weights[rows.clone()]),
            mask: self.mask.map(|mask| &mask[rows.clone()]),
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
