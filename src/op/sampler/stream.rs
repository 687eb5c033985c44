//! Tokens of batches that come in windows.

use std::fmt;

use crate::element::Element;
use crate::op::rows::ValuesStream;
use crate::op::sampler::Sampler;
use crate::op::sampler::record::samples_of;
use crate::options::Sampling;
use crate::request::Request;
use crate::results::Samples;

/// A batch that passes through the device window by window. The buffers are made once and take less than half a
/// gigabyte for any number of rows, unless a single row needs more.
pub struct SamplerStream<E: Element> {
    pub(super) windows: ValuesStream<E>,
    pub(super) op: Sampler<E>,
}

impl<E: Element> SamplerStream<E> {
    /// The maximum number of rows in one [`push`](Self::push).
    pub fn window_rows(&self) -> usize {
        self.windows.window_rows()
    }

    /// Device memory that the stream holds, staging included, in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        self.windows.stream.buffer_bytes()
    }

    /// Takes the next `rows` rows of logits (rows, cols), in the layout of the stream's shape, and draws their tokens.
    /// `samplings` has one value for each of these rows, or one for all; then row r of the whole batch has the given
    /// counter plus r. A push that fails, or is dropped while it runs, ends the stream.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length), [`Error::InvalidOption`](crate::Error::InvalidOption); [`Error::RowsExceedBound`](crate::Error::RowsExceedBound) for more rows than a window or the
    /// stream's shape holds; whatever the device reports, and after that [`Error::StreamEnded`](crate::Error::StreamEnded).
    pub fn push<'a>(
        &'a mut self,
        logits: &'a [E],
        samplings: &'a [Sampling],
        rows: usize,
    ) -> Request<'a, Samples> {
        let waits = self.windows.gpu().waits();
        Request::new(waits, move |wait| async move {
            self.windows.stream.check_rows(logits.into(), rows)?;
            let records = self.op.records(samplings, self.windows.stream.next_row(), rows)?;
            let arrays = self.windows.push(logits, &[bytemuck::cast_slice(&records)], rows, wait).await?;
            Ok(samples_of(self.op.options.samples, arrays))
        })
    }
}

impl<E: Element> fmt::Debug for SamplerStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamplerStream").field("window_rows", &self.window_rows()).finish_non_exhaustive()
    }
}
