//! The files that `xent topk` writes.

use xent::eval::WholeFile;
use xent::eval::files::{Layout, TensorValue, TensorWriter, partial_path};
use xent::{Result, TopClasses, TopKOptions};

use super::text;
use crate::args::TopkArgs;
use crate::output::is_csv;
use crate::stop::before_stop;

/// Part of the outputs' names until they are complete. It is always the same, so the next run reuses what a killed one
/// has left.
const RUN: &str = "topk";

/// Files that grow window by window and are put in their places together.
pub struct Outputs {
    classes: Option<Classes>,
    values: Option<TensorWriter>,
}

/// The classes alone, or a table of them with their values.
enum Classes {
    Tensor(TensorWriter),
    Table(WholeFile),
}

impl Outputs {
    /// Begins the files, in the formats that their names say.
    pub fn open(args: &TopkArgs, options: &TopKOptions, layout: &Layout) -> Result<Self> {
        let dims = [layout.row_dims(), vec![options.k]].concat();
        let partials: Vec<_> = [&args.output, &args.values_out]
            .into_iter()
            .flatten()
            .map(|path| partial_path(path, RUN))
            .collect();
        let classes = match &args.output {
            None => None,
            Some(path) if is_csv(path) => {
                let mut file = WholeFile::create(path, RUN)?;
                file.write_bytes(text::csv_header(options).as_bytes())?;
                Some(Classes::Table(file))
            }
            Some(path) => {
                Some(Classes::Tensor(TensorWriter::create(path, RUN, "classes", u32::DTYPE, &dims)?))
            }
        };
        let name = text::value_name(options);
        let values = args.values_out.as_ref();
        let values =
            values.map(|path| TensorWriter::create(path, RUN, name, f32::DTYPE, &dims)).transpose()?;
        before_stop(move || {
            for partial in partials {
                let _ = std::fs::remove_file(partial);
            }
            true
        });
        Ok(Self { classes, values })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_none() && self.values.is_none()
    }

    /// Writes the rows of a window.
    pub fn write(&mut self, first_row: usize, window: &TopClasses) -> Result<()> {
        match &mut self.classes {
            None => {}
            Some(Classes::Tensor(file)) => file.write::<u32>(bytemuck::cast_slice(&window.indices))?,
            Some(Classes::Table(file)) => {
                for lines in text::csv_lines(first_row, window) {
                    file.write_bytes(lines.as_bytes())?;
                }
            }
        }
        self.values.as_mut().map_or(Ok(()), |file| file.write(&window.values))
    }

    /// Writes everything to the disk, so that the files only have to be renamed.
    pub fn sync(&mut self) -> Result<()> {
        match &mut self.classes {
            None => {}
            Some(Classes::Tensor(file)) => file.sync()?,
            Some(Classes::Table(file)) => file.sync()?,
        }
        self.values.as_mut().map_or(Ok(()), TensorWriter::sync)
    }

    /// Moves the complete files to their places.
    pub fn finish(self) -> Result<()> {
        match self.classes {
            None => {}
            Some(Classes::Tensor(file)) => file.finish()?,
            Some(Classes::Table(file)) => file.finish()?,
        }
        self.values.map_or(Ok(()), TensorWriter::finish)
    }
}
