//! Planted mistakes, each of which is told, and honest batches, of which none is.

use super::*;
use crate::eval::{EvaluateInputs, EvaluateOptions, Evaluation, SliceSource, TargetSource};
use crate::inputs::{CrossEntropyInputs, SigmoidBceInputs};
use crate::options::{CrossEntropyOptions, Input, SequenceUnit, Sequences, SigmoidBceOptions};
use crate::reference;
use crate::targets::Targets;

struct Random(u32);

impl Random {
    /// A number in 0..1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }

    /// Roughly a normal number.
    fn normal(&mut self) -> f32 {
        (0..6).map(|_| self.next()).sum::<f32>() * 1.4 - 4.2
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() * end as f32) as usize
    }
}

/// A batch, as far as these tests vary it.
#[derive(Clone)]
struct Batch {
    cols: usize,
    logits: Vec<f32>,
    classes: Vec<i32>,
    mask: Option<Vec<bool>>,
    options: CrossEntropyOptions,
    check_shift: bool,
}

impl Batch {
    /// Random logits that know a little of their random targets.
    fn honest(seed: u32, rows: usize, cols: usize, scale: f32) -> Self {
        let mut random = Random(seed);
        let classes: Vec<i32> = (0..rows).map(|_| random.below(cols) as i32).collect();
        let mut logits: Vec<f32> = (0..rows * cols).map(|_| scale * random.normal()).collect();
        for (row, &class) in classes.iter().enumerate() {
            logits[row * cols + class as usize] += 2.0 * scale * random.next();
        }
        Self { cols, logits, classes, mask: None, options: Default::default(), check_shift: true }
    }

    fn notices_of(&self, targets: Targets<'_>, memory: Option<u64>) -> Vec<Notice> {
        let shape = Shape::new(self.classes.len(), self.cols);
        let mut inputs = CrossEntropyInputs::new(targets);
        inputs.rows.row_mask = self.mask.as_deref();
        let options = EvaluateOptions { check_shift: self.check_shift, memory, ..Default::default() };
        let mut evaluation = Evaluation::new(&self.options, shape, inputs, &options).unwrap();
        let mut source = SliceSource::new(&self.logits, shape).unwrap();
        evaluation.run_on_cpu(&mut source, |_| Ok(())).unwrap();
        evaluation.report().notices()
    }

    fn notices(&self) -> Vec<Notice> {
        self.notices_of(Targets::Classes(&self.classes), None)
    }

    #[track_caller]
    fn tells(&self, misuse: Misuse) -> Notice {
        let notices = self.notices();
        assert_eq!(notices.iter().map(|notice| notice.misuse).collect::<Vec<_>>(), [misuse], "{notices:?}");
        notices[0]
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks(self.cols)
    }
}

