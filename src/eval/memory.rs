//! What the windows of a run take.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::op::WINDOWS_AHEAD;
use crate::shape::Shape;
use crate::targets::TargetKind;

/// Windows that a source has read, or is reading, ahead of the one that the device is given.
pub(super) const READ_AHEAD: usize = 2;

/// Bytes of a window's widest array where nothing else bounds it: four windows of twice that are no faster where they are
/// read from a file (16,384 × 50,000 in f32 took 1.0 s either way on lavapipe).
const MOST_ROOM: u64 = 32 << 20;

/// Bytes that every row has beside its values: what the kernels are given for it and leave of it, on both sides.
const ROW_BYTES: u64 = 192;
/// Bytes of a sparse target's entry.
const ENTRY_BYTES: u64 = 8;

/// Bytes that the windows of a run take, on the host and on the device together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Footprint {
    shape: Shape,
    /// For each value of a window.
    value_bytes: u64,
    /// For each of its rows.
    row_bytes: u64,
    /// Bytes of a value of the widest array: what a window's size is counted by.
    widest_bytes: u64,
}

/// What a footprint depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub kind: TargetKind,
    /// Whether the gradient comes too, in f32.
    pub dlogits: bool,
    /// Whether logits, and soft targets, are read; else they are in memory.
    pub reads_logits: bool,
    pub reads_soft: bool,
    /// Whether there is a device, and whether it takes windows from where the host has written them.
    pub device: Option<bool>,
}

impl Footprint {
    pub fn of<E: Element>(shape: Shape, asked: Asked) -> Self {
        let element = size_of::<E>() as u64;
        let soft = if asked.kind == TargetKind::Soft { 4 } else { 0 };
        let gradient = if asked.dlogits { 4 } else { 0 };
        let host = READ_AHEAD as u64
            * (if asked.reads_logits { element } else { 0 } + if asked.reads_soft { soft } else { 0 })
            + gradient;
        let device = match asked.device {
            Some(is_unified) => {
                WINDOWS_AHEAD as u64 * (element + soft + gradient) * if is_unified { 1 } else { 2 }
            }
            // The reference has a gradient of its own under way.
            None => gradient,
        };
        let entries = if let TargetKind::Sparse { entries } = asked.kind { entries as u64 } else { 0 };
        Self {
            shape,
            value_bytes: host + device,
            row_bytes: ROW_BYTES + 2 * ENTRY_BYTES * entries,
            widest_bytes: element.max(soft).max(gradient),
        }
    }

    /// The room of a window's widest array, in bytes, where all windows together may take so many: at most what is fast.
    ///
    /// # Errors
    /// [`Error::MemoryTooSmall`] where that is less than one group of rows.
    pub fn room(&self, allowed: Option<u64>) -> Result<u64> {
        let Some(allowed) = allowed else { return Ok(MOST_ROOM) };
        let (Shape { cols, inner, .. }, needed) = (self.shape, self.of_groups(1));
        if allowed < needed {
            return Err(Error::MemoryTooSmall { allowed, needed, cols, inner });
        }
        Ok((allowed / needed).saturating_mul(self.least_room()).min(MOST_ROOM))
    }

    /// The room of the smallest windows there are.
    pub fn least_room(&self) -> u64 {
        (self.shape.row_stride as u64).saturating_mul(self.widest_bytes)
    }

    /// What windows of so much room take, at most.
    pub fn bytes(&self, room: u64) -> u64 {
        let groups = self.shape.groups().max(1) as u64;
        self.of_groups((room / self.least_room().max(1)).clamp(1, groups))
    }

    fn of_groups(&self, groups: u64) -> u64 {
        let Shape { inner, row_stride, .. } = self.shape;
        let group = (row_stride as u64).saturating_mul(self.value_bytes)
            + (inner as u64).saturating_mul(self.row_bytes);
        groups.saturating_mul(group)
    }
}

/// Makes attempts, of which each goes on where the one before had come to: with half the room where memory ran out, as
/// long as that is more than the `least`.
pub(super) fn halving<T>(
    (mut room, least): (u64, u64),
    mut attempt: impl FnMut(u64) -> Result<T>,
) -> Result<T> {
    loop {
        match attempt(room) {
            Err(error @ Error::OutOfMemory { .. }) if room > least => {
                room /= 2;
                log::warn!("{error}: going on with windows of {room} bytes");
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Asked = Asked {
        kind: TargetKind::Classes,
        dlogits: false,
        reads_logits: true,
        reads_soft: true,
        device: Some(true),
    };

    #[test]
    fn bytes_of_a_value() {
        let of = |asked| Footprint::of::<f32>(Shape::new(100, 10), asked).value_bytes;
        for (name, asked, bytes) in [
            ("two windows read and two on the device", READ, 16),
            ("in memory", Asked { reads_logits: false, ..READ }, 8),
            ("staged", Asked { device: Some(false), ..READ }, 24),
            ("a gradient", Asked { dlogits: true, ..READ }, 28),
            ("soft targets", Asked { kind: TargetKind::Soft, ..READ }, 32),
            ("the reference", Asked { device: None, ..READ }, 8),
        ] {
            assert_eq!(of(asked), bytes, "{name}");
        }
        assert_eq!(Footprint::of::<half::bf16>(Shape::new(100, 10), READ).value_bytes, 8);
    }

    #[test]
    fn a_room_and_what_it_takes() {
        let shape = Shape::new(1000, 50);
        let footprint = Footprint::of::<f32>(shape, READ);
        let row = 50 * 16 + 192;
        assert_eq!(footprint.room(Some(10 * row + row / 2)), Ok(10 * 50 * 4));
        assert_eq!(footprint.bytes(10 * 50 * 4), 10 * row);
        assert_eq!(footprint.bytes(u64::MAX), 1000 * row, "no more than there is");
        let refused = Error::MemoryTooSmall { allowed: row - 1, needed: row, cols: 50, inner: 1 };
        assert_eq!(footprint.room(Some(row - 1)), Err(refused));
        assert_eq!((footprint.room(None), footprint.room(Some(1 << 60))), (Ok(32 << 20), Ok(32 << 20)));
        let sparse = Asked { kind: TargetKind::Sparse { entries: 3 }, ..READ };
        assert_eq!(Footprint::of::<f32>(shape, sparse).bytes(0), row + 48);
    }
}
