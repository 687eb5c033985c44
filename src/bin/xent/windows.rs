//! Windows of logits for the CPU.

use std::collections::TryReserveError;
use std::ops::Range;

use bytesize::ByteSize;
use xent::eval::Source;
use xent::{Element, Error, Result};

use crate::memory::{self, Reserve};

/// Bytes of logits that the CPU handles at a time.
const CPU_WINDOW_BYTES: usize = 16 << 20;

/// Reads logits window by window, in the layout of the source's shape, and passes each window to `each`. What `each`
/// makes of a window takes up to three times the window's memory.
pub fn each_window<E: Element>(
    logits: &mut dyn Source<E>,
    memory: Option<ByteSize>,
    mut each: impl FnMut(Range<usize>, &[E]) -> Result<()>,
) -> Result<()> {
    let shape = logits.shape();
    let left = memory.map(|allowed| memory::for_windows(allowed, Reserve::Reference)).transpose()?;
    let bytes = left.map_or(CPU_WINDOW_BYTES, |left| CPU_WINDOW_BYTES.min(left as usize / 4));
    let step = (bytes / size_of::<E>() / shape.row_stride).max(1) * shape.inner;
    let mut read = zeros::<E>(shape.with_rows(step.min(shape.rows)).len())?;
    for first in (0..shape.rows).step_by(step) {
        let rows = first..shape.rows.min(first + step);
        let read = &mut read[..shape.with_rows(rows.len()).len()];
        logits.read_rows(rows.clone(), read)?;
        each(rows, read)?;
    }
    Ok(())
}

/// A window of zeros, if there is memory for it.
fn zeros<E: Element>(len: usize) -> Result<Vec<E>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|error: TryReserveError| Error::OutOfMemory {
        what: format!("a window of {len} values"),
        message: error.to_string(),
    })?;
    values.resize(len, E::default());
    Ok(values)
}
