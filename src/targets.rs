//! The targets of a loss.

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::shape::{Shape, assert_row};
pub use crate::target_kind::TargetKind;

/// The maximum number of entries per row of sparse targets.
pub const MAX_SPARSE_ENTRIES: usize = 512;

/// The targets of a batch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Targets<'a> {
    /// Class indices (rows,), each in 0..cols or `ignore_index`.
    Classes(&'a [i32]),
    /// Class indices (rows,), each in 0..cols or with the same bits as `ignore_index`.
    ClassesU32(&'a [u32]),
    /// Class indices (rows,), each in 0..cols or `ignore_index`. They are narrowed to i32 window by window, as they are
    /// copied to the device. An index that does not fit is an [`Error::TargetOutOfRange`], never another class.
    ClassesI64(&'a [i64]),
    /// Class indices (rows,), each in 0..cols or with the same bits as `ignore_index`, sign-extended: −100 is
    /// `-100i32 as usize`. They are narrowed like [`ClassesI64`](Self::ClassesI64).
    ClassesUsize(&'a [usize]),
    /// A probability for each class, in the logits' layout. They are used as given: a row need not sum to 1.
    Soft(&'a [f32]),
    /// `entries` classes of each row with their probabilities, both (rows, entries). All other classes have probability
    /// 0, as in distillation from a teacher's top-k. If a class occurs twice, its probabilities are added; a row need
    /// not sum to 1. An index is in 0..cols, or `ignore_index` for an unused entry.
    Sparse {
        /// Class indices (rows, entries).
        indices: &'a [i32],
        /// Their probabilities (rows, entries).
        probs: &'a [f32],
        /// Entries per row, in 1..=[`MAX_SPARSE_ENTRIES`].
        entries: usize,
    },
}

/// The target of one row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RowTarget<'a> {
    /// A class index. A u32 or a usize keeps its bits: one beyond the signed type is negative.
    Class(i64),
    /// A probability for each class (cols,).
    Soft(Cow<'a, [f32]>),
    /// Classes and their probabilities (entries,).
    Sparse {
        /// Class indices.
        indices: &'a [i32],
        /// Their probabilities.
        probs: &'a [f32],
    },
}

/// Implements `From` for class indices in slices, arrays and vectors, for types made from targets.
macro_rules! class_indices {
    ($of:ident) => {
        $crate::targets::class_indices!($of, Classes, i32);
        $crate::targets::class_indices!($of, ClassesU32, u32);
        $crate::targets::class_indices!($of, ClassesI64, i64);
        $crate::targets::class_indices!($of, ClassesUsize, usize);
    };
    ($of:ident, $kind:ident, $index:ty) => {
        impl<'a> From<&'a [$index]> for $of<'a> {
            fn from(classes: &'a [$index]) -> Self {
                $crate::targets::Targets::$kind(classes).into()
            }
        }

        impl<'a, const N: usize> From<&'a [$index; N]> for $of<'a> {
            fn from(classes: &'a [$index; N]) -> Self {
                classes[..].into()
            }
        }

        impl<'a> From<&'a Vec<$index>> for $of<'a> {
            fn from(classes: &'a Vec<$index>) -> Self {
                classes[..].into()
            }
        }
    };
}
pub(crate) use class_indices;

class_indices!(Targets);

/// Class indices as signed integers. Unsigned ones keep their bits, so that those beyond the signed type are negative:
/// out of range, or `ignore_index`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Indices<'a> {
    I32(&'a [i32]),
    I64(&'a [i64]),
}

impl<'a> Indices<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::I32(classes) => classes.len(),
            Self::I64(classes) => classes.len(),
        }
    }

    fn of_usize(classes: &'a [usize]) -> Self {
        if size_of::<usize>() == size_of::<i32>() {
            Self::I32(bytemuck::cast_slice(classes))
        } else {
            Self::I64(bytemuck::cast_slice(classes))
        }
    }
}

/// A class index as the device reads it. One that does not fit becomes `i32::MIN`, which is no class. In checked
/// targets, only a row that is left out can have one.
pub(crate) fn narrowed(class: i64) -> i32 {
    i32::try_from(class).unwrap_or(i32::MIN)
}

