//! Calls the functions of one row with slices that are too short and with invalid options.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::bounds::{gradient_bound, masked_prob_bounds, softmax_backward_bounds};
use crate::inputs::{CrossEntropyInputs, KlDivergenceInputs, SigmoidBceInputs};
use crate::masks::{MaskRows, Masks};
use crate::options::{
    Causal, CrossEntropyOptions, Input, KlDivergenceOptions, MaskedRow, MaskedSoftmaxOptions, Reduction,
    Sequences, SoftmaxBackwardOptions, SoftmaxOptions,
};
use crate::targets::{RowTarget, Targets};

/// Rows of 0 to 3 values: finite, and only −∞, which options may turn into 0.
fn rows() -> Vec<Vec<f32>> {
    (0..4).flat_map(|cols| [vec![0.5; cols], vec![f32::NEG_INFINITY; cols]]).collect()
}

#[track_caller]
fn assert_nan(values: &[f64], len: usize, context: &str) {
    assert!(values.len() == len && values.iter().all(|value| value.is_nan()), "{context}: {values:?}");
}

const BAD: [f32; 5] = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e-39];

#[test]
fn softmax_options() {
    for row in rows() {
        for value in BAD {
            for options in [
                SoftmaxOptions { temperature: value, masked_row: MaskedRow::Zero, softcap: None },
                SoftmaxOptions { softcap: Some(value), masked_row: MaskedRow::Zero, temperature: 1.0 },
            ] {
                let context = format!("{row:?}, {options:?}");
                assert_nan(&softmax_row(&row, &options), row.len(), &context);
                assert_nan(&log_softmax_row(&row, &options), row.len(), &context);
            }
        }
    }
}

#[test]
fn short_masks() {
    let plain = MaskedSoftmaxOptions { masked_row: MaskedRow::Zero, ..Default::default() };
    let huge = MaskRows::each(usize::MAX);
    for row in rows().into_iter().filter(|row| !row.is_empty()) {
        let cols = row.len();
        // A mask of two rows: the third row of the batch uses its first row again.
        for (at, needed) in [(0, cols), (1, 2 * cols), (2, cols), (3, 2 * cols)] {
            for found in 0..needed {
                let (bias, allows, forbids) = (vec![0.0; found], vec![true; found], vec![false; found]);
                let of = |mask| Masks::NONE.boolean(mask, MaskRows::each(2));
                for masks in [Masks::NONE.additive(&bias, MaskRows::each(2)), of(&allows), of(&forbids)] {
                    let context = format!("{row:?}, row {at}, {masks:?}");
                    assert_nan(&masked_softmax_row(&row, at, masks, &plain), cols, &context);
                    let bounds = masked_prob_bounds(&row, at, masks, &plain);
                    assert!(bounds.iter().any(|bound| bound.is_nan()), "{context}: {bounds:?}");
                }
            }
        }
        for masks in [Masks::NONE.additive(&[0.0], huge), Masks::NONE.boolean(&[true], huge)] {
            assert_nan(&masked_softmax_row(&row, usize::MAX - 1, masks, &plain), cols, "a huge mask");
        }
        for scale in BAD {
            let options = MaskedSoftmaxOptions { scale, ..plain };
            if scale == -1.0 {
                continue;
            }
            assert_nan(&masked_softmax_row(&row, 0, Masks::NONE, &options), cols, "scale");
            assert_nan(&masked_prob_bounds(&row, 0, Masks::NONE, &options), cols, "scale");
        }
        let options = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(0)), ..plain };
        assert_nan(&masked_softmax_row(&row, 0, Masks::NONE, &options), cols, "q_len");
    }
}

#[test]
fn gradients_of_another_length() {
    for probs in rows() {
        for found in (0..5).filter(|&found| found != probs.len()) {
            let (dprobs, cols, context) = (vec![0.0f32; found], probs.len(), format!("{probs:?}, {found}"));
            assert_nan(&softmax_backward_row(&probs, &dprobs), cols, &context);
            assert_nan(&log_softmax_backward_row(&probs, &dprobs), cols, &context);
            let bounds = softmax_backward_bounds(&probs, &dprobs, &SoftmaxBackwardOptions::default());
            assert_nan(&bounds, cols, &context);
        }
    }
}

/// Options of a cross-entropy, each with one value outside its range.
fn bad_options() -> Vec<CrossEntropyOptions> {
    type Options = CrossEntropyOptions;
    let plain = Options { masked_row: MaskedRow::Zero, ..Options::default() };
    let mut bad = vec![
        Options { label_smoothing: 1.5, ..plain },
        Options { sequences: Some(Sequences::new(0)), ..plain },
    ];
    for value in BAD {
        bad.extend([
            Options { temperature: value, ..plain },
            Options { softcap: Some(value), ..plain },
            Options { reduction: Reduction::MeanOver(value), ..plain },
        ]);
        if !(0.0..1.0).contains(&value) {
            bad.extend([
                Options { z_loss: value, ..plain },
                Options { focal_gamma: value, ..plain },
                Options { label_smoothing: value, ..plain },
            ]);
        }
    }
    bad
}

#[test]
fn cross_entropy_options() {
    use cross_entropy::{RowScale, row_dlogits, row_loss, row_shares};
    for options in bad_options() {
        for row in rows() {
            let context = format!("{row:?}, {options:?}");
            let target = RowTarget::Class(0);
            let loss = row_loss(&row, &target, None, &options);
            assert_nan(&[loss.loss, loss.z_loss, loss.lse], 3, &context);
            assert_nan(&row_dlogits(&row, &target, None, &options, RowScale::ONE), row.len(), &context);
            assert_eq!(row_shares(&target, None, row.len(), &options), None, "{context}");
            let bound = gradient_bound(&options, RowScale::ONE, &[1.0], 0.0)(0.5, 1.0);
            assert!(bound.is_nan(), "{context}: {bound}");
        }
    }
    // With log-probabilities the temperature is ignored.
    let nll = CrossEntropyOptions { input: Input::LogProbs, temperature: 2.0, ..Default::default() };
    assert_eq!(row_loss(&[-0.5f32, -1.0], &RowTarget::Class(0), None, &nll).loss, 0.5);
}

