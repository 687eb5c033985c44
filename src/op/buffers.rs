//! Checks of the caller's buffers, made once when an operation is bound.

use crate::error::{Error, Result};
use crate::kernel::Binding;
use crate::shape::Shape;

/// One buffer of a call: its name in messages, and whether the operation writes it.
pub(crate) struct Checked {
    name: &'static str,
    writes: bool,
    pub binding: Binding,
}

/// How many bytes a binding must hold, and the alignment of its offset in bytes.
pub(crate) struct Need {
    pub bytes: u64,
    pub alignment: u64,
}

pub(crate) fn read(name: &'static str, bound: &wgpu::BufferBinding<'_>, need: Need) -> Result<Checked> {
    check(name, bound, need, false)
}

pub(crate) fn write(name: &'static str, bound: &wgpu::BufferBinding<'_>, need: Need) -> Result<Checked> {
    check(name, bound, need, true)
}

pub(crate) fn write_if(
    name: &'static str,
    bound: Option<&wgpu::BufferBinding<'_>>,
    need: Need,
) -> Result<Option<Checked>> {
    bound.map(|bound| write(name, bound, need)).transpose()
}

fn check(name: &'static str, bound: &wgpu::BufferBinding<'_>, need: Need, writes: bool) -> Result<Checked> {
    let wgpu::BufferBinding { buffer, offset, size } = *bound;
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return Err(Error::BufferUsage { what: name, needed: "BufferUsages::STORAGE" });
    }
    if offset % need.alignment != 0 {
        return Err(Error::BufferOffset { what: name, offset, alignment: need.alignment });
    }
    let behind = buffer.size().saturating_sub(offset);
    let found = size.map_or(behind, |size| size.get().min(behind));
    if found < need.bytes {
        return Err(Error::BufferTooSmall { what: name, found, needed: need.bytes });
    }
    let room = found - need.bytes;
    let binding = Binding { buffer: buffer.clone(), offset, size: need.bytes, room };
    Ok(Checked { name, writes, binding })
}

/// Refuses an output whose values would share words with another row's.
pub(crate) fn check_words(what: &'static str, shape: Shape, value_bytes: u64) -> Result<()> {
    let Shape { rows, row_stride, inner, .. } = shape;
    if value_bytes == 4 {
        return Ok(());
    }
    if inner > 1 {
        return Err(Error::PackedLayout { what, inner });
    }
    if rows > 1 && !row_stride.is_multiple_of(2) {
        return Err(Error::OddStride { what, row_stride, needed: row_stride + 1 });
    }
    Ok(())
}

/// Refuses a buffer that is bound twice if one of the two bindings is written.
pub(crate) fn check_aliases<'a>(buffers: impl IntoIterator<Item = &'a Checked>) -> Result<()> {
    let buffers: Vec<&Checked> = buffers.into_iter().collect();
    for (i, a) in buffers.iter().enumerate() {
        for b in &buffers[i + 1..] {
            if a.binding.buffer == b.binding.buffer && (a.writes || b.writes) {
                return Err(Error::BufferAlias { first: a.name, second: b.name });
            }
        }
    }
    Ok(())
}
