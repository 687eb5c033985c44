//! The memory that the windows of a run take.

use std::num::NonZero;
use std::thread::available_parallelism;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::op::{WINDOWS_AHEAD, device_shape};
use crate::results::RowResult;
use crate::shape::Shape;

/// Windows that a source has read, or is reading, ahead of the window that is submitted.
pub(super) const READ_AHEAD: usize = 2;

/// The maximum bytes of a window's widest array. Four windows of twice that size are no faster when read from a file
/// (16,384 × 50,000 in f32 took 1.0 s either way on lavapipe).
const MOST_ROOM: u64 = 32 << 20;

/// Host bytes per row of a window besides its values: its target and weights, the expected class, and its result.
const ROW_BYTES: u64 = 152;
/// Device bytes per row: the kernels' inputs, and results with every field.
const DEVICE_ROW_BYTES: u64 = 96;
/// Bytes per entry: a class, and its probability or another value.
const ENTRY_BYTES: u64 = 8;
/// f64 values that the reference keeps per class of a row.
const REFERENCE_VALUES: u64 = 10;

/// The bytes that the windows of a run take, on host and device together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Footprint {
    shape: Shape,
    /// Bytes per value of a window on the host, and on the device, where rows may be longer.
    host_bytes: u64,
    device_bytes: u64,
    device_stride: u64,
    /// Bytes per row.
    row_bytes: u64,
    /// Bytes per value of the widest array. The size of a window is measured in it.
    widest_bytes: u64,
    /// Bytes that do not depend on the window's size.
    fixed_bytes: u64,
}

/// The facts that determine a footprint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Bytes per value of a second array with the logits' layout, or 0.
    pub second_bytes: u64,
    /// Entries per row of sparse targets, or of the largest classes; or 0.
    pub entries: u64,
    /// Whether the gradient is asked for, in f32.
    pub dlogits: bool,
    /// Whether logits and second array are read. If not, they are in memory.
    pub reads_logits: bool,
    pub reads_second: bool,
    /// Whether there is a device, and whether it reads windows from where the host has written them.
    pub device: Option<bool>,
    /// How many operations take each window, each with buffers of its own.
    pub operations: u64,
}

impl Asked {
    /// Logits that are read, for a device that reads windows from where the host has written them if it `is_unified`.
    pub fn of_device(is_unified: bool) -> Self {
        Self {
            second_bytes: 0,
            entries: 0,
            dlogits: false,
            reads_logits: true,
            reads_second: false,
            device: Some(is_unified),
            operations: 1,
        }
    }
}

impl Footprint {
    pub fn of<E: Element>(shape: Shape, asked: Asked) -> Self {
        let element = size_of::<E>() as u64;
        let second = asked.second_bytes;
        let gradient = if asked.dlogits { 4 } else { 0 };
        let (windows, entry_bytes) = (WINDOWS_AHEAD as u64, ENTRY_BYTES * asked.entries);
        let host_bytes = READ_AHEAD as u64
            * (if asked.reads_logits { element } else { 0 } + if asked.reads_second { second } else { 0 })
            + gradient;
        let row_bytes = ROW_BYTES + windows * entry_bytes;
        let widest_bytes = element.max(second).max(gradient);
        match asked.device {
            Some(is_unified) => {
                let copies = windows * asked.operations * if is_unified { 1 } else { 2 };
                Self {
                    shape,
                    host_bytes,
                    device_bytes: copies * (element + second + gradient),
                    device_stride: device_shape::<E>(shape).row_stride as u64,
                    row_bytes: row_bytes + copies * (DEVICE_ROW_BYTES + entry_bytes),
                    widest_bytes,
                    fixed_bytes: 0,
                }
            }
            // The reference holds the gradients and results of two windows, collects results in parts, and keeps a few
            // rows in f64.
            None => Self {
                shape,
                host_bytes: host_bytes + windows * gradient,
                device_bytes: 0,
                device_stride: shape.row_stride as u64,
                row_bytes: row_bytes + (windows + 1) * size_of::<RowResult>() as u64,
                widest_bytes,
                fixed_bytes: available_parallelism().map_or(1, NonZero::get) as u64
                    * (shape.cols as u64).saturating_mul(8 * REFERENCE_VALUES),
            },
        }
    }

