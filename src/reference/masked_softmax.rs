//! Softmax of scaled, masked logits, as in attention.

use super::map_rows;
use crate::element::Element;
use crate::error::Result;
use crate::masks::{MaskRows, Masks};
use crate::options::{MaskedRow, MaskedSoftmaxOptions};
use crate::shape::Shape;

/// Probabilities of (rows, cols) logits, where rows are batch · heads · queries and cols the keys. They have the
/// logits' layout, with zeros in the padding between rows: `softmax_k = exp(s_k) / Σ_j exp(s_j)` of the scores `s_k =
/// scale·x_k + additive mask`, with −∞ where the boolean mask or causality forbids class k (Vaswani et al. 2017,
/// *Attention is all you need*, section 3.2, arXiv:1706.03762).
///
/// Edge cases: see [`masked_softmax_row`].
///
/// # Errors
/// Those of [`Shape::check`] and [`MaskedSoftmaxOptions::check`]; [`Error::Length`](crate::Error::Length);
/// [`Error::MaskRows`](crate::Error::MaskRows) if the rows are not a multiple of a mask's rows or of the queries;
/// [`Error::ClassAxisNotLast`](crate::Error::ClassAxisNotLast).
pub fn masked_softmax<E: Element>(
    logits: &[E],
    masks: Masks<'_>,
    shape: Shape,
    options: &MaskedSoftmaxOptions,
) -> Result<Vec<f64>> {
    shape.check_slice("logits", logits)?;
    options.check_shape(shape)?;
    masks.check(shape)?;
    Ok(map_rows(shape, |row| masked_softmax_row(&shape.row_vec(logits, row), row, masks, options)))
}

/// The [`masked_softmax`] of row `at` (cols,) of a batch. `at` selects the row of each mask.
///
/// | the row | probabilities |
/// | --- | --- |
/// | a class that the boolean mask or causality forbids | 0 there, whatever its logit is, NaN included |
/// | an additive mask of −∞ | 0 there, but NaN throughout if the logit is NaN or the scaled logit is +∞ |
/// | a score that is NaN or +∞ elsewhere | NaN throughout |
/// | no class left (every score is −∞) | as [`MaskedRow`] says |
/// | a mask that ends before its row does, or an option outside its range | NaN throughout |
pub fn masked_softmax_row<E: Element>(
    row: &[E],
    at: usize,
    masks: Masks<'_>,
    options: &MaskedSoftmaxOptions,
) -> Vec<f64> {
    let scores = masked_scores_row(row, at, masks, options);
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if scores.iter().any(|s| s.is_nan()) || max == f64::INFINITY {
        return vec![f64::NAN; row.len()];
    }
    if max == f64::NEG_INFINITY {
        let fill = if options.masked_row == MaskedRow::Zero { 0.0 } else { f64::NAN };
        return vec![fill; row.len()];
    }
    let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    scores.iter().map(|s| (s - max).exp() / sum).collect()
}

/// The scores of row `at` (cols,) of a batch: `scale·x + mask`, and −∞ for classes that the row may not attend to. NaN
/// where a mask has no value, and throughout if an option is outside its range.
pub fn masked_scores_row<E: Element>(
    row: &[E],
    at: usize,
    masks: Masks<'_>,
    options: &MaskedSoftmaxOptions,
) -> Vec<f64> {
    let cols = row.len();
    if options.check().is_err() {
        return vec![f64::NAN; cols];
    }
    let place = |rows: MaskRows, col: usize| rows.of(at).saturating_mul(cols).saturating_add(col);
    let score = |(col, x): (usize, &E)| {
        let causal = options.causal.is_none_or(|causal| causal.attends(at, col, cols));
        let allowed = masks.boolean.map_or(Some(&true), |(mask, rows)| mask.get(place(rows, col)));
        match allowed {
            None => return f64::NAN,
            Some(&allowed) if !causal || !allowed => return f64::NEG_INFINITY,
            Some(_) => {}
        }
        let scaled = f64::from(options.scale) * x.to_f64();
        match masks.additive {
            Some((mask, rows)) => {
                mask.get(place(rows, col)).map_or(f64::NAN, |&bias| scaled + f64::from(bias))
            }
            None => scaled,
        }
    };
    row.iter().enumerate().map(score).collect()
}

