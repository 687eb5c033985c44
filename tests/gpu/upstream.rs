//! The gradient of what comes behind the loss, and bound operations with options: encoded again, in part, in place.

use xent::half::{bf16, f16};
use xent::{CrossEntropyOptions, Element, Reduction, Sequences, TargetKind};

use crate::batch::{Batch, Ops, noise, ops};
use crate::compare::{check, check_loss};
use crate::expected::Expected;
use crate::harness::{SENTINEL, gpu, in_pass, is_mine};
use crate::outputs::{Gradient, LossRegions, run_loss};

const KINDS: [TargetKind; 3] = [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: 3 }];

fn many_options() -> CrossEntropyOptions {
    CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-2, softcap: Some(15.0), ..Default::default() }
}

/// NaN or infinite: that row's gradient is NaN, its loss and all else are right.
#[test]
fn row_upstream_that_is_no_number() {
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let ops = ops().with(CrossEntropyOptions { reduction, ..Default::default() });
        let mut batch = noise("row upstream", 1, 8, 11);
        batch.targets = vec![0, 1, 2, -100, 4, 5, 6, 7];
        batch.logits[11 * 6] = f32::NEG_INFINITY;
        let upstream = vec![1.0, f32::NAN, f32::INFINITY, f32::NAN, 0.0, f32::NEG_INFINITY, -2.0, f32::MAX];
        batch.given.row_upstream = Some(upstream);
        let expected = Expected::of(&batch, &ops.options);
        for row in [1, 2, 5] {
            assert!(expected.dlogits[11 * row..][..11].iter().all(|value| value.is_nan()));
            assert!(expected.losses[row].is_finite());
        }
        check_loss(gpu(), &ops, &batch, Gradient::To);
        check_loss(gpu(), &ops, &batch, Gradient::InPlace);
    }
}

/// Loss scaling: another value in the buffer, and nothing bound or encoded anew.
#[test]
fn one_upstream_that_changes_between_submits() {
    let op = Ops::new(gpu(), many_options());
    let mut batch = noise("scaled", 2, 12, 33);
    batch.given.upstream = Some(1.0);
    let regions = LossRegions::new(gpu(), &batch, (4, 8), Gradient::To);
    let bound = regions.bind(&op, &batch);
    for upstream in [1.0, 65_536.0, -0.25, 0.0, f32::NAN, f32::INFINITY, 3.0] {
        let region = regions.upstream.as_ref().unwrap();
        gpu().queue.write_buffer(&region.buffer, region.offset, bytemuck::bytes_of(&upstream));
        in_pass(gpu(), |pass| bound.encode(pass));
        batch.given.upstream = Some(upstream);
        check(&batch, &Expected::of(&batch, &op.options), &regions.read::<f32>(gpu()), &op);
    }
}

/// Row losses differentiated: `Sum` with a gradient for each.
#[test]
fn a_gradient_for_each_row() {
    let op = Ops::new(gpu(), CrossEntropyOptions { reduction: Reduction::Sum, ..many_options() });
    for kind in KINDS {
        let mut batch = noise("each row", 3, 20, 19).with_targets(kind, 4).with_weights(5);
        batch.given.row_upstream = Some((0..20).map(|row| (row as f32 - 9.0) * 0.3).collect());
        batch.given.upstream = Some(128.0);
        check_loss(gpu(), &op, &batch, Gradient::To);
    }
}

