//! Types, layouts, offsets, tunings, reductions, and windows.

use xent::half::{bf16, f16};
use xent::{Element, Reduction, Shape, SigmoidBceOptions};

use crate::harness::{bound_exactly, device_with, is_mine, tunings};
use crate::losses::{Offsets, Run, check_runs, shared};
use crate::sigmoid_bce::{BOUND, IN_PLACE, MEAN, SUM, full, random};
use crate::typed::To;

/// By the host path, and bound for every place that the gradient can go to.
fn check_every_path<E: Element>(shape: Shape, seed: u64, options: SigmoidBceOptions) {
    for case in [random::<E>(seed, shape, 6.0, options), full(seed, shape, 12.0, options)] {
        // With all that comes with a batch, its arrays begin some values after a pack.
        let after = if size_of::<E>() == 2 { 2 } else { 3 };
        let values = if case.given.row_mask.is_some() { after } else { 0 };
        let bound = |to| {
            let at = |bytes: usize| 256 + values * bytes as u64;
            let output = at(if to == To::F32 { 4 } else { size_of::<E>() });
            Run::Bound(Offsets { logits: at(size_of::<E>()), second: at(4), output }, to)
        };
        let bound = To::all::<E>(shape).iter().map(|&to| bound(to));
        check_runs(&case, None, &[Run::Host].into_iter().chain(bound).collect::<Vec<_>>());
    }
}

#[test]
fn types_and_layouts() {
    let shapes = [
        Shape::new(5, 8),
        Shape::new(5, 7),
        Shape::new(3, 65).row_stride(70),
        Shape::new(3, 6).row_stride(9),
        Shape::nchw(2, 5, 3),
        Shape::nchw(1, 33, 20),
        Shape::nchw(2, 3, 4).row_stride(15),
        Shape::new(1, 1),
        Shape::new(1_030, 3),
    ];
    for (seed, shape) in (0..).zip(shapes) {
        check_every_path::<f32>(shape, seed, MEAN);
        // Each shape in one of the types of 16 bits. Two adapters share these.
        if !is_mine(seed as usize / 2) {
            continue;
        }
        if seed % 2 == 0 {
            check_every_path::<f16>(shape, seed, MEAN);
        } else {
            check_every_path::<bf16>(shape, seed, SUM);
        }
    }
}

/// Nothing lies behind the last value.
#[test]
fn arrays_that_end_with_their_buffer() {
    for (cols, run) in [(3, BOUND), (13, BOUND), (34, IN_PLACE)] {
        let case = full::<f32>(cols as u64, Shape::new(3, cols), 6.0, MEAN);
        bound_exactly(|| check_runs(&case, None, &[run]));
        let case = random::<f16>(cols as u64, Shape::new(3, cols).row_stride(cols + cols % 2), 6.0, MEAN);
        bound_exactly(|| check_runs(&case, None, &[run]));
    }
}

#[test]
fn every_tuning() {
    // Each shape by one path, and with the next tuning by the other. Two adapters share them.
    for (i, tuning) in tunings().flatten().enumerate() {
        // Rows side by side have but one number of the tuning.
        let beside = Shape::nchw(1, 70, 5);
        let shapes = [Shape::new(3, 1_000), Shape::new(2, 31), beside];
        for (j, shape) in shapes.into_iter().enumerate().take(if tuning.side_by_side < 64 { 3 } else { 2 }) {
            if is_mine(i / 2 + j) {
                let case = full::<f32>(u64::from(tuning.read[0].lanes), shape, 9.0, MEAN);
                check_runs(&case, Some(tuning), &[if (i + j) % 2 == 0 { IN_PLACE } else { Run::Host }]);
            }
        }
    }
}

#[test]
fn reductions() {
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(17.5)] {
        let options = SigmoidBceOptions { reduction, ..MEAN };
        check_runs(&full::<f32>(4, Shape::new(7, 9), 5.0, options), None, &[Run::Host, BOUND]);
    }
}

#[test]
fn windows_change_no_bit() {
    // Rows of 1,001: no two windows begin at the same place in a quad.
    let case = full::<f32>(8, Shape::new(70, 1_001), 6.0, MEAN);
    let small = device_with(|limits| limits.max_storage_buffer_binding_size = 64 << 10);
    shared::windows_change_no_bit(&case, &[small]);
}