impl<'a> Targets<'a> {
    /// The class indices, if the targets are class indices.
    pub(crate) fn indices(&self) -> Option<Indices<'a>> {
        match *self {
            Targets::Classes(classes) => Some(Indices::I32(classes)),
            Targets::ClassesU32(classes) => Some(Indices::I32(bytemuck::cast_slice(classes))),
            Targets::ClassesI64(classes) => Some(Indices::I64(classes)),
            Targets::ClassesUsize(classes) => Some(Indices::of_usize(classes)),
            Targets::Soft(_) | Targets::Sparse { .. } => None,
        }
    }

    /// The class indices as i32, if the targets are class indices of 32 bits. A u32 keeps its bits.
    pub(crate) fn classes(&self) -> Option<&'a [i32]> {
        match self.indices()? {
            Indices::I32(classes) => Some(classes),
            Indices::I64(_) => None,
        }
    }

    /// The value that the caller gave, from a row's class.
    pub(crate) fn as_given(&self, class: i128) -> i128 {
        match self {
            Targets::ClassesU32(_) => (class as u32).into(),
            Targets::ClassesUsize(_) => class as usize as i128,
            _ => class,
        }
    }

    /// The kind of the targets.
    pub fn kind(&self) -> TargetKind {
        match *self {
            Targets::Classes(_)
            | Targets::ClassesU32(_)
            | Targets::ClassesI64(_)
            | Targets::ClassesUsize(_) => TargetKind::Classes,
            Targets::Soft(_) => TargetKind::Soft,
            Targets::Sparse { entries, .. } => TargetKind::Sparse { entries },
        }
    }

    /// The target of one row.
    ///
    /// # Panics
    /// If `row` is not in 0..rows of the shape, or if the targets end before this row's end.
    pub fn row(&self, shape: Shape, row: usize) -> RowTarget<'a> {
        assert_row(row, shape.rows);
        match *self {
            Targets::Classes(classes) => RowTarget::Class(entries_of(classes, row, 1)[0].into()),
            Targets::ClassesU32(classes) => RowTarget::Class((entries_of(classes, row, 1)[0] as i32).into()),
            Targets::ClassesI64(classes) => RowTarget::Class(entries_of(classes, row, 1)[0]),
            Targets::ClassesUsize(classes) => {
                RowTarget::Class(entries_of(classes, row, 1)[0] as isize as i64)
            }
            Targets::Soft(probs) if shape.inner == 1 => {
                shape.assert_holds(probs, row);
                RowTarget::Soft(Cow::Borrowed(&probs[shape.row_start(row)..][..shape.cols]))
            }
            Targets::Soft(probs) => RowTarget::Soft(Cow::Owned(shape.row_vec(probs, row))),
            Targets::Sparse { indices, probs, entries } => RowTarget::Sparse {
                indices: entries_of(indices, row, entries),
                probs: entries_of(probs, row, entries),
            },
        }
    }

    /// The class of a row's target, if targets are classes.
    #[cfg(feature = "cpu")]
    #[inline]
    pub(crate) fn class(&self, row: usize) -> Option<i64> {
        match *self {
            Targets::Classes(classes) => Some(classes[row].into()),
            Targets::ClassesU32(classes) => Some((classes[row] as i32).into()),
            Targets::ClassesI64(classes) => Some(classes[row]),
            Targets::ClassesUsize(classes) => Some(classes[row] as isize as i64),
            Targets::Soft(_) | Targets::Sparse { .. } => None,
        }
    }

    /// The targets of a range of rows. If the logits' rows lie side by side, the range covers whole groups.
    pub(crate) fn part(&self, shape: Shape, rows: std::ops::Range<usize>) -> Self {
        match *self {
            Targets::Classes(classes) => Targets::Classes(&classes[rows]),
            Targets::ClassesU32(classes) => Targets::ClassesU32(&classes[rows]),
            Targets::ClassesI64(classes) => Targets::ClassesI64(&classes[rows]),
            Targets::ClassesUsize(classes) => Targets::ClassesUsize(&classes[rows]),
            Targets::Soft(probs) => {
                let len = shape.with_rows(rows.len()).len();
                Targets::Soft(&probs[shape.row_start(rows.start)..][..len])
            }
            Targets::Sparse { indices, probs, entries } => {
                let values = rows.start * entries..rows.end * entries;
                Targets::Sparse { indices: &indices[values.clone()], probs: &probs[values], entries }
            }
        }
    }

    /// Refuses slices whose length does not match the shape.
    pub(crate) fn check_lengths(&self, shape: Shape) -> Result<()> {
        let length = |what, found, needed| {
            if found == needed { Ok(()) } else { Err(Error::Length { what, found, needed }) }
        };
        match *self {
            Targets::Classes(classes) => length("targets", classes.len(), shape.rows),
            Targets::ClassesU32(classes) => length("targets", classes.len(), shape.rows),
            Targets::ClassesI64(classes) => length("targets", classes.len(), shape.rows),
            Targets::ClassesUsize(classes) => length("targets", classes.len(), shape.rows),
            Targets::Soft(probs) => shape.check_slice("targets", probs),
            Targets::Sparse { indices, probs, entries } => {
                check_entries(entries)?;
                let needed = shape.rows.saturating_mul(entries);
                length("targets: indices", indices.len(), needed)?;
                length("targets: probs", probs.len(), needed)
            }
        }
    }
}

