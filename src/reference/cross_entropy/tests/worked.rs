//! Values computed independently with mpmath at 40 digits: losses from `−ln(exp(s_j / T) / Σ exp(s / T))` as written,
//! and gradients by mpmath's numeric `diff` of it.

use approx::{assert_abs_diff_eq, assert_relative_eq};

use super::*;
use crate::inputs::CrossEntropyInputs;
use crate::options::{Input, Reduction};
use crate::reference::cross_entropy::{RowScale, dlogits, loss, row_dlogits, row_loss, row_losses, z_loss};
use crate::shape::Shape;
use crate::targets::Targets;

const ROW: [f32; 4] = [2.0, 1.0, 0.5, -1.0];
const WEIGHTS: [f32; 4] = [1.0, 0.5, 2.0, 0.25];
const PROBS: [f32; 4] = [0.5, 0.25, 0.0, 0.125];

#[test]
fn four_digits() {
    assert_abs_diff_eq!(row_loss(&ROW, &RowTarget::Class(0), None, &plain()).loss, 0.4952, epsilon = 5e-5);
    let dlogits = row_dlogits(&[3.0f32, 1.0, 0.2], &RowTarget::Class(0), None, &plain(), RowScale::ONE);
    assert_abs_diff_eq!(dlogits[..], [0.8360 - 1.0, 0.1131, 0.0508], epsilon = 5e-5);

    let logits = [2.0f32, 1.0, 0.5, 0.1, 3.0, 0.2, 0.5, 0.5, 4.0, 1.0, 1.5, 1.2];
    let (targets, shape) = (Targets::Classes(&[0, 1, 2, 1]), Shape::new(4, 3));
    let rows = row_losses(&logits, targets, shape, &plain()).unwrap();
    assert_abs_diff_eq!(rows[..], [0.4644, 0.1096, 0.0586, 0.8533], epsilon = 5e-5);
    assert_abs_diff_eq!(loss(&logits, targets, shape, &plain()).unwrap(), 0.3715, epsilon = 5e-5);
}

#[test]
fn every_option() {
    let class = RowTarget::Class;
    let smooth = CrossEntropyOptions { label_smoothing: 0.125, ..plain() };
    let warm = CrossEntropyOptions { temperature: 2.0, ..plain() };
    let capped = CrossEntropyOptions { softcap: Some(1.5), ..plain() };
    let with_z = CrossEntropyOptions { z_loss: 0.25, ..plain() };
    let focal = |focal_gamma| CrossEntropyOptions { focal_gamma, ..plain() };
    let nll = CrossEntropyOptions { input: Input::LogProbs, ..smooth };
    let all_but_focal = CrossEntropyOptions { softcap: Some(1.5), temperature: 2.0, z_loss: 0.25, ..smooth };
    let all = CrossEntropyOptions { focal_gamma: 2.0, ..all_but_focal };
    // name, target, weights, options, [loss, z-loss, lse], gradient
    type Case<'a> = (&'a str, RowTarget<'a>, Option<&'a [f32]>, CrossEntropyOptions, [f64; 3], [f64; 4]);
    let weights = Some(&WEIGHTS[..]);
    let cases: &[Case] = &[
        (
            "plain",
            class(1),
            None,
            plain(),
            [1.495181898085856, 0.0, 2.495181898085856],
            [0.6094600375988771, -0.7757921819517989, 0.13598891579350553, 0.030343228559416225],
        ),
        (
            "class weights",
            class(2),
            weights,
            plain(),
            [3.990363796171712, 0.0, 2.495181898085856],
            [1.2189200751977542, 0.4484156360964023, -1.728022168412989, 0.06068645711883245],
        ),
        (
            "smoothing",
            class(1),
            None,
            smooth,
            [1.542056898085856, 0.0, 2.495181898085856],
            [0.5782100375988771, -0.6820421819517989, 0.10473891579350551, -0.0009067714405837756],
        ),
        (
            "smoothing, class weights",
            class(1),
            weights,
            smooth,
            [0.8449837090944983, 0.0, 2.495181898085856],
            [0.30680986460562715, -0.3287597259263884, 0.01293135172921009, 0.009018509591551187],
        ),
        (
            "temperature",
            class(1),
            None,
            warm,
            [1.3337902010205156, 0.0, 1.8337902010205156],
            [0.21719984998911157, -0.36826163169661913, 0.10259794439522216, 0.0484638373122854],
        ),
        (
            "softcap",
            class(1),
            None,
            capped,
            [1.2203869609551492, 0.0, 2.0945613789770143],
            [0.11033956163569482, -0.4654800803370542, 0.17881478098995032, 0.03392171804710731],
        ),
        (
            "z-loss",
            class(1),
            None,
            with_z,
            [1.495181898085856, 1.5564831761338338, 2.495181898085856],
            [1.3698168643105988, -0.49607253745019947, 0.3056474563076439, 0.0681991658748848],
        ),
        (
            "focal 2",
            class(1),
            None,
            focal(2.0),
            [0.8998804728197697, 0.0, 2.495181898085856],
            [0.6838101508416882, -0.8704337220407105, 0.15257866846842785, 0.03404490273059448],
        ),
        (
            "focal 0.5",
            class(0),
            None,
            focal(0.5),
            [0.30945499720636616, 0.0, 2.495181898085856],
            [-0.33836113370632226, 0.19425210939793963, 0.11781986006370297, 0.026289164244679634],
        ),
        (
            "all",
            class(2),
            weights,
            all,
            [1.6314047119576294, 0.7089892831830861, 1.6840300272656494],
            [0.12142443531512102, 0.2691848369920923, -0.5879620505542695, 0.11187847363898706],
        ),
        (
            "soft",
            soft(&PROBS),
            None,
            plain(),
            [1.058284160825124, 0.0, 2.495181898085856],
            [0.03327753289901748, -0.053818159207824005, 0.11899030131931733, -0.0984496750105108],
        ),
        (
            "soft, all",
            soft(&PROBS),
            weights,
            all_but_focal,
            [0.8041273695763611, 0.7089892831830861, 1.6840300272656494],
            [0.009462182434579677, 0.10423110778464235, 0.13438667238671315, 0.04909716779552649],
        ),
        (
            "nll",
            class(1),
            weights,
            nll,
            [-0.5390625, 0.0, 2.495181898085856],
            [-0.03125, -0.453125, -0.0625, -0.0078125],
        ),
    ];
    for (name, target, weights, options, [loss, z_loss, lse], gradient) in cases {
        let found = row_loss(&ROW, target, *weights, options);
        for (part, found, expected) in
            [("loss", found.loss, *loss), ("z_loss", found.z_loss, *z_loss), ("lse", found.lse, *lse)]
        {
            assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{name}: {part} {found}, {expected}");
        }
        assert_eq!(found.total(), found.loss + found.z_loss, "{name}");
        let found = row_dlogits(&ROW, target, *weights, options, RowScale::ONE);
        for (class, (found, expected)) in found.iter().zip(gradient).enumerate() {
            let error = (found - expected).abs();
            assert!(error <= 3e-16, "{name}: dlogits[{class}] = {found}, {expected}, off by {error:e}");
        }
    }
}

