//! The largest classes of a row.

use std::cmp::Ordering;

use crate::element::Element;
use crate::options::{TopKOptions, TopValues};
use crate::reference::{log_softmax_row, softmax_row};

/// The k largest classes of one row (cols,) with their values, by a sort of the whole row: NaN first, then by falling value,
/// and by rising index among equals (−0 equals +0). As many as there are, if k is above the number of classes.
pub fn top_k_row<E: Element>(row: &[E], options: &TopKOptions) -> Vec<(u32, f64)> {
    let mut classes: Vec<usize> = (0..row.len()).collect();
    let order = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
    };
    // The sort is stable: equal classes stay in the order of their indices.
    classes.sort_by(|&a, &b| order(row[a].to_f64(), row[b].to_f64()));
    classes.truncate(options.k);
    let softcap = options.softmax.softcap.map(f64::from);
    let values: Vec<f64> = match options.values {
        TopValues::Logits => row
            .iter()
            .map(|x| x.to_f64())
            .map(|x| softcap.filter(|_| x.is_finite()).map_or(x, |cap| cap * (x / cap).tanh()))
            .collect(),
        TopValues::LogProbs => log_softmax_row(row, &options.softmax),
        TopValues::Probs => softmax_row(row, &options.softmax),
    };
    let mut top: Vec<(u32, f64)> = classes.iter().map(|&class| (class as u32, values[class])).collect();
    if options.renormalize {
        let probs = softmax_row(row, &options.softmax);
        let sum: f64 = classes.iter().map(|&class| probs[class]).sum();
        for (_, value) in &mut top {
            // A row of zeros has no sum; its values stay.
            if sum != 0.0 {
                *value = if options.values == TopValues::Probs { *value / sum } else { *value - sum.ln() };
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SoftmaxOptions;

    fn indices(row: &[f32], k: usize) -> Vec<u32> {
        top_k_row(row, &TopKOptions::new(k)).iter().map(|&(class, _)| class).collect()
    }

    #[test]
    fn the_order_of_classes() {
        assert_eq!(indices(&[1.0, 3.0, 3.0, 2.0], 3), [1, 2, 3]);
        assert_eq!(indices(&[0.0, -0.0, 0.0], 2), [0, 1]);
        assert_eq!(indices(&[1.0, -f32::NAN, f32::INFINITY, f32::NAN], 4), [1, 3, 2, 0]);
        assert_eq!(indices(&[f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY], 5), [1, 0, 2]);
    }

    #[test]
    fn values_and_their_sums() {
        let row = [2.0f32, 1.0, 0.5, -1.0];
        let top = |values, renormalize| {
            let softmax = SoftmaxOptions::default();
            let all = top_k_row(&row, &TopKOptions { values, renormalize, k: 2, softmax });
            [all[0].1, all[1].1]
        };
        let close = |a: [f64; 2], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        assert_eq!(top(TopValues::Logits, false), [2.0, 1.0]);
        assert!(close(top(TopValues::Probs, false), [0.6095, 0.2242]));
        // A softmax of two logits that are 1 apart: the sigmoid of 1.
        let both = [0.731_059, 0.268_941];
        assert!(close(top(TopValues::Probs, true), both));
        assert!(close(top(TopValues::LogProbs, true), both.map(f64::ln)));
    }
}
