use super::*;
use crate::eval::source::SliceSource;
use crate::options::Sequences;
use crate::reference::compare_row;
use crate::targets::Targets;

const COLS: usize = 7;
const ROWS: usize = 40;

fn batches() -> [Vec<f32>; 2] {
    let value = |at: usize, by: usize| ((at * by) % 101) as f32 / 17.0 - 2.0;
    [31, 37].map(|by| (0..ROWS * COLS).map(|at| value(at, by)).collect())
}

/// Compares on the CPU, in one run or stopped after each of these windows and begun again.
fn compared(mut comparison: Comparison<'_>, stops: &[usize]) -> Vec<ComparedRow> {
    let [base, other] = batches();
    let shape = comparison.shape();
    let (mut base, mut other) =
        (SliceSource::new(&base, shape).unwrap(), SliceSource::new(&other, shape).unwrap());
    let mut results = Vec::new();
    for &most in stops.iter().chain([&usize::MAX]) {
        let mut windows = 0;
        // Windows of a few rows.
        let memory = comparison.footprint(None, [&base, &other]).bytes(0);
        let ended = comparison.run_on_cpu(&mut base, &mut other, Some(memory + 4_000), |window| {
            if windows == most {
                return Err(Error::Stopped);
            }
            windows += 1;
            results.extend_from_slice(window.results);
            Ok(())
        });
        assert_eq!(ended.is_err(), most != usize::MAX);
        assert_eq!(results.len(), comparison.rows_done());
    }
    results
}

fn assert_row(found: &ComparedRow, row: usize, target: Option<usize>, options: &ComparatorOptions) {
    let [base, other] = batches();
    let all = row * COLS..(row + 1) * COLS;
    let expected = compare_row(&base[all.clone()], &other[all], target, options);
    assert_eq!(found.kl, expected.kl as f32, "row {row}");
    assert_eq!((found.base_argmax, found.other_argmax), (expected.base_argmax, expected.other_argmax));
    assert_eq!((found.overlap, found.logit_difference), (expected.overlap, expected.logit_difference as f32));
    match target {
        Some(_) => {
            let expected = [expected.base_loss as f32, expected.other_loss as f32];
            assert_eq!([found.base_loss, found.other_loss], expected);
            assert_eq!(found.losses(), Some(expected));
        }
        None => assert!(found.base_loss.is_nan() && found.losses().is_none()),
    }
}

#[test]
fn rows_are_those_of_the_reference_wherever_a_run_stops() {
    let shape = Shape::new(ROWS, COLS);
    let options = ComparatorOptions { top_k: 3, temperature: 1.5, ..Default::default() };
    let targets: Vec<i32> = (0..ROWS as i32).map(|row| if row % 5 == 0 { -100 } else { row % 7 }).collect();
    let comparison = || Comparison::new(&options, shape, Targets::Classes(&targets)).unwrap();
    let whole = compared(comparison(), &[]);
    for (row, found) in whole.iter().enumerate() {
        match targets[row] {
            -100 => assert!(found.is_left_out()),
            target => assert_row(found, row, Some(target as usize), &options),
        }
    }
    for stops in [&[0][..], &[1, 2], &[2, 0, 1]] {
        assert_eq!(compared(comparison(), stops), whole, "{stops:?}");
    }
}

#[test]
fn without_targets_every_row_counts() {
    let options = ComparatorOptions { ignore_index: 0, ..Default::default() };
    let comparison = Comparison::without_targets(&options, Shape::new(ROWS, COLS)).unwrap();
    let found = compared(comparison, &[1]);
    assert_eq!(found.len(), ROWS);
    found.iter().enumerate().for_each(|(row, found)| assert_row(found, row, None, &options));
}

#[test]
fn targets_of_the_next_position() {
    let shape = Shape::new(ROWS, COLS);
    let options = ComparatorOptions { sequences: Some(Sequences::shifted(8, 1)), ..Default::default() };
    let targets: Vec<i32> = (0..ROWS as i32).map(|row| row % 7).collect();
    let found = compared(Comparison::new(&options, shape, Targets::Classes(&targets)).unwrap(), &[1]);
    for (row, found) in found.iter().enumerate() {
        match row % 8 {
            7 => assert!(found.is_left_out(), "row {row} has no target"),
            _ => assert_row(found, row, Some(targets[row + 1] as usize), &options),
        }
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (options, shape) = (ComparatorOptions::default(), Shape::new(2, 2));
    let of = |inputs: EvaluateInputs<'_>| Comparison::<f32>::new(&options, shape, inputs).err();
    let classes = Targets::Classes(&[0, 1]);
    let mut weighted = EvaluateInputs::from(classes);
    weighted.beside.rows.row_weights = Some(&[1.0, 2.0]);
    assert!(matches!(of(weighted), Some(Error::InvalidOption { option: "weights", .. })));
    assert!(matches!(of(Targets::Soft(&[0.5; 4]).into()), Some(Error::TargetKind { .. })));
    assert_eq!(of(Targets::Classes(&[-100, -100]).into()), Some(Error::NoRowCounts { rows: 2 }));
    assert!(matches!(of(Targets::Classes(&[0, 2]).into()), Some(Error::TargetOutOfRange { .. })));
    let many = ComparatorOptions { top_k: 1025, ..options };
    assert!(matches!(
        Comparison::<f32>::without_targets(&many, shape).err(),
        Some(Error::InvalidOption { option: "top_k", .. })
    ));

    let mut comparison = Comparison::<f32>::without_targets(&options, shape).unwrap();
    assert_eq!(comparison.resume(3), Err(Error::RowsExceedBound { rows: 3, bound: 2 }));
    let mut base = SliceSource::new(&[0.0; 4], shape).unwrap();
    let mut other = SliceSource::new(&[0.0; 6], Shape::new(2, 3)).unwrap();
    let refused = comparison.run_on_cpu(&mut base, &mut other, None, |_| Ok(()));
    assert_eq!(refused, Err(Error::Length { what: "a row of the other", found: 3, needed: 2 }));
}
