//! Batches: which rows count, what they weigh, their layout, and what is refused.

use approx::assert_relative_eq;
use half::{bf16, f16};

use super::*;
use crate::element::Element;
use crate::error::Error;
use crate::inputs::CrossEntropyInputs;
use crate::options::{EmptyBatch, Input, MaskedRow, Reduction, Sequences};
use crate::reference::cross_entropy::{
    RowScale, dlogits, loss, row_dlogits_at, row_loss_at, row_losses, row_scale, z_loss,
};
use crate::reference::testing::{grid_logits, same};
use crate::shape::Shape;
use crate::targets::Targets;

const N: f64 = f64::NAN;
pub(super) const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(8.0)];

fn with(reduction: Reduction) -> CrossEntropyOptions {
    CrossEntropyOptions { reduction, ..plain() }
}

#[test]
fn rows_left_out_do_not_count_and_masked_rows_do() {
    // A row of loss ln 2, three NaN rows that are left out in different ways, and a row of only −∞.
    let logits = [0.0, 0.0, NAN, NAN, NAN, NAN, NAN, NAN, -INF, -INF];
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, IGNORED, 1, 7, 1]))
        .row_weights(&[1.0, 1.0, 0.0, 1.0, 1.0])
        .row_mask(&[true, true, true, false, true]);
    let shape = Shape::new(5, 2);
    let ln2 = 2f64.ln();
    for (reduction, over) in [(Reduction::Mean, 2.0), (Reduction::Sum, 1.0), (Reduction::MeanOver(8.0), 8.0)]
    {
        let zero = CrossEntropyOptions { masked_row: MaskedRow::Zero, ..with(reduction) };
        assert_eq!(row_losses(&logits, inputs, shape, &zero), Ok(vec![ln2, 0.0, 0.0, 0.0, 0.0]));
        assert_eq!(loss(&logits, inputs, shape, &zero), Ok(ln2 / over), "{reduction:?}");
        let half = 0.5 / over;
        let mut expected = vec![0.0; 10];
        (expected[0], expected[1]) = (-half, half);
        assert_eq!(dlogits(&logits, inputs, shape, &zero), Ok(expected.clone()), "{reduction:?}");

        let nan = with(reduction);
        assert!(loss(&logits, inputs, shape, &nan).unwrap().is_nan(), "{reduction:?}");
        (expected[8], expected[9]) = (N, N);
        assert!(same(&dlogits(&logits, inputs, shape, &nan).unwrap(), &expected), "{reduction:?}");
    }
}

#[test]
fn no_row_counts() {
    let classes = CrossEntropyInputs::new(Targets::Classes(&[0, 1]));
    let none = Sequences { from: 2, ..Sequences::new(2) };
    let nothing_scored = CrossEntropyOptions { sequences: Some(none), ..plain() };
    let sparse_ignored = Targets::Sparse { indices: &[IGNORED; 2], probs: &[1.0; 2], entries: 1 };
    // The logits are NaN in rows that are not read. Rows whose classes have weight 0 are read: they count with weight
    // 0.
    let cases = [
        ("no rows", 0, CrossEntropyInputs::new(Targets::Classes(&[])), plain()),
        ("no soft rows", 0, CrossEntropyInputs::new(Targets::Soft(&[])), plain()),
        ("all ignored", 2, CrossEntropyInputs::new(Targets::Classes(&[IGNORED; 2])), plain()),
        ("all entries left out", 2, CrossEntropyInputs::new(sparse_ignored), plain()),
        ("all masked", 2, classes.row_mask(&[false; 2]), plain()),
        ("row weights 0", 2, classes.row_weights(&[0.0; 2]), plain()),
        ("no target by sequences", 2, classes, nothing_scored),
        ("class weights 0", 2, classes.class_weights(&[0.0; 2]), plain()),
    ];
    for (name, rows, inputs, options) in cases {
        let shape = Shape::new(rows, 2);
        let logits = vec![if name == "class weights 0" { 1.0 } else { NAN }; rows * 2];
        let of = |reduction, empty_batch| {
            let options = CrossEntropyOptions { reduction, empty_batch, z_loss: 0.0, ..options };
            let gradient = dlogits(&logits, inputs, shape, &options).unwrap();
            assert_eq!(gradient, vec![0.0; logits.len()], "{name}, {reduction:?}");
            assert_eq!(row_losses(&logits, inputs, shape, &options), Ok(vec![0.0; rows]), "{name}");
            assert_eq!(
                loss(&logits, inputs, shape, &options).is_err(),
                z_loss(&logits, inputs, shape, &options).is_err()
            );
            loss(&logits, inputs, shape, &options)
        };
        assert!(of(Reduction::Mean, EmptyBatch::Nan).unwrap().is_nan(), "{name}");
        assert_eq!(of(Reduction::Mean, EmptyBatch::Zero), Ok(0.0), "{name}");
        assert_eq!(of(Reduction::Mean, EmptyBatch::Error), Err(Error::NoRowCounts { rows }), "{name}");
        for reduction in [Reduction::Sum, Reduction::MeanOver(3.0)] {
            for empty_batch in [EmptyBatch::Nan, EmptyBatch::Zero, EmptyBatch::Error] {
                let bits = of(reduction, empty_batch).map(f64::to_bits);
                assert_eq!(bits, Ok(0), "{name}, {reduction:?}");
            }
        }
    }
}

