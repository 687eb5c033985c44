//! The largest classes of a row, against a sort of the whole row.

use xent::bounds::{loss_bound, prob_bound};
use xent::eval::{SliceSource, top_k};
use xent::half::{bf16, f16};
use xent::reference::top_k_row;
use xent::{
    CrossEntropy, Element, Error, MaskedRow, Shape, SoftmaxOptions, TopClasses, TopK, TopKBuffers,
    TopKOptions, TopValues, Tuning,
};

use crate::batch::{Batch, noise};
use crate::harness::{Region, gpu, in_pass, is_mine};
use crate::special;

/// Runs a batch through host slices and through buffers, and compares both with the reference.
fn check<E: Element>(batch: &Batch<E>, options: TopKOptions, tuning: Option<Tuning>) {
    let context = format!("{} {:?} {tuning:?} {options:?}", batch.name, batch.shape);
    let op = TopK::<E>::new(gpu(), &options).expect("an operation");
    let op = tuning.map_or(Ok(op.clone()), |tuning| op.clone().with_tuning(tuning)).expect("a tuning");
    let top =
        op.top_k(&batch.logits, batch.shape).wait().unwrap_or_else(|error| panic!("{context}: {error}"));
    for row in 0..batch.shape.rows {
        let expected = top_k_row(&batch.row(row), &options);
        let context = format!("{context}: row {row} ({})", batch.label(row));
        let (indices, values): (Vec<i32>, Vec<f32>) = top.row(row).unzip();
        let classes: Vec<i32> = expected.iter().map(|&(class, _)| class as i32).collect();
        assert_eq!(indices, classes, "{context}");
        for (at, (&value, &(_, expected))) in values.iter().zip(&expected).enumerate() {
            let bound = match options.values {
                TopValues::Logits => 1e-6 * expected.abs(),
                TopValues::LogProbs => loss_bound(expected),
                TopValues::Probs => prob_bound(expected),
            };
            let value = f64::from(value);
            let is_equal = value == expected || (value.is_nan() && expected.is_nan());
            let is_close = (value - expected).abs() <= bound + 1e-37;
            assert!(is_equal || is_close, "{context}: value {at} is {value:e}, expected {expected:e}");
        }
    }
    let words = batch.shape.rows * options.k;
    let logits = Region::new(gpu(), 256, &batch.logits);
    let [indices, values] = [(); 2].map(|()| Region::unwritten(gpu(), words));
    let to = TopKBuffers::new(logits.binding(), indices.binding(), values.binding());
    let bound = op.bind(batch.shape, &to).unwrap_or_else(|error| panic!("{context}: {error}"));
    in_pass(gpu(), |pass| bound.encode(pass));
    let found: Vec<i32> = indices.read(gpu()).into_iter().map(|index| index as i32).collect();
    assert_eq!(found, top.indices, "{context}: in a buffer");
    for (found, expected) in values.read(gpu()).into_iter().map(f32::from_bits).zip(&top.values) {
        // The windows of 16-bit logits lie otherwise than the batch, so that sums have another order.
        let is_close = (found - expected).abs() <= 1e-5 * expected.abs();
        assert!(found == *expected || is_close || found.is_nan() && expected.is_nan(), "{context}: {found}");
    }
}

fn typed<E: Element>(batch: &Batch) -> Batch<E> {
    let logits = batch.logits.iter().map(|&x| E::from_f32(x)).collect();
    Batch {
        labels: batch.labels.clone(),
        ..Batch::dense(&batch.name, batch.shape.cols, logits, batch.targets.clone())
    }
}

/// Rows that make the search hard: ties, sorted rows, one value, few values, NaN and infinities.
pub fn hard_rows(cols: usize) -> Batch {
    type Fill = fn(usize, f32) -> f32;
    let fills: [(&str, Fill); 12] = [
        ("noise", |_, x| x),
        ("rounded", |_, x| x.round()),
        ("one value", |_, _| 1.5),
        ("two values", |i, _| if i % 3 == 1 { 2.0 } else { 1.0 }),
        ("rising", |i, _| i as f32 * 1e-3),
        ("falling", |i, _| -(i as f32)),
        ("close", |i, _| 1.0 + (i * 7919 % 4001) as f32 * 1e-7),
        ("NaN", |_, _| f32::NAN),
        ("many NaN", |i, x| if i % 2 == 0 { -f32::NAN } else { x }),
        ("only −∞", |_, _| f32::NEG_INFINITY),
        ("few finite", |i, x| if i % 97 == 5 { x } else { f32::NEG_INFINITY }),
        ("many +∞", |i, x| if i % 2 == 1 { f32::INFINITY } else { x }),
    ];
    let mut batch = noise("hard rows", cols as u64, fills.len(), cols);
    for (row, (label, fill)) in fills.into_iter().enumerate() {
        batch.labels.push(label.to_owned());
        for (i, x) in batch.logits[row * cols..][..cols].iter_mut().enumerate() {
            *x = fill(i, *x);
        }
    }
    batch
}

