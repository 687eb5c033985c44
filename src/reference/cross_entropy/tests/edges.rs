//! Edge cases of one row: its loss and its gradient.

use super::*;
use crate::options::{Input, MaskedRow};
use crate::reference::cross_entropy::{RowLoss, RowScale, row_dlogits, row_loss, row_shares};
use crate::reference::testing::same;

const N: f64 = f64::NAN;
const POS: f64 = f64::INFINITY;

/// Name, row, target, class weights, options; expected [`RowLoss::loss`] and gradient.
type Case<'a> = (&'a str, &'a [f32], RowTarget<'a>, Option<&'a [f32]>, CrossEntropyOptions, f64, &'a [f64]);

fn check(cases: &[Case<'_>]) {
    for (name, row, target, weights, options, expected_loss, expected_dlogits) in cases {
        let loss = row_loss(row, target, *weights, options).loss;
        let is_near = (loss - expected_loss).abs() <= 1e-15 || same(&[loss], &[*expected_loss]);
        assert!(is_near, "{name}: loss {loss}, expected {expected_loss}");
        assert!(*expected_loss != 0.0 || loss.to_bits() == 0, "{name}: loss {loss}, expected 0 exactly");
        let dlogits = row_dlogits(row, target, *weights, options, RowScale::ONE);
        let is_near = |(dx, expected): (&f64, &f64)| {
            // Values that should be 0 are 0, except exp(−500) = 7e-218.
            let bound = if *expected == 0.0 { 1e-200 } else { 1e-15 };
            (dx - expected).abs() <= bound || (dx.is_nan() && expected.is_nan())
        };
        assert!(
            dlogits.len() == row.len() && dlogits.iter().zip(*expected_dlogits).all(is_near),
            "{name}: dlogits {dlogits:?}, expected {expected_dlogits:?}"
        );
    }
}

fn zero() -> CrossEntropyOptions {
    CrossEntropyOptions { masked_row: MaskedRow::Zero, ..plain() }
}

#[test]
fn classes() {
    let (nan, zero) = (plain(), zero());
    let class_ignored = CrossEntropyOptions { ignore_index: 1, ..nan };
    let ln2 = 2f64.ln();
    let far = 2.0 * f64::from(f32::MAX);
    type Plain<'a> = (&'a str, &'a [f32], i32, CrossEntropyOptions, f64, &'a [f64]);
    let cases: &[Plain] = &[
        ("one class", &[-7.0], 0, nan, 0.0, &[0.0]),
        ("a masked class", &[1.0, -INF, 1.0], 0, nan, ln2, &[-0.5, 0.0, 0.5]),
        ("the target masked", &[1.0, -INF, 1.0], 1, nan, POS, &[0.5, -1.0, 0.5]),
        ("the target masked, zero", &[1.0, -INF, 1.0], 1, zero, POS, &[0.5, -1.0, 0.5]),
        ("all masked", &[-INF; 2], 0, nan, N, &[N; 2]),
        ("all masked, zero", &[-INF; 2], 0, zero, 0.0, &[0.0; 2]),
        ("one class, masked", &[-INF], 0, nan, N, &[N]),
        ("one class, masked, zero", &[-INF], 0, zero, 0.0, &[0.0]),
        ("a NaN", &[0.0, NAN, 1.0], 0, nan, N, &[N; 3]),
        ("a NaN at the target", &[NAN, 0.0], 0, nan, N, &[N; 2]),
        ("a negative NaN", &[-NAN, 0.0], 1, nan, N, &[N; 2]),
        ("a NaN among −∞, zero", &[-INF, NAN], 0, zero, N, &[N; 2]),
        ("+∞", &[0.0, INF], 0, nan, N, &[N; 2]),
        ("+∞ at the target", &[0.0, INF], 1, nan, N, &[N; 2]),
        ("+∞, the target masked", &[INF, -INF], 1, zero, N, &[N; 2]),
        ("one class, +∞", &[INF], 0, nan, N, &[N]),
        ("ignored", &[0.0, 1.0], IGNORED, nan, 0.0, &[0.0; 2]),
        ("ignored NaN", &[NAN, 1.0], IGNORED, nan, 0.0, &[0.0; 2]),
        ("ignored, a class's index", &[NAN, 1.0], 1, class_ignored, 0.0, &[0.0; 2]),
        ("target = cols", &[0.0, 1.0], 2, nan, N, &[0.0; 2]),
        ("target −1", &[0.0, 1.0], -1, nan, N, &[0.0; 2]),
        ("target −100, not ignored", &[0.0, 1.0], IGNORED, class_ignored, N, &[0.0; 2]),
        ("target = cols, all masked", &[-INF; 2], 2, zero, N, &[0.0; 2]),
        ("target = cols, NaN", &[NAN; 2], 2, nan, N, &[0.0; 2]),
        ("no class", &[], 0, nan, N, &[]),
        ("a loss of 500", &[500.0, 0.0], 1, nan, 500.0, &[1.0, -1.0]),
        ("p_y underflows f64", &[1000.0, 0.0], 1, nan, 1000.0, &[1.0, -1.0]),
        ("ends of f32, beyond it in f64", &[f32::MAX, f32::MIN], 1, nan, far, &[1.0, -1.0]),
        ("ends of f32, right class", &[f32::MAX, f32::MIN], 0, nan, 0.0, &[0.0, 0.0]),
    ];
    for &(name, row, target, options, loss, dlogits) in cases {
        check(&[(name, row, RowTarget::Class(target.into()), None, options, loss, dlogits)]);
        // No option makes a special row usual, or an ignored row count.
        let special = loss.is_nan() || target == options.ignore_index || row.iter().all(|x| *x == -INF);
        for with in [
            CrossEntropyOptions { temperature: 3.0, ..options },
            CrossEntropyOptions { softcap: Some(2.0), ..options },
            CrossEntropyOptions { label_smoothing: 0.25, ..options },
            CrossEntropyOptions { label_smoothing: 1.0, ..options },
            CrossEntropyOptions { z_loss: 0.5, ..options },
            CrossEntropyOptions { focal_gamma: 2.0, ..options },
        ] {
            if special {
                let name = format!("{name}, {with:?}");
                check(&[(&name, row, RowTarget::Class(target.into()), None, with, loss, dlogits)]);
            }
        }
    }
}

