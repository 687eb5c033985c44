//! The targets of a loss.

use crate::error::{Error, Result};
use crate::shape::Shape;

/// The targets of a batch, one for each row.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Targets<'a> {
    /// Class indices (rows,), each in 0..cols or `ignore_index`.
    Classes(&'a [i32]),
}

impl<'a> Targets<'a> {
    /// The class indices.
    pub(crate) fn classes(&self) -> &'a [i32] {
        let Targets::Classes(classes) = *self;
        classes
    }

    /// Refuses a wrong number of targets and targets out of range, before any work; gives the rows that count.
    pub(crate) fn check(&self, shape: &Shape, ignore_index: i32) -> Result<usize> {
        let classes = self.classes();
        if classes.len() != shape.rows {
            return Err(Error::Length { what: "targets", found: classes.len(), needed: shape.rows });
        }
        let mut counted = 0;
        for (row, &target) in classes.iter().enumerate() {
            if target == ignore_index {
                continue;
            }
            if usize::try_from(target).map_or(true, |class| class >= shape.cols) {
                return Err(Error::TargetOutOfRange { row, target: i64::from(target), cols: shape.cols });
            }
            counted += 1;
        }
        Ok(counted)
    }
}
