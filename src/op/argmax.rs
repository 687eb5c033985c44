//! The most probable class.

use crate::context::Context;
use crate::device::Wait;
use crate::element::Element;
use crate::error::Result;
use crate::kernel::{Tuning, passes};
use crate::op::Bound;
use crate::op::row_values::{PassOf, RowValues};
use crate::shape::Shape;

/// The class with the largest logit, one index a row; the lowest index wins a tie. One read of the logits.
///
/// As PyTorch: a NaN counts as largest, and the first one's index is given; −0 equals +0. A row of nothing but −∞
/// is a tie of all.
#[derive(Clone, Debug)]
pub struct Argmax<E: Element> {
    rows: RowValues<E>,
}

/// The buffers of a bound [`Argmax`].
#[derive(Clone, Debug)]
pub struct ArgmaxBuffers<'a> {
    /// Logits (rows, cols). Any offset that is a multiple of the element's size.
    pub logits: wgpu::BufferBinding<'a>,
    /// Where the indices go: u32 (rows,).
    pub argmax: wgpu::BufferBinding<'a>,
}

impl<E: Element> Argmax<E> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has made them.
    ///
    /// # Errors
    /// [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context) -> Result<Self> {
        let pass = PassOf { pass: &passes::ARGMAX, constants: &[(passes::constant::TRACK_ARGMAX, 1)] };
        Ok(Self { rows: RowValues::new(gpu, pass)? })
    }

    /// The same with another tuning than the plan would choose.
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.rows.engine.tuning = Some(tuning);
        self
    }

    /// One index (rows,) for each row of logits (rows, cols). Blocks.
    ///
    /// # Errors
    /// As [`Softmax::softmax`](crate::Softmax::softmax).
    pub fn argmax(&self, gpu: &Context, logits: &[E], shape: Shape) -> Result<Vec<u32>> {
        pollster::block_on(self.rows.all(gpu, logits, shape, Wait::blocking(gpu)))
    }

    /// [`argmax`](Self::argmax), async: see [`Softmax::softmax_async`](crate::Softmax::softmax_async).
    ///
    /// # Errors
    /// As [`argmax`](Self::argmax).
    pub async fn argmax_async(&self, gpu: &Context, logits: &[E], shape: Shape) -> Result<Vec<u32>> {
        self.rows.all(gpu, logits, shape, Wait::Elsewhere).await
    }

    /// Device memory that the last host call left to the next, in bytes: see
    /// [`Softmax::idle_buffer_bytes`](crate::Softmax::idle_buffer_bytes).
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.rows.pool.bytes()
    }

    /// Frees it.
    pub fn free_idle_buffers(&self) {
        drop(self.rows.pool.take());
    }

    /// Ties the operation to one shape and one set of buffers.
    ///
    /// # Errors
    /// As [`Softmax::bind`](crate::Softmax::bind).
    pub fn bind(&self, shape: Shape, to: &ArgmaxBuffers<'_>) -> Result<Bound> {
        self.rows.bind(shape, &to.logits, ("argmax", &to.argmax))
    }
}
