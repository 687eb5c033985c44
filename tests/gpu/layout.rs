//! Where rows lie: padded strides, offsets of every multiple of 4 bytes, odd lengths, so that rows begin on every place
//! of a quad. What lies around a row is NaN and takes no part; what lies around an output stays as it was.

use xent::Tuning;

use crate::batch::{Ops, noise, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{adapter, device_with, gpu};
use crate::outputs::{run_bound, run_host};

/// From none to past any alignment, in bytes.
fn offsets() -> impl Iterator<Item = u64> {
    (0..=64).step_by(4).chain([124, 128, 132, 252, 256, 260, 1_028, 65_540])
}

#[test]
fn every_offset_of_a_binding() {
    for cols in [1, 2, 3, 4, 5, 7, 8, 13, 34] {
        let dense = noise("offsets", cols as u64, 9, cols);
        for (i, offset) in offsets().enumerate() {
            let batch = dense.with_stride(cols + i % 5);
            let expected = Expected::of(&batch, &ops().options);
            // The output's place in its quad differs from the logits'.
            let output_offset = offset / 4 % 7 * 4 + 64 * (i as u64 % 2);
            let ops = ops().tuned(Some(Tuning { lanes: [8, 1, 4, 2][i % 4] }));
            check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (offset, output_offset)), &ops);
        }
    }
}

#[test]
fn every_stride() {
    for cols in [1, 2, 3, 5, 17, 31, 250, 257] {
        let dense = noise("strides", cols as u64, 23, cols);
        for padding in [0, 1, 2, 3, 4, 7, 13, 64, 300] {
            let batch = dense.with_stride(cols + padding);
            let expected = Expected::of(&batch, &ops().options);
            check(&batch, &expected, &run_host(gpu(), ops(), &batch), ops());
            check(&batch, &expected, &run_bound(gpu(), ops(), &batch, (256, 260)), ops());
        }
    }
}

/// The host path takes the padding behind the last row, or leaves it.
#[test]
fn a_slice_may_hold_the_last_rows_padding() {
    let batch = noise("last padding", 1, 6, 11).with_stride(14);
    let mut longer = batch.clone();
    longer.logits.resize(6 * 14, f32::NAN);
    let run = |logits: &[f32]| {
        let (loss, dlogits) =
            ops().loss.loss_and_dlogits(gpu(), logits, batch.classes(), batch.shape).unwrap();
        let probs = ops().softmax.softmax(gpu(), logits, batch.shape).unwrap();
        let lse = ops().logsumexp.logsumexp(gpu(), logits, batch.shape).unwrap();
        assert_eq!((dlogits.len(), probs.len()), (batch.shape.len(), batch.shape.len()));
        (loss, dlogits, probs, lse)
    };
    assert_eq!(run(&batch.logits), run(&longer.logits));
}

/// A vocabulary padded to a multiple of 64, as language models have.
#[test]
fn a_padded_vocabulary() {
    let batch = noise("vocabulary", 2, 7, 50_257).with_stride(50_304);
    let expected = Expected::of(&batch, &ops().options);
    check(&batch, &expected, &run_host(gpu(), ops(), &batch), ops());
    check(&batch, &expected, &run_bound(gpu(), ops(), &batch, (12, 4)), ops());
}

/// A device whose bindings begin at multiples of 1,024 bytes only: the remainder travels as a base.
#[test]
fn a_coarse_alignment() {
    let gpu = device_with(|limits| {
        limits.min_storage_buffer_offset_alignment = limits.min_storage_buffer_offset_alignment.max(1024);
        limits.max_storage_buffer_binding_size = 8 << 10;
    });
    assert!(gpu.device.limits().min_storage_buffer_offset_alignment >= 1024, "{:?}", adapter().get_info());
    let ops = Ops::new(&gpu, Default::default());
    for (cols, offset) in [(3, 4), (7, 1020), (129, 1028), (500, 508), (1001, 8)] {
        let batch = noise("coarse", 3, 40, cols).with_stride(cols + 2);
        let expected = Expected::of(&batch, &ops.options);
        check(&batch, &expected, &run_bound(&gpu, &ops, &batch, (offset, 12)), &ops);
    }
}
