//! Tokens drawn from rows, against the reference: which classes are left, by a sort of the whole row, and which of them
//! is drawn.

use xent::bounds::loss_bound;
use xent::half::{bf16, f16};
use xent::reference::sampling::{SampledRow, Support, sample_row, support_row};
use xent::{
    Element, Error, Flags, NO_CLASS, Sampler, SamplerBuffers, SamplerOptions, Samples, Sampling, Shape,
    StepOrder, Truncations, Tuning,
};

use crate::batch::{Batch, noise};
use crate::harness::{Region, gpu, in_pass, is_mine};
use crate::special;
use crate::top_k::hard_rows;

pub const PLAIN: fn() -> Sampling = Sampling::default;

/// How rows are sampled, each step alone and several together.
fn settings() -> Vec<Sampling> {
    let warm = Sampling { temperature: 1.7, seed: 1 << 40, ..PLAIN() };
    vec![
        PLAIN(),
        Sampling::greedy(),
        Sampling { top_k: 7, ..PLAIN() },
        Sampling { top_p: 0.9, ..PLAIN() },
        Sampling { min_p: 0.3, ..PLAIN() },
        Sampling { typical_p: 0.6, ..PLAIN() },
        Sampling { top_n_sigma: 1.2, ..PLAIN() },
        Sampling { epsilon: 0.02, ..PLAIN() },
        Sampling { eta: 0.02, ..PLAIN() },
        Sampling { xtc_probability: 1.0, xtc_threshold: 0.03, ..PLAIN() },
        Sampling { top_k: 40, top_p: 0.8, min_p: 0.02, temperature: 0.6, ..PLAIN() },
        Sampling { top_p: 0.0, min_keep: 3, ..warm },
        Sampling { min_p: 0.9, epsilon: 0.5, min_keep: 4, ..warm },
        Sampling { top_k: 1200, top_p: 0.97, typical_p: 0.9, eta: 1e-4, ..warm },
        Sampling { typical_p: 0.5, xtc_probability: 0.5, xtc_threshold: 0.1, min_keep: 2, ..warm },
        Sampling { temperature: 0.05, top_p: 0.7, ..PLAIN() },
        Sampling { temperature: 30.0, top_n_sigma: 2.0, top_k: 1100, ..PLAIN() },
    ]
}

/// The least distance of a point from the end of a class, as a share of the sum of weights.
fn distance_from_ends(support: &Support, point: u64) -> f64 {
    let mut sum = 0;
    let distances = support.weights.iter().filter(|&&weight| weight > 0).map(|weight| {
        let begin = sum;
        sum += weight;
        point.abs_diff(begin).min(point.abs_diff(sum))
    });
    // 0 and the end of the last class are no boundaries, but a point cannot be on the wrong side of them anyway.
    distances.min().unwrap_or(0) as f64 / support.total() as f64
}

/// Whether which classes are left depends on no sum of exponentials, so that it is the same everywhere.
fn is_exact(sampling: &Sampling) -> bool {
    let exact = Truncations::TOP_K | Truncations::MIN_P;
    sampling.is_greedy() || exact.contains(sampling.truncations())
}

/// Compares a row with the reference. Returns whether a class lies so close to the end of a truncation that an adapter's
/// exponentials decide: then its tokens are not compared.
fn check_row<E: Element>(
    row: &[E],
    sampling: &Sampling,
    options: &SamplerOptions,
    found: &[Found],
    context: &str,
) -> bool {
    let support = support_row(row, sampling, options.order);
    check_found(&support, &sample_row(row, sampling, options), sampling, found, context)
}