#[test]
fn the_gradient_of_a_mean_of_nothing_is_zero_even_of_nan_rows_and_z_losses() {
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 0])).class_weights(&[0.0, 1.0]);
    let options = CrossEntropyOptions { z_loss: 1.0, ..plain() };
    let shape = Shape::new(2, 2);
    assert_eq!(dlogits(&[NAN, 0.0, 1.0, 2.0], inputs, shape, &options), Ok(vec![0.0; 4]));
    // With a sum it is not.
    let sum = dlogits(&[NAN, 0.0, 1.0, 2.0], inputs, shape, &with(Reduction::Sum)).unwrap();
    assert!(same(&sum, &[N, N, 0.0, 0.0]), "{sum:?}");
}

#[test]
fn scales() {
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 1, IGNORED, 1]))
        .class_weights(&[2.0, 4.0])
        .row_weights(&[1.0, 3.0, 5.0, 0.0])
        .upstream(7.0)
        .row_upstream(&[11.0, -1.0, 1.0, 1.0]);
    let shape = Shape::new(4, 2);
    let of = |inputs: CrossEntropyInputs<'_>, reduction, row| {
        let batch = inputs.check(shape, &plain()).unwrap();
        row_scale(inputs, shape, &with(reduction), &batch, row)
    };
    let scale = |loss, z_loss| RowScale { loss, z_loss };
    // N = 1·2 + 3·4, N₁ = 1 + 3.
    assert_eq!(of(inputs, Reduction::Mean, 0), scale(77.0 / 14.0, 77.0 / 4.0));
    assert_eq!(of(inputs, Reduction::Mean, 1), scale(-21.0 / 14.0, -21.0 / 4.0));
    assert_eq!(of(inputs, Reduction::Sum, 1), scale(-21.0, -21.0));
    assert_eq!(of(inputs, Reduction::MeanOver(8.0), 1), scale(-21.0 / 8.0, -21.0 / 8.0));
    for (reduction, row) in REDUCTIONS.into_iter().flat_map(|reduction| [(reduction, 2), (reduction, 3)]) {
        assert_eq!(of(inputs, reduction, row), RowScale::ZERO, "left out: row {row}");
    }
    let probs = [0.5; 8];
    let soft = CrossEntropyInputs { targets: Targets::Soft(&probs), ..inputs };
    assert_eq!(of(soft, Reduction::Mean, 2), scale(35.0 / 9.0, 35.0 / 9.0), "1 + 3 + 5");
    let no_class = inputs.class_weights(&[0.0; 2]);
    assert_eq!(of(no_class, Reduction::Mean, 0), RowScale::ZERO, "weights sum to 0");
}

#[test]
fn upstream_scales_the_gradient_and_not_the_loss() {
    let shape = Shape::new(3, 5);
    let logits = grid_logits(3, 15);
    let plain_inputs = CrossEntropyInputs::new(Targets::Classes(&[4, 0, 2]));
    let inputs = plain_inputs.upstream(-2.0).row_upstream(&[1.0, 0.0, 4.0]);
    let options = CrossEntropyOptions { z_loss: 0.5, ..plain() };
    assert_eq!(loss(&logits, inputs, shape, &options), loss(&logits, plain_inputs, shape, &options));
    assert_eq!(
        row_losses(&logits, inputs, shape, &options),
        row_losses(&logits, plain_inputs, shape, &options)
    );
    let bare = dlogits(&logits, plain_inputs, shape, &options).unwrap();
    let found = dlogits(&logits, inputs, shape, &options).unwrap();
    for (at, (found, bare)) in found.iter().zip(&bare).enumerate() {
        assert_eq!(*found, [-2.0, 0.0, -8.0][at / 5] * bare, "{at}");
    }
}

