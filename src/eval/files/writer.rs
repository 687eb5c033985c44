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
        run: &str,
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
        let file = WholeFile::resume(path, run, &header, (values_done * dtype.bytes()) as u64)?;
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
    pub fn keep_partial(self, run: &str) -> Result<()> {
        self.file.keep_partial(run)
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

#[cfg(all(test, feature = "npy", feature = "safetensors"))]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::eval::files::partial_path;

    const SHAPE: [usize; 2] = [3, 2];
    const VALUES: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

    fn create(path: &Path) -> TensorWriter {
        TensorWriter::create(path, "probs", Dtype::F32, &SHAPE).unwrap()
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_kept_is_gone_on_with() {
        let folder = TempDir::new().unwrap();
        for name in ["out.npy", "out.safetensors"] {
            let path = folder.path().join(name);
            let mut unbroken = create(&path);
            unbroken.write(&VALUES).unwrap();
            unbroken.finish().unwrap();
            let expected = std::fs::read(&path).unwrap();
            for done in 0..=VALUES.len() {
                std::fs::write(&path, "old").unwrap();
                let mut stopped = create(&path);
                stopped.write(&VALUES[..done]).unwrap();
                // What is behind the values done is written anew.
                stopped.write(&vec![f32::NAN; VALUES.len() - done]).unwrap();
                stopped.keep_partial("a").unwrap();
                assert_eq!(names(&folder), [name.to_owned(), format!("{name}.a.xent-partial")]);
                assert_eq!(std::fs::read(&path).unwrap(), b"old");

                let resume = || TensorWriter::resume(&path, "a", "probs", Dtype::F32, &SHAPE, done).unwrap();
                // One that fails leaves what was kept.
                drop(resume());
                let mut again = resume();
                again.write(&VALUES[done..]).unwrap();
                again.keep_partial("a").unwrap();
                let mut resumed = resume();
                resumed.write(&VALUES[done..]).unwrap();
                resumed.finish().unwrap();
                assert_eq!(names(&folder), [name]);
                assert_eq!(std::fs::read(&path).unwrap(), expected, "{name} {done}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_was_kept_of_another_file_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("out.safetensors");
        let resume = |name, dtype, shape: &[usize], done| {
            TensorWriter::resume(&path, "a", name, dtype, shape, done).map(drop).unwrap_err().to_string()
        };
        let error = resume("probs", Dtype::F32, &SHAPE, 0);
        assert!(error.contains("out.safetensors.a.xent-partial: cannot be resumed: No such file"), "{error}");
        let mut file = create(&path);
        file.write(&VALUES[..4]).unwrap();
        file.keep_partial("a").unwrap();
        let kept = std::fs::read(partial_path(&path, "a")).unwrap();
        for (name, error) in [
            ("name", resume("lse", Dtype::F32, &SHAPE, 0)),
            ("type", resume("probs", Dtype::U32, &SHAPE, 0)),
            ("shape", resume("probs", Dtype::F32, &[2, 3], 0)),
        ] {
            assert!(error.ends_with("it was begun for another type, shape or name"), "{name}: {error}");
        }
        let error = resume("probs", Dtype::F32, &SHAPE, 5);
        assert!(error.ends_with("20 bytes of values were said to be done; it has 16"), "{error}");
        assert_eq!(resume("probs", Dtype::F32, &SHAPE, 7).split(' ').next(), Some("values"));
        assert_eq!(std::fs::read(partial_path(&path, "a")).unwrap(), kept);
    }

    #[test]
    fn files_that_are_not_whole_are_not_finished() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("out.npy");
        let mut file = create(&path);
        file.write(&VALUES[..5]).unwrap();
        assert_eq!(file.check_whole(), Err(Error::Length { what: "values", found: 0, needed: 1 }));
        assert!(matches!(file.write(&VALUES[..2]), Err(Error::Length { found: 2, needed: 1, .. })));
        assert!(matches!(file.write(&[0u32]), Err(Error::File { .. })), "another type");
        assert!(file.finish().is_err());
        for (name, dtype, why) in [
            ("out.txt", Dtype::F32, "its name must end with .npy or .safetensors"),
            ("out", Dtype::F32, "its name must end with .npy or .safetensors"),
            ("out.npy", Dtype::Bf16, ".npy has no type for bf16: .safetensors has, or another type"),
        ] {
            let error = TensorWriter::create(folder.path().join(name), "x", dtype, &SHAPE).unwrap_err();
            assert!(error.to_string().ends_with(&format!("cannot be written: {why}")), "{error}");
        }
        assert_eq!(names(&folder), Vec::<String>::new());
    }
}
