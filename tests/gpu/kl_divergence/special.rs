//! Special values: NaN, infinities, masked rows, ends of f32, at several places of rows of every length.

use xent::half::{bf16, f16};
use xent::{Element, MaskedRow};

use crate::harness::is_mine;
use crate::kl_divergence::{Case, INF, Options, Rows, noise, noise_rows};
use crate::losses::{ALIGNED, Offsets, check};
use crate::typed::tunings_of;

type Fill = fn(&mut [f32], &mut [f32], usize);

fn only(row: &mut [f32], at: usize) {
    let kept = row[at];
    row.fill(-INF);
    row[at] = kept;
}

fn highest(row: &[f32]) -> f32 {
    row.iter().copied().fold(-INF, f32::max)
}

/// Student, teacher, and a place in the row.
const CASES: &[(&str, Fill)] = &[
    ("plain", |_, _, _| {}),
    ("equal", |x, b, _| x.copy_from_slice(b)),
    ("equal but for an offset", |x, b, _| x.iter_mut().zip(b).for_each(|(x, b)| *x = (*b).round() + 64.0)),
    ("NaN student", |x, _, at| x[at] = f32::NAN),
    ("NaN teacher", |_, b, at| b[at] = -f32::NAN),
    ("a signalling NaN", |x, _, at| x[at] = f32::from_bits(0x7f80_2001)),
    ("+inf student", |x, _, at| x[at] = INF),
    ("+inf teacher", |_, b, at| b[at] = INF),
    ("+inf student, NaN teacher", |x, b, at| (x[at], b[at]) = (INF, f32::NAN)),
    ("+inf both", |x, b, at| (x[at], b[at]) = (INF, INF)),
    ("-inf student", |x, _, at| x[at] = -INF),
    ("-inf teacher", |_, b, at| b[at] = -INF),
    ("-inf both", |x, b, at| (x[at], b[at]) = (-INF, -INF)),
    ("masked student", |x, _, _| x.fill(-INF)),
    ("masked teacher", |_, b, _| b.fill(-INF)),
    ("masked both", |x, b, _| (x.fill(-INF), b.fill(-INF)).0),
    ("masked teacher, NaN student", |x, b, at| (b.fill(-INF), x[at] = f32::NAN).1),
    ("masked student, +inf teacher", |x, b, at| (x.fill(-INF), b[at] = INF).1),
    ("one class of the student", |x, _, at| only(x, at)),
    ("one class of the teacher", |_, b, at| only(b, at)),
    ("one class, the same", |x, b, at| (only(x, at), only(b, at)).0),
    ("student at the lowest", |x, _, at| x[at] = f32::MIN),
    ("teacher at the lowest", |_, b, at| b[at] = f32::MIN),
    ("both at the lowest", |x, b, at| (x[at], b[at]) = (f32::MIN, f32::MIN)),
    ("student at the highest", |x, _, at| x[at] = f32::MAX),
    ("teacher at the highest", |_, b, at| b[at] = f32::MAX),
    ("both at the highest", |x, b, at| (x[at], b[at]) = (f32::MAX, f32::MAX)),
    ("all at the lowest", |x, b, _| (x.fill(f32::MIN), b.fill(f32::MIN)).0),
    ("student at the lowest but one", |x, _, at| {
        x.fill(f32::MIN);
        x[at] = 0.0;
    }),
    ("next to impossible for the teacher, at the lowest for the student", |x, b, at| {
        b[at] = highest(b) - 88.5;
        x[at] = f32::MIN;
    }),
    ("as that, below the least f32", |x, b, at| {
        b[at] = highest(b) - 95.0;
        x[at] = f32::MIN;
    }),
    ("as that, unlikely", |x, b, at| {
        b[at] = highest(b) - 40.0;
        x[at] = -1e20;
    }),
    ("a far maximum of the student", |x, _, at| x[at] = 300.0),
    ("a far maximum of the teacher", |_, b, at| b[at] = 300.0),
    ("denormals", |x, b, _| (x.fill(1e-40), b.fill(-1e-42)).0),
    ("plain again", |_, _, _| {}),
];

pub fn special_rows(cols: usize) -> Rows {
    let mut places = vec![0, cols / 2, cols - 1];
    places.dedup();
    if cols > 10_000 {
        places = vec![cols / 3];
    }
    let mut rows = Rows::new();
    for (i, &(label, fill)) in CASES.iter().enumerate() {
        for &at in &places {
            let seed = (i * 7 + at) as u64;
            let (mut x, mut b) = (noise(seed, cols, 2.0), noise(seed + 500, cols, 2.0));
            fill(&mut x, &mut b, at);
            rows.push((format!("{label} at {at}"), x, b));
        }
    }
    rows
}

/// By the host path with the plan's lanes, and bound with these.
fn check_special<E: Element>(cols: usize, options: Options, lanes: &[u32]) {
    let case = Case::<E>::dense("special", &special_rows(cols), options);
    let offsets = Offsets { second: 256 + 4 * (cols as u64 % 4), ..ALIGNED };
    check(&case, &tunings_of(lanes), &[offsets]);
}

#[test]
fn special_rows_of_every_length() {
    // Two adapters share the lanes of each row length.
    for (i, cols) in [1, 2, 3, 5, 8, 31, 64, 65, 257, 1000].into_iter().enumerate() {
        let lanes: &[u32] = if cols < 100 { &[1, 2, 8, 64] } else { &[1, 2, 8, 64, 256] };
        let mine: Vec<u32> = (0..lanes.len()).filter(|&j| is_mine(i + j)).map(|j| lanes[j]).collect();
        check_special::<f32>(cols, Options::default(), &mine);
    }
}

#[test]
fn special_rows_of_a_vocabulary() {
    check_special::<f32>(50_257, Options::default(), &[64]);
}

#[test]
fn special_rows_of_16_bits() {
    // Each row length takes one number of lanes beside the plan's in each type: all of them in turn.
    for (i, cols) in [1, 2, 3, 8, 65, 258].into_iter().enumerate() {
        check_special::<f16>(cols, Options::default(), &[[1, 8, 64][i % 3]]);
        check_special::<bf16>(cols, Options::default(), &[[1, 8, 64][(i + 1) % 3]]);
    }
}

#[test]
fn masked_rows_that_give_zeros() {
    let options = Options { masked_row: MaskedRow::Zero, ..Options::default() };
    // Two adapters share the lanes of f32, and the row lengths of bf16.
    for (i, cols) in [1, 2, 5, 65].into_iter().enumerate() {
        check_special::<f32>(cols, options, if is_mine(i) { &[1] } else { &[8] });
        if is_mine(i + 1) {
            check_special::<bf16>(cols, options, &[8]);
        }
    }
}

#[test]
fn temperatures() {
    for temperature in [0.1, 1.0, 2.0, 100.0] {
        for scale_by_t_squared in [false, true] {
            let options = Options { temperature, scale_by_t_squared, ..Options::default() };
            for cols in [2, 31, 257, 1000] {
                check(
                    &Case::<f32>::dense("temperature", &special_rows(cols), options),
                    &tunings_of(&[8]),
                    &[ALIGNED],
                );
            }
            let rows = noise_rows(3, 20, 66);
            check(&Case::<f16>::dense("temperature", &rows, options), &tunings_of(&[8]), &[ALIGNED]);
        }
    }
}