#[test]
fn a_zero_factor_removes_its_term_and_any_other_is_infinite() {
    let half = CrossEntropyOptions { label_smoothing: 0.5, ..plain() };
    let one = CrossEntropyOptions { label_smoothing: 1.0, ..plain() };
    let focal = CrossEntropyOptions { focal_gamma: 2.0, ..plain() };
    let ln2 = 2f64.ln();
    let hole: &[f32] = &[1.0, -INF, 1.0]; // probabilities 1/2, 0, 1/2
    let not_1: Option<&[f32]> = Some(&[1.0, 0.0, 1.0]);
    let class = RowTarget::Class;
    let s = 1.0 / 6.0;
    check(&[
        ("smoothing reaches a masked class", hole, class(0), None, half, POS, &[-s, -s, 0.5 - s]),
        ("and the target's", hole, class(1), None, half, POS, &[0.5 - s, -0.5 - s, 0.5 - s]),
        ("nothing but smoothing", hole, class(0), None, one, POS, &[s, -2.0 * s, s]),
        (
            "no smoothing by weight",
            hole,
            class(0),
            not_1,
            half,
            ln2 * 5.0 / 6.0,
            &[5.0 / 12.0 - 4.0 * s, 0.0, 5.0 / 12.0 - s],
        ),
        (
            "no target by 1 − ε, no smoothing by weight",
            hole,
            class(1),
            not_1,
            one,
            ln2 * 2.0 / 3.0,
            &[0.0; 3],
        ),
        ("no target by weight", hole, class(1), not_1, plain(), 0.0, &[0.0; 3]),
        ("weight 0, masked target, focal", hole, class(1), not_1, focal, 0.0, &[0.0; 3]),
        ("focal, masked target", hole, class(1), None, focal, POS, &[0.5, -1.0, 0.5]),
        ("q = 0", hole, soft(&[0.25, 0.0, 0.75]), None, plain(), ln2, &[0.25, 0.0, -0.25]),
        ("q > 0", hole, soft(&[0.0, 0.25, 0.75]), None, plain(), POS, &[0.5, -0.25, -0.25]),
        (
            "q > 0, weight 0",
            hole,
            soft(&[0.0, 0.25, 0.75]),
            not_1,
            plain(),
            ln2 * 0.75,
            &[0.375, 0.0, -0.375],
        ),
        ("q = 0 everywhere", hole, soft(&[0.0; 3]), None, plain(), 0.0, &[0.0; 3]),
        ("sparse q = 0", hole, sparse(&[1, 2], &[0.0, 1.0]), None, plain(), ln2, &[0.5, 0.0, -0.5]),
        ("sparse q > 0", hole, sparse(&[1, 2], &[0.25, 0.75]), None, plain(), POS, &[0.5, -0.25, -0.25]),
        ("sparse, not there", hole, sparse(&[2], &[1.0]), None, plain(), ln2, &[0.5, 0.0, -0.5]),
        (
            "sparse, sums to 0",
            hole,
            sparse(&[1, 2, 1], &[0.5, 1.0, -0.5]),
            None,
            plain(),
            ln2,
            &[0.5, 0.0, -0.5],
        ),
    ]);
}

