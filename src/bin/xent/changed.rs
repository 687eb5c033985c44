//! Logits that are changed as they are read.

use std::ops::Range;
use std::path::Path;

use xent::eval::Source;
use xent::eval::files::{FileLogits, Layout, OpenOptions, TensorFile, Wanted, open_mask};
use xent::{Element, Error, Result, Shape};

use crate::numbers::{shortest, thousands};
use crate::output::{bad_argument, shown};

/// Logarithms of probabilities. They are logits of these probabilities, normalised: 0 becomes −∞. A number below 0 is
/// refused.
pub struct Logarithms<E>(pub FileLogits<E>);

impl<E: Element> Source<E> for Logarithms<E> {
    fn shape(&self) -> Shape {
        self.0.shape()
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        self.0.read_rows(rows.clone(), into)?;
        if let Some(first) = into.iter().position(|value| value.to_f64() < 0.0) {
            return Err(self.negative(first, rows.start, into));
        }
        into.iter_mut().for_each(|value| *value = E::from_f32((value.to_f64() as f32).ln()));
        Ok(())
    }
}

impl<E: Element> Logarithms<E> {
    /// The error for values from row `start` on, of which the one at `first` is the first below 0.
    fn negative(&self, first: usize, start: usize, values: &[E]) -> Error {
        let shape = self.0.shape();
        let row_of = |at: usize| at / (shape.cols * shape.inner) * shape.inner + at % shape.inner;
        let mut is_negative = vec![false; values.len() / shape.cols];
        for (at, _) in values.iter().enumerate().filter(|(_, value)| value.to_f64() < 0.0) {
            is_negative[row_of(at)] = true;
        }
        let rows = is_negative.iter().filter(|&&is_negative| is_negative).count();
        let (row, class) = (start + row_of(first), first / shape.inner % shape.cols);
        let why = format!(
            "row {row} has {} for class {class}, and probabilities are not below 0; {} of the {} rows read with it have \
             such values. Log-probabilities are --input log-probs, logits need no --input",
            shortest(values[first].to_f64() as f32),
            thousands(rows),
            thousands(is_negative.len()),
        );
        bad_argument(shown(self.0.file().path()), why)
    }
}

/// Logits with a mask.
pub struct Masked<E> {
    logits: FileLogits<E>,
    mask: Mask,
    /// Whether the mask is added. If not, it is 0 where a class is forbidden.
    is_added: bool,
    /// The mask of a window.
    read: Vec<f32>,
}

enum Mask {
    /// One for all rows (cols,).
    OfClasses(Vec<f32>),
    /// In the layout of the logits.
    Whole(Box<FileLogits<f32>>),
}

impl<E: Element> Masked<E> {
    /// These logits with the mask of a file, which has their axes or only that of the classes.
    pub fn open(logits: FileLogits<E>, path: &Path) -> Result<Self> {
        let file = TensorFile::open(path, &OpenOptions::of(Wanted::Labels))?;
        let is_added = file.dtype().is_some_and(|dtype| dtype.is_float());
        let cols = logits.shape().cols;
        let mask = if file.dims() == [cols] {
            let mut values = vec![0.0; cols];
            open_mask(file, &Layout::new(&[cols], 0)?)?.read_rows(0..1, &mut values)?;
            Mask::OfClasses(values)
        } else {
            let is_of_classes = file.dims().len() == 1 && file.dtype().is_some();
            let whole = open_mask(file, logits.layout()).map_err(|error| match error {
                Error::File { path, message } if is_of_classes => {
                    Error::File { path, message: format!("{message}, or ({cols},), one mask for all rows") }
                }
                error => error,
            });
            Mask::Whole(Box::new(whole?))
        };
        Ok(Self { logits, mask, is_added, read: Vec::new() })
    }
}

impl<E: Element> Source<E> for Masked<E> {
    fn shape(&self) -> Shape {
        self.logits.shape()
    }

    fn read_rows(&mut self, rows: Range<usize>, into: &mut [E]) -> Result<()> {
        let Self { logits, mask, is_added, read } = self;
        let shape = logits.shape();
        logits.read_rows(rows.clone(), into)?;
        let masked = |value: E, mask: f32| match is_added {
            true => E::from_f32(value.to_f64() as f32 + mask),
            // Whatever the logit is, NaN too.
            false if mask == 0.0 => E::from_f32(f32::NEG_INFINITY),
            false => value,
        };
        match mask {
            Mask::OfClasses(mask) => {
                for (at, value) in into.iter_mut().enumerate() {
                    *value = masked(*value, mask[at / shape.inner % shape.cols]);
                }
            }
            Mask::Whole(mask) => {
                read.resize(into.len(), 0.0);
                mask.read_rows(rows, read)?;
                into.iter_mut().zip(read).for_each(|(value, mask)| *value = masked(*value, *mask));
            }
        }
        Ok(())
    }
}
