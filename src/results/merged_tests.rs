//! The loss of merged partials is that of the whole rows.

use super::*;
use crate::reference::cross_entropy::{row_loss_at, row_partials};
use crate::reference::{argmax_row, row_readouts};
use crate::targets::Targets;

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;
const COLS: usize = 7;

/// Rows with every kind of special value, and ties of the maximum between any two parts.
const ROWS: [[f32; COLS]; 8] = [
    [0.5, -1.25, 3.0, 2.0, -4.0, 0.0, 1.0],
    [1000.5, 1001.0, 999.0, 1002.0, 1000.0, 998.5, 1001.5],
    [-20.0, 3.0, -19.0, -21.0, -18.0, -22.0, -17.5],
    [2.0, 5.0, 5.0, 1.0, 5.0, 0.0, 5.0],
    [-INF, -INF, 1.0, 0.5, 0.25, -INF, -INF],
    [-INF; COLS],
    [1.0, 2.0, 0.5, 0.25, NAN, 0.0, -1.0],
    [1.0, 2.0, 0.5, INF, 0.25, 0.0, -1.0],
];

fn options() -> Vec<CrossEntropyOptions> {
    let plain = CrossEntropyOptions::default();
    vec![
        plain,
        CrossEntropyOptions { label_smoothing: 0.1, z_loss: 1e-3, ..plain },
        CrossEntropyOptions { temperature: 2.5, softcap: Some(30.0), label_smoothing: 1.0, ..plain },
        CrossEntropyOptions { focal_gamma: 2.0, masked_row: MaskedRow::Zero, temperature: 0.5, ..plain },
    ]
}

/// The merged partials of a row cut at two columns.
fn merged(
    row: &[f32],
    class: i64,
    weights: Option<&[f32]>,
    options: &CrossEntropyOptions,
    cuts: [usize; 2],
) -> RowPartials {
    let ends = [0, cuts[0], cuts[1], row.len()];
    let part = |at: usize| {
        let shard = Some(VocabularyShard::new(ends[at], row.len()));
        let options = CrossEntropyOptions { shard, ..*options };
        row_partials(&row[ends[at]..ends[at + 1]], class, weights, &options)
    };
    [1, 2].into_iter().fold(part(0), |sum, at| sum.combine(&part(at), options.temperature))
}

fn assert_close(actual: f64, expected: f64, what: &str) {
    let is_same = actual == expected || (actual.is_nan() && expected.is_nan());
    assert!(
        is_same || (actual - expected).abs() <= 1e-6 + 1e-6 * expected.abs(),
        "{what}: {actual}, expected {expected}"
    );
}

/// Every cut of every row, into parts that may be empty.
#[test]
fn any_cut_gives_the_loss_of_the_row() {
    let weights = [1.0, 0.0, 2.0, 0.5, 1.5, 3.0, 0.25];
    for options in options() {
        for class_weights in [None, Some(&weights[..])] {
            for (nth, row) in ROWS.iter().enumerate() {
                for (a, b) in (0..=COLS).flat_map(|b| (0..=b).map(move |a| (a, b))) {
                    let class = (nth + a + 2 * b) % COLS;
                    let what = format!("row {nth}, class {class}, cut at {a} and {b}, {options:?}");
                    let of_row = merged(row, class as i64, class_weights, &options, [a, b]);
                    let options =
                        CrossEntropyOptions { shard: Some(VocabularyShard::new(0, COLS)), ..options };
                    let classes = [class as i32];
                    let inputs = CrossEntropyInputs { class_weights, ..Targets::Classes(&classes).into() };
                    let result = options.merged_results(&[of_row], inputs).expect("results")[0];
                    let shape = Shape::new(1, COLS);
                    let expected = row_loss_at(row, inputs, shape, &options, 0);
                    assert_close(result.loss.into(), expected.total(), &what);
                    assert_close(result.lse.into(), expected.lse, &what);
                    // A cap makes equals of the largest logits of one row.
                    let is_capped = options.softcap.is_some() && nth == 1;
                    assert!(is_capped || result.argmax == argmax_row(row), "{what}: {}", result.argmax);
                    let readouts = row_readouts(
                        row,
                        Some(class),
                        &CrossEntropyOptions { masked_row: MaskedRow::Nan, ..options },
                    );
                    assert_close(result.confidence.into(), readouts.confidence, &what);
                    assert_close(result.target_prob.into(), readouts.target_prob, &what);
                    assert_close(result.target_log_prob.into(), readouts.target_log_prob, &what);
                    assert!(is_capped || result.is_correct() == readouts.is_correct, "{what}");
                    assert_eq!(result.flags().contains(Flags::NAN_LOSS), result.loss.is_nan(), "{what}");
                    assert_eq!(
                        result.flags().contains(Flags::INFINITE_LOSS),
                        result.loss.is_infinite(),
                        "{what}"
                    );
                }
            }
        }
    }
}