/// Whatever is kept of the logits is kept before they are overwritten. An array: each row length takes each kind of target
/// in one type, and each type each kind in three lengths. Two adapters share the lengths.
#[test]
fn in_place_is_out_of_place_bit_for_bit() {
    fn check_type<E: Element>(first: usize) {
        let op = Ops::<E>::new(gpu(), many_options());
        let lengths = [1, 2, 3, 4, 7, 30, 65, 130, 1001];
        for (i, cols) in lengths.into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
            let kind = KINDS[(first + i) % KINDS.len()];
            let seed = cols as u64;
            let dense = noise("in place", seed, 5, cols).with_targets(kind, seed).with_weights(6);
            let batch = dense.with_stride((cols + i % 4).next_multiple_of(2)).cast::<E>();
            let run = |gradient| run_loss(gpu(), &op, &batch, (4 * (i as u64 % 4), 0), gradient);
            let (to, over) = (run(Gradient::To), run(Gradient::InPlace));
            let [a, b] = [&to, &over].map(|outputs| outputs.dlogits.as_ref().unwrap());
            for row in 0..5 {
                let (a, b) = (batch.shape.row(a, row), batch.shape.row(b, row));
                assert!(a.eq(b), "{}, {cols} cols, row {row}", batch.name);
            }
            assert_eq!(format!("{:?}", to.loss), format!("{:?}", over.loss), "{}", batch.name);
            assert!(to.row_losses == over.row_losses && to.row_lse == over.row_lse);
        }
    }
    check_type::<f32>(0);
    check_type::<f16>(1);
    check_type::<bf16>(2);
}

#[test]
fn encoded_twice_with_options() {
    let op = Ops::new(gpu(), many_options());
    for kind in KINDS {
        let batch = noise("twice", 7, 1100, 17).with_targets(kind, 8).with_weights(9);
        let regions = LossRegions::new(gpu(), &batch, (20, 4), Gradient::To);
        let bound = regions.bind(&op, &batch);
        in_pass(gpu(), |pass| bound.encode(pass));
        let once = regions.read::<f32>(gpu());
        check(&batch, &Expected::of(&batch, &op.options), &once, &op);
        in_pass(gpu(), |pass| (0..2).for_each(|_| bound.encode(pass)));
        assert!(regions.read::<f32>(gpu()) == once, "{kind:?}");
    }
}

/// The first rows of a bound batch: as a batch of their own, weights and all.
#[test]
fn fewer_rows_with_options() {
    let sequences = Some(Sequences::shifted(8, 1));
    for options in [many_options(), CrossEntropyOptions { sequences, ..many_options() }] {
        let op = Ops::new(gpu(), options);
        for kind in KINDS.into_iter().filter(|&kind| options.sequences.is_none() || kind != TargetKind::Soft)
        {
            let mut whole = noise("fewer", 10, 1100, 9).with_targets(kind, 11).with_weights(12);
            whole.given.row_mask = Some((0..1100).map(|row| row % 5 != 2).collect());
            whole.given.row_upstream = Some((0..1100).map(|row| row as f32 * 1e-3).collect());
            for rows in [0, 1, 8, 13, 1024, 1030] {
                let regions = LossRegions::new(gpu(), &whole, (4, 8), Gradient::To);
                let bound = regions.bind(&op, &whole);
                in_pass(gpu(), |pass| bound.encode_rows(pass, rows).unwrap());
                let mut outputs = regions.read::<f32>(gpu());
                let (part, values) = (first_rows(&whole, rows), rows * 9);
                let cut = |all: &mut Option<Vec<u32>>, len: usize| {
                    let rest = all.as_mut().unwrap().split_off(len);
                    assert!(rest.iter().all(|&word| word == SENTINEL), "{}, {rows} rows", whole.name);
                };
                cut(&mut outputs.dlogits, values);
                for all in [&mut outputs.row_losses, &mut outputs.row_lse, &mut outputs.row_argmax] {
                    cut(all, rows);
                }
                check(&part, &Expected::of(&part, &op.options), &outputs, &op);
            }
        }
    }
}

/// The first rows of a dense batch.
fn first_rows(whole: &Batch, rows: usize) -> Batch {
    let (mut part, cols) = (whole.clone(), whole.shape.cols);
    part.shape = whole.shape.with_rows(rows);
    part.logits.truncate(rows * cols);
    part.targets.truncate(rows);
    let given = &mut part.given;
    if let Some(soft) = &mut given.soft {
        soft.truncate(rows * cols);
    }
    if let Some(sparse) = &mut given.sparse {
        sparse.indices.truncate(rows * sparse.entries);
        sparse.probs.truncate(rows * sparse.entries);
    }
    if let Some(mask) = &mut given.row_mask {
        mask.truncate(rows);
    }
    for values in [&mut given.row_weights, &mut given.row_upstream].into_iter().flatten() {
        values.truncate(rows);
    }
    part
}
