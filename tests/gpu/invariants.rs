//! What must hold whatever the logits are, with options on.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xent::{CrossEntropyOptions, Input, Reduction, TargetKind, Tuning, wgpu};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{device_of_bindings, gpu, tunings};
use crate::outputs::{Gradient, Outputs, run_host_loss, run_loss};

const KINDS: [TargetKind; 3] = [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 4 }];

fn run(ops: &Ops, batch: &Batch) -> Outputs {
    run_loss(gpu(), ops, batch, (256, 256), Gradient::To)
}

fn floats(bits: &Option<Vec<u32>>) -> Vec<f64> {
    bits.as_ref().unwrap().iter().map(|&bits| f64::from(f32::from_bits(bits))).collect()
}

/// Before the cap's slope a row of the gradient sums to 2·v·λ·lse / T: to 0 without z-loss.
#[test]
fn gradient_rows_sum_to_the_z_loss_own() {
    for (z_loss, temperature) in [(0.0, 1.0), (0.0, 0.5), (0.1, 1.0), (1e-3, 2.0)] {
        let options = CrossEntropyOptions { label_smoothing: 0.2, temperature, z_loss, ..Default::default() };
        let op = Ops::new(gpu(), options);
        for kind in KINDS {
            for cols in [1, 2, 7, 130, 1001] {
                let batch = noise("sums", cols as u64, 12, cols).with_targets(kind, 1).with_weights(2);
                let expected = Expected::of(&batch, &options);
                let outputs = run(&op, &batch);
                let (dlogits, lse) = (floats(&outputs.dlogits), floats(&outputs.row_lse));
                for row in 0..12 {
                    let of_row = &dlogits[row * cols..][..cols];
                    let sum = of_row.iter().sum::<f64>();
                    let bound: f64 = expected.dlogits_bounds[row * cols..][..cols].iter().sum();
                    let weight = f64::from(batch.given.row_weights.as_ref().unwrap()[row]);
                    let v = weight / expected.weight.row_weight;
                    let v = if expected.is_empty_mean() { 0.0 } else { v };
                    let own = 2.0 * v * f64::from(z_loss) * lse[row] / f64::from(temperature);
                    let right = (sum - own).abs() <= bound + 1e-5 * own.abs();
                    assert!(right, "{}, {options:?}, row {row}: {sum:e}, expected {own:e}", batch.name);
                }
            }
        }
    }
}

/// Logits on a grid, so that the shift is exact. The z-loss knows of it, and a cap; nothing else does.
#[test]
fn a_shift_changes_nothing() {
    let op =
        Ops::new(gpu(), CrossEntropyOptions { label_smoothing: 0.1, temperature: 2.0, ..Default::default() });
    let focal = Ops::new(gpu(), CrossEntropyOptions { focal_gamma: 2.0, ..Default::default() });
    let mut rng = StdRng::seed_from_u64(3);
    for cols in [1, 2, 3, 17, 260, 1000] {
        for kind in KINDS {
            let mut batch = noise("unshifted", cols as u64, 8, cols).with_targets(kind, 1).with_weights(2);
            batch.logits.iter_mut().for_each(|x| *x = rng.random_range(-8192..=8192) as f32 / 1024.0);
            for op in [&op, &focal].into_iter().take(if kind == TargetKind::Classes { 2 } else { 1 }) {
                let plain = run(op, &batch);
                for shift in [-4096.0f32, -1.0, 0.5, 4096.0] {
                    let mut shifted = batch.clone();
                    shifted.logits.iter_mut().for_each(|x| *x += shift);
                    let shifted = run(op, &shifted);
                    assert!(plain.row_losses == shifted.row_losses, "{}, shift {shift}: loss", batch.name);
                    assert!(plain.dlogits == shifted.dlogits, "{}, shift {shift}: dlogits", batch.name);
                }
            }
        }
    }
}