#[cfg(test)]
mod tests {
    use approx::{assert_abs_diff_eq, assert_relative_eq};

    use super::*;
    use crate::error::Error;
    use crate::masks::MaskRows;
    use crate::options::{Causal, SoftmaxOptions};
    use crate::reference::softmax_row;
    use crate::reference::testing::{grid_logits, same};

    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const N: f64 = f64::NAN;
    const DEFAULT: MaskedSoftmaxOptions =
        MaskedSoftmaxOptions { scale: 1.0, causal: None, masked_row: MaskedRow::Nan };
    const ZERO: MaskedSoftmaxOptions = MaskedSoftmaxOptions { masked_row: MaskedRow::Zero, ..DEFAULT };

    #[test]
    fn worked_answers() {
        let half = MaskedSoftmaxOptions { scale: 0.5, ..DEFAULT };
        let row = [6.0f32, 2.0, 0.4];
        let probs = masked_softmax_row(&row, 0, Masks::NONE, &half);
        assert_abs_diff_eq!(probs[..], [0.8360, 0.1131, 0.0508], epsilon = 5e-5);
        // 3, 1 − ln 2, 0.2: e³ : e/2 : e^0.2.
        let bias = [0.0, -std::f32::consts::LN_2, 0.0];
        let probs = masked_softmax_row(&row, 0, Masks::NONE.additive(&bias, MaskRows::each(1)), &half);
        assert_abs_diff_eq!(probs[..], [0.8861, 0.0600, 0.0539], epsilon = 5e-5);
        let masks = Masks::NONE.boolean(&[true, false, true], MaskRows::each(1));
        let probs = masked_softmax_row(&row, 0, masks, &half);
        assert_abs_diff_eq!(probs[..], [0.9427, 0.0, 0.0573], epsilon = 5e-5);
    }

    #[test]
    fn without_masks_it_is_a_softmax_at_another_temperature() {
        let row = grid_logits(1, 50);
        let options = MaskedSoftmaxOptions { scale: 0.25, ..DEFAULT };
        let warm = SoftmaxOptions { temperature: 4.0, ..Default::default() };
        let probs = masked_softmax_row(&row, 0, Masks::NONE, &options);
        assert_relative_eq!(probs[..], softmax_row(&row, &warm)[..], max_relative = 1e-14);
    }

    #[test]
    fn causality() {
        let attended = |causal: Causal, cols: usize| -> Vec<usize> {
            let options = MaskedSoftmaxOptions { causal: Some(causal), ..ZERO };
            let row = vec![0.0f32; cols];
            let of = |at| masked_softmax_row(&row, at, Masks::NONE, &options);
            (0..6).map(|at| of(at).iter().filter(|&&p| p > 0.0).count()).collect()
        };
        assert_eq!(attended(Causal::upper_left(3), 3), [1, 2, 3, 1, 2, 3]);
        assert_eq!(attended(Causal::lower_right(3), 5), [3, 4, 5, 3, 4, 5]);
        assert_eq!(attended(Causal::lower_right(3), 2), [0, 1, 2, 0, 1, 2]);
        assert_eq!(attended(Causal::upper_left(3), 2), [1, 2, 2, 1, 2, 2]);
        assert_eq!(attended(Causal::at(3, -1), 3), [0, 1, 2, 0, 1, 2]);
        assert_eq!(attended(Causal::at(6, i64::MAX), 3), [3; 6]);
        assert_eq!(attended(Causal::at(6, i64::MIN), 3), [0; 6]);
    }

