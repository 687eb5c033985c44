//! What one read of a row tells besides its loss, against the reference.

use xent::reference::{RowReadouts, row_readouts};
use xent::{
    CrossEntropy, CrossEntropyBuffers, CrossEntropyOptions, Element, Flags, Input, LossOutputs, MaskedRow,
    OutputBuffer, RowFields, RowPartials, RowResult, Shape, Tuning,
};
use xent::{bounds::loss_bound, half};

use crate::batch::{Batch, noise};
use crate::harness::{Region, gpu, in_pass, is_mine};
use crate::outputs::field_of;
use crate::special;

/// Every field.
fn all(options: CrossEntropyOptions) -> CrossEntropyOptions {
    CrossEntropyOptions { row_fields: RowFields::all(), ..options }
}

/// How far a float may be from its value: a relative part, and an absolute one.
fn bound(field: RowFields, expected: &RowReadouts, value: f64, is_capped: bool) -> f64 {
    match field {
        RowFields::TARGET_PROB | RowFields::CONFIDENCE | RowFields::MASS_AHEAD => 2e-5 * value + 1e-37,
        RowFields::SUM_EXP => 2e-5 * value,
        RowFields::BRIER => 6e-5 * value + 1e-37,
        RowFields::TARGET_LOG_PROB => loss_bound(value),
        RowFields::ENTROPY => loss_bound(value),
        // Each of two capped logits may be off.
        RowFields::MARGIN if is_capped => 1e-6 * (value.abs() + expected.row_max.abs()) + 1e-37,
        RowFields::MARGIN => 1e-6 * value.abs() + 1e-37,
        // A cap is computed in f32.
        RowFields::ROW_MAX | RowFields::TARGET_LOGIT | RowFields::MIN_LOGIT => 1e-6 * value.abs() + 1e-37,
        RowFields::MEAN_LOGIT => {
            let extent = expected.row_max.abs().max(expected.min_logit.abs());
            if extent.is_finite() { 2e-6 * extent + 1e-37 } else { 0.0 }
        }
        other => panic!("{other:?}"),
    }
}

fn floats(actual: &RowResult, expected: &RowReadouts) -> [(RowFields, f32, f64); 12] {
    [
        (RowFields::ROW_MAX, actual.row_max, expected.row_max),
        (RowFields::SUM_EXP, actual.sum_exp, expected.sum_exp),
        (RowFields::TARGET_LOGIT, actual.target_logit, expected.target_logit),
        (RowFields::TARGET_PROB, actual.target_prob, expected.target_prob),
        (RowFields::TARGET_LOG_PROB, actual.target_log_prob, expected.target_log_prob),
        (RowFields::CONFIDENCE, actual.confidence, expected.confidence),
        (RowFields::MASS_AHEAD, actual.mass_ahead, expected.mass_ahead),
        (RowFields::ENTROPY, actual.entropy, expected.entropy),
        (RowFields::BRIER, actual.brier, expected.brier),
        (RowFields::MARGIN, actual.margin, expected.margin),
        (RowFields::MIN_LOGIT, actual.min_logit, expected.min_logit),
        (RowFields::MEAN_LOGIT, actual.mean_logit, expected.mean_logit),
    ]
}

/// Compares a row's readouts with the reference.
pub fn check_row(actual: &RowResult, expected: &RowReadouts, is_capped: bool, context: &str) {
    for (field, actual, value) in floats(actual, expected) {
        // What is beyond f32 there is infinite here.
        let value = if value.abs() > f64::from(f32::MAX) { f64::from(value as f32) } else { value };
        let actual = f64::from(actual);
        let is_equal = actual == value || (actual.is_nan() && value.is_nan());
        let bound = bound(field, expected, value, is_capped);
        let is_close = (actual - value).abs() <= bound;
        assert!(is_equal || is_close, "{context}: {field:?} {actual:e}, expected {value:e} ± {bound:e}");
    }
    assert_eq!(actual.rank, expected.rank, "{context}: rank");
    assert_eq!(actual.is_correct(), expected.is_correct, "{context}: correct");
}

/// Runs a batch with every field through host slices and through buffers. Both must be the reference's.
fn check<E: Element>(batch: &Batch<E>, options: CrossEntropyOptions, tuning: Option<Tuning>) {
    let context = format!("{} {:?} {tuning:?} {options:?}", batch.name, batch.shape);
    let op = CrossEntropy::<E>::new(gpu(), &all(options)).expect("an operation");
    let op = tuning.map_or(Ok(op.clone()), |tuning| op.clone().with_tuning(tuning)).expect("a tuning");
    let results = op.row_results(&batch.logits, batch.inputs(), batch.shape).wait().expect("results");
    for (row, result) in results.iter().enumerate() {
        let context = format!("{context}: row {row} ({})", batch.label(row));
        let target = batch.targets[row];
        if target == options.ignore_index {
            assert!(
                result.is_left_out() && result.rank == 0 && result.entropy == 0.0,
                "{context}: {result:?}"
            );
            continue;
        }
        let expected = row_readouts(&batch.row(row), Some(target as usize), &options);
        check_row(result, &expected, options.softcap.is_some(), &context);
    }
    let read = records(&op, batch, RowFields::all());
    let word = |field| field_of(&read, RowFields::all(), field);
    let (rank, flags, entropy) = (word(RowFields::RANK), word(RowFields::FLAGS), word(RowFields::ENTROPY));
    for (row, result) in results.iter().enumerate() {
        let told = (result.rank, result.flags().bits());
        assert_eq!((rank[row], flags[row]), told, "{context}: row {row} in a buffer");
        // The windows of 16-bit logits lie otherwise than the batch, so that sums have another order.
        let (found, expected) = (f32::from_bits(entropy[row]), result.entropy);
        let is_close = (found - expected).abs() <= 1e-5 * expected + 1e-6;
        assert!(is_close || (found.is_nan() && expected.is_nan()), "{context}: row {row}: entropy {found}");
    }
}

