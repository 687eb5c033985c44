//! Parts of rows combine to the rows.

use super::*;

const INF: f32 = f32::INFINITY;

/// The logits of a row, and the lse and the loss of its class 1 at a temperature, from the definition.
fn whole(row: &[f32], temperature: f32) -> (f64, f64) {
    let scaled: Vec<f64> = row.iter().map(|&x| f64::from(x) / f64::from(temperature)).collect();
    let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let ln_sum = scaled.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    (max + ln_sum, ln_sum + (max - scaled[1]))
}

#[test]
fn any_two_parts_give_the_row() {
    let rows: [&[f32]; 4] =
        [&[2.0, 1.0, 0.5, -1.0], &[-INF, 3.0, -INF, 2.5], &[1e30, 1e30, -1e30], &[0.5, 1000.0, 1001.0, 7.0]];
    for (row, temperature) in rows.into_iter().zip([1.0, 0.5, 4.0, 2.0]) {
        let (lse, loss) = whole(row, temperature);
        for cut in 0..=row.len() {
            let (left, right) = row.split_at(cut);
            let left = RowPartials::of(left, (cut > 1).then_some(1), temperature);
            let right = RowPartials::of(right, 1usize.checked_sub(cut), temperature);
            for both in [left.combine(&right, temperature), right.combine(&left, temperature)] {
                assert!((both.lse(temperature) - lse).abs() <= 1e-6 + 1e-7 * lse.abs(), "{row:?} {both:?}");
                assert!((both.loss(temperature) - loss).abs() <= 1e-6, "{row:?} at {cut}: {both:?}");
                assert_eq!(both.flags(), Flags::empty());
            }
        }
    }
}

#[test]
fn special_logits_are_not_lost() {
    let of = |row: &[f32]| RowPartials::of(row, None, 1.0);
    let plain = RowPartials::of(&[1.0, 2.0], Some(0), 1.0);
    assert_eq!(plain.combine(&RowPartials::NONE, 1.0), plain);
    assert_eq!(of(&[]), RowPartials::NONE);
    assert_eq!(of(&[-INF]).combine(&of(&[-INF, -INF]), 1.0).flags(), Flags::MASKED_ROW);
    for (special, flag) in [(f32::NAN, Flags::NAN_LOGIT), (INF, Flags::INFINITE_LOGIT)] {
        for both in [of(&[special]).combine(&plain, 1.0), plain.combine(&of(&[special, -INF]), 1.0)] {
            assert_eq!(both.flags(), flag);
            assert!(both.loss(1.0).is_nan() && both.sum_exp.is_nan(), "{both:?}");
        }
    }
    let both = of(&[f32::NAN]).combine(&of(&[INF]), 1.0);
    assert_eq!(both.flags(), Flags::NAN_LOGIT);
    assert!(both.row_max.is_nan());
}

#[test]
fn a_row_that_is_left_out_has_no_part() {
    let none = RowPartials::from(&RowResult::LEFT_OUT);
    assert_eq!(none, RowPartials::NONE);
    let elsewhere = RowPartials::of(&[5.0, 1.0], Some(0), 1.0).without_target();
    let both = elsewhere.combine(&RowPartials::of(&[-3.0], Some(0), 1.0), 1.0);
    assert_eq!(both.target_logit, -3.0);
    assert_eq!(none.combine(&both, 1.0), both);
}

/// A loss that the sum of all classes cannot hold, whichever part has the target.
#[test]
fn a_confident_row_keeps_its_small_loss() {
    let row = [-17.0f32, 3.0, -16.5, -18.0];
    let expected = row.iter().map(|x| (f64::from(*x) - 3.0).exp()).sum::<f64>() - 1.0;
    for cut in 0..=row.len() {
        let left = RowPartials::of(&row[..cut], (cut > 1).then_some(1), 1.0);
        let right = RowPartials::of(&row[cut..], 1usize.checked_sub(cut), 1.0);
        let loss = left.combine(&right, 1.0).loss(1.0);
        assert!((loss / expected.ln_1p() - 1.0).abs() < 1e-6, "{cut}: {loss:e}, expected {expected:e}");
    }
}

#[test]
fn a_target_at_minus_infinity_is_impossible() {
    let row = RowPartials::of(&[0.0, -INF], Some(1), 1.0);
    assert_eq!(row.combine(&RowPartials::NONE, 1.0).loss(1.0), f64::INFINITY);
}
