//! Sparse targets: as dense ones with the same probabilities, however many entries, repeated or ignored ones among them;
//! and what of their gradients shares a word.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xent::half::{bf16, f16};
use xent::{
    CrossEntropyOptions, Element, Error, MAX_SPARSE_ENTRIES, Reduction, Shape, TargetKind, Targets, Tuning,
};

use crate::batch::{Batch, Ops, Sparse, noise, ops};
use crate::compare::{check, check_loss};
use crate::expected::Expected;
use crate::harness::{gpu, is_mine, tunings};
use crate::outputs::{Gradient, run_host_loss, run_loss};

fn options() -> CrossEntropyOptions {
    CrossEntropyOptions { label_smoothing: 0.05, temperature: 1.5, ..Default::default() }
}

/// The same probabilities, one for each class.
fn as_dense(batch: &Batch) -> Batch {
    let (cols, sparse) = (batch.shape.cols, batch.given.sparse.as_ref().unwrap());
    let mut soft = vec![0.0f32; batch.shape.rows * cols];
    for (at, (&index, &prob)) in sparse.indices.iter().zip(&sparse.probs).enumerate() {
        if index >= 0 {
            soft[at / sparse.entries * cols + index as usize] += prob;
        }
    }
    let mut dense = batch.clone();
    dense.given.sparse = None;
    dense.given.soft = Some(soft);
    dense
}

#[test]
fn as_dense_targets_of_the_same_probabilities() {
    let op = Ops::new(gpu(), CrossEntropyOptions { reduction: Reduction::Sum, ..options() });
    for (cols, entries) in [(1, 1), (2, 5), (7, 3), (100, 64), (1000, 20), (33, 200)] {
        let batch = noise("dense", cols as u64, 10, cols).with_targets(TargetKind::Sparse { entries }, 3);
        check_loss(gpu(), &op, &batch, Gradient::To);
        // Dense outputs are right for the sparse batch, rows without any entry left aside.
        let mut dense = as_dense(&batch);
        let rows = batch.given.sparse.as_ref().unwrap().indices.chunks(entries);
        dense.given.row_mask = Some(rows.map(|row| row.iter().any(|&index| index >= 0)).collect());
        let outputs = run_loss(gpu(), &op, &dense, (256, 256), Gradient::To);
        check(&batch, &Expected::of(&batch, &op.options), &outputs, &op);
    }
}

/// One entry of probability 1 is a class.
#[test]
fn one_entry_is_a_class() {
    let batch = noise("one entry", 1, 30, 50);
    let mut sparse = batch.clone();
    let probs = vec![1.0; 30];
    sparse.given.sparse = Some(Sparse { indices: batch.targets.clone(), probs, entries: 1 });
    let outputs = run_loss(gpu(), ops(), &sparse, (256, 256), Gradient::To);
    check(&batch, &Expected::of(&batch, &ops().options), &outputs, ops());
}

/// The same class in every entry: their sum, in each of the places that write it.
#[test]
fn repeated_classes() {
    let op = Ops::new(gpu(), options());
    for (_, tuning) in tunings().enumerate().filter(|&(i, _)| is_mine(i)) {
        let op = op.tuned(tuning);
        for entries in [2, 9, 40] {
            let mut batch = noise("repeated", 2, 6, 31);
            let indices =
                (0..6 * entries).map(|at| if at % 4 == 3 { -100 } else { (at / entries * 5) as i32 });
            let probs = (0..6 * entries).map(|at| at as f32 * 1e-3).collect();
            batch.given.sparse = Some(Sparse { indices: indices.collect(), probs, entries });
            check_loss(gpu(), &op, &batch, Gradient::InPlace);
        }
    }
}

/// An `ignore_index` that is a class: entries of it are ignored, also where they share a word with others.
#[test]
fn ignored_classes_that_occur() {
    let shape = Shape::new(1, 4);
    let targets = Targets::Sparse { indices: &[1, 0], probs: &[0.6, 0.3], entries: 2 };
    let op = Ops::<f16>::new(
        gpu(),
        CrossEntropyOptions { ignore_index: 0, reduction: Reduction::Sum, ..Default::default() },
    );
    let (_, dlogits) = op.loss.loss_and_dlogits(&[f16::ZERO; 4], targets, shape).wait().unwrap();
    assert_eq!(dlogits, [0.15, -0.45, 0.15, 0.15].map(f16::from_f32));

    fn check_type<E: Element>() {
        let made = Ops::<E>::new(gpu(), options());
        for ignore_index in [0, 1, 6, 8] {
            let base = made.with(CrossEntropyOptions { ignore_index, ..options() });
            for (cols, entries) in [(2, 2), (9, 6), (31, 40)] {
                let mut rng = StdRng::seed_from_u64(cols as u64);
                let mut batch = noise("ignored", ignore_index as u64, 6, cols);
                let mut index = |_| match rng.random_range(0..4) {
                    0 => ignore_index,
                    1 => (ignore_index ^ 1).min(cols as i32 - 1),
                    _ => rng.random_range(0..cols as i32),
                };
                let indices: Vec<i32> = (0..6 * entries).map(&mut index).collect();
                let prob =
                    |at: usize| if indices[at] == ignore_index { f32::NAN } else { 0.1 + at as f32 * 1e-3 };
                let probs = (0..6 * entries).map(prob).collect();
                batch.given.sparse = Some(Sparse { indices: indices.clone(), probs, entries });
                let middle = batch.laid_out(Shape::nchw(3, cols, 2)).cast::<E>();
                let gradient = if size_of::<E>() == 4 { Gradient::To } else { Gradient::F32 };
                check_loss(gpu(), &base, &middle, gradient);
                let batch = batch.with_stride(cols.next_multiple_of(2)).cast::<E>();
                let expected = Expected::of(&batch, &base.options);
                check(&batch, &expected, &run_host_loss(&base, &batch), &base);
                let tunings = [None, None, Some(Tuning::fixed(8, 16))];
                for (tuning, gradient) in
                    tunings.into_iter().zip([Gradient::InPlace, Gradient::To, Gradient::To])
                {
                    let op = base.tuned(tuning);
                    check(&batch, &expected, &run_loss(gpu(), &op, &batch, (256, 256), gradient), &op);
                }
                // One out of range beside them, which only buffers can have: its row has no gradient, others have.
                let mut outside = batch.clone();
                outside.given.sparse.as_mut().unwrap().indices[1] = cols as i32 + 1;
                let expected = Expected::of(&outside, &base.options);
                for gradient in [Gradient::InPlace, Gradient::To] {
                    check(
                        &outside,
                        &expected,
                        &run_loss(gpu(), &base, &outside, (256, 256), gradient),
                        &base,
                    );
                }
            }
        }
    }
    check_type::<f32>();
    // Two adapters share the types of 16 bits.
    if is_mine(0) {
        check_type::<f16>();
    }
    if is_mine(1) {
        check_type::<bf16>();
    }
}