#[test]
fn weights_that_are_0_or_none() {
    let zeros: Option<&[f32]> = Some(&[0.0; 2]);
    let class = RowTarget::Class;
    let smooth = CrossEntropyOptions { label_smoothing: 0.5, ..plain() };
    let q = soft(&[0.5, 0.5]);
    check(&[
        ("weight 0", &[3.0, 1.0], class(0), zeros, plain(), 0.0, &[0.0; 2]),
        ("weight 0, a NaN row", &[NAN, 1.0], class(0), zeros, plain(), N, &[N; 2]),
        ("weight 0, +∞", &[INF, 1.0], class(1), zeros, plain(), N, &[N; 2]),
        ("weight 0, masked", &[-INF; 2], class(1), zeros, plain(), N, &[N; 2]),
        ("soft, weight 0, a NaN row", &[NAN, 1.0], q.clone(), zeros, plain(), N, &[N; 2]),
        ("negative", &[0.0; 2], class(0), Some(&[-1.0, 1.0]), plain(), N, &[0.0; 2]),
        ("NaN", &[0.0; 2], class(0), Some(&[NAN, 1.0]), plain(), N, &[0.0; 2]),
        ("infinite", &[0.0; 2], class(0), Some(&[INF, 1.0]), plain(), N, &[0.0; 2]),
        ("infinite, soft", &[0.0; 2], soft(&[0.0, 1.0]), Some(&[INF, 1.0]), plain(), N, &[0.0; 2]),
        ("infinite, of an entry", &[0.0; 2], sparse(&[0], &[1.0]), Some(&[INF, 1.0]), plain(), N, &[0.0; 2]),
        ("infinite, smoothed", &[0.0; 2], class(1), Some(&[INF, 1.0]), smooth, N, &[0.0; 2]),
        ("missing", &[0.0; 2], class(1), Some(&[1.0]), plain(), N, &[0.0; 2]),
    ]);
    let ln2 = 2f64.ln();
    for unused in [NAN, INF, -1.0] {
        let weights: &[f32] = &[1.0, unused];
        let not_1 = sparse(&[0, IGNORED], &[1.0, 1.0]);
        check(&[
            ("unused", &[0.0; 2], class(0), Some(weights), plain(), ln2, &[-0.5, 0.5]),
            ("unused by entries", &[0.0; 2], not_1, Some(weights), plain(), ln2, &[-0.5, 0.5]),
        ]);
    }
}

#[test]
fn soft_and_sparse_targets() {
    let ln2 = 2f64.ln();
    let zeros: Option<&[f32]> = Some(&[0.0; 2]);
    let spread = CrossEntropyOptions { label_smoothing: 1.0, ..plain() };
    let pair: &[f32] = &[0.0, 0.0];
    check(&[
        ("NaN", pair, soft(&[1.0, NAN]), None, plain(), N, &[N; 2]),
        ("+∞", pair, soft(&[INF, 0.0]), None, plain(), N, &[N; 2]),
        ("−∞", pair, soft(&[-INF, 0.0]), None, plain(), N, &[N; 2]),
        ("NaN of weight 0", pair, soft(&[1.0, NAN]), zeros, plain(), N, &[N; 2]),
        ("+∞ of no share", pair, soft(&[1.0, INF]), None, spread, N, &[N; 2]),
        ("NaN, all masked, zero", &[-INF; 2], soft(&[1.0, NAN]), None, zero(), N, &[N; 2]),
        ("one missing", pair, soft(&[1.0]), None, plain(), N, &[N; 2]),
        ("all masked, zero", &[-INF; 2], soft(&[0.5, 0.5]), None, zero(), 0.0, &[0.0; 2]),
        ("all masked", &[-INF; 2], soft(&[0.5, 0.5]), None, plain(), N, &[N; 2]),
        ("no mass, all masked", &[-INF; 2], soft(&[0.0, 0.0]), None, plain(), N, &[N; 2]),
        ("no mass, a NaN row", &[NAN, 0.0], soft(&[0.0, 0.0]), None, plain(), N, &[N; 2]),
        ("mass 3", pair, soft(&[1.0, 2.0]), None, plain(), 3.0 * ln2, &[0.5, -0.5]),
        ("sparse NaN", pair, sparse(&[0], &[NAN]), None, plain(), N, &[N; 2]),
        ("index = cols", pair, sparse(&[0, 2], &[0.5, 0.5]), None, plain(), N, &[0.0; 2]),
        ("index = cols, of mass 0", pair, sparse(&[2, 0], &[0.0, 1.0]), None, plain(), N, &[0.0; 2]),
        ("index = cols, and NaN", pair, sparse(&[0, 2], &[NAN, 0.5]), None, plain(), N, &[0.0; 2]),
        ("index −1", pair, sparse(&[-1], &[1.0]), None, plain(), N, &[0.0; 2]),
        ("all left out", &[NAN; 2], sparse(&[IGNORED; 2], &[1.0, NAN]), None, plain(), 0.0, &[0.0; 2]),
        ("one left out", pair, sparse(&[IGNORED, 1], &[NAN, 0.5]), None, plain(), ln2 / 2.0, &[0.25, -0.25]),
        ("twice the same", pair, sparse(&[1, 1], &[0.5, 0.25]), None, plain(), 0.75 * ln2, &[0.375, -0.375]),
    ]);
}

