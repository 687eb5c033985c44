//! Two models on the same rows, against the reference.

use std::ops::Range;

use xent::bounds::{kl_divergence_bound, loss_bound};
use xent::eval::Source;
use xent::eval::compare::{Comparator, ComparedRow, Comparison, ComparisonTally};
use xent::half::{bf16, f16};
use xent::reference::compare_row;
use xent::{ComparatorOptions, Element, Error, Result, Shape, Targets};

use crate::batch::{Batch, noise};
use crate::harness::{gpu, is_mine};
use crate::special;

/// Values that are read, as from a file.
struct Read<E>(Batch<E>);

impl<E: Element> Source<E> for Read<E> {
    fn shape(&self) -> Shape {
        self.0.shape
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        let start = self.0.shape.row_start(rows.start);
        into.copy_from_slice(&self.0.logits[start..start + into.len()]);
        Ok(())
    }
}

/// All rows, in windows of at most so many bytes, with the tally of them. A run is stopped before its third window and
/// goes on.
fn compared<E: Element>(
    [base, other]: [&Batch<E>; 2],
    options: &ComparatorOptions,
    has_targets: bool,
    memory: Option<u64>,
) -> (Vec<ComparedRow>, ComparisonTally) {
    let comparator = Comparator::<E>::new(gpu(), options).expect("a comparator");
    let comparison = match has_targets {
        true => Comparison::new(options, base.shape, Targets::Classes(&base.targets)),
        false => Comparison::without_targets(options, base.shape),
    };
    let mut comparison = comparison.expect("a comparison");
    let (mut rows, mut tally) = (Vec::new(), ComparisonTally::new(options.top_k, 3));
    for most in [2, usize::MAX] {
        let mut windows = 0;
        let (mut base, mut other) = (Read(base.clone()), Read(other.clone()));
        let ended = comparison.run(&comparator, &mut base, &mut other, memory, |window| {
            windows += 1;
            if windows > most {
                return Err(Error::Stopped);
            }
            rows.extend_from_slice(window.results);
            tally.add(window);
            Ok(())
        });
        assert!(matches!(ended, Ok(()) | Err(Error::Stopped)), "{ended:?}");
    }
    assert_eq!((rows.len(), tally.rows()), (base.shape.rows, base.shape.rows as u64));
    (rows, tally)
}

fn check<E: Element>(context: &str, batches: [&Batch<E>; 2], options: &ComparatorOptions, has_targets: bool) {
    let [base, other] = batches;
    let smallest = Comparison::<E>::without_targets(options, base.shape).unwrap();
    let sources = [&Read(base.clone()) as &dyn Source<E>, &Read(other.clone())];
    let Err(Error::MemoryTooSmall { needed, .. }) = smallest.window_bytes(gpu(), sources, Some(1)) else {
        panic!("one byte is enough?")
    };
    let (rows, tally) = compared(batches, options, has_targets, None);
    let (again, of_again) = compared(batches, options, has_targets, Some(3 * needed));
    assert_eq!(tally, of_again, "{context}: windows change no bit");
    let t = options.temperature;
    for (row, found) in rows.iter().enumerate() {
        let context = format!("{context}: row {row}: {found:?}");
        if has_targets && base.targets[row] == -100 {
            assert!(found.is_left_out() && again[row].is_left_out(), "{context}");
            continue;
        }
        let (x, b) = (other.row(row), base.row(row));
        let target = has_targets.then(|| base.targets[row] as usize);
        let expected = compare_row(&b, &x, target, options);
        assert_eq!(found.logit_difference, expected.logit_difference as f32, "{context}");
        let tops = (found.base_argmax, found.other_argmax, found.overlap);
        assert_eq!(tops, (expected.base_argmax, expected.other_argmax, expected.overlap), "{context}");
        let close = |found: f32, expected: f64, bound: f64| {
            let is_same = found.is_nan() && expected.is_nan() || found == expected as f32;
            assert!(is_same || (f64::from(found) - expected).abs() <= bound, "{context}: {expected}");
        };
        close(found.kl, expected.kl, kl_divergence_bound(&x, &b, t, expected.kl));
        close(found.base_loss, expected.base_loss, loss_bound(expected.base_loss));
        close(found.other_loss, expected.other_loss, loss_bound(expected.other_loss));
    }
}

/// A batch with special rows in the middle, and one that differs from it.
fn pair(shape: Shape) -> [Batch; 2] {
    let mut base = noise("base", 1, shape.rows, shape.cols);
    let mut other = noise("other", 2, shape.rows, shape.cols);
    for (at, (_, _, fill)) in special::CASES.iter().enumerate() {
        let row = 3 + 2 * at;
        let of_row = row * shape.cols..(row + 1) * shape.cols;
        // In one of them, or in both.
        if at % 3 != 1 {
            fill(&mut base.logits[of_row.clone()], at % shape.cols);
        }
        if at % 3 != 0 {
            fill(&mut other.logits[of_row], at % shape.cols);
        }
    }
    // The last rows are equal.
    let from = (shape.rows - 2) * shape.cols;
    other.logits[from..].copy_from_slice(&base.logits[from..]);
    (0..shape.rows)
        .for_each(|row| base.targets[row] = if row % 7 == 2 { -100 } else { (row % shape.cols) as i32 });
    [base, other]
}

#[test]
fn rows_are_those_of_the_reference() {
    let rows = 8 + 2 * special::CASES.len();
    let rows = rows + rows % 2;
    let warm = ComparatorOptions { temperature: 1.7, top_k: 0, ..Default::default() };
    for (case, (shape, options, has_targets)) in [
        (Shape::new(rows, 257), ComparatorOptions::default(), true),
        (Shape::new(rows, 1030), warm, false),
        (Shape::nchw(rows / 2, 33, 2), ComparatorOptions::default(), true),
    ]
    .into_iter()
    .enumerate()
    {
        let context = format!("{} × {}", shape.rows, shape.cols);
        let batches = pair(Shape::new(shape.rows, shape.cols));
        if is_mine(2 * case) {
            let batches = batches.each_ref().map(|batch| batch.clone().laid_out(shape));
            check(&context, batches.each_ref(), &options, has_targets);
        }
        if is_mine(2 * case + 1) && case == 1 {
            let batches = batches.each_ref().map(|batch| batch.cast::<f16>().laid_out(shape));
            check(&format!("f16 {context}"), batches.each_ref(), &options, has_targets);
        } else if is_mine(2 * case + 1) {
            let batches = batches.each_ref().map(|batch| batch.cast::<bf16>().laid_out(shape));
            check(&format!("bf16 {context}"), batches.each_ref(), &options, has_targets);
        }
    }
}

#[test]
fn a_model_against_itself() {
    let base = noise("base", 3, 21, 70);
    let (_, tally) = compared([&base, &base], &ComparatorOptions::default(), true, None);
    assert!(tally.is_equal() && tally.equal_rows() + tally.left_out() == 21);
    let losses = tally.losses().expect("losses");
    assert_eq!((losses.change.value, losses.change.error), (0.0, Some(0.0)));
    assert_eq!(tally.divergence().map(|kl| kl.value), Some(0.0));
    assert_eq!(tally.same_top().map(|share| share.value), Some(1.0));
    assert_eq!((tally.overlap(), tally.logit_difference().map(|(most, _)| most)), (Some(1.0), Some(0.0)));
}