#[test]
fn rows_of_a_batch_one_by_one() {
    let shape = Shape::new(3, 4).row_stride(6);
    let logits = grid_logits(1, shape.len());
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[3, IGNORED, 0])).row_weights(&[2.0, 1.0, 0.5]);
    let options = CrossEntropyOptions { z_loss: 0.25, label_smoothing: 0.25, ..plain() };
    let batch = inputs.check(shape, &options).unwrap();
    let losses = row_losses(&logits, inputs, shape, &options).unwrap();
    let gradient = dlogits(&logits, inputs, shape, &options).unwrap();
    for row in 0..3 {
        let weight = [2.0, 1.0, 0.5][row];
        assert_eq!(weight * row_loss_at(&logits, inputs, shape, &options, row).total(), losses[row]);
        let of_row = row_dlogits_at(&logits, inputs, shape, &options, &batch, row);
        assert_eq!(of_row, gradient[row * 6..row * 6 + 4], "row {row}");
    }
    assert_eq!((gradient[4], gradient[5], gradient[10]), (0.0, 0.0, 0.0), "padding");
}

/// The same batch with the class axis last and in the middle, with padding that holds NaN.
#[test]
fn the_class_axis_may_be_anywhere() {
    let (last, middle) = (Shape::new(6, 4), Shape::nchw(2, 4, 3).row_stride(14));
    let (values, q) = (grid_logits(9, 24), grid_logits(10, 24));
    let scatter = |values: &[f32], padding: f32| {
        let mut scattered = vec![padding; middle.len()];
        for (row, class) in (0..6).flat_map(|row| (0..4).map(move |class| (row, class))) {
            scattered[middle.row_start(row) + 3 * class] = values[row * 4 + class];
        }
        scattered
    };
    let (logits, probs) = (scatter(&values, NAN), scatter(&q, NAN));
    let classes = Targets::Classes(&[0, 3, IGNORED, 2, 1, 1]);
    let options = CrossEntropyOptions { label_smoothing: 0.125, z_loss: 0.25, ..plain() };
    for (of_last, of_middle) in [(classes, classes), (Targets::Soft(&q), Targets::Soft(&probs))] {
        assert_eq!(loss(&logits, of_middle, middle, &options), loss(&values, of_last, last, &options));
        assert_eq!(
            row_losses(&logits, of_middle, middle, &options),
            row_losses(&values, of_last, last, &options)
        );
        let expected: Vec<f32> =
            dlogits(&values, of_last, last, &options).unwrap().iter().map(|&dx| dx as f32).collect();
        let found: Vec<f32> =
            dlogits(&logits, of_middle, middle, &options).unwrap().iter().map(|&dx| dx as f32).collect();
        assert_eq!(found, scatter(&expected, 0.0));
    }
}

#[test]
fn sixteen_bits_are_widened_exactly() {
    fn of<E: Element>(values: &[f32]) {
        let shape = Shape::new(3, 7);
        let narrow: Vec<E> = values.iter().map(|&x| E::from_f32(x)).collect();
        let widened: Vec<f32> = narrow.iter().map(|x| x.to_f64() as f32).collect();
        let targets = Targets::Classes(&[0, 6, 3]);
        let options =
            CrossEntropyOptions { label_smoothing: 0.1, z_loss: 0.1, softcap: Some(5.0), ..plain() };
        assert_eq!(loss(&narrow, targets, shape, &options), loss(&widened, targets, shape, &options));
        assert_eq!(dlogits(&narrow, targets, shape, &options), dlogits(&widened, targets, shape, &options));
    }
    let values = grid_logits(5, 21);
    of::<f16>(&values);
    of::<bf16>(&values);
    let row = [f16::NEG_INFINITY, f16::ZERO, f16::ZERO];
    assert_eq!(loss(&row, Targets::Classes(&[1]), Shape::new(1, 3), &plain()), Ok(2f64.ln()));
}

#[test]
fn parts_of_a_batch_add_up() {
    let shape = Shape::new(7, 5);
    let logits = grid_logits(2, 35);
    let classes = [4, 0, IGNORED, 2, 1, 3, 0];
    let row_weights = [1.0, 0.5, 1.0, 2.0, 0.0, 1.0, 3.0];
    let inputs = CrossEntropyInputs::new(Targets::Classes(&classes))
        .class_weights(&[1.0, 0.5, 2.0, 0.25, 3.0])
        .row_weights(&row_weights);
    let options = CrossEntropyOptions {
        reduction: Reduction::MeanOver(3.5),
        z_loss: 0.25,
        label_smoothing: 0.125,
        focal_gamma: 1.5,
        ..plain()
    };
    let whole = loss(&logits, inputs, shape, &options).unwrap();
    let gradient = dlogits(&logits, inputs, shape, &options).unwrap();
    for cut in 0..=7 {
        let (mut sum, mut gradients) = (0.0, vec![]);
        for rows in [0..cut, cut..7] {
            let part = inputs.part(shape, rows.clone());
            let (values, of_part) = (&logits[rows.start * 5..rows.end * 5], shape.with_rows(rows.len()));
            sum += loss(values, part, of_part, &options).unwrap();
            gradients.extend(dlogits(values, part, of_part, &options).unwrap());
        }
        assert_relative_eq!(sum, whole, max_relative = 1e-15);
        assert_eq!(gradients, gradient, "cut at {cut}");
    }
    // Over the batch's own weight it is the mean, except for the z-loss, which has a different weight.
    let no_z = CrossEntropyOptions { z_loss: 0.0, ..options };
    let weight = inputs.check(shape, &no_z).unwrap().weight as f32;
    let over = CrossEntropyOptions { reduction: Reduction::MeanOver(weight), ..no_z };
    let mean = CrossEntropyOptions { reduction: Reduction::Mean, ..no_z };
    assert_eq!(loss(&logits, inputs, shape, &over), loss(&logits, inputs, shape, &mean));
    assert_eq!(dlogits(&logits, inputs, shape, &over), dlogits(&logits, inputs, shape, &mean));
}

