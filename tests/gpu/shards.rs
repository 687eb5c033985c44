//! Vocabulary shards: the partials of some columns each, merged, give the loss of the whole rows, and the gradients of the
//! shards put together are the whole's.

use std::ops::Range;

use xent::half::{bf16, f16};
use xent::reference::cross_entropy::row_partials;
use xent::{
    CrossEntropy, CrossEntropyBuffers, CrossEntropyInputs, CrossEntropyOptions, Element, Error, Flags,
    LossOutputs, OutputBuffer, RowFields, RowPartials, RowResult, Shape, Tuning, VocabularyShard,
};

use crate::batch::{Batch, noise};
use crate::compare::check_of;
use crate::expected::Expected;
use crate::harness::{Region, gpu, in_pass};
use crate::outputs::{Outputs, widened_bits};

const COLS: usize = 101;
/// Odd cuts, and a shard without columns.
const CUTS: [usize; 5] = [0, 33, 33, 66, COLS];

/// What is special of a row, its target, and how it is made of noise.
type Case = (&'static str, i32, fn(&mut [f32]));

/// Rows of noise with what may go wrong where a row is cut.
fn batch() -> Batch {
    let mut batch = noise("shards", 5, 12, COLS);
    let rows: [Case; 12] = [
        ("the target first in its shard", 33, |_| {}),
        ("the target last in its shard", 65, |_| {}),
        ("a NaN in one shard", 2, |row| row[70] = f32::NAN),
        ("+∞ in one shard", 99, |row| row[0] = f32::INFINITY),
        ("all −∞ in one shard", 100, |row| row[33..66].fill(f32::NEG_INFINITY)),
        ("all −∞", 50, |row| row.fill(f32::NEG_INFINITY)),
        ("the target −∞", 3, |row| row[3] = f32::NEG_INFINITY),
        ("the maximum in each shard", 80, |row| [90, 40, 20, 66].iter().for_each(|&at| row[at] = 15.0)),
        ("ignored", -100, |row| row[5] = f32::NAN),
        ("nearly certain", 40, |row| row[40] = 40.0),
        ("far off 0", 1, |row| row.iter_mut().for_each(|x| *x += 1e4)),
        ("a maximum far above", 7, |row| row[99] = 200.0),
    ];
    for (row, (label, target, fill)) in rows.into_iter().enumerate() {
        batch.labels.push(label.to_owned());
        batch.targets[row] = target;
        fill(&mut batch.logits[row * COLS..(row + 1) * COLS]);
    }
    batch
}

/// The options of the shard with these columns.
fn of(columns: &Range<usize>, options: &CrossEntropyOptions) -> CrossEntropyOptions {
    CrossEntropyOptions { shard: Some(VocabularyShard::new(columns.start, COLS)), ..*options }
}

fn columns_of<E: Element>(batch: &Batch<E>, columns: &Range<usize>) -> Vec<E> {
    batch.logits.chunks(COLS).flat_map(|row| row[columns.clone()].to_vec()).collect()
}

fn shards() -> impl Iterator<Item = Range<usize>> {
    CUTS.windows(2).map(|pair| pair[0]..pair[1])
}

/// Partials of all shards, folded in their order.
fn folded(parts: &[Vec<RowPartials>], temperature: f32) -> Vec<RowPartials> {
    let fold =
        |row: usize| parts.iter().fold(RowPartials::NONE, |sum, part| sum.combine(&part[row], temperature));
    (0..parts[0].len()).map(fold).collect()
}

/// Writes a shard's columns of a value for each logit.
fn put<T: Copy>(all: &mut [T], columns: &Range<usize>, part: &[T]) {
    for (row, part) in all.chunks_mut(COLS).zip(part.chunks(columns.len().max(1))) {
        row[columns.clone()].copy_from_slice(part);
    }
}

/// What shards give, by the methods over host slices; all of them the same loss.
fn by_host<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, tuning: Option<Tuning>) -> Outputs {
    let op = |columns: &Range<usize>, options: &CrossEntropyOptions| {
        let op = CrossEntropy::<E>::new(gpu(), &of(columns, options)).expect("an operation");
        match tuning {
            Some(tuning) => op.with_tuning(tuning).expect("a tuning"),
            None => op,
        }
    };
    let shape = |columns: &Range<usize>| Shape::new(batch.shape.rows, columns.len());
    let part = |columns: Range<usize>| {
        let logits = columns_of(batch, &columns);
        op(&columns, options).partials(&logits, batch.inputs(), shape(&columns)).wait().expect("partials")
    };
    let parts: Vec<_> = shards().map(part).collect();
    let merged = folded(&parts, options.temperature);
    let inputs = batch.inputs().partials(&merged);
    let mut dlogits = vec![E::from_f32(7.0); batch.logits.len()];
    let mut results: Vec<Vec<RowResult>> = Vec::new();
    let mut loss = None;
    for columns in shards().filter(|columns| !columns.is_empty()) {
        let (op, shape) = (op(&columns, options), shape(&columns));
        let logits = columns_of(batch, &columns);
        let (of_shard, part) = op.loss_and_dlogits(&logits, inputs, shape).wait().expect("a gradient");
        put(&mut dlogits, &columns, &part);
        if columns.start == 0 {
            results.push(op.row_results(&logits, inputs, shape).wait().expect("results"));
        }
        let told = format!("{of_shard:?}");
        assert_eq!(format!("{:?}", loss.get_or_insert(of_shard)), told, "{columns:?}");
    }
    // The processor says the same of the rows.
    let by_host = of(&(0..1), options).merged_results(&merged, inputs).expect("results");
    for (row, (device, host)) in results[0].iter().zip(&by_host).enumerate() {
        let label = batch.label(row);
        assert_eq!((device.argmax, device.flags()), (host.argmax, host.flags()), "row {row} ({label})");
        assert_eq!(device.is_left_out(), host.is_left_out(), "row {row} ({label})");
        let (a, b) = (f64::from(device.loss), f64::from(host.loss));
        assert!(
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 5e-6 + 1e-6 * b.abs(),
            "{label}: {a} {b}"
        );
    }
    let of_rows = |of: fn(&RowResult) -> u32| Some(results[0].iter().map(of).collect());
    Outputs {
        path: "shards, host",
        host_loss: loss,
        row_losses: of_rows(|row| row.loss.to_bits()),
        row_lse: of_rows(|row| row.lse.to_bits()),
        // A cap makes equals of large logits in different shards.
        row_argmax: of_rows(|row| row.argmax).filter(|_| options.softcap.is_none()),
        row_flags: Some(results[0].iter().map(RowResult::flags).collect()),
        dlogits: Some(widened_bits(&dlogits)),
        rounded: [E::NAME; 2],
        ..Default::default()
    }
}