/// Likewise with what the reference says of a row.
pub fn check_found(
    support: &Support,
    expected: &SampledRow,
    sampling: &Sampling,
    found: &[Found],
    context: &str,
) -> bool {
    for (at, found) in found.iter().enumerate() {
        let context = format!("{context}, sample {at}");
        assert_eq!(found.flags, expected.flags, "{context}");
        if found.kept != expected.kept {
            let is_near = found.kept.abs_diff(expected.kept) <= 1 && found.kept > 0;
            assert!(!is_exact(sampling) && is_near, "{context}: {} of {} left", found.kept, expected.kept);
            return true;
        }
        if expected.tokens[at] == NO_CLASS {
            assert_eq!(found.token, NO_CLASS, "{context}");
            assert!(found.log_prob.is_nan() && found.raw_log_prob.is_nan(), "{context}");
            continue;
        }
        let point = support.point(sampling, sampling.first_draw + at as u32);
        if distance_from_ends(support, point) > 1e-5 {
            assert_eq!(found.token, expected.tokens[at], "{context}");
        }
        // Otherwise it may be a neighbour, which has other log-probabilities.
        assert!(
            support.log_probs[found.token as usize].is_finite(),
            "{context}: {} is not left",
            found.token
        );
        if found.token == expected.tokens[at] {
            let pairs =
                [(found.log_prob, expected.log_probs[at]), (found.raw_log_prob, expected.raw_log_probs[at])];
            for (value, expected) in pairs {
                // Among untouched logits, there may be a NaN that a mask hides.
                let are_nan = value.is_nan() && expected.is_nan();
                let is_close = (f64::from(value) - expected).abs() <= loss_bound(expected);
                assert!(is_close || are_nan, "{context}: {value:e}, expected {expected:e}");
            }
        }
    }
    false
}

pub struct Found {
    token: u32,
    log_prob: f32,
    raw_log_prob: f32,
    kept: u32,
    flags: Flags,
}

pub fn found(samples: &Samples, row: usize) -> Vec<Found> {
    let places = row * samples.samples..(row + 1) * samples.samples;
    places
        .map(|at| Found {
            token: samples.tokens[at],
            log_prob: samples.log_probs[at],
            raw_log_prob: samples.raw_log_probs[at],
            kept: samples.kept[row],
            flags: samples.flags[row],
        })
        .collect()
}

/// Runs a batch through host slices and through buffers, and compares with the reference. Returns how many rows were not
/// compared to the token.
fn check<E: Element>(
    batch: &Batch<E>,
    samplings: &[Sampling],
    options: SamplerOptions,
    tuning: Option<Tuning>,
) -> usize {
    let context = format!("{} {:?} {tuning:?} {options:?}", batch.name, batch.shape);
    let op = Sampler::<E>::new(gpu(), &options).expect("an operation");
    let op = tuning.map_or(Ok(op.clone()), |tuning| op.clone().with_tuning(tuning)).expect("a tuning");
    let samples = op.sample(&batch.logits, samplings, batch.shape).wait();
    let samples = samples.unwrap_or_else(|error| panic!("{context}: {error}"));
    let is_near = |&(row, sampling): &(usize, &Sampling)| {
        let context = format!("{context}: row {row} ({}) {sampling:?}", batch.label(row));
        check_row(&batch.row(row), sampling, &options, &found(&samples, row), &context)
    };
    let near = samplings.iter().enumerate().filter(is_near).count();
    let words = batch.shape.rows * options.samples;
    let records: Vec<_> = samplings.iter().map(|sampling| op.record(sampling).expect("a record")).collect();
    let (logits, records) = (Region::new(gpu(), 256, &batch.logits), Region::new(gpu(), 256, &records));
    let [tokens, log_probs, rows] =
        [words, 2 * words, 2 * batch.shape.rows].map(|words| Region::unwritten(gpu(), words));
    let to = SamplerBuffers::new(
        logits.binding(),
        records.binding(),
        tokens.binding(),
        log_probs.binding(),
        rows.binding(),
    );
    let bound = op.bind(batch.shape, &to).unwrap_or_else(|error| panic!("{context}: {error}"));
    in_pass(gpu(), |pass| bound.encode(pass));
    assert_eq!(tokens.read(gpu()), samples.tokens, "{context}: in a buffer");
    let kept: Vec<u32> = rows.read(gpu()).into_iter().step_by(2).collect();
    assert_eq!(kept, samples.kept, "{context}: in a buffer");
    log_probs.read(gpu());
    near
}

