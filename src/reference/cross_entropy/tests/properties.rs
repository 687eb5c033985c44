//! Properties of a loss and its gradient that hold for all logits.

use approx::{assert_abs_diff_eq, assert_relative_eq};

use super::*;
use crate::inputs::CrossEntropyInputs;
use crate::options::{Reduction, Sequences};
use crate::reference::cross_entropy::{
    RowLoss, RowScale, dlogits, loss, row_dlogits, row_loss, row_losses, row_shares,
};
use crate::reference::softmax_row;
use crate::reference::testing::grid_logits;
use crate::shape::Shape;
use crate::targets::Targets;

const Q: [f32; 5] = [0.5, 0.25, 0.0, 2.0, 0.125];
const WEIGHTS: [f32; 5] = [1.0, 0.5, 2.0, 0.25, 3.0];

/// Options without a softcap, for class targets.
fn uncapped() -> Vec<CrossEntropyOptions> {
    vec![
        plain(),
        CrossEntropyOptions { label_smoothing: 0.25, ..plain() },
        CrossEntropyOptions { temperature: 2.0, ..plain() },
        CrossEntropyOptions { focal_gamma: 1.5, ..plain() },
        CrossEntropyOptions { z_loss: 0.5, ..plain() },
        CrossEntropyOptions {
            label_smoothing: 0.25,
            temperature: 0.5,
            focal_gamma: 2.0,
            z_loss: 0.25,
            ..plain()
        },
    ]
}

/// Options without a softcap and without focal loss, for any targets.
fn unfocused() -> impl Iterator<Item = CrossEntropyOptions> {
    uncapped().into_iter().map(|options| CrossEntropyOptions { focal_gamma: 0.0, ..options })
}

#[test]
fn gradient_rows_sum_to_that_of_the_z_loss() {
    let scale = RowScale { loss: -3.0, z_loss: 2.0 };
    for (seed, options) in uncapped().into_iter().enumerate() {
        let row = grid_logits(seed as u64, 5);
        for target in [RowTarget::Class(2), soft(&Q), sparse(&[4, 0, 4], &[0.5, 0.25, 1.0])] {
            let lse = row_loss(&row, &target, Some(&WEIGHTS), &options).lse;
            let sum: f64 = row_dlogits(&row, &target, Some(&WEIGHTS), &options, scale).iter().sum();
            let expected = 2.0 * 2.0 * f64::from(options.z_loss) * lse / f64::from(options.temperature);
            assert_abs_diff_eq!(sum, expected, epsilon = 1e-14 * (1.0 + expected.abs()));
        }
    }
    for cols in [1, 2, 3, 17, 256] {
        let dlogits = row_dlogits(
            &grid_logits(9, cols),
            &RowTarget::Class(cols as i64 / 2),
            None,
            &plain(),
            RowScale::ONE,
        );
        assert_abs_diff_eq!(dlogits.iter().sum::<f64>(), 0.0, epsilon = 1e-14);
    }
}

#[test]
fn the_gradient_is_linear_in_its_scale() {
    let row = grid_logits(3, 5);
    for options in uncapped() {
        let of = |loss, z_loss| {
            let scale = RowScale { loss, z_loss };
            row_dlogits(&row, &RowTarget::Class(1), Some(&WEIGHTS), &options, scale)
        };
        let (data, z, both) = (of(1.0, 0.0), of(0.0, 1.0), of(-2.0, 4.0));
        for class in 0..5 {
            assert_abs_diff_eq!(both[class], -2.0 * data[class] + 4.0 * z[class], epsilon = 1e-15);
        }
        assert_eq!(z.iter().all(|&dx| dx == 0.0), options.z_loss == 0.0);
    }
}

/// The definition of a linear target's gradient, in one line: S·p − t.
#[test]
fn linear_targets_pull_the_probabilities_to_their_shares() {
    let row = grid_logits(5, 5);
    let probs = softmax_row(&row, &Default::default());
    for label_smoothing in [0.0, 0.25, 1.0] {
        let options = CrossEntropyOptions { label_smoothing, ..plain() };
        for target in [RowTarget::Class(2), soft(&Q), sparse(&[4, 0, 4], &[0.5, 0.25, 1.0])] {
            let shares = row_shares(&target, Some(&WEIGHTS), 5, &options).unwrap();
            let mass: f64 = shares.iter().sum();
            let expected: Vec<f64> = probs.iter().zip(&shares).map(|(p, t)| mass * p - t).collect();
            let found = row_dlogits(&row, &target, Some(&WEIGHTS), &options, RowScale::ONE);
            assert_abs_diff_eq!(found[..], expected[..], epsilon = 2e-15);
        }
    }
}

