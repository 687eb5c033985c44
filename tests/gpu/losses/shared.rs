//! Tests that are the same for every loss; each loss brings its batches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use xent::{Context, Element, EmptyBatch, Error, LossOutputs, Shape, Tuning, wgpu};

use crate::harness::{Region, SENTINEL, gpu, in_pass};
use crate::losses::{
    ALIGNED, Case, Expected, Found, Given, Loss, Regions, Run, check, check_runs, run, run_bound, run_host,
};
use crate::typed::To;

/// Devices of small bindings and buffers cut a batch into many windows, and change no bit.
pub fn windows_change_no_bit<L: Loss, E: Element>(case: &Case<L, E>, devices: &[Context]) {
    let (expected, to) = (Expected::of(case), To::all::<E>(case.shape)[0]);
    let host = run_host(&case.op(), case);
    let bound = run_bound(gpu(), &case.op(), case, ALIGNED, to);
    expected.check(case, &host);
    expected.check(case, &bound);
    for gpu in devices {
        let op = case.options.op(gpu);
        assert!(run_host(&op, case).is_same(&host), "{}: the host path", case.name);
        if (case.shape.len() * 4 + 4096) as u64 <= gpu.device.limits().max_buffer_size {
            let cut = run_bound(gpu, &op, case, ALIGNED, to);
            assert!(cut.is_same(&bound), "{}: bound", case.name);
        }
    }
}

/// The outputs of the other rows are not written: of `rows` rows with their gradient, and of `alone` rows of row losses
/// alone. What is encoded again gives the same.
pub fn fewer_rows_than_bound<L: Loss>(case: &Case<L, f32>, rows: usize, alone: usize) {
    let (op, gpu, fewer) = (case.op(), gpu(), case.first_rows(rows));
    let regions = Regions::new(gpu, case, ALIGNED, To::Element);
    let bound = regions.bind(&op, case, regions.all_outputs());
    in_pass(gpu, |pass| bound.encode_rows(pass, rows).expect("fewer rows"));
    let mut found: Found = regions.read(gpu, case);
    let rest = found.row_losses.split_off(rows).into_iter().chain(found.dlogits.split_off(fewer.shape.len()));
    assert!(rest.into_iter().all(|word| word == SENTINEL), "{}: the rest", case.name);
    Expected::of(&fewer).check(&fewer, &found);

    let losses = Region::unwritten(gpu, case.shape.rows);
    let outputs = LossOutputs { row_losses: Some(losses.binding()), ..Default::default() };
    let bound = regions.bind(&op, case, outputs);
    in_pass(gpu, |pass| bound.encode_rows(pass, alone).expect("fewer rows"));
    let part = losses.read(gpu);
    assert!(part[alone..].iter().all(|&word| word == SENTINEL));
    in_pass(gpu, |pass| {
        bound.encode(pass);
        bound.encode(pass);
    });
    assert_eq!(losses.read(gpu)[..alone], part[..alone]);
    let host = L::row_losses(&op, &case.logits, case.inputs(), case.shape).wait().expect("row losses");
    assert_eq!(bytemuck::cast_slice::<f32, u32>(&host), losses.read(gpu));
}

/// With nothing to take the mean of, whatever the rows hold.
pub fn batches_in_which_no_row_counts<L: Loss>(case: &Case<L, f32>, tunings: &[Option<Tuning>]) {
    let rows = case.shape.rows;
    let case = case.clone().with(Given::row_mask(&vec![false; rows]));
    for empty_batch in [EmptyBatch::Nan, EmptyBatch::Zero] {
        let options = case.options.with_empty_batch(empty_batch);
        check(&case.clone().with_options(options), tunings, &[ALIGNED]);
    }
    // The device has no errors: there the mean is NaN.
    let strict = case.options.with_empty_batch(EmptyBatch::Error);
    let case = case.with_options(strict);
    check_runs(&case, None, &[Run::Bound(ALIGNED, To::Element)]);
    let (op, none) = (case.op(), Err(Error::NoRowCounts { rows }));
    assert_eq!(L::loss(&op, &case.logits, case.inputs(), case.shape).wait(), none);
    let found = L::loss_and_dlogits(&op, &case.logits, case.inputs(), case.shape).wait();
    assert_eq!(found.map(|(loss, _)| loss), none);

    let op = L::default().op::<f32>(gpu());
    let empty = L::loss_and_dlogits(&op, &[], L::inputs(&[], &Given::default()), Shape::new(0, 3)).wait();
    let (loss, dlogits) = empty.expect("no rows");
    assert!(loss.value.is_nan() && loss.sum == 0.0 && dlogits.is_empty());
}

/// The operation verifies `rows` rows of its own results.
pub fn verification<L: Loss, E: Element>(case: &Case<L, E>, rows: usize) {
    for verified in L::verify(&case.op(), &case.logits, case.inputs(), case.shape, rows) {
        let verified = verified.expect("a verification");
        let count = rows.min(case.shape.rows);
        assert!(verified.passed && verified.rows_checked == count, "{}: {verified:?}", case.name);
    }
}

/// Awaited calls give what those that wait give, and so does a gradient in a slice of the caller's.
pub fn awaited_requests<L: Loss>(case: &Case<L, f32>) {
    let (op, Case { logits, shape, .. }) = (case.op(), case);
    let waited = run(&op, case, Run::Host);
    let (loss, dlogits) = L::loss_and_dlogits(&op, logits, case.inputs(), *shape).wait().expect("a gradient");
    let loss_alone = L::loss(&op, logits, case.inputs(), *shape).wait().expect("a loss");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                gpu().device.poll(wgpu::PollType::Poll).expect("polled");
                thread::yield_now();
            }
        });
        let mut wide = vec![0f32; shape.len()];
        let found = pollster::block_on(async {
            let alone = L::loss(&op, logits, case.inputs(), *shape).await?;
            let rows = L::row_losses(&op, logits, case.inputs(), *shape).await?;
            let both = L::loss_and_dlogits(&op, logits, case.inputs(), *shape).await?;
            let into = L::loss_into(&op, logits, case.inputs(), *shape, &mut wide).await?;
            Ok::<_, Error>((alone, rows, both, into))
        });
        done.store(true, Ordering::Relaxed);
        let (alone, rows, both, into) = found.expect("awaited");
        assert_eq!((alone, &both.0, &both.1), (loss_alone, &loss, &dlogits));
        assert_eq!((into, &wide), (loss, &dlogits));
        assert!(rows.into_iter().eq(waited.row_losses()));
    });
    let mut wide = vec![0f32; shape.len()];
    let into = L::loss_into(&op, logits, case.inputs(), *shape, &mut wide).wait().expect("a gradient");
    assert_eq!((into, wide), (loss, dlogits));
}
