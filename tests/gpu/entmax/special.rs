//! Special logits at several places of rows of every length, ties, far and equal logits.

use xent::{EntmaxBackwardOptions, EntmaxOptions, MaskedRow, Shape};

use crate::entmax::{Batch, INF, Pairs, of, pairs_of};
use crate::harness::{gpu, is_mine};
use crate::maps::{LANES, Offsets, Tested, places};
use crate::typed::{To, noise};

/// A row's logits, and where in them the special value is.
type Fill = fn(&mut [f32], usize);

const CASES: &[(&str, Fill)] = &[
    ("noise", |_, _| {}),
    ("a NaN", |x, at| x[at] = f32::NAN),
    ("a signalling −NaN", |x, at| x[at] = f32::from_bits(0xff80_0001)),
    ("a +∞", |x, at| x[at] = INF),
    ("a −∞", |x, at| x[at] = -INF),
    ("all −∞", |x, _| x.fill(-INF)),
    ("all but one −∞", |x, at| {
        x.fill(-INF);
        x[at] = 2.0;
    }),
    ("equal", |x, _| x.fill(-3.25)),
    ("equal but one", |x, at| {
        x.fill(0.5);
        x[at] = 0.75;
    }),
    ("two values", |x, _| x.iter_mut().enumerate().for_each(|(col, x)| *x = [1.0, 0.875][col % 2])),
    ("nearly equal", |x, _| x.iter_mut().for_each(|x| *x *= 1e-3)),
    ("rising", |x, _| {
        let cols = x.len() as f32;
        x.iter_mut().enumerate().for_each(|(col, x)| *x = col as f32 / cols);
    }),
    ("falling fast", |x, _| x.iter_mut().enumerate().for_each(|(col, x)| *x = -(col as f32))),
    ("ever closer", |x, _| x.iter_mut().enumerate().for_each(|(col, x)| *x = 1.0 / (1.0 + col as f32))),
    ("at the edge of the support", |x, at| {
        x.fill(-1.0);
        x[at] = 0.0;
    }),
    ("one at 3.4e38", |x, at| x[at] = f32::MAX),
    ("one at −3.4e38", |x, at| x[at] = f32::MIN),
    ("all at −3.4e38", |x, _| x.fill(f32::MIN)),
    ("±3.4e38", |x, _| x.iter_mut().enumerate().for_each(|(col, x)| *x = [f32::MAX, f32::MIN][col % 2])),
    ("shifted by 1e6", |x, _| x.iter_mut().for_each(|x| *x += 1e6)),
    ("shifted by −1e8", |x, _| x.iter_mut().for_each(|x| *x -= 1e8)),
    ("a peak", |x, at| x[at] = 60.0),
];

/// Every case at the first, the last and columns between.
fn special(cols: usize, options: EntmaxOptions) -> Batch<f32> {
    let values = noise(cols as u64, cols + 997, 1.0);
    let (mut labels, mut logits) = (vec![], vec![]);
    for (i, &(label, fill)) in CASES.iter().enumerate() {
        for at in places(cols) {
            let mut x = values[(i * 31 + at) % 997..][..cols].to_vec();
            fill(&mut x, at);
            labels.push(format!("{label} at {at}"));
            logits.extend(x);
        }
    }
    Batch { shape: Shape::new(labels.len(), cols), labels, logits, options }
}

/// Every α, with the plan's lanes or with others in turn. Two adapters share the α of each row length.
fn check_special(cols: &[usize]) {
    for (at, &cols) in cols.iter().enumerate() {
        for (i, alpha) in [1.5, 2.0, 1.25, 3.0].into_iter().enumerate() {
            if !is_mine(at / 2 + i) {
                continue;
            }
            let masked_row = [MaskedRow::Nan, MaskedRow::Zero][(at + i) % 2];
            let batch = special(cols, EntmaxOptions { alpha, masked_row });
            let tested = Tested::new("special", &batch);
            let lanes = if at == i { None } else { LANES[1 + (at + i) % 5] };
            let to = [To::Element, To::InPlace][(at + i) % 2];
            let offsets = Offsets { first: 256 + 4 * (cols as u64 % 4), second: 0, output: 256 };
            tested.bound::<f32>(gpu(), lanes, to, offsets);
        }
    }
}

#[test]
fn special_values_in_short_rows() {
    check_special(&[1, 2, 3, 7, 33, 64]);
}