#[test]
fn no_offset_loses_the_loss() {
    // Multiples of 8, which f32 still resolves at 1e8.
    let row = [16.0f32, 8.0, 0.0, -8.0];
    for offset in [1e4f32, 1e5, 1e6, 1e7, 1e8, -1e4, -1e5, -1e6, -1e7, -1e8] {
        let shifted = row.map(|x| x + offset);
        for options in uncapped().into_iter().filter(|options| options.z_loss == 0.0) {
            for class in 0..4 {
                let of = |row: &[f32]| {
                    let target = RowTarget::Class(class);
                    let loss = row_loss(row, &target, None, &options).loss;
                    (loss, row_dlogits(row, &target, None, &options, RowScale::ONE))
                };
                assert_eq!(of(&shifted), of(&row), "{offset}, {options:?}");
            }
        }
    }
}

#[test]
fn permuted_classes_permute_the_gradient_and_keep_the_loss() {
    let row = grid_logits(3, 5);
    let reversed = |values: &[f32]| values.iter().rev().copied().collect::<Vec<f32>>();
    let (back_row, back_weights, back_q) = (reversed(&row), reversed(&WEIGHTS), reversed(&Q));
    for options in uncapped().into_iter().map(|options| CrossEntropyOptions { softcap: Some(9.0), ..options })
    {
        for (target, back) in [
            (RowTarget::Class(1), RowTarget::Class(3)),
            (soft(&Q), soft(&back_q)),
            (sparse(&[1, 0], &[0.5, 2.0]), sparse(&[4, 3], &[2.0, 0.5])),
        ] {
            let of_back = row_loss(&back_row, &back, Some(&back_weights), &options);
            let of_row = row_loss(&row, &target, Some(&WEIGHTS), &options);
            assert_relative_eq!(of_back.total(), of_row.total(), max_relative = 1e-14);
            let mut found = row_dlogits(&back_row, &back, Some(&back_weights), &options, RowScale::ONE);
            found.reverse();
            let expected = row_dlogits(&row, &target, Some(&WEIGHTS), &options, RowScale::ONE);
            assert_abs_diff_eq!(found[..], expected[..], epsilon = 1e-14);
        }
    }
}

#[test]
fn permuted_rows_permute_the_gradient() {
    let shape = Shape::new(2, 3);
    let row_pair = grid_logits(4, 6);
    let swapped = [&row_pair[3..], &row_pair[..3]].concat();
    let gradient = dlogits(&row_pair, Targets::Classes(&[2, 0]), shape, &plain()).unwrap();
    let of_swapped = dlogits(&swapped, Targets::Classes(&[0, 2]), shape, &plain()).unwrap();
    assert_eq!([&of_swapped[3..], &of_swapped[..3]].concat(), gradient);
}

#[test]
fn two_classes_are_a_logistic_loss() {
    for difference in [-30.0f32, -2.0, 0.0, 0.5, 30.0] {
        // ln(1 + exp(−d)), and its derivative sigmoid(d) − 1.
        let d = f64::from(difference);
        let row = [difference, 0.0];
        let target = RowTarget::Class(0);
        assert_relative_eq!(
            row_loss(&row, &target, None, &plain()).loss,
            (-d).exp().ln_1p(),
            max_relative = 1e-14,
            epsilon = 0.0
        );
        let expected = 1.0 / (1.0 + (-d).exp()) - 1.0;
        let found = row_dlogits(&row, &target, None, &plain(), RowScale::ONE)[0];
        assert_abs_diff_eq!(found, expected, epsilon = 1e-15);
    }
}