/// The records that a bound loss writes beside its gradient.
fn records<E: Element>(op: &CrossEntropy<E>, batch: &Batch<E>, fields: RowFields) -> Vec<u32> {
    let shape = batch.shape;
    let logits = Region::new(gpu(), 256, &batch.logits);
    let targets = Region::of_i32(gpu(), &batch.targets);
    let dlogits = Region::unwritten(gpu(), shape.len());
    let records = Region::unwritten(gpu(), shape.rows * fields.words());
    let to = CrossEntropyBuffers {
        row_results: Some(records.binding()),
        outputs: LossOutputs { dlogits: Some(OutputBuffer::F32(dlogits.binding())), ..Default::default() },
        ..CrossEntropyBuffers::new(logits.binding(), targets.binding())
    };
    let bound = op.bind(shape, &to).expect("bound");
    in_pass(gpu(), |pass| bound.encode(pass));
    records.read(gpu())
}

/// Noise with ties, in rows of a length, with the special rows of the contract among them.
pub fn rows_with_everything(cols: usize) -> Batch {
    let mut batch = noise("readouts", 5 + cols as u64, 6 + special::CASES.len(), cols);
    for row in 0..3 {
        // Ties: few values.
        batch.logits[row * cols..][..cols].iter_mut().for_each(|x| *x = x.round());
    }
    batch.targets[4] = -100;
    for (i, (_, _, fill)) in special::CASES.iter().enumerate() {
        let (row, at) = (6 + i, (7 * i + 3) % cols);
        fill(&mut batch.logits[row * cols..][..cols], at);
        batch.targets[row] = ((at + i % 2) % cols) as i32;
    }
    batch
}

#[test]
fn rows_of_every_length() {
    let lengths = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 65, 127, 130, 257, 1025, 2500];
    for (i, cols) in lengths.into_iter().enumerate() {
        let tunings =
            [None, Some(Tuning::fixed(4, 2)), Some(Tuning::fixed(1, 8)), Some(Tuning::fixed(64, 1))];
        let masked_row = [MaskedRow::Nan, MaskedRow::Zero][i % 2];
        check(
            &rows_with_everything(cols),
            CrossEntropyOptions { masked_row, ..Default::default() },
            tunings[i % 4],
        );
    }
}

#[test]
fn options_of_the_loss() {
    let plain = CrossEntropyOptions::default();
    let sets = [
        CrossEntropyOptions { temperature: 2.5, z_loss: 1e-3, ..plain },
        CrossEntropyOptions { softcap: Some(3.0), label_smoothing: 0.1, ..plain },
        CrossEntropyOptions { focal_gamma: 2.0, ..plain },
        CrossEntropyOptions { temperature: 2f32.powi(110), ..plain },
    ];
    for (case, options) in sets.into_iter().enumerate() {
        if is_mine(case) {
            let mut batch = rows_with_everything(203);
            if case == 1 {
                // A cap makes infinities finite in the reference's row of scores only.
                batch.logits.iter_mut().filter(|x| x.is_infinite()).for_each(|x| *x = 1.5);
            }
            check(&batch, options, None);
        }
    }
    let mut log_probs = noise("log-probabilities", 9, 5, 77);
    log_probs.logits.iter_mut().for_each(|x| *x = -x.abs() - 1.0);
    check(&log_probs, CrossEntropyOptions { input: Input::LogProbs, ..plain }, None);
}

fn rounded<E: Element>(batch: &Batch) -> Batch<E> {
    let logits = batch.logits.iter().map(|&x| E::from_f32(x)).collect();
    Batch::dense(&batch.name, batch.shape.cols, logits, batch.targets.clone())
}

#[test]
fn types_and_layouts() {
    let batch = rows_with_everything(126);
    check(&rounded::<half::f16>(&batch), Default::default(), None);
    check(&rounded::<half::bf16>(&batch), Default::default(), Some(Tuning::fixed(8, 1)));
    let rows = batch.shape.rows;
    check(&batch.laid_out(Shape::new(rows, 126).row_stride(131)), Default::default(), None);
    let pairs = noise("side by side", 4, 12, 61);
    check(
        &pairs.laid_out(Shape { rows: 12, cols: 61, row_stride: 61 * 3, inner: 3 }),
        Default::default(),
        None,
    );
}

