//! Logits from files, and arrays with the same layout: soft targets, a teacher's logits, binary targets.

use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};

use super::dtype::{Dtype, array};
use super::layout::Layout;
use super::options::OpenOptions;
use super::tensor::{CHUNK_VALUES, TensorFile};
use super::text::shape_text;
use crate::coded::row_words;
use crate::element::Element;
use crate::error::Result;
use crate::eval::source::{Source, check_buffer, values_of};
use crate::shape::Shape;

/// Logits in a [`TensorFile`], with classes along any axis. `E` is the type for the computation: `f32` for files of f16
/// and bf16 (widened), f32, and f64 (narrowed); [`half::f16`] for files of f16, [`half::bf16`] for files of bf16. If
/// the types are equal, values are read directly into the caller's buffer.
#[derive(Debug)]
pub struct FileLogits<E> {
    file: TensorFile,
    /// The name of the values in messages.
    what: &'static str,
    layout: Layout,
    /// The type that the values are converted to.
    element: PhantomData<E>,
    /// Values of the file's type, before conversion.
    raw: Vec<u8>,
    /// Rows as the file has them, if some of their classes are dropped.
    stored: Vec<E>,
    /// The first class, if only those of a shard are read.
    first_col: Option<usize>,
    integers: Integers,
}

/// How integers are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Integers {
    Refused,
    /// 0 or 1.
    Labels,
    /// 0 or not, which is 1.
    Mask,
}

impl<E: Element> FileLogits<E> {
    /// Opens a file with a header, or a folder of shards: see [`TensorFile::open`].
    ///
    /// # Errors
    /// As for [`TensorFile::open`] and [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>, class_axis: isize) -> Result<Self> {
        Self::new(TensorFile::open(path, &OpenOptions::default())?, class_axis)
    }

    /// Logits in a file, with classes along `class_axis`; −1 is the last axis.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if the type cannot be read as `E`, if there is no such axis, if there are no
    /// classes, or if several files are joined along the class axis.
    pub fn new(file: TensorFile, class_axis: isize) -> Result<Self> {
        let layout = Layout::new(file.dims(), class_axis).map_err(|error| file.error(error));
        Self::of(file, "logits", layout, Integers::Refused)
    }

    /// Values of a type that can be read as `E`, or of integers unless they are refused.
    fn of(file: TensorFile, what: &'static str, layout: Result<Layout>, integers: Integers) -> Result<Self> {
        let labels = integers != Integers::Refused;
        let types = match E::NAME {
            "f32" if labels => "f16, bf16, f32, f64, booleans or integers",
            "f32" => "f16, bf16, f32 or f64",
            same => same,
        };
        let is_taken = file.dtype().is_some_and(|dtype| match E::NAME {
            "f32" => labels || dtype.is_float(),
            same => dtype.name() == same,
        });
        if !is_taken {
            let is_of_16_bits = ["<i2", "<u2", "I16", "U16"].iter().any(|name| file.descr().contains(name));
            let bits = match is_of_16_bits && !labels {
                true => "; 16-bit integers are taken as the bits of bf16 or f16 if that type is given",
                false => "",
            };
            return Err(file.error(format!("type {}: {what} must be {types}{bits}", file.descr())));
        }
        let layout = layout?;
        if file.is_sharded() && layout.has_classes_first() {
            return Err(file.error("files are joined along the first axis, but here that is the class axis"));
        }
        let (raw, stored, first_col) = (Vec::new(), Vec::new(), None);
        Ok(Self { file, what, layout, element: PhantomData, raw, stored, first_col, integers })
    }

    /// Takes the first `cols` classes of each row only. Vocabularies are often padded to a multiple of 64 or 128, with
    /// logits that the model was never trained to give.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if there are fewer classes, or for none.
    pub fn first_classes(self, cols: usize) -> Result<Self> {
        let Some(layout) = self.layout.of_first_classes(cols) else {
            let stored = self.layout.stored_cols();
            return Err(self.file.error(format!("{stored} classes: the first {cols} cannot be taken")));
        };
        Ok(Self { layout, ..self })
    }

    /// Takes these classes of each row only, and reads no others: the columns of a
    /// [`VocabularyShard`](crate::VocabularyShard). Not for a stream, which is read from front to back.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if there are fewer classes, or for none.
    pub fn columns(self, cols: Range<usize>) -> Result<Self> {
        let stored = self.layout.stored_cols();
        let layout = self.layout.of_first_classes(cols.len()).filter(|_| cols.end <= stored);
        let Some(layout) = layout else {
            let Range { start, end } = cols;
            return Err(self.file.error(format!("{stored} classes: {start}..{end} cannot be taken")));
        };
        Ok(Self { layout, first_col: Some(cols.start), ..self })
    }

    /// The axes of the logits.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The file.
    pub fn file(&self) -> &TensorFile {
        &self.file
    }

    /// Returns the file, for example to read the logits as another type.
    pub fn into_file(self) -> TensorFile {
        self.file
    }

    /// Whether the file holds f64, so that values are rounded to f32 when they are read.
    pub fn is_narrowed(&self) -> bool {
        self.file.dtype() == Some(Dtype::F64)
    }

    /// Values with the layout of these logits. `needing` begins the message about another shape.
    fn like(
        file: TensorFile,
        what: &'static str,
        like: &Layout,
        (needing, integers): (&str, Integers),
    ) -> Result<Self> {
        let values = Self::of(file, what, Ok(like.clone()), integers)?;
        let found = values.file.dims();
        if found != like.stored_dims() {
            let (found, needed) = (shape_text(found), shape_text(&like.stored_dims()));
            let why = format!("shape {found}: {needing} the shape of the logits, {needed}");
            return Err(values.file.error(why));
        }
        Ok(values)
    }

    /// Fills `into` with values of N bytes each, from value `start` of the file on. `refused` says what is wrong with a
    /// value.
    fn convert<const N: usize>(
        &mut self,
        start: usize,
        into: &mut [E],
        value_of: impl Fn([u8; N]) -> f32,
        refused: impl Fn([u8; N], f32) -> Option<String>,
    ) -> Result<()> {
        let Self { file, what, raw, .. } = self;
        for (chunk, into) in into.chunks_mut(CHUNK_VALUES).enumerate() {
            let start = start + chunk * CHUNK_VALUES;
            raw.resize(into.len() * N, 0);
            file.read_at(start, raw)?;
            for (at, (into, bytes)) in into.iter_mut().zip(raw.chunks_exact(N)).enumerate() {
                let value = value_of(array(bytes));
                if let Some(why) = refused(array(bytes), value) {
                    return Err(file.value_error(what, start + at, why));
                }
                *into = E::from_f32(value);
            }
        }
        Ok(())
    }

    /// The same for integers of N bytes.
    fn convert_integers<const N: usize>(&mut self, start: usize, into: &mut [E]) -> Result<()> {
        match self.integers {
            Integers::Mask => {
                self.convert(start, into, |bytes| f32::from(u8::from(bytes != [0; N])), |_, _| None)
            }
            _ => self.convert(start, into, label::<N>, no_label),
        }
    }
}