#[test]
fn one_hot_targets_are_class_targets() {
    let shape = Shape::new(4, 5);
    let logits = grid_logits(6, 20);
    let classes = [4, 0, 2, 2];
    let mut one_hot = [0.0; 20];
    for (row, &class) in classes.iter().enumerate() {
        one_hot[row * 5 + class as usize] = 1.0;
    }
    let sparse = Targets::Sparse { indices: &classes, probs: &[1.0; 4], entries: 1 };
    for options in unfocused() {
        for (reduction, weights) in [
            (Reduction::Mean, None),
            (Reduction::Sum, None),
            (Reduction::Sum, Some(&WEIGHTS[..])),
            (Reduction::MeanOver(3.0), Some(&WEIGHTS[..])),
        ] {
            let options = CrossEntropyOptions { reduction, ..options };
            let of = |targets: Targets<'_>| {
                let inputs = CrossEntropyInputs { class_weights: weights, ..targets.into() };
                let rows = row_losses(&logits, inputs, shape, &options).unwrap();
                (
                    loss(&logits, inputs, shape, &options).unwrap(),
                    rows,
                    dlogits(&logits, inputs, shape, &options),
                )
            };
            let of_classes = of(Targets::Classes(&classes));
            assert_eq!(of(Targets::Soft(&one_hot)), of_classes, "{options:?}");
            assert_eq!(of(sparse), of_classes, "{options:?}");
        }
    }
    // But a class-weighted mean divides by other weights: here by 3 + 1 + 2 + 2, and by 4 rows.
    let mean = |targets| {
        let inputs = CrossEntropyInputs::new(targets).class_weights(&WEIGHTS);
        loss(&logits, inputs, shape, &plain()).unwrap()
    };
    let (of_classes, of_one_hot) = (mean(Targets::Classes(&classes)), mean(Targets::Soft(&one_hot)));
    assert_relative_eq!(of_classes * 8.0, of_one_hot * 4.0, max_relative = 1e-15);
}

#[test]
fn sparse_targets_are_the_soft_ones_they_stand_for() {
    let shape = Shape::new(3, 5);
    let logits = grid_logits(8, 15);
    // An entry that is left out, a class that occurs twice, a probability of 0.
    let indices = [1, IGNORED, 3, 4, 4, 0, 2, 2, 2];
    let probs = [0.5, 9.0, 0.25, 0.5, 0.25, 0.0, 1.0, -0.5, 0.25];
    let mut dense = [0.0; 15];
    for (entry, (&index, &prob)) in indices.iter().zip(&probs).enumerate() {
        if index != IGNORED {
            dense[entry / 3 * 5 + index as usize] += prob;
        }
    }
    let sparse = Targets::Sparse { indices: &indices, probs: &probs, entries: 3 };
    for options in unfocused() {
        let of = |targets: Targets<'_>| {
            let inputs = CrossEntropyInputs::new(targets).class_weights(&WEIGHTS);
            (loss(&logits, inputs, shape, &options), dlogits(&logits, inputs, shape, &options))
        };
        assert_eq!(of(sparse), of(Targets::Soft(&dense)), "{options:?}");
    }
}

/// With all defaults the loss is ln z + (m − x_y) and nothing else. Options and inputs without an effect do not change
/// a bit.
#[test]
fn what_has_no_effect_changes_no_bit() {
    let row = grid_logits(12, 5);
    let max = row.iter().copied().fold(-INF, f32::max);
    let rest: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum::<f64>() - 1.0;
    for class in 0..5 {
        let found = row_loss(&row, &RowTarget::Class(class), None, &plain());
        let expected = rest.ln_1p() + f64::from(max - row[class as usize]);
        assert_relative_eq!(found.loss, expected, max_relative = 1e-15, epsilon = 1e-15);
        assert_eq!(found, RowLoss { z_loss: 0.0, ..found });
    }

    let shape = Shape::new(3, 5);
    let logits = grid_logits(13, 15);
    let bare = CrossEntropyInputs::new(Targets::Classes(&[0, 4, 2]));
    let of = |inputs: CrossEntropyInputs<'_>, options: &CrossEntropyOptions| {
        (loss(&logits, inputs, shape, options).unwrap(), dlogits(&logits, inputs, shape, options).unwrap())
    };
    let expected = of(bare, &plain());
    for (name, inputs) in [
        ("class weights 1", bare.class_weights(&[1.0; 5])),
        ("row weights 1", bare.row_weights(&[1.0; 3])),
        ("a mask of all", bare.row_mask(&[true; 3])),
        ("upstream 1", bare.upstream(1.0).row_upstream(&[1.0; 3])),
    ] {
        assert_eq!(of(inputs, &plain()), expected, "{name}");
    }
    for options in [
        CrossEntropyOptions { focal_gamma: -0.0, label_smoothing: -0.0, z_loss: -0.0, ..plain() },
        CrossEntropyOptions { reduction: Reduction::MeanOver(3.0), ..plain() },
        CrossEntropyOptions { sequences: Some(Sequences::new(3)), ..plain() },
        CrossEntropyOptions { sequences: Some(Sequences::shifted(1, 0)), ..plain() },
    ] {
        assert_eq!(of(bare, &options), expected, "{options:?}");
    }
    // A cap far above the logits (of 8) has almost no effect: x³ / 3κ².
    let (capped, _) = of(bare, &CrossEntropyOptions { softcap: Some(1e9), ..plain() });
    assert_relative_eq!(capped, expected.0, max_relative = 1e-14);
}

