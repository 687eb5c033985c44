//! Types, layouts, long sums, and windows.

use xent::half::{bf16, f16};
use xent::{Context, Element, Shape, SoftmaxBackwardOptions, wgpu};

use crate::harness::{bound_exactly, device_of_bindings, gpu, is_mine};
use crate::maps::{self, ALIGNED, Offsets, Tested, sentinel};
use crate::softmax_backward::{Batch, probs_of};
use crate::typed::{To, narrowed, noise};

/// Noise in any layout; what lies between the rows is the sentinel.
fn layout<E: Element>(shape: Shape, options: SoftmaxBackwardOptions) -> Batch<E> {
    let (mut probs, mut dprobs) = (vec![sentinel(); shape.len()], vec![sentinel(); shape.len()]);
    let (values, gradients) =
        (noise(4, shape.rows * shape.cols, 2.0), noise(5, shape.rows * shape.cols, 1.0));
    for row in 0..shape.rows {
        let of_row = row * shape.cols..(row + 1) * shape.cols;
        let p: Vec<E> = narrowed(&probs_of(&values[of_row.clone()], options.log));
        let d: Vec<E> = narrowed(&gradients[of_row]);
        for col in 0..shape.cols {
            let at = shape.row_start(row) + col * shape.inner;
            (probs[at], dprobs[at]) = (p[col], d[col]);
        }
    }
    Batch { labels: Vec::new(), shape, probs, dprobs, options }
}

fn check_layouts<E: Element>() {
    let gpu = gpu();
    let shapes = [
        Shape::new(5, 12),
        Shape::new(5, 13),
        Shape::new(3, 70).row_stride(76),
        Shape::new(3, 70).row_stride(75),
        Shape::nchw(2, 7, 5),
        Shape::nchw(3, 21, 1).row_stride(24),
        Shape::nchw(2, 33, 6).row_stride(33 * 6 + 3),
        Shape::new(0, 4),
        Shape::new(1, 1),
    ];
    // Each shape takes the plan's lanes for one of the two, and for the other one number of lanes: all of them in turn. Two
    // adapters share them.
    for (i, shape) in shapes.into_iter().enumerate() {
        for log in [false, true] {
            if !is_mine(i / 2 + usize::from(log)) {
                continue;
            }
            let batch = layout::<E>(shape, SoftmaxBackwardOptions { log, scale: 0.25 });
            let tested = Tested::new("layout", &batch);
            let lanes = if log == (i % 2 == 0) { None } else { Some([1, 8, 64][i % 3]) };
            tested.host(gpu, lanes);
            if shape.rows == 0 {
                continue;
            }
            tested.bound::<f32>(gpu, lanes, To::F32, Offsets { first: 256, second: 260, output: 264 });
            let shares_words = shape.inner > 1 || (shape.rows > 1 && !shape.row_stride.is_multiple_of(2));
            if size_of::<E>() == 4 || !shares_words {
                for (to, first) in [(To::Element, 260), (To::InPlace, 264)] {
                    tested.bound::<E>(gpu, lanes, to, Offsets { first, second: 260, output: 256 });
                }
            }
        }
    }
}

#[test]
fn layouts_f32() {
    check_layouts::<f32>();
}

#[test]
fn layouts_f16() {
    check_layouts::<f16>();
}

#[test]
fn layouts_bf16() {
    check_layouts::<bf16>();
}

/// Nothing lies behind the last value.
#[test]
fn arrays_that_end_with_their_buffer() {
    let options = SoftmaxBackwardOptions { log: false, scale: 1.0 };
    let words = layout::<f32>(Shape::new(3, 13), options);
    let halves = layout::<f16>(Shape::new(3, 13).row_stride(14), options);
    bound_exactly(|| {
        Tested::new("to the end", &words).bound::<f32>(gpu(), None, To::Element, ALIGNED);
        Tested::new("to the end", &halves).bound::<f16>(gpu(), None, To::InPlace, ALIGNED);
    });
}

/// Rows longer than a chunk of every lane's.
#[test]
fn long_sums() {
    for log in [false, true] {
        let mut batch = layout::<f32>(Shape::new(3, 100_003), SoftmaxBackwardOptions { log, scale: 1.0 });
        // All of one sign: nothing cancels in the sum.
        batch.dprobs[..100_003].iter_mut().for_each(|d| *d = d.abs());
        let tested = Tested::new("long", &batch);
        for lanes in [2, 8, 256] {
            tested.bound::<f32>(gpu(), Some(lanes), To::Element, ALIGNED);
        }
    }
}

#[test]
fn windows_change_no_bit() {
    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    fn windowed<E: Element>(small: &Context, shape: Shape) {
        for log in [false, true] {
            let batch = layout::<E>(shape, SoftmaxBackwardOptions { log, scale: 1.0 });
            maps::windows_change_no_bit(&batch, small);
        }
    }
    windowed::<f32>(&small, Shape::new(200, 101));
    windowed::<f16>(&small, Shape::new(200, 99));
    windowed::<bf16>(&small, Shape::new(100, 102).row_stride(103));
    windowed::<f32>(&small, Shape::nchw(40, 21, 12));
}