/// The entries of a row. Panics if the slice ends before them.
#[track_caller]
fn entries_of<T>(values: &[T], row: usize, entries: usize) -> &[T] {
    let [start, end] = [row, row + 1].map(|row| row.saturating_mul(entries));
    let found = values.len();
    assert!(end <= found, "the targets of row {row} end at value {end}; the slice holds {found}");
    &values[start..end]
}

pub(crate) fn check_entries(entries: usize) -> Result<()> {
    if (1..=MAX_SPARSE_ENTRIES).contains(&entries) {
        Ok(())
    } else {
        Err(Error::option("sparse targets: entries", entries as f64, "in 1..=512"))
    }
}

impl RowTarget<'_> {
    /// Whether the target says to leave the row out.
    pub(crate) fn is_ignored(&self, ignore_index: i32) -> bool {
        match self {
            Self::Class(class) => *class == i64::from(ignore_index),
            Self::Soft(_) => false,
            Self::Sparse { indices, .. } => indices.iter().all(|&index| index == ignore_index),
        }
    }

    /// Refuses indices out of range and probabilities that are not finite. For rows that are not left out; `row` is for
    /// the message.
    pub(crate) fn check(&self, row: usize, cols: usize, ignore_index: i32) -> Result<()> {
        // The device has indices in i32.
        let end = cols.min(1 << 31);
        let in_range = |index: i64| usize::try_from(index).is_ok_and(|class| class < end);
        let out_of_range = |index: i64| Error::TargetOutOfRange { row, target: index.into(), cols };
        let finite = |probs: &[f32]| match probs.iter().position(|prob| !prob.is_finite()) {
            Some(at) => Err(Error::InvalidTarget { row, at, value: probs[at] }),
            None => Ok(()),
        };
        match self {
            Self::Class(class) => {
                if in_range(*class) {
                    Ok(())
                } else {
                    Err(out_of_range(*class))
                }
            }
            Self::Soft(probs) => finite(probs),
            Self::Sparse { indices, probs } => {
                let entries = indices.iter().zip(*probs).enumerate();
                for (at, (&index, &prob)) in entries.filter(|&(_, (&index, _))| index != ignore_index) {
                    if !in_range(index.into()) {
                        return Err(out_of_range(index.into()));
                    }
                    if !prob.is_finite() {
                        return Err(Error::InvalidTarget { row, at, value: prob });
                    }
                }
                Ok(())
            }
        }
    }

    /// The class with the largest probability; the lowest index wins a tie.
    pub(crate) fn top_class(&self, ignore_index: i32) -> Option<u32> {
        let first_largest = |probs: &mut dyn Iterator<Item = (u32, f32)>| {
            probs.fold(None, |best: Option<(u32, f32)>, (class, prob)| match best {
                Some((_, largest)) if prob <= largest || prob.is_nan() => best,
                _ => Some((class, prob)),
            })
        };
        match self {
            Self::Class(class) => u32::try_from(*class).ok(),
            Self::Soft(probs) => first_largest(&mut (0..).zip(probs.iter().copied())).map(|best| best.0),
            Self::Sparse { indices, probs } => {
                let mut sums = std::collections::BTreeMap::new();
                for (&index, &prob) in indices.iter().zip(*probs).filter(|&(&index, _)| index != ignore_index)
                {
                    *sums.entry(index as u32).or_insert(0.0) += prob;
                }
                first_largest(&mut sums.into_iter()).map(|best| best.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f32 = f32::INFINITY;

    #[test]
    fn rows_and_parts() {
        let shape = Shape::nchw(2, 2, 3);
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let soft = Targets::Soft(&values);
        assert_eq!(soft.row(shape, 4), RowTarget::Soft(vec![7.0, 10.0].into()));
        assert_eq!(soft.part(shape, 3..6).row(shape.with_rows(3), 1), soft.row(shape, 4));
        let sparse = Targets::Sparse { indices: &[0, 1, 1, 0], probs: &[0.1, 0.2, 0.3, 0.4], entries: 2 };
        assert_eq!(sparse.row(shape, 1), RowTarget::Sparse { indices: &[1, 0], probs: &[0.3, 0.4] });
        assert_eq!(Targets::ClassesU32(&[4_294_967_196]).row(shape, 0), RowTarget::Class(-100));
        assert_eq!(Targets::ClassesUsize(&[-100i32 as usize]).row(shape, 0), RowTarget::Class(-100));
        let wide = Targets::ClassesI64(&[0, 1 << 40, -7, 3]);
        assert_eq!(wide.row(shape, 1), RowTarget::Class(1 << 40));
        assert_eq!(wide.part(shape, 1..3).row(shape, 1), RowTarget::Class(-7));
    }

    #[test]
    fn targets_that_end_too_early_panic_with_the_numbers() {
        let says = |targets: Targets<'_>| {
            let of_row = || drop(targets.row(Shape::new(3, 2), 2));
            let panic = std::panic::catch_unwind(of_row).expect_err("a panic");
            panic.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        let sparse = |indices, probs, entries| Targets::Sparse { indices, probs, entries };
        let (indices, probs) = ([0; 5], [0.0; 5]);
        for (targets, end, found) in [
            (Targets::Classes(&[0, 1]), 3, 2),
            (Targets::ClassesU32(&[]), 3, 0),
            (Targets::ClassesI64(&[0, 1]), 3, 2),
            (Targets::ClassesUsize(&[0]), 3, 1),
            (sparse(&indices, &probs, 2), 6, 5),
            (sparse(&[0; 6], &probs, 2), 6, 5),
            (sparse(&indices, &probs, usize::MAX), usize::MAX, 5),
        ] {
            let expected = format!("the targets of row 2 end at value {end}; the slice holds {found}");
            assert_eq!(says(targets), expected, "{targets:?}");
        }
        assert_eq!(says(Targets::Soft(&probs)), "row 2 of 2 cols ends at value 6; the slice holds 5");
        assert_eq!(
            sparse(&[], &[], 0).row(Shape::new(3, 2), 2),
            RowTarget::Sparse { indices: &[], probs: &[] }
        );
    }

    #[test]
    fn refusals() {
        let sparse = |indices, probs| RowTarget::Sparse { indices, probs };
        assert_eq!(sparse(&[0, -100], &[1.0, 2.0]).check(7, 2, -100), Ok(()));
        let out_of_range = |target| Err(Error::TargetOutOfRange { row: 7, target, cols: 2 });
        assert_eq!(sparse(&[0, 2], &[1.0, 2.0]).check(7, 2, -100), out_of_range(2));
        assert_eq!(RowTarget::Class(-1).check(7, 2, -100), out_of_range(-1));
        let soft = RowTarget::Soft(vec![0.5, INF].into());
        assert_eq!(soft.check(7, 2, -100), Err(Error::InvalidTarget { row: 7, at: 1, value: INF }));
        assert!(sparse(&[-100, -100], &[1.0, 2.0]).is_ignored(-100));
        assert!(!sparse(&[-100, 0], &[1.0, 2.0]).is_ignored(-100));
        for entries in [0, 513] {
            let targets = Targets::Sparse { indices: &[], probs: &[], entries };
            assert!(matches!(targets.check_lengths(Shape::new(0, 2)), Err(Error::InvalidOption { .. })));
        }
    }

    #[test]
    fn indices_that_do_not_fit_are_no_class() {
        const FITS: i64 = i32::MAX as i64;
        for (class, expected) in [(7, 7), (-100, -100), (FITS, i32::MAX), (i32::MIN.into(), i32::MIN)] {
            assert_eq!(narrowed(class), expected);
        }
        for class in [FITS + 1, i64::from(i32::MIN) - 1, (1 << 32) + 1, i64::MIN, i64::MAX] {
            assert_eq!(narrowed(class), i32::MIN, "{class}");
        }
    }

    /// A class beyond i32 is refused even if there are so many classes: the device has indices in i32.
    #[test]
    fn classes_end_where_i32_does() {
        let cols = usize::MAX;
        assert_eq!(RowTarget::Class(i32::MAX.into()).check(3, cols, -100), Ok(()));
        let target = i128::from(i32::MAX) + 1;
        let refused = RowTarget::Class(1 << 31).check(3, cols, -100);
        assert_eq!(refused, Err(Error::TargetOutOfRange { row: 3, target, cols }));
    }

    #[test]
    fn top_classes() {
        let sparse = |indices, probs| RowTarget::Sparse { indices, probs };
        assert_eq!(RowTarget::Soft(vec![0.2, 0.4, 0.4].into()).top_class(-100), Some(1));
        assert_eq!(sparse(&[5, 2, 5], &[0.2, 0.3, 0.2]).top_class(-100), Some(5));
        assert_eq!(sparse(&[5, 2, -100], &[0.2, 0.3, 0.9]).top_class(-100), Some(2));
        assert_eq!(sparse(&[-100], &[0.2]).top_class(-100), None);
        assert_eq!(RowTarget::Class(3).top_class(-100), Some(3));
    }
}