#[test]
fn softcap_judges_raw_logits() {
    let capped = CrossEntropyOptions { softcap: Some(2.0), ..plain() };
    let class = RowTarget::Class;
    let ln2 = 2f64.ln();
    check(&[
        ("+∞ is no number", &[INF, 0.0], class(1), None, capped, N, &[N; 2]),
        ("−∞ is masked", &[-INF, 0.0, 0.0], class(1), None, capped, ln2, &[0.0, -0.5, 0.5]),
        (
            "the target masked: its slope is 0",
            &[-INF, 0.0, 0.0],
            class(0),
            None,
            capped,
            POS,
            &[0.0, 0.5, 0.5],
        ),
        ("all masked", &[-INF; 2], class(0), None, capped, N, &[N; 2]),
        // At both ends the cap gives ±κ, with slope 0.
        (
            "ends of f32",
            &[f32::MAX, f32::MIN],
            class(1),
            None,
            capped,
            (-4f64).exp().ln_1p() + 4.0,
            &[0.0; 2],
        ),
    ]);
}

#[test]
fn focal_loss_at_certainty() {
    // p_y is 1 to the last bit: nothing is left, not even for γ below 1, where (1 − p)^(γ−1) is infinite.
    for focal_gamma in [0.25, 0.5, 1.0, 2.0, 100.0] {
        let options = CrossEntropyOptions { focal_gamma, ..plain() };
        check(&[
            ("certain", &[1000.0, 0.0], RowTarget::Class(0), None, options, 0.0, &[0.0; 2]),
            ("one class", &[3.0], RowTarget::Class(0), None, options, 0.0, &[0.0]),
            ("wrong for certain", &[1000.0, 0.0], RowTarget::Class(1), None, options, 1000.0, &[1.0, -1.0]),
        ]);
    }
}

#[test]
fn log_probabilities() {
    let nll = CrossEntropyOptions { input: Input::LogProbs, ..plain() };
    let nll_zero = CrossEntropyOptions { masked_row: MaskedRow::Zero, ..nll };
    let smooth = CrossEntropyOptions { label_smoothing: 0.5, ..nll };
    // The functions of one row refuse nothing, so these options are ignored.
    let not_for_these =
        CrossEntropyOptions { temperature: 3.0, softcap: Some(1.0), z_loss: 1.0, focal_gamma: 2.0, ..nll };
    let class = RowTarget::Class;
    let not_1: Option<&[f32]> = Some(&[1.0, 0.0]);
    check(&[
        ("taken as given", &[-0.5, -2.0], class(1), None, nll, 2.0, &[0.0, -1.0]),
        ("options of logits", &[-0.5, -2.0], class(1), None, not_for_these, 2.0, &[0.0, -1.0]),
        ("certain: 0, not −0", &[0.0, -INF], class(0), None, nll, 0.0, &[-1.0, 0.0]),
        ("above 0", &[1.5, 0.0], class(0), None, nll, -1.5, &[-1.0, 0.0]),
        ("impossible", &[0.0, -INF], class(1), None, nll, POS, &[0.0, -1.0]),
        ("impossible, weight 0", &[0.0, -INF], class(1), not_1, nll, 0.0, &[0.0; 2]),
        ("smoothing", &[-1.0, -3.0], class(0), None, smooth, 1.5, &[-0.75, -0.25]),
        ("soft", &[-1.0, -3.0], soft(&[0.25, 0.5]), None, nll, 1.75, &[-0.25, -0.5]),
        ("NaN", &[NAN, -3.0], class(1), None, nll, N, &[N; 2]),
        ("+∞", &[INF, -3.0], class(1), None, nll, N, &[N; 2]),
        ("all masked", &[-INF; 2], class(1), None, nll, N, &[N; 2]),
        ("all masked, zero", &[-INF; 2], class(1), None, nll_zero, 0.0, &[0.0; 2]),
        ("ignored", &[NAN; 2], class(IGNORED.into()), None, nll, 0.0, &[0.0; 2]),
    ]);
    assert_eq!(row_loss(&[0.0f32, 0.0], &class(0), None, &not_for_these).z_loss, 0.0);
}