#[test]
fn digits_of_an_easy_row_are_kept() {
    // ln(1 + 2·exp(−d)). A sum of exponentials that is rounded first gives 0 for d = 40.
    let easy = |d: f32, focal_gamma| {
        let options = CrossEntropyOptions { focal_gamma, ..plain() };
        row_loss(&[d, 0.0, 0.0], &RowTarget::Class(0), None, &options).loss
    };
    assert_relative_eq!(easy(30.0, 0.0), 1.871_524_593_767_859_8e-13, max_relative = 1e-15, epsilon = 0.0);
    assert_relative_eq!(easy(40.0, 0.0), 8.496_708_510_583_178e-18, max_relative = 1e-15, epsilon = 0.0);
    assert_relative_eq!(easy(40.0, 0.5), 2.476_715_255_934_278_7e-26, max_relative = 1e-14, epsilon = 0.0);
    assert_relative_eq!(easy(40.0, 2.0), 6.134_118_458_977_6e-52, max_relative = 1e-14, epsilon = 0.0);

    // The gradient's digits are kept too, at a class that is not the target's: there the gradient is p.
    let dlogits = |focal_gamma| {
        let options = CrossEntropyOptions { focal_gamma, ..plain() };
        row_dlogits(&[40.0f32, 0.0, 0.0], &RowTarget::Class(0), None, &options, RowScale::ONE)[1]
    };
    assert_relative_eq!(dlogits(0.5), 1.857_536_441_950_709e-26, max_relative = 1e-14, epsilon = 0.0);
    assert_relative_eq!(dlogits(2.0), 9.201_177_688_466_4e-52, max_relative = 1e-14, epsilon = 0.0);
}

/// Three rows that count, with classes 1, 2, 0, and one that does not.
const BATCH: [f32; 16] = [2.0, 1.0, 0.5, -1.0, 0.0, 3.0, -2.0, 0.25, 1.0, 1.0, 0.0, 4.0, -1.0, 2.0, 2.0, 0.5];