fn check_host<E: Element>(batch: &Batch<E>, options: &CrossEntropyOptions, tuning: Option<Tuning>) {
    let outputs = by_host(batch, options, tuning);
    check_of(batch, &Expected::of(batch, options), &outputs, &format!("{tuning:?}"));
}

fn every_option() -> CrossEntropyOptions {
    CrossEntropyOptions {
        label_smoothing: 0.1,
        temperature: 1.5,
        softcap: Some(30.0),
        z_loss: 1e-3,
        reduction: xent::Reduction::MeanOver(5.5),
        ..Default::default()
    }
}

#[test]
fn shards_give_the_loss_and_the_gradient_of_the_rows() {
    let plain = CrossEntropyOptions::default();
    check_host(&batch(), &plain, None);
    check_host(&batch().cast::<bf16>(), &plain, None);
    check_host(&batch().with_weights(3), &every_option(), None);
    check_host(
        &batch().cast::<f16>().with_weights(3),
        &CrossEntropyOptions { focal_gamma: 2.0, ..plain },
        None,
    );
}

/// Rows of a shard that are split over workgroups.
#[test]
fn shards_of_split_rows() {
    let tuning = Tuning::fixed(8, 1).split(64, 40);
    check_host(&batch().with_weights(4), &every_option(), Some(tuning));
}

