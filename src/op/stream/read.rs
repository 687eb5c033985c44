//! Reading a window's results into the caller's slices.

use std::borrow::Cow;

use crate::device::copy_parts;
use crate::element::Element;
use crate::error::Result;
use crate::op::stream::{Back, OUTPUT, ROW_RESULTS, Stream, output_bytes};
use crate::shape::Shape;

impl Back {
    /// Reads one value per row.
    pub fn read<T: bytemuck::Pod>(&self, name: &'static str, into: &mut [T]) -> Result<()> {
        let into = bytemuck::cast_slice_mut(into);
        self.landed.read(name, (0, into.len()), |bytes| into.copy_from_slice(bytes))?;
        Ok(())
    }

    /// Passes each row's result to `take`, in row order: the row's number in the window, and its record of `words`
    /// words.
    pub fn results(&self, words: usize, mut take: impl FnMut(usize, &[u32])) -> Result<()> {
        let range = (0, self.place.window.rows * words * 4);
        self.landed.read(ROW_RESULTS, range, |bytes| {
            let records = values_of(bytes);
            records.chunks_exact(words).enumerate().for_each(|(row, record)| take(row, record));
        })?;
        Ok(())
    }
}

impl<E: Element> Stream<E> {
    /// Reads a window's output into a checked slice in the layout of its logits; padding between rows is zero. f32
    /// output is rounded if the slice has another type.
    pub fn read_output<O: Element>(&self, back: &Back, into: &mut [O]) -> Result<()> {
        let Some(output) = self.extras.output else { return Ok(()) };
        let (rows, value_bytes) = (back.place.window.rows, output_bytes::<E>(output));
        let (host, device) = (self.shape.with_rows(rows), self.device_shape.with_rows(rows));
        let range = (u64::from(back.place.base) * value_bytes, device.len() * value_bytes as usize);
        let narrows = value_bytes != size_of::<O>() as u64;
        back.landed.read(OUTPUT, range, |bytes| {
            if narrows {
                copy_rows(&values_of(bytes), device, into, host, O::from_f32);
            } else if self.is_repacked() {
                copy_rows(&values_of(bytes), device, into, host, |value| value);
            } else {
                let into: &mut [u8] = bytemuck::cast_slice_mut(&mut into[..host.len()]);
                copy_parts((bytes, 1), (into, 1), |from, into| into.copy_from_slice(from));
            }
        })?;
        clear_padding(into, host);
        Ok(())
    }
}

/// Values in mapped memory. In a browser it may have any alignment.
fn values_of<T: bytemuck::Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) => Cow::Borrowed(values),
        Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
    }
}

/// Copies groups of rows from one layout to another.
fn copy_rows<A: Copy + Sync, B: Send>(
    from: &[A],
    laid: Shape,
    into: &mut [B],
    out: Shape,
    of: impl Fn(A) -> B + Sync,
) {
    let group = laid.cols * laid.inner;
    copy_parts((from, laid.row_stride), (&mut into[..out.len()], out.row_stride), |from, into| {
        for (values, places) in from.chunks(laid.row_stride).zip(into.chunks_mut(out.row_stride)) {
            let (values, places) = (&values[..group], &mut places[..group]);
            places.iter_mut().zip(values).for_each(|(place, &value)| *place = of(value));
        }
    });
}

/// Writes zeros between the rows, and after the last row if the slice goes on.
pub(crate) fn clear_padding<T: Copy + Default>(values: &mut [T], shape: Shape) {
    let group = shape.cols * shape.inner;
    if shape.row_stride > group {
        for rows in values.chunks_mut(shape.row_stride) {
            let end = group.min(rows.len());
            rows[end..].fill(T::default());
        }
    }
}
