//! The windows of a host batch, sent through the device one after another.

use std::ops::Range;

use crate::device::Wait;
use crate::error::Result;
use crate::op::stream::{Back, Flight};
use crate::shape::Shape;

/// A range of rows of a batch, and the range of their values in the batch's slices.
pub(crate) type Part = (Range<usize>, Range<usize>);

/// Splits a host batch into windows of at most `step` rows.
pub(crate) fn windows(shape: Shape, step: usize) -> impl Iterator<Item = Part> {
    (0..shape.rows).step_by(step.max(1)).map(move |first| {
        let rows = first..shape.rows.min(first + step);
        let start = shape.row_start(first);
        let values = start..start + shape.with_rows(rows.len()).len();
        (rows, values)
    })
}

/// Sends windows through the device: while one computes, the next is submitted, and then the first is read.
pub(crate) async fn through<S>(
    state: &mut S,
    windows: impl Iterator<Item = Part>,
    wait: Wait,
    mut submit: impl FnMut(&mut S, Part) -> Result<Flight>,
    mut read: impl FnMut(&mut S, Back, Part) -> Result<()>,
) -> Result<()> {
    let mut under_way: Option<(Flight, Part)> = None;
    for part in windows {
        let next = submit(state, part.clone())?;
        if let Some((flight, part)) = under_way.replace((next, part)) {
            let back = flight.land(wait.clone()).await?;
            read(state, back, part)?;
        }
    }
    if let Some((flight, part)) = under_way {
        let back = flight.land(wait).await?;
        read(state, back, part)?;
    }
    Ok(())
}
