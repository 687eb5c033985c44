//! Targets ahead of their logits, prompts and padding.

use super::batches::REDUCTIONS;
use super::*;
use crate::error::Error;
use crate::inputs::CrossEntropyInputs;
use crate::options::{SequenceUnit, Sequences};
use crate::reference::cross_entropy::{dlogits, loss, row_losses};
use crate::reference::testing::grid_logits;
use crate::shape::Shape;
use crate::targets::Targets;

#[test]
fn sequences_score_targets_ahead_of_their_logits() {
    // Two sequences of 4, the last cut to 3. Rows 3 and 6 have no target ahead; the first two tokens are a prompt.
    let (rows, cols) = (7, 3);
    let shape = Shape::new(rows, cols);
    let mut logits = grid_logits(11, rows * cols);
    let targets = [0, 1, 2, 0, 2, 1, 0];
    let sequences = Sequences { from: 2, ..Sequences::shifted(4, 1) };
    let options = CrossEntropyOptions { sequences: Some(sequences), label_smoothing: 0.125, ..plain() };
    let by_hand = [IGNORED, 2, 0, IGNORED, IGNORED, 0, IGNORED];
    logits[0] = NAN; // of a row left out
    let hand_options = CrossEntropyOptions { sequences: None, ..options };
    for reduction in REDUCTIONS {
        let (found, expected) =
            (CrossEntropyOptions { reduction, ..options }, CrossEntropyOptions { reduction, ..hand_options });
        let (ahead, hand) = (Targets::Classes(&targets), Targets::Classes(&by_hand));
        assert_eq!(loss(&logits, ahead, shape, &found), loss(&logits, hand, shape, &expected));
        assert_eq!(row_losses(&logits, ahead, shape, &found), row_losses(&logits, hand, shape, &expected));
        assert_eq!(dlogits(&logits, ahead, shape, &found), dlogits(&logits, hand, shape, &expected));
        // Sparse targets move with their entries.
        let probs = [0.5, 0.75, 1.0, 0.25, 0.5, 2.0, 1.5];
        let moved = [9.0, 1.0, 0.25, 9.0, 9.0, 1.5, 9.0];
        let ahead = Targets::Sparse { indices: &targets, probs: &probs, entries: 1 };
        let hand = Targets::Sparse { indices: &by_hand, probs: &moved, entries: 1 };
        assert_eq!(dlogits(&logits, ahead, shape, &found), dlogits(&logits, hand, shape, &expected));
    }
    // Weights are of tokens and move with the targets; the upstream gradient belongs to the logits' row. In positions,
    // nothing moves, and a prompt ends one position earlier.
    let weights = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
    let moved = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 0.0];
    let positions = Sequences { from: 1, unit: SequenceUnit::Positions, ..sequences };
    let of = |targets, of_rows: &[f32], options: &CrossEntropyOptions| {
        let inputs = CrossEntropyInputs::new(targets).row_weights(of_rows).row_upstream(&weights);
        dlogits(&logits, inputs, shape, options)
    };
    let hand = of(Targets::Classes(&by_hand), &moved, &hand_options);
    assert_eq!(of(Targets::Classes(&targets), &weights, &options), hand);
    let in_positions = CrossEntropyOptions { sequences: Some(positions), ..options };
    assert_eq!(of(Targets::Classes(&targets), &moved, &in_positions), hand);
}

/// Hugging Face's convention: labels of −100 at the tokens of the prompt and of the padding, then `logits[:, :-1]` against
/// `labels[:, 1:]`. Here a prompt and an attention mask are given instead.
#[test]
fn prompts_and_masks_are_of_tokens() {
    let (length, cols) = (6, 5);
    let shape = Shape::new(3 * length, cols);
    let logits = grid_logits(23, shape.len());
    let tokens: Vec<i32> = (0..shape.rows).map(|row| (row * 7 % cols) as i32).collect();
    // Sequences of 6, 4 and 3 tokens and padding; a prompt of 2 tokens.
    let attended: Vec<bool> =
        [6, 4, 3].iter().flat_map(|&used| (0..length).map(move |at| at < used)).collect();
    let label = |at: usize| if at % length >= 2 && attended[at] { tokens[at] } else { IGNORED };
    let labels: Vec<i32> =
        (0..shape.rows).map(|row| if row % length + 1 < length { label(row + 1) } else { IGNORED }).collect();
    let sequences = Sequences { from: 2, ..Sequences::shifted(length, 1) };
    let options = CrossEntropyOptions { sequences: Some(sequences), ..plain() };
    let inputs = CrossEntropyInputs::new(Targets::Classes(&tokens)).row_mask(&attended);
    let by_hand = Targets::Classes(&labels);
    assert_eq!(inputs.check(shape, &options).unwrap().counted, 4 + 2 + 1);
    assert_eq!(loss(&logits, inputs, shape, &options), loss(&logits, by_hand, shape, &plain()));
    assert_eq!(dlogits(&logits, inputs, shape, &options), dlogits(&logits, by_hand, shape, &plain()));

    // The same tokens packed without padding, of which one more is never scored.
    let packed = |values: &[f32]| -> Vec<f32> {
        values
            .chunks(cols)
            .zip(&attended)
            .filter(|(_, is_used)| **is_used)
            .flat_map(|(row, _)| row)
            .copied()
            .collect()
    };
    let (logits, rows) = (packed(&logits), 13);
    let tokens: Vec<i32> =
        tokens.iter().zip(&attended).filter(|(_, used)| **used).map(|(&token, _)| token).collect();
    let inputs = CrossEntropyInputs::new(Targets::Classes(&tokens)).sequence_ends(&[6, 6, 10, 13]);
    let shape = Shape::new(rows, cols);
    assert_eq!(inputs.check(shape, &options).unwrap().counted, 4 + 2 + 1);
    let whole = loss(&logits, inputs, shape, &options).unwrap();
    let alone = row_losses(&logits, inputs, shape, &options).unwrap();
    assert!((whole - alone.iter().sum::<f64>() / 7.0).abs() < 1e-12);
    assert_eq!(alone.iter().filter(|&&loss| loss > 0.0).count(), 7);
    let more = [tokens[2], 99];
    let also = inputs.ignore_also(&more);
    let expected = (0..rows).filter(|&row| alone[row] > 0.0 && tokens[row + 1] != tokens[2]).count();
    assert_eq!(also.check(shape, &options).unwrap().counted, expected);
    for (ends, option) in [(&[13, 6, 13][..], "sequence_ends"), (&[6, 6][..], ""), (&[], "")] {
        let refused = inputs.sequence_ends(ends).check(shape, &options).unwrap_err();
        match refused {
            Error::InvalidOption { option: found, at: Some(1), .. } => assert_eq!(found, option),
            Error::Length { what: "sequence_ends: the last", needed: 13, .. } => assert_eq!(option, ""),
            other => panic!("{other:?}"),
        }
    }
    assert!(inputs.check(shape, &plain()).is_err(), "without sequences");
}
