//! The inputs of sampled softmax besides the logits.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::inputs::{BatchWeight, CrossEntropyInputs, RowInputs, row_setters};
use crate::options::SampledSoftmaxOptions;
use crate::shape::Shape;
use crate::targets::{RowTarget, Targets};

/// A drawn class of a [`SampledSoftmax`](crate::SampledSoftmax), as the kernels read it: 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[non_exhaustive]
pub struct Negative {
    /// The class, in 0..classes.
    pub class: u32,
    /// ln(count), where count is how often the class is expected among the negatives. From −1,000 to 1,000.
    pub log_count: f32,
}

/// The largest logarithm of a count, of either sign: `MOST_LOG_COUNT` in `shaders/score/sampled.wgsl`.
pub(crate) const MOST_LOG_COUNT: f32 = 1000.0;

impl Negative {
    /// The bytes of one.
    pub const BYTES: u64 = size_of::<Self>() as u64;

    /// A class, and the logarithm of its expected count.
    pub const fn new(class: u32, log_count: f32) -> Self {
        Self { class, log_count }
    }
}

/// The negatives of a batch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Negatives<'a> {
    /// The same ones for all rows: (cols − 1,).
    Shared(&'a [Negative]),
    /// Other ones for each row: (rows, cols − 1).
    PerRow(&'a [Negative]),
}

/// Whether the rows of a batch share their negatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NegativesKind {
    /// [`Negatives::Shared`].
    Shared,
    /// [`Negatives::PerRow`].
    PerRow,
}

impl<'a> Negatives<'a> {
    /// Whether the rows share them.
    pub fn kind(&self) -> NegativesKind {
        match self {
            Self::Shared(_) => NegativesKind::Shared,
            Self::PerRow(_) => NegativesKind::PerRow,
        }
    }

    /// All of them, in their order.
    pub(crate) fn values(&self) -> &'a [Negative] {
        match *self {
            Self::Shared(values) | Self::PerRow(values) => values,
        }
    }

    /// Those of a range of rows, of `each` negatives.
    fn part(&self, each: usize, rows: Range<usize>) -> Self {
        match *self {
            Self::Shared(values) => Self::Shared(values),
            Self::PerRow(values) => Self::PerRow(&values[rows.start * each..rows.end * each]),
        }
    }

    /// Those of one row.
    pub(crate) fn of_row(&self, each: usize, row: usize) -> &'a [Negative] {
        self.part(each, row..row + 1).values()
    }

    /// Refuses another number of negatives, classes out of range, and counts beyond e^±1000.
    fn check(&self, shape: Shape, classes: usize) -> Result<()> {
        let rows = if self.kind() == NegativesKind::Shared { 1 } else { shape.rows };
        let (found, needed) = (self.values().len(), rows.saturating_mul(shape.cols - 1));
        if found != needed {
            return Err(Error::Length { what: "negatives", found, needed });
        }
        for (at, &Negative { class, log_count }) in self.values().iter().enumerate() {
            if class as usize >= classes {
                let needed = "below the number of classes";
                return Err(Error::option("negatives: class", class, needed).at_index(at));
            }
            check_log_count("negatives: log_count", at, log_count)?;
        }
        Ok(())
    }
}

fn check_log_count(option: &'static str, at: usize, value: f32) -> Result<()> {
    // A NaN is in no range.
    if (-MOST_LOG_COUNT..=MOST_LOG_COUNT).contains(&value) {
        Ok(())
    } else {
        Err(Error::option(option, value, "from -1000 to 1000").at_index(at))
    }
}

