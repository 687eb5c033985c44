//! The gradient against finite differences of the loss: each option alone with each kind of target, then random
//! combinations.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::inputs::{CrossEntropyInputs, RowInputs};
use crate::options::{Input, Reduction, Sequences};
use crate::reference::cross_entropy::{RowScale, dlogits, loss, row_dlogits, row_loss, row_losses};
use crate::reference::testing::{GRID, grid_logits};
use crate::shape::Shape;
use crate::targets::{TargetKind, Targets};

/// The derivative of `loss` with respect to one logit, from six neighbours. The error is h⁶/140 · seventh derivative,
/// about 1e-16 here, plus rounding of 1e-16 / h, about 1e-13. The steps are exact in f32, so the public function can be
/// differentiated directly.
fn derivative(logits: &[f32], at: usize, loss: impl Fn(&[f32]) -> f64) -> f64 {
    const STEP: f32 = 8.0 * GRID;
    let moved = |steps: f32| {
        let mut logits = logits.to_vec();
        logits[at] += steps * STEP;
        loss(&logits)
    };
    let difference = |steps: f32| moved(steps) - moved(-steps);
    (45.0 * difference(1.0) - 9.0 * difference(2.0) + difference(3.0)) / (60.0 * f64::from(STEP))
}

/// Whether a gradient's value is the derivative of a loss of about `size`, up to rounding.
fn agrees(found: f64, expected: f64, size: f64) -> bool {
    (found - expected).abs() <= 1e-12 * (1.0 + size)
}

/// A batch with all possible inputs.
#[derive(Clone, Debug)]
struct Batch {
    shape: Shape,
    logits: Vec<f32>,
    classes: Vec<i32>,
    entries: usize,
    indices: Vec<i32>,
    sparse_probs: Vec<f32>,
    soft_probs: Vec<f32>,
    class_weights: Vec<f32>,
    row_weights: Vec<f32>,
    row_mask: Vec<bool>,
    row_upstream: Vec<f32>,
}

impl Batch {
    fn new(seed: u64, shape: Shape) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (rows, cols) = (shape.rows, shape.cols as i32);
        // About every fourth row is left out, but never the first.
        let mut classes: Vec<i32> = (0..rows)
            .map(|_| if rng.random_range(0..4) == 0 { IGNORED } else { rng.random_range(0..cols) })
            .collect();
        classes[0] = classes[0].max(0);
        let entries = 3;
        let mut indices: Vec<i32> = (0..rows * entries)
            .map(|_| if rng.random_range(0..4) == 0 { IGNORED } else { rng.random_range(0..cols) })
            .collect();
        indices[0] = indices[0].max(0);
        let mut probs = |len: usize| -> Vec<f32> { (0..len).map(|_| rng.random_range(0.0..1.0)).collect() };
        let (sparse_probs, soft_probs) = (probs(rows * entries), probs(shape.len()));
        let (mut class_weights, mut row_weights) = (probs(shape.cols), probs(rows));
        let row_mask = probs(rows).iter().map(|&at| at < 0.8).collect();
        let row_upstream = probs(rows).iter().map(|&at| 4.0 * at - 2.0).collect();
        if shape.cols > 1 {
            class_weights[shape.cols - 1] = 0.0;
        }
        if rows > 1 {
            row_weights[rows - 1] = 0.0;
        }
        let logits = grid_logits(seed, shape.len());
        Self {
            shape,
            logits,
            classes,
            entries,
            indices,
            sparse_probs,
            soft_probs,
            class_weights,
            row_weights,
            row_mask,
            row_upstream,
        }
    }

    fn targets(&self) -> [(&'static str, Targets<'_>); 4] {
        let (indices, probs, entries) = (&self.indices, &self.sparse_probs, self.entries);
        [
            ("classes", Targets::Classes(&self.classes)),
            ("classes as u32", Targets::ClassesU32(bytemuck::cast_slice(&self.classes))),
            ("soft", Targets::Soft(&self.soft_probs)),
            ("sparse", Targets::Sparse { indices, probs, entries }),
        ]
    }

    /// Compares [`dlogits`] with the derivative of [`loss`], or with that of the weighted row losses if the rows have
    /// upstream gradients.
    fn check(&self, name: &str, inputs: CrossEntropyInputs<'_>, options: &CrossEntropyOptions) {
        let of_batch = |logits: &[f32]| {
            let upstream = f64::from(inputs.rows.upstream);
            match (inputs.rows.row_upstream, options.reduction) {
                (None, _) => upstream * loss(logits, inputs, self.shape, options).unwrap(),
                (Some(of_rows), reduction) => {
                    let rows = row_losses(logits, inputs, self.shape, options).unwrap();
                    let sum: f64 = rows.iter().zip(of_rows).map(|(loss, &g)| loss * f64::from(g)).sum();
                    upstream * sum / reduction.denominator(f64::NAN)
                }
            }
        };
        let size = row_losses(&self.logits, inputs, self.shape, options).unwrap().iter().sum::<f64>().abs();
        let gradient = dlogits(&self.logits, inputs, self.shape, options).unwrap();
        for (at, &found) in gradient.iter().enumerate() {
            let expected = derivative(&self.logits, at, of_batch);
            let error = (found - expected).abs();
            assert!(
                agrees(found, expected, size),
                "{name}, {:?}, {options:?}\n{self:?}\nlogit {at}: {found}, expected {expected}, off by {error:e}",
                self.shape
            );
        }
    }
}