#[test]
fn short_targets_and_weights() {
    use cross_entropy::{RowScale, row_dlogits, row_loss};
    let options = CrossEntropyOptions { label_smoothing: 0.1, ..Default::default() };
    let row = [0.5f32, 1.0, 0.0];
    let loss =
        |target: &RowTarget<'_>, weights: Option<&[f32]>| row_loss(&row, target, weights, &options).loss;
    for found in 0..3 {
        let weights = vec![1.0; found];
        assert!(loss(&RowTarget::Class(2), Some(&weights)).is_nan(), "{found} weights");
        assert!(loss(&RowTarget::Soft(weights[..].into()), None).is_nan(), "{found} probabilities");
        let sparse = RowTarget::Sparse { indices: &[0, 1, 2], probs: &weights };
        assert!(loss(&sparse, None).is_nan(), "{found} of 3 entries");
        assert_nan(&row_dlogits(&row, &sparse, None, &options, RowScale::ONE), 3, "entries");
    }
    // An ignored entry needs no probability.
    let sparse = RowTarget::Sparse { indices: &[0, -100], probs: &[1.0] };
    assert!(loss(&sparse, None).is_finite());

    for (student, teacher) in [(2, 3), (3, 2), (0, 1), (1, 0)] {
        let (student, teacher) = (vec![0.5f32; student], vec![0.5f32; teacher]);
        let options = KlDivergenceOptions { masked_row: MaskedRow::Zero, ..Default::default() };
        assert!(kl_divergence::row_loss(&student, &teacher, &options).is_nan());
        let dlogits = kl_divergence::row_dlogits(&student, &teacher, &options, 1.0);
        assert_nan(&dlogits, student.len(), "rows that differ in length");
    }
    for temperature in BAD {
        let options = KlDivergenceOptions { temperature, masked_row: MaskedRow::Zero, ..Default::default() };
        assert!(kl_divergence::row_loss(&row, &row, &options).is_nan(), "{temperature}");
        assert_nan(&kl_divergence::row_dlogits(&row, &row, &options, 1.0), 3, "temperature");
    }
    for found in 0..3 {
        let (whole, short) = ([1.0; 3], vec![1.0; found]);
        for (targets, pos_weight, weights) in
            [(&short[..], None, None), (&whole, Some(&short[..]), None), (&whole, None, Some(&short[..]))]
        {
            assert!(sigmoid_bce::row_loss(&row, targets, pos_weight, weights).is_nan(), "{found}");
            let dlogits = sigmoid_bce::row_dlogits(&row, targets, pos_weight, weights, 1.0);
            assert_nan(&dlogits, 3, "targets or weights");
        }
    }
}

/// The message of a panic.
fn panic_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("a panic");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// A row of a batch is an index: one that is out of bounds panics, whatever the other arguments are.
#[test]
fn rows_out_of_range() {
    let (shape, logits, options) = (Shape::new(2, 3), [0.0f32; 6], CrossEntropyOptions::default());
    let (mask, batch) = ([false; 2], Default::default());
    let soft = [0.5; 6];
    let kinds = [
        Targets::Classes(&[0, 1]),
        Targets::ClassesU32(&[0, 1]),
        Targets::ClassesI64(&[0, 1]),
        Targets::ClassesUsize(&[0, 1]),
        Targets::Soft(&soft),
        Targets::Sparse { indices: &[0, 1], probs: &[1.0, 1.0], entries: 1 },
    ];
    for row in [2, usize::MAX] {
        let expected = format!("row {row} is out of range: the batch has 2 rows");
        let check = |name: &str, call: &mut dyn FnMut()| assert_eq!(panic_of(call), expected, "{name}");
        for targets in kinds {
            check("Targets::row", &mut || drop(targets.row(shape, row)));
            for inputs in [targets.into(), CrossEntropyInputs::new(targets).row_mask(&mask)] {
                check("row_loss_at", &mut || {
                    let _ = cross_entropy::row_loss_at(&logits, inputs, shape, &options, row);
                });
                check("row_scale", &mut || {
                    let _ = cross_entropy::row_scale(inputs, shape, &options, &batch, row);
                });
                check("row_dlogits_at", &mut || {
                    drop(cross_entropy::row_dlogits_at(&logits, inputs, shape, &options, &batch, row));
                });
            }
        }
        check("Shape::row", &mut || drop(shape.row(&logits, row)));
        let inputs = KlDivergenceInputs::new(&logits).row_mask(&mask);
        let kl = KlDivergenceOptions::default();
        check("kl_divergence::row_loss_at", &mut || {
            let _ = kl_divergence::row_loss_at(&logits, inputs, shape, &kl, row);
        });
        check("kl_divergence::row_dlogits_at", &mut || {
            drop(kl_divergence::row_dlogits_at(&logits, inputs, shape, &kl, &batch, row));
        });
        let inputs = SigmoidBceInputs::new(&soft).row_mask(&mask);
        check("sigmoid_bce::row_loss_at", &mut || {
            let _ = sigmoid_bce::row_loss_at(&logits, inputs, shape, row);
        });
        check("sigmoid_bce::row_dlogits_at", &mut || {
            drop(sigmoid_bce::row_dlogits_at(&logits, inputs, shape, &Default::default(), &batch, row));
        });
    }
}