#[test]
fn permuted_classes_permute_the_answer() {
    let options =
        CrossEntropyOptions { label_smoothing: 0.1, softcap: Some(9.0), z_loss: 0.1, ..Default::default() };
    let op = Ops::new(gpu(), options);
    for cols in [2, 3, 10, 257] {
        for kind in KINDS {
            let batch = noise("permuted", cols as u64, 6, cols).with_targets(kind, 4).with_weights(5);
            let mut reversed = batch.clone();
            let mirror = |class: &mut i32| {
                if *class >= 0 {
                    *class = cols as i32 - 1 - *class;
                }
            };
            reversed.logits.chunks_mut(cols).for_each(<[f32]>::reverse);
            reversed.targets.iter_mut().for_each(mirror);
            reversed.given.class_weights.as_mut().unwrap().reverse();
            if let Some(soft) = &mut reversed.given.soft {
                soft.chunks_mut(cols).for_each(<[f32]>::reverse);
            }
            if let Some(sparse) = &mut reversed.given.sparse {
                sparse.indices.iter_mut().for_each(mirror);
            }
            let mut outputs = run(&op, &reversed);
            outputs.dlogits.as_mut().unwrap().chunks_mut(cols).for_each(<[u32]>::reverse);
            let classes = outputs.row_argmax.as_mut().unwrap();
            classes
                .iter_mut()
                .filter(|class| **class != u32::MAX)
                .for_each(|class| *class = cols as u32 - 1 - *class);
            check(&batch, &Expected::of(&batch, &options), &outputs, &op);
        }
    }
}

/// One-hot probabilities are the class: for sums, and for means without class weights.
#[test]
fn one_hot_targets_are_classes() {
    for (reduction, weighs) in [(Reduction::Sum, true), (Reduction::Mean, false)] {
        let options = CrossEntropyOptions { label_smoothing: 0.1, reduction, ..Default::default() };
        let op = Ops::new(gpu(), options);
        for cols in [1, 2, 5, 64, 333] {
            let mut batch = noise("one-hot", cols as u64, 12, cols);
            if weighs {
                batch = batch.with_weights(3);
            }
            batch.targets.iter_mut().for_each(|target| *target = (*target).max(0));
            let mut soft = batch.clone();
            let one_hot =
                |&target: &i32| (0..cols).map(move |col| f32::from(u8::from(col == target as usize)));
            soft.given.soft = Some(batch.targets.iter().flat_map(one_hot).collect());
            // A soft mean does not divide by class weights: the record's weight is another.
            let outputs = Outputs { loss: None, ..run(&op, &soft) };
            check(&batch, &Expected::of(&batch, &options), &outputs, &op);
            let expected = Expected::of(&batch, &options);
            let value = f64::from(run(&op, &soft).loss.unwrap().value);
            assert!(
                (value - expected.value()).abs() <= expected.value_bound(),
                "{value}, {}",
                expected.value()
            );
        }
    }
}

/// Options at their neutral values are none: the plain bits, not nearly so.
#[test]
fn neutral_values_change_no_bit() {
    let batch = noise("neutral", 4, 40, 133);
    let plain = run(ops(), &batch);
    let neutral = CrossEntropyOptions {
        temperature: 1.0,
        label_smoothing: -0.0,
        z_loss: -0.0,
        focal_gamma: -0.0,
        ..Default::default()
    };
    assert!(run(&ops().with(neutral), &batch) == plain, "−0");
    let mut ones = batch.clone();
    ones.given.row_weights = Some(vec![1.0; 40]);
    ones.given.class_weights = Some(vec![1.0; 133]);
    ones.given.row_upstream = Some(vec![1.0; 40]);
    ones.given.upstream = Some(1.0);
    ones.given.row_mask = Some(vec![true; 40]);
    assert!(run(ops(), &ones) == plain, "weights of 1");
    let least = CrossEntropyOptions { label_smoothing: f32::MIN_POSITIVE, ..Default::default() };
    let expected = Expected::of(&batch, &Default::default());
    check(&batch, &expected, &run(&ops().with(least), &batch), ops());
}

