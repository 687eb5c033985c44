//! Class indices of every integer type: the same targets as i32, and nothing that does not fit wraps to another class.

use super::*;
use crate::error::Error;
use crate::inputs::CrossEntropyInputs;
use crate::options::Sequences;
use crate::reference::cross_entropy::{dlogits, loss, row_losses};
use crate::reference::testing::grid_logits;
use crate::shape::Shape;
use crate::targets::Targets;

const COLS: usize = 5;

/// The same classes in every type. A negative class has the bits that a cast gives it.
struct Classes {
    as_i32: Vec<i32>,
    as_u32: Vec<u32>,
    as_i64: Vec<i64>,
    as_usize: Vec<usize>,
}

impl Classes {
    fn new(classes: &[i32]) -> Self {
        Self {
            as_i32: classes.to_vec(),
            as_u32: classes.iter().map(|&class| class as u32).collect(),
            as_i64: classes.iter().map(|&class| class.into()).collect(),
            as_usize: classes.iter().map(|&class| class as usize).collect(),
        }
    }

    fn others(&self) -> [Targets<'_>; 3] {
        [(&self.as_u32).into(), (&self.as_i64).into(), (&self.as_usize).into()]
    }
}

#[test]
fn every_integer_type_gives_the_same_bits() {
    let (rows, shape) = (7, Shape::new(7, COLS));
    let logits = grid_logits(8, rows * COLS);
    let row_weights = [1.0, 0.5, 0.0, 2.0, 1.0, 3.0, 0.25];
    let sequences = |length, shift| Some(Sequences::shifted(length, shift));
    for ignore_index in [IGNORED, 0, 3, i32::MIN, i32::MAX] {
        let classes = Classes::new(&[4, ignore_index, 0, 2, ignore_index, 1, 3]);
        for sequences in [None, sequences(7, 1), sequences(3, 2), sequences(4, 9)] {
            let options = CrossEntropyOptions { ignore_index, sequences, ..plain() };
            for weighted in [false, true] {
                let of = |targets: Targets<'_>| {
                    let inputs = CrossEntropyInputs::new(targets);
                    let inputs = if weighted { inputs.row_weights(&row_weights) } else { inputs };
                    let weight = inputs.check(shape, &options);
                    let rows = row_losses(&logits, inputs, shape, &options);
                    (weight, rows, dlogits(&logits, inputs, shape, &options))
                };
                let expected = of(Targets::Classes(&classes.as_i32));
                assert!(expected.0.is_ok());
                for targets in classes.others() {
                    assert_eq!(of(targets), expected, "{targets:?}, {options:?}");
                }
            }
        }
    }
}

/// The values of rows that are left out may be anything.
#[test]
fn targets_of_rows_left_out_are_not_looked_at() {
    let (shape, mask) = (Shape::new(3, COLS), [true, false, true]);
    let logits = grid_logits(9, 3 * COLS);
    let of = |targets: Targets<'_>| {
        loss(&logits, CrossEntropyInputs::new(targets).row_mask(&mask), shape, &plain())
    };
    let expected = of(Targets::Classes(&[4, IGNORED, 2]));
    for garbage in [i64::MIN, i64::MAX, (1 << 32) + 1] {
        assert_eq!(of(Targets::ClassesI64(&[4, garbage, 2])), expected);
        assert_eq!(of(Targets::ClassesUsize(&[4, garbage as usize, 2])), expected);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_row_and_value() {
    let shape = Shape::new(4, COLS);
    let logits = grid_logits(10, 4 * COLS);
    let (ones, shifted) = ([1.0; 4], Sequences::shifted(4, 1));
    let refused = |targets: Targets<'_>, target: i128| {
        let expected = Error::TargetOutOfRange { row: 2, target, cols: COLS };
        let plain_inputs = CrossEntropyInputs::new(targets);
        for inputs in [plain_inputs, plain_inputs.row_weights(&ones)] {
            for sequences in [None, Some(shifted)] {
                let options = CrossEntropyOptions { sequences, ..plain() };
                let found = loss(&logits, inputs, shape, &options);
                assert_eq!(found, Err(expected.clone()), "{targets:?}, {sequences:?}");
            }
        }
    };
    // As u32, some of these are class 1 or 0, or `ignore_index`.
    let wraps = [(1 << 32) + 1, 1 << 32, -(1 << 32), (1 << 32) - 100, -(1 << 32) - 100];
    for target in [5, -1, -99, 1 << 31, i64::MIN, i64::MAX].into_iter().chain(wraps) {
        refused(Targets::ClassesI64(&[0, 1, target, 2]), target.into());
    }
    for target in [5, u32::MAX as usize, usize::MAX, usize::MAX - 98, usize::MAX / 2, usize::MAX / 2 + 1] {
        refused(Targets::ClassesUsize(&[0, 1, target, 2]), target as i128);
    }
    for target in [1usize << 32, (1 << 32) + 1, -100i32 as u32 as usize] {
        refused(Targets::ClassesUsize(&[0, 1, target, 2]), target as i128);
    }
    refused(Targets::ClassesU32(&[0, 1, u32::MAX, 2]), u32::MAX.into());
}

#[test]
fn too_few_are_refused() {
    let (shape, logits) = (Shape::new(2, COLS), [0.0f32; 2 * COLS]);
    for targets in Classes::new(&[0]).others() {
        let refused = Err(Error::Length { what: "targets", found: 1, needed: 2 });
        assert_eq!(loss(&logits, targets, shape, &plain()), refused, "{targets:?}");
    }
}