fn shapes() -> [Shape; 7] {
    [
        Shape::new(1, 1),
        Shape::new(1, 2),
        Shape::new(5, 3),
        Shape::new(6, 4).row_stride(7),
        Shape::new(3, 17).row_stride(20),
        Shape::nchw(2, 5, 3),
        Shape::nchw(1, 3, 4).row_stride(13),
    ]
}

/// Options that each set one option.
fn one_option_each() -> Vec<CrossEntropyOptions> {
    let mut all = vec![plain()];
    all.extend([0.1, 0.5, 1.0].map(|label_smoothing| CrossEntropyOptions { label_smoothing, ..plain() }));
    all.extend([0.7, 3.0].map(|temperature| CrossEntropyOptions { temperature, ..plain() }));
    all.extend([3.0, 30.0].map(|cap| CrossEntropyOptions { softcap: Some(cap), ..plain() }));
    all.extend([1e-4, 0.5].map(|z_loss| CrossEntropyOptions { z_loss, ..plain() }));
    all.extend([0.5, 1.0, 2.0, 3.5].map(|focal_gamma| CrossEntropyOptions { focal_gamma, ..plain() }));
    all.extend(
        [Reduction::Sum, Reduction::MeanOver(2.5)]
            .map(|reduction| CrossEntropyOptions { reduction, ..plain() }),
    );
    all.push(CrossEntropyOptions { input: Input::LogProbs, ..plain() });
    for sequences in [Sequences::shifted(3, 1), Sequences { from: 1, to: 2, ..Sequences::new(2) }] {
        all.push(CrossEntropyOptions { sequences: Some(sequences), ..plain() });
    }
    all
}

#[test]
fn of_each_option_alone() {
    let mut checked = 0;
    for (seed, shape) in shapes().into_iter().enumerate() {
        let batch = Batch::new(seed as u64, shape);
        for (kind, targets) in batch.targets() {
            for options in one_option_each() {
                let bare = CrossEntropyInputs::new(targets);
                let is_allowed = bare.check(shape, &options).is_ok_and(|weight| !weight.is_empty());
                if !is_allowed {
                    continue;
                }
                batch.check(kind, bare, &options);
                checked += 1;
            }
            for (name, inputs) in [
                ("class weights", CrossEntropyInputs::new(targets).class_weights(&batch.class_weights)),
                ("row weights", CrossEntropyInputs::new(targets).row_weights(&batch.row_weights)),
                ("mask", CrossEntropyInputs::new(targets).row_mask(&batch.row_mask)),
                ("upstream", CrossEntropyInputs::new(targets).upstream(-2.5)),
            ] {
                if !inputs.check(shape, &plain()).unwrap().is_empty() {
                    batch.check(&format!("{kind}, {name}"), inputs, &plain());
                    checked += 1;
                }
            }
            let sum = CrossEntropyOptions { reduction: Reduction::Sum, ..plain() };
            let inputs = CrossEntropyInputs::new(targets).row_upstream(&batch.row_upstream);
            batch.check(&format!("{kind}, row upstream"), inputs, &sum);
        }
    }
    assert!(checked > 400, "{checked}");
}