/// Parts of a batch over the whole's denominator add up to it, and have its gradients.
#[test]
fn parts_add_up_to_the_whole() {
    let options = CrossEntropyOptions { label_smoothing: 0.1, focal_gamma: 1.5, ..Default::default() };
    let whole_op = Ops::new(gpu(), options);
    let batch = noise("whole", 5, 60, 31);
    let whole = run_host_loss(&whole_op, &batch);
    let loss = whole.host_loss.unwrap();
    let op =
        whole_op.with(CrossEntropyOptions { reduction: Reduction::MeanOver(loss.weight as f32), ..options });
    let (mut value, mut dlogits) = (0.0, Vec::new());
    for (logits, targets) in batch.logits.chunks(31 * 16).zip(batch.targets.chunks(16)) {
        let part = run_host_loss(&op, &Batch::dense("part", 31, logits.to_vec(), targets.to_vec()));
        value += part.host_loss.unwrap().value;
        dlogits.extend(part.dlogits.unwrap());
    }
    assert!((value - loss.value).abs() <= 1e-6 * loss.value, "{value}, {}", loss.value);
    assert!(Some(dlogits) == whole.dlogits, "the same denominator: the same bits");
}

/// Windows change no bit, whatever comes with a batch.
#[test]
fn windows_change_no_bit() {
    let options =
        CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-2, softcap: Some(20.0), ..Default::default() };
    let small = device_of_bindings(wgpu::Features::empty(), 32 << 10);
    let (large_op, small_op) = (Ops::new(gpu(), options), Ops::new(&small, options));
    let several = Tuning::fixed(2, 4);
    let split = Tuning::fixed(2, 1).split(100_000, 16);
    // Each batch takes one kind of targets.
    for (i, (rows, cols, tuning)) in [
        (700, 9, None),
        (90, 257, None),
        (50, 1001, None),
        (120, 131, Some(several)),
        (120, 131, Some(split)),
    ]
    .into_iter()
    .enumerate()
    {
        let (large_op, small_op) = (large_op.tuned(tuning), small_op.tuned(tuning));
        let kind = KINDS[i % KINDS.len()];
        let mut batch = noise("windows", cols as u64, rows, cols).with_targets(kind, 6).with_weights(7);
        batch.given.row_mask = Some((0..rows).map(|row| row % 7 != 3).collect());
        batch.given.row_upstream = Some((0..rows).map(|row| row as f32 * 0.1 - 3.0).collect());
        let batch = batch.with_stride(cols + 2);
        let whole = run_host_loss(&large_op, &batch);
        check(&batch, &Expected::of(&batch, &options), &whole, &large_op);
        let parts = run_host_loss(&small_op, &batch);
        assert!(whole == parts, "{}: host", batch.name);
        let bound = [(gpu(), &large_op), (&small, &small_op)]
            .map(|(gpu, op)| run_loss(gpu, op, &batch, (256, 256), Gradient::To));
        assert!(bound[0] == bound[1], "{}: bound", batch.name);
    }
}

/// Every number of lanes, for everything that a sweep does differently.
#[test]
fn every_tuning() {
    let many = CrossEntropyOptions {
        label_smoothing: 0.1,
        temperature: 0.5,
        softcap: Some(12.0),
        z_loss: 1e-2,
        ..Default::default()
    };
    let focal = CrossEntropyOptions { focal_gamma: 2.0, ..Default::default() };
    let log_probs =
        CrossEntropyOptions { input: Input::LogProbs, label_smoothing: 0.1, ..Default::default() };
    for (options, kinds) in [(many, &KINDS[..]), (focal, &KINDS[..1]), (log_probs, &KINDS[1..2])] {
        let base = Ops::new(gpu(), options);
        for (i, tuning) in tunings().enumerate() {
            let op = base.tuned(tuning);
            // Each tuning takes one kind of target. The others differ from the first options in what they gather, whatever
            // the lanes: a few will do.
            let few = tuning.is_some_and(|tuning| [1, 256].contains(&tuning.read[0].lanes));
            if few || options == many {
                let kind = kinds[i % kinds.len()];
                // Two of the row lengths: the next tuning takes the others.
                for cols in [[1, 67], [6, 1030]][i % 2] {
                    let mut batch =
                        noise("tunings", cols as u64, 4, cols).with_targets(kind, 8).with_weights(9);
                    batch.logits[cols / 2] = f32::NEG_INFINITY;
                    if options.input == Input::LogProbs {
                        batch.logits.iter_mut().for_each(|x| *x = -x.abs());
                    }
                    check(&batch, &Expected::of(&batch, &options), &run(&op, &batch), &op);
                }
            }
        }
    }
}
