//! Writing values into a file that appears whole or not at all.

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
use crate::whole_file::{FilePart, WholeFile};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
    impl Sealed for u32 {}
}

/// A type that [`TensorWriter`] writes: f32, [`half::f16`], [`half::bf16`] or u32.
pub trait TensorValue: sealed::Sealed + bytemuck::Pod {
    /// The type of the values in the file.
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

/// A `.npy` or `.safetensors` file with one tensor that is being written. It is a [`WholeFile`]: it is written next to
/// its place, and [`finish`](Self::finish) moves it there. Until then, and if anything fails, a file that already
/// exists stays as it is.
///
/// A partly written file is removed when this is dropped, unless [`keep`](Self::keep) keeps it for
/// [`resume`](Self::resume).
#[derive(Debug)]
pub struct TensorWriter {
    file: WholeFile,
    dtype: Dtype,
    missing: usize,
}

impl TensorWriter {
    /// Starts a file of this type and shape, with any number of axes, in the format that its name ends with. `run` is
    /// part of the name of the partial file ([`partial_path`](super::partial_path)). `name` is the tensor's name, if
    /// the format has names.
    ///
    /// # Errors
    /// [`Error::File`] if nothing can be written there: the name has neither format's ending, the format does not have
    /// the type, the folder does not exist, permission is missing, the path is not a regular file, or a link leads
    /// nowhere; or if another process is writing the file.
    pub fn create(
        path: impl AsRef<Path>,
        run: &str,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<Self> {
        let path = path.as_ref();
        let (header, missing) = begin(path, name, dtype, shape)?;
        let mut file = WholeFile::create(path, run)?;
        file.write_bytes(&header)?;
        Ok(Self { file, dtype, missing })
    }

    /// Refuses what [`create`](Self::create) would refuse. It leaves no file there.
    ///
    /// # Errors
    /// As for [`create`](Self::create), except for another process.
    pub fn check(path: impl AsRef<Path>, name: &str, dtype: Dtype, shape: &[usize]) -> Result<()> {
        begin(path.as_ref(), name, dtype, shape)?;
        WholeFile::check_place(path.as_ref())
    }

    /// Continues a file that [`keep`](Self::keep) has kept, after `part` of it; everything after that is written again.
    /// The kept file stays where it is until it is finished, whatever happens.
    ///
    /// # Errors
    /// As for [`create`](Self::create); [`Error::File`] if nothing was kept, or if the kept file has another type,
    /// shape or name, is shorter, or was changed; [`Error::Length`] for more values than the shape has.
    pub fn resume(
        path: impl AsRef<Path>,
        run: &str,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        part: FilePart,
    ) -> Result<Self> {
        let path = path.as_ref();
        let (header, len) = begin(path, name, dtype, shape)?;
        let value_bytes = dtype.bytes() as u64;
        let done =
            part.bytes.checked_sub(header.len() as u64).filter(|bytes| bytes.is_multiple_of(value_bytes));
        let done = done.ok_or_else(|| {
            let (bytes, header) = (part.bytes, header.len());
            file_error(
                path,
                format!(
                    "cannot be resumed: {bytes} bytes are not a header of {header} bytes and whole values"
                ),
            )
        })?;
        let done = usize::try_from(done / value_bytes).unwrap_or(usize::MAX);
        let missing = len.checked_sub(done);
        let missing = missing.ok_or(Error::Length { what: "values done", found: done, needed: len })?;
        let file = WholeFile::resume(path, run, &header, part, missing == 0)?;
        Ok(Self { file, dtype, missing })
    }

    /// Writes the next values.
    ///
    /// # Errors
    /// [`Error::Length`] for more values than the shape has; [`Error::File`], also for values of another type.
    pub fn write<V: TensorValue>(&mut self, values: &[V]) -> Result<()> {
        if V::DTYPE != self.dtype {
            let why = format!(
                "values of type {} cannot be written into a file of type {}",
                V::DTYPE.name(),
                self.dtype.name()
            );
            return Err(file_error(self.file.path(), why));
        }
        let Some(missing) = self.missing.checked_sub(values.len()) else {
            return Err(Error::Length { what: "values", found: values.len(), needed: self.missing });
        };
        self.file.write_bytes(bytemuck::cast_slice(values))?;
        self.missing = missing;
        Ok(())
    }

    /// Everything written so far, including the header: what [`resume`](Self::resume) needs.
    pub fn part(&self) -> FilePart {
        self.file.part()
    }

    /// How many values are still missing.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Writes everything to the disk, so that [`finish`](Self::finish) only has to rename the file. With several files,
    /// sync all of them before you finish the first.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }

    /// Moves the complete file to its place.
    ///
    /// # Errors
    /// [`Error::Length`] if values are missing; as for [`sync`](Self::sync).
    pub fn finish(self) -> Result<()> {
        self.check_whole()?;
        self.file.finish()
    }

    /// Refuses a file that is not complete.
    ///
    /// # Errors
    /// [`Error::Length`] if values are missing.
    pub fn check_whole(&self) -> Result<()> {
        match self.missing {
            0 => Ok(()),
            missing => Err(Error::Length { what: "values", found: 0, needed: missing }),
        }
    }

    /// Writes everything to the disk and keeps it when this is dropped, next to the file's place: at
    /// [`partial_path`](super::partial_path).
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn keep(&mut self) -> Result<()> {
        self.file.keep()
    }

    /// Removes the partial file, even if it was kept.
    pub fn discard(self) {
        self.file.discard();
    }
}

/// The header of a file, and its number of values.
#[cfg_attr(not(feature = "safetensors"), allow(unused_variables, reason = "only tensors have names"))]
fn begin(path: &Path, name: &str, dtype: Dtype, shape: &[usize]) -> Result<(Vec<u8>, usize)> {
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
    Ok((header.map_err(refused)?, values))
}

#[cfg(all(test, feature = "npy", feature = "safetensors"))]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::eval::files::partial_path;