#[test]
fn the_z_loss_and_lse_of_a_row() {
    let of = |row: &[f32], class, masked_row| {
        let options = CrossEntropyOptions { z_loss: 0.5, masked_row, ..plain() };
        let RowLoss { z_loss, lse, .. } = row_loss(row, &RowTarget::Class(class), Some(&[0.0; 2]), &options);
        [z_loss, lse]
    };
    let ln2 = 2f64.ln();
    let neg = f64::NEG_INFINITY;
    let (nan, zero) = (MaskedRow::Nan, MaskedRow::Zero);
    type Case<'a> = (&'a str, &'a [f32], i32, MaskedRow, [f64; 2]);
    let cases: [Case; 9] = [
        ("one class", &[4.0], 0, nan, [8.0, 4.0]),
        ("not by the class's weight", &[0.0; 2], 0, nan, [ln2 * ln2 / 2.0, ln2]),
        ("of logits alone", &[0.0; 2], 7, nan, [ln2 * ln2 / 2.0, ln2]),
        ("a masked class", &[-INF, 3.0], 0, nan, [4.5, 3.0]),
        ("all masked", &[-INF; 2], 0, nan, [N, neg]),
        ("all masked, zero", &[-INF; 2], 0, zero, [0.0, neg]),
        ("+∞", &[INF, 0.0], 0, zero, [N, POS]),
        ("NaN", &[NAN, -INF], 0, zero, [N, N]),
        ("ignored", &[NAN; 2], IGNORED, nan, [0.0, 0.0]),
    ];
    for (name, row, class, masked_row, expected) in cases {
        let found = of(row, class.into(), masked_row);
        assert!(same(&found, &expected), "{name}: {found:?}, expected {expected:?}");
    }
    // With one class p is 1, so the gradient is 2·λ·lse. A row of class weight 0 has it too.
    let options = CrossEntropyOptions { z_loss: 0.5, ..plain() };
    let scale = RowScale { loss: 7.0, z_loss: 3.0 };
    assert_eq!(row_dlogits(&[4.0f32], &RowTarget::Class(0), None, &options, scale), [12.0]);
    assert_eq!(
        row_dlogits(&[0.0f32, 0.0], &RowTarget::Class(0), Some(&[0.0; 2]), &options, scale),
        [1.5 * ln2, 1.5 * ln2]
    );
    // λ = 0 removes the term, whatever lse is; the row's loss is NaN anyway.
    let found = row_loss(&[INF, 0.0], &RowTarget::Class(0), None, &plain());
    assert!(found.z_loss == 0.0 && found.total().is_nan());
}

#[test]
fn no_scale_hides_a_nan_row_or_wakes_an_ignored_one() {
    for scale in [RowScale::ZERO, RowScale { loss: f64::NAN, z_loss: f64::INFINITY }] {
        let of = |row: &[f32], class| row_dlogits(row, &RowTarget::Class(class), None, &plain(), scale);
        assert!(of(&[NAN, 0.0], 0).iter().all(|dx| dx.is_nan()));
        assert_eq!(of(&[NAN, 0.0], IGNORED.into()), [0.0; 2]);
        assert_eq!(of(&[0.0, 0.0], 2), [0.0; 2]);
    }
}

#[test]
fn shares() {
    let options = CrossEntropyOptions { label_smoothing: 0.5, ..plain() };
    let weights: Option<&[f32]> = Some(&[1.0, 2.0]);
    let of = |target| row_shares(&target, weights, 2, &options);
    assert_eq!(of(RowTarget::Class(1)), Some(vec![0.25, 1.5]));
    assert_eq!(of(soft(&[0.5, 0.25])), Some(vec![0.5, 0.75]));
    assert_eq!(of(sparse(&[1, 1], &[0.25, 0.5])), Some(vec![0.25, 1.25]));
    assert_eq!(of(RowTarget::Class(2)), None);
}
