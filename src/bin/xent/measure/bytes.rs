//! The bytes of a batch on a device.

use xent::{Element, Profile, Result, Shape};

use crate::numbers::si;
use crate::output::bad_argument;

/// Buffer sizes are multiples of this, so that buffers end on whole loads of the largest kind.
pub const BUFFER_MULTIPLE: u64 = 64;

/// The bytes that a shape takes on a device.
pub struct Bytes {
    /// The logits, without padding.
    pub logits: u64,
    /// The buffer of the logits, or of an output with the same layout.
    pub buffer: u64,
    /// One value for each row.
    pub rows: u64,
}

impl Bytes {
    pub fn of<E: Element>(shape: Shape) -> Self {
        let value = size_of::<E>() as u64;
        let padded = padded::<E>(shape).len() as u64;
        Self {
            logits: (shape.rows * shape.cols) as u64 * value,
            buffer: (padded * value).next_multiple_of(BUFFER_MULTIPLE),
            rows: (shape.rows as u64 * 4).next_multiple_of(BUFFER_MULTIPLE),
        }
    }

    /// Whether the buffers of a device can hold it.
    pub fn fit(&self, profile: &Profile) -> bool {
        self.buffer <= profile.max_buffer_bytes && self.rows <= profile.max_binding_bytes
    }

    /// Like `fit`, with an error that says what does not fit.
    pub fn check<E: Element>(&self, shape: Shape, profile: &Profile) -> Result<()> {
        if self.fit(profile) {
            return Ok(());
        }
        let (what, needed, limit) = if self.buffer > profile.max_buffer_bytes {
            (format!("{} logits", E::NAME), self.buffer, profile.max_buffer_bytes)
        } else {
            ("the values of the rows".to_owned(), self.rows, profile.max_binding_bytes)
        };
        let [needed, limit] = [needed, limit].map(|bytes| si(bytes as f64, "B"));
        let shape = format!("--shape {}x{}", shape.rows, shape.cols);
        Err(bad_argument(
            shape,
            format!("{what} take {needed}, but a buffer of this device holds at most {limit}"),
        ))
    }
}

/// The shape with padding: rows of 16-bit values that are written must begin on whole words.
pub fn padded<E: Element>(shape: Shape) -> Shape {
    let is_odd = size_of::<E>() < 4 && shape.rows > 1 && !shape.cols.is_multiple_of(2);
    if is_odd { shape.row_stride(shape.cols + 1) } else { shape }
}