/// As many settings as rows, from a place on.
fn some_settings(rows: usize, from: usize) -> Vec<Sampling> {
    let all = settings();
    (0..rows).map(|row| Sampling { counter: row as u64, ..all[(from + row) % all.len()] }).collect()
}

#[test]
fn rows_of_every_length() {
    let mut near = 0;
    for (case, cols) in [1, 2, 5, 33, 130, 1023, 1100, 2500, 4097].into_iter().enumerate() {
        if !is_mine(case) {
            continue;
        }
        let batch = hard_rows(cols);
        let order = [StepOrder::HuggingFace, StepOrder::Vllm, StepOrder::LlamaCpp][case % 3];
        let tuning = [None, Some(Tuning::fixed(4, 2)), Some(Tuning::fixed(64, 1))][case / 3];
        let options = SamplerOptions { order, samples: 3, ..Default::default() };
        let from =
            [0, 5, 11].map(|from| check(&batch, &some_settings(batch.shape.rows, from), options, tuning));
        near += from.iter().sum::<usize>();
    }
    // Of 324, or of a share.
    assert!(near <= 6, "{near} rows near a boundary");
}

#[test]
fn special_rows() {
    let cols = 70;
    // The deviation of denormals is 0 where they are flushed.
    let cases: Vec<_> = special::CASES.iter().filter(|(label, ..)| !label.contains("denormal")).collect();
    let mut batch = noise("special", 2, cases.len(), cols);
    for (row, (label, _, fill)) in cases.into_iter().enumerate() {
        fill(&mut batch.logits[row * cols..][..cols], (3 * row + 1) % cols);
        batch.labels.push((*label).to_owned());
    }
    for from in [0, 3] {
        let near = check(&batch, &some_settings(batch.shape.rows, from), SamplerOptions::default(), None);
        assert!(near <= 2, "{near} rows near a boundary");
    }
}

#[test]
fn types_and_layouts() {
    let options = SamplerOptions { samples: 2, ..Default::default() };
    let batch = hard_rows(1502);
    let rows = batch.shape.rows;
    let samplings = some_settings(rows, 3);
    check(&batch.cast::<f16>(), &samplings, options, None);
    check(&batch.cast::<bf16>(), &samplings, options, None);
    check(&batch.laid_out(Shape::new(rows, 1502).row_stride(1511)), &samplings, options, None);
    let side_by_side = Shape { rows, cols: 1502, row_stride: 1502 * 3, inner: 3 };
    check(&batch.laid_out(side_by_side), &samplings, options, None);
}

/// Truncations that most rows have, as a kernel of their own.
fn common() -> SamplerOptions {
    let truncations = Truncations::TOP_K | Truncations::TOP_P | Truncations::MIN_P;
    SamplerOptions { truncations, ..Default::default() }
}

/// Vocabularies; far more equal classes than the pool holds; and more classes than 46 bits behind the point allow.
#[test]
fn long_rows() {
    let chain = Sampling { top_k: 5000, top_p: 0.9, min_p: 1e-3, seed: 3, ..PLAIN() };
    let nucleus = Sampling { top_p: 0.95, temperature: 1.3, ..PLAIN() };
    let batch = noise("a vocabulary", 6, 4, 128_256);
    let samplings = [chain, nucleus, Sampling { top_k: 50, ..PLAIN() }, Sampling::greedy()];
    assert_eq!(check(&batch, &samplings, SamplerOptions { samples: 4, ..common() }, None), 0);
    // All classes of a row but one are equal: p and k end among them.
    let cols = 300_001;
    let mut logits = vec![0.5f32; 2 * cols];
    (logits[7], logits[cols + 9]) = (3.0, 0.25);
    let ties = Batch::dense("ties", cols, logits, vec![0; 2]);
    let samplings = [Sampling { top_p: 0.4, ..chain }, Sampling { top_k: 123_456, ..PLAIN() }];
    assert!(
        check(&ties, &samplings, SamplerOptions { samples: 4, ..common() }, Some(Tuning::fixed(4, 1))) <= 1
    );
}

