//! The figures of a batch against those of NumPy 2.4.6, scikit-learn 1.9.1 and PyTorch 2.15.0, computed once in float64 from the
//! same logits: `log_loss`, `accuracy_score`, `top_k_accuracy_score`, `confusion_matrix`, `recall_score`, `precision_score`,
//! `torch.nn.functional.cross_entropy`; and, by their definitions, the other figures. torchmetrics 1.9.0 gives the same accuracies,
//! ECE and MCE to the seven digits of its f32 (`multiclass_accuracy`, `multiclass_calibration_error`).

use crate::eval::{EvaluateOptions, Evaluation, SliceSource, Tally, TallyOptions};
use crate::inputs::CrossEntropyInputs;
use crate::options::{CrossEntropyOptions, Sequences};
use crate::reference::cross_entropy::loss;
use crate::row_fields::RowFields;
use crate::shape::Shape;
use crate::targets::Targets;

const ROWS: usize = 600;
const COLS: usize = 7;

/// Logits of which two rows in three know a little about their targets.
fn batch() -> (Vec<f32>, Vec<i32>) {
    let mut state = 12_345u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let mut logits: Vec<f32> = (0..ROWS * COLS).map(|_| (8.0 * next() - 4.0) as f32).collect();
    let targets: Vec<i32> = (0..ROWS).map(|_| (next() * COLS as f64) as i32).collect();
    for row in (0..ROWS).filter(|row| row % 3 != 0) {
        logits[row * COLS + targets[row] as usize] += 2.0;
    }
    (logits, targets)
}

fn tally() -> Tally {
    let (logits, targets) = batch();
    let shape = Shape::new(ROWS, COLS);
    let op = CrossEntropyOptions { row_fields: RowFields::all(), ..Default::default() };
    let options = EvaluateOptions { memory: Some(200_000), ..Default::default() };
    let mut evaluation = Evaluation::new(&op, shape, Targets::Classes(&targets), &options).unwrap();
    let mut tally = Tally::new(&TallyOptions { sequence_length: 50, classes: COLS, ..Default::default() });
    let mut source = SliceSource::new(&logits, shape).unwrap();
    evaluation
        .run_on_cpu(&mut source, |window| {
            tally.add(window);
            Ok(())
        })
        .unwrap();
    assert_eq!(evaluation.report().accuracy(), tally.accuracy());
    tally
}

#[test]
fn figures_are_those_of_others() {
    let tally = tally();
    let reliability = tally.reliability();
    for (name, found, expected) in [
        ("mean", Some(tally.finite_mean()), 2.65088021670632),
        ("standard error by rows", tally.standard_error(), 0.08838311211209673),
        ("standard error by sequences", tally.sequence_standard_error(), 0.09744042447697245),
        ("accuracy", tally.accuracy(), 0.315),
        ("top-1", tally.top_k_accuracy(1), 0.315),
        ("top-3", tally.top_k_accuracy(3), 0.59),
        ("mean rank", tally.mean_rank(), 3.183333333333333),
        ("mean reciprocal rank", tally.mean_reciprocal_rank(), 0.509531746031746),
        ("entropy", tally.mean_entropy(), 0.9690464797868998),
        ("Brier score", tally.mean_brier(), 0.9409335522126143),
        ("confidence", reliability.mean_confidence(), 0.626033366833643),
        ("ECE", reliability.ece(), 0.3110333668336431),
        ("MCE", reliability.mce(), 0.45234528939707774),
    ] {
        let found = found.unwrap_or_else(|| panic!("{name}"));
        assert!((found - expected).abs() <= 2e-7 * expected.abs(), "{name}: {found}, {expected}");
    }
    let counts: Vec<u64> = reliability.bins().map(|bin| bin.rows).collect();
    assert_eq!(counts, [0, 0, 0, 1, 27, 41, 67, 80, 76, 54, 65, 55, 53, 53, 28]);
    let equal = reliability.equal_mass(15).unwrap();
    assert!((equal.ece - 0.311033366833643).abs() <= equal.within + 1e-7 && equal.within < 0.02, "{equal:?}");
    for (share, expected) in [
        (0.05, 0.08482108949469858),
        (0.25, 0.6274760841592117),
        (0.5, 2.09351187706272),
        (0.75, 4.404419260684143),
        (0.95, 6.553014261302316),
    ] {
        let found = tally.losses().quantile(share).unwrap().value;
        assert!((found - expected).abs() <= 0.01 * expected, "{share}: {found}, {expected}");
    }
    assert_eq!(tally.worst_rows().iter().map(|worst| worst.row).take(3).collect::<Vec<_>>(), [483, 78, 546]);
}

#[test]
fn figures_of_classes_are_those_of_others() {
    let tally = tally();
    #[rustfmt::skip]
    let confusion = [
        21, 10, 10, 3, 13, 10, 6,
        9, 34, 6, 10, 12, 11, 8,
        8, 13, 23, 10, 14, 10, 6,
        13, 15, 8, 30, 7, 6, 16,
        11, 10, 12, 8, 25, 13, 14,
        8, 10, 11, 11, 15, 23, 9,
        8, 4, 5, 8, 14, 6, 33,
    ];
    assert_eq!(tally.confusion(), confusion);
    let figures: Vec<_> = tally.class_figures().collect();
    let recall = [0.2876712, 0.3777778, 0.2738095, 0.3157895, 0.2688172, 0.2643678, 0.4230769];
    let precision = [0.2692308, 0.3541667, 0.3066667, 0.375, 0.25, 0.2911392, 0.3586957];
    let mean_loss = [2.5912137, 2.6784264, 2.5347104, 2.6526358, 2.8239999, 2.8516802, 2.3675246];
    for (at, class) in figures.iter().enumerate() {
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
        assert!(
            near(class.recall(), recall[at]) && near(class.precision(), precision[at]),
            "{at}: {class:?}"
        );
        assert!(near(class.mean_loss, mean_loss[at]), "{at}: {class:?}");
    }
}

/// PyTorch's loss of `logits[:, :-1]` against `labels[:, 1:]`, whose labels are −100 at the first 5 tokens of each sequence (a
/// prompt) and at the padding.
#[test]
fn prompts_and_padding_are_those_of_pytorch() {
    let (logits, targets) = batch();
    let (length, shape) = (50, Shape::new(ROWS, COLS));
    // The padding of sequence s is 2·s tokens.
    let mask: Vec<bool> = (0..ROWS).map(|row| row % length + 2 * (row / length) < length).collect();
    let weights = [1.0, 0.5, 2.0, 1.5, 0.25, 3.0, 1.0];
    let sequences = Some(Sequences { from: 5, ..Sequences::shifted(length, 1) });
    let inputs = CrossEntropyInputs::new(Targets::Classes(&targets)).row_mask(&mask);
    let plain = CrossEntropyOptions { sequences, ..Default::default() };
    assert_eq!(inputs.check(shape, &plain).unwrap().counted, 408);
    let smoothed = CrossEntropyOptions { label_smoothing: 0.1, ..plain };
    for (name, inputs, options, expected) in [
        ("plain", inputs, plain, 3.8133473422638713),
        ("weights and smoothing", inputs.class_weights(&weights), smoothed, 3.9139234518085626),
    ] {
        let found = loss(&logits, inputs, shape, &options).unwrap();
        // A smoothing of 0.1 is rounded to f32.
        assert!((found - expected).abs() <= 1e-8 * expected, "{name}: {found}, {expected}");
    }
}