#[test]
fn refusals() {
    let shape = Shape::new(2, 3);
    let class = |targets| CrossEntropyInputs::new(Targets::Classes(targets));
    let length = |what, found, needed| Error::Length { what, found, needed };
    let option = |option, at, value, needed| Error::InvalidOption { option, at, value, needed };
    let out_of_range = Error::TargetOutOfRange { row: 1, target: 3, cols: 3 };
    let (mean, sum) = (plain(), with(Reduction::Sum));
    let (focal, shift) = (
        CrossEntropyOptions { focal_gamma: 2.0, ..mean },
        CrossEntropyOptions { sequences: Some(Sequences::shifted(2, 1)), ..mean },
    );
    let over_0 = with(Reduction::MeanOver(0.0));
    let nll = CrossEntropyOptions { input: Input::LogProbs, z_loss: 1.0, ..mean };
    let q = [0.5; 6];
    let bad_q = [0.5, 0.5, 0.5, 0.5, NAN, 0.5];
    let soft = CrossEntropyInputs::new(Targets::Soft(&q));
    let good = class(&[0, 1]);
    let not_negative = "finite and at least 0";
    let cases: &[(&str, usize, CrossEntropyInputs<'_>, CrossEntropyOptions, Error)] = &[
        ("target = cols", 6, class(&[0, 3]), mean, out_of_range.clone()),
        ("target = cols, of a sum", 6, class(&[0, 3]), sum, out_of_range),
        ("logits short", 5, good, mean, length("logits", 5, 6)),
        ("targets short", 6, class(&[0]), mean, length("targets", 1, 2)),
        ("row weights short", 6, good.row_weights(&[1.0]), mean, length("row_weights", 1, 2)),
        ("class weights long", 6, good.class_weights(&[1.0; 4]), mean, length("class_weights", 4, 3)),
        ("mask short", 6, good.row_mask(&[true]), mean, length("row_mask", 1, 2)),
        ("upstream short", 6, good.row_upstream(&[1.0]), mean, length("row_upstream", 1, 2)),
        (
            "row weight negative",
            6,
            good.row_weights(&[1.0, -2.0]),
            mean,
            option("row_weights", Some(1), -2.0, not_negative),
        ),
        (
            "class weight infinite",
            6,
            good.class_weights(&[1.0, INF, 1.0]),
            mean,
            option("class_weights", Some(1), f64::INFINITY, not_negative),
        ),
        ("denominator 0", 6, good, over_0, over_0.check().unwrap_err()),
        ("z-loss of log-probabilities", 6, good, nll, nll.check().unwrap_err()),
        (
            "focal loss of soft targets",
            6,
            soft,
            focal,
            option("focal_gamma", None, 2.0, "0 unless targets are class indices"),
        ),
        (
            "shifted soft targets",
            6,
            soft,
            shift,
            option("sequences: shift", None, 1.0, "0 when targets are soft"),
        ),
    ];
    for (name, len, inputs, options, error) in cases {
        let logits = vec![0.0f32; *len];
        assert_eq!(row_losses(&logits, inputs, shape, options).as_ref(), Err(error), "{name}");
        assert_eq!(loss(&logits, inputs, shape, options).as_ref(), Err(error), "{name}");
        assert_eq!(z_loss(&logits, inputs, shape, options).as_ref(), Err(error), "{name}");
        assert_eq!(dlogits(&logits, inputs, shape, options).as_ref(), Err(error), "{name}");
    }
    let refused = loss(&[0.0f32; 6], Targets::Soft(&bad_q), shape, &mean).unwrap_err();
    assert!(matches!(refused, Error::InvalidTarget { row: 1, at: 1, .. }), "{refused}");
}