/// As many entries as there may be, in neighbouring columns: two of a word, each written by another lane.
#[test]
fn entries_that_share_words() {
    fn check_type<E: Element>(sizes: &[(usize, usize)]) {
        let base = Ops::<E>::new(gpu(), options());
        for (i, &(cols, entries)) in sizes.iter().enumerate() {
            let mut rng = StdRng::seed_from_u64(cols as u64);
            let mut batch = noise("words", cols as u64, 3, cols);
            let indices = (0..3 * entries).map(|at| match at / entries {
                0 => (at % cols) as i32,
                1 => ((at * 7 + 1) % cols) as i32,
                _ => {
                    if at % 2 == 0 {
                        -100
                    } else {
                        (cols - 1 - at % cols) as i32
                    }
                }
            });
            let indices = indices.collect();
            let probs = (0..3 * entries).map(|_| rng.random_range(0.0..1.0) / entries as f32).collect();
            batch.given.sparse = Some(Sparse { indices, probs, entries });
            let batch = batch.with_stride(cols.next_multiple_of(2)).cast::<E>();
            let expected = Expected::of(&batch, &base.options);
            // Fewer lanes cannot take so many entries within a software adapter's iterations. The most entries take both
            // numbers of lanes, the others one.
            for lanes in [16, 64].into_iter().skip(i % 2).take(if i == 0 { 2 } else { 1 }) {
                let op = base.tuned(Some(Tuning::fixed(lanes, 1)));
                let gradient = if lanes == 16 { Gradient::InPlace } else { Gradient::To };
                check(&batch, &expected, &run_loss(gpu(), &op, &batch, (4, 8), gradient), &op);
            }
            check(&batch, &expected, &run_host_loss(&base, &batch), &base);
        }
    }
    check_type::<f32>(&[(513, 512), (9, 9)]);
    // Two adapters share the types of 16 bits.
    if is_mine(1) {
        check_type::<f16>(&[(513, 512), (600, 511), (64, 64), (9, 9), (40, 512)]);
    }
    if is_mine(0) {
        check_type::<bf16>(&[(513, 512), (512, 512), (65, 64)]);
    }
}

/// Negative probabilities and rows that do not sum to 1 are taken as they are.
#[test]
fn any_finite_probability() {
    for kind in [TargetKind::Soft, TargetKind::Sparse { entries: 4 }] {
        let mut batch = noise("any", 3, 12, 21).with_targets(kind, 4);
        let given = &mut batch.given;
        let probs = given.soft.as_mut().or(given.sparse.as_mut().map(|sparse| &mut sparse.probs)).unwrap();
        probs.iter_mut().enumerate().filter(|(at, _)| at % 3 == 0).for_each(|(_, prob)| *prob *= -2.0);
        check_loss(gpu(), ops(), &batch, Gradient::To);
    }
}

#[test]
fn refusals() {
    let shape = Shape::new(2, 3);
    let loss = |indices: &[i32], probs: &[f32], entries: usize| {
        ops().loss.loss(&[0.0; 6], Targets::Sparse { indices, probs, entries }, shape).wait().map(drop)
    };
    assert_eq!(loss(&[0, 1], &[1.0; 2], 1), Ok(()));
    for entries in [0, MAX_SPARSE_ENTRIES + 1] {
        let error = loss(&vec![0; 2 * entries], &vec![0.0; 2 * entries], entries);
        assert!(matches!(error, Err(Error::InvalidOption { value, .. }) if value == entries as f64));
    }
    let length = |what, found| Err(Error::Length { what, found, needed: 4 });
    assert_eq!(loss(&[0; 3], &[0.0; 4], 2), length("targets: indices", 3));
    assert_eq!(loss(&[0; 4], &[0.0; 5], 2), length("targets: probs", 5));
    let outside = Err(Error::TargetOutOfRange { row: 1, target: 3, cols: 3 });
    assert_eq!(loss(&[0, -100, 1, 3], &[0.5; 4], 2), outside);
    let error = loss(&[0, 1, -100, 2], &[0.5, 0.5, f32::NAN, f32::INFINITY], 2);
    assert_eq!(error, Err(Error::InvalidTarget { row: 1, at: 1, value: f32::INFINITY }));
}