/// Lists overflow here, so that rows are read again.
#[test]
fn special_values_in_long_rows() {
    check_special(&[257, 1001, 4096, 9001]);
}

/// A vocabulary, peaky, flat and with ties; and the backward pass of it.
#[test]
fn vocabularies() {
    let cols = 50_257;
    for (i, alpha) in [1.5, 2.0, 1.0625, 2.5].into_iter().enumerate() {
        let mut logits = noise(3, 3 * cols, 2.0);
        logits[cols..2 * cols].iter_mut().for_each(|x| *x *= 0.01);
        logits[2 * cols..].fill(4.0);
        logits[2 * cols + 77] = -INF;
        let labels = ["noise", "nearly equal", "equal"].map(String::from).to_vec();
        let batch = Batch { labels, shape: Shape::new(3, cols), logits, options: of(alpha) };
        let tested = Tested::new("a vocabulary", &batch);
        let lanes = [None, Some(256)];
        for lanes in lanes.into_iter().enumerate().filter(|(at, _)| is_mine(i + at)).map(|(_, lanes)| lanes) {
            tested.bound::<f32>(gpu(), lanes, To::Element, crate::maps::ALIGNED);
        }
        if i < 2 && is_mine(i) {
            let pairs = pairs_of(&batch, noise(7, 3 * cols, 1.0));
            let tested = Tested::new("pairs of a vocabulary", &pairs);
            tested.bound::<f32>(gpu(), None, To::Element, crate::maps::ALIGNED);
        }
    }
}

/// A row's probabilities and the gradient by them, and where the special value is.
type FillPairs = fn(&mut [f32], &mut [f32], usize);

const PAIRS: &[(&str, FillPairs)] = &[
    ("noise", |_, _, _| {}),
    ("a NaN", |p, _, at| p[at] = f32::NAN),
    ("a +∞", |p, _, at| p[at] = INF),
    ("a −∞", |p, _, at| p[at] = -INF),
    ("a NaN gradient", |_, d, at| d[at] = f32::NAN),
    ("a −∞ gradient", |_, d, at| d[at] = -INF),
    ("a zero", |p, _, at| p[at] = 0.0),
    ("all zero", |p, _, _| p.fill(0.0)),
    ("certain", |p, _, at| {
        p.fill(0.0);
        p[at] = 1.0;
    }),
    ("a tiny one", |p, _, at| p[at] = 1e-30),
    ("gradients of 1e30", |_, d, _| d.iter_mut().for_each(|d| *d *= 1e30)),
    ("a gradient of 3e38 where p is 0", |p, d, at| (p[at], d[at]) = (0.0, 3e38)),
    ("equal gradients", |_, d, _| d.fill(2.5)),
];

fn special_pairs(cols: usize, options: EntmaxOptions) -> Pairs<f32> {
    let (values, gradients) = (noise(cols as u64, cols + 97, 1.0), noise(2, cols + 97, 1.0));
    let (mut labels, mut probs, mut dprobs) = (vec![], vec![], vec![]);
    for (i, &(label, fill)) in PAIRS.iter().enumerate() {
        for at in places(cols) {
            let from = (i * 31 + at) % 97;
            let row = Batch {
                labels: vec![],
                shape: Shape::new(1, cols),
                logits: values[from..][..cols].to_vec(),
                options,
            };
            let Pairs { probs: mut p, dprobs: mut d, .. } =
                pairs_of(&row, gradients[from..][..cols].to_vec());
            fill(&mut p, &mut d, at);
            labels.push(format!("{label} at {at}"));
            probs.extend(p);
            dprobs.extend(d);
        }
    }
    let options = EntmaxBackwardOptions { alpha: options.alpha };
    Pairs { shape: Shape::new(labels.len(), cols), labels, probs, dprobs, options }
}

#[test]
fn special_pairs_of_the_backward_pass() {
    for (at, cols) in [1, 2, 7, 33, 257, 1001].into_iter().enumerate() {
        let alpha = [1.5, 2.0, 1.25, 3.0][at % 4];
        let pairs = special_pairs(cols, of(alpha));
        let tested = Tested::new("special pairs", &pairs);
        let offsets = Offsets { first: 256 + 4 * (at as u64 % 3), second: 260, output: 256 };
        let to = [To::Element, To::InPlace][at / 2 % 2];
        tested.bound::<f32>(gpu(), LANES[at], to, offsets);
    }
}
