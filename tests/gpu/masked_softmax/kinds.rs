//! Masks of each kind and together, causality, and windows.

use xent::half::{bf16, f16};
use xent::{Causal, Context, Element, MaskRows, wgpu};

use crate::harness::{bound_exactly, device_of_bindings, gpu, is_mine};
use crate::maps::{self, Offsets, Tested};
use crate::masked_softmax::{Batch, attention};
use crate::typed::{To, same_bits};

/// By the host path and bound into f32, and bound into every other kind of output.
fn check<E: Element>(name: &str, batch: &Batch<E>, [wide, own]: [bool; 2]) {
    let (gpu, tested) = (gpu(), Tested::new(name, batch));
    let offsets = Offsets { first: 260, second: 0, output: 264 };
    if wide {
        tested.host(gpu, None);
        tested.bound::<f32>(gpu, None, To::F32, offsets);
    }
    if own && To::all::<E>(batch.shape).contains(&To::InPlace) {
        let bound = tested.bound::<E>(gpu, None, To::Element, offsets);
        let over = tested.bound::<E>(gpu, None, To::InPlace, offsets);
        // What lies between the rows is as it was.
        for at in 0..over.len() {
            let is_value = at % batch.shape.row_stride < batch.shape.cols;
            let before = if is_value { bound[at] } else { batch.logits[at] };
            assert!(same_bits(&[over[at]], &[before]), "{name}: in place at {at}");
        }
    }
}

fn check_kinds<E: Element>(layouts: &[(usize, usize)]) {
    let q_len = 4;
    let each = |rows| Some(MaskRows::each(rows));
    let per_sequence = Some(MaskRows::repeated(2, 3 * q_len));
    let per_head = Some(MaskRows::repeated(3, q_len));
    let causals = |cols: usize| {
        [
            Causal::lower_right(q_len),
            Causal::upper_left(q_len),
            Causal::at(q_len, -1),
            Causal::at(q_len, -4),
            Causal::at(q_len, i64::MIN),
            Causal::at(q_len, i64::MAX),
            Causal::at(1, cols as i64 / 2),
            Causal::at(6 * q_len, 0),
        ]
    };
    for (i, &(cols, row_stride)) in layouts.iter().enumerate() {
        let mut kinds = vec![
            ("no mask", (None, None), None),
            ("additive, of all heads", (each(q_len), None), None),
            ("additive, of each row", (each(6 * q_len), None), None),
            ("additive, of each head", (per_head, None), None),
            ("boolean, of all rows", (None, each(1)), None),
            ("boolean, of each sequence", (None, per_sequence), None),
            ("both", (each(q_len), per_sequence), None),
            ("all three", (each(q_len), per_sequence), Some(Causal::lower_right(q_len))),
            ("all three, otherwise", (each(1), each(2 * q_len)), Some(Causal::at(q_len, 1))),
        ];
        kinds.extend(causals(cols).map(|causal| ("causal", (None, None), Some(causal))));
        // Two adapters share them, and each kind takes one half of the paths: on the other adapter, the other half.
        for (j, (name, masks, causal)) in kinds.into_iter().enumerate() {
            if is_mine(i + j) {
                let wide = (i + j / 2) % 2 == 0;
                let batch = attention::<E>(cols, row_stride, q_len, masks, causal);
                check(name, &batch, [wide, !wide]);
            }
        }
    }
}

#[test]
fn masks_of_each_kind_f32() {
    check_kinds::<f32>(&[(6, 6), (13, 13), (70, 75)]);
}

#[test]
fn masks_of_each_kind_f16() {
    check_kinds::<f16>(&[(6, 6), (13, 13), (70, 76)]);
}

#[test]
fn masks_of_each_kind_bf16() {
    check_kinds::<bf16>(&[(6, 6), (13, 14), (71, 71)]);
}

/// Nothing lies behind the last value, of the mask neither.
#[test]
fn arrays_that_end_with_their_buffer() {
    let masks = (Some(MaskRows::each(4)), Some(MaskRows::each(1)));
    for (cols, causal) in [(6, None), (13, Some(Causal::lower_right(4)))] {
        let batch = attention::<f32>(cols, cols, 4, masks, causal);
        bound_exactly(|| check("to the end", &batch, [false, true]));
        let batch = attention::<bf16>(cols, cols.next_multiple_of(2), 4, masks, causal);
        bound_exactly(|| check("to the end", &batch, [false, true]));
    }
}

/// Dense rows through a device whose bindings hold a few: the row of the mask is told from the batch's first row.
#[test]
fn windows_change_no_bit() {
    let small = device_of_bindings(wgpu::Features::empty(), 16 << 10);
    fn windowed<E: Element>(small: &Context, cols: usize) {
        let q_len = 35;
        let kinds = (Some(MaskRows::each(q_len)), Some(MaskRows::repeated(2, 3 * q_len)));
        let batch = attention::<E>(cols, cols, q_len, kinds, Some(Causal::lower_right(q_len)));
        maps::windows_change_no_bit(&batch, small);
    }
    windowed::<f32>(&small, 101);
    // Two adapters share the others.
    if is_mine(0) {
        windowed::<f16>(&small, 99);
    }
    if is_mine(1) {
        windowed::<bf16>(&small, 102);
    }
}