/// Opens soft targets with the layout of these logits: floats, read as f32, or one-hot targets of booleans or integers that
/// are 0 or 1.
///
/// # Errors
/// [`Error::File`](crate::Error::File) as for [`FileLogits::new`], and if the axes differ from the logits'. When they
/// are read: for an integer other than 0 and 1.
pub fn open_soft_targets(file: TensorFile, like: &Layout) -> Result<FileLogits<f32>> {
    FileLogits::like(file, "targets", like, ("soft targets need", Integers::Labels))
}

/// Opens the teacher's logits of a [`KlDivergence`](crate::KlDivergence), with the layout of these logits, in their type; f32
/// takes floats of any type.
///
/// # Errors
/// As for [`open_soft_targets`].
pub fn open_teacher<E: Element>(file: TensorFile, like: &Layout) -> Result<FileLogits<E>> {
    FileLogits::like(file, "the teacher's logits", like, ("the teacher's logits need", Integers::Refused))
}

/// Opens the targets of a [`SigmoidBce`](crate::SigmoidBce) with the layout of these logits: floats, read as f32, or
/// booleans or integers that are 0 or 1.
///
/// # Errors
/// As for [`open_soft_targets`].
pub fn open_labels(file: TensorFile, like: &Layout) -> Result<FileLogits<f32>> {
    FileLogits::like(file, "targets", like, ("targets of a binary cross-entropy need", Integers::Labels))
}

/// Opens a mask with the layout of these logits: floats that are added to them, or booleans or integers, 0 where a class is
/// forbidden and any other number where it is not. They are read as f32, integers as 0 or 1.
///
/// # Errors
/// As for [`open_teacher`].
pub fn open_mask(file: TensorFile, like: &Layout) -> Result<FileLogits<f32>> {
    FileLogits::like(file, "the mask", like, ("the mask needs", Integers::Mask))
}

