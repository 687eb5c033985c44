//! The edge cases of the contract, each at every place of a row that a kernel treats in its own way, in rows of every
//! length at which it changes its way.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Normal};
use xent::{Context, Tuning};

use crate::batch::{Batch, Ops, masked_zero_ops, ops};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{gpu, tunings};
use crate::outputs::{Gradient, run_bound, run_host, run_loss};

const INF: f32 = f32::INFINITY;
const IGNORED: i32 = -100;

/// What a row's target is.
#[derive(Clone, Copy)]
pub enum Target {
    /// The class with the special value.
    At,
    /// Its neighbour.
    Beside,
    /// This, whatever it means.
    Is(i32),
    /// The number of classes.
    Cols,
}
use Target::{At, Beside, Cols, Is};

/// A row of noise becomes the case's, its special value at a column.
pub type Fill = fn(&mut [f32], usize);

fn bits(bits: u32) -> f32 {
    f32::from_bits(bits)
}

fn ramp(row: &mut [f32], slope: f32) {
    row.iter_mut().enumerate().for_each(|(col, x)| *x = col as f32 * slope);
}

fn shift(row: &mut [f32], by: f32) {
    row.iter_mut().for_each(|x| *x += by);
}

/// Cases that the host path takes too.
pub const CASES: &[(&str, Target, Fill)] = &[
    ("noise", At, |_, _| {}),
    ("one −∞", Beside, |row, at| row[at] = -INF),
    ("the target −∞", At, |row, at| row[at] = -INF),
    ("all −∞", At, |row, _| row.fill(-INF)),
    ("all but one −∞", At, |row, at| {
        let x = row[at];
        row.fill(-INF);
        row[at] = x;
    }),
    ("the lowest finite among −∞", At, |row, at| {
        row.fill(-INF);
        row[at] = f32::MIN;
    }),
    ("+∞", Beside, |row, at| row[at] = INF),
    ("the target +∞", At, |row, at| row[at] = INF),
    ("+∞ among −∞", Beside, |row, at| {
        row.fill(-INF);
        row[at] = INF;
    }),
    ("quiet NaN", Beside, |row, at| row[at] = bits(0x7fc0_0000)),
    ("quiet −NaN", At, |row, at| row[at] = bits(0xffc0_0000)),
    ("signalling NaN", Beside, |row, at| row[at] = bits(0x7f80_0001)),
    ("signalling −NaN", At, |row, at| row[at] = bits(0xff80_0001)),
    ("NaN of all ones", Beside, |row, at| row[at] = bits(0x7fff_ffff)),
    ("−NaN of all ones", Beside, |row, at| row[at] = bits(0xffff_ffff)),
    ("NaN behind +∞", Beside, |row, at| {
        row[0] = INF;
        row[at] = bits(0x7fc0_0000);
    }),
    ("NaN among −∞", Beside, |row, at| {
        row.fill(-INF);
        row[at] = bits(0xffc0_1234);
    }),
    ("two NaNs", At, |row, at| {
        row[at] = bits(0xffc0_0000);
        row[row.len() - 1] = bits(0x7fc0_0000);
    }),
    ("ignored", Is(IGNORED), |_, _| {}),
    ("ignored, NaN", Is(IGNORED), |row, _| row.fill(f32::NAN)),
    ("ignored, all −∞", Is(IGNORED), |row, _| row.fill(-INF)),
    ("ignored, +∞", Is(IGNORED), |row, at| row[at] = INF),
    ("the top of f32 above its bottom", Beside, |row, at| {
        row.fill(f32::MIN);
        row[at] = f32::MAX;
    }),
    ("−3.4e38 below 0", At, |row, at| {
        row.fill(0.0);
        row[at] = -3.4e38;
    }),
    ("all 3.4e38", At, |row, _| row.fill(3.4e38)),
    ("all −3.4e38", At, |row, _| row.fill(-3.4e38)),
    ("shift 1e4", At, |row, _| shift(row, 1e4)),
    ("shift −1e5", At, |row, _| shift(row, -1e5)),
    ("shift 1e6", At, |row, _| shift(row, 1e6)),
    ("shift −1e7", At, |row, _| shift(row, -1e7)),
    ("shift 1e8", At, |row, _| shift(row, 1e8)),
    ("denormals", At, |row, _| {
        row.iter_mut().enumerate().for_each(|(col, x)| *x = bits(col as u32 * 3 % 101))
    }),
    ("one denormal above 0", At, |row, at| {
        row.fill(0.0);
        row[at] = bits(1);
    }),
    ("−0 and a −denormal", At, |row, at| {
        row.fill(-0.0);
        row[at] = bits(0x8000_0001);
    }),
    ("a loss of 500", Beside, |row, at| {
        row.fill(0.0);
        row[at] = 500.0;
    }),
    ("log-probabilities about −87, −88, −103", At, |row, at| {
        row.iter_mut().enumerate().for_each(|(col, x)| *x = [-86.5, -87.5, -88.5, -103.5][col % 4]);
        row[at] = 0.0;
    }),
    ("−0 and +0 tie", At, |row, _| {
        row.iter_mut().enumerate().for_each(|(col, x)| *x = [-0.0, 0.0][col % 2])
    }),
    ("equal", At, |row, _| row.fill(1.5)),
    ("a maximum", At, |row, at| row[at] = 30.0),
    ("a tie with the last", At, |row, at| {
        row[at] = 30.0;
        row[row.len() - 1] = 30.0;
    }),
    ("+∞ ties with the last", At, |row, at| {
        row[at] = INF;
        row[row.len() - 1] = INF;
    }),
    ("a tie from here on", Beside, |row, at| row[at..].fill(9.0)),
    ("a ramp up", At, |row, _| ramp(row, 1e-3)),
    ("a ramp down", At, |row, _| ramp(row, -1e-3)),
    ("a gentle ramp up", At, |row, _| ramp(row, 1e-5)),
    ("a gentle ramp down", At, |row, _| ramp(row, -1e-5)),
    ("a steep ramp up", At, |row, _| ramp(row, 1.0)),
    ("a steep ramp down", At, |row, _| ramp(row, -1.0)),
];