#[test]
fn of_random_combinations() {
    let mut checked = 0;
    for seed in 100..500 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut pick = |of: usize| rng.random_range(0..of);
        let mut batch = Batch::new(seed, shapes()[pick(7)]);
        let shape = batch.shape;
        let options = CrossEntropyOptions {
            reduction: [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(2.5)][pick(3)],
            label_smoothing: [0.0, 0.1, 0.75, 1.0][pick(4)],
            temperature: [1.0, 0.7, 3.0][pick(3)],
            softcap: [None, Some(3.0), Some(30.0)][pick(3)],
            z_loss: [0.0, 1e-4, 0.5][pick(3)],
            focal_gamma: [0.0, 0.5, 1.0, 2.0, 3.5][pick(5)],
            sequences: [None, Some(Sequences::shifted(4, 1)), Some(Sequences { to: 2, ..Sequences::new(3) })]
                [pick(3)],
            ..plain()
        };
        let chosen: [usize; 6] = std::array::from_fn(|_| pick(2));
        let kind = pick(4);
        // A class of weight 0 may be masked: it has no share, whatever the target is. −∞ stays −∞ when a step is added.
        if chosen[0] == 1 && shape.cols > 1 {
            for row in 0..shape.rows {
                if pick(2) == 1 {
                    batch.logits[shape.row_start(row) + (shape.cols - 1) * shape.inner] = -INF;
                }
            }
        }
        let (name, targets) = batch.targets()[kind];
        let is_mean = options.reduction == Reduction::Mean;
        let inputs = CrossEntropyInputs {
            class_weights: (chosen[0] == 1).then_some(&batch.class_weights),
            rows: RowInputs {
                row_weights: (chosen[1] == 1).then_some(&batch.row_weights),
                row_mask: (chosen[2] == 1).then_some(&batch.row_mask),
                upstream: if chosen[3] == 1 { -1.5 } else { 1.0 },
                // The row losses of a mean are not available one by one: see `row_upstream_of_a_mean`.
                row_upstream: (chosen[4] == 1 && !is_mean).then_some(&batch.row_upstream),
            },
            ..targets.into()
        };
        let options = if targets.kind() == TargetKind::Classes {
            options
        } else {
            CrossEntropyOptions {
                focal_gamma: 0.0,
                sequences: options.sequences.map(|_| Sequences::new(3)),
                ..options
            }
        };
        if inputs.check(shape, &options).unwrap().is_empty() {
            continue;
        }
        batch.check(name, inputs, &options);
        checked += 1;
    }
    assert!(checked > 300, "{checked}");
}

/// A row's upstream gradient scales its part of a mean's gradient; the denominators stay the same.
#[test]
fn row_upstream_of_a_mean() {
    let shape = Shape::nchw(2, 5, 3);
    let batch = Batch::new(7, shape);
    let options = CrossEntropyOptions { z_loss: 0.5, label_smoothing: 0.1, ..plain() };
    for (name, targets) in batch.targets() {
        let bare = CrossEntropyInputs::new(targets).class_weights(&batch.class_weights);
        let without = dlogits(&batch.logits, bare, shape, &options).unwrap();
        let with = dlogits(&batch.logits, bare.row_upstream(&batch.row_upstream), shape, &options).unwrap();
        for row in 0..shape.rows {
            for (with, without) in shape.row(&with, row).zip(shape.row(&without, row)) {
                let expected = f64::from(batch.row_upstream[row]) * without;
                assert!((with - expected).abs() <= 1e-15, "{name}, row {row}: {with}, expected {expected}");
            }
        }
    }
}

#[test]
fn wrong_gradients_are_told() {
    let options = CrossEntropyOptions {
        label_smoothing: 0.1,
        z_loss: 0.01,
        focal_gamma: 2.0,
        softcap: Some(10.0),
        ..plain()
    };
    let row = grid_logits(1, 5);
    let weights: Option<&[f32]> = Some(&[1.0, 0.5, 2.0, 0.25, 3.0]);
    let of = |class, options: &CrossEntropyOptions| {
        row_dlogits(&row, &RowTarget::Class(class), weights, options, RowScale::ONE)
    };
    let right = of(2, &options);
    let total = |x: &[f32]| row_loss(x, &RowTarget::Class(2), weights, &options).total();
    let derivatives: Vec<f64> = (0..5).map(|at| derivative(&row, at, total)).collect();
    let all_agree = |gradient: &[f64]| {
        gradient.iter().zip(&derivatives).all(|(&found, &expected)| agrees(found, expected, total(&row)))
    };
    assert!(all_agree(&right));

    let swapped: Vec<f64> = right.iter().rev().copied().collect();
    let scaled: Vec<f64> = right.iter().map(|dx| dx * (1.0 + 1e-9)).collect();
    let mut one_off = right.clone();
    one_off[4] += 1e-10;
    let cases = [
        ("swapped", swapped),
        ("scaled by 1 + 1e-9", scaled),
        ("one off by 1e-10", one_off),
        ("zeros", vec![0.0; 5]),
        ("NaN", vec![f64::NAN; 5]),
        ("other target", of(3, &options)),
        ("other smoothing", of(2, &CrossEntropyOptions { label_smoothing: 0.100_001, ..options })),
        ("other z-loss", of(2, &CrossEntropyOptions { z_loss: 0.010_000_1, ..options })),
        ("other γ", of(2, &CrossEntropyOptions { focal_gamma: 2.000_001, ..options })),
        ("other softcap", of(2, &CrossEntropyOptions { softcap: Some(10.000_01), ..options })),
        ("other temperature", of(2, &CrossEntropyOptions { temperature: 1.000_001, ..options })),
    ];
    for (name, wrong) in cases {
        assert!(!all_agree(&wrong), "{name}");
    }
}
