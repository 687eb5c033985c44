//! Row lengths, layouts, offsets, types, tunings, reductions, and windows.

use xent::half::{bf16, f16};
use xent::{Context, Element, Reduction, Shape, Tuning};

use crate::harness::{bound_exactly, device_with, is_mine};
use crate::kl_divergence::{Case, Options, noise_rows};
use crate::losses::{ALIGNED, Given, Offsets, check, shared};
use crate::typed::tunings_of;

#[test]
fn every_tuning_and_reduction() {
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(3.5)];
    for (i, reduction) in reductions.into_iter().enumerate() {
        let options = Options { reduction, ..Options::default() };
        // Two adapters share the row lengths; a reduction changes no sweep.
        for (_, cols) in [3, 130, 1025, 5000].into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
            let case = Case::<f32>::dense("tunings", &noise_rows(i as u64, 9, cols), options);
            check(&case, &tunings_of(if i == 0 { &[1, 8, 64, 256] } else { &[2] }), &[ALIGNED]);
        }
    }
}

/// Rows of both batches begin on every place of a quad, the two on different ones.
#[test]
fn layouts_and_types() {
    fn of_type<E: Element>(takes: fn(usize) -> bool) {
        let options = Options { temperature: 2.0, scale_by_t_squared: true, ..Options::default() };
        // Values of 16 bits begin within a word too.
        let (bytes, unit) = (size_of::<E>() as u64, 4 / size_of::<E>() as u64);
        let offsets: Vec<Offsets> = (0..5)
            .map(|i| Offsets {
                logits: 4 * (64 + i) + i % unit * bytes,
                second: 4 * (71 + 2 * i) + 1 % unit * bytes,
                output: 4 * (61 + i),
            })
            .chain([ALIGNED])
            .collect();
        // Two adapters share the layouts; each type of 16 bits takes every other row length.
        for (i, cols) in [1, 3, 4, 5, 13, 34, 129].into_iter().enumerate().filter(|&(i, _)| takes(i)) {
            for (_, padding) in [0, 1 + cols % 6].into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
                let shape = Shape::new(7, cols).row_stride(cols + padding);
                let case = Case::<E>::new("layout", shape, &noise_rows(cols as u64, 7, cols), options);
                // Two offsets with the plan's lanes, or one with eight: the host path has the plan's.
                let (from, lanes) = (cols % 3, (cols % 2 == 1).then(|| Tuning::fixed(8, 1)));
                let count = if lanes.is_some() { 1 } else { 2 };
                check(&case, &[lanes], &offsets[from..][..count]);
            }
        }
        // Each shape takes the plan's lanes by the host path, and bound in 16 bits; bound in f32, it takes one other number.
        let shapes = [(1, 3, 2), (2, 5, 3), (3, 21, 7), (2, 34, 16), (1, 130, 33)];
        for (i, (outer, cols, inner)) in shapes.into_iter().enumerate().filter(|&(i, _)| takes(i)) {
            let shape = Shape::nchw(outer, cols, inner);
            let both = [shape, shape.row_stride(shape.row_stride + 3)];
            for (_, shape) in both.into_iter().enumerate().filter(|(j, _)| is_mine(i + j)) {
                let rows = noise_rows(cols as u64, outer * inner, cols);
                let case = Case::<E>::new("side by side", shape, &rows, options);
                let lanes = (size_of::<E>() == 4).then(|| Tuning::fixed([1, 8, 64][i % 3], 1));
                check(&case, &[lanes], &offsets[i % 4..][..1]);
            }
        }
    }
    of_type::<f32>(|_| true);
    of_type::<f16>(|i| i % 2 == 0);
    of_type::<bf16>(|i| i % 2 == 1);
}

/// Nothing lies behind the last value.
#[test]
fn arrays_that_end_with_their_buffer() {
    fn of_type<E: Element>(shape: Shape, offsets: Offsets) {
        let rows = noise_rows(6, shape.rows, shape.cols);
        let case = Case::<E>::new("to the end", shape, &rows, Options::default());
        bound_exactly(|| check(&case, &[None], &[offsets]));
    }
    of_type::<f32>(Shape::new(3, 13), ALIGNED);
    of_type::<bf16>(Shape::new(3, 13).row_stride(14), ALIGNED);
    of_type::<f32>(Shape::new(3, 3), Offsets { logits: 4, second: 8, output: 12 });
}

/// Devices of small bindings and buffers cut a batch into many windows, and change no bit.
#[test]
fn windows_change_no_bit() {
    let devices = [
        device_with(|limits| limits.max_storage_buffer_binding_size = 16_388 as _),
        device_with(|limits| limits.max_buffer_size = 96 << 10),
    ];
    fn of_type<E: Element>(devices: &[Context], batches: &[(usize, usize, usize)]) {
        for &(rows, cols, padding) in batches {
            let shape = Shape::new(rows, cols).row_stride(cols + padding);
            let case = Case::<E>::new("windows", shape, &noise_rows(8, rows, cols), Options::default());
            let weights: Vec<f32> = (0..rows).map(|row| (row % 3) as f32).collect();
            shared::windows_change_no_bit(&case.with(Given::row_weights(&weights)), devices);
        }
    }
    // Two adapters share the types.
    if is_mine(0) {
        of_type::<f32>(&devices[..1], &[(700, 7, 0), (200, 129, 2), (40, 1001, 0)]);
    }
    if is_mine(1) {
        of_type::<f16>(&devices[1..], &[(700, 7, 0), (200, 129, 2)]);
    }
}
