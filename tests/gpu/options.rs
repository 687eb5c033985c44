//! Every pair of options together: a covering array of few sets of switches, each compiled once and run on many random
//! values and batches.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal};
use xent::{
    CrossEntropyOptions, EmptyBatch, Error, Input, MaskedRow, Reduction, Sequences, TargetKind, Tuning,
};

use crate::batch::{Batch, Ops, Sparse};
use crate::compare::check;
use crate::expected::Expected;
use crate::harness::{device_with, is_mine};
use crate::outputs::{Gradient, run_host_loss, run_loss};

/// The switches and how many positions each has.
const SWITCHES: [(&str, usize); 16] = [
    ("targets", 3),
    ("class_weights", 2),
    ("row_weights", 2),
    ("row_mask", 2),
    ("label_smoothing", 2),
    ("temperature", 2),
    ("softcap", 2),
    ("z_loss", 2),
    ("focal_gamma", 2),
    ("masked_row", 2),
    ("reduction", 3),
    ("empty_batch", 3),
    ("input", 2),
    ("upstream", 2),
    ("row_upstream", 2),
    ("sequences", 3),
];
const TARGETS: usize = 0;
const CLASS_WEIGHTS: usize = 1;
const ROW_WEIGHTS: usize = 2;
const ROW_MASK: usize = 3;
const SMOOTHING: usize = 4;
const TEMPERATURE: usize = 5;
const SOFTCAP: usize = 6;
const Z_LOSS: usize = 7;
const FOCAL: usize = 8;
const MASKED: usize = 9;
const REDUCTION: usize = 10;
const EMPTY: usize = 11;
const INPUT: usize = 12;
const UPSTREAM: usize = 13;
const ROW_UPSTREAM: usize = 14;
const SEQUENCES: usize = 15;

/// A position of each switch.
type Set = [usize; SWITCHES.len()];
/// Two switches and their positions.
type Pair = (usize, usize, usize, usize);

const MOST_SETS: usize = 24;
const COMBINATIONS: usize = 504;
const SEED: u64 = 1;

/// Whether a pair goes together, by the options' own rules.
fn is_legal(&(a, at, b, bt): &Pair) -> bool {
    let on = |switch: usize, position: usize| (a, at) == (switch, position) || (b, bt) == (switch, position);
    let for_logits = [TEMPERATURE, SOFTCAP, Z_LOSS, FOCAL].iter().any(|&switch| on(switch, 1));
    let of_no_class = on(TARGETS, 1) || on(TARGETS, 2);
    !(on(INPUT, 1) && for_logits || of_no_class && on(FOCAL, 1) || on(TARGETS, 1) && on(SEQUENCES, 2))
}

fn pairs_of(set: &Set) -> impl Iterator<Item = Pair> {
    let switches = 0..SWITCHES.len();
    let pairs = switches.flat_map(|a| (a + 1..SWITCHES.len()).map(move |b| (a, b)));
    pairs.map(|(a, b)| (a, set[a], b, set[b]))
}

fn all_pairs() -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for (a, (_, positions_a)) in SWITCHES.iter().enumerate() {
        for (b, (_, positions_b)) in SWITCHES.iter().enumerate().skip(a + 1) {
            for at in 0..*positions_a {
                pairs.extend((0..*positions_b).map(|bt| (a, at, b, bt)).filter(is_legal));
            }
        }
    }
    pairs
}

/// Sets in which every legal pair occurs: the best of many random ones, again and again.
fn covering_sets() -> Vec<Set> {
    let (mut rng, mut missing, mut sets) = (StdRng::seed_from_u64(SEED), all_pairs(), Vec::new());
    while let Some(&(a, at, b, bt)) = missing.first() {
        let candidates = (0..4000).map(|_| {
            let mut set: Set = SWITCHES.map(|(_, positions)| rng.random_range(0..positions));
            (set[a], set[b]) = (at, bt);
            set
        });
        let legal: Vec<Set> = candidates.filter(|set| pairs_of(set).all(|pair| is_legal(&pair))).collect();
        let gain = |set: &Set| pairs_of(set).filter(|pair| missing.contains(pair)).count();
        let best = legal.into_iter().max_by_key(gain).expect("a legal set");
        let covered: BTreeSet<Pair> = pairs_of(&best).collect();
        missing.retain(|pair| !covered.contains(pair));
        sets.push(best);
    }
    sets
}

