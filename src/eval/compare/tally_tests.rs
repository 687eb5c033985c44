use super::*;
use crate::results::RowResult;

/// Rows with losses and divergences of many sizes.
fn rows(count: usize) -> Vec<ComparedRow> {
    let mut state = 11u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 65_536.0
    };
    let of = |loss: f32, argmax: u32| RowResult { loss, argmax, ..RowResult::default() };
    let row = |_| {
        let (base, change) = (8.0 * next(), next() - 0.4);
        let (base_top, other_top) = ((4.0 * next()) as u32, (4.0 * next()) as u32);
        let kl = (12.0 * (next() - 0.8)).exp();
        let parts = [&of(base, base_top), &of(base + change, other_top), &of(kl, NO_CLASS)];
        let row = ComparedRow::of(parts, Some((4.0 * next()) as u32));
        let overlap = (3.0 * next()) as u32;
        row.with(next(), overlap)
    };
    (0..count).map(row).collect()
}

fn tally(rows: &[ComparedRow], first: usize) -> ComparisonTally {
    let mut tally = ComparisonTally::new(2, 3);
    tally.add(&ComparedRows { rows: first..first + rows.len(), results: rows });
    tally
}

/// The mean and the standard error of the mean, in two passes.
fn naive(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt())
}

fn assert_close(name: &str, found: Option<Estimate>, (value, error): (f64, f64)) {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1e-3 + b.abs());
    let found = found.unwrap();
    assert!(
        close(found.value, value) && close(found.error.unwrap(), error),
        "{name}: {found:?}, {value} ± {error}"
    );
}

#[test]
fn figures_are_those_of_their_definitions() {
    let rows = rows(500);
    let tally = tally(&rows, 0);
    let of = |value: &dyn Fn(&ComparedRow) -> f64| rows.iter().map(value).collect::<Vec<f64>>();
    let (base, other) = (of(&|row| row.base_loss.into()), of(&|row| row.other_loss.into()));
    let losses = tally.losses().unwrap();
    assert_close("base", Some(losses.base), naive(&base));
    assert_close("other", Some(losses.other), naive(&other));
    let changes: Vec<f64> = base.iter().zip(&other).map(|(a, b)| b - a).collect();
    assert_close("change", Some(losses.change), naive(&changes));
    let ratio = naive(&changes).0.exp();
    assert_close("ratio", Some(losses.perplexity_ratio()), (ratio, ratio * naive(&changes).1));
    let [(a, of_a), (b, of_b)] = [naive(&base), naive(&other)];
    let covariance: f64 =
        base.iter().zip(&other).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / 499.0 / 500.0;
    assert!((losses.covariance - covariance).abs() < 1e-12);
    assert!((losses.correlation.unwrap() - covariance / of_a / of_b).abs() < 1e-9);
    let (p, q) = (a.exp(), b.exp());
    let error = ((q * of_b).powi(2) + (p * of_a).powi(2) - 2.0 * p * q * covariance).sqrt();
    assert_close("difference", Some(losses.perplexity_change()), (q - p, error));

    assert_close("kl", tally.divergence(), naive(&of(&|row| row.kl.into())));
    let probs: Vec<f64> = base.iter().zip(&other).map(|(a, b)| (-b).exp() - (-a).exp()).collect();
    assert_close("Δp", tally.prob_change(), naive(&probs));
    let (mean, error) = naive(&probs.iter().map(|p| p * p).collect::<Vec<_>>());
    assert_close("rms Δp", tally.rms_prob_change(), (mean.sqrt(), 0.5 * error / mean.sqrt()));
    let shares = of(&|row| f64::from(u8::from(row.base_argmax == row.other_argmax)));
    assert_close("same top", tally.same_top(), naive(&shares));
    let right = tally.accuracies().unwrap();
    let hits = |top: fn(&ComparedRow) -> u32| of(&|row| f64::from(u8::from(top(row) == row.target)));
    assert_close("base", Some(right[0]), naive(&hits(|row| row.base_argmax)));
    assert_close("other", Some(right[1]), naive(&hits(|row| row.other_argmax)));
    let [lost, gained] = tally.lost_and_gained().map(|count| count as f64);
    assert!((right[1].value - right[0].value - (gained - lost) / 500.0).abs() < 1e-12);
    let overlap = naive(&of(&|row| f64::from(row.overlap) / 2.0)).0;
    assert!((tally.overlap().unwrap() - overlap).abs() < 1e-12);

    let mut by_kl: Vec<usize> = (0..500).collect();
    by_kl.sort_by(|&a, &b| rows[b].kl.total_cmp(&rows[a].kl));
    let named: Vec<usize> = tally.changed_rows().iter().map(|row| row.row).collect();
    assert_eq!(named, by_kl[..3]);
    let first = tally.changed_rows()[0];
    assert_eq!(first.losses, Some((rows[by_kl[0]].base_loss, rows[by_kl[0]].other_loss)));
    let mut sorted = of(&|row| row.kl.into());
    sorted.sort_by(f64::total_cmp);
    let median = tally.divergences().quantile(0.5).unwrap();
    assert!((median.value - sorted[249]).abs() <= median.within);
}

