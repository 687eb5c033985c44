//! Tests: what must hold of a loss and its gradient whatever the logits are.

use approx::{assert_abs_diff_eq, assert_relative_eq};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cross_entropy::{dlogits, loss, row_dlogits, row_loss};
use super::testing::{GRID, grid_logits};
use crate::options::{CrossEntropyOptions, Reduction};
use crate::shape::Shape;
use crate::targets::Targets;

const IGNORED: i32 = -100;

/// The derivative of `loss` by one logit, from four neighbours (error h⁴/30 · fifth derivative: about 1e-14
/// here). The steps h are exact in f32, so that the public function can be differentiated as it is.
fn derivative(logits: &[f32], at: usize, loss: impl Fn(&[f32]) -> f64) -> f64 {
    let moved = |steps: f32| {
        let mut logits = logits.to_vec();
        logits[at] += steps * GRID;
        loss(&logits)
    };
    let h = f64::from(GRID);
    (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * h)
}

/// Targets of which every fourth or so is ignored; never the first.
fn random_targets(seed: u64, shape: Shape) -> Vec<i32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut target = |row| match rng.random_range(0..4) {
        0 if row > 0 => IGNORED,
        _ => rng.random_range(0..shape.cols as i32),
    };
    (0..shape.rows).map(&mut target).collect()
}

#[test]
fn the_gradient_is_the_derivative_of_the_loss() {
    let shapes = [
        Shape::new(1, 1),
        Shape::new(1, 2),
        Shape::new(5, 3),
        Shape::new(6, 4).row_stride(7),
        Shape::new(3, 17).row_stride(20),
    ];
    for (seed, shape) in (0..5).flat_map(|seed| shapes.map(|shape| (seed, shape))) {
        let mut logits = grid_logits(seed, shape.len());
        let targets = random_targets(seed, shape);
        // One masked class: −∞ stays −∞ however it is moved.
        if shape.cols > 2 {
            logits[(targets[0] as usize + 1) % shape.cols] = f32::NEG_INFINITY;
        }
        let targets = Targets::Classes(&targets);
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(2.5)] {
            let options = CrossEntropyOptions { reduction, ..Default::default() };
            let gradient = dlogits(&logits, targets, shape, &options).unwrap();
            for at in 0..shape.len() {
                let expected = derivative(&logits, at, |x| loss(x, targets, shape, &options).unwrap());
                let found = gradient[at];
                let error = (found - expected).abs();
                let case = format!("seed {seed}, {shape:?}, {reduction:?}, logit {at}");
                assert!(error <= 5e-11, "{case}: {found}, expected {expected} ± 5e-11, off by {error:e}");
            }
        }
    }
}

#[test]
fn finite_differences_tell_a_wrong_gradient() {
    let options = CrossEntropyOptions::default();
    let row = grid_logits(1, 5);
    let right = row_dlogits(&row, 2, 1.0, &options);
    let derivatives: Vec<f64> = (0..5).map(|at| derivative(&row, at, |x| row_loss(x, 2, &options))).collect();
    let agrees = |gradient: &[f64]| gradient.iter().zip(&derivatives).all(|(a, b)| (a - b).abs() <= 5e-11);
    assert!(agrees(&right));

    let swapped: Vec<f64> = right.iter().rev().copied().collect();
    let scaled: Vec<f64> = right.iter().map(|dx| dx * (1.0 + 1e-8)).collect();
    let other_target = row_dlogits(&row, 3, 1.0, &options);
    for (name, wrong) in [
        ("other target", &other_target),
        ("swapped", &swapped),
        ("scaled by 1 + 1e-8", &scaled),
        ("zeros", &vec![0.0; 5]),
        ("NaN", &vec![f64::NAN; 5]),
    ] {
        assert!(!agrees(wrong), "{name}");
    }
}

#[test]
fn gradient_rows_sum_to_zero_and_upstream_scales_them() {
    let options = CrossEntropyOptions::default();
    for (seed, cols) in [1, 2, 3, 17, 256].into_iter().enumerate() {
        let row = grid_logits(seed as u64, cols);
        let target = cols as i32 / 2;
        let dlogits = row_dlogits(&row, target, 1.0, &options);
        assert_abs_diff_eq!(dlogits.iter().sum::<f64>(), 0.0, epsilon = 1e-14);
        let scaled = row_dlogits(&row, target, -2.0, &options);
        assert!(dlogits.iter().zip(&scaled).all(|(dx, scaled)| *scaled == -2.0 * dx), "{cols} cols");
    }
}

#[test]
fn no_offset_loses_the_loss() {
    let options = CrossEntropyOptions::default();
    // Multiples of 8, which f32 still resolves at 1e8.
    let row = [16.0f32, 8.0, 0.0, -8.0];
    for offset in [1e4f32, 1e5, 1e6, 1e7, 1e8, -1e4, -1e5, -1e6, -1e7, -1e8] {
        let shifted = row.map(|x| x + offset);
        for target in 0..4 {
            assert_eq!(row_loss(&shifted, target, &options), row_loss(&row, target, &options), "{offset}");
            let (a, b) =
                (row_dlogits(&shifted, target, 1.0, &options), row_dlogits(&row, target, 1.0, &options));
            assert_eq!(a, b, "{offset}");
        }
    }
}

#[test]
fn permuted_classes_permute_the_gradient_and_keep_the_loss() {
    let options = CrossEntropyOptions::default();
    let row = grid_logits(3, 40);
    let reversed: Vec<f32> = row.iter().rev().copied().collect();
    for target in [0, 11, 39] {
        let of_reversed = row_loss(&reversed, 39 - target, &options);
        assert_relative_eq!(of_reversed, row_loss(&row, target, &options), max_relative = 1e-13);
        let mut dlogits = row_dlogits(&reversed, 39 - target, 1.0, &options);
        dlogits.reverse();
        assert_abs_diff_eq!(dlogits[..], row_dlogits(&row, target, 1.0, &options)[..], epsilon = 1e-15);
    }
}

#[test]
fn permuted_rows_permute_the_gradient() {
    let (shape, options) = (Shape::new(2, 3), CrossEntropyOptions::default());
    let row_pair = grid_logits(4, 6);
    let swapped = [&row_pair[3..], &row_pair[..3]].concat();
    let gradient = dlogits(&row_pair, Targets::Classes(&[2, 0]), shape, &options).unwrap();
    let of_swapped = dlogits(&swapped, Targets::Classes(&[0, 2]), shape, &options).unwrap();
    assert_eq!([&of_swapped[3..], &of_swapped[..3]].concat(), gradient);
}

#[test]
fn two_classes_are_a_logistic_loss() {
    let options = CrossEntropyOptions::default();
    for difference in [-30.0f32, -2.0, 0.0, 0.5, 30.0] {
        // ln(1 + exp(−d)), and its derivative sigmoid(d) − 1.
        let d = f64::from(difference);
        let row = [difference, 0.0];
        assert_abs_diff_eq!(row_loss(&row, 0, &options), (-d).exp().ln_1p(), epsilon = 1e-14);
        let expected = 1.0 / (1.0 + (-d).exp()) - 1.0;
        assert_abs_diff_eq!(row_dlogits(&row, 0, 1.0, &options)[0], expected, epsilon = 1e-15);
    }
}
