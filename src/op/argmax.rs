//! The most probable class.

use crate::context::Context;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{self, binding, constant};
use crate::kernel::{Needs, Params, Tuning};
use crate::op::Bound;
use crate::op::rows::{RowArray, RowValues, ValuesOf, first, stats_switches};
use crate::request::Request;
use crate::shape::Shape;

/// The class with the largest logit, one index per row. The lowest index wins a tie. Reads the logits once.
///
/// As in PyTorch, a NaN counts as the largest value, and the index of the first NaN is returned; −0 equals +0. In a row
/// of only −∞ all classes tie.
#[derive(Clone, Debug)]
pub struct Argmax<E: Element> {
    rows: RowValues<E>,
}

/// The buffers of a bound [`Argmax`].
///
/// More fields may come: end a literal with `..ArgmaxBuffers::new(logits, argmax)`.
#[derive(Clone, Debug)]
pub struct ArgmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Destination of the indices: u32 (rows,).
    pub argmax: wgpu::BufferBinding<'a>,
}

impl<'a> ArgmaxBuffers<'a> {
    /// Logits (rows, cols), and the destination of the indices (rows,).
    pub fn new(logits: wgpu::BufferBinding<'a>, argmax: wgpu::BufferBinding<'a>) -> Self {
        Self { logits, argmax }
    }
}

impl<E: Element> Argmax<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context) -> Result<Self> {
        let of = ValuesOf {
            pass: &passes::ARGMAX,
            logits: "logits",
            inputs: vec![],
            arrays: vec![RowArray::new("argmax", binding::ROW_VALUES, 1)],
            splits: true,
            needs: Needs { row_words: 1, ..Needs::default() },
            constants: stats_switches(&[(constant::TRACK_ARGMAX, true)]),
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

    /// One index per row (rows,) of logits (rows, cols).
    ///
    /// # Errors
    /// As for [`Softmax::softmax`](crate::Softmax::softmax).
    pub fn argmax<'a>(&'a self, logits: &'a [E], shape: Shape) -> Request<'a, Vec<u32>> {
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
    pub fn bind(&self, shape: Shape, to: &ArgmaxBuffers<'_>) -> Result<Bound> {
        self.rows.bind(shape, &to.logits, &[], &[&to.argmax])
    }
}