/// Of a shard's columns, as the reference has them.
#[test]
fn partials_are_those_of_the_reference() {
    let (batch, options) = (batch().with_weights(3), every_option());
    let weights = batch.given.class_weights.as_deref();
    let columns = 33..66;
    let op = CrossEntropy::<f32>::new(gpu(), &of(&columns, &options)).expect("an operation");
    let logits = columns_of(&batch, &columns);
    let shape = Shape::new(batch.shape.rows, columns.len());
    let parts = op.partials(&logits, batch.inputs(), shape).wait().expect("partials");
    for (row, part) in parts.iter().enumerate() {
        let of_row = &logits[row * 33..(row + 1) * 33];
        let is_left_out = batch.inputs().rows.row_weights.is_some_and(|weights| weights[row] == 0.0)
            || batch.inputs().rows.row_mask.is_some_and(|mask| !mask[row]);
        let class = if is_left_out { -100 } else { i64::from(batch.targets[row]) };
        let expected = row_partials(of_row, class, weights, &of(&columns, &options));
        assert_eq!((part.argmax, part.flags()), (expected.argmax, expected.flags()), "row {row}");
        // Merged with nothing, and with another part: both by all of its words.
        let far = RowPartials::of(&[3.0, -2.0, 25.0], Some(1), 1.5);
        for (part, expected) in [(*part, expected), (part.combine(&far, 1.5), expected.combine(&far, 1.5))] {
            let of_shard = of(&(0..1), &CrossEntropyOptions { softcap: None, ..options });
            let of = |merged| of_shard.merged_results(&[merged], &[5]).expect("a result")[0];
            let (a, b) = (of(part), of(expected));
            for (a, b) in
                [(a.loss, b.loss), (a.lse, b.lse), (a.target_prob, b.target_prob), (a.sum_exp, b.sum_exp)]
            {
                let is_close =
                    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * (1.0 + b.abs());
                assert!(is_close, "row {row} ({}): {part:?}, expected {expected:?}", batch.label(row));
            }
        }
    }
    // A bound operation gives the same bits.
    let [on_device, targets] = [Region::of_f32(gpu(), 256, &logits), Region::of_i32(gpu(), &batch.targets)];
    let given = batch.inputs();
    let of = |values: Option<&[f32]>| values.map(|values| Region::of_f32(gpu(), 256, values));
    let (class_weights, row_weights) = (of(given.class_weights), of(given.rows.row_weights));
    let mask: Option<Vec<i32>> =
        given.rows.row_mask.map(|mask| mask.iter().map(|&is| i32::from(is)).collect());
    let mask = mask.map(|mask| Region::of_i32(gpu(), &mask));
    let records = Region::unwritten(gpu(), shape.rows * RowFields::PARTIALS.words());
    let op = op.with_options(&CrossEntropyOptions {
        row_fields: RowFields::PARTIALS,
        z_loss: 0.0,
        ..*op.options()
    });
    let mut to = CrossEntropyBuffers {
        class_weights: class_weights.as_ref().map(Region::binding),
        row_results: Some(records.binding()),
        ..CrossEntropyBuffers::new(on_device.binding(), targets.binding())
    };
    to.rows.row_weights = row_weights.as_ref().map(Region::binding);
    to.rows.row_mask = mask.as_ref().map(Region::binding);
    let bound = op.expect("options").bind(shape, &to).expect("a bound operation");
    in_pass(gpu(), |pass| bound.encode(pass));
    let words = records.read(gpu());
    let read =
        words.chunks_exact(8).map(|record| RowPartials::of_record(record.try_into().expect("8 words")));
    for (row, (bound, host)) in read.zip(&parts).enumerate() {
        assert_eq!(bytemuck::bytes_of(&bound), bytemuck::bytes_of(host), "row {row}");
    }
}