    const SHAPE: [usize; 2] = [3, 2];
    const VALUES: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

    fn create(path: &Path) -> TensorWriter {
        TensorWriter::create(path, "a", "probs", Dtype::F32, &SHAPE).unwrap()
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
                let part = stopped.part();
                // Everything after the values already done is written again.
                stopped.write(&vec![f32::NAN; VALUES.len() - done]).unwrap();
                stopped.keep().unwrap();
                drop(stopped);
                assert_eq!(names(&folder), [name.to_owned(), format!("{name}.a.xent-partial")]);
                assert_eq!(std::fs::read(&path).unwrap(), b"old");

                let resume =
                    |part| TensorWriter::resume(&path, "a", "probs", Dtype::F32, &SHAPE, part).unwrap();
                // A failed resume leaves the kept file.
                drop(resume(part));
                let mut again = resume(part);
                again.write(&VALUES[done..]).unwrap();
                again.keep().unwrap();
                let whole = again.part();
                drop(again);
                let mut resumed = resume(part);
                resumed.write(&VALUES[done..]).unwrap();
                resumed.finish().unwrap();
                assert_eq!(names(&folder), [name]);
                assert_eq!(std::fs::read(&path).unwrap(), expected, "{name} {done}");
                // A process that died after that finds the file in its place.
                resume(whole).finish().unwrap();
                resume(whole).discard();
                assert_eq!(std::fs::read(&path).unwrap(), expected, "{name} {done}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_was_kept_of_another_file_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("out.safetensors");
        let resume = |name, dtype, shape: &[usize], part| {
            TensorWriter::resume(&path, "a", name, dtype, shape, part).map(drop).unwrap_err().to_string()
        };
        let mut file = create(&path);
        let header = file.part();
        let error = resume("probs", Dtype::F32, &SHAPE, header);
        assert!(
            error.ends_with(
                "out.safetensors.a.xent-partial: cannot be resumed: another process is writing it"
            )
        );
        file.write(&VALUES[..4]).unwrap();
        file.keep().unwrap();
        let part = file.part();
        drop(file);
        let partial = partial_path(&path, "a");
        let kept = std::fs::read(&partial).unwrap();
        let changed = "it was started for another type, shape or name";
        for (case, error, says) in [
            ("name", resume("lse!!", Dtype::F32, &SHAPE, part), changed),
            ("type", resume("probs", Dtype::U32, &SHAPE, part), changed),
            ("shape", resume("probs", Dtype::F32, &[2, 3], part), changed),
            (
                "length",
                resume("probs", Dtype::F32, &SHAPE, FilePart { bytes: part.bytes + 4, ..part }),
                &format!("{} bytes were recorded as written; it has {}", part.bytes + 4, part.bytes),
            ),
            (
                "half a value",
                resume("probs", Dtype::F32, &SHAPE, FilePart { bytes: part.bytes + 1, ..part }),
                "and whole values",
            ),
            (
                "too many values",
                resume("probs", Dtype::F32, &SHAPE, FilePart { bytes: part.bytes + 12, ..part }),
                "values done holds 7 values; the shape needs 6",
            ),
        ] {
            assert!(error.ends_with(says), "{case}: {error}");
        }
        assert_eq!(std::fs::read(&partial).unwrap(), kept);
        for at in header.bytes as usize..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 1;
            std::fs::write(&partial, &damaged).unwrap();
            let error = resume("probs", Dtype::F32, &SHAPE, part);
            assert!(error.contains("cannot be resumed: it was changed: its first "), "{at}: {error}");
        }
        std::fs::remove_file(&partial).unwrap();
        let error = resume("probs", Dtype::F32, &SHAPE, part);
        assert!(error.contains("out.safetensors.a.xent-partial: cannot be resumed: No such file"), "{error}");
    }

    #[test]
    fn of_two_writers_the_second_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("out.npy");
        let mut first = create(&path);
        let second = || TensorWriter::create(&path, "a", "probs", Dtype::F32, &SHAPE).map(drop);
        let error = second().unwrap_err().to_string();
        assert!(error.ends_with("out.npy: cannot be written: another process is writing it"), "{error}");
        first.write(&VALUES).unwrap();
        first.finish().unwrap();
        assert_eq!(names(&folder), ["out.npy"]);
        second().unwrap();
        assert_eq!(names(&folder), ["out.npy"], "what is dropped leaves nothing");
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
            ("out.npy", Dtype::Bf16, ".npy has no type for bf16: use .safetensors or another type"),
        ] {
            let error = TensorWriter::create(folder.path().join(name), "a", "x", dtype, &SHAPE).unwrap_err();
            assert!(error.to_string().ends_with(&format!("cannot be written: {why}")), "{error}");
        }
        assert_eq!(names(&folder), Vec::<String>::new());
    }
}