/// PyTorch divides both the target's part and the smoothing part, weighted, by Σ w_y over the rows that count. An
/// ignored row has no smoothing either.
#[test]
fn weighted_smoothed_means_are_pytorchs() {
    let targets = Targets::Classes(&[1, 2, IGNORED, 0]);
    let shape = Shape::new(4, 4);
    let (bare, weighted) =
        (CrossEntropyInputs::new(targets), CrossEntropyInputs::new(targets).class_weights(&WEIGHTS));
    // inputs, ε, mean, sum
    let cases = [
        (bare, 0.0, 3.4766596616239134, 10.42997898487174),
        (weighted, 0.0, 4.227463140997244, 14.796120993490356),
        (bare, 0.125, 3.3178054949572467, 9.95341648487174),
        (weighted, 0.125, 3.937199187598205, 13.780197156593719),
    ];
    for (inputs, label_smoothing, mean, sum) in cases {
        let of = |reduction| {
            let options = CrossEntropyOptions { label_smoothing, reduction, ..plain() };
            loss(&BATCH, inputs, shape, &options).unwrap()
        };
        assert_relative_eq!(of(Reduction::Mean), mean, max_relative = 1e-15);
        assert_relative_eq!(of(Reduction::Sum), sum, max_relative = 1e-15);
        assert_relative_eq!(of(Reduction::MeanOver(8.0)), sum / 8.0, max_relative = 1e-15);
    }
}

/// Soft targets: class weights multiply the terms, the mean divides by the rows.
#[test]
fn a_weighted_mean_of_soft_targets_divides_by_the_rows() {
    let mut probs = [0.0; 16];
    for (at, prob) in
        [(0, 0.5), (1, 0.25), (3, 0.125), (5, 1.0), (8, 0.25), (9, 0.25), (10, 0.25), (11, 0.25)]
    {
        probs[at] = prob;
    }
    (probs[14], probs[15]) = (0.5, 0.5);
    let inputs = CrossEntropyInputs::new(Targets::Soft(&probs)).class_weights(&WEIGHTS);
    let mean = loss(&BATCH, inputs, Shape::new(4, 4), &plain()).unwrap();
    assert_relative_eq!(mean, 1.2353135875528587, max_relative = 1e-15);
}

#[test]
fn a_z_loss_is_divided_by_the_row_weights() {
    // Rows of lse ln 2 and ln 4, weights 1 and 3, classes of weights 8 and 1; the data terms are ln 2 and ln 4 too.
    let logits = [0.0, 0.0, 2f32.ln(), 2f32.ln()];
    let inputs = CrossEntropyInputs::new(Targets::Classes(&[0, 1]))
        .class_weights(&[8.0, 1.0])
        .row_weights(&[1.0, 3.0]);
    let (shape, options) = (Shape::new(2, 2), CrossEntropyOptions { z_loss: 0.5, ..plain() });
    let (ln2, ln4) = (2f64.ln(), f64::from(2f32.ln()) + 2f64.ln());
    let z = 0.5 * (ln2 * ln2 + 3.0 * ln4 * ln4);
    let data = 8.0 * ln2 + 3.0 * ln2;
    let of = |reduction| {
        let options = CrossEntropyOptions { reduction, ..options };
        [loss(&logits, inputs, shape, &options), z_loss(&logits, inputs, shape, &options)].map(Result::unwrap)
    };
    let near = |found: [f64; 2], expected: [f64; 2]| {
        assert_relative_eq!(found[..], expected[..], max_relative = 1e-15);
    };
    near(of(Reduction::Mean), [data / 11.0 + z / 4.0, z / 4.0]);
    near(of(Reduction::Sum), [data + z, z]);
    near(of(Reduction::MeanOver(5.0)), [data / 5.0 + z / 5.0, z / 5.0]);
    let rows = row_losses(&logits, inputs, shape, &options).unwrap();
    near([rows[0], rows[1]], [8.0 * ln2 + 0.5 * ln2 * ln2, 3.0 * ln2 + 1.5 * ln4 * ln4]);
    // Row 0: 1/11 · 8 · (±1/2) + 1/4 · 2 · 0.5 · ln 2 · 1/2, and p = 1/2 in row 1 too.
    let expected = [
        -4.0 / 11.0 + ln2 / 8.0,
        4.0 / 11.0 + ln2 / 8.0,
        1.5 / 11.0 + 3.0 * ln4 / 8.0,
        -1.5 / 11.0 + 3.0 * ln4 / 8.0,
    ];
    let found = dlogits(&logits, inputs, shape, &options).unwrap();
    assert_relative_eq!(found[..], expected[..], max_relative = 1e-14);
}

/// Lin et al. 2017, for two classes: `−(1 − p)^γ · ln p`. At p = 0.9 and γ = 2 it is 100 times below −ln p.
#[test]
fn focal_loss_of_two_classes() {
    let row = [9f32.ln(), 0.0];
    let [easy, plain] = [2.0, 0.0].map(|focal_gamma| {
        let options = CrossEntropyOptions { focal_gamma, ..plain() };
        row_loss(&row, &RowTarget::Class(0), None, &options).loss
    });
    assert_relative_eq!(plain / easy, 100.0, max_relative = 1e-6); // ln 9 is rounded to f32
}