    #[test]
    fn edge_cases() {
        let each = MaskRows::each(1);
        let open = Masks::NONE;
        let additive = |mask: &'static [f32]| open.additive(mask, each);
        let boolean = |mask: &'static [bool]| open.boolean(mask, each);
        type Case<'a> = (&'a str, &'a [f32], Masks<'a>, MaskedSoftmaxOptions, &'a [f64]);
        let flipped = MaskedSoftmaxOptions { scale: -1.0, ..DEFAULT };
        let tenfold = MaskedSoftmaxOptions { scale: 10.0, ..DEFAULT };
        let cases: &[Case] = &[
            ("one class", &[-3.0], open, DEFAULT, &[1.0]),
            ("a forbidden NaN", &[1.0, NAN], boolean(&[true, false]), DEFAULT, &[1.0, 0.0]),
            ("a forbidden +∞", &[1.0, INF], boolean(&[true, false]), DEFAULT, &[1.0, 0.0]),
            ("a NaN under −∞", &[1.0, NAN], additive(&[0.0, -INF]), DEFAULT, &[N; 2]),
            ("a +∞ under −∞", &[1.0, INF], additive(&[0.0, -INF]), DEFAULT, &[N; 2]),
            ("a number under −∞", &[1.0, 9.0], additive(&[0.0, -INF]), DEFAULT, &[1.0, 0.0]),
            ("a mask of +∞", &[1.0, 9.0], additive(&[0.0, INF]), DEFAULT, &[N; 2]),
            ("a −∞ under +∞", &[1.0, -INF], additive(&[0.0, INF]), DEFAULT, &[N; 2]),
            ("a mask of NaN", &[1.0, -INF], additive(&[0.0, NAN]), DEFAULT, &[N; 2]),
            ("a NaN", &[1.0, NAN], open, ZERO, &[N; 2]),
            ("nothing allowed", &[1.0, NAN], boolean(&[false; 2]), DEFAULT, &[N; 2]),
            ("nothing allowed, zero", &[1.0, NAN], boolean(&[false; 2]), ZERO, &[0.0; 2]),
            ("all −∞, zero", &[-INF; 2], open, ZERO, &[0.0; 2]),
            ("−∞, negative scale", &[1.0, -INF], open, flipped, &[N; 2]),
            ("+∞, negative scale", &[1.0, INF], open, flipped, &[1.0, 0.0]),
            ("beyond f32", &[1.0, 1e38], open, tenfold, &[0.0, 1.0]),
            ("beyond f32 downwards", &[1.0, -1e38], open, tenfold, &[1.0, 0.0]),
            ("all beyond f32 downwards", &[-1e38, -1e38], open, tenfold, &[0.5, 0.5]),
            ("a mask that brings it back", &[3e38, 2e38], additive(&[-3e38, -3e38]), tenfold, &[1.0, 0.0]),
            ("no class", &[], open, DEFAULT, &[]),
        ];
        for (name, row, masks, options, expected) in cases {
            let probs = masked_softmax_row(row, 0, *masks, options);
            assert!(same(&probs, expected), "{name}: {probs:?}, expected {expected:?}");
        }
    }

    #[test]
    fn batches_and_refusals() {
        let shape = Shape::new(2, 2).row_stride(3);
        let bias = [0.0, -INF];
        let masks = Masks::NONE.additive(&bias, MaskRows::each(1));
        let probs = masked_softmax(&[1.0f32, 2.0, NAN, 3.0, 4.0], masks, shape, &DEFAULT);
        assert_eq!(probs, Ok(vec![1.0, 0.0, 0.0, 1.0, 0.0]));
        let length = Err(Error::Length { what: "logits", found: 4, needed: 5 });
        assert_eq!(masked_softmax(&[0.0f32; 4], masks, shape, &DEFAULT), length);
        let middle = Shape::nchw(1, 3, 2);
        let refused = Err(Error::ClassAxisNotLast { inner: 2 });
        assert_eq!(masked_softmax(&[0.0f32; 6], Masks::NONE, middle, &DEFAULT), refused);
        let causal = MaskedSoftmaxOptions { causal: Some(Causal::lower_right(4)), ..DEFAULT };
        let refused = Err(Error::MaskRows { what: "causal: q_len", rows: 2, mask_rows: 4, repeat: 1 });
        assert_eq!(masked_softmax(&[0.0f32; 5], Masks::NONE, shape, &causal), refused);
    }
}
