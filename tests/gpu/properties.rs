//! What must hold whatever the logits are, and random batches against the reference.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Cauchy, Distribution, Exp, Normal, Uniform};
use xent::{
    CrossEntropyBuffers, CrossEntropyOptions, LossOutputs, LossRecord, Reduction, Shape, Targets, Tuning,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::{check, check_both, check_loss};
use crate::expected::Expected;
use crate::harness::{Region, gpu, in_pass};
use crate::outputs::{Gradient, Outputs, run_bound};

const COLS: [usize; 9] = [1, 2, 3, 10, 64, 257, 1000, 5003, 32_001];

fn f64s(values: &[f32]) -> impl Iterator<Item = f64> {
    values.iter().map(|&x| f64::from(x))
}

#[test]
fn rows_sum_to_one_and_gradients_to_zero() {
    for cols in COLS {
        let batch = noise("sums", cols as u64, 12, cols);
        let probs = ops().softmax.softmax(&batch.logits, batch.shape).wait().unwrap();
        let log_probs = ops().softmax.log_softmax(&batch.logits, batch.shape).wait().unwrap();
        let (loss, dlogits) =
            ops().loss.loss_and_dlogits(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
        for row in 0..batch.shape.rows {
            let of_row = row * cols..(row + 1) * cols;
            let sum: f64 = f64s(&probs[of_row.clone()]).sum();
            assert!((sum - 1.0).abs() <= 1e-5, "{cols} cols, row {row}: probabilities sum to {sum}");
            let sum: f64 = f64s(&log_probs[of_row.clone()]).map(f64::exp).sum();
            assert!((sum - 1.0).abs() <= 2e-5, "{cols} cols, row {row}: exp of log sums to {sum}");
            let sum: f64 = f64s(&dlogits[of_row]).sum::<f64>() * loss.weight;
            assert!(sum.abs() <= 1e-5, "{cols} cols, row {row}: gradient sums to {sum}");
        }
    }
}

#[test]
fn log_softmax_softmax_and_loss_agree() {
    for cols in COLS {
        let batch = noise("agree", cols as u64, 12, cols);
        let probs = ops().softmax.softmax(&batch.logits, batch.shape).wait().unwrap();
        let log_probs = ops().softmax.log_softmax(&batch.logits, batch.shape).wait().unwrap();
        let losses = ops().loss.row_losses(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
        for (i, (p, log_p)) in f64s(&probs).zip(f64s(&log_probs)).enumerate() {
            assert!((p.ln() - log_p).abs() <= 4e-5, "{cols} cols, value {i}: ln {p:e}, {log_p}");
        }
        for (row, &target) in batch.targets.iter().enumerate().filter(|(_, target)| **target >= 0) {
            let (loss, log_p) = (losses[row], log_probs[row * cols + target as usize]);
            assert!((loss + log_p).abs() <= 1e-5, "{cols} cols, row {row}: loss {loss}, log {log_p}");
        }
    }
}

/// Logits on a grid, so that the shift is exact and only the answers' own rounding may differ.
#[test]
fn a_shift_changes_nothing() {
    let mut rng = StdRng::seed_from_u64(5);
    for cols in COLS {
        let rows = 8;
        let logits: Vec<f32> =
            (0..rows * cols).map(|_| rng.random_range(-8192..=8192) as f32 / 1024.0).collect();
        let targets: Vec<i32> = (0..rows).map(|_| rng.random_range(0..cols as i32)).collect();
        let batch = Batch::dense("unshifted", cols, logits.clone(), targets.clone());
        let plain = run_bound(gpu(), ops(), &batch, (256, 256));
        for shift in [-4096.0f32, -1.0, 0.5, 4096.0] {
            let shifted = logits.iter().map(|x| x + shift).collect();
            let batch = Batch::dense("shifted", cols, shifted, targets.clone());
            let shifted = run_bound(gpu(), ops(), &batch, (256, 256));
            // x − max is the same f32, and with it every bit behind it.
            assert!(plain.probs == shifted.probs, "{cols} cols, shift {shift}: softmax");
            assert!(plain.log_probs == shifted.log_probs, "{cols} cols, shift {shift}: log_softmax");
            assert!(plain.row_losses == shifted.row_losses, "{cols} cols, shift {shift}: loss");
            assert!(plain.dlogits == shifted.dlogits, "{cols} cols, shift {shift}: dlogits");
            assert!(plain.argmax == shifted.argmax, "{cols} cols, shift {shift}: argmax");
        }
    }
}

#[test]
fn permuted_classes_permute_the_answer() {
    for cols in COLS {
        let batch = noise("permuted", cols as u64 + 1, 6, cols);
        let reversed = Batch {
            logits: batch.logits.chunks(cols).flat_map(|row| row.iter().rev().copied()).collect(),
            targets: batch.targets.iter().map(|&t| if t < 0 { t } else { cols as i32 - 1 - t }).collect(),
            ..batch.clone()
        };
        let mut outputs = run_bound(gpu(), ops(), &reversed, (256, 256));
        for values in [&mut outputs.probs, &mut outputs.log_probs, &mut outputs.dlogits] {
            values.as_mut().unwrap().chunks_mut(cols).for_each(<[u32]>::reverse);
        }
        for classes in [&mut outputs.argmax, &mut outputs.row_argmax] {
            for class in classes.as_mut().unwrap().iter_mut().filter(|class| **class != u32::MAX) {
                *class = cols as u32 - 1 - *class;
            }
        }
        // Ties are rare enough in noise not to occur here.
        check(&batch, &Expected::of(&batch, &ops().options), &outputs, ops());
    }
}

#[test]
fn two_classes_are_a_sigmoid_of_the_difference() {
    let differences: Vec<f32> = (-400..=400).map(|i| i as f32 * 0.2).collect();
    let logits: Vec<f32> = differences.iter().flat_map(|d| [d + 1.5, 1.5]).collect();
    let shape = Shape::new(differences.len(), 2);
    let probs = ops().softmax.softmax(&logits, shape).wait().unwrap();
    for (row, pair) in logits.chunks(2).enumerate() {
        let difference = f64::from(pair[0]) - f64::from(pair[1]);
        let sigmoid = 1.0 / (1.0 + (-difference).exp());
        let p = f64::from(probs[2 * row]);
        assert!((p - sigmoid).abs() <= xent::bounds::prob_bound(sigmoid), "{difference}: {p:e}, {sigmoid:e}");
    }
}

/// Parts of a batch, each over the whole batch's count, add up to it, gradient and all.
#[test]
fn parts_add_up_to_the_whole() {
    let batch = noise("whole", 3, 90, 61);
    let (whole, whole_dlogits) =
        ops().loss.loss_and_dlogits(&batch.logits, batch.classes(), batch.shape).wait().unwrap();
    let reduction = Reduction::MeanOver(whole.counted as f32);
    let parts = Ops::new(gpu(), CrossEntropyOptions { reduction, ..Default::default() });
    let (mut value, mut dlogits) = (0.0, Vec::new());
    for (logits, targets) in batch.logits.chunks(61 * 13).zip(batch.targets.chunks(13)) {
        let shape = Shape::new(targets.len(), 61);
        let (part, gradient) =
            parts.loss.loss_and_dlogits(logits, Targets::Classes(targets), shape).wait().unwrap();
        value += part.value;
        dlogits.extend(gradient);
    }
    assert!((value - whole.value).abs() <= 1e-6 * whole.value, "{value}, {}", whole.value);
    for (i, (part, whole)) in f64s(&dlogits).zip(f64s(&whole_dlogits)).enumerate() {
        assert!((part - whole).abs() <= 2e-5 * whole.abs() + 1e-10, "value {i}: {part:e}, {whole:e}");
    }
}

/// The mean that the device sums in f32, of more blocks than there are invocations to merge them, is right to 1e-6.
#[test]
fn the_mean_of_a_million_rows() {
    let batch = noise("a million rows", 4, 1_000_000, 2);
    let expected = Expected::of(&batch, &ops().options);
    let logits = Region::of_f32(gpu(), 0, &batch.logits);
    let (targets, losses) = (Region::of_i32(gpu(), &batch.targets), Region::unwritten(gpu(), 1_000_000));
    let loss = Region::unwritten(gpu(), 8);
    let to = CrossEntropyBuffers {
        outputs: LossOutputs {
            loss: Some(loss.binding()),
            row_losses: Some(losses.binding()),
            ..Default::default()
        },
        ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
    };
    let ops = ops().tuned(Some(Tuning::fixed(1, 1)));
    let bound = ops.loss.bind(batch.shape, &to).unwrap();
    in_pass(gpu(), |pass| bound.encode(pass));
    let record: LossRecord = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&loss.read(gpu())));
    let (mean, value) = (f64::from(record.value), expected.value());
    assert!((mean - value).abs() <= 1e-6 * value, "{mean}, {value}");
    let row_losses = Some(losses.read(gpu()));
    let outputs = Outputs { path: "bound", loss: Some(record), row_losses, ..Default::default() };
    check(&batch, &expected, &outputs, &ops);
}

/// Random shapes of random distributions, each with the plan's tuning and another.
#[test]
fn random_batches_against_the_reference() {
    type Draw = fn(&mut StdRng) -> f32;
    let distributions: [(&str, Draw); 7] = [
        ("normal", |rng| Normal::new(0.0, 1.0).unwrap().sample(rng)),
        ("wide", |rng| Normal::new(-3.0, 30.0).unwrap().sample(rng)),
        ("flat", |rng| Uniform::new(-1e-3, 1e-3).unwrap().sample(rng)),
        ("heavy tails", |rng| Cauchy::new(0.0, 2.0).unwrap().sample(rng)),
        ("peaky", |rng| if rng.random_range(0..50) == 0 { 20.0 } else { Exp::new(1.0).unwrap().sample(rng) }),
        ("levels", |rng| rng.random_range(0..3) as f32),
        (
            "masked",
            |rng| if rng.random_range(0..3) == 0 { f32::NEG_INFINITY } else { rng.random_range(-9.0..9.0) },
        ),
    ];
    let tunings =
        [None, None, Some(Tuning::fixed(1, 1)), Some(Tuning::fixed(32, 1)), Some(Tuning::fixed(8, 16))];
    for seed in 0..63u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (name, draw) = distributions[seed as usize % distributions.len()];
        let cols = match rng.random_range(0..4) {
            0 => rng.random_range(1..40),
            1 => rng.random_range(40..400),
            2 => rng.random_range(400..3000),
            _ => rng.random_range(3000..9000),
        };
        let rows = rng.random_range(1..=(40_000 / cols).clamp(2, 300));
        let stride = cols + rng.random_range(0..9usize);
        let logits = (0..rows * cols).map(|_| draw(&mut rng)).collect();
        let targets = (0..rows)
            .map(|_| if rng.random_range(0..9) == 0 { -100 } else { rng.random_range(0..cols as i32) });
        let targets = targets.collect();
        let batch = Batch::dense(&format!("{name}, seed {seed}"), cols, logits, targets).with_stride(stride);
        let tuning = tunings[rng.random_range(0..tunings.len())];
        // All operations with the plan's own tuning, the loss with the others.
        let ops = ops().tuned(tuning);
        if tuning.is_none() {
            check_both(gpu(), &ops, &batch);
        } else {
            check_loss(gpu(), &ops, &batch, Gradient::To);
        }
    }
}
