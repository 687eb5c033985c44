//! Logits from a `.npy` file.

use std::ops::Range;
use std::path::Path;

use npyz::TypeChar;

use super::file::NpyFile;
use super::header::shape_text;
use crate::error::{Error, Result};
use crate::eval::source::Source;
use crate::shape::Shape;

/// Logits (rows, cols) in a `.npy` file: f32, or f64 that is narrowed to f32.
#[derive(Debug)]
pub struct NpyLogits {
    file: NpyFile,
    shape: Shape,
    window: Vec<f32>,
    /// Values on their way from f64 to f32.
    wide: Vec<f64>,
}

/// Values that are narrowed at a time.
const WIDE_VALUES: usize = 1 << 16;

impl NpyLogits {
    /// Reads the header; of the values nothing yet.
    ///
    /// # Errors
    /// [`Error::File`] where the file is missing, no `.npy` file, truncated or too long, of another type, byte order or
    /// number of axes, in Fortran order, or without classes.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let file = NpyFile::open(path.as_ref())?;
        let header = &file.header;
        if (header.kind, header.size) != (TypeChar::Float, 4)
            && (header.kind, header.size) != (TypeChar::Float, 8)
        {
            return Err(file.error(format!("type {}: logits must be '<f4' or '<f8'", header.descr)));
        }
        let &[rows, cols] = &header.shape[..] else {
            let shape = shape_text(&header.shape);
            return Err(file.error(format!("shape {shape}: logits must have two axes, (rows, cols)")));
        };
        let shape = Shape::new(rows, cols);
        shape.check().map_err(|error| file.error(error))?;
        Ok(Self { file, shape, window: Vec::new(), wide: Vec::new() })
    }

    /// Whether the file holds f64, so that values are rounded to f32 on their way.
    pub fn is_narrowed(&self) -> bool {
        self.file.header.size == 8
    }

    fn narrow(&mut self, first_row: usize) -> Result<()> {
        let cols = self.shape.cols;
        let Self { file, window, wide, .. } = self;
        for (chunk, into) in window.chunks_mut(WIDE_VALUES).enumerate() {
            let start = first_row * cols + chunk * WIDE_VALUES;
            wide.resize(into.len(), 0.0);
            file.read_at(start, bytemuck::cast_slice_mut(wide))?;
            for (at, (into, &value)) in into.iter_mut().zip(wide.iter()).enumerate() {
                *into = value as f32;
                if into.is_infinite() && value.is_finite() {
                    let (row, col) = ((start + at) / cols, (start + at) % cols);
                    return Err(file.error(format!("logits[{row}, {col}] = {value:e} is beyond f32's range")));
                }
            }
        }
        Ok(())
    }
}

impl Source<f32> for NpyLogits {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn read_rows(&mut self, rows: Range<usize>) -> Result<&[f32]> {
        if rows.end > self.shape.rows {
            return Err(Error::RowsExceedBound { rows: rows.end, bound: self.shape.rows });
        }
        self.window.resize(rows.len() * self.shape.cols, 0.0);
        if self.is_narrowed() {
            self.narrow(rows.start)?;
        } else {
            let bytes = bytemuck::cast_slice_mut(&mut self.window);
            self.file.read_at(rows.start * self.shape.cols, bytes)?;
        }
        Ok(&self.window)
    }
}