#[test]
fn parts_in_any_order_give_the_same_bits() {
    let rows = rows(200);
    let whole = tally(&rows, 0);
    for cut in [0, 1, 77, 199, 200] {
        let (first, second) = rows.split_at(cut);
        let mut merged = tally(second, cut);
        merged.merge(&tally(first, 0));
        assert_eq!(merged, whole, "{cut}");
    }
    assert!(whole.is_sound(200, 2, 3));
    assert!(!whole.is_sound(199, 2, 3) && !whole.is_sound(200, 1, 3) && !whole.is_sound(200, 2, 4));
    let mut other = whole.clone();
    other.same_top = 201;
    assert!(!other.is_sound(200, 2, 3));
    let mut other = whole.clone();
    other.prob_change.add(0.0);
    assert!(!other.is_sound(200, 2, 3));
    #[cfg(feature = "cli")]
    {
        let mut bytes = Vec::new();
        ciborium::into_writer(&whole, &mut bytes).unwrap();
        assert_eq!(ciborium::from_reader::<ComparisonTally, _>(&bytes[..]).unwrap(), whole);
    }
}

#[test]
fn rows_that_do_not_count_and_rows_that_are_not_finite() {
    let of = |loss: f32| RowResult { loss, argmax: 1, ..RowResult::default() };
    let nan = RowResult { flags: Flags::NAN_LOGIT.bits(), ..of(f32::NAN) };
    let rows = [
        ComparedRow::LEFT_OUT,
        ComparedRow::of([&of(1.0), &of(2.0), &of(-1e-7)], Some(1)),
        ComparedRow::of([&of(1.0), &of(2.0), &of(f32::INFINITY)], Some(1)),
        ComparedRow::of([&of(1.0), &nan, &of(f32::NAN)], Some(0)),
    ];
    let one = |row: &ComparedRow| tally(&[*row], 0);
    let tally = tally(&rows, 10);
    assert_eq!((tally.rows(), tally.left_out(), tally.nan(), tally.infinite()), (4, 1, 1, 1));
    assert_eq!(tally.first_bad(), Some((12, Flags::empty())));
    assert_eq!(tally.losses().unwrap().rows, 1, "bad rows are in no mean");
    assert_eq!(tally.divergence(), Some(Estimate { value: 0.0, error: None }), "below 0 is rounding");
    assert_eq!(tally.same_top().unwrap().value, 1.0);
    assert_eq!(tally.accuracies().unwrap().map(|share| share.value), [1.0, 1.0], "without the row of a NaN");
    let changed: Vec<usize> = tally.changed_rows().iter().map(|row| row.row).collect();
    assert_eq!(changed, [12, 11], "an infinite one is the first, NaN is not there");
    assert!(tally.is_sound(4, 2, 3) && tally.is_equal());

    let without = ComparedRow::of([&of(1.0), &of(2.0), &of(0.5)], None);
    let alone = one(&without);
    assert_eq!((alone.losses(), alone.accuracies(), alone.prob_change()), (None, None, None));
    assert_eq!(alone.divergence().unwrap().value, 0.5);
    assert_eq!(alone, one(&without));
}
