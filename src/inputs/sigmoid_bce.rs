//! The inputs of the multi-label loss besides the logits: targets, weights, masks, upstream gradients.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, RowInputs, check_weights, row_setters};
use crate::options::SigmoidBceOptions;
use crate::shape::Shape;

/// The inputs of a [`SigmoidBce`](crate::SigmoidBce) besides the logits. Targets alone are enough: methods that take
/// these inputs also take a slice of targets.
///
/// ```
/// use xent::SigmoidBceInputs;
///
/// let inputs = SigmoidBceInputs::new(&[1.0, 0.0, 1.0, 0.0]).pos_weight(&[3.0, 1.0]);
/// ```
///
/// More fields may come: end a literal with `..SigmoidBceInputs::new(targets)`.
#[derive(Clone, Copy, Debug)]
pub struct SigmoidBceInputs<'a> {
    /// Targets (rows, cols), in the logits' layout: for each class 1 if it applies, 0 if it does not, or a probability
    /// in between. Any finite number is used as it is.
    pub targets: &'a [f32],
    /// P: the weight of a class where it applies (cols,), finite and at least 0: PyTorch's `pos_weight`. Above 1 it
    /// raises recall, below 1 precision. Default: 1 each.
    pub pos_weight: Option<&'a [f32]>,
    /// w: a weight for each class (cols,), finite and at least 0: PyTorch's `weight` of that shape. Default: 1 each.
    pub class_weights: Option<&'a [f32]>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputs<'a>,
}

impl<'a> From<&'a [f32]> for SigmoidBceInputs<'a> {
    fn from(targets: &'a [f32]) -> Self {
        Self::new(targets)
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for SigmoidBceInputs<'a> {
    fn from(targets: &'a [f32; N]) -> Self {
        Self::new(targets)
    }
}

impl<'a> From<&'a Vec<f32>> for SigmoidBceInputs<'a> {
    fn from(targets: &'a Vec<f32>) -> Self {
        Self::new(targets)
    }
}

impl<'a> From<&SigmoidBceInputs<'a>> for SigmoidBceInputs<'a> {
    fn from(inputs: &SigmoidBceInputs<'a>) -> Self {
        *inputs
    }
}

impl<'a> SigmoidBceInputs<'a> {
    /// Inputs with targets only.
    pub const fn new(targets: &'a [f32]) -> Self {
        Self { targets, pos_weight: None, class_weights: None, rows: RowInputs::NONE }
    }

    /// Sets the weights (cols,) of classes that apply.
    pub const fn pos_weight(self, weights: &'a [f32]) -> Self {
        Self { pos_weight: Some(weights), ..self }
    }

    /// Sets class weights (cols,).
    pub const fn class_weights(self, weights: &'a [f32]) -> Self {
        Self { class_weights: Some(weights), ..self }
    }

    row_setters!();

    /// Checks lengths, targets and weights before any work, and returns the total weight of the rows. The denominator
    /// of a mean is Σ row weight · cols. The targets of rows that are left out are not checked.
    ///
    /// # Errors
    /// What [`Shape::check`] and [`SigmoidBceOptions::check`] refuse; [`Error::Length`]; [`Error::InvalidTarget`] for a
    /// target that is NaN or infinite; [`Error::InvalidOption`] for weights.
    pub fn check(&self, shape: Shape, options: &SigmoidBceOptions) -> Result<BatchWeight> {
        shape.check()?;
        options.check()?;
        shape.check_slice("targets", self.targets)?;
        self.check_class_weights(shape)?;
        self.rows.check(shape)?;
        let mut batch = BatchWeight::default();
        self.weigh(shape, 0, &mut batch)?;
        Ok(batch)
    }

    /// Refuses lengths that differ from the number of classes, and invalid weights.
    pub(crate) fn check_class_weights(&self, shape: Shape) -> Result<()> {
        check_weights("pos_weight", self.pos_weight, shape.cols)?;
        check_weights("class_weights", self.class_weights, shape.cols)
    }

