//! Special values of probabilities and of gradients, at several places of rows of every length.

use xent::{Shape, SoftmaxBackwardOptions};

use crate::harness::{gpu, is_mine};
use crate::maps::{LANES, Offsets, Tested, places};
use crate::softmax_backward::{Batch, INF, probs_of};
use crate::typed::{To, noise};

/// A row's probabilities, the gradient by them, and where the special value is.
type Fill = fn(&mut [f32], &mut [f32], usize);

/// Cases of both kinds.
const CASES: &[(&str, Fill)] = &[
    ("noise", |_, _, _| {}),
    ("a NaN", |p, _, at| p[at] = f32::NAN),
    ("a signalling −NaN", |p, _, at| p[at] = f32::from_bits(0xff80_0001)),
    ("a +∞", |p, _, at| p[at] = INF),
    ("all NaN", |p, _, _| p.fill(f32::NAN)),
    ("a NaN gradient", |_, d, at| d[at] = f32::NAN),
    ("a NaN gradient of all ones", |_, d, at| d[at] = f32::from_bits(u32::MAX)),
    ("a +∞ gradient", |_, d, at| d[at] = INF),
    ("a −∞ gradient", |_, d, at| d[at] = -INF),
    ("gradients of +∞ and −∞", |_, d, at| (d[0], d[at]) = (INF, -INF)),
    ("no gradient", |_, d, _| d.fill(0.0)),
    ("one gradient", |_, d, at| {
        d.fill(0.0);
        d[at] = 1.0;
    }),
    ("equal gradients", |_, d, _| d.fill(2.5)),
    ("a gradient of 3e38", |_, d, at| d[at] = 3e38),
    ("gradients of ±1e30", |_, d, _| {
        d.iter_mut().enumerate().for_each(|(col, d)| *d = [1e30, -1e30][col % 2])
    }),
    ("small gradients", |_, d, _| d.iter_mut().for_each(|d| *d *= 1e-30)),
];

const OF_PROBS: &[(&str, Fill)] = &[
    ("a −∞", |p, _, at| p[at] = -INF),
    ("a zero", |p, _, at| p[at] = 0.0),
    ("a zero with a NaN gradient", |p, d, at| (p[at], d[at]) = (0.0, f32::NAN)),
    ("all zero", |p, _, _| p.fill(0.0)),
    ("all zero, a NaN gradient", |p, d, at| {
        p.fill(0.0);
        d[at] = f32::NAN;
    }),
    ("certain", |p, _, at| {
        p.fill(0.0);
        p[at] = 1.0;
    }),
    ("gradients of ±3.4e38", |_, d, at| {
        d.fill(f32::MIN);
        d[at] = f32::MAX;
    }),
];

const OF_LOG_PROBS: &[(&str, Fill)] = &[
    ("a −∞", |p, _, at| p[at] = -INF),
    ("a −∞ with a NaN gradient", |p, d, at| (p[at], d[at]) = (-INF, f32::NAN)),
    ("all −∞", |p, _, _| p.fill(-INF)),
    ("all −∞, a NaN gradient", |p, d, at| {
        p.fill(-INF);
        d[at] = f32::NAN;
    }),
    ("all −∞, a +∞", |p, _, at| {
        p.fill(-INF);
        p[at] = INF;
    }),
    ("certain", |p, _, at| {
        p.fill(-INF);
        p[at] = 0.0;
    }),
    ("all but one −100", |p, _, at| {
        p.fill(-100.0);
        p[at] = 0.0;
    }),
    ("all but one −87", |p, _, at| {
        p.fill(-87.0);
        p[at] = 0.0;
    }),
    ("the lowest", |p, _, at| p[at] = f32::MIN),
];

/// Every case at the first, the last and columns between.
fn special(cols: usize, options: SoftmaxBackwardOptions) -> Batch<f32> {
    let (values, gradients) = (noise(cols as u64, cols + 997, 3.0), noise(2, cols + 997, 1.0));
    let (mut labels, mut probs, mut dprobs) = (vec![], vec![], vec![]);
    let own = if options.log { OF_LOG_PROBS } else { OF_PROBS };
    for (i, &(label, fill)) in CASES.iter().chain(own).enumerate() {
        for at in places(cols) {
            let from = (i * 31 + at) % 997;
            let mut p = probs_of(&values[from..][..cols], options.log);
            let mut d = gradients[from..][..cols].to_vec();
            fill(&mut p, &mut d, at);
            labels.push(format!("{label} at {at}"));
            probs.extend(p);
            dprobs.extend(d);
        }
    }
    Batch { shape: Shape::new(labels.len(), cols), labels, probs, dprobs, options }
}

fn check_special(cols: &[usize]) {
    let gpu = gpu();
    for (at, &cols) in cols.iter().enumerate() {
        let scale = [1.0, 0.125, -0.5, 3.0][at % 4];
        for log in [false, true] {
            let batch = special(cols, SoftmaxBackwardOptions { log, scale });
            let tested = Tested::new("special", &batch);
            // The plan's lanes into both places, and a third of the others into one: all of them in turn. Two adapters share
            // them.
            let others = (1..LANES.len()).filter(|i| (i + at) % 3 == 0).map(|i| (i, at + usize::from(log)));
            let all = [(0, 0), (0, 1)].into_iter().chain(others);
            for (_, (i, to)) in all.enumerate().filter(|&(j, _)| is_mine(at + usize::from(log) + j)) {
                let shift = |by: usize| 256 + 4 * ((cols + by) as u64 % 4);
                // All three aligned alike, or each in its own way.
                let [first, second, output] =
                    if i % 2 == 0 { [shift(i); 3] } else { [shift(i), shift(2 * i + 1), 256] };
                let to = [To::Element, To::InPlace][to % 2];
                tested.bound::<f32>(gpu, LANES[i], to, Offsets { first, second, output });
            }
            tested.host(gpu, None);
        }
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