/// Gradients of bound operations: of the logits' type, in f32, and in place.
#[test]
fn bound_shards_give_the_bits_of_the_host() {
    let batch = batch().cast::<bf16>();
    let options = CrossEntropyOptions::default();
    let columns = 66..COLS - 1; // rows of whole words, for 16 bits
    let (logits, shape) = (columns_of(&batch, &columns), Shape::new(batch.shape.rows, columns.len()));
    // The last class is a shard of its own.
    let part = |columns: Range<usize>| {
        let of_row = |row: usize| {
            let logits = &batch.row(row)[columns.clone()];
            row_partials(logits, batch.targets[row].into(), None, &of(&columns, &options))
        };
        (0..shape.rows).map(of_row).collect::<Vec<_>>()
    };
    let merged = folded(&[part(0..66), part(columns.clone()), part(COLS - 1..COLS)], 1.0);
    let op = CrossEntropy::<bf16>::new(gpu(), &of(&columns, &options)).expect("an operation");
    let inputs = batch.inputs().partials(&merged);
    let (loss, dlogits) = op.loss_and_dlogits(&logits, inputs, shape).wait().expect("a gradient");
    let mut in_f32 = vec![0.0f32; logits.len()];
    op.loss_into(&logits, inputs, shape, &mut in_f32).wait().expect("a gradient");
    let targets = Region::of_i32(gpu(), &batch.targets);
    let partials = Region::new(gpu(), 256, &merged);
    for kind in 0..3 {
        let on_device = Region::new(gpu(), 256, &logits);
        let output = Region::unwritten_at(gpu(), 256, logits.len());
        let record = Region::unwritten(gpu(), 8);
        let to = CrossEntropyBuffers {
            partials: Some(partials.binding()),
            outputs: LossOutputs {
                loss: Some(record.binding()),
                dlogits: Some(match kind {
                    0 => OutputBuffer::To(output.binding()),
                    1 => OutputBuffer::F32(output.binding()),
                    _ => OutputBuffer::InPlace,
                }),
                ..Default::default()
            },
            ..CrossEntropyBuffers::new(on_device.binding(), targets.binding())
        };
        let bound = op.bind(shape, &to).expect("a bound operation");
        in_pass(gpu(), |pass| bound.encode(pass));
        let found = match kind {
            0 => widened_bits(&output.read_as::<bf16>(gpu())[..logits.len()]),
            1 => output.read(gpu()),
            _ => widened_bits(&on_device.read_as::<bf16>(gpu())),
        };
        let expected = if kind == 1 { widened_bits(&in_f32) } else { widened_bits(&dlogits) };
        assert_eq!(found, expected, "{kind}");
        let record: xent::LossRecord =
            bytemuck::pod_read_unaligned(bytemuck::cast_slice(&record.read(gpu())));
        assert_eq!((record.flags(), record.counted as usize), (loss.flags, loss.counted));
        assert!(record.value.is_nan() && loss.value.is_nan());
    }
}

#[test]
fn a_shard_alone_has_no_loss() {
    let options = of(&(4..8), &CrossEntropyOptions::default());
    let op = CrossEntropy::<f32>::new(gpu(), &options).expect("an operation");
    let (logits, shape) = ([0.0; 4], Shape::new(1, 4));
    let is_refused = |error: Option<Error>| matches!(error, Some(Error::InvalidOption { option: "shard: total_cols", value, .. }) if value == COLS as f64);
    assert!(is_refused(op.loss(&logits, &[2], shape).wait().err()));
    assert!(is_refused(op.loss_and_dlogits(&logits, &[2], shape).wait().err()));
    assert!(is_refused(op.row_results(&logits, &[2], shape).wait().err()));
    let merged = [RowPartials::NONE];
    let inputs = CrossEntropyInputs::from(&[2]).partials(&merged);
    assert!(is_refused(op.verify(&logits, inputs, shape, 1).wait().err()));
    assert!(is_refused(op.verify_dlogits(&logits, inputs, shape, 1).wait().err()));
    let mut stream = op.stream(shape, xent::TargetKind::Classes).expect("a stream");
    assert!(is_refused(stream.push(&logits, 1, &[2]).wait().err()));
    let values = [(); 3].map(|()| Region::unwritten(gpu(), 64));
    let [on_device, targets, output] = &values;
    let to = CrossEntropyBuffers::new(on_device.binding(), targets.binding());
    let losses = LossOutputs { row_losses: Some(output.binding()), ..Default::default() };
    assert!(is_refused(op.bind(shape, &CrossEntropyBuffers { outputs: losses, ..to.clone() }).err()));
    // The default fields have the loss.
    let records = CrossEntropyBuffers { row_results: Some(output.binding()), ..to.clone() };
    assert!(is_refused(op.bind(shape, &records).err()));
    let whole = CrossEntropy::<f32>::new(gpu(), &CrossEntropyOptions::default()).expect("an operation");
    let error = whole.loss(&logits, inputs, shape).wait().unwrap_err();
    assert!(matches!(error, Error::InvalidOption { option: "partials", .. }), "{error}");
    let beyond = op.partials(&[0.0; 98], &[2], Shape::new(1, 98)).wait().unwrap_err();
    assert!(matches!(beyond, Error::InvalidOption { option: "shard: first_col", .. }), "{beyond}");
    // Columns of nothing tell nothing, of targets that are there.
    let none = op.partials(&[], &[2, -100], Shape::new(2, 0)).wait().expect("partials");
    assert_eq!(none, [RowPartials::NONE; 2]);
    let error = op.partials(&[], &[101], Shape::new(1, 0)).wait().unwrap_err();
    assert!(matches!(error, Error::TargetOutOfRange { target, .. } if target == 101), "{error}");
    assert_eq!(none[0].flags(), Flags::MASKED_ROW);
}