#[test]
fn split_rows() {
    let batch = noise("split", 8, 2, 9001);
    let mut tied = batch.clone();
    tied.logits.iter_mut().for_each(|x| *x = x.round());
    for batch in [batch, tied] {
        check(&batch, Default::default(), Some(Tuning::fixed(8, 1).split(16, 1024)));
    }
}

/// A confident row, whose rest f32 loses beside 1, and a far offset.
#[test]
fn confident_rows() {
    let rows =
        [[0.0, -17.0, -18.0, -20.0], [1e6, 1e6 - 16.0, 1e6 - 30.0, 1e6 - 40.0], [-3e38, 3e38, 0.0, 1e38]];
    check(&Batch::dense("confident", 4, rows.concat(), vec![0, 0, 1]), Default::default(), None);
}

/// Fields that are asked for change no bit of the others.
#[test]
fn each_field_alone() {
    let batch = rows_with_everything(65);
    let of = |row_fields| {
        let op = CrossEntropy::<f32>::new(gpu(), &CrossEntropyOptions { row_fields, ..Default::default() });
        op.expect("an operation")
            .row_results(&batch.logits, batch.inputs(), batch.shape)
            .wait()
            .expect("results")
    };
    let whole = of(RowFields::all());
    let asked =
        [RowFields::RANK | RowFields::LSE, RowFields::ENTROPY, RowFields::MARGIN | RowFields::CORRECT];
    for fields in asked.into_iter().chain([RowFields::empty()]) {
        for (row, (some, all)) in of(fields).iter().zip(&whole).enumerate() {
            let expected =
                |field, value: f32| if fields.contains(field) { value.to_bits() } else { f32::NAN.to_bits() };
            assert_eq!(some.loss.to_bits(), all.loss.to_bits(), "row {row}");
            assert_eq!(some.flags(), all.flags(), "row {row}");
            if some.is_left_out() {
                continue;
            }
            for (field, some, all) in [
                (RowFields::LSE, some.lse, all.lse),
                (RowFields::ENTROPY, some.entropy, all.entropy),
                (RowFields::MARGIN, some.margin, all.margin),
            ] {
                assert_eq!(some.to_bits(), expected(field, all), "row {row}: {field:?} of {fields:?}");
            }
            let rank = if fields.contains(RowFields::RANK) { all.rank } else { 0 };
            assert_eq!(some.rank, rank, "row {row}");
        }
    }
}

/// The partials of two halves of the columns give the loss of the row.
#[test]
fn partials_of_columns_combine() {
    let mut batch = noise("halves", 3, 7, 90);
    batch.targets = (0..7).map(|row| row * 13).collect();
    let temperature = 1.5;
    let options = CrossEntropyOptions { row_fields: RowFields::PARTIALS, temperature, ..Default::default() };
    let op = CrossEntropy::<f32>::new(gpu(), &options).expect("an operation");
    let whole = op.row_results(&batch.logits, batch.inputs(), batch.shape).wait().expect("results");
    let part = |columns: std::ops::Range<usize>| {
        let logits: Vec<f32> =
            batch.logits.chunks(90).flat_map(|row| row[columns.clone()].to_vec()).collect();
        let inside = |target: &i32| columns.contains(&(*target as usize));
        // A row whose target is elsewhere takes any class: its logit is not used.
        let classes: Vec<i32> =
            batch.targets.iter().map(|t| if inside(t) { t - columns.start as i32 } else { 0 }).collect();
        let results =
            op.row_results(&logits, &classes, Shape::new(7, columns.len())).wait().expect("results");
        let mut parts: Vec<RowPartials> = results.iter().map(RowPartials::from).collect();
        for (part, target) in parts.iter_mut().zip(&batch.targets) {
            if !inside(target) {
                *part = part.without_target();
            }
        }
        parts
    };
    for (row, (left, right)) in part(0..37).iter().zip(&part(37..90)).enumerate() {
        let both = left.combine(right, temperature);
        assert!((both.loss(temperature) - f64::from(whole[row].loss)).abs() < 1e-5, "row {row}: {both:?}");
        assert_eq!(both.flags(), Flags::empty());
    }
}

#[test]
fn targets_without_a_class_have_no_rank() {
    let soft = vec![0.5; 4];
    let op = CrossEntropy::<f32>::new(gpu(), &all(Default::default())).expect("an operation");
    let error = op.row_results(&[0.0; 4], xent::Targets::Soft(&soft), Shape::new(2, 2)).wait().unwrap_err();
    assert!(matches!(error, xent::Error::InvalidOption { option: "row_fields", .. }), "{error}");
    let row_fields = RowFields::ENTROPY | RowFields::CONFIDENCE;
    let op =
        CrossEntropy::<f32>::new(gpu(), &CrossEntropyOptions { row_fields, ..Default::default() }).unwrap();
    let results =
        op.row_results(&[0.0; 4], xent::Targets::Soft(&soft), Shape::new(2, 2)).wait().expect("results");
    assert!((f64::from(results[0].entropy) - 2f64.ln()).abs() < 1e-6 && results[1].confidence == 0.5);
}
