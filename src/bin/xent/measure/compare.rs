//! Comparisons of answers with the f64 reference.

use xent::bounds::loss_bound;
use xent::reference::top_k_row;
use xent::{Element, TopKOptions, Verification};

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
