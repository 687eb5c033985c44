//! From row losses to one loss: reductions, rows that do not count, and numbers of rows that fill blocks and grids.

use xent::{
    CrossEntropyBuffers, CrossEntropyOptions, Flags, LogSumExpBuffers, LossOutputs, OutputBuffer, Reduction,
    Tuning, wgpu,
};

use crate::batch::{Batch, Ops, noise, ops};
use crate::bound::record_of;
use crate::compare::{check, check_both};
use crate::expected::Expected;
use crate::harness::{Region, device_with, gpu, in_pass};
use crate::outputs::{run_bound, run_host};

#[test]
fn reductions() {
    let batch = noise("reductions", 10, 333, 12);
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(7.0), Reduction::MeanOver(1e4)] {
        let options = CrossEntropyOptions { reduction, ..Default::default() };
        check_both(gpu(), &Ops::new(gpu(), options), &batch);
    }
}

/// The least denominator that is taken: a denormal one, which an adapter may flush to zero, is refused.
#[test]
fn the_least_denominator() {
    let batch = noise("least denominator", 15, 3, 4);
    let reduction = Reduction::MeanOver(f32::MIN_POSITIVE);
    let ops = Ops::new(gpu(), CrossEntropyOptions { reduction, ..Default::default() });
    check_both(gpu(), &ops, &batch);
}

#[test]
fn no_row_counts() {
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(3.0)] {
        let ops = Ops::new(gpu(), CrossEntropyOptions { reduction, ..Default::default() });
        for rows in [0, 1, 5] {
            let batch = Batch::dense("no row counts", 6, vec![f32::NAN; rows * 6], vec![-100; rows]);
            check_both(gpu(), &ops, &batch);
        }
    }
}

/// Buffers of no byte are enough for no row.
#[test]
fn zero_rows_of_empty_buffers() {
    let shape = xent::Shape::new(0, 6);
    let empty = |usage| crate::harness::buffer_of(gpu(), usage, &[]);
    let [logits, targets, dlogits, row_losses, lse] = [(); 5].map(|()| empty(wgpu::BufferUsages::STORAGE));
    let whole = |buffer| wgpu::BufferBinding { buffer, offset: 0, size: None };
    let loss = Region::unwritten(gpu(), 8);
    let to = CrossEntropyBuffers {
        outputs: LossOutputs {
            loss: Some(loss.binding()),
            dlogits: Some(OutputBuffer::To(whole(&dlogits))),
            row_losses: Some(whole(&row_losses)),
        },
        ..CrossEntropyBuffers::new(whole(&logits), whole(&targets))
    };
    let bound = ops().loss.bind(shape, &to).unwrap();
    in_pass(gpu(), |pass| bound.encode(pass));
    let record = record_of(&loss);
    assert!(
        record.value.is_nan() && record.sum == 0.0 && record.flags() == Flags::NO_ROW_COUNTS,
        "{record:?}"
    );
    let to = LogSumExpBuffers { logits: whole(&logits), lse: whole(&lse) };
    let bound = ops().logsumexp.bind(shape, &to).unwrap();
    in_pass(gpu(), |pass| bound.encode(pass));
}

/// Indices within the classes, and −100 as a class that is not there.
#[test]
fn ignore_index() {
    for ignore_index in [0, 4, i32::MIN] {
        let ops = Ops::new(gpu(), CrossEntropyOptions { ignore_index, ..Default::default() });
        let mut batch = noise("ignore_index", 11, 40, 5);
        for (row, target) in batch.targets.iter_mut().enumerate() {
            *target = if row % 6 == 5 { ignore_index } else { row as i32 % 6 % 5 };
        }
        check_both(gpu(), &ops, &batch);
        batch.targets[9] = -100;
        let expected = Expected::of(&batch, &ops.options);
        check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (4, 8)), &ops);
    }
}

/// About the 1,024 rows of a block, and beyond the 65,535 workgroups of one dimension.
#[test]
fn many_rows() {
    for (rows, cols) in [(1023, 3), (1024, 2), (1025, 3), (5000, 1)] {
        check_both(gpu(), ops(), &noise("many rows", 12, rows, cols));
    }
    let batch = noise("two-dimensional", 13, 70_000, 3);
    let expected = Expected::of(&batch, &ops().options);
    let ops = ops().tuned(Some(Tuning::fixed(1, 1)));
    check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (256, 256)), &ops);
    check(&batch, &expected, &run_host(&ops, &batch), &ops);
}

/// Every way in which rows and blocks of rows fill the dimensions of a grid.
#[test]
fn grids_of_a_few_workgroups() {
    let gpu = device_with(|limits| limits.max_compute_workgroups_per_dimension = 3);
    let ops = Ops::new(&gpu, Default::default());
    for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 26, 3 * 1024, 3 * 1024 + 1, 7000] {
        check_both(&gpu, &ops, &noise("small grids", 14, rows, 5));
    }
}

/// The last row is the bad one; its block is not the first.
#[test]
fn the_first_bad_row_of_many() {
    let mut batch = noise("bad rows", 14, 3000, 4);
    for bad in [2999, 2500, 1024] {
        batch.targets[bad] = 4;
        let expected = Expected::of(&batch, &ops().options);
        check(&batch, &expected, &run_bound(gpu(), ops(), &batch, (256, 256)), ops());
    }
}
