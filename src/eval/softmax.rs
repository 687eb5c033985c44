//! Softmax of a batch from a source.

use std::ops::Range;
use std::time::Duration;

use crate::element::Element;
use crate::error::Result;
use crate::eval::memory::{Asked, Footprint, halving};
use crate::eval::read_ahead::{Feed, Values, through};
use crate::eval::source::{Source, check_values};
use crate::op::{Flight, Softmax, SoftmaxStream, Start};

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
    check_values(source)?;
    let is_unified = op.profile().unified_memory;
    let asked = Asked {
        second_bytes: 0,
        entries: 0,
        dlogits: true,
        reads_logits: source.values().is_none(),
        reads_second: false,
        device: Some(is_unified),
    };
    let footprint = Footprint::of::<E>(shape, asked);
    let wait = op.blocking();
    let mut done = 0;
    halving((footprint.room(memory)?, footprint.least_room()), |room| {
        let start = Start { row: done, room: Some(room) };
        let mut stream = SoftmaxStream::ahead(op, shape, log, start)?;
        let step = stream.window_rows().max(1);
        let mut output = vec![E::default(); shape.with_rows(step.min(shape.rows)).len()];
        let submit = |stream: &mut SoftmaxStream<E>, rows: Range<usize>, values: &Values<'_, E, E>| {
            Ok((stream.submit(values.logits, rows.len())?, rows))
        };
        let land = |stream: &mut SoftmaxStream<E>, (flight, rows): (Flight, Range<usize>)| {
            let output = &mut output[..shape.with_rows(rows.len()).len()];
            stream.read(pollster::block_on(flight.land(wait.clone()))?, output)?;
            let end = rows.end;
            each(rows, output)?;
            done = end;
            Ok(())
        };
        let first = start.row;
        through(
            &mut stream,
            (shape, first, step),
            (Feed::of(&mut *source), None),
            &mut Duration::default(),
            submit,
            land,
        )
    })
}