#[test]
fn rows_of_every_length() {
    let cases =
        [(1, 1), (2, 2), (3, 1), (7, 5), (8, 8), (33, 20), (130, 64), (1023, 50), (1024, 1024), (1025, 50)];
    let longer = [(1026, 1024), (2500, 5), (4097, 64), (9001, 200)];
    // Two adapters share them.
    for (case, (cols, k)) in cases.into_iter().chain(longer).enumerate().filter(|(i, _)| is_mine(i + i / 4)) {
        let tuning = [None, Some(Tuning::fixed(4, 2)), Some(Tuning::fixed(64, 1)), None][case % 4];
        let values = [TopValues::Probs, TopValues::LogProbs, TopValues::Logits][case % 3];
        check(&hard_rows(cols), TopKOptions { values, ..TopKOptions::new(k) }, tuning);
    }
}

/// Rows of which a workgroup takes several: with lists that have room and with lists that do not, with fewer lanes than classes
/// are wanted, and with seats that no row takes.
#[test]
fn short_rows() {
    let lanes = [(8, 4), (1, 1), (2, 64), (16, 8), (64, 1), (1, 32), (4, 16)];
    let tunings = lanes.map(|(lanes, rows)| Some(Tuning::fixed(lanes, rows)));
    let cases =
        [(1, 1), (2, 2), (7, 5), (8, 8), (33, 8), (130, 5), (1000, 5), (1023, 8), (2500, 3), (4096, 8)];
    for (case, (cols, k)) in cases.into_iter().enumerate() {
        if !is_mine(case) {
            continue;
        }
        let values = [TopValues::Probs, TopValues::LogProbs, TopValues::Logits][case % 3];
        let options =
            TopKOptions { values, renormalize: case % 2 == 0 && case % 3 < 2, ..TopKOptions::new(k) };
        for tuning in [None, tunings[case % tunings.len()]] {
            check(&hard_rows(cols), options, tuning);
        }
    }
    check(&typed::<f16>(&hard_rows(502)), TopKOptions::new(5), None);
    check(&typed::<bf16>(&hard_rows(301)), TopKOptions::new(8), Some(Tuning::fixed(8, 2)));
    let batch = hard_rows(140);
    let rows = batch.shape.rows;
    check(&batch.laid_out(Shape::new(rows, 140).row_stride(151)), TopKOptions::new(6), None);
    check(
        &batch.laid_out(Shape { rows, cols: 140, row_stride: 140 * 3, inner: 3 }),
        TopKOptions::new(6),
        None,
    );
}

#[test]
fn special_rows() {
    for (case, cols) in [5, 70, 1500].into_iter().enumerate() {
        let mut batch = noise("special", 2, special::CASES.len(), cols);
        for (row, (label, _, fill)) in special::CASES.iter().enumerate() {
            fill(&mut batch.logits[row * cols..][..cols], (3 * row + 1) % cols);
            batch.labels.push((*label).to_owned());
        }
        let masked_row = [MaskedRow::Nan, MaskedRow::Zero][case % 2];
        let softmax = SoftmaxOptions { masked_row, ..Default::default() };
        check(&batch, TopKOptions { softmax, ..TopKOptions::new(4) }, None);
    }
}

#[test]
fn options_of_the_softmax() {
    let plain = SoftmaxOptions::default();
    let sets = [
        (SoftmaxOptions { temperature: 0.25, ..plain }, false, TopValues::LogProbs),
        (SoftmaxOptions { softcap: Some(4.0), ..plain }, false, TopValues::Logits),
        (SoftmaxOptions { temperature: 3.0, ..plain }, true, TopValues::Probs),
        (plain, true, TopValues::LogProbs),
    ];
    for (case, (softmax, renormalize, values)) in sets.into_iter().enumerate() {
        if is_mine(case) {
            check(&noise("options", 3, 4, 1300), TopKOptions { k: 9, values, renormalize, softmax }, None);
        }
    }
}

#[test]
fn types_and_layouts() {
    check(&typed::<f16>(&hard_rows(1502)), TopKOptions::new(30), None);
    check(&typed::<bf16>(&hard_rows(1301)), TopKOptions::new(30), Some(Tuning::fixed(8, 1)));
    let batch = hard_rows(1400);
    let rows = batch.shape.rows;
    check(&batch.laid_out(Shape::new(rows, 1400).row_stride(1411)), TopKOptions::new(12), None);
    let side_by_side = Shape { rows, cols: 1400, row_stride: 1400 * 3, inner: 3 };
    check(&batch.laid_out(side_by_side), TopKOptions::new(12), None);
}

