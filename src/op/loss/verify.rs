//! A loss checked against the reference, on a batch of the caller's.

use crate::element::Element;
use crate::op::loss::{Kind, LossOp};
use crate::request::Request;
use crate::shape::Shape;
use crate::verification::Verification;

#[expect(private_bounds, reason = "sealed")]
impl<E: Element, L: Kind> LossOp<E, L> {
    /// Checks the losses of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn verify<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
        rows: usize,
    ) -> Request<'a, Verification> {
        let inputs = inputs.into();
        self.request(move |wait| async move {
            self.kind.check_verifiable()?;
            let results = self.of_rows(logits, inputs, shape, wait).await?;
            Ok(Verification::of_rows(shape.rows, rows, |row, into| {
                let (expected, bound) = self.kind.expected_loss(logits, &inputs, shape, row);
                into.compare(row, results[row].loss.into(), expected, bound);
            }))
        })
    }

    /// Checks the gradients of `rows` evenly spaced rows of this batch against the f64
    /// [`reference`](mod@crate::reference).
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn verify_dlogits<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
        rows: usize,
    ) -> Request<'a, Verification> {
        let inputs = inputs.into();
        self.request(move |wait| async move {
            self.kind.check_verifiable()?;
            shape.check_slice(L::LOGITS, logits)?;
            let mut dlogits = vec![E::default(); shape.len()];
            self.windows(logits, inputs, shape, Some(&mut dlogits), None, wait).await?;
            let batch = self.kind.check_inputs(&inputs, shape)?;
            Ok(Verification::of_rows(shape.rows, rows, |row, into| {
                let of_row = shape.row_vec(&dlogits, row);
                self.kind.verify_row_dlogits(logits, &inputs, shape, &batch, row, &of_row, into);
            }))
        })
    }
}