/// Neither the type of the logits, nor how lanes share a row, nor the windows and the order of a batch change a token.
#[test]
fn the_same_tokens_everywhere() {
    let batch = noise("representable", 5, 24, 700).cast::<bf16>();
    let wide: Vec<f32> = batch.logits.iter().map(|x| x.to_f32()).collect();
    let narrow: Vec<f16> = wide.iter().map(|&x| f16::from_f32(x)).collect();
    let options = SamplerOptions { samples: 8, ..common() };
    let all = [
        Sampling { seed: 11, ..PLAIN() },
        Sampling { top_k: 20, temperature: 0.7, seed: 12, ..PLAIN() },
        Sampling { top_p: 0.8, min_p: 0.01, seed: 13, ..PLAIN() },
    ];
    let samplings: Vec<_> = (0..24).map(|row| Sampling { counter: row as u64, ..all[row % 3] }).collect();
    let op = Sampler::<f32>::new(gpu(), &options).unwrap();
    let expected = op.sample(&wide, &samplings, batch.shape).wait().unwrap();
    let half = Sampler::<f16>::new(gpu(), &options).unwrap();
    let brain = Sampler::<bf16>::new(gpu(), &options).unwrap();
    let is_exact_in_f16 = wide.iter().zip(&narrow).all(|(&x, y)| x == y.to_f32());
    if is_exact_in_f16 {
        assert_eq!(half.sample(&narrow, &samplings, batch.shape).wait().unwrap().tokens, expected.tokens);
    }
    let tokens = brain.sample(&batch.logits, &samplings, batch.shape).wait().unwrap().tokens;
    assert_eq!(tokens, expected.tokens, "bf16");
    for tuning in [Tuning::fixed(2, 1), Tuning::fixed(32, 1)] {
        let other = op.clone().with_tuning(tuning).unwrap();
        let found = other.sample(&wide, &samplings, batch.shape).wait().unwrap();
        assert_eq!((&found.tokens, &found.kept), (&expected.tokens, &expected.kept), "{tuning:?}");
    }
    // The rows backwards, one by one, as a serving batch may have them.
    for row in (0..24).rev() {
        let one =
            op.sample(&wide[row * 700..][..700], &samplings[row..=row], Shape::new(1, 700)).wait().unwrap();
        assert_eq!(one.tokens, expected.row(row), "row {row}");
    }
    // One value for all rows counts them; a stream goes on counting; draws go on from a call to the next.
    let one = Sampling { counter: 40, ..all[1] };
    let counted: Vec<_> = (0..24).map(|row| Sampling { counter: 40 + row, ..one }).collect();
    let whole = op.sample(&wide, &counted, batch.shape).wait().unwrap();
    assert_eq!(op.sample(&wide, &[one], batch.shape).wait().unwrap(), whole);
    let mut stream = op.stream(batch.shape).unwrap();
    let mut pushed = stream.push(&wide[..7 * 700], &[one], 7).wait().unwrap();
    pushed.tokens.extend(stream.push(&wide[7 * 700..], &[one], 17).wait().unwrap().tokens);
    assert_eq!(pushed.tokens, whole.tokens);
    let later = Sampling { first_draw: 5, ..one };
    let found = op.sample(&wide, &[later], batch.shape).wait().unwrap();
    assert!((0..24).all(|row| found.row(row)[..3] == whole.row(row)[5..]));
}