    /// Adds the weights of the rows one by one, so that the parts of a batch give the same bits as the whole. Messages
    /// count rows from `first`.
    ///
    /// # Errors
    /// [`Error::InvalidTarget`].
    pub(crate) fn weigh(&self, shape: Shape, first: usize, batch: &mut BatchWeight) -> Result<()> {
        for row in 0..shape.rows {
            let row_weight = f64::from(self.rows.weight(row));
            if row_weight == 0.0 {
                continue;
            }
            let mut targets = shape.row(self.targets, row).enumerate();
            if let Some((at, &value)) = targets.find(|(_, target)| !target.is_finite()) {
                return Err(Error::InvalidTarget { row: first.saturating_add(row), at, value });
            }
            batch.add(BatchWeight { weight: row_weight * shape.cols as f64, row_weight, counted: 1 });
        }
        Ok(())
    }

    /// The inputs of a range of rows. If the logits' rows lie side by side, the range covers whole groups.
    pub(crate) fn part(&self, shape: Shape, rows: Range<usize>) -> Self {
        let (start, len) = (shape.row_start(rows.start), shape.with_rows(rows.len()).len());
        Self { targets: &self.targets[start..][..len], rows: self.rows.part(rows), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SigmoidBceOptions = SigmoidBceOptions {
        reduction: crate::options::Reduction::Mean,
        empty_batch: crate::options::EmptyBatch::Nan,
    };

    #[test]
    fn a_mean_counts_the_classes_of_the_rows_that_count() {
        let shape = Shape::new(4, 3);
        let targets = [0.5; 12];
        let inputs = SigmoidBceInputs::new(&targets)
            .row_weights(&[2.0, 0.0, 0.5, 1.0])
            .row_mask(&[true, true, true, false])
            .class_weights(&[5.0, 0.0, 1.0])
            .pos_weight(&[7.0; 3]);
        let expected = BatchWeight { weight: 7.5, row_weight: 2.5, counted: 2 };
        assert_eq!(inputs.check(shape, &OPTIONS), Ok(expected));
    }

    #[test]
    fn refusals_say_where() {
        let shape = Shape::nchw(1, 2, 2);
        let targets = [0.0, 1.0, 0.0, f32::NAN];
        let error = SigmoidBceInputs::new(&targets).check(shape, &OPTIONS).expect_err("a NaN");
        assert!(matches!(error, Error::InvalidTarget { row: 1, at: 1, value } if value.is_nan()), "{error}");
        let masked = SigmoidBceInputs::new(&targets).row_mask(&[true, false]);
        assert_eq!(masked.check(shape, &OPTIONS).map(|batch| batch.counted), Ok(1), "not looked at");
        let short = SigmoidBceInputs::new(&targets[..3]).check(shape, &OPTIONS);
        assert_eq!(short, Err(Error::Length { what: "targets", found: 3, needed: 4 }));
        let targets = [0.5; 4];
        let inputs = SigmoidBceInputs::new(&targets);
        for (name, inputs, at) in [
            ("pos_weight", inputs.pos_weight(&[1.0, -1.0]), 1),
            ("class_weights", inputs.class_weights(&[f32::NAN, 1.0]), 0),
            ("row_weights", inputs.row_weights(&[1.0, f32::INFINITY]), 1),
        ] {
            match inputs.check(shape, &OPTIONS) {
                Err(Error::InvalidOption { option, at: found, .. }) => {
                    assert_eq!((option, found), (name, Some(at)));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        for (what, inputs) in [
            ("pos_weight", inputs.pos_weight(&[1.0])),
            ("class_weights", inputs.class_weights(&[1.0; 3])),
            ("row_weights", inputs.row_weights(&[1.0; 3])),
            ("row_mask", inputs.row_mask(&[true])),
            ("row_upstream", inputs.row_upstream(&[])),
        ] {
            let Err(Error::Length { what: found, needed: 2, .. }) = inputs.check(shape, &OPTIONS) else {
                panic!("{what}")
            };
            assert_eq!(found, what);
        }
    }

    #[test]
    fn parts_are_windows_of_the_whole() {
        let shape = Shape::nchw(2, 2, 2).row_stride(5);
        let targets: Vec<f32> = (0..9u8).map(f32::from).collect();
        let weights = [1.0, 2.0, 3.0, 4.0];
        let part = SigmoidBceInputs::new(&targets).row_weights(&weights).part(shape, 2..4);
        assert_eq!((part.targets, part.rows.row_weights), (&targets[5..], Some(&weights[2..])));
    }
}
