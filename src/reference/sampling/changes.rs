//! The scores of a row after its bias, its penalties and its mask.

use crate::element::Element;
use crate::options::{ScoreChanges, product_limit};

/// The scores (cols,) of one row of logits (cols,): bias, then the repetition penalty, then frequency and presence, then
/// the mask, each rounded to f32, as [`ScoreChanges`] defines them. With changes that its
/// [`check`](ScoreChanges::check) refuses, all scores are NaN.
pub fn changed_row<E: Element>(row: &[E], changes: &ScoreChanges<'_>) -> Vec<f32> {
    let mut scores: Vec<f32> = row.iter().map(|x| x.to_f64() as f32).collect();
    if changes.check(row.len()).is_err() {
        return vec![f32::NAN; row.len()];
    }
    let finite = |score: f32| score.clamp(f32::MIN, f32::MAX);
    let factor = changes.repetition_penalty;
    for (class, change) in changes.classes() {
        let score = &mut scores[class as usize];
        if !score.is_finite() {
            continue;
        }
        if change.bias == f32::NEG_INFINITY {
            *score = f32::NEG_INFINITY;
            continue;
        }
        *score = finite(*score + change.bias);
        if change.repeated {
            let factor = if *score > 0.0 { 1.0 / factor } else { factor };
            let limit = if factor > 1.0 { product_limit(factor) } else { f32::MAX };
            *score = score.clamp(-limit, limit) * factor;
        }
        *score = finite(*score - change.subtracted);
    }
    for (class, score) in scores.iter_mut().enumerate() {
        if !changes.allows(class) {
            *score = f32::NEG_INFINITY;
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change() {
        let row = [2.0f32, -1.0, 0.5, 3.0];
        let plain = ScoreChanges::default();
        assert_eq!(changed_row(&row, &plain), row);
        // The figure of CTRL's rule: θ 2 on classes 0 and 1.
        let seen = ScoreChanges { repetition_penalty: 2.0, prompt: &[0, 1, 0], ..plain };
        assert_eq!(changed_row(&row, &seen), [1.0, -2.0, 0.5, 3.0]);
        let counted = ScoreChanges {
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            prompt: &[3, 3],
            output: &[0, 2, 0],
            ..plain
        };
        assert_eq!(changed_row(&row, &counted), [0.75, -1.0, -0.25, 3.0]);
        // The last two tokens are one of the prompt and one of the output.
        let both = ScoreChanges { repetition_penalty: 2.0, prompt: &[2, 1], output: &[0], ..counted };
        let last = ScoreChanges { penalty_window: 2, ..both };
        assert_eq!(changed_row(&row, &last), [0.25, -2.0, 0.5, 3.0]);
        let last = ScoreChanges { penalty_window: 9, ..both };
        assert_eq!(changed_row(&row, &last), [0.25, -2.0, 0.25, 3.0]);
        // The bias comes first: it decides which way the penalty goes.
        let inf = f32::INFINITY;
        let biased = ScoreChanges {
            bias: &[(1, 3.0), (3, -inf), (1, 1.0)],
            prompt: &[1],
            repetition_penalty: 2.0,
            ..plain
        };
        assert_eq!(changed_row(&row, &biased), [2.0, 1.5, 0.5, -inf]);
        let masked = ScoreChanges { allowed: Some(&[0b0110]), ..biased };
        assert_eq!(changed_row(&row, &masked), [-inf, 1.5, 0.5, -inf]);
    }

    #[test]
    fn special_and_far_scores() {
        let inf = f32::INFINITY;
        let row = [f32::NAN, inf, -inf, f32::MAX, f32::MIN];
        let changes = ScoreChanges {
            bias: &[(0, 1.0), (1, -inf), (2, 5.0), (3, f32::MAX)],
            prompt: &[0, 1, 2, 4],
            output: &[4],
            repetition_penalty: 2.0,
            presence_penalty: f32::MAX,
            ..Default::default()
        };
        let found = changed_row(&row, &changes);
        assert!(found[0].is_nan() && found[1] == inf && found[2] == -inf, "{found:?}");
        assert_eq!(found[3..], [f32::MAX, f32::MIN]);
        let forbidden = changed_row(&row, &ScoreChanges { allowed: Some(&[0]), ..changes });
        assert_eq!(forbidden, [-inf; 5], "a mask hides whatever there is");
    }

    #[test]
    fn what_is_refused() {
        let plain = ScoreChanges::default();
        for (changes, says) in [
            (ScoreChanges { repetition_penalty: 0.0, ..plain }, "repetition_penalty = 0"),
            (ScoreChanges { frequency_penalty: f32::NAN, ..plain }, "frequency_penalty"),
            (ScoreChanges { presence_penalty: f32::INFINITY, ..plain }, "presence_penalty"),
            (ScoreChanges { bias: &[(4, 1.0)], ..plain }, "bias = 4"),
            (ScoreChanges { bias: &[(0, f32::INFINITY)], ..plain }, "bias = inf"),
            (ScoreChanges { output: &[1, 9], ..plain }, "past tokens = 9"),
            (ScoreChanges { allowed: Some(&[1, 2]), ..plain }, "allowed"),
        ] {
            let error = changes.check(4).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(changed_row(&[0.0f32; 4], &changes).iter().all(|score| score.is_nan()));
        }
    }
}
