//! The largest classes of a batch from a source.

use std::ops::Range;

use crate::coded::Logits;
use crate::element::Element;
use crate::error::Result;
use crate::eval::each_window::each_window;
use crate::eval::memory::Asked;
use crate::eval::source::Source;
use crate::op::{Flight, TopK, TopKStream};
use crate::results::TopClasses;

/// The k largest classes of each row of a batch with any number of rows. Windows are read ahead, two at a time are on
/// the device, and each is passed to `each` in order with its classes (rows, k). All windows together take at most
/// `memory` bytes, if given. Blocks.
///
/// If memory runs out, on the host or on the device, it continues with windows of half the size.
///
/// # Errors
/// [`Error::TooFewClasses`](crate::Error::TooFewClasses); as for [`softmax`](super::softmax()).
///
/// ```no_run
/// use xent::eval::{SliceSource, top_k};
/// use xent::{Context, Shape, TopK, TopKOptions};
///
/// let gpu = Context::new().wait()?;
/// let op = TopK::<f32>::new(&gpu, &TopKOptions::new(2))?;
/// let mut source = SliceSource::new(&[2.0, 1.0, 0.5, 0.1, 3.0, 0.2], Shape::new(2, 3))?;
/// top_k(&op, &mut source, None, |rows, classes| {
///     println!("{rows:?}: {:?}", classes.indices);
///     Ok(())
/// })?;
/// # Ok::<(), xent::Error>(())
/// ```
pub fn top_k<E: Element>(
    op: &TopK<E>,
    source: &mut dyn Source<E>,
    memory: Option<u64>,
    mut each: impl FnMut(Range<usize>, &TopClasses) -> Result<()>,
) -> Result<()> {
    let shape = source.shape();
    // An index and a value for each class.
    let asked = Asked { entries: op.options().k as u64, ..Asked::of_device(op.profile().unified_memory) };
    let wait = op.blocking();
    let open = |start| {
        let stream = TopKStream::ahead(op, shape, start)?;
        let step = stream.window_rows();
        Ok((stream, step))
    };
    let submit = |stream: &mut TopKStream<E>, rows: Range<usize>, logits: Logits<'_, E>| {
        stream.submit(logits, rows.len())
    };
    let land = |stream: &mut TopKStream<E>, flight: Flight, rows: Range<usize>| {
        let classes = stream.read(pollster::block_on(flight.land(wait.clone()))?, rows.len())?;
        each(rows, &classes)
    };
    each_window(source, (asked, false), memory, open, submit, land)
}