/// One row for each way through the search: the pool holds 1,024 candidates, and keys are counted by 11, 11 and 10 bits.
#[test]
fn each_way_through_the_radix_search() {
    type Fill = fn(usize) -> f32;
    let fills: [(&str, Fill); 8] = [
        ("few candidates by the first bits", |i| (i as f32 - 2000.0) * 1e3),
        ("few by the second", |i| 1.0 + i as f32 * 2f32.powi(-13)),
        ("few by the third", |i| 1.0 + i as f32 * 2f32.powi(-23)),
        ("ties at the place of the kth, none above", |_| -0.3),
        ("and some above, far", |i| if i % 1000 == 7 { 3.0 + i as f32 } else { -0.3 }),
        ("and some above, by the last bit", |i| f32::from_bits(0x3f80_0a55 + u32::from(i % 500 == 499))),
        ("zeros of both signs", |i| if i % 2 == 0 { -0.0 } else { 0.0 }),
        ("two keys, each of more rows than the pool holds", |i| if i < 2500 { 1.1 } else { 1.3 }),
    ];
    let cols = 5000;
    let mut logits = Vec::new();
    fills.iter().for_each(|(_, fill)| logits.extend((0..cols).map(fill)));
    let labels = fills.iter().map(|(label, _)| (*label).to_owned()).collect();
    let batch = Batch { labels, ..Batch::dense("searches", cols, logits, vec![0; fills.len()]) };
    check(&batch, TopKOptions { values: TopValues::LogProbs, ..TopKOptions::new(30) }, None);
}

/// Windows of a stream, and of a batch from a source in little memory, change no bit.
#[test]
fn windows_change_no_bit() {
    let batch = hard_rows(1026);
    let op = TopK::<f32>::new(gpu(), &TopKOptions::new(9)).expect("an operation");
    let all = op.top_k(&batch.logits, batch.shape).wait().expect("classes");
    let (rows, row_len) = (batch.shape.rows, batch.shape.cols);
    let mut stream = op.stream(batch.shape).expect("a stream");
    let mut first = 0;
    for count in [1, 0, 5, 6] {
        let logits = &batch.logits[first * row_len..(first + count) * row_len];
        let part = stream.push(logits, count).wait().expect("a window");
        assert_eq!(part.indices, all.indices[first * 9..(first + count) * 9]);
        assert_eq!(bits(&part.values), bits(&all.values[first * 9..(first + count) * 9]));
        first += count;
    }
    assert_eq!(first, rows);
    let past = stream.push(&batch.logits[..row_len], 1).wait().map(drop);
    assert_eq!(past, Err(Error::RowsExceedBound { rows: 1, bound: 0 }));

    let mut source = SliceSource::new(&batch.logits, batch.shape).expect("a source");
    let (mut windows, mut found) = (0, TopClasses::default());
    let each = |rows: std::ops::Range<usize>, classes: &TopClasses| {
        assert_eq!((rows.start * 9, rows.len() * 9), (found.indices.len(), classes.indices.len()));
        found.indices.extend(&classes.indices);
        found.values.extend(&classes.values);
        windows += 1;
        Ok(())
    };
    top_k(&op, &mut source, Some(40_000), each).expect("classes");
    assert!(windows > 2, "{windows}");
    assert_eq!((found.indices, bits(&found.values)), (all.indices, bits(&all.values)));
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A vocabulary, for which the plan needs more lanes than the tuning has.
#[test]
fn a_long_row() {
    check(&noise("a vocabulary", 6, 2, 128_256), TopKOptions::new(50), None);
    let ties = Batch::dense("ties", 200_000, vec![0.5; 200_000], vec![0]);
    check(&ties, TopKOptions::new(40), Some(Tuning::fixed(4, 1)));
}

#[test]
fn a_teachers_classes_are_targets() {
    let (teacher, student) = (noise("teacher", 7, 6, 50), noise("student", 8, 6, 50));
    let options = TopKOptions { renormalize: true, ..TopKOptions::new(5) };
    let top =
        TopK::<f32>::new(gpu(), &options).unwrap().top_k(&teacher.logits, teacher.shape).wait().unwrap();
    let op = CrossEntropy::<f32>::new(gpu(), &Default::default()).unwrap();
    let loss = op.loss(&student.logits, top.targets(), student.shape).wait().unwrap();
    let log_p = |row: usize| xent::reference::log_softmax_row(&student.row(row), &Default::default());
    let expected: f64 = (0..6)
        .map(|row| -top.row(row).map(|(class, q)| f64::from(q) * log_p(row)[class as usize]).sum::<f64>())
        .sum::<f64>()
        / 6.0;
    assert!((loss.value - expected).abs() < 1e-5, "{} and {expected}", loss.value);
}

#[test]
fn more_classes_than_there_are() {
    let op = TopK::<f32>::new(gpu(), &TopKOptions::new(4)).unwrap();
    let error = op.top_k(&[0.0; 6], Shape::new(2, 3)).wait().unwrap_err();
    assert_eq!(error, Error::TooFewClasses { k: 4, cols: 3 });
    assert_eq!(error.to_string(), "option k = 4: a row has only 3 classes");
    assert_eq!(op.stream(Shape::new(2, 1)).map(drop), Err(Error::TooFewClasses { k: 4, cols: 1 }));
    assert!(TopK::<f32>::new(gpu(), &TopKOptions::new(0)).is_err());
}
