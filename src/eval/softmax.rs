//! Softmax and entmax of a batch from a source.

use std::ops::Range;

use crate::coded::Logits;
use crate::device::{Profile, Wait};
use crate::element::Element;
use crate::error::Result;
use crate::eval::each_window::each_window;
use crate::eval::memory::Asked;
use crate::eval::source::Source;
use crate::op::{Entmax, Flight, MapStream, Softmax, Start};

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
    each: impl FnMut(Range<usize>, &[E]) -> Result<()>,
) -> Result<()> {
    let shape = source.shape();
    let open = |start| op.ahead(log, shape, start);
    mapped(open, (op.profile(), op.blocking()), source, (memory, true), each)
}

/// Entmax of a batch with any number of rows, like [`softmax`].
///
/// # Errors
/// As for [`softmax`].
pub fn entmax<E: Element>(
    op: &Entmax<E>,
    source: &mut dyn Source<E>,
    memory: Option<u64>,
    each: impl FnMut(Range<usize>, &[E]) -> Result<()>,
) -> Result<()> {
    let shape = source.shape();
    mapped(|start| op.ahead(shape, start), (op.profile(), op.blocking()), source, (memory, false), each)
}

/// Passes a batch through the streams that `open` makes, which may take codes.
fn mapped<E: Element>(
    open: impl Fn(Start) -> Result<MapStream<E>>,
    (profile, wait): (&Profile, Wait),
    source: &mut dyn Source<E>,
    (memory, takes_codes): (Option<u64>, bool),
    mut each: impl FnMut(Range<usize>, &[E]) -> Result<()>,
) -> Result<()> {
    let shape = source.shape();
    let asked = Asked { dlogits: true, ..Asked::of_device(profile.unified_memory) };
    let open = |start| {
        let stream = open(start)?;
        let step = stream.window_rows();
        let output = vec![E::default(); shape.with_rows(step.min(shape.rows)).len()];
        Ok(((stream, output), step))
    };
    type Opened<E> = (MapStream<E>, Vec<E>);
    let submit = |(stream, _): &mut Opened<E>, rows: Range<usize>, logits: Logits<'_, E>| {
        stream.submit(logits, None, rows.len())
    };
    let land = |(stream, output): &mut Opened<E>, flight: Flight, rows: Range<usize>| {
        let output = &mut output[..shape.with_rows(rows.len()).len()];
        stream.read(pollster::block_on(flight.land(wait.clone()))?, output)?;
        each(rows, output)
    };
    each_window(source, (asked, takes_codes), memory, open, submit, land)
}