#[test]
fn every_legal_pair_occurs() {
    let sets = covering_sets();
    assert!(sets.len() <= MOST_SETS, "{} sets", sets.len());
    let found: BTreeSet<Pair> = sets.iter().flat_map(pairs_of).collect();
    assert!(found.iter().all(is_legal));
    for (a, at, b, bt) in all_pairs() {
        let names = (SWITCHES[a].0, SWITCHES[b].0);
        assert!(found.contains(&(a, at, b, bt)), "{names:?} at {:?} are never together", (at, bt));
    }
    // The rules that pairs are judged by are those of the library.
    for (i, set) in sets.iter().enumerate() {
        assert_eq!(options_of(set, &mut StdRng::seed_from_u64(i as u64)).check(), Ok(()), "{set:?}");
    }
}

/// Values of the options that a set switches on.
fn options_of(set: &Set, rng: &mut StdRng) -> CrossEntropyOptions {
    let mut value = |switch: usize, off: f32, values: &[f32]| {
        if set[switch] == 1 { values[rng.random_range(0..values.len())] } else { off }
    };
    CrossEntropyOptions {
        label_smoothing: value(SMOOTHING, 0.0, &[1e-4, 0.1, 0.3, 1.0]),
        temperature: value(TEMPERATURE, 1.0, &[0.25, 0.7, 2.0, 10.0]),
        softcap: (set[SOFTCAP] == 1).then(|| value(SOFTCAP, 0.0, &[5.0, 30.0, 50.0])),
        z_loss: value(Z_LOSS, 0.0, &[1e-4, 1e-2, 1.0]),
        focal_gamma: value(FOCAL, 0.0, &[0.5, 1.0, 2.0, 5.0]),
        masked_row: [MaskedRow::Nan, MaskedRow::Zero][set[MASKED]],
        reduction: [Reduction::Mean, Reduction::Sum, Reduction::MeanOver(17.5)][set[REDUCTION]],
        empty_batch: [EmptyBatch::Nan, EmptyBatch::Zero, EmptyBatch::Error][set[EMPTY]],
        input: [Input::Logits, Input::LogProbs][set[INPUT]],
        sequences: [
            None,
            Some(Sequences { from: 1, to: 5, ..Sequences::new(6) }),
            Some(Sequences::shifted(6, 1)),
        ][set[SEQUENCES]],
        ..Default::default()
    }
}

/// Rows of noise of every width and offset, a few with what is special.
fn logits_of(rng: &mut StdRng, rows: usize, cols: usize, input: Input) -> Vec<f32> {
    let mut logits = Vec::with_capacity(rows * cols);
    let specials = rng.random_range(0..4) == 0;
    for _ in 0..rows {
        let width = [0.5, 3.0, 30.0][rng.random_range(0..3)];
        let offset = [0.0, 0.0, -4.0, 1e4, 1e6][rng.random_range(0..5)];
        let normal = Normal::new(0.0f32, width).unwrap();
        let mut row: Vec<f32> = normal.sample_iter(&mut *rng).take(cols).map(|x| x + offset).collect();
        if input == Input::LogProbs {
            row = row.iter().map(|x| -x.abs().min(100.0)).collect();
        }
        let at = rng.random_range(0..cols);
        match rng.random_range(0..20) {
            0 if specials => row[at] = f32::NAN,
            1 if specials => row[at] = f32::INFINITY,
            2 if specials => row.fill(f32::NEG_INFINITY),
            3 => row[at] = f32::NEG_INFINITY,
            _ => {}
        }
        logits.extend(row);
    }
    logits
}

