//! Softmax of a batch from a source.

use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::eval::each_window::each_window;
use crate::eval::memory::Asked;
use crate::eval::source::Source;
use crate::op::{Flight, Softmax, SoftmaxStream};

/// Softmax, or log-softmax, of a batch with any number of rows. Windows are read ahead, two at a time are on the
/// device, and each is passed to `each` in order with its values (rows, cols), in the layout of the source's shape. All
/// windows together take at most `memory` bytes, if given. Blocks.
///
/// If memory runs out, on the host or on the device, it continues with windows of half the size.
///
/// # Errors
/// What [`Shape::check`](crate::Shape::check) refuses; [`Error::RowTooLarge`](crate::Error::RowTooLarge),
/// [`Error::GroupTooLarge`](crate::Error::GroupTooLarge), [`Error::MemoryTooSmall`](crate::Error::MemoryTooSmall);
/// whatever the source, the device or `each` report.
pub fn softmax<E: Element>(
    op: &Softmax<E>,
    log: bool,
    source: &mut dyn Source<E>,
    memory: Option<u64>,
    mut each: impl FnMut(Range<usize>, &[E]) -> Result<()>,
) -> Result<()> {
    let shape = source.shape();
    let asked = Asked { dlogits: true, ..Asked::of_device(op.profile().unified_memory) };
    let wait = op.blocking();
    let open = |start| {
        let stream = SoftmaxStream::ahead(op, shape, log, start)?;
        let step = stream.window_rows();
        let output = vec![E::default(); shape.with_rows(step.min(shape.rows)).len()];
        Ok(((stream, output), step))
    };
    type Opened<E> = (SoftmaxStream<E>, Vec<E>);
    let submit =
        |(stream, _): &mut Opened<E>, rows: Range<usize>, logits: &[E]| stream.submit(logits, rows.len());
    let land = |(stream, output): &mut Opened<E>, flight: Flight, rows: Range<usize>| {
        let output = &mut output[..shape.with_rows(rows.len()).len()];
        stream.read(pollster::block_on(flight.land(wait.clone()))?, output)?;
        each(rows, output)
    };
    each_window(source, asked, memory, open, submit, land)
}
