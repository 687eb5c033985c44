//! Logits from a `.npy` file, and soft targets, which lie like them.

use std::ops::Range;
use std::path::Path;

use half::f16;
use npyz::TypeChar;

use super::file::{CHUNK_VALUES, NpyFile, array};
use super::header::shape_text;
use super::layout::NpyLayout;
use crate::element::Element;
use crate::error::Result;
use crate::eval::source::{Source, values_of};
use crate::shape::Shape;

/// Logits in a `.npy` file, classes along any axis. `E` is what they are computed in: `f32` for files of f16 (widened),
/// f32 and f64 (narrowed); [`half::f16`] for files of f16.
#[derive(Debug)]
pub struct NpyLogits<E> {
    file: NpyFile,
    /// What they are, for messages.
    what: &'static str,
    layout: NpyLayout,
    element: std::marker::PhantomData<E>,
    /// Values on their way from the file's type.
    raw: Vec<u8>,
}

impl<E: Element> NpyLogits<E> {
    /// Reads the header; of the values nothing yet.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where the file is missing, no `.npy` file, truncated or too long, of another
    /// type or byte order, in Fortran order, without such an axis, or without classes.
    pub fn open(path: impl AsRef<Path>, class_axis: isize) -> Result<Self> {
        Self::of_file(path.as_ref(), "logits", |dims| NpyLayout::new(dims, class_axis))
    }

    fn of_file(
        path: &Path,
        what: &'static str,
        layout: impl FnOnce(&[usize]) -> Result<NpyLayout>,
    ) -> Result<Self> {
        let file = NpyFile::open(path)?;
        let header = &file.header;
        let (sizes, types): (&[usize], _) =
            if E::NAME == "f16" { (&[2], "'<f2'") } else { (&[2, 4, 8], "'<f2', '<f4' or '<f8'") };
        if header.kind != TypeChar::Float || !sizes.contains(&header.size) {
            return Err(file.error(format!("type {}: {what} must be {types}", header.descr)));
        }
        let layout = layout(&header.shape).map_err(|error| file.error(error))?;
        Ok(Self { file, what, layout, element: std::marker::PhantomData, raw: Vec::new() })
    }

    /// The axes.
    pub fn layout(&self) -> &NpyLayout {
        &self.layout
    }

    /// Whether the file holds f64, so that values are rounded to f32 on their way.
    pub fn is_narrowed(&self) -> bool {
        self.file.header.size == 8
    }

    /// Whether the file holds f16.
    pub fn is_f16(&self) -> bool {
        self.file.header.size == 2
    }

    /// Fills a window with the values from the `start`th on, of another type in the file.
    fn convert<const N: usize>(
        &mut self,
        start: usize,
        window: &mut [E],
        value_of: impl Fn([u8; N]) -> f64,
    ) -> Result<()> {
        let Self { file, what, raw, .. } = self;
        for (chunk, into) in window.chunks_mut(CHUNK_VALUES).enumerate() {
            let start = start + chunk * CHUNK_VALUES;
            raw.resize(into.len() * N, 0);
            file.read_at(start, raw)?;
            for (at, (into, bytes)) in into.iter_mut().zip(raw.chunks_exact(N)).enumerate() {
                let value = value_of(array(bytes));
                let narrow = value as f32;
                if narrow.is_infinite() && value.is_finite() {
                    let place = file.header.place(start + at);
                    return Err(file.error(format!("{what}{place} = {value:e} is beyond f32's range")));
                }
                *into = E::from_f32(narrow);
            }
        }
        Ok(())
    }
}

/// Soft targets that lie like these logits: f16, f32 or f64, read as f32.
///
/// # Errors
/// As [`NpyLogits::open`]; [`Error::File`](crate::Error::File) for other axes than the logits'.
pub fn open_soft_targets(path: impl AsRef<Path>, like: &NpyLayout) -> Result<NpyLogits<f32>> {
    let targets = NpyLogits::of_file(path.as_ref(), "targets", |_| Ok(like.clone()))?;
    let found = &targets.file.header.shape;
    if found != like.dims() {
        let (found, needed) = (shape_text(found), shape_text(like.dims()));
        return Err(targets
            .file
            .error(format!("shape {found}: soft targets need the logits' own, {needed}")));
    }
    Ok(targets)
}

impl<E: Element> Source<E> for NpyLogits<E> {
    fn shape(&self) -> Shape {
        self.layout.shape()
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        let start = values_of(self.shape(), rows)?.start;
        match self.file.header.size {
            size if size == size_of::<E>() => self.file.read_at(start, bytemuck::cast_slice_mut(into)),
            2 => self.convert(start, into, |bytes| f16::from_le_bytes(bytes).to_f64()),
            _ => self.convert(start, into, f64::from_le_bytes),
        }
    }
}
