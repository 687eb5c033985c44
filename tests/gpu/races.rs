//! Tokens drawn without replacement, against the reference.

use std::collections::HashSet;

use xent::half::bf16;
use xent::reference::sampling::{Support, exponential, sample_row, support_row};
use xent::{Element, NO_CLASS, Sampler, SamplerOptions, Sampling, Shape, Truncations, Tuning};

use crate::batch::{Batch, noise};
use crate::harness::{gpu, is_mine};
use crate::sampler::PLAIN;
use crate::top_k::hard_rows;

fn without_replacement(samples: usize) -> SamplerOptions {
    let truncations = Truncations::TOP_K | Truncations::TOP_P | Truncations::MIN_P;
    SamplerOptions { samples, replacement: false, truncations, ..Default::default() }
}

/// ln(E_j / p_j) of a class.
fn time(support: &Support, sampling: &Sampling, class: usize) -> f64 {
    let noise = exponential(sampling.seed, sampling.counter, sampling.first_draw, class);
    noise.ln() - support.log_probs[class]
}

/// Compares each token with the reference's: another one may take its place only if their times are as good as equal.
fn check<E: Element>(batch: &Batch<E>, samplings: &[Sampling], samples: usize, tuning: Option<Tuning>) {
    let options = without_replacement(samples);
    let op = Sampler::<E>::new(gpu(), &options).unwrap();
    let op = tuning.map_or(Ok(op.clone()), |tuning| op.clone().with_tuning(tuning)).unwrap();
    let found = op.sample(&batch.logits, samplings, batch.shape).wait().unwrap();
    for (row, sampling) in samplings.iter().enumerate() {
        let context = format!("{}, row {row} ({}), {sampling:?}", batch.name, batch.label(row));
        let expected = sample_row(&batch.row(row), sampling, &options);
        let support = support_row(&batch.row(row), sampling, options.order);
        assert_eq!((found.flags[row], found.kept[row]), (expected.flags, expected.kept), "{context}");
        let tokens = found.row(row);
        let drawn: HashSet<u32> = tokens.iter().copied().filter(|&token| token != NO_CLASS).collect();
        let count = expected.tokens.iter().filter(|&&token| token != NO_CLASS).count();
        assert_eq!(drawn.len(), count, "{context}: {tokens:?}");
        for (at, (&token, &wanted)) in tokens.iter().zip(&expected.tokens).enumerate() {
            let log_prob = found.log_probs[row * samples + at];
            if wanted == NO_CLASS {
                assert!(token == NO_CLASS && log_prob.is_nan(), "{context}, sample {at}: {token}");
                continue;
            }
            let off = if token == wanted || sampling.is_greedy() {
                f64::from(token.abs_diff(wanted))
            } else {
                let of = |class: u32| time(&support, sampling, class as usize);
                (of(token) - of(wanted)).abs()
            };
            assert!(off < 2e-5, "{context}, sample {at}: {token}, expected {wanted}");
            let expected = support.log_probs[token as usize];
            assert!((f64::from(log_prob) - expected).abs() < 1e-4, "{context}, sample {at}: {log_prob}");
        }
    }
}

fn settings(rows: usize) -> Vec<Sampling> {
    let all = [
        Sampling { seed: 11, ..PLAIN() },
        Sampling { top_k: 5, temperature: 0.7, seed: 1 << 40, ..PLAIN() },
        Sampling { min_p: 0.2, first_draw: 9, ..PLAIN() },
        Sampling::greedy(),
        Sampling { temperature: 8.0, ..PLAIN() },
    ];
    (0..rows).map(|row| Sampling { counter: 1000 + row as u64, ..all[row % all.len()] }).collect()
}

#[test]
fn the_references_tokens() {
    for (case, cols) in [1, 3, 6, 130, 1023, 2500].into_iter().enumerate() {
        if is_mine(case) {
            let tuning = [None, Some(Tuning::fixed(4, 2)), Some(Tuning::fixed(64, 1))][case / 2];
            check(&hard_rows(cols), &settings(hard_rows(cols).shape.rows), 7, tuning);
        }
    }
    // As many samples as a call may have, of a vocabulary, and of equal logits; an odd row begins within a group of four.
    let batch = noise("a vocabulary", 8, 3, 50_257);
    check(&batch, &settings(5)[2..], 256, None);
    check(&Batch::dense("equal", 20_001, vec![0.5; 2 * 20_001], vec![0; 2]), &settings(2), 256, None);
    if is_mine(1) {
        check(&noise("bf16", 9, 4, 701).cast::<bf16>(), &settings(4), 5, None);
    }
}

/// 8,000 draws of two of five classes: each ordered pair comes as often as its probability p_i·p_j / (1 − p_i) says, within
/// five deviations.
#[test]
fn pairs_have_their_probabilities() {
    let p = [0.4, 0.25, 0.2, 0.1, 0.05f64];
    let row: Vec<f32> = p.iter().map(|p| p.ln() as f32).collect();
    let rows = 8_000;
    let op = Sampler::<f32>::new(gpu(), &without_replacement(2)).unwrap();
    let sampling = Sampling { seed: 77, ..PLAIN() };
    let found = op.sample(&row.repeat(rows), &[sampling], Shape::new(rows, 5)).wait().unwrap();
    let mut counts = [[0.0; 5]; 5];
    for pair in found.tokens.chunks(2) {
        counts[pair[0] as usize][pair[1] as usize] += 1.0 / rows as f64;
    }
    for i in 0..5 {
        for j in (0..5).filter(|&j| j != i) {
            let expected = p[i] * p[j] / (1.0 - p[i]);
            let deviation = (expected * (1.0 - expected) / rows as f64).sqrt();
            let off = (counts[i][j] - expected).abs();
            assert!(off < 5.0 * deviation, "{i}, {j}: {}, expected {expected}", counts[i][j]);
        }
        assert_eq!(counts[i][i], 0.0);
    }
}
