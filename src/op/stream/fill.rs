//! Filling a window: its buffers, what the host writes into them, and the dispatches that read them.

use crate::coded::{self, Codes, Logits};
use crate::device::{Buffers, Lines, Opaque};
use crate::element::Element;
use crate::error::Result;
use crate::kernel::passes::{CODES, Output, Variant, binding};
use crate::kernel::{Binding, Dispatch, Place};
use crate::op::engine::{Array, Engine, LogitsCall, Placed};
use crate::op::stream::{Filling, LOGITS, OUTPUT, SECOND, SecondArray, Stream, Taken, output_bytes};

/// A window's buffers, as its dispatches use them.
pub(super) struct Bindings {
    logits: Binding,
    second: Option<Beside>,
    output: Option<Beside>,
}

/// An array besides the logits that has their layout.
struct Beside {
    number: u32,
    value_bytes: u64,
    binding: Binding,
}

impl<E: Element> Stream<E> {
    /// Binds a window's buffers, each large enough for any window.
    pub(super) fn bind(
        &self,
        buffers: &mut Buffers,
        rows: usize,
        base: u32,
        with_output: bool,
    ) -> Result<Bindings> {
        let transfer = &self.transfer;
        let values = |value_bytes: u64| room(self.plan.streamed_bytes(value_bytes));
        let size = values(self.element_bytes);
        let logits = bound(&transfer.upload(buffers, LOGITS, size)?, size);
        let second = self.extras.second.map(|SecondArray { number, value_bytes, .. }| {
            let size = values(value_bytes);
            let binding = bound(&transfer.upload(buffers, SECOND, size)?, size);
            Ok(Beside { number, value_bytes, binding })
        });
        let output = self.extras.output.map(|output| {
            let value_bytes = output_bytes::<E>(output);
            let size = values(value_bytes);
            let len = self.device_shape.with_rows(rows).len() as u64;
            let wanted = if with_output { (u64::from(base) + len) * value_bytes } else { 0 };
            let binding = bound(&transfer.download(buffers, OUTPUT, size, wanted)?, size);
            Ok(Beside { number: binding::OUTPUT, value_bytes, binding })
        });
        Ok(Bindings {
            logits,
            second: second.transpose()?,
            output: output.transpose()?.filter(|_| with_output),
        })
    }

    /// Writes a window's logits.
    pub(super) fn write_logits(
        &self,
        buffers: &mut Buffers,
        place: Taken,
        logits: Logits<'_, E>,
    ) -> Result<()> {
        match logits {
            Logits::Values(values) => self.write(buffers, LOGITS, place, values),
            Logits::Codes(codes) => self.write_codes(buffers, LOGITS, place, codes),
        }
    }

    /// Writes the codes of the window's second array.
    pub fn write_second_codes(&self, filling: &mut Filling, codes: Codes<'_>) -> Result<()> {
        self.write_codes(&mut filling.buffers, SECOND, filling.place, codes)
    }

    fn write_codes(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        place: Taken,
        Codes(words): Codes<'_>,
    ) -> Result<()> {
        let len = 2 * coded::row_words(self.shape.cols);
        let stride = 2 * self.device_shape.row_stride;
        let lines = Lines { bytes: bytemuck::cast_slice(words), len, pitch: len, stride };
        self.transfer.write(buffers, name, 2 * (place.base as usize - coded::LEAD) as u64, lines)
    }

    /// Writes the window's part of the second array.
    pub fn write_second<T: bytemuck::Pod>(&self, filling: &mut Filling, values: &[T]) -> Result<()> {
        self.write(&mut filling.buffers, SECOND, filling.place, values)
    }

    /// Writes values of the logits' layout, converted to the device's layout.
    pub(super) fn write<T: bytemuck::Pod>(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        place: Taken,
        values: &[T],
    ) -> Result<()> {
        let shape = self.shape.with_rows(place.window.rows);
        let values = &values[..shape.len()];
        let offset = u64::from(place.base) * size_of::<T>() as u64;
        let bytes = bytemuck::cast_slice(values);
        let lines = if self.is_repacked() {
            let [len, pitch, stride] =
                [shape.cols * shape.inner, shape.row_stride, self.device_shape.row_stride]
                    .map(|values| values * size_of::<T>());
            Lines { bytes, len, pitch, stride }
        } else {
            Lines::whole(bytes)
        };
        self.transfer.write(buffers, name, offset, lines)
    }

    /// Writes per-row or per-class values of a window into a buffer with room for `most` values.
    pub fn upload<T: bytemuck::Pod>(
        &self,
        filling: &mut Filling,
        name: &'static str,
        most: usize,
        values: &[T],
    ) -> Result<Binding> {
        self.upload_into(&mut filling.buffers, name, most, values)
    }

