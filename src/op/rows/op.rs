//! The public type of the operations that give one value per logit, and of their streams' windows.

use std::fmt::{self, Debug};

use crate::context::Context;
use crate::device::{Profile, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::kernel::Tuning;
use crate::op::rows::{MapStream, RowMap};
use crate::request::Request;

pub(crate) mod sealed {
    /// Seals [`MapKind`](super::MapKind): an operation needs kernels of this crate.
    pub trait Sealed {}
}

/// The options of an operation that gives a value for each logit. They select the operation.
pub trait MapKind: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), naming the option and the value.
    fn check(&self) -> Result<()>;
}

/// An operation that gives a value for each logit, and takes no targets. The options `O` select it:
/// [`Softmax`](crate::Softmax), [`MaskedSoftmax`](crate::MaskedSoftmax), [`Entmax`](crate::Entmax) and their backward passes
/// are aliases of this type.
///
/// Build it once. Then call it with host slices, or bind it to your own buffers. [`Softmax`](crate::Softmax) and
/// [`Entmax`](crate::Entmax) have streams, too.
#[derive(Clone, Debug)]
pub struct MapOp<E: Element, O: MapKind> {
    pub(crate) rows: RowMap<E>,
    pub(crate) options: O,
}

impl<E: Element, O: MapKind> MapOp<E, O> {
    /// Builds the operation on a context. Pipelines are made on first use, unless another operation has already made
    /// them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption), [`Error::DeviceLimit`](crate::Error::DeviceLimit).
    pub fn new(gpu: &Context, options: &O) -> Result<Self> {
        options.check()?;
        Ok(Self { rows: RowMap::new(gpu)?, options: *options })
    }

    /// Returns a copy with other options that shares the pipelines. Other values need no new pipeline. Other switches
    /// make theirs on first use, and so do temperatures above 2^100, and an α that is 1.5 or 2 and was not, or the reverse.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption).
    pub fn with_options(&self, options: &O) -> Result<Self> {
        options.check()?;
        Ok(Self { options: *options, ..self.clone() })
    }

    /// Uses this tuning instead of the one that the plan would choose.
    ///
    /// # Errors
    /// [`Error::InvalidOption`](crate::Error::InvalidOption) for a tuning that the device cannot run.
    pub fn with_tuning(mut self, tuning: Tuning) -> Result<Self> {
        self.rows.engine = self.rows.engine.tuned(tuning)?;
        Ok(self)
    }

    /// The options of this operation.
    pub fn options(&self) -> &O {
        &self.options
    }

    /// Bytes of device memory kept from the last host call for reuse, those of masks included. This operation and its
    /// clones keep at most one set of buffers, those of two windows. A second call at the same time makes its own; a call
    /// that fails keeps none.
    pub fn idle_buffer_bytes(&self) -> u64 {
        self.rows.pool.bytes()
    }

    /// Frees the buffers that [`idle_buffer_bytes`](Self::idle_buffer_bytes) counts.
    pub fn free_idle_buffers(&self) {
        drop(self.rows.pool.take());
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.rows.engine.profile
    }

    /// How a request waits on the calling thread.
    pub(crate) fn blocking(&self) -> Wait {
        self.rows.engine.gpu.blocking()
    }
}

impl<E: Element> MapStream<E> {
    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.stream.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows of logits and writes a value for each of them. Both are (rows, cols) in the layout of
    /// the stream's shape. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length); [`Error::RowsExceedBound`](crate::Error::RowsExceedBound) for more rows
    /// than a window or the stream's shape holds; whatever the device reports, and after that
    /// [`Error::StreamEnded`](crate::Error::StreamEnded).
    pub fn push<'a>(&'a mut self, logits: &'a [E], rows: usize, output: &'a mut [E]) -> Request<'a, ()> {
        let waits = self.engine.gpu.waits();
        Request::new(waits, move |wait| self.run(logits, rows, output, wait))
    }
}

impl<E: Element> Debug for MapStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStream").field("window_rows", &self.window_rows()).finish_non_exhaustive()
    }
}