#[test]
fn honest_batches_give_no_notice() {
    let mut random = Random(99);
    for seed in 0..1_000 {
        let (rows, cols) = (1 + random.below(70), 1 + random.below(24));
        let mut batch = Batch::honest(seed, rows, cols, [0.0001, 0.02, 0.3, 1.0, 4.0][seed as usize % 5]);
        if seed % 3 == 0 {
            let length = 1 + random.below(12);
            batch.options.sequences = Some(Sequences {
                from: random.below(3),
                unit: if seed % 2 == 0 { SequenceUnit::Tokens } else { SequenceUnit::Positions },
                ..Sequences::shifted(length, 1)
            });
            // Each row knows its token, which is now the one after it.
            batch.classes.rotate_right(1);
        }
        if seed % 4 == 0 {
            batch.mask = Some((0..rows).map(|_| random.next() < 0.8).collect());
        }
        if seed % 7 == 0 {
            batch.options.input = Input::LogProbs;
            let log_probs = batch.rows().flat_map(|row| reference::log_softmax_row(row, &Default::default()));
            batch.logits = log_probs.map(|value| value as f32).collect();
        }
        if seed % 11 == 0 && batch.options.sequences.is_none() {
            // Masked classes, none of which is a target, and ignored rows.
            let of_row: Vec<_> = batch.classes.iter().map(|&class| class as usize).collect();
            for (at, logit) in batch.logits.iter_mut().enumerate() {
                if at % cols != of_row[at / cols] && at % 5 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
            batch.classes.iter_mut().step_by(3).for_each(|class| *class = -100);
        }
        assert_eq!(batch.notices(), [], "seed {seed}: {rows} × {cols}, {:?}", batch.options);
        if seed % 20 == 0 && seed % 11 != 0 && batch.options.sequences.is_none() {
            // A top-k of a teacher sums to less than 1.
            let probs: Vec<f32> = (0..2 * rows).map(|_| 0.5 * random.next()).collect();
            let indices: Vec<i32> = (0..2 * rows).map(|at| (at % cols) as i32).collect();
            let sparse = Targets::Sparse { indices: &indices, probs: &probs, entries: 2 };
            assert_eq!(batch.notices_of(sparse, None), [], "seed {seed}");
        }
    }
}

#[test]
fn probabilities_and_log_probabilities() {
    for (cols, scale) in [(2, 1.0), (10, 3.0), (1000, 0.001), (300, 8.0)] {
        let mut batch = Batch::honest(7, 40, cols, scale);
        let probs = batch.rows().flat_map(|row| reference::softmax_row(row, &Default::default()));
        batch.logits = probs.map(|value| value as f32).collect();
        let notice = batch.tells(Misuse::ProbabilitiesAsLogits);
        assert_eq!((notice.rows, notice.of), (40, 40), "{notice}");
        // Given as log-probabilities, they are above 0.
        batch.options.input = Input::LogProbs;
        assert_eq!(batch.tells(Misuse::PositiveLogProbs).of, 40);
    }
    let mut logits = Batch::honest(8, 40, 10, 3.0);
    logits.options.input = Input::LogProbs;
    assert!(logits.tells(Misuse::PositiveLogProbs).rows > 30);
}

/// PyTorch users mark what has no label by −100, which this loss takes as a number.
#[test]
fn marks_among_labels() {
    let (shape, logits) = (Shape::new(3, 4), [0.5; 12]);
    let labels = |mark: f32| [1.0, 0.0, 0.0, 1.0, 1.0, mark, 0.0, 0.0, 1.0, 1.0, 0.25, mark];
    for (mark, mask, rows) in [(-100.0, [true; 3], 2), (-1.0, [true, true, false], 1), (1.0, [true; 3], 0)] {
        let (values, op) = (labels(mark), SigmoidBceOptions::default());
        let inputs = SigmoidBceInputs::new(&values).row_mask(&mask);
        let mut evaluation = Evaluation::new(&op, shape, inputs, &Default::default()).unwrap();
        evaluation.run_on_cpu(&mut SliceSource::new(&logits, shape).unwrap(), |_| Ok(())).unwrap();
        let report = evaluation.report();
        let told =
            report.notices().into_iter().find(|notice| notice.misuse == Misuse::TargetsNotProbabilities);
        let counted = mask.iter().filter(|&&is_scored| is_scored).count();
        assert_eq!(
            told.map(|notice| (notice.rows, notice.of)),
            (rows > 0).then_some((rows, counted)),
            "{mark}"
        );
    }
}

#[test]
fn targets_that_are_no_probabilities() {
    let batch = Batch::honest(3, 20, 6, 1.0);
    let soft = |value: f32| vec![value; 20 * 6];
    for (value, is_told) in [(-0.5, true), (1.5, true), (1.0 / 6.0, false), (0.0, false), (1.0, false)] {
        let values = soft(value);
        let told = batch.notices_of(Targets::Soft(&values), None);
        let expected: &[Misuse] = if is_told { &[Misuse::TargetsNotProbabilities] } else { &[] };
        assert_eq!(told.iter().map(|notice| notice.misuse).collect::<Vec<_>>(), expected, "{value}");
        assert!(told.iter().all(|notice| (notice.rows, notice.of) == (20, 20)));
        let (indices, probs) = ([3, -100].repeat(20), [value, 9.0].repeat(20));
        let sparse = Targets::Sparse { indices: &indices, probs: &probs, entries: 2 };
        assert_eq!(batch.notices_of(sparse, None).len(), usize::from(is_told), "{value}: sparse");
    }
    // Read from a source, window by window.
    let (shape, values) = (Shape::new(20, 6), soft(-0.5));
    let (mut source, mut logits) =
        (SliceSource::new(&values, shape).unwrap(), SliceSource::new(&batch.logits, shape).unwrap());
    let inputs = EvaluateInputs::from(TargetSource::Soft(&mut source));
    let options = EvaluateOptions { memory: Some(9_000), ..Default::default() };
    let mut evaluation = Evaluation::new(&CrossEntropyOptions::default(), shape, inputs, &options).unwrap();
    evaluation.run_on_cpu(&mut logits, |_| Ok(())).unwrap();
    assert_eq!(evaluation.report().notices()[0].rows, 20);
}

#[test]
fn rows_that_are_all_alike() {
    let mut batch = Batch::honest(5, 50, 12, 1.0);
    let first = batch.logits[..12].to_vec();
    batch.logits = first.repeat(50);
    assert_eq!(batch.tells(Misuse::IdenticalRows).rows, 50);
    batch.logits[7 * 12] += 1.0;
    // One row differs, and predicts the same.
    let notice = batch.tells(Misuse::OneClassPredicted);
    assert_eq!(notice.of, 50);
    // Rows that differ, but all predict class 3.
    let mut batch = Batch::honest(6, 50, 12, 1.0);
    batch.logits.iter_mut().skip(3).step_by(12).for_each(|logit| *logit = 50.0);
    let notice = batch.tells(Misuse::OneClassPredicted);
    assert_eq!((notice.class, notice.of), (Some(3), 50));
    // Where that class is nearly always right, it is no mistake.
    batch.classes = (0..50).map(|row| if row == 17 { 1 } else { 3 }).collect();
    assert_eq!(batch.notices(), []);
}

#[test]
fn targets_that_cannot_be() {
    let mut batch = Batch::honest(9, 30, 10, 1.0);
    batch.classes[4] = 8;
    batch.classes[20] = 9;
    batch.logits.iter_mut().skip(9).step_by(10).for_each(|logit| *logit = f32::NEG_INFINITY);
    batch.classes.iter_mut().filter(|class| **class == 9).for_each(|class| *class = 1);
    assert_eq!(batch.notices(), [], "no target is there");
    batch.classes[20] = 9;
    let notice = batch.tells(Misuse::ImpossibleTargets);
    assert_eq!((notice.rows, notice.of, notice.class), (1, 30, Some(9)));
}

#[test]
fn padding_and_masks() {
    // Eight sequences of 12 tokens, of which the last 5 to 7 are the padding, token 0; with an attention mask.
    let mut batch = Batch::honest(11, 96, 40, 1.0);
    let is_padding = |row: usize| row % 12 >= 5 + row / 12 % 3;
    batch.classes.iter_mut().enumerate().for_each(|(row, class)| {
        *class = if is_padding(row) { 0 } else { *class % 39 + 1 };
    });
    batch.options.sequences = Some(Sequences::shifted(12, 1));
    let notice = batch.tells(Misuse::PaddingScored);
    assert_eq!((notice.rows, notice.of, notice.class), (8, 8, Some(0)));
    let of_windows = batch.notices_of(Targets::Classes(&batch.classes), Some(60_000));
    assert_eq!(of_windows, [notice], "in windows");
    batch.mask = Some((0..96).map(|row| !is_padding(row)).collect());
    assert_eq!(batch.notices(), [], "masked, as tokens");
    let sequences = Sequences { unit: SequenceUnit::Positions, ..Sequences::shifted(12, 1) };
    batch.options.sequences = Some(sequences);
    let notice = batch.tells(Misuse::MaskOfTokens);
    assert_eq!((notice.rows, notice.class), (8, Some(0)));
    batch.mask = Some((0..96).map(|row| !is_padding(row + 1)).collect());
    assert_eq!(batch.notices(), [], "masked, as positions");
    batch.mask = None;
    batch.options =
        CrossEntropyOptions { ignore_index: 0, sequences: Some(Sequences::shifted(12, 1)), ..batch.options };
    assert_eq!(batch.notices(), [], "ignored");
}

/// Targets one row off, in either direction.
#[test]
fn shifted_targets() {
    let mut batch = Batch::honest(13, 200, 30, 1.0);
    batch.logits.iter_mut().enumerate().for_each(|(at, logit)| {
        *logit += if at % 30 == batch.classes[at / 30] as usize { 6.0 } else { 0.0 };
    });
    let honest = batch.clone();
    assert_eq!(batch.notices(), []);
    for (by, shift) in [(1, -1), (199, 1)] {
        batch.classes.clone_from(&honest.classes);
        batch.classes.rotate_left(by);
        let notice = batch.tells(Misuse::ShiftedTargets);
        assert_eq!(notice.shift, shift, "{notice}");
        batch.check_shift = false;
        assert_eq!(batch.notices(), [], "on request");
        batch.check_shift = true;
    }
}
