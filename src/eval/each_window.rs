//! A batch from a source, sent through an operation without a loss.

use std::ops::Range;
use std::time::Duration;

use crate::coded::Logits;
use crate::element::Element;
use crate::error::Result;
use crate::eval::memory::{Asked, Footprint, halving};
use crate::eval::read_ahead::{Feed, Values, through};
use crate::eval::source::{Source, are_coded, check_values};
use crate::op::Start;

/// Sends all rows of a source through streams that `open` makes, with their step: the rows of a window. Windows are
/// read ahead, and two are in flight at a time: `submit` begins one, and `land` ends it. All windows together take at
/// most `memory` bytes, if given. They come as codes if the operation takes codes and the source has them. If memory runs out, it continues with windows of half the size.
pub(super) fn each_window<E: Element, S, T>(
    source: &mut dyn Source<E>,
    (asked, takes_codes): (Asked, bool),
    memory: Option<u64>,
    mut open: impl FnMut(Start) -> Result<(S, usize)>,
    mut submit: impl FnMut(&mut S, Range<usize>, Logits<'_, E>) -> Result<T>,
    mut land: impl FnMut(&mut S, T, Range<usize>) -> Result<()>,
) -> Result<()> {
    let shape = source.shape();
    check_values(source)?;
    let footprint = Footprint::of::<E>(shape, Asked { reads_logits: source.values().is_none(), ..asked });
    let coded = takes_codes && are_coded(&[&*source]);
    let mut done = 0;
    halving((footprint.room(memory)?, footprint.least_room()), |room| {
        let first = done;
        let (mut stream, step) = open(Start { row: first, room: Some(room), coded })?;
        through(
            &mut stream,
            (shape, first..shape.rows, step.max(1)),
            (Feed::coded(&mut *source, coded), None),
            &mut Duration::default(),
            |stream: &mut S, rows: Range<usize>, values: &Values<'_, E, E>| {
                Ok((submit(stream, rows.clone(), values.logits)?, rows))
            },
            |stream: &mut S, (flight, rows): (T, Range<usize>)| {
                let end = rows.end;
                land(stream, flight, rows)?;
                done = end;
                Ok(())
            },
        )
    })
}
