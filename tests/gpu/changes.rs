//! Bias, penalties and masks before the steps of sampling, against the reference.

use xent::half::{bf16, f16};
use xent::reference::sampling::{changed_row, sample_changed_row, support_row};
use xent::{
    Element, Error, Flags, NO_CLASS, Sampler, SamplerBuffers, SamplerOptions, Sampling, ScoreChanges,
    ScoreRecords, Shape, Truncations, Tuning,
};

use crate::batch::{Batch, noise};
use crate::harness::{Region, gpu, in_pass, is_mine};
use crate::sampler::{PLAIN, check_found, found};
use crate::special;
use crate::top_k::hard_rows;

/// What changes a row's scores, with lists of its own.
struct Owned {
    bias: Vec<(u32, f32)>,
    prompt: Vec<u32>,
    output: Vec<u32>,
    allowed: Option<Vec<u32>>,
    penalties: (f32, f32, f32),
    window: usize,
}

impl Owned {
    /// Changes of a row with this number: some rows have only one of them.
    fn of(row: usize, cols: usize) -> Self {
        let class = |seed: usize| (seed * 7919 % cols) as u32;
        let some = |kind: usize, count: usize| if row % 5 == kind || row % 5 == 4 { count } else { 0 };
        let inf = f32::NEG_INFINITY;
        let value = |i: usize| [3.5, -2.0, inf, 0.25][i % 4];
        let words = cols.div_ceil(32);
        let mask = (0..words).map(|word| 0x9e37_79b9u32.rotate_left((word + row) as u32)).collect();
        Self {
            bias: (0..some(0, 6)).map(|i| (class(row + i), value(i))).collect(),
            prompt: (0..some(1, 40)).map(|i| class(3 * row + i % 29)).collect(),
            output: (0..some(2, 60)).map(|i| class(row + i * i % 37)).collect(),
            allowed: (row % 5 >= 3).then_some(mask),
            penalties: (if row.is_multiple_of(2) { 1.3 } else { 0.8 }, 0.4, 0.15),
            window: [0, 50][row % 2],
        }
    }

    fn changes(&self) -> ScoreChanges<'_> {
        ScoreChanges {
            bias: &self.bias,
            prompt: &self.prompt,
            output: &self.output,
            penalty_window: self.window,
            repetition_penalty: self.penalties.0,
            frequency_penalty: self.penalties.1,
            presence_penalty: self.penalties.2,
            allowed: self.allowed.as_deref(),
        }
    }
}

pub fn options(samples: usize) -> SamplerOptions {
    let truncations = Truncations::TOP_K | Truncations::TOP_P | Truncations::MIN_P;
    SamplerOptions { samples, truncations, ..Default::default() }
}

fn settings(rows: usize) -> Vec<Sampling> {
    let all = [
        Sampling::greedy(),
        Sampling { seed: 5, ..PLAIN() },
        Sampling { top_k: 9, temperature: 0.7, ..PLAIN() },
        Sampling { top_p: 0.9, min_p: 0.01, ..PLAIN() },
    ];
    (0..rows).map(|row| Sampling { counter: row as u64, ..all[row % 4] }).collect()
}

/// Runs a batch through host slices and through buffers, and compares with the reference.
fn check<E: Element>(batch: &Batch<E>, tuning: Option<Tuning>) {
    let Shape { rows, cols, .. } = batch.shape;
    let (options, samplings) = (options(3), settings(rows));
    let owned: Vec<Owned> = (0..rows).map(|row| Owned::of(row, cols)).collect();
    let changes: Vec<ScoreChanges<'_>> = owned.iter().map(Owned::changes).collect();
    let op = Sampler::<E>::new(gpu(), &options).unwrap();
    let op = tuning.map_or(Ok(op.clone()), |tuning| op.clone().with_tuning(tuning)).unwrap();
    let samples = op.sample_changed(&batch.logits, &samplings, &changes, batch.shape).wait().unwrap();
    let mut near = 0;
    for row in 0..rows {
        let context = format!("{} {:?}, row {row} ({})", batch.name, batch.shape, batch.label(row));
        let (logits, sampling) = (batch.row(row), &samplings[row]);
        let expected = sample_changed_row(&logits, &changes[row], sampling, &options);
        let support = support_row(&changed_row(&logits, &changes[row]), sampling, options.order);
        near += usize::from(check_found(&support, &expected, sampling, &found(&samples, row), &context));
    }
    assert!(near <= 1 + rows / 20, "{}: {near} rows near a boundary", batch.name);

    let records = ScoreRecords::of(&changes, rows, cols).unwrap();
    let of_rows: Vec<_> = samplings.iter().map(|sampling| op.record(sampling).unwrap()).collect();
    let (logits, of_rows) = (Region::new(gpu(), 256, &batch.logits), Region::new(gpu(), 256, &of_rows));
    let words = Region::new(gpu(), 256, &records.words);
    let [tokens, log_probs, told] =
        [3 * rows, 6 * rows, 2 * rows].map(|words| Region::unwritten(gpu(), words));
    let to = SamplerBuffers {
        changes: Some((words.binding(), records.row_words)),
        ..SamplerBuffers::new(
            logits.binding(),
            of_rows.binding(),
            tokens.binding(),
            log_probs.binding(),
            told.binding(),
        )
    };
    let bound = op.bind(batch.shape, &to).unwrap();
    // The logits are read for the copy in f32, which is written and read twice, and for the log-probabilities.
    assert_eq!(bound.bytes(), (batch.shape.len() * (2 * size_of::<E>() + 12)) as u64, "{}", batch.name);
    in_pass(gpu(), |pass| bound.encode(pass));
    assert_eq!(tokens.read(gpu()), samples.tokens, "{}: in a buffer", batch.name);
    let in_buffer = log_probs.read(gpu()).into_iter().skip(1).step_by(2).map(f32::from_bits);
    for (found, expected) in in_buffer.zip(&samples.raw_log_probs) {
        // The windows of a host call may lie otherwise than the batch, so that sums have another order.
        let is_close = (found - expected).abs() <= 1e-5 * (1.0 + expected.abs());
        assert!(is_close || found == *expected || found.is_nan() && expected.is_nan(), "{found}, {expected}");
    }
}

