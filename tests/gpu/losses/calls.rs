//! The calls of a loss that the harness makes. `LossOp` has them for every loss, under a bound that only the crate can
//! name: each loss forwards them.

use xent::{Bound, Context, Element, Loss, LossKind, LossOp, Request, Result, Shape, Tuning, Verification};

/// What `LossOp` offers, for any loss.
pub trait Calls: LossKind {
    fn op<E: Element>(&self, gpu: &Context) -> LossOp<E, Self>;
    fn tuned<E: Element>(op: LossOp<E, Self>, tuning: Tuning) -> LossOp<E, Self>;
    fn loss<'a, E: Element>(
        op: &'a LossOp<E, Self>,
        logits: &'a [E],
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
    ) -> Request<'a, Loss>;
    fn loss_and_dlogits<'a, E: Element>(
        op: &'a LossOp<E, Self>,
        logits: &'a [E],
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
    ) -> Request<'a, (Loss, Vec<E>)>;
    fn loss_into<'a, E: Element>(
        op: &'a LossOp<E, Self>,
        logits: &'a [E],
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
        dlogits: &'a mut [f32],
    ) -> Request<'a, Loss>;
    fn row_losses<'a, E: Element>(
        op: &'a LossOp<E, Self>,
        logits: &'a [E],
        inputs: Self::Inputs<'a, E>,
        shape: Shape,
    ) -> Request<'a, Vec<f32>>;
    /// Verifies `rows` rows: their losses, and their gradients.
    fn verify<E: Element>(
        op: &LossOp<E, Self>,
        logits: &[E],
        inputs: Self::Inputs<'_, E>,
        shape: Shape,
        rows: usize,
    ) -> [Result<Verification>; 2];
    fn bind<E: Element>(op: &LossOp<E, Self>, shape: Shape, buffers: &Self::Buffers<'_>) -> Result<Bound>;
}

/// Forwards the calls of the loss with these options.
macro_rules! forward_calls {
    ($options:ty) => {
        impl $crate::losses::Calls for $options {
            fn op<E: Element>(&self, gpu: &Context) -> LossOp<E, Self> {
                LossOp::new(gpu, self).expect("an operation")
            }

            fn tuned<E: Element>(op: LossOp<E, Self>, tuning: Tuning) -> LossOp<E, Self> {
                op.with_tuning(tuning).expect("a tuning")
            }

            fn loss<'a, E: Element>(
                op: &'a LossOp<E, Self>,
                logits: &'a [E],
                inputs: Self::Inputs<'a, E>,
                shape: Shape,
            ) -> Request<'a, xent::Loss> {
                op.loss(logits, inputs, shape)
            }

            fn loss_and_dlogits<'a, E: Element>(
                op: &'a LossOp<E, Self>,
                logits: &'a [E],
                inputs: Self::Inputs<'a, E>,
                shape: Shape,
            ) -> Request<'a, (xent::Loss, Vec<E>)> {
                op.loss_and_dlogits(logits, inputs, shape)
            }

            fn loss_into<'a, E: Element>(
                op: &'a LossOp<E, Self>,
                logits: &'a [E],
                inputs: Self::Inputs<'a, E>,
                shape: Shape,
                dlogits: &'a mut [f32],
            ) -> Request<'a, xent::Loss> {
                op.loss_into(logits, inputs, shape, dlogits)
            }

            fn row_losses<'a, E: Element>(
                op: &'a LossOp<E, Self>,
                logits: &'a [E],
                inputs: Self::Inputs<'a, E>,
                shape: Shape,
            ) -> Request<'a, Vec<f32>> {
                op.row_losses(logits, inputs, shape)
            }

            fn verify<E: Element>(
                op: &LossOp<E, Self>,
                logits: &[E],
                inputs: Self::Inputs<'_, E>,
                shape: Shape,
                rows: usize,
            ) -> [Result<Verification>; 2] {
                let losses = op.verify(logits, inputs, shape, rows).wait();
                [losses, op.verify_dlogits(logits, inputs, shape, rows).wait()]
            }

            fn bind<E: Element>(
                op: &LossOp<E, Self>,
                shape: Shape,
                buffers: &Self::Buffers<'_>,
            ) -> Result<Bound> {
                op.bind(shape, buffers)
            }
        }
    };
}
pub(crate) use forward_calls;
