//! Types, layouts, and windows.

use xent::half::{bf16, f16};
use xent::{Element, Shape, wgpu};

use crate::entmax::{Batch, of, pairs_of};
use crate::harness::{bound_exactly, device_of_bindings, gpu, is_mine};
use crate::maps::{self, ALIGNED, Offsets, Tested, sentinel};
use crate::typed::{To, narrowed, noise};

/// Noise in any layout; what lies between the rows is the sentinel.
fn values<E: Element>(shape: Shape, seed: u64) -> Vec<E> {
    let mut all = vec![sentinel(); shape.len()];
    let noise: Vec<E> = narrowed(&noise(seed, shape.rows * shape.cols, 1.0));
    for row in 0..shape.rows {
        for col in 0..shape.cols {
            all[shape.row_start(row) + col * shape.inner] = noise[row * shape.cols + col];
        }
    }
    all
}

fn layout<E: Element>(shape: Shape, alpha: f32) -> Batch<E> {
    Batch { labels: vec![], shape, logits: values(shape, 4), options: of(alpha) }
}

/// Each shape takes one α, one number of lanes and one place; two adapters share them.
fn check_layouts<E: Element>() {
    let shapes = [
        Shape::new(5, 12),
        Shape::new(5, 13),
        Shape::new(3, 70).row_stride(75),
        Shape::nchw(2, 7, 5),
        Shape::nchw(2, 33, 6).row_stride(33 * 6 + 3),
        Shape::new(3, 70).row_stride(76),
        Shape::new(0, 4),
    ];
    for (i, shape) in shapes.into_iter().enumerate().filter(|&(i, _)| is_mine(i)) {
        let batch = layout::<E>(shape, [1.5, 2.0, 1.25][i % 3]);
        let tested = Tested::new("layout", &batch);
        tested.host(gpu(), None);
        let pairs = pairs_of(&layout::<E>(shape, [2.0, 1.5][i % 2]), values(shape, 5));
        let backward = Tested::new("layout", &pairs);
        backward.host(gpu(), None);
        if shape.rows == 0 {
            continue;
        }
        let lanes = [Some(8), None, Some(2)][i % 3];
        let offsets = Offsets { first: 260, second: 256, output: 264 };
        tested.bound::<f32>(gpu(), lanes, To::F32, offsets);
        let places = To::all::<E>(shape);
        let to = places[i % places.len()];
        if to != To::F32 {
            tested.bound::<E>(gpu(), lanes, to, offsets);
        }
        backward.bound::<f32>(gpu(), lanes, To::F32, offsets);
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
    let words = layout::<f32>(Shape::new(3, 13), 1.5);
    bound_exactly(|| {
        Tested::new("to the end", &words).bound::<f32>(gpu(), None, To::Element, ALIGNED);
    });
}

/// With lists that hold all, and with rows that are read again.
#[test]
fn windows_change_no_bit() {
    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    let mut batch = layout::<f32>(Shape::new(60, 101), 1.5);
    maps::windows_change_no_bit(&batch, &small);
    batch.shape = Shape::new(2, 3001);
    batch.logits.truncate(6002);
    batch.logits.iter_mut().for_each(|x| *x *= 1e-3);
    maps::windows_change_no_bit(&batch, &small);
}