/// A batch for the set of this number, which has one range of row lengths.
fn batch_of((at, set): (usize, &Set), options: &CrossEntropyOptions, seed: u64) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let lengths = [1..9, 9..70, 70..300];
    let cols = rng.random_range(lengths[at % 3].clone());
    let rows = 6 * rng.random_range(1..5) + if set[SEQUENCES] == 0 { 1 } else { 0 };
    let logits = logits_of(&mut rng, rows, cols, options.input);
    // Two batches in twenty leave nothing to take a mean of.
    let (none, light) = (rng.random_range(0..20) == 0, rng.random_range(0..20) == 0);
    let target = |rng: &mut StdRng| {
        if none || rng.random_range(0..8) == 0 { -100 } else { rng.random_range(0..cols as i32) }
    };
    let targets = (0..rows).map(|_| target(&mut rng)).collect();
    let kind =
        [TargetKind::Classes, TargetKind::Soft, TargetKind::Sparse { entries: rng.random_range(1..9) }];
    let mut batch = Batch::dense(&format!("{set:?}, seed {seed}"), cols, logits, targets)
        .with_targets(kind[set[TARGETS]], seed);
    if let (true, Some(Sparse { indices, .. })) = (none, &mut batch.given.sparse) {
        indices.fill(-100);
    }
    let mut weights = |switch: usize, count: usize| {
        let weight = |_| match rng.random_range(0..6) {
            0 => 0.0,
            _ if light => 0.0,
            _ => rng.random_range(0.05..4.0f32),
        };
        (set[switch] == 1).then(|| (0..count).map(weight).collect::<Vec<f32>>())
    };
    batch.given.class_weights = weights(CLASS_WEIGHTS, cols);
    batch.given.row_weights = weights(ROW_WEIGHTS, rows);
    batch.given.row_upstream = weights(ROW_UPSTREAM, rows).map(|all| all.iter().map(|g| g - 1.0).collect());
    batch.given.row_mask = weights(ROW_MASK, rows).map(|all| all.iter().map(|&w| w > 0.0).collect());
    batch.given.upstream = (set[UPSTREAM] == 1).then(|| [1024.0, -0.5, 0.0][seed as usize % 3]);
    if seed % 2 == 1 { batch.with_stride(cols + seed as usize % 5) } else { batch }
}

/// Random batches with class targets, for each set without the options that only kernels have.
#[cfg(feature = "cpu")]
pub fn of_the_processor() -> impl Iterator<Item = (CrossEntropyOptions, Batch)> {
    let sets = covering_sets().into_iter().map(|mut set| {
        [TARGETS, SOFTCAP, FOCAL].iter().for_each(|&switch| set[switch] = 0);
        set
    });
    sets.enumerate().flat_map(|(i, set)| {
        (0..12).map(move |draw| {
            let seed = (i * 12 + draw) as u64;
            let options = options_of(&set, &mut StdRng::seed_from_u64(seed));
            (options, batch_of((i + draw, &set), &options, seed))
        })
    })
}

#[test]
fn random_values_of_every_pair() {
    let sets = covering_sets();
    let of_set = COMBINATIONS / sets.len() + 1;
    // Of a context that no other test has: its pipelines are counted. Two adapters share the sets.
    let gpu = &device_with(|_| {});
    for (i, set) in sets.iter().enumerate().filter(|(i, _)| is_mine(*i)) {
        // One number of lanes, one range of row lengths and one pair of offsets for a set, so that it is compiled once.
        let tuning = Some(Tuning::fixed(1 << (i % 6), 1));
        let compiled = Ops::new(gpu, options_of(set, &mut StdRng::seed_from_u64(0))).tuned(tuning);
        for draw in 0..of_set {
            let seed = (i * of_set + draw) as u64;
            let ops = compiled.with(options_of(set, &mut StdRng::seed_from_u64(seed)));
            let batch = batch_of((i, set), &ops.options, seed);
            let expected = Expected::of(&batch, &ops.options);
            let written = if i % 4 == 3 { Gradient::InPlace } else { Gradient::To };
            let gradient = if draw % 3 == 2 { Gradient::None } else { written };
            let offsets = (4 * (i as u64 % 5), 4 * (i as u64 % 3));
            let bound = run_loss(gpu, &ops, &batch, offsets, gradient);
            check(&batch, &expected, &bound, &ops);
            if expected.is_empty_mean() && ops.options.empty_batch == EmptyBatch::Error {
                let loss = ops.loss.loss(&batch.logits, batch.inputs(), batch.shape).wait();
                assert_eq!(loss, Err(Error::NoRowCounts { rows: batch.shape.rows }), "{}", batch.name);
                continue;
            }
            check(&batch, &expected, &run_host_loss(&ops, &batch), &ops);
            if draw == 1 {
                let made = gpu.pipelines();
                let others = compiled.with(options_of(set, &mut StdRng::seed_from_u64(seed + 7)));
                run_host_loss(&others, &batch);
                assert_eq!(gpu.pipelines(), made, "{}: values make no pipeline", batch.name);
            }
        }
    }
}