/// Cases that only buffers can hold.
const BAD_TARGETS: &[(&str, Target, Fill)] = &[
    ("a right row", At, |_, _| {}),
    ("a right row, ignored", Is(IGNORED), |_, _| {}),
    ("target = cols", Cols, |_, _| {}),
    ("target −1", Is(-1), |_, _| {}),
    ("target i32::MIN", Is(i32::MIN), |_, _| {}),
    ("target i32::MAX", Is(i32::MAX), |row, _| row.fill(-INF)),
    ("target −101 of a NaN row", Is(-101), |row, at| row[at] = f32::NAN),
    ("another right row", Beside, |_, _| {}),
];

/// Every case at first, head, middle, tail and last column.
pub fn batch(name: &str, cases: &[(&str, Target, Fill)], cols: usize) -> Batch {
    let mut places = vec![0, 1, cols / 2, cols.saturating_sub(2), cols - 1];
    places.retain(|&at| at < cols);
    places.dedup();
    if cols > 10_000 {
        places = vec![cols / 3, cols - 1];
    }
    let mut rng = StdRng::seed_from_u64(cols as u64);
    let noise: Vec<f32> = Normal::new(0.0f32, 3.0).unwrap().sample_iter(&mut rng).take(cols + 997).collect();
    let (mut logits, mut targets, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (i, &(label, target, fill)) in cases.iter().enumerate() {
        for &at in &places {
            let mut row = noise[(i * 31 + at) % 997..][..cols].to_vec();
            fill(&mut row, at);
            logits.extend(row);
            targets.push(match target {
                At => at as i32,
                Beside => ((at + 1) % cols) as i32,
                Is(target) => target,
                Cols => cols as i32,
            });
            labels.push(format!("{label} at {at}"));
        }
    }
    Batch { labels, ..Batch::dense(name, cols, logits, targets) }
}

/// Every case through the bound path with each tuning, rows beginning on every place of a quad; through the host path
/// with the plan's own. `of_all` says whether a tuning is tried with all operations, or with the loss alone.
fn check_cases(
    ops: &Ops,
    cols: usize,
    tunings: impl Iterator<Item = Option<Tuning>>,
    of_all: impl Fn(Option<Tuning>) -> bool,
) {
    let gpu: &Context = gpu();
    let cases = batch("cases", CASES, cols);
    let expected = Expected::of(&cases, &ops.options);
    check(&cases, &expected, &run_host(ops, &cases), ops);
    let bad = batch("bad targets", BAD_TARGETS, cols);
    let bad_expected = Expected::of(&bad, &ops.options);
    for tuning in tunings {
        let ops = ops.tuned(tuning);
        let offset = 256 + 4 * (cols as u64 % 4);
        let offsets = (offset, 260);
        let outputs = if of_all(tuning) {
            run_bound(gpu, &ops, &cases, offsets)
        } else {
            run_loss(gpu, &ops, &cases, offsets, Gradient::To)
        };
        check(&cases, &expected, &outputs, &ops);
        check(&bad, &bad_expected, &run_loss(gpu, &ops, &bad, offsets, Gradient::To), &ops);
    }
}

#[test]
fn rows_of_a_few_quads() {
    for cols in 1..=20 {
        // Lanes beyond the values of a row have nothing to do, in whatever number.
        check_cases(
            ops(),
            cols,
            tunings().filter(|tuning| tuning.is_none_or(|tuning| tuning.read[0].lanes <= 32)),
            |tuning| tuning.is_none_or(|tuning| tuning.read[0].lanes == 4),
        );
    }
}

#[test]
fn rows_about_a_step() {
    // Each row length takes the plan's own tuning and every fourth of the others; `rows_of_several_steps` takes them all.
    let lengths = [31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513];
    for (i, cols) in lengths.into_iter().enumerate() {
        let taken = tunings().enumerate().filter(|(j, _)| *j == 0 || (i + j) % 4 == 0);
        check_cases(ops(), cols, taken.map(|(_, tuning)| tuning), |tuning| tuning.is_none());
    }
}

#[test]
fn rows_of_several_steps() {
    // All operations in one row length, the loss in the others.
    for cols in [1000, 1023, 1024, 1025, 4097] {
        check_cases(ops(), cols, tunings(), |tuning| tuning.is_none() || cols == 1025);
    }
}

#[test]
fn rows_of_a_vocabulary() {
    check_cases(ops(), 50_257, [1, 8, 256].map(|lanes| Some(Tuning::fixed(lanes, 1))).into_iter(), |_| true);
}

#[test]
fn masked_rows_that_give_zeros() {
    // Each row length takes one number of lanes: all of them in turn.
    for (i, cols) in [1, 2, 3, 5, 16, 33, 130, 1025].into_iter().enumerate() {
        let tuning = Tuning::fixed([1, 4, 32][i % 3], 1);
        check_cases(masked_zero_ops(), cols, std::iter::once(Some(tuning)), |_| true);
    }
}

/// Sums over long rows: each has its own way to lose digits.
pub fn long_sums_batch() -> Batch {
    let cols = 100_003;
    let row_of = |value: fn(usize) -> f32| (0..cols).map(value).collect::<Vec<f32>>();
    let rows: [(&str, Vec<f32>); 9] = [
        ("equal", row_of(|_| 0.25)),
        ("a ramp up, 1e-3", row_of(|col| col as f32 * 1e-3)),
        ("a ramp down, 1e-3", row_of(|col| col as f32 * -1e-3)),
        ("a ramp up, 1e-4", row_of(|col| col as f32 * 1e-4)),
        ("a ramp up, 1e-5", row_of(|col| col as f32 * 1e-5)),
        ("a ramp down, 1e-5", row_of(|col| col as f32 * -1e-5)),
        ("a ramp up, 1e-6", row_of(|col| col as f32 * 1e-6)),
        ("a saw", row_of(|col| (col % 1000) as f32 * 1e-3)),
        ("a far maximum, last", row_of(|col| if col == 100_002 { 12.0 } else { 0.0 })),
    ];
    let targets = (0..rows.len() as i32).map(|row| row * 9_999).collect();
    let labels = rows.iter().map(|(label, _)| (*label).to_owned()).collect();
    let logits = rows.into_iter().flat_map(|(_, row)| row).collect();
    Batch { labels, ..Batch::dense("long sums", cols, logits, targets) }
}

#[test]
fn long_sums() {
    let batch = long_sums_batch();
    let expected = Expected::of(&batch, &ops().options);
    for lanes in [1, 4, 32, 256] {
        let ops = ops().tuned(Some(Tuning::fixed(lanes, 1)));
        check(&batch, &expected, &run_bound(gpu(), &ops, &batch, (256, 256)), &ops);
    }
}
