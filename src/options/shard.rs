//! Which columns of a vocabulary a device holds.

use crate::error::{Error, Result};
use crate::shape::Shape;

/// Some columns of every row, where the classes are spread over several devices or processes: columns `first_col..first_col +
/// cols` of rows of `total_cols` classes, with `cols` of the [`Shape`](crate::Shape). This is the layout of a vocabulary-parallel
/// LM head (Megatron-LM, arXiv:1909.08053).
///
/// Targets are classes of the whole row, on every device. So are class weights: (`total_cols`,). An operation with a
/// [`shard`](crate::CrossEntropyOptions::shard) works in three steps, the second of which is yours:
///
/// 1. [`LossOp::partials`](crate::LossOp::partials) reads the shard's logits once, and gives 32 bytes for each row.
/// 2. Gather the [`RowPartials`](crate::RowPartials) of all shards, and [`combine`](crate::RowPartials::combine) them in the
///    shards' order, on every device.
/// 3. [`CrossEntropyInputs::partials`](field@crate::CrossEntropyInputs::partials) takes the combined ones. The loss is then that of
///    the whole rows, and `dlogits` (rows, cols) the gradient with respect to the shard's logits, in one more read of them.
///
/// [`CrossEntropyOptions::merged_loss`](crate::CrossEntropyOptions::merged_loss) gives the loss without a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VocabularyShard {
    /// The class of the shard's first column.
    pub first_col: usize,
    /// The classes of the whole row.
    pub total_cols: usize,
}

impl VocabularyShard {
    /// The shard that begins at this class of rows of `total_cols` classes.
    pub const fn new(first_col: usize, total_cols: usize) -> Self {
        Self { first_col, total_cols }
    }

    /// Refuses a number of classes that no target counts to.
    pub(crate) fn check(self) -> Result<()> {
        if self.total_cols == 0 || self.total_cols > i32::MAX as usize {
            return Err(Error::option("shard: total_cols", self.total_cols as f64, "from 1 to 2147483647"));
        }
        self.check_cols(0)
    }

    /// Refuses columns beyond the row.
    pub(crate) fn check_cols(self, cols: usize) -> Result<()> {
        let Self { first_col, total_cols } = self;
        if first_col.checked_add(cols).is_none_or(|end| end > total_cols) {
            let needed = "such that first_col + cols is at most total_cols";
            return Err(Error::option("shard: first_col", first_col as f64, needed));
        }
        Ok(())
    }
}

/// Refuses columns beyond the whole row, and partials of other rows or of no shard. `partials` is how many there are.
pub(crate) fn check_shard(
    shard: Option<VocabularyShard>,
    shape: Shape,
    partials: Option<usize>,
) -> Result<()> {
    let Some(shard) = shard else {
        return match partials {
            Some(found) => Err(Error::option("partials", found as f64, "unset without the option shard")),
            None => Ok(()),
        };
    };
    shard.check_cols(shape.cols)?;
    match partials.filter(|&found| found != shape.rows) {
        Some(found) => Err(Error::Length { what: "partials", found, needed: shape.rows }),
        None => Ok(()),
    }
}
