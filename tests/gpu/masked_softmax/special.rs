//! Special values of logits and of masks, at several places of rows of every length.

use xent::{MaskRows, MaskedRow, MaskedSoftmaxOptions, Shape};

use crate::harness::{gpu, is_mine};
use crate::maps::{LANES, Offsets, Tested, places};
use crate::masked_softmax::{Batch, INF};
use crate::typed::{To, noise};

/// A row's logits, its additive and its boolean mask, and where in them the special value is.
type Fill = fn(&mut [f32], &mut [f32], &mut [bool], usize);

const CASES: &[(&str, Fill)] = &[
    ("noise", |_, _, _, _| {}),
    ("a NaN", |x, _, _, at| x[at] = f32::NAN),
    ("a signalling −NaN", |x, _, _, at| x[at] = f32::from_bits(0xff80_0001)),
    ("a +∞", |x, _, _, at| x[at] = INF),
    ("a −∞", |x, _, _, at| x[at] = -INF),
    ("all −∞", |x, _, _, _| x.fill(-INF)),
    ("all but one −∞", |x, _, _, at| {
        x.fill(-INF);
        x[at] = 2.0;
    }),
    ("a forbidden NaN", |x, _, b, at| (x[at], b[at]) = (f32::NAN, false)),
    ("a forbidden NaN of all ones", |x, _, b, at| (x[at], b[at]) = (f32::from_bits(u32::MAX), false)),
    ("a forbidden +∞", |x, _, b, at| (x[at], b[at]) = (INF, false)),
    ("a forbidden maximum", |x, _, b, at| (x[at], b[at]) = (3e38, false)),
    ("a forbidden NaN of the mask", |_, m, b, at| (m[at], b[at]) = (f32::NAN, false)),
    ("all forbidden", |_, _, b, _| b.fill(false)),
    ("all forbidden, a NaN", |x, _, b, at| {
        b.fill(false);
        x[at] = f32::NAN;
    }),
    ("all but one forbidden", |x, _, b, at| {
        x.fill(f32::NAN);
        b.fill(false);
        (x[at], b[at]) = (7.0, true);
    }),
    ("a NaN, the others forbidden", |x, _, b, at| {
        b.fill(false);
        (x[at], b[at]) = (f32::NAN, true);
    }),
    ("a mask of −∞", |_, m, _, at| m[at] = -INF),
    ("a NaN under −∞", |x, m, _, at| (x[at], m[at]) = (f32::NAN, -INF)),
    ("a +∞ under −∞", |x, m, _, at| (x[at], m[at]) = (INF, -INF)),
    ("a −∞ under −∞", |x, m, _, at| (x[at], m[at]) = (-INF, -INF)),
    ("a −∞ under +∞", |x, m, _, at| (x[at], m[at]) = (-INF, INF)),
    ("a mask of +∞", |_, m, _, at| m[at] = INF),
    ("a mask of NaN", |_, m, _, at| m[at] = f32::from_bits(0xffc0_1234)),
    ("a mask of NaN over −∞", |x, m, _, at| (x[at], m[at]) = (-INF, f32::NAN)),
    ("all masks −∞", |_, m, _, _| m.fill(-INF)),
    ("all masks but one −∞", |_, m, _, at| {
        m.fill(-INF);
        m[at] = -1.0;
    }),
    ("all masks but one −3.4e38", |_, m, _, at| {
        m.fill(f32::MIN);
        m[at] = 0.0;
    }),
    ("−∞ by mask, logit and flag", |x, m, b, at| {
        x.fill(-INF);
        if at > 0 {
            (x[0], b[0]) = (1.0, false);
        }
        (x[at], m[at]) = (1.0, -INF);
    }),
    ("a logit of 3e38", |x, _, _, at| x[at] = 3e38),
    ("a logit of −3e38", |x, _, _, at| x[at] = -3e38),
    ("3e38 and −3e38", |x, m, _, at| (x[at], m[at]) = (3e38, -3.4e38)),
    ("a sum beyond f32", |x, m, _, at| (x[at], m[at]) = (2.4e38, 3e38)),
    ("a shift of 1e4", |x, _, _, _| x.iter_mut().for_each(|x| *x += 1e4)),
    ("masks of 1e5", |_, m, _, _| m.fill(1e5)),
    ("a peak", |x, _, _, at| x[at] = 60.0),
    ("a peak of the mask", |_, m, _, at| m[at] = 60.0),
];

/// Every case at the first, the last and columns between.
fn special(cols: usize, options: MaskedSoftmaxOptions) -> Batch<f32> {
    let (values, biases) = (noise(cols as u64, cols + 997, 3.0), noise(1, cols + 997, 1.0));
    let (mut labels, mut logits, mut additive, mut boolean) = (vec![], vec![], vec![], vec![]);
    for (i, &(label, fill)) in CASES.iter().enumerate() {
        for at in places(cols) {
            let from = (i * 31 + at) % 997;
            let (mut x, mut m) = (values[from..][..cols].to_vec(), biases[from..][..cols].to_vec());
            let mut b = vec![true; cols];
            fill(&mut x, &mut m, &mut b, at);
            labels.push(format!("{label} at {at}"));
            logits.extend(x);
            additive.extend(m);
            boolean.extend(b);
        }
    }
    let rows = MaskRows::each(labels.len());
    Batch {
        shape: Shape::new(labels.len(), cols),
        labels,
        logits,
        additive: Some((additive, rows)),
        boolean: Some((boolean, rows)),
        options,
    }
}

fn check_special(cols: &[usize]) {
    let gpu = gpu();
    for (at, &cols) in cols.iter().enumerate() {
        let scale = [0.125, 1.0, -0.5, 10.0][at % 4];
        let masked_row = [MaskedRow::Nan, MaskedRow::Zero][at % 2];
        let batch = special(cols, MaskedSoftmaxOptions { scale, masked_row, causal: None });
        let tested = Tested::new("special", &batch);
        let (first, output) = (256 + 4 * (cols as u64 % 4), 256 + 4 * (at as u64 % 3));
        let offsets = Offsets { first, second: 0, output };
        // The plan's lanes into both places, and a third of the others into one: all of them in turn. Two adapters share them.
        let others = (1..LANES.len()).filter(|i| (i + at) % 3 == 0).map(|i| (LANES[i], (i + at) % 2));
        let all = [(LANES[0], 0), (LANES[0], 1)].into_iter().chain(others);
        for (_, (lanes, to)) in all.enumerate().filter(|&(i, _)| is_mine(at + i)) {
            tested.bound::<f32>(gpu, lanes, [To::Element, To::InPlace][to], offsets);
        }
        tested.host(gpu, None);
    }
}

#[test]
fn special_values_in_short_rows() {
    check_special(&[1, 2, 3, 5, 8, 31, 64, 65]);
}

#[test]
fn special_values_in_long_rows() {
    check_special(&[257, 1000, 4097, 1001]);
}
