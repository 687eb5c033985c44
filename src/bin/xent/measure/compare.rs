//! Comparisons of answers with the f64 reference.

use xent::bounds::{loss_bound, prob_bound};
use xent::reference::{row_readouts, top_k_row};
use xent::{Element, RowFields, TopKOptions, Verification};

/// Compares a value that the operation has rounded to the type of the logits.
pub fn compare<E: Element>(
    verification: &mut Verification,
    row: usize,
    actual: E,
    expected: f64,
    bound: f64,
) {
    verification.compare(row, actual.to_f64(), expected, bound + E::rounding(expected));
}

/// Compares a row's largest classes with the reference.
pub fn compare_largest<E: Element>(
    verification: &mut Verification,
    row: usize,
    logits: &[E],
    options: &TopKOptions,
    (indices, values): (Vec<u32>, Vec<f32>),
) {
    for ((class, log_prob), (index, value)) in
        top_k_row(logits, options).into_iter().zip(indices.into_iter().zip(values))
    {
        verification.compare(row, f64::from(index), f64::from(class), 0.0);
        verification.compare(row, f64::from(value), log_prob, loss_bound(log_prob));
    }
}

/// Compares a row's readouts with the reference: `words` has every field.
pub fn compare_readouts<E: Element>(
    verification: &mut Verification,
    row: usize,
    logits: &[E],
    target: usize,
    words: &[u32],
) {
    // A field's word has the number of its bit.
    let word = |field: RowFields| words[field.bits().trailing_zeros() as usize];
    let float = |field| f64::from(f32::from_bits(word(field)));
    let expected = row_readouts(logits, Some(target), &Default::default());
    verification.compare(row, f64::from(word(RowFields::RANK)), f64::from(expected.rank), 0.0);
    for (field, value) in
        [(RowFields::ENTROPY, expected.entropy), (RowFields::TARGET_LOG_PROB, expected.target_log_prob)]
    {
        verification.compare(row, float(field), value, loss_bound(value));
    }
    for (field, value) in
        [(RowFields::CONFIDENCE, expected.confidence), (RowFields::MASS_AHEAD, expected.mass_ahead)]
    {
        verification.compare(row, float(field), value, prob_bound(value));
    }
}