/// The inputs of a [`SampledSoftmax`](crate::SampledSoftmax) besides the logits.
/// [`NegativeSampler`](crate::NegativeSampler) draws the negatives and gives the counts.
///
/// ```
/// use xent::{Negative, Negatives, SampledSoftmaxInputs, Targets};
///
/// // One row whose class is 3, and two negatives, with how often each is expected among them.
/// let negatives = [Negative::new(0, 0.578f32.ln()), Negative::new(7, 0.0983f32.ln())];
/// let (targets, log_counts) = (Targets::Classes(&[3]), [0.186f32.ln()]);
/// let inputs = SampledSoftmaxInputs::new(targets, &log_counts, Negatives::Shared(&negatives));
/// ```
///
/// More fields may come: end a literal with `..SampledSoftmaxInputs::new(targets, log_counts, negatives)`.
#[derive(Clone, Copy, Debug)]
pub struct SampledSoftmaxInputs<'a> {
    /// The rows' own classes: class indices, of all classes and not of the columns.
    pub targets: Targets<'a>,
    /// ln(count) of each row's own class (rows,), from −1,000 to 1,000. Either of how often the class is expected among the
    /// negatives, so that it is corrected as they are (Jean et al. 2015). Or 0 throughout, because the class is there for
    /// certain: then the loss estimates the loss over all classes. It is too small on average, in proportion to 1 / negatives.
    pub target_log_counts: &'a [f32],
    /// The negatives, whose logits are in the columns from 1 on.
    pub negatives: Negatives<'a>,
    /// Weights, mask and upstream gradients of the rows.
    pub rows: RowInputs<'a>,
}

impl<'a> From<&SampledSoftmaxInputs<'a>> for SampledSoftmaxInputs<'a> {
    fn from(inputs: &SampledSoftmaxInputs<'a>) -> Self {
        *inputs
    }
}

impl<'a> SampledSoftmaxInputs<'a> {
    /// Inputs without weights and upstream gradients.
    pub const fn new(targets: Targets<'a>, target_log_counts: &'a [f32], negatives: Negatives<'a>) -> Self {
        Self { targets, target_log_counts, negatives, rows: RowInputs::NONE }
    }

    row_setters!();

    /// A cross-entropy's inputs with these targets and rows.
    pub(crate) fn of_targets(&self) -> CrossEntropyInputs<'a> {
        CrossEntropyInputs { rows: self.rows, ..CrossEntropyInputs::new(self.targets) }
    }

    /// A row's own class; `None` if the row is left out. One below 0 is no class.
    pub(crate) fn class_of(&self, shape: Shape, options: &SampledSoftmaxOptions, row: usize) -> Option<u32> {
        match self.of_targets().row_target(shape, &options.of_targets(), row)? {
            RowTarget::Class(class) => Some(u32::try_from(class).unwrap_or(u32::MAX)),
            _ => None,
        }
    }

    /// Checks lengths, targets, negatives and weights before any work, and returns the total weight of the rows. The columns
    /// of `shape` are the row's own class and its negatives.
    ///
    /// # Errors
    /// What [`Shape::check`] and [`SampledSoftmaxOptions::check`] refuse; [`Error::Length`], [`Error::TargetOutOfRange`],
    /// whose `cols` are the classes; [`Error::TargetKind`] for targets that are not class indices; [`Error::InvalidOption`]
    /// for weights, classes of negatives and logarithms of counts.
    pub fn check(&self, shape: Shape, options: &SampledSoftmaxOptions) -> Result<BatchWeight> {
        shape.check()?;
        options.check()?;
        let targets = self.of_targets();
        targets.check_plain_classes(self.targets.kind())?;
        self.targets.check_lengths(shape)?;
        self.rows.check(shape)?;
        let (found, needed) = (self.target_log_counts.len(), shape.rows);
        if found != needed {
            return Err(Error::Length { what: "target_log_counts", found, needed });
        }
        for (row, &log_count) in self.target_log_counts.iter().enumerate() {
            check_log_count("target_log_counts", row, log_count)?;
        }
        self.negatives.check(shape, options.classes)?;
        let mut batch = BatchWeight::default();
        targets.weigh(Shape { cols: options.classes, ..shape }, &options.of_targets(), 0, &mut batch)?;
        Ok(batch)
    }

    /// The inputs of a range of rows.
    pub(crate) fn part(&self, shape: Shape, rows: Range<usize>) -> Self {
        Self {
            targets: self.targets.part(shape, rows.clone()),
            target_log_counts: &self.target_log_counts[rows.clone()],
            negatives: self.negatives.part(shape.cols - 1, rows.clone()),
            rows: self.rows.part(rows),
        }
    }
}
