//! Values into a file, which is there whole or not at all.

use std::path::Path;

use half::{bf16, f16};

use super::dtype::Dtype;
use super::file_error;
use super::format::FileFormat;
#[cfg(feature = "npy")]
use super::npy_header;
#[cfg(feature = "safetensors")]
use super::safetensors_header;
use crate::error::{Error, Result};
use crate::whole_file::WholeFile;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
    impl Sealed for u32 {}
}

/// A type that [`TensorWriter`] writes: f32, [`half::f16`], [`half::bf16`] or u32.
pub trait TensorValue: sealed::Sealed + bytemuck::Pod {
    /// The type in the file.
    const DTYPE: Dtype;
}

impl TensorValue for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

impl TensorValue for f16 {
    const DTYPE: Dtype = Dtype::F16;
}

impl TensorValue for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
}

impl TensorValue for u32 {
    const DTYPE: Dtype = Dtype::U32;
}

/// A `.npy` or `.safetensors` file in the making, of one tensor. It is written beside its place and takes it in
/// [`finish`](Self::finish): until then, and whenever anything fails, a file that is already there stays as it is.
///
/// What is half written is lost when this is dropped, unless [`keep_partial`](Self::keep_partial) keeps it for
/// [`resume`](Self::resume).
#[derive(Debug)]
pub struct TensorWriter {
    file: WholeFile,
    dtype: Dtype,
    missing: usize,
}

impl TensorWriter {
    /// Begins a file of this type and shape, any number of axes, in the format that its name says. `name` is the
    /// tensor's, where the format has names.
    ///
    /// # Errors
    /// [`Error::File`] where nothing can be written there: a name of neither format, a type that the format does not
    /// have, no such folder, no permission, no regular file, a link that leads nowhere.
    pub fn create(path: impl AsRef<Path>, name: &str, dtype: Dtype, shape: &[usize]) -> Result<Self> {
        let path = path.as_ref();
        let (format, header, missing) = begin(path, name, dtype, shape)?;
        let mut file = WholeFile::create(path, format.suffix())?;
        file.write_bytes(&header)?;
        Ok(Self { file, dtype, missing })
    }

    /// Goes on with what [`keep_partial`](Self::keep_partial) has kept of the same file, behind its first
    /// `values_done` values; what is behind them is written anew. It stays where it is until the file is finished,
    /// whatever happens.
    ///
    /// # Errors
    /// As [`create`](Self::create); [`Error::File`] where nothing was kept, or what was kept is of another type, shape or
    /// name, or has fewer values; [`Error::Length`] for more values than the shape has.
    pub fn resume(
        path: impl AsRef<Path>,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        values_done: usize,
    ) -> Result<Self> {
        let path = path.as_ref();
        let (_, header, len) = begin(path, name, dtype, shape)?;
        let missing = len.checked_sub(values_done);
        let missing =
            missing.ok_or(Error::Length { what: "values done", found: values_done, needed: len })?;
        let file = WholeFile::resume(path, &header, (values_done * dtype.bytes()) as u64)?;
        Ok(Self { file, dtype, missing })
    }

    /// Writes the next values.
    ///
    /// # Errors
    /// [`Error::Length`] for more values than the shape has; [`Error::File`], also for values of another type.
    pub fn write<V: TensorValue>(&mut self, values: &[V]) -> Result<()> {
        if V::DTYPE != self.dtype {
            let why = format!("values of {} into a file of {}", V::DTYPE.name(), self.dtype.name());
            return Err(file_error(self.file.path(), why));
        }
        let Some(missing) = self.missing.checked_sub(values.len()) else {
            return Err(Error::Length { what: "values", found: values.len(), needed: self.missing });
        };
        self.file.write_bytes(bytemuck::cast_slice(values))?;
        self.missing = missing;
        Ok(())
    }

    /// Hands all that was written to the system, so that [`finish`](Self::finish) has only a name to change: of several
    /// files, flush each before the first is finished.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush_bytes()
    }

    /// Puts the file, whole now, in its place.
    ///
    /// # Errors
    /// [`Error::Length`] where values are missing; as [`flush`](Self::flush).
    pub fn finish(mut self) -> Result<()> {
        self.check_whole()?;
        self.flush()?;
        self.file.finish()
    }

    /// Refuses a file that is not whole.
    ///
    /// # Errors
    /// [`Error::Length`] where values are missing.
    pub fn check_whole(&self) -> Result<()> {
        match self.missing {
            0 => Ok(()),
            missing => Err(Error::Length { what: "values", found: 0, needed: missing }),
        }
    }

    /// Keeps what has been written so far, beside the file's place: at [`partial_path`](super::partial_path). What was
    /// kept there before is replaced.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn keep_partial(self) -> Result<()> {
        self.file.keep_partial()
    }
}

/// The format of a file, its header, and how many values it will have.
#[cfg_attr(not(feature = "safetensors"), allow(unused_variables, reason = "only tensors have names"))]
fn begin(path: &Path, name: &str, dtype: Dtype, shape: &[usize]) -> Result<(FileFormat, Vec<u8>, usize)> {
    let refused = |why: String| file_error(path, format!("cannot be written: {why}"));
    let Some(format) = FileFormat::of_name(path) else {
        return Err(refused("its name must end with .npy or .safetensors".to_owned()));
    };
    let values = shape.iter().try_fold(1usize, |product, &len| product.checked_mul(len));
    let bytes = values.and_then(|values| values.checked_mul(dtype.bytes()));
    let (Some(values), Some(bytes)) = (values, bytes) else {
        return Err(refused("its shape overflows the address space".to_owned()));
    };
    let header = match format {
        #[cfg(feature = "npy")]
        FileFormat::Npy => npy_header::of_array(dtype, shape),
        #[cfg(feature = "safetensors")]
        FileFormat::Safetensors => safetensors_header::of_tensor(name, dtype, shape, bytes),
        #[cfg(not(all(feature = "npy", feature = "safetensors")))]
        _ => Err(format!("xent was built without the feature {}", &format.suffix()[1..])),
    };
    Ok((format, header.map_err(refused)?, values))
}