/// A batch with ignored rows, row weights and a mask.
#[test]
fn merged_rows_reduce_like_the_batch() {
    let logits: Vec<f32> = ROWS[..5].concat();
    let classes = [2, 6, -100, 1, 3];
    let (row_weights, row_mask) = ([1.0, 2.5, 1.0, 0.5, 1.0], [true, true, true, false, true]);
    let class_weights = [1.0, 0.5, 2.0, 0.5, 1.5, 3.0, 0.25];
    let inputs = CrossEntropyInputs::new(Targets::Classes(&classes))
        .class_weights(&class_weights)
        .row_weights(&row_weights)
        .row_mask(&row_mask);
    let options = CrossEntropyOptions { label_smoothing: 0.2, z_loss: 0.01, ..Default::default() };
    let partials: Vec<RowPartials> = (0..5)
        .map(|row| merged(&ROWS[row], classes[row].into(), Some(&class_weights), &options, [2, 5]))
        .collect();
    assert_eq!(partials[2], RowPartials::NONE);
    let whole = crate::reference::cross_entropy::loss(&logits, inputs, Shape::new(5, COLS), &options);
    let of_shard = CrossEntropyOptions { shard: Some(VocabularyShard::new(5, COLS)), ..options };
    // The last row has impossible classes, which smoothing gives a share.
    assert_eq!(of_shard.merged_loss(&partials, inputs).expect("a loss").value, whole.expect("a loss"));
    let but_last = CrossEntropyInputs {
        rows: inputs.part(Shape::new(5, COLS), 0..4).rows,
        ..inputs.part(Shape::new(5, COLS), 0..4)
    };
    let expected =
        crate::reference::cross_entropy::loss(&logits[..28], but_last, Shape::new(4, COLS), &options)
            .expect("a loss");
    let loss = of_shard.merged_loss(&partials[..4], but_last).expect("a loss");
    assert_close(loss.value, expected, "the mean");
    assert_eq!((loss.rows, loss.counted, loss.weight), (4, 2, 2.0 + 2.5 * 0.25));
}

#[test]
fn a_class_of_nearly_certain_rows_keeps_its_digits() {
    let row = ROWS[2];
    let others: f64 = row.iter().map(|&x| (f64::from(x) - 3.0).exp()).sum::<f64>() - 1.0;
    let of_row = merged(&row, 1, None, &CrossEntropyOptions::default(), [1, 3]);
    let options = CrossEntropyOptions { shard: Some(VocabularyShard::new(0, COLS)), ..Default::default() };
    let loss = options.merged_loss(&[of_row], &[1]).expect("a loss").value;
    assert!((loss / others.ln_1p() - 1.0).abs() < 1e-6, "{loss:e}");
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let options = CrossEntropyOptions { shard: Some(VocabularyShard::new(4, 8)), ..Default::default() };
    let shape = Shape::new(1, 4);
    let check = |options: CrossEntropyOptions, targets: Targets<'_>, shape| {
        CrossEntropyInputs::new(targets).check(shape, &options)
    };
    let named = |result: Result<BatchWeight>| match result {
        Err(Error::InvalidOption { option, value, .. }) => (option, value),
        other => panic!("{other:?}"),
    };
    let classes = Targets::Classes(&[7]);
    assert!(check(options, classes, shape).is_ok());
    assert_eq!(named(check(options, classes, Shape::new(1, 5))), ("shard: first_col", 4.0));
    assert_eq!(named(check(options, Targets::Soft(&[0.25; 4]), shape)), ("shard: total_cols", 8.0));
    let sparse = Targets::Sparse { indices: &[1], probs: &[1.0], entries: 1 };
    assert_eq!(named(check(options, sparse, shape)), ("shard: total_cols", 8.0));
    let of_probs = CrossEntropyOptions { input: crate::Input::LogProbs, ..options };
    assert_eq!(named(check(of_probs, classes, shape)), ("shard: total_cols", 8.0));
    let row_fields = crate::RowFields::LOSS | crate::RowFields::RANK;
    let fields = CrossEntropyOptions { row_fields, ..options };
    assert_eq!(named(check(fields, classes, shape)), ("row_fields", 2048.0));
    for (shard, value) in [(VocabularyShard::new(9, 8), 9.0), (VocabularyShard::new(0, 0), 0.0)] {
        let options = CrossEntropyOptions { shard: Some(shard), ..options };
        assert_eq!(named(check(options, classes, shape)).1, value);
    }
    let merged = [RowPartials::NONE; 2];
    let inputs = CrossEntropyInputs::new(classes).partials(&merged);
    assert_eq!(inputs.check(shape, &options), Err(Error::Length { what: "partials", found: 2, needed: 1 }));
    assert_eq!(named(inputs.check(shape, &CrossEntropyOptions::default())), ("partials", 2.0));
    assert!(matches!(
        CrossEntropyInputs::new(Targets::Classes(&[8])).check(shape, &options),
        Err(Error::TargetOutOfRange { row: 0, cols: 8, .. })
    ));
    let whole = CrossEntropyOptions::default().merged_loss(&merged, &[1, 1]);
    assert!(matches!(whole, Err(Error::InvalidOption { option: "shard: total_cols", .. })), "{whole:?}");
}
