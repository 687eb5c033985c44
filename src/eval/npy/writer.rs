//! Values into a `.npy` file, which is there whole or not at all.

use std::path::Path;

use half::f16;
use npyz::{DType, WriteOptions, WriterBuilder};

use super::file_error;
use crate::error::{Error, Result};
use crate::whole_file::{WholeFile, without_path};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for u32 {}
}

/// A type that [`NpyWriter`] writes: f32, [`half::f16`] or u32.
pub trait NpyValue: sealed::Sealed + bytemuck::Pod {
    /// The type as a header writes it.
    const DESCR: &'static str;
}

impl NpyValue for f32 {
    const DESCR: &'static str = "<f4";
}

impl NpyValue for f16 {
    const DESCR: &'static str = "<f2";
}

impl NpyValue for u32 {
    const DESCR: &'static str = "<u4";
}

/// A `.npy` file in the making. It is written beside its place and takes it in [`finish`](Self::finish): until
/// then, and whenever anything fails, a file that is already there stays as it is.
#[derive(Debug)]
pub struct NpyWriter {
    file: WholeFile,
    descr: &'static str,
    missing: usize,
}

impl NpyWriter {
    /// Begins a file of this shape, any number of axes, and type.
    ///
    /// # Errors
    /// [`Error::File`] where nothing can be written there: no such folder, no permission, no regular file, a link that
    /// leads nowhere.
    pub fn create<V: NpyValue>(path: impl AsRef<Path>, shape: &[usize]) -> Result<Self> {
        let given = path.as_ref();
        let file = WholeFile::create(given, ".npy")?;
        let lengths: Vec<u64> = shape.iter().map(|&len| len as u64).collect();
        let missing = shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len));
        let missing = missing.ok_or_else(|| file_error(given, "its shape overflows the address space"))?;
        let refused = |why: &dyn std::fmt::Display| file_error(given, format!("cannot be written: {why}"));
        let dtype = V::DESCR.parse().map_err(|error| refused(&error))?;
        let file = WriteOptions::new_header_only()
            .dtype(DType::Plain(dtype))
            .shape(&lengths)
            .writer(file)
            .write_header_only()
            .map_err(|error| refused(&without_path(&error)))?;
        Ok(Self { file, descr: V::DESCR, missing })
    }

    /// Writes the next values.
    ///
    /// # Errors
    /// [`Error::Length`] for more values than the shape has; [`Error::File`], also for values of another type.
    pub fn write<V: NpyValue>(&mut self, values: &[V]) -> Result<()> {
        if V::DESCR != self.descr {
            let why = format!("values of type '{}' into a file of '{}'", V::DESCR, self.descr);
            return Err(file_error(self.file.path(), why));
        }
        let Some(missing) = self.missing.checked_sub(values.len()) else {
            return Err(Error::Length { what: "values", found: values.len(), needed: self.missing });
        };
        self.missing = missing;
        let bytes = bytemuck::cast_slice(values);
        self.file.write_bytes(bytes)
    }

    /// Brings all that was written to the disk, so that [`finish`](Self::finish) has only a name to change: of several
    /// files, flush each before the first is finished.
    ///
    /// # Errors
    /// [`Error::Length`] where values are missing; [`Error::File`].
    pub fn flush(&mut self) -> Result<()> {
        if self.missing > 0 {
            return Err(Error::Length { what: "values", found: 0, needed: self.missing });
        }
        self.file.flush_bytes()
    }

    /// Puts the file, whole now, in its place.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.finish()
    }
}
