//! Backward passes of operations that give probabilities: of the probabilities (rows, cols) and of the gradient with respect to
//! them, they make the gradient with respect to the logits.

use crate::element::Element;
use crate::kernel::passes::{Pass, binding};
use crate::kernel::{Needs, Params};
use crate::op::rows::Map;
use crate::op::stream::SecondArray;
use crate::shape::Shape;
use crate::verification::Verification;

impl Map {
    /// The gradient with respect to the probabilities takes the place of the logits, because the output may overwrite it.
    pub fn backward<E: Element>(
        pass: &'static Pass,
        params: Params,
        constants: Vec<(&'static str, u32)>,
    ) -> Self {
        let value_bytes = size_of::<E>() as u64;
        Self {
            pass,
            logits: "dprobs",
            output: "dlogits",
            second: Some(SecondArray { name: "probs", number: binding::PROBS, value_bytes }),
            splits: false,
            needs: Needs::default(),
            params,
            constants,
            rest: vec![],
        }
    }
}

/// Compares a gradient with the reference, which gives a row's values and their bounds from its probabilities and the gradient
/// with respect to them.
pub(crate) fn verified<E: Element>(
    dlogits: &[E],
    [probs, dprobs]: [&[E]; 2],
    shape: Shape,
    rows: usize,
    of_row: impl Fn(&[f64], &[f64]) -> [Vec<f64>; 2],
) -> Verification {
    let wide = |values: &[E], row| shape.row(values, row).map(|x| x.to_f64()).collect::<Vec<f64>>();
    Verification::of_values(dlogits, shape, rows, |row| {
        let [values, bounds] = of_row(&wide(probs, row), &wide(dprobs, row));
        values.into_iter().zip(bounds)
    })
}