#[test]
fn a_temperature_divides_the_logits() {
    let row = grid_logits(14, 5);
    let halves: Vec<f32> = row.iter().map(|x| x / 2.0).collect();
    for options in uncapped() {
        let target = RowTarget::Class(3);
        let twice = CrossEntropyOptions { temperature: 2.0, ..options };
        let once = CrossEntropyOptions { temperature: 1.0, ..options };
        assert_eq!(row_loss(&row, &target, None, &twice), row_loss(&halves, &target, None, &once));
        let found = row_dlogits(&row, &target, None, &twice, RowScale::ONE);
        let expected = row_dlogits(&halves, &target, None, &once, RowScale::ONE);
        assert!(found.iter().zip(&expected).all(|(dx, of_halves)| *dx == of_halves / 2.0), "{options:?}");
    }
}

#[test]
fn weights_repeat_rows_and_scale_classes() {
    let logits = grid_logits(15, 10);
    let twice = [&logits[..5], &logits[..5], &logits[5..]].concat();
    let options = CrossEntropyOptions { z_loss: 0.25, label_smoothing: 0.25, ..plain() };
    let weighted = CrossEntropyInputs::new(Targets::Classes(&[3, 1])).class_weights(&WEIGHTS);
    let repeated = CrossEntropyInputs::new(Targets::Classes(&[3, 3, 1])).class_weights(&WEIGHTS);
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let options = CrossEntropyOptions { reduction, ..options };
        let found = loss(&logits, weighted.row_weights(&[2.0, 1.0]), Shape::new(2, 5), &options).unwrap();
        let expected = loss(&twice, repeated, Shape::new(3, 5), &options).unwrap();
        assert_relative_eq!(found, expected, max_relative = 1e-15);
    }
    // A mean over class targets depends only on the ratio of class weights.
    let no_z = CrossEntropyOptions { z_loss: 0.0, ..options };
    let doubled = WEIGHTS.map(|w| 2.0 * w);
    let mean = |inputs| loss(&logits, inputs, Shape::new(2, 5), &no_z);
    assert_eq!(mean(weighted.class_weights(&doubled)), mean(weighted));
}

#[test]
fn focal_loss_fades_easy_rows_and_leaves_the_rest() {
    let focal = CrossEntropyOptions { focal_gamma: 2.0, label_smoothing: 0.25, z_loss: 0.5, ..plain() };
    let without = CrossEntropyOptions { focal_gamma: 0.0, ..focal };
    for (seed, class) in (0..20).flat_map(|seed| [(seed, 0), (seed, 4)]) {
        let row = grid_logits(seed, 5);
        let of = |options| row_loss(&row, &RowTarget::Class(class), Some(&WEIGHTS), options);
        let p = softmax_row(&row, &Default::default())[class as usize];
        let target = 0.75 * f64::from(WEIGHTS[class as usize]) * -p.ln();
        let (found, unfocused) = (of(&focal), of(&without));
        let expected = unfocused.loss - target + target * (1.0 - p) * (1.0 - p);
        assert_relative_eq!(found.loss, expected, max_relative = 1e-13);
        assert_eq!((found.z_loss, found.lse), (unfocused.z_loss, unfocused.lse));
    }
}