#[test]
fn rows_of_every_length() {
    for (case, cols) in [1, 3, 33, 130, 1023, 2500].into_iter().enumerate() {
        if is_mine(case) {
            check(&hard_rows(cols), [None, Some(Tuning::fixed(4, 2)), Some(Tuning::fixed(64, 1))][case / 2]);
        }
    }
}

#[test]
fn types_layouts_and_special_rows() {
    let batch = hard_rows(701);
    let rows = batch.shape.rows;
    if is_mine(0) {
        check(&batch.cast::<f16>(), None);
        check(&batch.laid_out(Shape { rows, cols: 701, row_stride: 701 * 3, inner: 3 }), None);
    } else {
        check(&batch.cast::<bf16>(), None);
    }
    check(&batch.laid_out(Shape::new(rows, 701).row_stride(711)), None);
    let cols = 70;
    let cases: Vec<_> = special::CASES.iter().filter(|(label, ..)| !label.contains("denormal")).collect();
    let mut special = noise("special", 2, cases.len(), cols);
    for (row, (label, _, fill)) in cases.into_iter().enumerate() {
        fill(&mut special.logits[row * cols..][..cols], (3 * row + 1) % cols);
        special.labels.push((*label).to_owned());
    }
    check(&special, None);
}

/// One value for all rows; and what is refused.
#[test]
fn one_for_all_and_misuse() {
    let op = Sampler::<f32>::new(gpu(), &options(3)).unwrap();
    let (logits, shape) = ([2.0f32, 1.0, 0.5, 0.1, 3.0, 0.2], Shape::new(2, 3));
    let greedy = [Sampling::greedy()];
    let tokens = |changes: &[ScoreChanges<'_>]| {
        op.sample_changed(&logits, &greedy, changes, shape).wait().map(|samples| samples.tokens)
    };
    assert_eq!(
        tokens(&[ScoreChanges { allowed: Some(&[0b101]), ..Default::default() }]).unwrap(),
        [0, 0, 0, 2, 2, 2]
    );
    // What the mask hides may be anything. A bias of −∞ does not hide a NaN.
    let holes = [f32::NAN, 1.0, f32::INFINITY, 0.1, 3.0, f32::NAN];
    let of_holes = |changes: ScoreChanges<'_>| op.sample_changed(&holes, &greedy, &[changes], shape).wait();
    let hidden = of_holes(ScoreChanges { allowed: Some(&[0b010]), ..Default::default() }).unwrap();
    assert_eq!((hidden.tokens, hidden.flags), (vec![1; 6], vec![Flags::empty(); 2]));
    assert!(hidden.raw_log_probs.iter().all(|log_prob| log_prob.is_nan()), "{:?}", hidden.raw_log_probs);
    let biased =
        of_holes(ScoreChanges { bias: &[(0, -f32::INFINITY), (2, -f32::INFINITY)], ..Default::default() });
    assert_eq!(biased.unwrap().tokens, [NO_CLASS; 6]);
    let bad = [ScoreChanges::default(), ScoreChanges { output: &[3], ..Default::default() }];
    let error = tokens(&bad).unwrap_err();
    assert!(
        matches!(error, Error::InvalidOption { option: "past tokens", at: Some(1), value: 3.0, .. }),
        "{error}"
    );
    let error = tokens(&[ScoreChanges::default(); 3]).unwrap_err();
    assert!(matches!(error, Error::Length { what: "changes", found: 3, needed: 2 }), "{error}");
    // Nothing changes: the tokens of the plain call, and an empty batch.
    let seeded = [Sampling { seed: 8, ..PLAIN() }];
    let plain = op.sample(&logits, &seeded, shape).wait().unwrap();
    let same = op.sample_changed(&logits, &seeded, &[ScoreChanges::default()], shape).wait().unwrap();
    assert_eq!((same.tokens, same.kept), (plain.tokens, plain.kept));
    let none = op.sample_changed(&[], &seeded, &[ScoreChanges::default()], Shape::new(0, 3)).wait().unwrap();
    assert!(none.tokens.is_empty());
}
