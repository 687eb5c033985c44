//! The engine of losses. A [`Kind`], one file per operation, says what a loss *is*: its passes, parameters, switches
//! and inputs. How a loss *runs* is written here, once. [`LossOp`] is the public type, `bind` takes the caller's
//! buffers, `stream` takes host slices window by window, and both pass a set of bindings to `dispatches`.

mod bind;
mod buffers;
mod dispatches;
mod inputs;
mod kind;
mod stream;
mod verify;

use crate::context::Context;
use crate::device::{Profile, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::inputs::BatchWeight;
use crate::kernel::Tuning;
use crate::kernel::passes::Output;
use crate::op::bound::Bound;
use crate::op::engine::Engine;
use crate::op::output::own_output;
use crate::op::pool::Pool;
use crate::op::stream::{Back, Part, clear_padding, through, windows};
use crate::request::Request;
use crate::results::{Loss, LossSum, RowResult};
use crate::shape::Shape;

pub(crate) use buffers::LossBuffers;
pub use buffers::{LossOutputs, RowInputBuffers};
#[cfg(test)]
pub(crate) use dispatches::{BLOCK_ROWS, TOTALS_BYTES};
pub(crate) use inputs::{
    CLASS_WEIGHTS, CLASSES, HostInputs, INDICES, NEGATIVES, PARTIALS, POS_WEIGHT, PROBS, SHARED_NEGATIVES,
    Second, TARGET_CLASS_WEIGHTS, TARGET_LOG_COUNTS, host, host_classes, host_if,
};
pub use kind::LossKind;
pub(crate) use kind::{Kind, sealed};
pub use stream::LossStream;

/// A loss of rows of logits, and its gradient. The options `L` select the loss: those of
/// [`CrossEntropy`](crate::CrossEntropy), [`KlDivergence`](crate::KlDivergence), [`SigmoidBce`](crate::SigmoidBce),
/// [`EntmaxLoss`](crate::EntmaxLoss) or [`SampledSoftmax`](crate::SampledSoftmax), which are aliases of this type.
///
/// Build it once. Then call it with host slices, open a stream, or bind it to your own buffers. `inputs` are the loss's
/// inputs besides the logits: `CrossEntropyInputs`, `KlDivergenceInputs`, `SigmoidBceInputs` or `SampledSoftmaxInputs`.
/// Where nothing else is required, targets alone (or a teacher's logits) are enough.
#[derive(Clone, Debug)]
pub struct LossOp<E: Element, L: LossKind> {
    engine: Engine<E>,
    kind: L,
    pool: Pool,
}

#[expect(private_bounds, reason = "sealed")]
impl<E: Element, L: Kind> LossOp<E, L> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &L) -> Result<Self> {
        options.check()?;
        Ok(Self { engine: Engine::new(gpu)?, kind: *options, pool: Pool::default() })
    }

    /// Returns a copy with other options that shares the pipelines. Other values need no new pipeline. Other
    /// switches (an option that was off and is now on) make theirs on first use.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &L) -> Result<Self> {
        options.check()?;
        Ok(Self { kind: *options, ..self.clone() })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
    pub fn with_tuning(self, tuning: Tuning) -> Result<Self> {
        Ok(Self { engine: self.engine.tuned(tuning)?, ..self })
    }

    /// The options of this operation.
    pub fn options(&self) -> &L {
        &self.kind
    }

    /// The loss of logits (rows, cols), in nats. Reads the logits once.
    ///
    /// # Errors
    /// What the inputs' `check` refuses, before any work; [`Error::Length`](crate::Error::Length);
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::GroupTooLarge`](crate::Error::GroupTooLarge);
    /// [`Error::NoRowCounts`](crate::Error::NoRowCounts) as [`EmptyBatch`](crate::EmptyBatch) says; whatever the device
    /// reports.
    pub fn loss<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
    ) -> Request<'a, Loss> {
        let inputs = inputs.into();
        self.request(move |wait| self.windows::<E>(logits, inputs, shape, None, None, wait))
    }

    /// The loss and its gradient (rows, cols) with respect to the logits, in their type and layout; padding columns are
    /// 0.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn loss_and_dlogits<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
    ) -> Request<'a, (Loss, Vec<E>)> {
        let inputs = inputs.into();
        self.request(move |wait| async move {
            shape.check_slice(L::LOGITS, logits)?;
            let mut dlogits = vec![E::default(); shape.len()];
            let loss = self.windows(logits, inputs, shape, Some(&mut dlogits), None, wait).await?;
            Ok((loss, dlogits))
        })
    }

    /// Like [`loss_and_dlogits`](Self::loss_and_dlogits), but writes the gradient into a slice of yours, as long as the
    /// logits. The slice decides the gradient's type: that of the logits, or f32, which avoids rounding.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss); [`Error::Length`](crate::Error::Length) for the slice, before any work.
    pub fn loss_into<'a, D: Element>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
        dlogits: &'a mut [D],
    ) -> Request<'a, Loss> {
        let inputs = inputs.into();
        self.request(move |wait| self.windows(logits, inputs, shape, Some(dlogits), None, wait))
    }

    /// All results of each row (rows,) that one read of the logits gives, not reduced.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn row_results<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
    ) -> Request<'a, Vec<RowResult>> {
        let inputs = inputs.into();
        self.request(move |wait| self.of_rows(logits, inputs, shape, wait))
    }

    /// Row losses (rows,), in nats, times the rows' weights, not reduced.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    pub fn row_losses<'a>(
        &'a self,
        logits: &'a [E],
        inputs: impl Into<L::Inputs<'a, E>>,
        shape: Shape,
    ) -> Request<'a, Vec<f32>> {
        let inputs = inputs.into();
        self.request(move |wait| async move {
            let results = self.of_rows(logits, inputs, shape, wait).await?;
            Ok(results.iter().map(|result| result.loss).collect())
        })
    }

    /// The loss of the rows that add up to these sums, reduced as the options say.
    pub fn loss_of(&self, sum: &LossSum) -> Loss {
        sum.reduced(self.kind.reducing())
    }

    /// Opens a stream that takes a batch window by window, for batches that do not fit into memory: see [`LossStream`].
    /// `layout` says what must be known about the inputs before they come.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::RowTooLarge`](crate::Error::RowTooLarge),
    /// [`Error::GroupTooLarge`](crate::Error::GroupTooLarge); [`Error::InvalidOption`](crate::Error::InvalidOption) for
    /// [`sequences`](crate::CrossEntropyOptions::sequences), and for options that the targets do not allow;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn stream(&self, shape: Shape, layout: L::Layout) -> Result<LossStream<E, L>> {
        LossStream::new(self, shape, layout, None)
    }

    /// Like [`stream`](Self::stream), with the gradient in the logits' type. The gradient of a mean needs the weight of
    /// the whole batch before its first value: `weight` is the total over all windows, as the inputs' `check` gives it.
    /// Other reductions do not use it. A push is refused if the rows would weigh more than `weight`, and the last push
    /// if they weigh less.
    ///
    /// # Errors
    /// As for [`stream`](Self::stream); [`Error::InvalidOption`](crate::Error::InvalidOption) for a `weight` that no batch
    /// of this shape can have; [`Error::NoRowCounts`](crate::Error::NoRowCounts).
    pub fn stream_with_dlogits(
        &self,
        shape: Shape,
        layout: L::Layout,
        weight: BatchWeight,
    ) -> Result<LossStream<E, L>> {
        LossStream::new(self, shape, layout, Some((own_output(shape), weight)))
    }

    /// Like [`stream_with_dlogits`](Self::stream_with_dlogits), with the gradient in f32 for any type of logits.
    ///
    /// # Errors
    /// As for [`stream_with_dlogits`](Self::stream_with_dlogits).
    pub fn stream_with_dlogits_f32(
        &self,
        shape: Shape,
        layout: L::Layout,
        weight: BatchWeight,
    ) -> Result<LossStream<E, L>> {
        LossStream::new(self, shape, layout, Some((Output::F32, weight)))
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// What [`Shape::check`] refuses; [`Error::NoOutput`](crate::Error::NoOutput),
    /// [`Error::BufferTooSmall`](crate::Error::BufferTooSmall), [`Error::BufferOffset`](crate::Error::BufferOffset),
    /// [`Error::BufferUsage`](crate::Error::BufferUsage), [`Error::BufferAlias`](crate::Error::BufferAlias); for 16-bit
    /// gradients [`Error::OddStride`](crate::Error::OddStride), [`Error::PackedLayout`](crate::Error::PackedLayout);
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for options that the targets do not allow;
    /// [`Error::RowTooLarge`](crate::Error::RowTooLarge), [`Error::GroupTooLarge`](crate::Error::GroupTooLarge),
    /// [`Error::TooManyRows`](crate::Error::TooManyRows); [`Error::OtherDevice`](crate::Error::OtherDevice); whatever
    /// the device reports.
    pub fn bind(&self, shape: Shape, to: &L::Buffers<'_>) -> Result<Bound> {
        let (layout, buffers) = L::buffers(to);
        bind::bind(self, shape, layout, &buffers)
    }

    /// Bytes of device memory kept from the last host call for reuse. This operation and its clones keep at most one
    /// set of buffers, those of two windows. A second call at the same time makes its own; a call that fails keeps
    /// none.
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Frees the buffers that [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        drop(self.pool.take());
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.engine.profile
    }

    pub(crate) fn engine(&self) -> &Engine<E> {
        &self.engine
    }

    /// How a request waits on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        self.engine.gpu.blocking()
    }

    pub(crate) fn request<'a, T: 'a, F>(
        &self,
        run: impl FnOnce(Wait) -> F + wgpu::WasmNotSend + 'a,
    ) -> Request<'a, T>
    where
        F: Future<Output = Result<T>> + wgpu::WasmNotSend + 'a,
    {
        Request::new(self.engine.gpu.waits(), run)
    }

    async fn of_rows(
        &self,
        logits: &[E],
        inputs: L::Inputs<'_, E>,
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<RowResult>> {
        let mut results = Vec::new();
        self.windows::<E>(logits, inputs, shape, None, Some(&mut results), wait).await?;
        Ok(results)
    }

    /// Runs the whole batch window by window. `results` takes each row's result in row order.
    async fn windows<D: Element>(
        &self,
        logits: &[E],
        inputs: L::Inputs<'_, E>,
        shape: Shape,
        dlogits: Option<&mut [D]>,
        results: Option<&mut Vec<RowResult>>,
        wait: Wait,
    ) -> Result<Loss> {
        self.kind.check_part(shape, L::has_partials(&inputs), true)?;
        self.windows_of_parts(logits, inputs, shape, dlogits, results, wait).await
    }

    /// The results of rows of which the logits may be a part. Their losses then mean nothing.
    pub(in crate::op) async fn of_parts(
        &self,
        logits: &[E],
        inputs: L::Inputs<'_, E>,
        shape: Shape,
        wait: Wait,
    ) -> Result<Vec<RowResult>> {
        let mut results = Vec::new();
        self.windows_of_parts::<E>(logits, inputs, shape, None, Some(&mut results), wait).await?;
        Ok(results)
    }

    async fn windows_of_parts<D: Element>(
        &self,
        logits: &[E],
        inputs: L::Inputs<'_, E>,
        shape: Shape,
        mut dlogits: Option<&mut [D]>,
        mut results: Option<&mut Vec<RowResult>>,
        wait: Wait,
    ) -> Result<Loss> {
        shape.check_slice(L::LOGITS, logits)?;
        if let Some(dlogits) = &dlogits {
            shape.check_slice("dlogits", dlogits)?;
        }
        let weight = self.kind.check_inputs(&inputs, shape)?;
        weight.check(shape.rows, self.kind.reducing())?;
        let op = Self { kind: self.kind.of_resolved(), ..self.clone() };
        let output = if D::NAME == E::NAME { own_output(shape) } else { Output::F32 };
        let gradient = dlogits.is_some().then_some((output, weight));
        let mut stream = LossStream::pooled(&op, shape, L::layout(&inputs), gradient)?;
        match &mut results {
            Some(results) => results.reserve_exact(shape.rows),
            None => stream = stream.without_rows(),
        }
        // The first window carries the weight of the whole batch.
        let mut weight = Some(weight);
        let parts = windows(shape, stream.window_rows());
        let submit = |stream: &mut LossStream<E, L>, (rows, values): Part| {
            let count = rows.len();
            self.kind.with_part(&inputs, shape, rows, |part| {
                stream.submit(logits[values].into(), None, count, part, gradient.is_some())
            })
        };
        let read = |stream: &mut LossStream<E, L>, back: Back, (rows, values): Part| {
            let part = dlogits.as_deref_mut().map(|all| &mut all[values]);
            let weight = weight.take().unwrap_or_default();
            let keep = |result| {
                if let Some(results) = results.as_deref_mut() {
                    results.push(result);
                }
            };
            // A z-loss is multiplied by the weight of the row, which with shifted targets is that of another row.
            match self.kind.reducing().z_loss > 0.0 {
                true => self.kind.with_part(&inputs, shape, rows, |inputs| {
                    stream.read_each(back, inputs, part, weight, keep)
                }),
                false => stream.read_each(back, &L::part(&inputs, shape, rows), part, weight, keep),
            }
        };
        through(&mut stream, parts, wait, submit, read).await?;
        if let Some(dlogits) = dlogits {
            clear_padding(dlogits, shape);
        }
        let loss = stream.loss();
        self.pool.put(stream.into_idle());
        Ok(loss)
    }
}