/// A million draws have the distribution of the row: within five deviations, for each class and over all.
#[test]
fn draws_have_the_distribution() {
    let (rows, samples) = (4000, 250);
    let row: Vec<f32> = (0..16).map(|class| (class * 7 % 16) as f32 * 0.37).collect();
    let sampling = Sampling { seed: 2024, top_k: 12, temperature: 1.5, ..PLAIN() };
    let op = Sampler::<f32>::new(gpu(), &SamplerOptions { samples, ..common() }).unwrap();
    let found = op.sample(&row.repeat(rows), &[sampling], Shape::new(rows, 16)).wait().unwrap();
    let mut counts = [0u32; 16];
    found.tokens.iter().for_each(|&token| counts[token as usize] += 1);
    let support = support_row(&row, &sampling, StepOrder::default());
    let draws = (rows * samples) as f64;
    let (mut chi_square, mut variation) = (0.0, 0.0);
    for (class, &count) in counts.iter().enumerate() {
        let p = support.log_probs[class].exp();
        if p == 0.0 {
            assert_eq!(count, 0, "class {class}");
            continue;
        }
        let off = f64::from(count) - p * draws;
        chi_square += off * off / (p * draws);
        variation += 0.5 * off.abs() / draws;
    }
    // 11 degrees of freedom: mean 11, deviation √22. A class's deviation is at most √(draws / 4).
    assert!(chi_square < 11.0 + 5.0 * 22f64.sqrt(), "chi-square {chi_square}");
    assert!(variation < 12.0 * 5.0 * (draws / 4.0).sqrt() / draws / 2.0, "total variation {variation}");
}

/// 262,144 rare classes, each e^-20.5 of the first: together 3.28e-4 of its mass. Of 100,000 draws, 32.76 are expected to be
/// rare. With noise or sums in f32 there would be none.
#[test]
fn rare_classes_are_drawn() {
    if !is_mine(0) {
        return;
    }
    let mut logits = vec![-20.5f32; 262_145];
    logits[1000] = 0.0;
    let options = SamplerOptions { samples: 250, truncations: Truncations::empty(), ..Default::default() };
    let op = Sampler::<f32>::new(gpu(), &options).unwrap();
    let mut stream = op.stream(Shape::new(400, 262_145)).unwrap();
    let support = support_row(&logits, &PLAIN(), StepOrder::default());
    let mut rare = 0;
    for row in 0..400u32 {
        let sampling = [Sampling { counter: 0, first_draw: row * 250, ..PLAIN() }; 1];
        let found = stream.push(&logits, &[sampling[0]], 1).wait().unwrap();
        let sampling = Sampling { counter: u64::from(row), ..sampling[0] };
        for (at, &token) in found.tokens.iter().enumerate() {
            let expected = support.draw(support.point(&sampling, sampling.first_draw + at as u32));
            let is_rare = token != 1000;
            assert_eq!(is_rare, expected != Some(1000), "row {row}, draw {at}");
            rare += u32::from(is_rare);
        }
    }
    // Five deviations of 5.7.
    assert!((5..=61).contains(&rare), "{rare} rare classes");
}

#[test]
fn what_cannot_be_sampled() {
    let op = Sampler::<f32>::new(gpu(), &common()).unwrap();
    let (logits, shape) = ([0.0; 6], Shape::new(2, 3));
    let error = |samplings: &[Sampling]| op.sample(&logits, samplings, shape).wait().unwrap_err();
    let found = error(&[PLAIN(), Sampling { top_p: -1.0, ..PLAIN() }]);
    assert!(matches!(found, Error::InvalidOption { option: "top_p", at: Some(1), .. }), "{found}");
    let found = error(&[Sampling { typical_p: 0.5, ..PLAIN() }]);
    assert!(matches!(found, Error::InvalidOption { option: "typical_p", value: 0.5, .. }), "{found}");
    let found = error(&[PLAIN(); 3]);
    assert!(matches!(found, Error::Length { what: "samplings", found: 3, needed: 2 }), "{found}");
    assert!(matches!(error(&[]), Error::Length { what: "samplings", found: 0, needed: 2 }));
    let options = SamplerOptions { samples: 0, ..Default::default() };
    assert!(matches!(op.with_options(&options), Err(Error::InvalidOption { option: "samples", .. })));
    // No rows give no tokens.
    let none = op.sample(&[], &[PLAIN()], Shape::new(0, 3)).wait().unwrap();
    assert_eq!((none.samples, none.tokens.len(), none.flags.len()), (1, 0, 0));
}