    /// The room of a window's widest array, in bytes, if all windows together may take `allowed` bytes. It is never
    /// larger than what is fast.
    ///
    /// # Errors
    /// [`Error::MemoryTooSmall`] if one group of rows does not fit.
    pub fn room(&self, allowed: Option<u64>) -> Result<u64> {
        let Some(allowed) = allowed else { return Ok(MOST_ROOM) };
        let (Shape { cols, inner, .. }, needed) = (self.shape, self.bytes(0));
        let Some(left) = allowed.checked_sub(self.fixed_bytes).filter(|_| allowed >= needed) else {
            return Err(Error::MemoryTooSmall { allowed, needed, cols, inner });
        };
        Ok((left / self.of_groups(1).max(1)).saturating_mul(self.least_room()).min(MOST_ROOM))
    }

    /// The room of the smallest possible windows.
    pub fn least_room(&self) -> u64 {
        self.device_stride.saturating_mul(self.widest_bytes)
    }

    /// Groups of rows in a window with this room, at least one.
    pub fn groups(&self, room: u64) -> u64 {
        (room / self.least_room().max(1)).max(1)
    }

    /// The maximum bytes that windows with this room take.
    pub fn bytes(&self, room: u64) -> u64 {
        let groups = self.shape.groups().max(1) as u64;
        self.of_groups(self.groups(room).min(groups)).saturating_add(self.fixed_bytes)
    }

    fn of_groups(&self, groups: u64) -> u64 {
        let Shape { inner, row_stride, .. } = self.shape;
        let host = (row_stride as u64).saturating_mul(self.host_bytes);
        let device = self.device_stride.saturating_mul(self.device_bytes);
        let rows = (inner as u64).saturating_mul(self.row_bytes);
        groups.saturating_mul(host.saturating_add(device).saturating_add(rows))
    }
}

/// Makes attempts, each of which continues where the previous one stopped. If memory runs out, the next attempt has
/// half the room, as long as the room is more than `least`.
pub(super) fn halving<T>(
    (mut room, least): (u64, u64),
    mut attempt: impl FnMut(u64) -> Result<T>,
) -> Result<T> {
    loop {
        match attempt(room) {
            Err(error @ Error::OutOfMemory { .. }) if room > least => {
                room /= 2;
                log::warn!("{error}: continuing with windows of {room} bytes");
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Asked = Asked {
        second_bytes: 0,
        entries: 0,
        dlogits: false,
        reads_logits: true,
        reads_second: true,
        device: Some(true),
        operations: 1,
    };

    #[test]
    fn bytes_of_a_value() {
        let bytes = |footprint: Footprint| footprint.host_bytes + footprint.device_bytes;
        let of = |asked| bytes(Footprint::of::<f32>(Shape::new(100, 10), asked));
        for (name, asked, expected) in [
            ("two windows read and two on the device", READ, 16),
            ("in memory", Asked { reads_logits: false, ..READ }, 8),
            ("staged", Asked { device: Some(false), ..READ }, 24),
            ("a gradient", Asked { dlogits: true, ..READ }, 28),
            ("soft targets", Asked { second_bytes: 4, ..READ }, 32),
            ("a teacher in memory", Asked { second_bytes: 4, reads_second: false, ..READ }, 24),
            ("the reference", Asked { device: None, ..READ }, 8),
            ("its gradient", Asked { device: None, dlogits: true, ..READ }, 20),
        ] {
            assert_eq!(of(asked), expected, "{name}");
        }
        let narrow = Footprint::of::<half::bf16>(Shape::new(100, 10), READ);
        assert_eq!((bytes(narrow), narrow.device_stride), (8, 12), "rows begin at a multiple of four values");
        let reference = Asked { device: None, ..READ };
        assert_eq!(Footprint::of::<half::bf16>(Shape::new(100, 10), reference).device_stride, 10);
    }

    #[test]
    fn a_room_and_what_it_takes() {
        let shape = Shape::new(1000, 50);
        let footprint = Footprint::of::<f32>(shape, READ);
        let row = 50 * 16 + 152 + 2 * 96;
        assert_eq!(footprint.room(Some(10 * row + row / 2)), Ok(10 * 50 * 4));
        assert_eq!(footprint.bytes(10 * 50 * 4), 10 * row);
        assert_eq!(footprint.bytes(u64::MAX), 1000 * row, "no more than there is");
        let refused = Error::MemoryTooSmall { allowed: row - 1, needed: row, cols: 50, inner: 1 };
        assert_eq!(footprint.room(Some(row - 1)), Err(refused));
        assert_eq!((footprint.room(None), footprint.room(Some(1 << 60))), (Ok(32 << 20), Ok(32 << 20)));
        let sparse = Asked { entries: 3, ..READ };
        assert_eq!(Footprint::of::<f32>(shape, sparse).bytes(0), row + 4 * 24);
    }
}