    /// Writes the values that all windows of the batch share. Call it before the first window.
    pub fn upload_whole<T: bytemuck::Pod>(&mut self, name: &'static str, values: &[T]) -> Result<Binding> {
        let mut whole = std::mem::take(&mut self.idle.whole);
        let binding = self.upload_into(&mut whole, name, values.len(), values);
        self.idle.whole = whole;
        binding
    }

    fn upload_into<T: bytemuck::Pod>(
        &self,
        buffers: &mut Buffers,
        name: &'static str,
        most: usize,
        values: &[T],
    ) -> Result<Binding> {
        let size = room((most * size_of::<T>()) as u64);
        let buffer = self.transfer.upload(buffers, name, size)?;
        self.transfer.write(buffers, name, 0, Lines::whole(bytemuck::cast_slice(values)))?;
        Ok(bound(&buffer, size))
    }

    /// A buffer of `bytes` bytes that only the device uses.
    pub fn scratch(&self, filling: &mut Filling, name: &'static str, bytes: u64) -> Result<Binding> {
        let size = room(bytes);
        Ok(bound(&self.transfer.scratch(&mut filling.buffers, name, size)?, size))
    }

    /// A buffer for `words` words of 4 bytes per row, which `Back::results` or `Back::read` reads.
    pub fn row_values(&self, filling: &mut Filling, name: &'static str, words: usize) -> Result<Binding> {
        let bytes = |rows: usize| (rows * words) as u64 * 4;
        let (size, wanted) = (room(bytes(self.window_rows())), bytes(filling.place.window.rows));
        Ok(bound(&self.transfer.download(&mut filling.buffers, name, size, wanted)?, size))
    }

    /// A buffer for a copy of the window's logits in f32, with their layout.
    pub fn copy(&self, filling: &mut Filling) -> Result<Binding> {
        self.scratch(filling, "copy", self.plan.streamed_bytes(4))
    }

    /// The dispatches of a pass over a window's logits.
    pub fn dispatches(
        &self,
        engine: &Engine<E>,
        filling: &Filling,
        call: &LogitsCall<'_>,
    ) -> Result<Vec<Dispatch>> {
        let Bindings { second, output, .. } = &filling.bound;
        let beside = output.iter().chain(second).map(|beside| Array {
            number: beside.number,
            binding: &beside.binding,
            value_bytes: beside.value_bytes,
        });
        let arrays: Vec<Array<'_>> = std::iter::once(self.logits(filling)).chain(beside).collect();
        self.dispatches_over(engine, filling, &self.of_logits(call), &arrays)
    }

    /// A window's logits.
    pub fn logits<'f>(&self, filling: &'f Filling) -> Array<'f> {
        Array { number: binding::LOGITS, binding: &filling.bound.logits, value_bytes: self.element_bytes }
    }

    /// A call that reads the logits, which may be codes. Its output is never coded.
    pub fn of_logits<'c>(&self, call: &LogitsCall<'c>) -> LogitsCall<'c> {
        let variant = match (self.is_coded, call.variant.output) {
            (true, Output::Element) if call.pass.writes() => {
                Variant { element: CODES, output: Output::F32, ..call.variant }
            }
            (true, _) => Variant { element: CODES, ..call.variant },
            (false, _) => call.variant,
        };
        LogitsCall { variant, ..*call }
    }

    /// The dispatches of a pass over arrays of a window, which have its layout.
    pub fn dispatches_over<D: Element>(
        &self,
        engine: &Engine<D>,
        filling: &Filling,
        call: &LogitsCall<'_>,
        arrays: &[Array<'_>],
    ) -> Result<Vec<Dispatch>> {
        let placed = arrays.iter().map(|&array| Placed {
            array,
            place: Place { offset: 0, size: array.binding.size, base: filling.place.base },
        });
        engine.logits_dispatches(&self.plan, &filling.place.window, call, &placed.collect::<Vec<_>>())
    }
}

/// The size of a buffer that holds `bytes` bytes: a multiple of the largest pack, so that the last row's last pack is
/// whole whatever the shape. Otherwise shapes would need different pipelines.
fn room(bytes: u64) -> u64 {
    bytes.max(32).next_multiple_of(32)
}

/// Binds the part of a buffer that a window needs. The buffer may be larger, from an earlier window.
fn bound(buffer: &Opaque<wgpu::Buffer>, size: u64) -> Binding {
    Binding { size, ..Binding::whole(buffer) }
}
