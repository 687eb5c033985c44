//! The logarithm of the sum of exponentials.

use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, binding};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::rows::{RowArray, RowValues, ValuesOf, first, stats_switches};
use crate::request::Request;
use crate::shape::Shape;

/// `lse = m + ln Σ exp(x − m)` with `m = max x`, one value per row, in nats. Reads the logits once.
///
/// As in `torch.logsumexp`, a NaN logit gives NaN, a +∞ logit gives +∞, and a row of only −∞ gives −∞.
#[derive(Clone, Debug)]
pub struct LogSumExp<E: Element> {
    rows: RowValues<E>,
}

/// The buffers of a bound [`LogSumExp`].
///
/// More fields may come: end a literal with `..LogSumExpBuffers::new(logits, lse)`.
#[derive(Clone, Debug)]
pub struct LogSumExpBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Destination of the values: f32 (rows,).
    pub lse: wgpu::BufferBinding<'a>,
}

impl<'a> LogSumExpBuffers<'a> {
    /// Logits (rows, cols), and the destination of the values (rows,).
    pub fn new(logits: wgpu::BufferBinding<'a>, lse: wgpu::BufferBinding<'a>) -> Self {
        Self { logits, lse }
    }
}

impl<E: Element> LogSumExp<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context) -> Result<Self> {
        let of = ValuesOf {
            pass: &passes::LOGSUMEXP,
            logits: "logits",
            inputs: vec![],
            arrays: vec![RowArray::new("lse", binding::ROW_VALUES, 1)],
            splits: true,
            needs: Needs { row_words: 1, ..Needs::default() },
            constants: stats_switches(&[]),
            params: Params::default(),
            around: None,
        };
        Ok(Self { rows: RowValues::new(gpu, of)? })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// One value per row (rows,) of logits (rows, cols).
    ///
    /// # Errors
    /// As for [`Softmax::softmax`](crate::Softmax::softmax).
    pub fn logsumexp<'a>(&'a self, logits: &'a [E], shape: Shape) -> Request<'a, Vec<f32>> {
        let waits = self.rows.engine.gpu.waits();
        Request::new(waits, move |wait| async move { Ok(first(self.rows.all(logits, shape, wait).await?)) })
    }

    /// Bytes of device memory kept from the last host call for reuse: see
    /// [`Softmax::idle_buffer_bytes`](crate::Softmax::idle_buffer_bytes).
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.rows.pool.bytes()
    }

    /// Frees the buffers that [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        drop(self.rows.pool.take());
    }

    /// Binds the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As for [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &LogSumExpBuffers<'_>) -> Result<Bound> {
        self.rows.bind(shape, &to.logits, &[], &[&to.lse])
    }
}