/// Converts an integer, little-endian, that is 0 or 1; other integers become NaN.
fn label<const N: usize>(bytes: [u8; N]) -> f32 {
    match bytes.split_first() {
        Some((&first, rest)) if first <= 1 && rest.iter().all(|&byte| byte == 0) => f32::from(first),
        _ => f32::NAN,
    }
}

fn no_label<const N: usize>(_: [u8; N], label: f32) -> Option<String> {
    label.is_nan().then(|| "an integer other than 0 and 1".to_owned())
}

impl<E: Element> Source<E> for FileLogits<E> {
    fn shape(&self) -> Shape {
        self.layout.shape()
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        let (shape, stored_cols) = (self.shape(), self.layout.stored_cols());
        let values = values_of(shape, rows.clone())?;
        check_buffer(into, values.len())?;
        if stored_cols == shape.cols {
            return self.read_values(values.start, into);
        }
        let [stored, kept] = [stored_cols, shape.cols].map(|cols| cols * shape.inner);
        if let Some(first_col) = self.first_col {
            let groups = (rows.start / shape.inner..).zip(into.chunks_mut(kept));
            return groups.into_iter().try_for_each(|(group, into)| {
                self.read_values(group * stored + first_col * shape.inner, into)
            });
        }
        // What pads the vocabulary is read and dropped, so that a stream is read from front to back.
        let mut all = std::mem::take(&mut self.stored);
        let mut group = rows.start / shape.inner;
        for into in into.chunks_mut((CHUNK_VALUES / stored).max(1) * kept) {
            let groups = into.len() / kept;
            all.resize(groups * stored, E::default());
            self.read_values(group * stored, &mut all)?;
            for (into, group) in into.chunks_mut(kept).zip(all.chunks(stored)) {
                into.copy_from_slice(&group[..kept]);
            }
            group += groups;
        }
        self.stored = all;
        Ok(())
    }

    fn has_codes(&self) -> bool {
        self.file.is_llama_cpp() && self.shape().inner == 1 && self.first_col.is_none()
    }

    fn read_codes(&mut self, rows: Range<usize>, into: &mut [u16]) -> Result<()> {
        let (cols, stored_cols) = (self.shape().cols, self.layout.stored_cols());
        let [words, stored_words] = [cols, stored_cols].map(row_words);
        check_buffer(into, rows.len() * words)?;
        if words == stored_words {
            return self.file.read_records(rows.start * stored_cols, bytemuck::cast_slice_mut(into));
        }
        let mut all = Vec::new();
        let step = (CHUNK_VALUES / stored_words).max(1);
        for (chunk, into) in into.chunks_mut(step * words).enumerate() {
            all.resize(into.len() / words * stored_words, 0u16);
            let first = (rows.start + chunk * step) * stored_cols;
            self.file.read_records(first, bytemuck::cast_slice_mut(&mut all))?;
            for (into, row) in into.chunks_mut(words).zip(all.chunks(stored_words)) {
                into.copy_from_slice(&row[..words]);
            }
        }
        Ok(())
    }
}

impl<E: Element> FileLogits<E> {
    /// Reads values of the file, from this one on.
    fn read_values(&mut self, start: usize, into: &mut [E]) -> Result<()> {
        match self.file.dtype() {
            Some(dtype) if dtype.name() == E::NAME => {
                self.file.read_at(start, bytemuck::cast_slice_mut(into))
            }
            Some(Dtype::F16) => {
                self.convert(start, into, |bytes| f16::from_le_bytes(bytes).into(), |_, _| None)
            }
            Some(Dtype::Bf16) => {
                self.convert(start, into, |bytes| bf16::from_le_bytes(bytes).into(), |_, _| None)
            }
            Some(dtype) if !dtype.is_float() => match dtype.bytes() {
                1 => self.convert_integers::<1>(start, into),
                2 => self.convert_integers::<2>(start, into),
                4 => self.convert_integers::<4>(start, into),
                _ => self.convert_integers::<8>(start, into),
            },
            // Of the types that `of` accepts, only f64 is left. A finite value must stay finite.
            _ => self.convert(
                start,
                into,
                |bytes| f64::from_le_bytes(bytes) as f32,
                |bytes, narrow| {
                    let wide = Some(f64::from_le_bytes(bytes));
                    let wide = wide.filter(|wide| narrow.is_infinite() && wide.is_finite())?;
                    Some(format!("{wide:e} is beyond f32's range"))
                },
            ),
        }
    }
}
